//! `bedplate plan`: what would an installation do?

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_events::shown::{shown, shown_line};
use bedplate_model::facts::Facts;
use bedplate_model::host::Export;
use bedplate_model::plan;
use bedplate_model::size;
use bedplate_planner as planner;
use bedplate_render::frame::{Framed, frame};
use bedplate_render::plain::DESTROYS_NOTHING;
use bedplate_render::style::{BAD, STRONG, paint};
use bedplate_render::table::{Row, columns, table, wrapped};

use crate::inventory;
use crate::report::{self, Failure};

/// Show what an installation would do to a machine.
#[derive(clap::Args)]
pub struct Plan {
    /// The document.
    host: PathBuf,
    /// Facts of the machine, as `bedplate inventory --json` prints them [default: this machine].
    #[arg(long)]
    inventory: Option<PathBuf>,
    /// List every step by itself.
    #[arg(long, conflicts_with = "json")]
    steps: bool,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The width of the terminal.
    pub columns: usize,
    /// Every step in a line of its own, with its disk's name.
    pub every_step: bool,
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
        let facts = match &self.inventory {
            Some(path) => read_facts(path)?,
            None => inventory::of_this_machine()?,
        };
        let plan = planner::plan(&host, &facts).map_err(Failure::Refused)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report::json(&plan)?)?;
        } else {
            let view = View { columns: columns(), every_step: self.steps };
            let shown = render(&plan, &facts, view);
            anstream::AutoStream::auto(out).write_all(shown.as_bytes())?;
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

/// The plan for people, in colour. What is erased stands last, where it is seen whatever has scrolled away.
pub fn render(plan: &plan::Plan, facts: &Facts, view: View) -> String {
    let View { columns, every_step } = view;
    let mut out = format!("{}\n", paint(STRONG, format!("Plan to {}", plan.title())));
    out.push_str(&disks(plan, columns));
    out.push_str(&steps(plan, every_step));
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
    for warning in &plan.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    out.push_str(&format!("\n{}", loss(plan, facts, columns)));
    out
}

fn disks(plan: &plan::Plan, columns: usize) -> String {
    let row = |disk: &plan::DiskTarget| {
        let found = match disk {
            _ if plan.keeps(&disk.role) => "is kept with its data",
            disk if disk.sealed => "sealed, nothing on it is formatted",
            disk if disk.resume => "unfinished, is finished",
            disk if plan.destroys.iter().any(|it| it.role == disk.role) => "is ERASED",
            _ => "is blank",
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
    let rows: Vec<_> = plan.disks.iter().map(row).collect();
    format!("\n{}\n{}", paint(STRONG, "Disks"), table(&rows, columns))
}

fn steps(plan: &plan::Plan, every_step: bool) -> String {
    let mut out = format!("\n{}\n", paint(STRONG, "Steps"));
    if every_step {
        for (index, step) in plan.summaries().iter().enumerate() {
            out.push_str(&format!("  {:>2}  {}\n", index + 1, step.title));
        }
        return out;
    }
    for line in plan.folded() {
        out.push_str(&format!("  {line}\n"));
    }
    out
}

/// What is lost and what is not, as whoever agrees to the plan must have read it.
fn loss(plan: &plan::Plan, facts: &Facts, columns: usize) -> String {
    let mut out = String::new();
    let left = plan.left_alone(facts);
    if !left.is_empty() {
        for line in wrapped(&format!("Left alone: {}", left.join(", ")), columns) {
            out.push_str(&format!("{}\n", shown_line(&line)));
        }
    }
    let erased: Vec<Framed> = plan.erased().into_iter().map(Framed::from).collect();
    if erased.is_empty() {
        out.push_str(&format!("{DESTROYS_NOTHING}\n"));
        return out;
    }
    let title = "ERASED, with all that is on them:";
    for line in frame(title, &erased, &plan.comes_to(), columns).lines() {
        let is_edge = line.starts_with('+');
        let shown = if is_edge { paint(BAD, line) } else { line.to_owned() };
        out.push_str(&format!("{shown}\n"));
    }
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
    fn what_is_left_alone_is_what_somebody_has_in_the_hand() {
        let text = include_str!("../../profiles/hypervisor/host.toml");
        let host = bedplate_document::parse(text, "host.toml").unwrap();
        let text = include_str!("../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(text).unwrap();
        for (name, transport) in
            [("sdx", "usb"), ("sdy", "sata"), ("loop0", "loop"), ("dm-0", "dm")]
        {
            let mut other = facts.disks[0].clone();
            (other.kernel_name, other.transport) = (name.into(), transport.into());
            (other.by_id, other.serial, other.wwn) =
                (vec![format!("{transport}-{name}")], None, None);
            facts.disks.push(other);
        }
        facts.boot_medium = Some("sdx".into());
        let plan = planner::plan(&host, &facts).unwrap();
        let left = plan.left_alone(&facts).join("; ");
        assert!(left.contains("sdx (the medium, usb-sdx, 500 GB)"), "{left}");
        assert!(left.contains("sdy (sata-sdy, ") && !left.contains("loop0"), "{left}");
        assert!(!left.contains("dm-0"), "{left}");
    }

    #[test]
    fn t59_a_serial_neither_moves_the_cursor_nor_ends_the_program() {
        let text = include_str!("../../profiles/hypervisor/host.toml");
        let host = bedplate_document::parse(text, "host.toml").unwrap();
        let text = include_str!("../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(text).unwrap();
        let view = View { columns: 80, every_step: true };
        for evil in ["\u{1b}[2J\nDestroys nothing".to_owned(), "x".repeat(65_536)] {
            facts.disks[0].serial = Some(evil);
            let shown = render(&planner::plan(&host, &facts).unwrap(), &facts, view);
            assert!(!shown.contains("\u{1b}[2J") && !shown.contains("\nDestroys nothing\n"));
            assert!(shown.len() < 8000, "{}", shown.len());
        }
    }
}
