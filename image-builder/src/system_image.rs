//! A store as a btrfs file system that the installer writes to the OS disk as it is: the platform's,
//! which is the root of the live system too, or the closure of a system of NixOS.
//!
//! Copying file by file costs twice and more what the same bytes cost in one piece; in this form they
//! are half as many besides, for they stay compressed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use bedplate_formats::system_image::{DESCRIPTION, FILE, Segment, SystemImage};
use bedplate_model::plan::STORE_SUBVOLUME;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::erofs;
use rustix::fs::{AtFlags, CWD, SeekFrom, Timespec, Timestamps, seek, utimensat};
use rustix::io::Errno;
use uuid::Uuid;

use crate::error::{Error, file, tool, unfit};
use crate::platform;
use crate::tree_nix::TreePrograms;
use crate::verity_image::{self, Verity};

/// The namespace of the ids of images: a random number of our own.
const NAMESPACE: Uuid = Uuid::from_u128(0x6e0c_3d3b_64f5_4c0e_9b53_0a0f_7b0c_52d1);

/// Everything in a store was changed one second after the epoch.
const STORE_TIME: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const STORE_TIMES: Timestamps =
    Timestamps { last_access: STORE_TIME, last_modification: STORE_TIME };

/// Above it Zstandard takes several times as long for a hundredth less.
const COMPRESSION: &str = "zstd:9";

/// What an image is made of.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// What tells its content from any other's: the id of the file system follows from it.
    pub name: &'a str,
    /// Holds `nix/store`.
    pub stage: &'a Path,
    /// What Nix is told of it.
    pub registration: &'a str,
}

impl Store<'_> {
    /// Makes `image`: the file system, its description and the registration, under a hash tree.
    /// `programs` are those of the tree, whatever this machine has.
    pub fn seal(&self, programs: &TreePrograms, image: &Path) -> Result<Verity, Error> {
        let content = image.with_extension("content");
        fs::create_dir_all(&content).map_err(file("make", &content))?;
        let registration = content.join("registration");
        fs::write(&registration, self.registration).map_err(file("write", &registration))?;
        let id = self.file_system(programs, &content)?.to_string();
        erofs::make(&content, image, &id).map_err(tool("make the image of a file system"))?;
        platform::remove(&content)?;
        verity_image::seal(image)
    }

    /// Makes the file system in `directory`, its description, and the directory to mount it at;
    /// returns its id.
    fn file_system(&self, programs: &TreePrograms, directory: &Path) -> Result<Uuid, Error> {
        let mount = directory.join(STORE_SUBVOLUME);
        fs::create_dir_all(&mount).map_err(file("make", &mount))?;
        date(self.stage).map_err(file("date", self.stage))?;
        let image = directory.join(FILE);
        File::create(&image).map_err(file("make", &image))?;
        let fsid = Uuid::new_v5(&NAMESPACE, self.name.as_bytes());
        let mut command = programs.command("usr/sbin/mkfs.btrfs", "mkfs.btrfs");
        command.args(["--quiet", "--data", "single", "--metadata", "dup", "--shrink"]);
        command.args(["--compress", COMPRESSION, "--uuid", &fsid.to_string()]);
        command.arg("--subvol").arg(format!("rw:{STORE_SUBVOLUME}"));
        command.arg("--rootdir").arg(self.stage).arg(&image);
        as_root(command).run().map_err(tool("make a file system of a store"))?;
        let segments = segments(&image).map_err(file("look for holes in", &image))?;
        let size = fs::metadata(&image).map_err(file("look at", &image))?.len();
        let description = directory.join(DESCRIPTION);
        let text = serde_json::to_vec(&SystemImage { fsid, size, segments });
        let text = text.map_err(|error| unfit("the record", &description, error.to_string()))?;
        fs::write(&description, text).map_err(file("write", &description))?;
        Ok(fsid)
    }
}

/// Everything in the file system is root's: for whom is not, in a namespace where the owner is.
fn as_root(command: Command) -> Command {
    if rustix::process::geteuid().is_root() {
        return command;
    }
    let mut within = Command::new("unshare");
    within.args(["--user", "--map-root-user", "--"]).arg(command.get_program());
    within.args(command.get_args());
    within
}

fn date(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            date(&entry?.path())?;
        }
    }
    Ok(utimensat(CWD, path, &STORE_TIMES, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// What of a file was written.
fn segments(path: &Path) -> io::Result<Vec<Segment>> {
    let file = File::open(path)?;
    let mut segments = Vec::new();
    let mut end = 0;
    loop {
        let start = match seek(&file, SeekFrom::Data(end)) {
            Err(Errno::NXIO) => return Ok(segments),
            other => other?,
        };
        end = seek(&file, SeekFrom::Hole(start))?;
        segments.push(Segment { start, length: end - start });
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn what_was_written_is_in_the_segments_and_holes_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(64 << 20).unwrap();
        for at in [1 << 20, (1 << 20) + 1, 40 << 20] {
            file.as_file().write_all_at(b"x", at).unwrap();
        }
        file.as_file().sync_all().unwrap();
        let found = segments(file.path()).unwrap();
        let holds =
            |at: u64| found.iter().any(|one| (one.start..one.start + one.length).contains(&at));
        assert!(holds(1 << 20) && holds((1 << 20) + 1) && holds(40 << 20));
        assert!(!holds(0) && !holds(20 << 20) && !holds(63 << 20));
    }

    #[test]
    fn everything_is_dated_as_in_a_store() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("bin")).unwrap();
        fs::write(place.path().join("bin/run"), "x").unwrap();
        symlink("bin/run", place.path().join("link")).unwrap();
        date(place.path()).unwrap();
        for name in ["", "bin", "bin/run", "link"] {
            assert_eq!(place.path().join(name).symlink_metadata().unwrap().mtime(), 1, "{name}");
        }
    }
}
