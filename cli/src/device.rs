//! A device that somebody names on the command line, and whether it may be written to.

use std::fs;
use std::io;
use std::path::Path;

use bedplate_disks::{Claim, Fault, Identity};
use bedplate_events::shown::shown;
use bedplate_facts::roots::Roots;
use bedplate_facts::{disks, machine, probe};
use bedplate_model::facts::{DiskFacts, Facts, Signature};
use bedplate_planner::stick_fault;

/// Where udev keeps stable names.
const BY_ID: &str = "/dev/disk/by-id";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a stable name.
    #[error("{path} is no whole device named under {BY_ID}; `bedplate inventory` lists them")]
    Name {
        /// What was given.
        path: String,
    },
    /// In use, or something that a stick can never be.
    #[error("{name} is not written to: {why}")]
    Never {
        /// Device by its name below `/dev/disk/by-id`, or path of an image.
        name: String,
        /// What rules it out whoever consents, such as that it is in use.
        why: String,
    },
    /// It could be a mistake.
    #[error("{name} is not written to: {why}. To overwrite it all the same: --overwrite {name}")]
    Consent {
        /// Device or image.
        name: String,
        /// Everything that makes one doubt that it is meant, joined by `; `.
        why: String,
    },
    /// It is in use, or another device by now.
    #[error("{name} was not written to")]
    Claim {
        /// The device as it was named on the command line.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
    /// It cannot be opened.
    #[error("could not {action} {name}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// Device or image.
        name: String,
        /// What the kernel said when the device or image was found, made or named.
        #[source]
        source: io::Error,
    },
}

/// A device that nobody uses, and that is nobody else's.
pub struct Chosen {
    /// Its name below `/dev/disk/by-id`.
    pub name: String,
    /// What it is.
    pub facts: DiskFacts,
    /// It is this program's alone.
    pub claim: Claim,
}

/// A device by its stable name. `never` says what else rules it out, whoever consents.
pub fn choose(
    path: &Path,
    never: impl Fn(&DiskFacts) -> Option<String>,
) -> Result<Chosen, TargetError> {
    let not_stable = || TargetError::Name { path: path.display().to_string() };
    let name = path
        .strip_prefix(BY_ID)
        .ok()
        .and_then(Path::to_str)
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .ok_or_else(not_stable)?;
    let failed = |action, source| TargetError::File { action, name: name.to_owned(), source };
    let node = fs::canonicalize(path).map_err(|source| failed("find", source))?;
    let kernel = node.file_name().and_then(|kernel| kernel.to_str()).unwrap_or_default();
    let found = disks::read_one(&Roots::looking(probe::by_wipefs), kernel);
    let facts = found.filter(|facts| facts.has_id(name)).ok_or_else(not_stable)?;
    let machine = machine::read(&Roots::identity());
    let why = never(&facts).or_else(|| is_used(&facts)).or_else(|| is_unclear(name, &machine));
    if let Some(why) = why {
        return Err(TargetError::Never { name: name.to_owned(), why });
    }
    let claim = Claim::disk(&Identity::seen(name, &facts))
        .map_err(|error| TargetError::Claim { name: error.disk, source: error.fault })?;
    Ok(Chosen { name: name.to_owned(), facts, claim })
}

/// Refuses a device with doubts that nobody has answered by its name.
pub fn ask(name: &str, doubts: &[String], consent: Option<&str>) -> Result<(), TargetError> {
    if doubts.is_empty() || consent == Some(name) {
        return Ok(());
    }
    Err(TargetError::Consent { name: name.to_owned(), why: doubts.join("; ") })
}

/// What no consent outweighs.
pub fn is_used(facts: &DiskFacts) -> Option<String> {
    if !facts.holders.is_empty() {
        let holders: Vec<String> = facts.holders.iter().map(|holder| shown(holder)).collect();
        return Some(format!("it is in use: {}", holders.join(", ")));
    }
    facts.read_only.then(|| "it refuses writes".to_owned())
}

/// Two sticks under one name: which of them it stands for is chance.
pub fn is_unclear(name: &str, machine: &Facts) -> Option<String> {
    stick_fault(name, machine).map(|(why, help)| format!("{why}; {help}"))
}

/// A disk of the machine may be meant by mistake.
pub fn is_fixed(facts: &DiskFacts) -> Option<String> {
    let is_fixed = !facts.removable && facts.transport != "usb";
    is_fixed.then(|| format!("it is no removable device ({})", shown(&facts.transport)))
}

/// What is on it would be lost.
pub fn is_not_blank(facts: &DiskFacts) -> Option<String> {
    let kind = |one: &Signature| match &one.label {
        Some(label) => format!("{} \"{}\"", shown(&one.kind), shown(label)),
        None => shown(&one.kind),
    };
    let kinds: Vec<String> = facts.signatures.iter().map(kind).collect();
    (!kinds.is_empty()).then(|| format!("it is not blank ({})", kinds.join(", ")))
}
