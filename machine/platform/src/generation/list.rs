//! Which generations there are, and how each has done.

use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::ENTRIES;
use serde::Serialize;

use super::esp::text;
use super::{GenerationError, RANKS, entry_number, generations, has_rank, names};

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// Store path of its toplevel.
    pub toplevel: PathBuf,
    /// Whether it is the one that runs.
    pub running: bool,
    /// Whether it is the one that boots next.
    pub next: bool,
    /// Whether it has come up, as its boot entry tells.
    pub trial: Trial,
    /// What keeps it from booting from this partition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Whether a generation has come up (Boot Loader Specification, "Boot counting").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    /// It has reached the end of a boot.
    CameUp,
    /// It has so many tries left.
    TriesLeft(u32),
    /// It never came up, and is not tried any more.
    GivenUp,
    /// The boot menu does not offer it.
    NoEntry,
}

/// The generations, the latest first.
pub fn list(
    esp: &Path,
    profiles: &Path,
    running: Option<&Path>,
) -> Result<Vec<Listed>, GenerationError> {
    let entries = entries(esp)?;
    let next = entries.iter().min_by_key(|entry| entry.place()).map(|entry| entry.number);
    let mut all = Vec::new();
    for (number, toplevel) in generations(profiles)?.into_iter().rev() {
        let entry = entries.iter().find(|entry| entry.number == number);
        all.push(Listed {
            number,
            running: running == Some(toplevel.as_path()),
            next: next == Some(number),
            trial: entry.map_or(Trial::NoEntry, |entry| entry.trial),
            toplevel,
            faults: Vec::new(),
        });
    }
    Ok(all)
}

/// A boot entry of a generation.
struct Entry {
    number: u64,
    rank: usize,
    trial: Trial,
}

impl Entry {
    /// What systemd-boot sorts by, ascending: it starts the first.
    fn place(&self) -> (bool, usize, std::cmp::Reverse<u64>) {
        (self.trial == Trial::GivenUp, self.rank, std::cmp::Reverse(self.number))
    }
}

fn entries(esp: &Path) -> Result<Vec<Entry>, GenerationError> {
    let directory = esp.join(ENTRIES);
    let names = if directory.is_dir() { names(&directory)? } else { Vec::new() };
    let mut entries = Vec::new();
    for name in names {
        let Some(number) = entry_number(&name) else { continue };
        // A torn one is told as that, and does not hide the others.
        let text = text(&directory.join(&name));
        let rank = RANKS.iter().position(|rank| has_rank(&text, rank));
        entries.push(Entry { number, rank: rank.unwrap_or(RANKS.len()), trial: trial(&name) });
    }
    Ok(entries)
}

/// What a name such as `bedplate-7+2-1.conf` counts.
pub(super) fn trial(name: &str) -> Trial {
    let Some((_, counters)) = name.split_once('+') else { return Trial::CameUp };
    let left: String = counters.chars().take_while(char::is_ascii_digit).collect();
    match left.parse() {
        Ok(0) => Trial::GivenUp,
        Ok(left) => Trial::TriesLeft(left),
        Err(_) => Trial::CameUp,
    }
}

impl Listed {
    /// Whether it runs and boots next, in words.
    pub fn standing(&self) -> &'static str {
        match (self.running, self.next) {
            (true, true) => "runs, boots next",
            (true, false) => "runs",
            (false, true) => "boots next",
            (false, false) => "",
        }
    }
}

impl std::fmt::Display for Trial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CameUp => formatter.write_str("has come up"),
            Self::TriesLeft(left) => write!(formatter, "untried, {left} tries left"),
            Self::GivenUp => formatter.write_str("never came up, given up"),
            Self::NoEntry => formatter.write_str("not in the boot menu"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_how_its_generation_has_done() {
        assert_eq!(trial("bedplate-7.conf"), Trial::CameUp);
        assert_eq!(trial("bedplate-7+3.conf"), Trial::TriesLeft(3));
        assert_eq!(trial("bedplate-7+2-1.conf"), Trial::TriesLeft(2));
        assert_eq!(trial("bedplate-7+0-3.conf"), Trial::GivenUp);
    }
}
