//! What unlocking cost, as the serial console of a booting machine tells it.

use std::fmt;

/// One key tried on one keyslot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
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

    /// What all of it took, one after the other.
    pub fn milliseconds(&self) -> u64 {
        self.tried.iter().map(|one| one.milliseconds).sum()
    }
}

impl fmt::Display for Unlocking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} volumes unlocked in {:.2} s, target under 3 s; {} Argon2id runs, target none",
            self.opened(),
            self.milliseconds() as f64 / 1000.0,
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
    let mut words = after.split(' ');
    let slot = words.next()?.parse().ok()?;
    let derivation = words.next()?.trim_matches(['(', ')']).to_owned();
    let milliseconds = words.nth(1)?.parse().ok()?;
    Some(Tried { volume, opened, slot, derivation, milliseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_unlocking_cost_is_read_from_the_console() {
        let console = "bedplate: bedplate-os refused by keyslot 0 (pbkdf2) in 9 ms\r\n\
            bedplate: bedplate-os opened by keyslot 1 (argon2id) in 2300 ms\r\n\
            [   21.5] bedplate-host[312]: pool vmstore: vm1 opened by keyslot 0 (pbkdf2) in 12 ms\r\n\
            [  OK  ] opened by nobody\r\nthe door is closed by keyslot 3 (x) in 1 ms\r\n";
        let found = Unlocking::read(console);
        let volumes: Vec<_> = found.tried.iter().map(|one| one.volume.as_str()).collect();
        assert_eq!(volumes, ["bedplate-os", "bedplate-os", "vm1"]);
        assert_eq!((found.opened(), found.argon2id_runs(), found.milliseconds()), (2, 1, 2321));
        assert!(found.to_string().starts_with("2 volumes unlocked in 2.32 s"), "{found}");
    }
}
