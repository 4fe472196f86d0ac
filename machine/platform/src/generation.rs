//! Boot entries on the ESP: shim, systemd-boot and one entry a generation.
//!
//! The rename of the entry is the commit point: everything it names is on the disk before.

mod attempt;
mod copy;
mod esp;
mod list;
mod rebuild;
mod record;
mod room;
mod standing;
mod wanted;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::{ENTRIES, IMAGES, Sealed, seal, unsealed};
use bedplate_model::plan::{BOOT, BOOT_MIRROR};

pub use self::attempt::{Verdict, give_up};
pub use self::copy::copy;
use self::esp::Esp;
pub use self::list::{Listed, Trial, list};
pub use self::rebuild::{Next, REPOSITORY, RebuildError, fits, go_to, rebuild, rollback};
pub use self::record::record;
pub use self::room::Lacking;
pub use self::standing::{compared, faults_of};
use self::wanted::Wanted;
use crate::intent;

/// Where Nix keeps generations of the system.
pub const PROFILES: &str = "/nix/var/nix/profiles";

/// The toplevel that was booted.
pub const RUNNING: &str = "/run/booted-system";

/// What systemd-boot sorts by, ascending: the entry that boots next, the one that did before, and
/// the others, each kind with the latest generation first (Boot Loader Specification, "Sorting").
const RANKS: [&str; 3] = ["bedplate", "bedplate-earlier", "bedplate-older"];

/// How often a new entry is tried before it is given up.
const TRIES: u32 = 3;

/// A boot entry that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// A file.
    #[error("could not {action} {}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said when it was read, copied to the ESP, flushed or removed.
        #[source]
        source: io::Error,
    },
    /// What was written reads back as something else.
    #[error("{} reads back as something else than what was written", .path.display())]
    ReadBack {
        /// The file on the EFI system partition that was read back.
        path: PathBuf,
    },
    /// What stands on the disk does not boot.
    #[error(
        "the EFI system partition at {} would not boot this generation: {}. What booted before still does, unless it is named here: run the command again, and see what the disk says (`journalctl -k`)",
        .esp.display(), .faults.join("; ")
    )]
    Broken {
        /// Where it is mounted.
        esp: PathBuf,
        /// What is wrong with it.
        faults: Vec<String>,
    },
    /// A disk is dying.
    #[error("the disk with the EFI system partition at {} did not answer within {} s", .esp.display(), .limit.as_secs())]
    Silent {
        /// Where it is mounted.
        esp: PathBuf,
        /// How long it was waited for.
        limit: std::time::Duration,
    },
    /// Too much stands there.
    #[error("{0}")]
    NoRoom(Box<Lacking>),
    /// No generation of the system profile is this toplevel.
    #[error("no generation of the system profile in {} is {}", .profiles.display(), .toplevel.display())]
    NoGeneration {
        /// Where generations stand.
        profiles: PathBuf,
        /// What was looked for.
        toplevel: PathBuf,
    },
    /// The generation boots, but not from the second disk.
    #[error(
        "the generation boots from {BOOT}; its copy on the mirror of the EFI system partition \
         could not be written: put the disk back and switch again"
    )]
    Mirror {
        /// What went wrong on the mirror.
        #[source]
        source: Box<GenerationError>,
    },
    /// The ESP is not there.
    #[error("the EFI system partition is not mounted at {}", .path.display())]
    NoEsp {
        /// Where it should be.
        path: PathBuf,
    },
}

fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> GenerationError + 'a {
    move |source| GenerationError::File { action, path: path.to_owned(), source }
}

/// The command `generation boot`.
pub fn command(toplevel: &Path) -> Result<(), Box<dyn Error>> {
    let intent = intent::read(&toplevel.join("host.toml"))?;
    let running = fs::canonicalize(RUNNING).ok();
    let mirror = intent.os.esp_mirror.as_ref().map(|_| Path::new(BOOT_MIRROR));
    let write = |esp: &Path| match is_mount_point(esp) {
        true => boot(esp, Path::new(PROFILES), toplevel, running.as_deref()),
        false => Err(GenerationError::NoEsp { path: esp.to_owned() }),
    };
    Ok(both(Path::new(BOOT), mirror, write)?)
}

/// Writes the mirror first: when the entry on the EFI system partition itself stands, its copy is
/// whole. A partition that is lost does not keep the other from being written, and is told.
fn both(
    esp: &Path,
    mirror: Option<&Path>,
    write: impl Fn(&Path) -> Result<(), GenerationError>,
) -> Result<(), GenerationError> {
    let copied = mirror.map_or(Ok(()), &write);
    write(esp)?;
    copied.map_err(|source| GenerationError::Mirror { source: Box::new(source) })
}

/// What is written into an empty mount point does not boot.
fn is_mount_point(directory: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let above = directory.parent().and_then(device);
    device(directory).is_some_and(|here| above.is_some_and(|above| above != here))
}

/// Makes `toplevel` the newest entry on the ESP at `esp`. `running`: the toplevel that was booted.
pub fn boot(
    esp: &Path,
    profiles: &Path,
    toplevel: &Path,
    running: Option<&Path>,
) -> Result<(), GenerationError> {
    if !esp.is_dir() {
        return Err(GenerationError::NoEsp { path: esp.to_owned() });
    }
    let toplevel = fs::canonicalize(toplevel).map_err(file("find", toplevel))?;
    let generations = generations(profiles)?;
    let own = generations.iter().rfind(|(_, path)| *path == toplevel);
    let number = own.map(|(number, _)| *number).ok_or_else(|| GenerationError::NoGeneration {
        profiles: profiles.to_owned(),
        toplevel: toplevel.clone(),
    })?;
    let wanted = Wanted::of(&toplevel, number)?;
    let place = Esp::at(esp)?;
    place.tidy()?;
    place.part_names()?;
    let runs = running.map_or_else(|| Ok(BTreeSet::new()), |running| started(&place, running))?;
    let alive = generations.iter().map(|(number, _)| *number).chain(runs.iter().copied());
    let alive: BTreeSet<u64> = alive.collect();
    let keep = &room::keep(&list(esp, profiles, running)?, number) | &runs;
    room::make(&place, &wanted, number, &keep, &alive)?;
    // What says how the loaders should be, before they are.
    for part in wanted.images.iter().chain([&wanted.list]).chain(&wanted.loaders) {
        place.put(part)?;
    }
    let entry = write_entry(&place, number, &wanted.entry)?;
    put_behind(&place, number)?;
    place.require_bootable(&entry)?;
    forget(&place, &alive, &wanted, &entry)
}

/// Generations of the system profile, by number.
fn generations(profiles: &Path) -> Result<Vec<(u64, PathBuf)>, GenerationError> {
    let mut found = Vec::new();
    for name in names(profiles)? {
        let number = name.strip_prefix("system-").and_then(|rest| rest.strip_suffix("-link"));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        if let Ok(path) = fs::canonicalize(profiles.join(name)) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Generations whose entry starts this toplevel. The one that runs has one, though its generation was
/// deleted from the profile: until it is left nobody collects it, and the machine returns to it.
fn started(esp: &Esp, toplevel: &Path) -> Result<BTreeSet<u64>, GenerationError> {
    let init = format!("init={}/init", toplevel.display());
    let starts = |name: &&String| {
        esp.text(&format!("{ENTRIES}/{name}")).split_whitespace().any(|word| word == init)
    };
    Ok(esp.names(ENTRIES)?.iter().filter(starts).filter_map(|name| entry_number(name)).collect())
}

fn names(directory: &Path) -> Result<Vec<String>, GenerationError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(file("list", directory))? {
        let entry = entry.map_err(file("list", directory))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn entry(number: u64, toplevel: &Path, kernel: &str, initrd: &str, parameters: &str) -> String {
    let toplevel = toplevel.display();
    // A toplevel may name its init among its parameters; once is enough.
    let words = parameters.split_whitespace().filter(|word| !word.starts_with("init="));
    let parameters = words.collect::<Vec<_>>().join(" ");
    let [first, ..] = RANKS;
    seal(&format!(
        "title Bedplate\nsort-key {first}\nversion {number}\nlinux /{kernel}\ninitrd /{initrd}\noptions init={toplevel}/init {parameters}\n"
    ))
}

/// Writes the entry last, unless the disk has it (with tries left, or blessed); returns its name. One
/// that came up before and has to sort otherwise keeps its name: it has nothing left to prove.
fn write_entry(esp: &Esp, number: u64, text: &str) -> Result<String, GenerationError> {
    let mut own = Vec::new();
    for name in esp.names(ENTRIES)?.into_iter().filter(|name| entry_number(name) == Some(number)) {
        let found = esp.text(&format!("{ENTRIES}/{name}"));
        own.push((name, found));
    }
    let blessed = |(name, found): &&(String, String)| {
        !name.contains('+') && unranked(found) == unranked(text)
    };
    let standing = |(name, found): &&(String, String)| found == text && !is_given_up(name);
    let kept = own.iter().find(blessed).or_else(|| own.iter().find(standing));
    let kept = kept.map(|(name, _)| name.clone());
    let name = kept.unwrap_or_else(|| format!("bedplate-{number}+{TRIES}.conf"));
    esp.write(&format!("{ENTRIES}/{name}"), text)?;
    Ok(name)
}

/// Sorts every other entry behind that of `number`, which may be an earlier one. What booted before
/// comes next: should this one not come up, the machine returns to it.
fn put_behind(esp: &Esp, number: u64) -> Result<(), GenerationError> {
    let [first, second, last] = RANKS;
    let mut others = Vec::new();
    for name in esp.names(ENTRIES)? {
        if entry_number(&name).is_some_and(|other| other != number) {
            let path = format!("{ENTRIES}/{name}");
            let text = esp.text(&path);
            others.push((path, text));
        }
    }
    if !others.iter().any(|(_, text)| has_rank(text, first)) {
        return Ok(());
    }
    for (from, to) in [(second, last), (first, second)] {
        for (path, text) in others.iter().filter(|(_, text)| has_rank(text, from)) {
            let moved = text.replace(&rank(from), &rank(to));
            // What is torn does not become whole by being moved.
            let is_whole = matches!(unsealed(text), Sealed::Whole(_));
            esp.write(path, &if is_whole { seal(&moved) } else { moved })?;
        }
    }
    Ok(())
}

/// What an entry says but for its place among the others.
fn unranked(entry: &str) -> Vec<&str> {
    let said = |line: &&str| !line.starts_with("sort-key ") && !line.starts_with('#');
    entry.lines().filter(said).collect()
}

fn rank(name: &str) -> String {
    format!("\nsort-key {name}\n")
}

fn has_rank(entry: &str, name: &str) -> bool {
    entry.contains(&rank(name))
}

/// The generation of `bedplate-7+3.conf`, `bedplate-7+2-1.conf` or `bedplate-7.conf`.
fn entry_number(name: &str) -> Option<u64> {
    let rest = name.strip_prefix("bedplate-")?.strip_suffix(".conf")?;
    rest.split('+').next()?.parse().ok()
}

fn is_given_up(name: &str) -> bool {
    name.contains("+0")
}

/// Removes entries of generations that are gone and other entries of this one, then images that no entry names, and what says how
/// files should be that are no longer there.
fn forget(
    esp: &Esp,
    alive: &BTreeSet<u64>,
    wanted: &Wanted,
    entry: &str,
) -> Result<(), GenerationError> {
    let own = entry_number(entry);
    let mut named = String::new();
    for name in esp.names(ENTRIES)? {
        let path = format!("{ENTRIES}/{name}");
        let number = entry_number(&name);
        let is_dead = number.is_some_and(|number| !alive.contains(&number));
        if is_dead || number == own && name != entry {
            esp.remove(&path)?;
        } else {
            named += &esp.text(&path);
        }
    }
    for name in esp.names(IMAGES)? {
        let path = format!("{IMAGES}/{name}");
        if !named.contains(name.as_str()) && path != wanted.list.path {
            esp.remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
