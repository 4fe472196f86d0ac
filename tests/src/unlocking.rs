//! What unlocking cost, as the serial console of a booting machine tells it.

use std::collections::BTreeMap;
use std::fmt;

/// One key tried on one keyslot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The process that tried it; none for stage 1.
    pub process: Option<u32>,
    /// Role of a pool's member, or name of the OS disk's mapping.
    pub volume: String,
    /// Whether the key fitted.
    pub opened: bool,
    /// The keyslot.
    pub slot: u32,
    /// `pbkdf2` or `argon2id`.
    pub derivation: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// All keys that were tried during one boot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unlocking {
    /// In order.
    pub tried: Vec<Tried>,
}

impl Unlocking {
    /// Reads what stage 1 and the pools said on the console.
    pub fn read(console: &str) -> Self {
        Self { tried: console.lines().filter_map(tried).collect() }
    }

    /// How many volumes were opened.
    pub fn opened(&self) -> usize {
        self.tried.iter().filter(|one| one.opened).count()
    }

    /// How often Argon2id ran, for keys that fitted and for others.
    pub fn argon2id_runs(&self) -> usize {
        self.tried.iter().filter(|one| one.derivation == "argon2id").count()
    }

    /// What all of it took: stage 1, then the slowest of the pools, which open at once.
    pub fn milliseconds(&self) -> u64 {
        let mut by_process = BTreeMap::<_, u64>::new();
        for one in &self.tried {
            *by_process.entry(one.process).or_default() += one.milliseconds;
        }
        let stage1 = by_process.remove(&None).unwrap_or_default();
        stage1 + by_process.into_values().max().unwrap_or_default()
    }

    /// What all of it took together, on however many processors.
    pub fn sum(&self) -> u64 {
        self.tried.iter().map(|one| one.milliseconds).sum()
    }
}

impl fmt::Display for Unlocking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} volumes unlocked in {:.2} s, target under 3 s ({:.2} s for one after the other); \
             {} Argon2id runs, target none",
            self.opened(),
            self.milliseconds() as f64 / 1000.0,
            self.sum() as f64 / 1000.0,
            self.argon2id_runs()
        )
    }
}

/// `… vm1 opened by keyslot 0 (pbkdf2) in 12 ms`
fn tried(line: &str) -> Option<Tried> {
    let (before, after) = line.split_once(" by keyslot ")?;
    let mut words = before.rsplit(' ');
    let opened = match words.next()? {
        "opened" => true,
        "refused" => false,
        _ => return None,
    };
    let volume = words.next()?.to_owned();
    let process = before.split_once("bedplate-host[").and_then(|(_, rest)| rest.split_once(']'));
    let process = process.and_then(|(number, _)| number.parse().ok());
    let mut words = after.split(' ');
    let slot = words.next()?.parse().ok()?;
    let derivation = words.next()?.trim_matches(['(', ')']).to_owned();
    let milliseconds = words.nth(1)?.parse().ok()?;
    Some(Tried { process, volume, opened, slot, derivation, milliseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unlocking_cost_is_read_from_the_console() {
        let console = "bedplate: bedplate-os refused by keyslot 0 (pbkdf2) in 9 ms\r\n\
            bedplate: bedplate-os opened by keyslot 1 (argon2id) in 2300 ms\r\n\
            [   21.5] bedplate-host[312]: pool vmstore: vm1 opened by keyslot 0 (pbkdf2) in 12 ms\r\n\
            [   21.6] bedplate-host[312]: pool vmstore: vm2 opened by keyslot 0 (pbkdf2) in 10 ms\r\n\
            [   21.5] bedplate-host[311]: pool bulk: bulk1 opened by keyslot 0 (pbkdf2) in 20 ms\r\n\
            [  OK  ] opened by nobody\r\nthe door is closed by keyslot 3 (x) in 1 ms\r\n";
        let found = Unlocking::read(console);
        let volumes: Vec<_> = found.tried.iter().map(|one| one.volume.as_str()).collect();
        assert_eq!(volumes, ["bedplate-os", "bedplate-os", "vm1", "vm2", "bulk1"]);
        assert_eq!((found.opened(), found.argon2id_runs()), (4, 1));
        assert_eq!((found.milliseconds(), found.sum()), (2309 + 22, 2309 + 42));
        assert!(found.to_string().starts_with("4 volumes unlocked in 2.33 s"), "{found}");
    }
}
