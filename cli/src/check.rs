//! `bedplate check`: is this host.toml right?

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use bedplate_model::host::{HostFile, Platform};
use bedplate_model::identity;
use bedplate_tools::{programs, systemd_analyze};

use crate::report::{self, Failure};

/// Check a host.toml: every mistake at once.
#[derive(clap::Args)]
pub struct Check {
    /// The document.
    host: PathBuf,
    /// Print the normalised document, with every default written out.
    #[arg(long)]
    json: bool,
}

/// Times at which nothing would ever run.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}\n  help: `systemd-analyze calendar` tries an expression; write \"daily\", or one such as \"Mon..Fri 03:30\"",
    .0.join("\nerror: ")
)]
struct WrongSchedules(Vec<String>);

/// Where systems keep time zones by name.
const ZONES: &str = "/usr/share/zoneinfo";

/// A time zone that nobody knows: clocks would show UTC.
#[derive(Debug, thiserror::Error)]
#[error(
    "`host.timezone`, {zone:?}, is no time zone that this machine knows\n  help: `timedatectl list-timezones` lists them; write one such as \"Europe/Brussels\""
)]
struct UnknownZone {
    zone: String,
}

impl Check {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let host = report::read_host(&self.host)?;
        expect_zone(Path::new(ZONES), &host)?;
        // Only systemd knows its calendar, and a workstation may have none.
        let analyze = programs::find(systemd_analyze::PROGRAM);
        if let Some(program) = &analyze {
            expect_schedules(program, &host)?;
        }
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", host.to_json()?)?;
            return Ok(());
        }
        writeln!(
            out,
            "{} is valid: {}, {} disks, {} pools, {} bridges, {} VMs, {} exports, {} backups",
            self.host.display(),
            host.host.name,
            host.disks.len(),
            host.pools.len(),
            host.network.bridges.len(),
            host.vms.len(),
            host.nfs.exports.len(),
            host.backups.len(),
        )?;
        if identity::is_example(host.host.id) {
            writeln!(
                out,
                "note: host.id marks an example; a fresh one is written when the medium is made"
            )?;
        }
        if analyze.is_none() && !host.backups.is_empty() {
            writeln!(
                out,
                "note: the schedules of backups were not looked at: this machine has no {}",
                systemd_analyze::PROGRAM
            )?;
        }
        Ok(())
    }
}

/// Nothing is said where there are no zones to look among.
fn expect_zone(zones: &Path, host: &HostFile) -> Result<(), UnknownZone> {
    let zone = &host.host.timezone;
    // NixOS has all zones, those of old too, which a workstation may lack.
    if host.host.platform == Platform::Nixos {
        return Ok(());
    }
    if !zones.join("UTC").exists() || is_zone(&zones.join(zone)) {
        return Ok(());
    }
    Err(UnknownZone { zone: zone.clone() })
}

/// Whether a file begins as a time zone does (RFC 8536): tables of leap seconds and of countries
/// stand beside them.
fn is_zone(path: &Path) -> bool {
    let mut start = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"TZif"
}

/// The machine would run at none of these times, and its timers would not fail.
fn expect_schedules(program: &Path, host: &HostFile) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for (name, backup) in &host.backups {
        for (key, expression) in backup.schedules() {
            let said = systemd_analyze::calendar(program, expression);
            if let Some(complaint) = said?.complaint() {
                wrong.push(format!("`backups.{name}.{key}`, \"{expression}\", {complaint}"));
            }
        }
    }
    for (name, pool) in &host.pools {
        let Some(expression) = &pool.scrub else { continue };
        if let Some(complaint) = systemd_analyze::calendar(program, expression)?.complaint() {
            wrong.push(format!("`pools.{name}.scrub`, \"{expression}\", {complaint}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(WrongSchedules(wrong).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_time_zone_is_a_mistake_where_zones_are_known() {
        let place = tempfile::tempdir().unwrap();
        let zones = place.path().join("zoneinfo");
        let text = include_str!("../../profiles/hypervisor/host.toml");
        let mut host = bedplate_document::parse(text, "host.toml").unwrap();
        assert!(expect_zone(&zones, &host).is_ok(), "there is nothing to look among");
        std::fs::create_dir_all(zones.join("Europe")).unwrap();
        for known in ["UTC", "Europe/Brussels"] {
            std::fs::write(zones.join(known), "TZif").unwrap();
        }
        assert!(expect_zone(&zones, &host).is_ok());
        std::fs::write(zones.join("leap-list"), "# no zone but a table").unwrap();
        for wrong in ["Europe/Brusels", "Europe", "leap-list"] {
            host.host.timezone = wrong.into();
            let told = expect_zone(&zones, &host).unwrap_err().to_string();
            assert!(told.contains(wrong) && told.contains("timedatectl"), "{told}");
        }
        host.host.platform = Platform::Nixos;
        assert!(expect_zone(&zones, &host).is_ok());
    }
}
