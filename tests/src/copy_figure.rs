//! What bringing a closure from a medium costs beside what others would copy it with: in one guest,
//! from one medium, onto one encrypted volume.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bedplate_formats::boot::TOPLEVEL;
use bedplate_formats::system_image::FILE;
use bedplate_image_builder::system_image::Store;
use bedplate_image_builder::tree_nix::TreePrograms;
use bedplate_image_builder::{Error, Verity};
use bedplate_model::plan::STORE_SUBVOLUME;
use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::machine::{Disk, DiskKind, Format};
use bedplate_tools::command::{CommandError, CommandExt as _};
use bedplate_tools::nix::archive;
use bedplate_tools::nix::registration::{self, StorePath};

use crate::carried;
use crate::failure::{Failure, file};
use crate::running_host::Host;
use crate::story::Story;

/// Store paths of the closure of small files.
pub const PATHS: usize = 2000;
/// Files of all of them together.
pub const FILES: usize = 40_000;
/// Bytes of the large tree.
pub const LARGE: usize = 256 << 20;
/// Bytes of each of its files.
const LARGE_FILE: usize = 64 << 20;
/// Where the media are mounted, and what is copied to.
const MEDIA: &str = "/run/figure";
const TARGET: &str = "/mnt/figure";
/// The encrypted volume that is copied to, its disk, and how large that is.
const VOLUME: &str = "bedplate-figure";
const TARGET_ROLE: &str = "target";
const TARGET_BYTES: u64 = 4 << 30;
/// The program that does what the installer does.
const PROGRAM: &str = "copy";

/// A medium: what the workstation would have built, and its role among the disks.
pub struct Medium {
    role: &'static str,
    image: PathBuf,
    verity: Verity,
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
    pub fn of_small_files(directory: &Path, tree: &Path) -> Result<Self, Failure> {
        let mut text = Noise(1);
        Self::make(directory, tree, "many", PATHS, |path| {
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
    pub fn of_one_large_tree(directory: &Path, tree: &Path) -> Result<Self, Failure> {
        let mut text = Noise(2);
        Self::make(directory, tree, "large", 1, |path| {
            fs::create_dir_all(path)?;
            (0..LARGE / LARGE_FILE).try_for_each(|number| {
                fs::write(path.join(format!("file{number}")), text.bytes(LARGE_FILE))
            })
        })
    }

    fn make(
        directory: &Path,
        tree: &Path,
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
        let programs = TreePrograms::new(tree);
        register(&programs, &stage, directory, &text)?;
        let image = directory.join(format!("{role}.erofs"));
        let made = Store { name: role, stage: &stage, registration: &text };
        let verity = made.seal(&programs, &image);
        let verity = verity.map_err(|error: Error| Failure::Unfit(error.to_string()))?;
        Ok(Self { role, image, verity, bytes })
    }

    fn disk(&self) -> Result<Disk, Failure> {
        carried::image(self.role, &self.image)
    }

    /// Where it is mounted in the machine.
    fn place(&self) -> String {
        format!("{MEDIA}/{}/{TOPLEVEL}", self.role)
    }

    /// Opens and mounts it as the live system does: everything is read through dm-verity.
    fn open(&self, host: &Host) -> Result<(), Failure> {
        let (medium, device) = (self.place(), carried::by_id(self.role));
        let name = format!("figure-{}", self.role);
        let offset = format!("--hash-offset={}", self.verity.hash_offset);
        let hash = &self.verity.root_hash;
        host.read(&["mkdir", "-p", &medium])?;
        host.read(&["veritysetup", "open", &offset, &device, &name, &device, hash])?;
        let opened = format!("/dev/mapper/{name}");
        host.read(&["mount", "-t", "erofs", "-o", "ro", &opened, &medium])?;
        let (inner, target) = (format!("{medium}/{FILE}"), format!("{medium}/{STORE_SUBVOLUME}"));
        let options = format!("ro,loop,subvol={STORE_SUBVOLUME}");
        host.read(&["mount", "-t", "btrfs", "-o", &options, &inner, &target]).map(drop)
    }

    /// Copies it by each, one after the other, in the machine.
    fn copied(&self, host: &Host) -> Result<Copied, Failure> {
        self.open(host)?;
        let medium = self.place();
        // Nix opens no store that it cannot write to.
        let writable = format!("{MEDIA}/{}-writable", self.role);
        let layers = format!(
            "lowerdir={medium}/{STORE_SUBVOLUME},upperdir={writable}/upper,workdir={writable}/work"
        );
        for place in ["upper", "work", "store/nix"] {
            host.read(&["mkdir", "-p", &format!("{writable}/{place}")])?;
        }
        let store = format!("{writable}/store");
        let place = format!("{store}/nix");
        host.read(&["mount", "-t", "overlay", "-o", &layers, "overlay", &place])?;
        let nix = format!(
            "nix --extra-experimental-features nix-command copy --offline --all --no-check-sigs \
             --from \"local?root={store}\" --to \"$to\""
        );
        let ours = format!("{MEDIA}/program/{PROGRAM} copy \"$from\" {VOLUME} \"$to\"");
        Ok(Copied {
            ours: self.timed(host, NOTHING, &ours)?,
            nix: self.timed(host, EMPTY, &nix)?,
            cp: self.timed(host, EMPTY, "cp -a \"$from/nix\" \"$to/\"")?,
        })
    }

    /// Copies each of its files by `dd`; it is mounted already.
    fn copied_by_dd(&self, host: &Host) -> Result<Duration, Failure> {
        let dd = "for f in \"$from\"/nix/store/*/*; do \
             dd if=\"$f\" of=\"$to/${f##*/}\" bs=1M 2>/dev/null; done";
        self.timed(host, EMPTY, dd)
    }

    /// By the machine's own clock, from nothing in memory until everything is on the disk; what was
    /// copied is counted afterwards, and where it was registered compared by Nix with what was made.
    fn timed(&self, host: &Host, before: &str, line: &str) -> Result<Duration, Failure> {
        let script = format!(
            "set -e; from=$1; to=$2; volume=$3; mkdir -p \"$to\"; {before}; sync; \
             echo 3 > /proc/sys/vm/drop_caches; begun=$(date +%s%N); {line} > /dev/null; \
             sync -f \"$to\"; ended=$(date +%s%N); \
             find \"$to\" -type f -name 'file*' | wc -l; echo $((ended - begun)); \
             if [ -e \"$to/nix/var/nix/db\" ]; then \
             nix-store --store \"$to\" --verify --check-contents 1>&2; fi; \
             if mountpoint -q \"$to\"; then umount \"$to\"; else umount \"$to/nix\"; fi"
        );
        let (medium, volume) = (self.place(), format!("/dev/mapper/{VOLUME}"));
        let told = host.read(&["sh", "-c", &script, "sh", &medium, TARGET, &volume])?;
        let mut lines = told.lines().map(|line| line.trim().parse::<u64>());
        let (Some(Ok(files)), Some(Ok(nanoseconds))) = (lines.next(), lines.next()) else {
            return Err(Failure::Unfit(format!("`{line}`: no time but {told:?}")));
        };
        let count = format!("find {medium}/nix/store -type f -name 'file*' | wc -l");
        let wanted = host.read(&["sh", "-c", &count])?;
        if wanted.trim() != files.to_string() {
            let wanted = wanted.trim();
            return Err(Failure::Unfit(format!("`{line}` copied {files} files of {wanted}")));
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// What stands on the volume before: whatever the last one left.
const NOTHING: &str = "wipefs --all --quiet \"$volume\"";
/// A mounted file system, as the installer makes one.
const EMPTY: &str = "mkfs.btrfs --quiet --force \"$volume\"; mount -t btrfs \"$volume\" \"$to\"";

/// For `nix copy`, which reads a store from its database.
fn register(
    programs: &TreePrograms,
    stage: &Path,
    home: &Path,
    registration: &str,
) -> Result<(), Failure> {
    let unfit = |error: CommandError| Failure::Unfit(error.to_string());
    let mut load = programs.command("usr/bin/nix", "nix-store");
    load.arg("--store").arg(stage).arg("--load-db").env("HOME", home);
    load.env_remove("NIX_REMOTE").read_with_input(registration.as_bytes()).map_err(unfit)?;
    // Nix makes it in every store it opens; media have none.
    let links = stage.join("nix/store/.links");
    fs::remove_dir(&links).map_err(file("remove", &links))
}

/// The disk that is copied to.
fn target(directory: &Path) -> Result<Disk, Failure> {
    let disk = Disk {
        role: TARGET_ROLE.to_owned(),
        kind: DiskKind::VirtioBlk,
        serial: carried::serial(TARGET_ROLE),
        size: TARGET_BYTES,
        file: directory.join("target.qcow2"),
        format: Format::Qcow2,
        read_only: false,
        boot_index: None,
    };
    disk_image::create(&disk)?;
    Ok(disk)
}

/// Encrypted as the installer does it, but for how the key is derived, which is not measured here.
fn open_volume(host: &Host) -> Result<(), Failure> {
    let device = carried::by_id(TARGET_ROLE);
    let line = "set -e; head -c 64 /dev/urandom > /run/figure.key; \
        cryptsetup luksFormat --batch-mode --type luks2 --sector-size 4096 --pbkdf pbkdf2 \
        --pbkdf-force-iterations 1000 --key-file /run/figure.key \"$1\"; \
        cryptsetup open --key-file /run/figure.key \"$1\" \"$2\"";
    host.read(&["sh", "-c", line, "sh", &device, VOLUME]).map(drop)
}

/// Boots the installed machine of `story` with both media, and copies both; `copier` is what does
/// there what the installer does.
pub fn measure(
    story: &Story,
    many: &Medium,
    large: &Medium,
    copier: &Path,
) -> Result<Measured, Failure> {
    let mut disks = story.disks();
    let more = [many.disk()?, large.disk()?];
    disks.extend(more);
    disks.push(carried::program(PROGRAM, copier, &story.directory)?);
    disks.push(target(&story.directory)?);
    let host = story.boot(disks)?;
    host.settle()?;
    // What is measured is the host alone.
    host.run(&["virsh", "destroy", crate::answers::GUEST])?;
    let place = format!("{MEDIA}/program");
    host.read(&["mkdir", "-p", &place])?;
    host.read(&["mount", "-t", "squashfs", "-o", "ro", &carried::by_id(PROGRAM), &place])?;
    open_volume(&host)?;
    let (small_files, large_tree) = (many.copied(&host)?, large.copied(&host)?);
    let measured = Measured { small_files, large_tree, dd: large.copied_by_dd(&host)? };
    host.power_off()?;
    Ok(measured)
}

/// Text that compresses to about half, the same every time.
struct Noise(u64);

impl Noise {
    /// The next number, of 31 bits, by xorshift64 (Marsaglia 2003, shifts 13, 7 and 17).
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
