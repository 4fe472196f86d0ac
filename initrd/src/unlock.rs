//! Stage 1: unlocking the OS disk by stick or passphrase and mounting its subvolumes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bedplate_formats::boot::Unlock;
use bedplate_keystick as keystick;
use bedplate_keystick::layout::SECRET_LIMIT;
use bedplate_luks::{KEYFILE_SLOT, LuksError, PASSPHRASE_SLOT};
use bedplate_tools::block::{self, Block};
use bedplate_tools::mount::{Access, Mount};
use bedplate_tools::signature::Signature;
use bedplate_tools::terminals::{Terminals, consoles};
use zeroize::Zeroizing;

use bedplate_events::cause::in_line;

use crate::console::Console;
use crate::early::make_directory;
use crate::error::Error;
use crate::uevents::Uevents;

/// Where a stick is mounted for a moment.
const STICK: &str = "/run/bedplate/stick";

/// A typed passphrase is kept here until the pools are open.
const PASSPHRASE: &str = "/run/bedplate/passphrase";

/// How long to wait quietly for the disk.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is asked.
const QUESTION: &str = "Passphrase of the system disk (or plug in the key stick):";

/// Tries before a pause.
const TRIES: u32 = 3;

/// How often a stick is tried that cannot be read, or the disk with its key: either may be slow to be ready.
const STICK_TRIES: u32 = 5;

/// The time in between.
const STICK_PAUSE: Duration = Duration::from_secs(1);

/// The pause: a stuck key must not run Argon2 for ever.
const PAUSE: Duration = Duration::from_secs(5);

/// Unlocks and mounts the OS disk at `root`.
pub(crate) fn prepare(unlock: &Unlock, root: &Path, console: &Console) -> Result<(), Error> {
    let uevents = Uevents::open()?;
    let disk = find_disk(unlock, &uevents, console)?;
    let mut opener = Opener { unlock, disk, console, refused: Vec::new() };
    if !opener.by_stick_in_time(&uevents)? {
        opener.by_anything(&uevents)?;
    }
    mount_subvolumes(unlock, root)
}

struct Opener<'a> {
    unlock: &'a Unlock,
    disk: PathBuf,
    console: &'a Console,
    /// Sticks whose key did not fit; the same stick put in again is a new one.
    refused: Vec<Block>,
}

impl Opener<'_> {
    /// Waits for a stick until the time is up or one is refused; whether the disk is open.
    fn by_stick_in_time(&mut self, uevents: &Uevents) -> Result<bool, Error> {
        if self.unlock.sticks.is_empty() {
            return Ok(false);
        }
        let seconds = self.unlock.timeout_seconds;
        let deadline = Instant::now() + Duration::from_secs(seconds.into());
        loop {
            if self.by_stick()? {
                return Ok(true);
            }
            if !self.refused.is_empty() {
                return Ok(false);
            }
            if Instant::now() >= deadline {
                self.console.say(&format!("no key stick after {seconds} s"));
                return Ok(false);
            }
            uevents.wait(&[], Some(deadline))?;
        }
    }

    /// Asks until a passphrase or a stick that came meanwhile opens the disk.
    fn by_anything(&mut self, uevents: &Uevents) -> Result<(), Error> {
        let prompt = Terminals::hidden(&consoles());
        let mut tries = 0;
        loop {
            prompt.write(&format!("\r\n{QUESTION} "));
            let Some(line) = self.wait_for_line(&prompt, uevents)? else { return Ok(()) };
            prompt.write("\r\n");
            match self.by_passphrase(&line) {
                Ok(true) => return keep_passphrase(&line),
                Ok(false) => {
                    tries += 1;
                    let text = format!("this passphrase does not fit (try {tries} of {TRIES})");
                    self.console.say(&text);
                }
                // The person may put right what is wrong; stopping would not.
                Err(error) => self.console.say(&in_line(&error)),
            }
            if tries == TRIES {
                tries = 0;
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// A typed line, or `None` when a stick opened the disk first.
    fn wait_for_line(
        &mut self,
        prompt: &Terminals,
        uevents: &Uevents,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        loop {
            if self.by_stick()? {
                prompt.write("\r\n");
                return Ok(None);
            }
            let readable = uevents.wait(&prompt.descriptors(), None)?;
            if let Some(line) = prompt.line(&readable) {
                return Ok(Some(line));
            }
        }
    }

    /// Tries every stick that is there and was not refused.
    fn by_stick(&mut self) -> Result<bool, Error> {
        for device in disks()? {
            let ids = self.unlock.sticks.iter().map(String::as_str);
            if self.refused.contains(&device) || !keystick::is_stick(&device, ids) {
                continue;
            }
            match again(STICK_PAUSE, || self.try_stick(&device)) {
                Ok(()) => {
                    self.console.say(&format!("unlocked with {}", device.node.display()));
                    return Ok(true);
                }
                Err(error) => {
                    self.console.say(&format!(
                        "the stick {} is of no use: {}",
                        device.node.display(),
                        in_line(&error)
                    ));
                    self.refused.push(device);
                }
            }
        }
        Ok(false)
    }

    fn try_stick(&self, device: &Block) -> Result<(), Error> {
        let key =
            keystick::read_from(device, Path::new(STICK), &self.unlock.keyfile, SECRET_LIMIT)?;
        match self.attempt(KEYFILE_SLOT, key.expose())? {
            true => Ok(()),
            false => Err(LuksError::WrongKey { device: self.disk.clone() }.into()),
        }
    }

    /// The passphrase's own keyslot first; then those that somebody added, each once.
    fn by_passphrase(&self, passphrase: &[u8]) -> Result<bool, Error> {
        let others = bedplate_luks::keyslots(&self.disk)?.into_iter();
        let others = others.filter(|slot| *slot != PASSPHRASE_SLOT);
        for slot in [PASSPHRASE_SLOT].into_iter().chain(others) {
            if self.attempt(slot, passphrase)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tries one keyslot and says what that cost.
    fn attempt(&self, slot: u32, key: &[u8]) -> Result<bool, LuksError> {
        let Unlock { mapper, discard, .. } = self.unlock;
        let tried = bedplate_luks::attempt(&self.disk, Some(mapper), slot, key, *discard)?;
        if let Some(tried) = tried {
            self.console.say(&format!("{mapper} {tried}"));
        }
        Ok(tried.is_some_and(|tried| tried.fits))
    }
}

/// Tries as often as may help: one error of a device that has just come is no reason to ask a person,
/// where perhaps nobody is.
fn again(pause: Duration, mut attempt: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    for _ in 1..STICK_TRIES {
        match attempt() {
            Err(error) if !error.is_lasting() => std::thread::sleep(pause),
            other => return other,
        }
    }
    attempt()
}

fn find_disk(unlock: &Unlock, uevents: &Uevents, console: &Console) -> Result<PathBuf, Error> {
    let wanted = unlock.luks_uuid.to_string();
    let mut speak_at = Instant::now() + PATIENCE;
    loop {
        let found = disks()?.into_iter().find(|device| {
            matches!(device.signature(), Some(Signature::Luks2 { uuid })
                if uuid.eq_ignore_ascii_case(&wanted))
        });
        if let Some(device) = found {
            return Ok(device.node);
        }
        if Instant::now() >= speak_at {
            console.say(&format!("the system disk (LUKS {wanted}) is not there yet."));
            console.say("Check that it is connected; the machine goes on by itself.");
            speak_at = Instant::now() + PATIENCE;
        }
        uevents.wait(&[], Some(speak_at))?;
    }
}

fn disks() -> Result<Vec<Block>, Error> {
    block::disks().map_err(|source| Error::file("list", Path::new("/sys/class/block"), source))
}

fn keep_passphrase(passphrase: &[u8]) -> Result<(), Error> {
    let path = Path::new(PASSPHRASE);
    make_directory(path.parent().unwrap_or(Path::new("/run")))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(passphrase))
        .map_err(|source| Error::file("keep the passphrase in", path, source))
}

fn mount_subvolumes(unlock: &Unlock, root: &Path) -> Result<(), Error> {
    let source = format!("/dev/mapper/{}", unlock.mapper);
    let mut mounts: Vec<_> = unlock.subvolumes.iter().collect();
    // A mount point sorts before those below it.
    mounts.sort_by_key(|(_, target)| target.as_str());
    for (subvolume, target) in mounts {
        let target = root.join(target.trim_start_matches('/'));
        make_directory(&target)?;
        let options = format!("subvol={subvolume}");
        Mount {
            source: &source,
            target: &target,
            kind: "btrfs",
            access: Access::ReadWrite,
            options: &options,
        }
        .mount()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t21_a_stick_that_fails_once_is_tried_again_and_a_wrong_key_is_not() {
        let broken = || {
            Error::from(LuksError::File {
                operation: "read the LUKS header",
                path: "/dev/sda2".into(),
                source: std::io::Error::from_raw_os_error(5),
            })
        };
        let wrong = || Error::from(LuksError::WrongKey { device: "/dev/sda2".into() });
        let tried = |mut answers: Vec<Result<(), Error>>| {
            answers.reverse();
            let mut times = 0;
            let came = again(Duration::ZERO, || {
                times += 1;
                answers.pop().unwrap_or_else(|| Err(broken()))
            });
            (times, came.is_ok())
        };
        assert_eq!(tried(vec![Err(broken()), Err(broken()), Ok(())]), (3, true));
        assert_eq!(tried(vec![Err(broken()), Err(wrong())]), (2, false));
        // The passphrase comes soon, also beside a stick that never can be read.
        assert_eq!(tried(vec![]), (STICK_TRIES, false));
    }
}
