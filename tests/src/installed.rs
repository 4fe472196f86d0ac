//! Disks that were installed once, lent to every story as differences.
//!
//! An installation takes minutes; most stories begin after it. [`Installation::obtain`] gives the
//! one that fits what the workspace is made of now, and installs only when there is none.
//! [`Installation::lend`] makes a [`Story`] of it in a directory of its own: nothing that a story
//! does reaches the installed disks, and several stories can borrow at once.
//!
//! What is baked into the disks and therefore shared by all borrowers of one workspace: root's
//! ssh key, `host.id`, and the port of the HTTP server that serves the VM's image. Two borrowers
//! can run their machines at the same time only when one of them needs no HTTP.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bedplate_qemu_harness::disk_image;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::failure::{Failure, file};
use crate::medium::Workspace;
use crate::seed::{self, HOST, Sizes};
use crate::story::{Installed, Record, Story, Tell};

/// Code that decides what is installed, beside what goes onto the medium.
const CODE: [&str; 4] = [
    include_str!("answers.rs"),
    include_str!("seed.rs"),
    include_str!("../../qemu-harness/src/guest_disk.rs"),
    include_str!("../../qemu-harness/src/machine.rs"),
];
/// What a borrower gets a copy of.
const COPIED: [&str; 6] =
    ["host.toml", "ssh-key", "ssh-key.pub", "guest.qcow2.xz", "install.events.jsonl", "canary.img"];
/// Start of the names of finished installations.
const FINISHED: &str = "installed-";
/// Held shared by borrowers, so that nobody removes what they stand on.
const BORROWED: &str = "borrowed";

/// A finished installation of the hypervisor's story on small disks. Never written to.
#[derive(Debug)]
pub struct Installation {
    directory: PathBuf,
    /// What was seen while it was made.
    pub installed: Installed,
    record: Record,
    borrowed: File,
}

impl Installation {
    /// The installation of what the workspace is made of now: the release builds in `target/`,
    /// the platform, the profile and the stories' own additions. Made when it is not there.
    pub fn obtain(tell: &Tell) -> Result<Self, Failure> {
        let workspace = Workspace::own();
        let cache = workspace.cache();
        std::fs::create_dir_all(&cache).map_err(file("make", &cache))?;
        let _alone = lock(&cache.join("installed.lock"))?;
        let fresh = cache.join("installing");
        remove_directory(&fresh)?;
        std::fs::create_dir_all(&fresh).map_err(file("make", &fresh))?;
        let medium = fresh.join("bedplate.iso");
        let report =
            workspace.build_medium(&medium, &mut |stage| tell(&format!("medium: {stage}")))?;
        let name = format!("{FINISHED}{}", key(&workspace, &medium, &report.build)?);
        let directory = cache.join(&name);
        if directory.exists() {
            tell(&format!("using the installed disks in {}", directory.display()));
        } else {
            install(&fresh, &medium, tell)?;
            std::fs::rename(&fresh, &directory).map_err(file("rename", &fresh))?;
        }
        remove_directory(&fresh)?;
        let found = Self::open(directory)?;
        remove_others(&cache, &name, tell)?;
        Ok(found)
    }

    fn open(directory: PathBuf) -> Result<Self, Failure> {
        let borrowed = directory.join(BORROWED);
        let borrowed = File::create(&borrowed)
            .and_then(|lock| lock.lock_shared().map(|()| lock))
            .map_err(file("lock", &borrowed))?;
        let record = Record::read(&directory)?;
        let made = record.and_then(|record| record.installed.clone().map(|made| (record, made)));
        let (record, installed) = made.ok_or_else(|| {
            Failure::Unfit(format!("{} holds no installation: remove it", directory.display()))
        })?;
        Ok(Self { directory, installed, record, borrowed })
    }

    /// The medium it was installed from, with its answers. To change it, copy it first.
    pub fn medium(&self) -> PathBuf {
        self.directory.join("bedplate.iso")
    }

    /// A story in `directory` that begins where the installation ended: powered off, all disks
    /// and the key stick as the installer left them.
    ///
    /// The disks are qcow2 differences, the key sticks are raw copies (VFAT file systems that
    /// can be changed with `fatfs` while the machine is off), the firmware's variables, the canary,
    /// root's ssh key and `host.toml` are copies. The ssh port is the borrower's own; the HTTP
    /// server already offers the VM's image.
    ///
    /// Lend as often as there are cases: it takes less than a second, and each case starts from
    /// the same state. Disks are left out, put in or replaced by what is given to
    /// [`Story::boot`]; see [`Story::disks_without`] and [`Story::fresh_disk`].
    pub fn lend(&self, directory: &Path, tell: Tell) -> Result<Story, Failure> {
        std::fs::create_dir_all(directory).map_err(file("make", directory))?;
        for name in COPIED {
            self.copy(name, directory)?;
        }
        self.copy(&format!("{HOST}.vars.fd"), directory)?;
        let installed = seed::installed_disks(&self.directory, Sizes::Small);
        for (base, disk) in installed.iter().zip(seed::installed_disks(directory, Sizes::Small)) {
            disk_image::create_difference(base, &disk.file)?;
        }
        for stick in [seed::key_stick, seed::second_key_stick] {
            disk_image::copy_sparse(&stick(&self.directory), &stick(directory).file)?;
        }
        let borrowed = self.directory.join(BORROWED);
        let borrowed = self.borrowed.try_clone().map_err(file("hold", &borrowed))?;
        Story::borrow(directory, &self.record, borrowed, tell)
    }

    fn copy(&self, name: &str, directory: &Path) -> Result<(), Failure> {
        let (from, to) = (self.directory.join(name), directory.join(name));
        std::fs::copy(&from, &to).map_err(file("copy", &from)).map(drop)
    }
}

impl Story {
    /// A story in `directory` that begins where this one stands; its machine must be off. Nothing
    /// the fork does reaches the disks of this story, which must stay as they are meanwhile.
    pub fn fork(&self, directory: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(file("make", directory))?;
        for name in COPIED.map(str::to_owned).into_iter().chain([format!("{HOST}.vars.fd")]) {
            let (from, to) = (self.path(&name), directory.join(&name));
            std::fs::copy(&from, &to).map_err(file("copy", &from))?;
        }
        let installed = seed::installed_disks(&self.directory, self.sizes);
        for (base, disk) in installed.iter().zip(seed::installed_disks(directory, self.sizes)) {
            disk_image::create_difference(base, &disk.file)?;
        }
        for stick in [seed::key_stick, seed::second_key_stick] {
            disk_image::copy_sparse(&stick(&self.directory), &stick(directory).file)?;
        }
        Self::of_fork(directory, self)
    }
}

/// A story that begins where the installation ended, told line by line on standard output, in a
/// directory that goes with the first of the three.
pub fn lent(name: &str) -> Result<(TempDir, Installation, Story), Failure> {
    let directory =
        tempfile::Builder::new().prefix(&format!("bedplate-{name}-")).tempdir_in("/var/tmp");
    let directory = directory.map_err(file("make a directory in", Path::new("/var/tmp")))?;
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let installation = Installation::obtain(&tell)?;
    let story = installation.lend(directory.path(), tell)?;
    Ok((directory, installation, story))
}

fn install(directory: &Path, medium: &Path, tell: &Tell) -> Result<(), Failure> {
    let mut story = Story::begin(directory, Sizes::Small, false, tell.clone())?;
    let installed = story.install(medium)?;
    match installed.end.as_str() {
        "guest-shutdown" => Ok(()),
        other => Err(Failure::Unfit(format!("the installation ended by {other}"))),
    }
}

/// Everything that decides what stands on the disks, ids, keys and ports apart.
fn key(workspace: &Workspace, medium: &Path, build: &str) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part);
    };
    add(build.as_bytes());
    add(workspace.profile()?.as_bytes());
    for (path, content) in bedplate_image_builder::personalize::flake_of(medium)? {
        add(path.as_bytes());
        add(&content);
    }
    CODE.iter().for_each(|code| add(code.as_bytes()));
    Ok(hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn lock(path: &Path) -> Result<File, Failure> {
    let held = File::create(path).and_then(|held| held.lock().map(|()| held));
    held.map_err(file("lock", path))
}

/// Those of earlier code; one that somebody still stands on stays.
fn remove_others(cache: &Path, own: &str, tell: &Tell) -> Result<(), Failure> {
    for entry in std::fs::read_dir(cache).map_err(file("list", cache))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(FINISHED) || name == own || !entry.path().is_dir() {
            continue;
        }
        let free =
            File::create(entry.path().join(BORROWED)).is_ok_and(|lock| lock.try_lock().is_ok());
        if free {
            tell(&format!("removing {name}: the code has moved on"));
            remove_directory(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_directory(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("remove", path)(error))
        }
        _ => Ok(()),
    }
}
