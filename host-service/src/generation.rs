//! Boot entries on the ESP: shim, systemd-boot and one entry a generation.
//!
//! The rename of the entry is the commit point: everything it names is on the disk before.

mod attempt;
mod copy;
mod list;
mod rebuild;

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bedplate_spec::plan::{BOOT, BOOT_MIRROR};
use bedplate_tools::sync;
use sha2::{Digest as _, Sha256};

pub use self::attempt::{Verdict, give_up};
pub use self::copy::copy;
pub use self::list::{Listed, list};
pub use self::rebuild::{Next, REPOSITORY, RebuildError, go_to, rebuild, rollback};
use crate::context::Context;

/// Where Nix keeps generations of the system.
pub const PROFILES: &str = "/nix/var/nix/profiles";

/// What systemd-boot sorts by, ascending: the entry that boots next, the one that did before, and
/// the others, each kind with the latest generation first (Boot Loader Specification, "Sorting").
const RANKS: [&str; 3] = ["bedplate", "bedplate-earlier", "bedplate-older"];

/// How often a new entry is tried before it is given up.
const TRIES: u32 = 3;

/// What the firmware starts, from the tree, in the order it is written.
const LOADERS: &[(&str, &str)] = &[
    ("usr/lib/shim/mmx64.efi.signed", "EFI/BOOT/mmx64.efi"),
    ("usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed", "EFI/BOOT/grubx64.efi"),
    ("usr/lib/shim/shimx64.efi.signed", "EFI/BOOT/BOOTX64.EFI"),
];

/// Without `auto-firmware` a disk whose installation was cut off before it had an entry would wait in
/// the firmware's setup; so the firmware goes on to what it starts next, which is the medium
/// (`loader.conf(5)`; the key `f` still leads there).
const LOADER: &str = "timeout 2\nconsole-mode keep\neditor no\nauto-firmware no\n";

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
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was written reads back as something else.
    #[error("{} reads back as something else than what was written", .path.display())]
    ReadBack {
        /// Which.
        path: PathBuf,
    },
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
        /// Why.
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
    let intent = Context::read(&toplevel.join("host.toml"))?.intent;
    let mirror = intent.os.esp_mirror.as_ref().map(|_| Path::new(BOOT_MIRROR));
    let write = |esp: &Path| match is_mount_point(esp) {
        true => boot(esp, Path::new(PROFILES), toplevel),
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

/// Makes `toplevel` the newest entry on the ESP at `esp`.
pub fn boot(esp: &Path, profiles: &Path, toplevel: &Path) -> Result<(), GenerationError> {
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
    let kernel = place_image(esp, &toplevel.join("kernel"), "kernel")?;
    let initrd = place_image(esp, &toplevel.join("initrd"), "initrd")?;
    for (source, target) in LOADERS {
        place(&toplevel.join("tree").join(source), &esp.join(target))?;
    }
    replace(&esp.join("loader/loader.conf"), LOADER.as_bytes())?;
    let parameters = toplevel.join("kernel-params");
    let parameters = fs::read_to_string(&parameters).map_err(file("read", &parameters))?;
    let text = entry(number, &toplevel, &kernel, &initrd, parameters.trim());
    sync::file_system(esp).map_err(file("flush", esp))?;
    write_entry(esp, number, &text)?;
    put_behind(esp, number)?;
    sync::file_system(esp).map_err(file("flush", esp))?;
    forget(esp, &generations.iter().map(|(number, _)| *number).collect())
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
    format!(
        "title Bedplate\nsort-key {first}\nversion {number}\nlinux /{kernel}\ninitrd /{initrd}\noptions init={toplevel}/init {parameters}\n"
    )
}

/// Puts an image where its content names it; returns its path on the ESP.
fn place_image(esp: &Path, source: &Path, kind: &str) -> Result<String, GenerationError> {
    let digest = digest(source)?;
    let short = digest.get(..32).unwrap_or(&digest);
    let relative = format!("EFI/bedplate/{short}-{kind}");
    place(source, &esp.join(&relative))?;
    Ok(relative)
}

/// Copies `source` unless the same stands there; never a half file under the final name.
fn place(source: &Path, target: &Path) -> Result<(), GenerationError> {
    let wanted = digest(source)?;
    if target.is_file() && digest(target)? == wanted {
        return Ok(());
    }
    let content = fs::read(source).map_err(file("read", source))?;
    replace(target, &content)?;
    if digest(target)? == wanted {
        Ok(())
    } else {
        Err(GenerationError::ReadBack { path: target.to_owned() })
    }
}

fn digest(path: &Path) -> Result<String, GenerationError> {
    let mut hasher = Sha256::new();
    let mut source = File::open(path).map_err(file("read", path))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = source.read(&mut buffer).map_err(file("read", path))?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
    Ok(crate::digest::hexadecimal(&hasher.finalize()))
}

/// Temporary file, fsync, rename.
fn replace(path: &Path, content: &[u8]) -> Result<(), GenerationError> {
    if fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory).map_err(file("make", directory))?;
    let staged = directory.join("bedplate.new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&staged)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(file("write", &staged))?;
    fs::rename(&staged, path).map_err(file("replace", path))?;
    sync::directory(directory).map_err(file("flush", directory))
}

/// Writes the entry last, unless it stands there (with tries left, or blessed). One that came up
/// before and has to sort otherwise keeps its name: it has nothing left to prove.
fn write_entry(esp: &Path, number: u64, text: &str) -> Result<(), GenerationError> {
    let directory = esp.join("loader/entries");
    fs::create_dir_all(&directory).map_err(file("make", &directory))?;
    let fresh = format!("bedplate-{number}+{TRIES}.conf");
    let mut stale = Vec::new();
    for name in names(&directory)?.iter().filter(|name| entry_number(name) == Some(number)) {
        let path = directory.join(name);
        let found = fs::read_to_string(&path).unwrap_or_default();
        if found == text && !is_given_up(name) {
            return Ok(());
        }
        if !name.contains('+') && unranked(&found) == unranked(text) {
            return replace(&path, text.as_bytes());
        }
        stale.extend((*name != fresh).then_some(path));
    }
    let path = directory.join(fresh);
    replace(&path, text.as_bytes())?;
    if fs::read_to_string(&path).map_err(file("read", &path))? != text {
        return Err(GenerationError::ReadBack { path });
    }
    // Only now: the machine has an entry at every moment.
    stale.iter().try_for_each(|path| fs::remove_file(path).map_err(file("remove", path)))
}

/// Sorts every other entry behind that of `number`, which may be an earlier one. What booted before
/// comes next: should this one not come up, the machine returns to it.
fn put_behind(esp: &Path, number: u64) -> Result<(), GenerationError> {
    let [first, second, last] = RANKS;
    let directory = esp.join("loader/entries");
    let mut others = Vec::new();
    for name in names(&directory)? {
        if entry_number(&name).is_some_and(|other| other != number) {
            let path = directory.join(name);
            let text = fs::read_to_string(&path).map_err(file("read", &path))?;
            others.push((path, text));
        }
    }
    if !others.iter().any(|(_, text)| has_rank(text, first)) {
        return Ok(());
    }
    for (from, to) in [(second, last), (first, second)] {
        for (path, text) in others.iter().filter(|(_, text)| has_rank(text, from)) {
            replace(path, text.replace(&rank(from), &rank(to)).as_bytes())?;
        }
    }
    Ok(())
}

/// What an entry says but for its place among the others.
fn unranked(entry: &str) -> Vec<&str> {
    entry.lines().filter(|line| !line.starts_with("sort-key ")).collect()
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

/// Removes entries of generations that are gone, then images that no entry names.
fn forget(esp: &Path, alive: &BTreeSet<u64>) -> Result<(), GenerationError> {
    let entries = esp.join("loader/entries");
    let mut named = String::new();
    for name in names(&entries)? {
        let path = entries.join(&name);
        if entry_number(&name).is_some_and(|number| !alive.contains(&number)) {
            fs::remove_file(&path).map_err(file("remove", &path))?;
        } else {
            named += &fs::read_to_string(&path).map_err(file("read", &path))?;
        }
    }
    let images = esp.join("EFI/bedplate");
    for name in names(&images)?.iter().filter(|name| !named.contains(name.as_str())) {
        let path = images.join(name);
        fs::remove_file(&path).map_err(file("remove", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
