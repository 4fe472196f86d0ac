//! `bedplate discover`: which booted media wait on the local network?

mod inventories;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bedplate_discovery::{Activity, Discovered};
use bedplate_events::shown::shown;
use bedplate_facts::table as facts_table;
use bedplate_model::facts::Facts;
use bedplate_model::size;
use bedplate_render::table::{Row, columns, table};
use serde::Serialize;

use self::inventories::{Answer, Inventories};
use crate::report::{self, Failure};

/// List the machines on the local network that were booted from the medium.
///
/// Anybody can announce anything: `--inventory` and `bedplate install` make sure whom they speak to.
#[derive(clap::Args)]
pub struct Discover {
    /// How long to listen, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// One JSON document.
    #[arg(long)]
    json: bool,
    /// Log in to each machine that waits, show its inventory, and keep it as DIR/NAME.json.
    #[arg(long, value_name = "DIR")]
    inventory: Option<PathBuf>,
    /// The private key to log in with [default: as ssh is configured].
    #[arg(long, value_name = "FILE", requires = "inventory")]
    identity: Option<PathBuf>,
    /// Fingerprint of a machine's host key, as its screen shows it: `SHA256:…`; once for each machine [default: asked].
    #[arg(long, value_name = "FINGERPRINT", requires = "inventory")]
    host_key: Vec<String>,
}

/// A machine that was found, and what came of asking it.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    found: &'a Discovered,
    #[serde(skip_serializing_if = "Option::is_none")]
    inventory: Option<Facts>,
    /// The fingerprint of its host key, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    host_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Discover {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        let inventories = self.inventories();
        inventories.as_ref().map_or(Ok(()), Inventories::prepare)?;
        let found = bedplate_discovery::look(Duration::from_secs(self.seconds))?;
        let mut out = io::stdout().lock();
        if !self.json {
            out.write_all(self.list(&found).as_bytes())?;
        }
        let mut told = Vec::new();
        for one in &found {
            told.push(self.ask(one, &found, inventories.as_ref(), &mut out)?);
        }
        if self.json {
            writeln!(out, "{}", report::json(&told)?)?;
        }
        let answered: Vec<String> = told.iter().filter_map(|one| one.host_key.clone()).collect();
        inventories.map_or(Ok(()), |asked| asked.check_all_answered(&answered))?;
        Ok(ExitCode::from(u8::from(told.iter().any(|one| one.error.is_some()))))
    }

    fn inventories(&self) -> Option<Inventories<'_>> {
        let directory = self.inventory.as_deref()?;
        let identity = self.identity.as_deref();
        Some(Inventories { directory, identity, host_keys: &self.host_key })
    }

    fn list(&self, found: &[Discovered]) -> String {
        if found.is_empty() {
            format!("no machine answered within {} s\n", self.seconds)
        } else {
            table(&rows(found), columns())
        }
    }

    /// Asks a machine that waits. One that cannot be asked keeps nobody from asking the others.
    fn ask<'a>(
        &self,
        one: &'a Discovered,
        all: &[Discovered],
        inventories: Option<&Inventories<'_>>,
        out: &mut impl Write,
    ) -> Result<Told<'a>, Failure> {
        let mut told = Told { found: one, inventory: None, host_key: None, error: None };
        let Some(inventories) = inventories.filter(|_| inventories::is_asked(one)) else {
            return Ok(told);
        };
        // Whoever is asked to compare a host key sees first what came before.
        out.flush()?;
        match inventories.ask(one, all) {
            Ok(Answer { facts, path, host_key }) => {
                if !self.json {
                    let path = path.display().to_string();
                    out.write_all(block(&one.name, &facts, &path).as_bytes())?;
                }
                told.inventory = Some(facts);
                told.host_key = Some(host_key);
            }
            Err(failure) => {
                failure.show();
                told.error = Some(failure.told());
            }
        }
        Ok(told)
    }
}

/// A machine's inventory below the list.
fn block(name: &str, facts: &Facts, path: &str) -> String {
    let lines = facts_table::table(facts);
    let lines: String = lines.lines().map(|line| format!("  {line}\n")).collect();
    format!("\n{}, written to {}\n{lines}", shown(name), shown(path))
}

fn rows(found: &[Discovered]) -> Vec<Row> {
    let row = |found: &Discovered| {
        let activity = match found.summary.activity {
            Activity::Waiting => "waiting",
            Activity::Busy => "busy",
            Activity::Ended => "ended",
            Activity::Unknown => "?",
        };
        let memory = found.summary.memory_bytes.map_or("?".to_owned(), size::show);
        let disks = found.summary.disks.iter();
        let mut disks: Vec<String> = disks
            .map(|disk| format!("{} {}", shown(&disk.transport), size::show(disk.size)))
            .collect();
        if found.summary.more_disks > 0 {
            disks.push(format!("{} more", found.summary.more_disks));
        }
        let addresses = found.addresses.join(" ");
        Row::from([
            shown(&found.name),
            shown(&addresses),
            activity.to_owned(),
            memory,
            disks.join(", "),
        ])
    };
    found.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use bedplate_discovery::{Disk, Summary};

    use super::*;

    #[test]
    fn machines_are_a_table() {
        let machine = |name: &str, disks: Vec<Disk>, more_disks| Discovered {
            name: name.to_owned(),
            addresses: vec!["192.168.1.20".to_owned()],
            port: 22,
            summary: Summary {
                activity: Activity::Waiting,
                memory_bytes: Some(16_000_000_000),
                disks,
                more_disks,
            },
        };
        let disk = |transport: &str, size| Disk { transport: transport.to_owned(), size };
        let disks = vec![disk("nvme", 500_107_862_016), disk("sata", 4_000_787_030_016)];
        insta::assert_snapshot!(shown_table(&[
            machine("bedplate-3c4d5e.local", disks, 3),
            machine("bedplate-1.local", Vec::new(), 0),
        ]));
    }

    fn shown_table(found: &[Discovered]) -> String {
        table(&rows(found), 100)
    }

    fn hypervisor() -> Facts {
        let text = include_str!("../../profiles/hypervisor/inventory.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn an_inventory_stands_below_the_list_by_its_machine_s_name() {
        let path = "inventories/bedplate-3c4d5e.json";
        insta::assert_snapshot!(block("bedplate-3c4d5e.local", &hypervisor(), path));
    }

    #[test]
    fn a_machine_is_one_document_with_its_inventory_or_with_its_error() {
        let summary = Summary {
            activity: Activity::Waiting,
            memory_bytes: None,
            disks: Vec::new(),
            more_disks: 0,
        };
        let name = "bedplate-1.local".to_owned();
        let found = Discovered { name, addresses: Vec::new(), port: 22, summary };
        let keys = |inventory, error| {
            let told = Told { found: &found, inventory, host_key: None, error };
            let serde_json::Value::Object(told) = serde_json::to_value(told).unwrap() else {
                panic!("no object");
            };
            told.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        let plain = keys(None, None);
        assert!(!plain.contains("inventory") && !plain.contains("error"), "{plain}");
        assert!(keys(Some(hypervisor()), None).contains("inventory"));
        assert!(keys(None, Some("refused".into())).contains("error"));
    }
}
