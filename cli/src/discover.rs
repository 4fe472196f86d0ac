//! `bedplate discover`: which booted media wait on the local network?

use std::io::{self, Write as _};
use std::time::Duration;

use bedplate_discovery::{Activity, Found};
use bedplate_spec::document::size;

use crate::plan::columns;
use crate::report::{self, Failure};

/// List the machines on the local network that were booted from the medium.
///
/// Anybody can announce anything: `bedplate install` makes sure whom it speaks to.
#[derive(clap::Args)]
pub struct Discover {
    /// How long to listen, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// One JSON document.
    #[arg(long)]
    json: bool,
}

impl Discover {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let found = bedplate_discovery::look(Duration::from_secs(self.seconds))?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", report::json(&found)?)?;
        } else if found.is_empty() {
            writeln!(out, "no machine answered within {} s", self.seconds)?;
        } else {
            out.write_all(table(&found).as_bytes())?;
        }
        Ok(())
    }
}

fn table(found: &[Found]) -> String {
    let row = |found: &Found| {
        let activity = match found.summary.activity {
            Activity::Waiting => "waiting",
            Activity::Busy => "busy",
            Activity::Ended => "ended",
            Activity::Unknown => "?",
        };
        let memory = found.summary.memory_bytes.map_or("?".to_owned(), size::show);
        let disks = found.summary.disks.iter();
        let mut disks: Vec<String> =
            disks.map(|disk| format!("{} {}", disk.transport, size::show(disk.size))).collect();
        if found.summary.more_disks > 0 {
            disks.push(format!("{} more", found.summary.more_disks));
        }
        let addresses = found.addresses.join(" ");
        [found.name.clone(), addresses, activity.to_owned(), memory, disks.join(", ")]
    };
    columns(&found.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use bedplate_discovery::{Disk, Summary};

    use super::*;

    #[test]
    fn machines_are_a_table() {
        let machine = |name: &str, disks: Vec<Disk>, more_disks| Found {
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
        insta::assert_snapshot!(table(&[
            machine("bedplate-3c4d5e.local", disks, 3),
            machine("bedplate-1.local", Vec::new(), 0),
        ]));
    }
}
