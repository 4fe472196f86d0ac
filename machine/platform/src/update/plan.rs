//! What an update does, decided from what the repository and the medium say. Pure.

use std::collections::BTreeSet;
use std::fmt;

use bedplate_formats::platform::{DESCRIPTION, Part, Platform};
use serde_json::Value;

/// What is known.
#[derive(Debug, Clone, Default)]
pub struct UpdateFacts {
    /// `bedplate/platform.json` of the repository.
    pub held: Option<Vec<u8>>,
    /// `platform.json` of the medium.
    pub offered: Vec<u8>,
    /// Those paths of the medium that the store has.
    pub valid: BTreeSet<String>,
    /// What of the repository is not committed, as git names it.
    pub uncommitted: Vec<String>,
}

/// What is done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Everything that is left to do, in this order.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy a path of the medium into the store.
    Add(Part),
    /// Write the description into the repository.
    Write(Vec<u8>),
    /// Commit it.
    Commit(String),
    /// Build the system and make it boot next.
    Rebuild,
}

impl Step {
    /// For events.
    pub fn id(&self) -> String {
        match self {
            Self::Add(part) => format!("add-{}", part.name),
            Self::Write(_) => "write".to_owned(),
            Self::Commit(_) => "commit".to_owned(),
            Self::Rebuild => "rebuild".to_owned(),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(part) => write!(formatter, "copy {} from the medium", part.base()),
            Self::Write(_) => write!(formatter, "write {DESCRIPTION}"),
            Self::Commit(_) => write!(formatter, "commit {DESCRIPTION}"),
            Self::Rebuild => formatter.write_str("build the system and make it boot next"),
        }
    }
}

/// Why nothing is done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// Another format, or none.
    #[error("the platform.json of the medium is not understood: is it a medium of Bedplate?")]
    Offered,
    /// The owner is at work.
    #[error("/etc/nixos has changes that are not committed, and nothing was changed: {}", .0.join(", "))]
    Uncommitted(Vec<String>),
}

/// Decides. A description that is the medium's already is neither written nor committed: an owner
/// may have pulled it, and this machine lacks the paths only.
pub fn decide(host: &str, facts: &UpdateFacts) -> Result<Plan, Refusal> {
    let platform = Platform::parse(&facts.offered).ok_or(Refusal::Offered)?;
    let is_held = facts.held.as_deref().is_some_and(|held| same(held, &facts.offered));
    // What an update left that was cut off before its commit.
    let own = |line: &String| is_held && line.ends_with(&format!(" {DESCRIPTION}"));
    let (left, others): (Vec<_>, Vec<_>) = facts.uncommitted.iter().cloned().partition(own);
    if !others.is_empty() {
        return Err(Refusal::Uncommitted(others));
    }
    let missing = platform.parts().into_iter().filter(|part| !facts.valid.contains(&part.path));
    let mut steps: Vec<Step> = missing.cloned().map(Step::Add).collect();
    if !is_held {
        steps.push(Step::Write(facts.offered.clone()));
    }
    if !is_held || !left.is_empty() {
        steps.push(Step::Commit(message(host, &platform)));
    }
    steps.push(Step::Rebuild);
    Ok(Plan { steps })
}

/// As JSON: layout does not count.
fn same(held: &[u8], offered: &[u8]) -> bool {
    let read = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    read(held).is_some_and(|held| Some(held) == read(offered))
}

fn message(host: &str, platform: &Platform) -> String {
    let parts = platform.parts().map(|part| format!("- {}\n", part.base())).concat();
    format!(
        "Update the platform of {host} from a medium\n\nLinux {}\n{parts}",
        platform.kernel_version.escape_default()
    )
}
