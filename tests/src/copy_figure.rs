//! What the copy of a closure costs beside what others would copy it with: in one guest, from one
//! medium, onto one file system.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bedplate_image_builder::tree_nix::TreePrograms;
use bedplate_qemu_harness::machine::{Disk, DiskKind};
use bedplate_spec::boot::TOPLEVEL;
use bedplate_tools::command::{CommandError, CommandExt as _};
use bedplate_tools::nix::archive;
use bedplate_tools::nix::registration::{self, StorePath};
use bedplate_tools::squashfs::{self, Compression};

use crate::failure::{Failure, file};
use crate::running_host::Host;
use crate::seed;
use crate::story::Story;

/// Store paths of the closure of small files.
pub const PATHS: usize = 2000;
/// Files of all of them together.
pub const FILES: usize = 40_000;
/// Bytes of the large tree.
pub const LARGE: usize = 256 << 20;
/// Bytes of each of its files.
const LARGE_FILE: usize = 64 << 20;
/// Where the media are mounted, and copied to.
const MEDIA: &str = "/run/figure";
const TARGETS: &str = "/var/lib/figure";
/// The program that copies as the installer does, on each medium.
const PROGRAM: &str = "copy";

/// A medium: what the workstation would have built, and its role among the disks.
pub struct Medium {
    role: &'static str,
    image: PathBuf,
    /// Bytes of all files.
    pub bytes: u64,
}

/// How long each copied the same, until it was on the disk.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    /// The installer's step, verified and registered.
    pub ours: Duration,
    /// `nix copy --from` the medium as a store.
    pub nix: Duration,
    /// `cp -a`, which registers nothing.
    pub cp: Duration,
}

impl Copied {
    /// Those that are not ours, with their names.
    pub fn others(&self) -> [(&'static str, Duration); 2] {
        [("nix copy --from the same medium", self.nix), ("cp -a", self.cp)]
    }
}

/// Everything that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Of many small files.
    pub small_files: Copied,
    /// Of one large tree.
    pub large_tree: Copied,
    /// `dd` of every file of the large tree, which makes no directories.
    pub dd: Duration,
}

impl Medium {
    /// Thousands of store paths with a few small files each.
    pub fn of_small_files(directory: &Path, tree: &Path, program: &Path) -> Result<Self, Failure> {
        let mut text = Noise(1);
        Self::make(directory, tree, program, "many", PATHS, |path| {
            for number in 0..FILES / PATHS {
                // As the files of a configuration are: from nothing to some KiB.
                let size = text.roll() % 8192;
                let place = path.join(format!("share/{}", number % 4));
                fs::create_dir_all(&place)?;
                fs::write(place.join(format!("file{number}")), text.bytes(size))?;
            }
            Ok(())
        })
    }

    /// One store path with few large files.
    pub fn of_one_large_tree(
        directory: &Path,
        tree: &Path,
        program: &Path,
    ) -> Result<Self, Failure> {
        let mut text = Noise(2);
        Self::make(directory, tree, program, "large", 1, |path| {
            fs::create_dir_all(path)?;
            (0..LARGE / LARGE_FILE).try_for_each(|number| {
                fs::write(path.join(format!("file{number}")), text.bytes(LARGE_FILE))
            })
        })
    }

    fn make(
        directory: &Path,
        tree: &Path,
        program: &Path,
        role: &'static str,
        paths: usize,
        mut fill: impl FnMut(&Path) -> std::io::Result<()>,
    ) -> Result<Self, Failure> {
        let stage = directory.join(role);
        let store = stage.join("nix/store");
        let (mut registered, mut bytes) = (Vec::new(), 0);
        for number in 0..paths {
            // Digits are letters of Nix's base 32.
            let name = format!("{number:032}-figure");
            let path = store.join(&name);
            fill(&path).map_err(file("fill", &path))?;
            let content = archive::content(&path).map_err(file("read", &path))?;
            bytes += content.size;
            registered.push(StorePath {
                path: format!("/nix/store/{name}"),
                hash: content.hash,
                size: content.size,
                deriver: String::new(),
                references: Vec::new(),
            });
        }
        let text = registration::text(&registered);
        let unfit = |error: CommandError| Failure::Unfit(error.to_string());
        // For `nix copy`, which reads a store from its database.
        let mut load = TreePrograms::new(tree).command("usr/bin/nix", "nix-store");
        load.arg("--store").arg(&stage).arg("--load-db").env("HOME", directory);
        load.env_remove("NIX_REMOTE").read_with_input(text.as_bytes()).map_err(unfit)?;
        // Nix makes it in every store it opens; media have none.
        let links = store.join(".links");
        fs::remove_dir(&links).map_err(file("remove", &links))?;
        let registration = stage.join("registration");
        fs::write(&registration, text).map_err(file("write", &registration))?;
        fs::copy(program, stage.join(PROGRAM)).map_err(file("copy", program))?;
        let image = directory.join(format!("{role}.squashfs"));
        squashfs::make(&stage, &image, Compression::Lz4).map_err(unfit)?;
        Ok(Self { role, image, bytes })
    }

    fn serial(&self) -> String {
        format!("BP{}0001", self.role.to_uppercase())
    }

    fn disk(&self) -> Result<Disk, Failure> {
        let size = fs::metadata(&self.image).map_err(file("look at", &self.image))?.len();
        let like = seed::canary(Path::new(""));
        Ok(Disk {
            role: self.role.to_owned(),
            kind: DiskKind::VirtioBlk,
            serial: self.serial(),
            size,
            file: self.image.clone(),
            read_only: true,
            ..like
        })
    }

    /// Where it is mounted in the machine. Only what another machine's Nix built is verified: its
    /// image has this name.
    fn place(&self) -> String {
        format!("{MEDIA}/{}/{TOPLEVEL}", self.role)
    }

    /// Copies it by each, one after the other, in the machine.
    fn copied(&self, host: &Host) -> Result<Copied, Failure> {
        let medium = self.place();
        let device = format!("/dev/disk/by-id/virtio-{}", self.serial());
        host.read(&["mkdir", "-p", &medium, TARGETS])?;
        host.read(&["mount", "-t", "squashfs", "-o", "ro", &device, &medium])?;
        // Nix opens no store that it cannot write to.
        let writable = format!("{MEDIA}/{}-writable", self.role);
        let layers = format!("lowerdir={medium},upperdir={writable}/upper,workdir={writable}/work");
        for place in ["upper", "work", "store"] {
            host.read(&["mkdir", "-p", &format!("{writable}/{place}")])?;
        }
        let store = format!("{writable}/store");
        host.read(&["mount", "-t", "overlay", "-o", &layers, "overlay", &store])?;
        let time = |name: &str, line: &str| timed(host, &medium, name, line);
        let nix = format!(
            "nix --extra-experimental-features nix-command copy --offline --all --no-check-sigs \
             --from \"local?root={store}\" --to \"$to\""
        );
        Ok(Copied {
            ours: time("ours", &format!("\"$from/{PROGRAM}\" copy \"$from\" \"$to\""))?,
            nix: time("nix", &nix)?,
            cp: time("cp", "cp -a \"$from/nix\" \"$to/\"")?,
        })
    }

    /// Copies each of its files by `dd`; it is mounted already.
    fn copied_by_dd(&self, host: &Host) -> Result<Duration, Failure> {
        let dd = "for f in \"$from\"/nix/store/*/*; do \
             dd if=\"$f\" of=\"$to/${f##*/}\" bs=1M 2>/dev/null; done";
        timed(host, &self.place(), "dd", dd)
    }
}

/// By the machine's own clock, from nothing in memory until everything is on the disk; what was
/// copied is counted, and removed.
fn timed(host: &Host, medium: &str, name: &str, line: &str) -> Result<Duration, Failure> {
    let mut script = "set -e; from=$1; to=$2; mkdir -p \"$to\"; sync; ".to_owned();
    let _ = write!(
        script,
        "echo 3 > /proc/sys/vm/drop_caches; begun=$(date +%s%N); {line} > /dev/null; \
         sync -f \"$to\"; ended=$(date +%s%N); \
         find \"$to\" -type f -name 'file*' | wc -l; echo $((ended - begun)); \
         rm -rf \"$to\""
    );
    let target = format!("{TARGETS}/{name}");
    let told = host.read(&["sh", "-c", &script, "sh", medium, &target])?;
    let mut lines = told.lines().map(|line| line.trim().parse::<u64>());
    let (Some(Ok(files)), Some(Ok(nanoseconds))) = (lines.next(), lines.next()) else {
        return Err(Failure::Unfit(format!("{name}: no time but {told:?}")));
    };
    let count = format!("find {medium}/nix/store -type f -name 'file*' | wc -l");
    let wanted = host.read(&["sh", "-c", &count])?;
    if wanted.trim() != files.to_string() {
        return Err(Failure::Unfit(format!("{name} copied {files} files of {}", wanted.trim())));
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Boots the installed machine of `story` with both media, and copies both.
pub fn measure(story: &Story, many: &Medium, large: &Medium) -> Result<Measured, Failure> {
    let mut disks = story.disks();
    disks.extend([many.disk()?, large.disk()?]);
    let host = story.boot(disks)?;
    host.settle()?;
    // What is measured is the host alone.
    host.run(&["virsh", "destroy", crate::answers::GUEST])?;
    let (small_files, large_tree) = (many.copied(&host)?, large.copied(&host)?);
    let measured = Measured { small_files, large_tree, dd: large.copied_by_dd(&host)? };
    host.power_off()?;
    Ok(measured)
}

/// Text that compresses to about half, the same every time.
struct Noise(u64);

impl Noise {
    /// xorshift64.
    fn roll(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default()
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            bytes.extend_from_slice(format!("{:016x}", self.roll() << 31 ^ self.roll()).as_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_noise_comes_every_time_and_has_the_size_that_was_asked_for() {
        assert_eq!(Noise(1).bytes(1000), Noise(1).bytes(1000));
        assert_ne!(Noise(1).bytes(1000), Noise(2).bytes(1000));
        assert_eq!(Noise(1).bytes(1001).len(), 1001);
        assert!(Noise(1).bytes(0).is_empty());
    }
}
