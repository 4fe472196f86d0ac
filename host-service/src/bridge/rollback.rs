//! The way back from settings that cut the machine off.
//!
//! What was proven last is kept in `/var/lib/bedplate/network.json`. Before other settings are
//! tried, a timer is armed that takes them back; it is disarmed when somebody outside was heard.
//! Nothing here needs `host.toml`, so that the timer works whatever became of it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_tools::command::CommandError;
use bedplate_tools::systemctl;
use serde::{Deserialize, Serialize};

use super::applied::{self, ApplyError};
use super::files;
use bedplate_tools::atomic::{self, WriteError};

/// The transient timer.
const UNIT: &str = "bedplate-network-take-back";
/// How long settings may go unproven, when this program does not live to judge them.
const FUSE: u64 = 180;

/// What is known of settings that lead outside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// Schema of this document, 1.
    pub schema: u32,
    /// The files that were proven last, by path under `/etc`.
    pub kept: BTreeMap<String, String>,
    /// Hash of the files that are being tried.
    pub trying: Option<String>,
    /// Hash of the files that were tried last and taken back.
    pub taken_back: Option<String>,
}

/// Settings that could not be taken back, or kept.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The record.
    #[error("{} cannot be read; remove it to begin anew with what stands", .path.display())]
    Record {
        /// The record `network.json`, or the directory of networkd's files.
        path: PathBuf,
        /// What the kernel said when it was read, or why its text is no record.
        #[source]
        source: io::Error,
    },
    /// A file.
    #[error("a file of the network could not be written")]
    Write(#[from] WriteError),
    /// A file that has to go.
    #[error("{} could not be removed", .path.display())]
    Remove {
        /// A file of networkd that leads outside and was never proven.
        path: PathBuf,
        /// What the kernel said when the file was removed.
        #[source]
        source: io::Error,
    },
    /// networkd did not read the files that were put back.
    #[error("what was put back does not count yet")]
    Apply(#[from] ApplyError),
    /// `systemctl` or `systemd-run` did not arm or disarm the timer.
    #[error("systemd did not take the change")]
    Command(#[from] CommandError),
}

fn path(state: &Path) -> PathBuf {
    state.join("network.json")
}

/// What is known; none before anything was proven.
pub(super) fn read(state: &Path) -> Result<Option<Record>, RollbackError> {
    let path = path(state);
    let failed = |source| RollbackError::Record { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) => {
            serde_json::from_str(&text).map(Some).map_err(|error| failed(io::Error::from(error)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

fn write(state: &Path, record: &Record) -> Result<(), RollbackError> {
    let path = path(state);
    let text = serde_json::to_string_pretty(record)
        .map_err(|error| WriteError { path: path.clone(), source: error.into() })?;
    Ok(atomic::write(&path, &format!("{text}\n"), 0o600)?)
}

/// Notes what is tried and arms the timer.
pub(super) fn arm(state: &Path, trying: &str) -> Result<(), RollbackError> {
    let record = read(state)?.unwrap_or_default();
    write(state, &Record { schema: 1, trying: Some(trying.to_owned()), ..record })?;
    systemctl::stop(&format!("{UNIT}.timer"))?;
    let program = std::env::current_exe().unwrap_or_else(|_| "bedplate-host".into());
    Ok(systemctl::run_later(UNIT, FUSE, &program, &["network", "take-back"])?)
}

/// Keeps what was proven. The note comes before the timer is disarmed: fired in between, it finds
/// nothing to take back.
pub(super) fn keep(state: &Path, proven: &BTreeMap<String, String>) -> Result<(), RollbackError> {
    write(state, &Record { schema: 1, kept: proven.clone(), ..Record::default() })?;
    Ok(systemctl::stop(&format!("{UNIT}.timer"))?)
}

/// Puts back the files that were proven last, when others are being tried. True when there was
/// something to take back.
pub fn take_back(
    configuration: &Path,
    state: &Path,
    runtime: &Path,
) -> Result<bool, RollbackError> {
    let Some(record) = read(state)? else { return Ok(false) };
    let Some(tried) = record.trying.clone() else { return Ok(false) };
    restore(configuration, &record)?;
    applied::apply(configuration, runtime)?;
    write(state, &Record { trying: None, taken_back: Some(tried), ..record })?;
    Ok(true)
}

/// Before networkd reads its files: a system that was built anew brings settings that nobody has tried.
/// Those that were proven last are put in their place, and `converge` tries the others with the
/// timer armed. True when that was so.
pub fn begin(configuration: &Path, state: &Path) -> Result<bool, RollbackError> {
    // What was being tried when the power went is judged by converge.
    let Some(record) = read(state)?.filter(|record| record.trying.is_none()) else {
        return Ok(false);
    };
    let directory = configuration.join(files::DIRECTORY);
    let failed = |source| RollbackError::Record { path: directory, source };
    if files::uplinks(&super::our_files(configuration).map_err(failed)?) == record.kept {
        return Ok(false);
    }
    restore(configuration, &record)?;
    Ok(true)
}

/// Forgets that settings were taken back: the next converge tries them once more.
pub fn try_again(state: &Path) -> Result<(), RollbackError> {
    match read(state)? {
        Some(record) => write(state, &Record { taken_back: None, ..record }),
        None => Ok(()),
    }
}

/// Puts back the files of the record, and removes those that lead outside and are not among them.
pub(super) fn restore(configuration: &Path, record: &Record) -> Result<(), RollbackError> {
    let directory = configuration.join(files::DIRECTORY);
    let failed = |source| RollbackError::Record { path: directory.clone(), source };
    let standing = super::our_files(configuration).map_err(failed)?;
    for path in files::uplinks(&standing).keys().filter(|path| !record.kept.contains_key(*path)) {
        let path = configuration.join(path);
        fs::remove_file(&path).map_err(|source| RollbackError::Remove { path, source })?;
    }
    for (path, content) in &record.kept {
        atomic::write(&configuration.join(path), content, 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_of(nic: &str) -> BTreeMap<String, String> {
        let path = |end: &str| format!("{}/{}br0{end}", files::DIRECTORY, files::PREFIX);
        [(path(".network"), "x".to_owned()), (path("-port.network"), nic.to_owned())].into()
    }

    #[test]
    fn t36_what_was_proven_is_put_back_and_what_was_tried_goes() {
        let etc = tempfile::tempdir().unwrap();
        let lab = format!("{}/{}lab.network", files::DIRECTORY, files::PREFIX);
        let mut tried = files_of("wrong0");
        tried.insert(lab.clone(), "isolated".into());
        let second = format!("{}/{}br1-port.network", files::DIRECTORY, files::PREFIX);
        tried.insert(second.clone(), "wrong1".into());
        for (path, content) in &tried {
            atomic::write(&etc.path().join(path), content, 0o644).unwrap();
        }
        let record = Record { kept: files_of("enp5s0"), ..Record::default() };
        restore(etc.path(), &record).unwrap();
        let mut wanted = files_of("enp5s0");
        wanted.insert(lab, "isolated".into());
        assert_eq!(super::super::our_files(etc.path()).unwrap(), wanted);
        // A second time, after a cut, it does no harm.
        restore(etc.path(), &record).unwrap();
        assert_eq!(super::super::our_files(etc.path()).unwrap(), wanted);
    }

    #[test]
    fn f10_nothing_is_taken_back_when_nothing_is_tried() {
        let place = tempfile::tempdir().unwrap();
        assert!(!take_back(place.path(), place.path(), place.path()).unwrap());
        keep_without_timer(place.path(), &files_of("enp5s0"));
        assert!(!take_back(place.path(), place.path(), place.path()).unwrap());
        let record = read(place.path()).unwrap().unwrap();
        assert_eq!((record.kept, record.trying), (files_of("enp5s0"), None));
    }

    fn stands(etc: &Path, files: &BTreeMap<String, String>) {
        for (path, content) in files {
            atomic::write(&etc.join(path), content, 0o644).unwrap();
        }
    }

    #[test]
    fn t36_settings_that_came_with_a_new_system_do_not_count_before_they_are_tried() {
        let (etc, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let standing = || super::super::our_files(etc.path()).unwrap();
        // The first boot has proven nothing: what was installed counts.
        stands(etc.path(), &files_of("enp5s0"));
        assert!(!begin(etc.path(), state.path()).unwrap());
        keep_without_timer(state.path(), &files_of("enp5s0"));
        assert!(!begin(etc.path(), state.path()).unwrap());

        let mut brought = files_of("wrong0");
        let second = format!("{}/{}br1-port.network", files::DIRECTORY, files::PREFIX);
        brought.insert(second, "wrong1".to_owned());
        stands(etc.path(), &brought);
        assert!(begin(etc.path(), state.path()).unwrap());
        assert_eq!(standing(), files_of("enp5s0"));
        assert!(!begin(etc.path(), state.path()).unwrap());

        // Cut off while they were tried: converge knows, and decides.
        stands(etc.path(), &brought);
        let record =
            Record { trying: Some("them".to_owned()), ..read(state.path()).unwrap().unwrap() };
        write(state.path(), &record).unwrap();
        assert!(!begin(etc.path(), state.path()).unwrap());
        assert_eq!(standing(), brought);
    }

    fn keep_without_timer(state: &Path, proven: &BTreeMap<String, String>) {
        write(state, &Record { schema: 1, kept: proven.clone(), ..Record::default() }).unwrap();
    }

    #[test]
    fn a_damaged_record_is_no_ground_to_change_anything() {
        let place = tempfile::tempdir().unwrap();
        fs::write(path(place.path()), "{").unwrap();
        assert!(matches!(read(place.path()), Err(RollbackError::Record { .. })));
        assert!(take_back(place.path(), place.path(), place.path()).is_err());
    }
}
