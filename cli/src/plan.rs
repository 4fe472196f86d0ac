//! `bedplate plan`: what would an installation do?

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_events::shown::{shown, shown_line};
use bedplate_model::facts::Facts;
use bedplate_model::host::Export;
use bedplate_model::plan;
use bedplate_model::size;
use bedplate_planner as planner;
use bedplate_render::plain::DESTROYS_NOTHING;
use bedplate_render::style::{BAD, STRONG, paint};
use bedplate_render::table::{Row, columns, table};

use crate::report::{self, Failure};

/// Show what an installation would do to a machine.
#[derive(clap::Args)]
pub struct Plan {
    /// The document.
    host: PathBuf,
    /// Facts of the machine, as `bedplate inventory --json` prints them.
    #[arg(long)]
    inventory: PathBuf,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

/// An inventory that is none.
#[derive(Debug, thiserror::Error)]
#[error("{path} is no inventory, as `bedplate inventory --json` writes it")]
struct InventoryError {
    path: String,
    #[source]
    source: serde_json::Error,
}

impl Plan {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let host = report::read_host(&self.host)?;
        let facts = read_facts(&self.inventory)?;
        let plan = planner::plan(&host, &facts).map_err(Failure::Refused)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report::json(&plan)?)?;
        } else {
            anstream::AutoStream::auto(out).write_all(render(&plan, columns()).as_bytes())?;
        }
        Ok(())
    }
}

/// Reads an inventory.
pub fn read_facts(path: &Path) -> Result<Facts, Failure> {
    let text = report::read_text(path)?;
    // Windows begins text with a mark of its encoding.
    let json = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(serde_json::from_str(json)
        .map_err(|source| InventoryError { path: path.display().to_string(), source })?)
}

/// The plan for people, in colour: what it destroys first, then disks and steps.
pub fn render(plan: &plan::Plan, columns: usize) -> String {
    let mut out = String::new();
    let destroyed = plan.destroyed_lines();
    if destroyed.is_empty() {
        out.push_str(&format!("{DESTROYS_NOTHING}\n"));
    } else {
        out.push_str(&format!("{}\n", paint(BAD, "DESTROYS")));
        for line in &destroyed {
            out.push_str(&format!("  {}\n", paint(BAD, shown_line(line))));
        }
    }
    for warning in &plan.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    out.push_str(&format!("\n{}\n", paint(STRONG, "Disks")));
    let row = |disk: &plan::DiskTarget| {
        let found = match disk {
            _ if plan.keeps(&disk.role) => "is kept with its data",
            disk if disk.sealed => "sealed, nothing on it is formatted",
            disk if disk.resume => "unfinished, is finished",
            _ => "",
        };
        let serial = disk.serial.as_deref().map_or_else(|| "-".into(), shown);
        Row::from([
            disk.role.to_string(),
            disk.id.to_string(),
            size::show(disk.size),
            serial,
            found.to_owned(),
        ])
    };
    out.push_str(&table(&plan.disks.iter().map(row).collect::<Vec<_>>(), columns));
    out.push_str(&format!("\n{}\n", paint(STRONG, "Steps")));
    for (index, step) in plan.summaries().iter().enumerate() {
        out.push_str(&format!("  {:>2}  {}\n", index + 1, step.title));
    }
    if !plan.exports.is_empty() {
        out.push_str(&format!("\n{}\n", paint(STRONG, "Exports, once it runs")));
        let row = |export: &Export| {
            let clients: Vec<String> = export.clients.iter().map(ToString::to_string).collect();
            Row::from([export.path.clone(), clients.join(" "), export.options.join(",")])
        };
        out.push_str(&table(&plan.exports.iter().map(row).collect::<Vec<_>>(), columns));
    }
    let then = match plan.then {
        bedplate_model::host::Then::Reboot => "reboot",
        bedplate_model::host::Then::Poweroff => "power off",
        bedplate_model::host::Then::Wait => "wait",
    };
    out.push_str(&format!("\nThen: {then}\nPlan: {}\n", paint(STRONG, &plan.hash)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t58_an_inventory_that_went_through_windows_is_read_or_told_as_what_it_is() {
        let text = include_str!("../../profiles/hypervisor/inventory.json");
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("inventory.json");
        std::fs::write(&path, format!("\u{feff}{text}")).unwrap();
        assert!(read_facts(&path).is_ok());
        let wide = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes));
        std::fs::write(&path, wide.collect::<Vec<u8>>()).unwrap();
        let told = read_facts(&path).unwrap_err().told();
        assert!(told.contains("UTF-16") && told.contains("Set-Content"), "{told}");
        for other in ["", "[]", "null", "{}", &text[..500]] {
            std::fs::write(&path, other).unwrap();
            let told = read_facts(&path).unwrap_err().told();
            assert!(told.contains("bedplate inventory --json"), "{other}: {told}");
        }
    }

    #[test]
    fn t59_a_serial_neither_moves_the_cursor_nor_ends_the_program() {
        let text = include_str!("../../profiles/hypervisor/host.toml");
        let host = bedplate_document::parse(text, "host.toml").unwrap();
        let text = include_str!("../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(text).unwrap();
        for evil in ["\u{1b}[2J\nDestroys nothing".to_owned(), "x".repeat(65_536)] {
            facts.disks[0].serial = Some(evil);
            let shown = render(&planner::plan(&host, &facts).unwrap(), 80);
            assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\nDestroys nothing\n"));
            assert!(shown.len() < 8000, "{}", shown.len());
        }
    }
}
