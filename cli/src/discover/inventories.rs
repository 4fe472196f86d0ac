//! The inventories of machines that were found: asked over ssh, and kept as files.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_discovery::{Activity, Discovered};
use bedplate_events::shown::shown;
use bedplate_model::facts::{Facts, NicFacts};
use bedplate_tools::ssh::Target;
use tempfile::NamedTempFile;

use crate::connection::Access;
use crate::inventory;
use crate::report::Failure;

/// An inventory that is not known, or not kept.
#[derive(Debug, thiserror::Error)]
enum InventoryError {
    /// No name that a file could be given.
    #[error(
        "`{}` is no name of a booted medium; ask the machine by the address on its screen: `bedplate inventory --target`",
        .0.escape_debug()
    )]
    Name(String),
    /// Two of one name.
    #[error(
        "several machines announce themselves as {0}; ask each by the address on its screen: `bedplate inventory --target`"
    )]
    Doubled(String),
    /// An announcement that leads to another machine.
    #[error(
        "what answers as {0} has no network interface of that name: the announcement leads to another machine. \
         Ask this one by the address on its screen: `bedplate inventory --target`"
    )]
    OtherMachine(String),
    /// Fingerprints that nobody showed.
    #[error(
        "no inventory came from a machine with the host key {0}; was it booted again since, or is it at work?"
    )]
    Missed(String),
    /// The directory or the file.
    #[error("could not {what} {}", .path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InventoryError {
    let path = path.to_owned();
    move |source| InventoryError::File { what, path, source }
}

/// Where inventories are kept, and how machines are logged in to.
pub struct Inventories<'a> {
    /// One file for each machine.
    pub directory: &'a Path,
    /// The private key to log in with; none: as ssh is configured.
    pub identity: Option<&'a Path>,
    /// Fingerprints of the machines that are meant; none: asked.
    pub host_keys: &'a [String],
}

/// What came of asking a machine.
#[derive(Debug)]
pub struct Answer {
    /// What the machine is.
    pub facts: Facts,
    /// The file that this is kept in.
    pub path: PathBuf,
    /// The fingerprint of its host key.
    pub host_key: String,
}

impl Inventories<'_> {
    /// Makes the directory where it is not there, before anybody is asked anything.
    pub fn prepare(&self) -> Result<(), Failure> {
        Ok(fs::create_dir_all(self.directory).map_err(file("make", self.directory))?)
    }

    /// Asks one of the machines that were found and keeps what it says.
    pub fn ask(&self, one: &Discovered, all: &[Discovered]) -> Result<Answer, Failure> {
        let name = file_name(&one.name).ok_or_else(|| InventoryError::Name(shown(&one.name)))?;
        if is_doubled(one, all) {
            return Err(InventoryError::Doubled(one.name.clone()).into());
        }
        let Self { identity, host_keys, .. } = *self;
        let access = Access { port: one.port, identity, host_keys };
        let machine = access.open_first(&one.name, &targets(&one.addresses))?;
        let facts = machine.inventory()?;
        if !is_named_after(&one.name, &facts) {
            return Err(InventoryError::OtherMachine(one.name.clone()).into());
        }
        let path = self.directory.join(name);
        let text = inventory::document(&facts)?;
        keep(self.directory, &path, &text).map_err(file("write", &path))?;
        Ok(Answer { facts, path, host_key: machine.host_key().to_owned() })
    }

    /// A machine that is meant and gave no inventory is missed, though nobody knows its name.
    pub fn check_all_answered(&self, answered: &[String]) -> Result<(), Failure> {
        let missed = self.host_keys.iter().filter(|key| !answered.contains(key));
        let missed: Vec<String> = missed.map(|key| key.escape_debug().to_string()).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(InventoryError::Missed(missed.join(", ")).into())
    }
}

/// Whether a machine lets somebody in and has nothing else to do.
pub fn is_asked(found: &Discovered) -> bool {
    found.summary.activity == Activity::Waiting
}

/// Names come from the network: whatever is more than one label of letters, digits and `-` could
/// lead out of the directory, and names no file.
fn file_name(name: &str) -> Option<String> {
    let label = name.strip_suffix(".local")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = !label.is_empty() && label.bytes().all(plain);
    fits.then(|| format!("{label}.json"))
}

/// Names of DNS are the same in capitals, and so are files on some workstations.
fn is_doubled(one: &Discovered, all: &[Discovered]) -> bool {
    all.iter().filter(|other| other.name.eq_ignore_ascii_case(&one.name)).count() > 1
}

/// An address that is no word for ssh is passed over: another one may lead there.
fn targets(addresses: &[String]) -> Vec<Target> {
    addresses.iter().filter_map(|address| format!("root@{address}").parse().ok()).collect()
}

/// Anybody can announce one machine's name with the address of another, whose host key is among
/// those that are meant too. A medium calls itself by the end of a MAC address, and its inventory
/// has them all.
fn is_named_after(name: &str, facts: &Facts) -> bool {
    let ends: Vec<String> =
        facts.nics.iter().map(end_of_address).filter(|end| !end.is_empty()).collect();
    let name = name.to_ascii_lowercase();
    // What follows is put there where two machines have the same end.
    ends.is_empty() || ends.iter().any(|end| name.starts_with(&format!("bedplate-{end}")))
}

fn end_of_address(nic: &NicFacts) -> String {
    let digits = nic.mac.chars().filter(char::is_ascii_hexdigit).skip(6).take(6);
    digits.collect::<String>().to_ascii_lowercase()
}

/// Whole or not at all; what was asked before is replaced.
fn keep(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    let mut staged = NamedTempFile::with_prefix_in(".bedplate-", directory)?;
    staged.write_all(text.as_bytes())?;
    staged.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use bedplate_discovery::Summary;

    use super::*;

    fn found(name: &str, activity: Activity) -> Discovered {
        let summary = Summary { activity, memory_bytes: None, disks: Vec::new(), more_disks: 0 };
        Discovered { name: name.to_owned(), addresses: Vec::new(), port: 22, summary }
    }

    fn facts() -> Facts {
        let text = include_str!("../../../profiles/hypervisor/inventory.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn t16_no_name_leads_out_of_the_directory() {
        assert_eq!(file_name("bedplate-3c4d5e.local").unwrap(), "bedplate-3c4d5e.json");
        let hostile = [
            "",
            "bedplate",
            ".local",
            "..local",
            "...local",
            "a.b.local",
            "../x.local",
            "/x.local",
            "a/b.local",
            "a\\b.local",
            "a\0.local",
            "a\n.local",
            "C:x.local",
            "é.local",
            "x.local/../../y",
            "x.local/.local",
        ];
        for name in hostile {
            assert_eq!(file_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn t16_a_machine_without_a_name_for_a_file_is_not_asked() {
        let place = tempfile::tempdir().unwrap();
        let directory = &place.path().join("inventories");
        let inventories = Inventories { directory, identity: None, host_keys: &[] };
        inventories.prepare().unwrap();
        let hostile = found("../escaped.local", Activity::Waiting);
        let failure = inventories.ask(&hostile, &[]).unwrap_err();
        assert!(failure.told().contains("is no name of a booted medium"), "{}", failure.told());
        assert!(!place.path().join("escaped.json").exists());
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }

    #[test]
    fn only_machines_that_wait_are_asked() {
        let asked = |activity| is_asked(&found("bedplate-1.local", activity));
        assert!(asked(Activity::Waiting));
        assert!(![Activity::Busy, Activity::Ended, Activity::Unknown].map(asked).contains(&true));
    }

    #[test]
    fn of_two_machines_of_one_name_none_is_asked() {
        let waiting = |name| found(name, Activity::Waiting);
        let busy = found("BEDPLATE-1.local", Activity::Busy);
        let all = [waiting("bedplate-1.local"), busy, waiting("bedplate-2.local")];
        assert_eq!(all.each_ref().map(|one| is_doubled(one, &all)), [true, true, false]);
        let inventories =
            Inventories { directory: Path::new("/nowhere"), identity: None, host_keys: &[] };
        let failure = inventories.ask(&all[0], &all).unwrap_err();
        assert!(failure.told().contains("several machines"), "{}", failure.told());
    }

    #[test]
    fn a_machine_that_is_meant_and_gave_nothing_is_missed() {
        let host_keys = ["SHA256:one", "SHA256:two"].map(str::to_owned);
        let directory = Path::new("/nowhere");
        let inventories = Inventories { directory, identity: None, host_keys: &host_keys };
        inventories.check_all_answered(&host_keys).unwrap();
        let failure = inventories.check_all_answered(&host_keys[..1]).unwrap_err().told();
        assert!(failure.contains("host key SHA256:two;"), "{failure}");
        // Where somebody was asked about each machine, none is missed.
        Inventories { host_keys: &[], ..inventories }.check_all_answered(&[]).unwrap();
    }

    #[test]
    fn addresses_are_tried_in_their_order_and_those_that_ssh_does_not_take_are_passed_over() {
        let addresses = ["192.168.1.20", "-oProxyCommand=x", "fd00::20", "fe80::1%eth0", "a b"];
        let targets = targets(&addresses.map(str::to_owned));
        let hosts: Vec<&str> = targets.iter().map(Target::host).collect();
        assert_eq!(hosts, ["192.168.1.20", "fd00::20", "fe80::1%eth0"]);
    }

    #[test]
    fn t16_an_inventory_is_that_of_the_machine_whose_name_it_is_kept_by() {
        let facts = facts();
        let end = end_of_address(facts.nics.first().unwrap());
        assert_eq!(end.len(), 6);
        for name in [format!("bedplate-{end}.local"), format!("BEDPLATE-{end}-2.local")] {
            assert!(is_named_after(&name, &facts), "{name}");
        }
        for name in ["bedplate-000000.local", "bedplate-.local", "other.local"] {
            assert!(!is_named_after(name, &facts), "{name}");
        }
        let unnamed = Facts { nics: Vec::new(), ..facts };
        assert!(is_named_after("bedplate-live.local", &unnamed));
    }

    #[test]
    fn an_inventory_is_kept_as_the_plan_reads_it_in_the_place_of_an_older_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bedplate-1.json");
        fs::write(&path, "older").unwrap();
        keep(directory.path(), &path, &inventory::document(&facts()).unwrap()).unwrap();
        let kept: Facts = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(kept, facts());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
