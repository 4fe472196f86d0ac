//! Keys: the keyfile on a stick, or the passphrase typed in stage 1.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_keystick::layout::SECRET_LIMIT;
use bedplate_keystick::{self as keystick, StickError};
use bedplate_luks::{KEYFILE_SLOT, PASSPHRASE_SLOT};
use bedplate_model::host::{HostFile, Unlock};
use bedplate_tools::block::Block;
use bedplate_tools::secret::Secret;

use super::{PoolError, file};
use bedplate_events::cause::in_line;
use bedplate_model::name::PoolName;

/// Where stage 1 leaves a typed passphrase.
const PASSPHRASE: &str = "/run/bedplate/passphrase";

/// Here each pool that will not ask for a key again, open or not, leaves its name.
const SETTLED: &str = "/run/bedplate/pools";

/// One key, and the keyslot it belongs to.
#[derive(Debug, Clone)]
pub struct Key {
    /// Tells it from every other key of this run.
    pub number: usize,
    /// The keyslot to try.
    pub slot: u32,
    /// The key.
    pub secret: Secret,
}

/// The keys found so far. A stick is read once for each time it is plugged in.
pub struct Keys<'a> {
    unlock: &'a Unlock,
    /// Sticks that gave their key, or never will.
    sticks: Vec<Block>,
    keys: Vec<Key>,
    /// The others, how often they were tried, and what was wrong.
    failed: Vec<(Block, u32, String)>,
}

/// How often a stick is read that may yet give its key: some are slow to be ready.
const STICK_TRIES: u32 = 10;

impl<'a> Keys<'a> {
    /// The passphrase typed in stage 1, when one was; no stick yet.
    pub fn new(unlock: &'a Unlock) -> Result<Self, PoolError> {
        let (sticks, keys, failed) = (Vec::new(), Vec::new(), Vec::new());
        let mut keys = Self { unlock, sticks, keys, failed };
        let path = Path::new(PASSPHRASE);
        match fs::read(path) {
            Ok(bytes) => keys.add(PASSPHRASE_SLOT, Secret::new(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(file("read", path)(error)),
        }
        Ok(keys)
    }

    /// All keys, the cheap ones first, with those of sticks among `blocks` that are new.
    pub fn with(&mut self, blocks: &[Block]) -> Vec<Key> {
        for block in blocks {
            if self.sticks.contains(block) || !self.is_stick(block) {
                continue;
            }
            // Its own for each process: pools are opened at the same time.
            let at = PathBuf::from(format!("/run/bedplate/stick-{}", std::process::id()));
            let read = keystick::read_from(block, &at, &self.unlock.keyfile, SECRET_LIMIT);
            self.took(block, read);
        }
        self.keys.clone()
    }

    /// What was wrong with sticks that gave no key, one line each.
    pub fn useless(&self) -> impl Iterator<Item = String> {
        self.failed.iter().map(|(block, _, why)| format!("{}: {why}", block.node.display()))
    }

    /// One stick was read, or could not be: then it is tried again, where that may help.
    fn took(&mut self, block: &Block, read: Result<Secret, StickError>) {
        let before = self.failed.iter().position(|(failed, ..)| failed == block);
        let tries = before.map_or(0, |index| self.failed.remove(index).1) + 1;
        match read {
            Ok(secret) => {
                self.add(KEYFILE_SLOT, secret);
                self.sticks.push(block.clone());
            }
            Err(error) => {
                if error.is_lasting() || tries >= STICK_TRIES {
                    self.sticks.push(block.clone());
                }
                self.failed.push((block.clone(), tries, in_line(&error)));
            }
        }
    }

    fn add(&mut self, slot: u32, secret: Secret) {
        let number = self.keys.len();
        self.keys.push(Key { number, slot, secret });
        self.keys.sort_by_key(|key| key.slot);
    }

    fn is_stick(&self, block: &Block) -> bool {
        let ids = self.unlock.sticks.iter().map(|stick| stick.volume_id.as_str());
        keystick::is_stick(block, ids)
    }
}

/// Which keys were tried on which header: a wrong stick that is left in must not keep the
/// machine busy until the time is up.
#[derive(Debug, Default)]
pub struct Trials {
    tried: BTreeSet<(String, usize)>,
}

impl Trials {
    /// Those of the keys that were not tried on this header; from now on they were.
    pub fn new_to(&mut self, header: &str, mut keys: Vec<Key>) -> Vec<Key> {
        keys.retain(|key| self.tried.insert((header.to_owned(), key.number)));
        keys
    }

    /// A header that was unlocked, and is to be again: every key is tried anew.
    pub fn forget_all(&mut self, header: &str) {
        self.tried.retain(|(tried, _)| tried != header);
    }

    /// Whether this key fits could not be found out: it is tried again.
    pub fn forget(&mut self, header: &str, key: &Key) {
        self.tried.remove(&(header.to_owned(), key.number));
    }
}

/// This pool is open or has given up. After the last of them the passphrase is removed, so that
/// it never outlives the boot.
pub fn settle(host: &HostFile, pool: &str) -> Result<(), PoolError> {
    settle_in(host, pool, Path::new(SETTLED), Path::new(PASSPHRASE))
}

fn settle_in(
    host: &HostFile,
    pool: &str,
    settled: &Path,
    passphrase: &Path,
) -> Result<(), PoolError> {
    fs::create_dir_all(settled).map_err(file("make", settled))?;
    let own = settled.join(pool);
    fs::write(&own, "").map_err(file("write", &own))?;
    forget_unless_needed(host, settled, passphrase)
}

/// Removes the passphrase where nothing will ask for it: on a machine without pools nothing ever does.
pub fn forget_if_unneeded(host: &HostFile) -> Result<(), PoolError> {
    forget_unless_needed(host, Path::new(SETTLED), Path::new(PASSPHRASE))
}

fn forget_unless_needed(
    host: &HostFile,
    settled: &Path,
    passphrase: &Path,
) -> Result<(), PoolError> {
    let is_settled = |name: &PoolName| settled.join(name).exists();
    if host.pools.keys().all(is_settled) { forget_in(passphrase) } else { Ok(()) }
}

/// Removes the passphrase, whoever may still want it.
pub fn forget() -> Result<(), PoolError> {
    forget_in(Path::new(PASSPHRASE))
}

fn forget_in(passphrase: &Path) -> Result<(), PoolError> {
    match fs::remove_file(passphrase) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(file("remove", passphrase)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostFile {
        let text = include_str!("../../../profiles/hypervisor/host.toml");
        bedplate_document::parse(text, "host.toml").unwrap()
    }

    #[test]
    fn t21_the_passphrase_goes_when_the_last_pool_is_open_or_has_given_up() {
        let run = tempfile::tempdir().unwrap();
        let (settled, passphrase) = (run.path().join("pools"), run.path().join("passphrase"));
        fs::write(&passphrase, "secret").unwrap();
        settle_in(&host(), "bulk", &settled, &passphrase).unwrap();
        settle_in(&host(), "bulk", &settled, &passphrase).unwrap();
        assert!(passphrase.exists(), "the other pool still needs it");
        settle_in(&host(), "vmstore", &settled, &passphrase).unwrap();
        assert!(!passphrase.exists());
        settle_in(&host(), "vmstore", &settled, &passphrase).unwrap();
    }

    #[test]
    fn t19_on_a_machine_without_pools_the_passphrase_goes_at_once() {
        let run = tempfile::tempdir().unwrap();
        let (settled, passphrase) = (run.path().join("pools"), run.path().join("passphrase"));
        fs::write(&passphrase, "secret").unwrap();
        let mut host = host();
        forget_unless_needed(&host, &settled, &passphrase).unwrap();
        assert!(passphrase.exists(), "its pools need it");
        host.pools.clear();
        forget_unless_needed(&host, &settled, &passphrase).unwrap();
        assert!(!passphrase.exists());
        forget_unless_needed(&host, &settled, &passphrase).unwrap();
    }

    #[test]
    fn t21_a_wrong_key_is_tried_once_and_a_late_one_still() {
        let key = |number| Key { number, slot: 0, secret: Secret::new(vec![1]) };
        let mut trials = Trials::default();
        let mut numbers = |header: &str, keys: &[usize]| -> Vec<usize> {
            let keys = keys.iter().map(|number| key(*number)).collect();
            trials.new_to(header, keys).iter().map(|key| key.number).collect()
        };
        assert_eq!(numbers("a", &[0]), [0]);
        assert_eq!(numbers("a", &[0]), [] as [usize; 0]);
        assert_eq!(numbers("a", &[0, 1]), [1]);
        assert_eq!(numbers("b", &[0, 1]), [0, 1]);
        // What could not be tried, because the disk did not answer, is tried again.
        trials.forget("a", &key(1));
        let again = trials.new_to("a", vec![key(0), key(1)]);
        assert_eq!(again.iter().map(|key| key.number).collect::<Vec<_>>(), [1]);
        // What was closed because its disk was gone is unlocked anew.
        trials.forget_all("a");
        assert_eq!(trials.new_to("a", vec![key(0), key(1)]).len(), 2);
        assert_eq!(trials.new_to("b", vec![key(0)]).len(), 0);
    }

    #[test]
    fn t21_a_stick_that_is_slow_to_be_ready_is_read_again_and_an_empty_one_is_not() {
        let host = host();
        let (name, node) = ("sdx1".to_owned(), "/dev/sdx1".into());
        let stick = Block { name, node, size: 1 << 30, partition: Some(1), sequence: 7 };
        let failed = || StickError::File {
            action: "read",
            path: "bedplate.key".into(),
            source: io::Error::from_raw_os_error(5),
        };
        let keys = || Keys { unlock: &host.unlock, sticks: vec![], keys: vec![], failed: vec![] };
        let mut slow = keys();
        slow.took(&stick, Err(failed()));
        assert!(slow.sticks.is_empty(), "it is read again");
        assert_eq!(slow.useless().count(), 1);
        slow.took(&stick, Ok(Secret::new(vec![1; 64])));
        assert_eq!((slow.sticks.len(), slow.keys.len(), slow.useless().count()), (1, 1, 0));
        // Not for ever.
        let mut broken = keys();
        (0..STICK_TRIES).for_each(|_| broken.took(&stick, Err(failed())));
        assert_eq!((broken.sticks.len(), broken.useless().count()), (1, 1));
        let mut empty = keys();
        empty.took(&stick, Err(StickError::Missing { path: "bedplate.key".into() }));
        assert_eq!(empty.sticks.len(), 1, "it never will give one");
    }

    #[test]
    fn keyfiles_are_tried_before_a_passphrase_and_keep_their_numbers() {
        let host = host();
        let mut keys =
            Keys { unlock: &host.unlock, sticks: Vec::new(), keys: Vec::new(), failed: Vec::new() };
        keys.add(PASSPHRASE_SLOT, Secret::new(b"typed".to_vec()));
        keys.add(KEYFILE_SLOT, Secret::new(vec![1; 64]));
        let order: Vec<_> = keys.with(&[]).iter().map(|key| (key.number, key.slot)).collect();
        assert_eq!(order, [(1, KEYFILE_SLOT), (0, PASSPHRASE_SLOT)]);
    }
}
