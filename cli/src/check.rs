//! `bedplate check`: is this host.toml right?

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_model::host::{HostFile, Platform};
use bedplate_model::identity;
use bedplate_tools::{programs, systemd_analyze};
use serde_json::{Value, json};

use crate::report::{self, Failure};

/// Check documents: every mistake of each at once.
#[derive(clap::Args)]
pub struct Check {
    /// The documents; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    hosts: Vec<PathBuf>,
    /// Print the normalised document, with every default written out; of several, or of a wrong one, a list of what
    /// was found in each.
    #[arg(long)]
    json: bool,
}

/// What was found in one document.
struct Looked {
    file: PathBuf,
    host: Option<HostFile>,
    wrong: Vec<Failure>,
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
    pub fn run(&self) -> Result<ExitCode, Failure> {
        // Only systemd knows its calendar, and a workstation may have none.
        let analyze = programs::find(systemd_analyze::PROGRAM);
        let looked: Vec<Looked> =
            self.hosts.iter().map(|file| look(file, analyze.as_deref())).collect();
        let right = looked.iter().all(|one| one.wrong.is_empty());
        match looked.as_slice() {
            [Looked { host: Some(host), .. }] if self.json && right => {
                writeln!(io::stdout(), "{}", host.to_json()?)?;
            }
            all if self.json => {
                let list = all.iter().map(Looked::listed).collect::<Result<Vec<Value>, _>>()?;
                writeln!(io::stdout(), "{}", report::json(&list)?)?;
            }
            all => all.iter().try_for_each(|one| one.tell(analyze.is_some()))?,
        }
        Ok(if right { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// Looks at one document, and goes on after the first kind of mistake.
fn look(file: &Path, analyze: Option<&Path>) -> Looked {
    let host = match report::read_host_or_input(file) {
        Ok(host) => host,
        Err(failure) => return Looked { file: file.to_owned(), host: None, wrong: vec![failure] },
    };
    let zone = expect_zone(Path::new(ZONES), &host).map_err(Failure::from);
    let schedules = analyze.map_or(Ok(()), |program| expect_schedules(program, &host));
    let wrong = [zone, schedules].into_iter().filter_map(Result::err).collect();
    Looked { file: file.to_owned(), host: Some(host), wrong }
}

impl Looked {
    /// As an element of the list for machines.
    fn listed(&self) -> Result<Value, Failure> {
        let host = match &self.host {
            Some(host) if self.wrong.is_empty() => serde_json::from_str(&host.to_json()?)?,
            _ => Value::Null,
        };
        let mistakes: Vec<Value> = self.wrong.iter().flat_map(Failure::mistakes).collect();
        Ok(json!({ "file": self.file.display().to_string(), "host": host, "mistakes": mistakes }))
    }

    fn tell(&self, has_calendar: bool) -> io::Result<()> {
        self.wrong.iter().for_each(Failure::show);
        let (Some(host), []) = (&self.host, self.wrong.as_slice()) else { return Ok(()) };
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{} is valid: {}, {} disks, {} pools, {} bridges, {} VMs, {} exports, {} backups",
            self.file.display(),
            host.host.name,
            host.disks.len(),
            host.pools.len(),
            host.network.bridges.len(),
            host.vms.len(),
            host.nfs.exports.len(),
            host.backups.len(),
        )?;
        for note in notes(host, has_calendar) {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}

/// What is no mistake in a document, and still to be done or to be known.
fn notes(host: &HostFile, has_calendar: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if identity::is_example(host.host.id) {
        let note = "host.id marks an example; a fresh one is written when the medium is made";
        notes.push(note.to_owned());
    }
    if report::expect_login(host).is_err() {
        notes.push(
            "no user has an ssh key, so nobody could log in to the machine; write one to \
             `host.users.NAME.ssh_keys` before a medium is made"
                .to_owned(),
        );
    }
    if !has_calendar && !host.backups.is_empty() {
        let program = systemd_analyze::PROGRAM;
        notes.push(format!(
            "the schedules of backups were not looked at: this machine has no {program}"
        ));
    }
    notes
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
