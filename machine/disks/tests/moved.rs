//! T03: the name of a disk, or its node, comes to mean another disk between the look and the open,
//! or afterwards. On loop devices, which only root can make: `cargo xtask test` runs them where
//! there are any, and says so where there are none.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_disks::{Claim, ClaimError, Fault, Identity, Lent};
use bedplate_facts::disks::read_one;
use bedplate_facts::roots::Roots;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::{NamedTempFile, TempDir};

const NAME: &str = "ata-MEANT";
const SIZE: u64 = 8 << 20;
const PARTITION: u64 = 4 << 20;
const MARK: &[u8] = b"written by us";

/// A disk of its own.
struct Loop {
    image: NamedTempFile,
    node: PathBuf,
}

impl Loop {
    fn new() -> Self {
        let image = NamedTempFile::new().unwrap();
        image.as_file().set_len(SIZE).unwrap();
        let mut attach = Command::new("losetup");
        let made = attach.args(["--find", "--show"]).arg(image.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let node = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim());
        // The kernel is told: not every one reads GPT by itself.
        let sectors = [1 << 20, PARTITION].map(|bytes: u64| (bytes / 512).to_string());
        forget_partition(&node);
        let mut add = Command::new("addpart");
        assert!(add.arg(&node).arg("1").args(sectors).status().unwrap().success());
        Self { image, node }
    }

    fn name(&self) -> String {
        self.node.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn holds_the_mark(&self) -> bool {
        let image = fs::read(self.image.path()).unwrap();
        image.windows(MARK.len()).any(|bytes| bytes == MARK)
    }
}

/// A loop device keeps a partition that it was told of, also without an image.
fn forget_partition(node: &Path) {
    Command::new("delpart").arg(node).arg("1").stderr(std::process::Stdio::null()).status().ok();
}

impl Drop for Loop {
    fn drop(&mut self) {
        forget_partition(&self.node);
        Command::new("losetup").arg("--detach").arg(&self.node).status().ok();
    }
}

/// A `/dev` of the test's own, in which a name and nodes can be moved.
struct Scene {
    directory: TempDir,
    roots: Roots,
    meant: Loop,
    other: Loop,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let roots = Roots { dev: directory.path().to_owned(), ..Roots::identity() };
        fs::create_dir_all(directory.path().join("disk/by-id")).unwrap();
        let scene = Self { directory, roots, meant: Loop::new(), other: Loop::new() };
        for disk in [&scene.meant, &scene.other] {
            scene.node(&disk.name(), &disk.name());
            scene.node(&format!("{}p1", disk.name()), &format!("{}p1", disk.name()));
        }
        scene.name_is(&scene.meant);
        scene
    }

    fn dev(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a node called `name` of the device that the kernel calls `device`.
    fn node(&self, name: &str, device: &str) {
        let numbers = fs::read_to_string(Path::new("/sys/class/block").join(device).join("dev"));
        let numbers = numbers.unwrap_or_else(|error| panic!("{device}: {error}"));
        let (major, minor) = numbers.trim().split_once(':').unwrap();
        let number = rustix::fs::makedev(major.parse().unwrap(), minor.parse().unwrap());
        fs::remove_file(self.dev(name)).ok();
        mknodat(CWD, self.dev(name), FileType::BlockDevice, Mode::RWXU, number).unwrap();
        assert_eq!(fs::metadata(self.dev(name)).unwrap().rdev(), number);
    }

    fn name_is(&self, disk: &Loop) {
        let link = self.dev("disk/by-id").join(NAME);
        fs::remove_file(&link).ok();
        symlink(Path::new("../..").join(disk.name()), link).unwrap();
    }

    /// The look: what the disk is when it is decided to write to it.
    fn look(&self) -> Identity {
        Identity::seen(NAME, &read_one(&self.roots, &self.meant.name()).unwrap())
    }

    fn refused<T: std::fmt::Debug>(&self, claimed: Result<T, ClaimError>) {
        let error = claimed.unwrap_err();
        let Fault::Changed(differences) = &error.fault else { panic!("{error:?}") };
        assert!(!differences.is_empty());
        assert_eq!(error.to_string(), "ata-MEANT was not written to");
        assert!(!self.other.holds_the_mark() && !self.meant.holds_the_mark());
    }
}

fn mark(mut file: &File) {
    file.seek(SeekFrom::Start(SIZE / 4)).unwrap();
    file.write_all(MARK).unwrap();
    file.sync_all().unwrap();
}

#[test]
#[ignore = "wants root and loop devices"]
fn t03_a_name_that_moved_between_the_look_and_the_open_is_refused() {
    let scene = Scene::new();
    let looked = scene.look();
    assert!(
        Claim::disk_in(&scene.roots, &looked).is_ok(),
        "{:?}",
        Claim::disk_in(&scene.roots, &looked)
    );
    scene.name_is(&scene.other);
    scene.refused(Claim::disk_in(&scene.roots, &looked));
    scene.refused(Claim::partition_in(&scene.roots, &looked, 1));
    scene.refused(Lent::partition_in(&scene.roots, &looked, 1));
}

#[test]
#[ignore = "wants root and loop devices"]
fn t03_a_node_that_became_another_disk_is_refused() {
    let scene = Scene::new();
    let looked = scene.look();
    let (meant, other) = (scene.meant.name(), scene.other.name());
    // The partition alone: its name leads to the other disk's.
    scene.node(&format!("{meant}p1"), &format!("{other}p1"));
    scene.refused(Claim::partition_in(&scene.roots, &looked, 1));
    scene.refused(Lent::partition_in(&scene.roots, &looked, 1));
    scene.node(&meant, &other);
    scene.refused(Claim::disk_in(&scene.roots, &looked));
    // A node of something that is no disk at all.
    fs::remove_file(scene.dev(&meant)).unwrap();
    File::create(scene.dev(&meant)).unwrap();
    let error = Claim::disk_in(&scene.roots, &looked).unwrap_err();
    assert!(matches!(error.fault, Fault::Not { .. }), "{error:?}");
}

/// Another disk under the same name and numbers: only its sequence number tells.
#[test]
#[ignore = "wants root and loop devices"]
fn t03_a_disk_that_was_put_back_is_looked_at_again() {
    let scene = Scene::new();
    let looked = scene.look();
    let image = NamedTempFile::new().unwrap();
    image.as_file().set_len(SIZE).unwrap();
    let losetup = |arguments: &[&std::ffi::OsStr]| {
        assert!(Command::new("losetup").args(arguments).status().unwrap().success());
    };
    let node = scene.meant.node.as_os_str();
    losetup(&["--detach".as_ref(), node]);
    losetup(&[node, image.path().as_os_str()]);
    let error = Claim::disk_in(&scene.roots, &looked).unwrap_err();
    assert!(error.fault.to_string().contains("sequence number was"), "{error:?}");
}

#[test]
#[ignore = "wants root and loop devices"]
fn t03_what_is_claimed_stays_the_disk_whatever_becomes_of_the_names() {
    let scene = Scene::new();
    let looked = scene.look();
    let mut claim = Claim::disk_in(&scene.roots, &looked).unwrap();
    let in_use = Claim::disk_in(&scene.roots, &looked).unwrap_err();
    assert!(matches!(in_use.fault, Fault::Open { .. }), "{in_use:?}");
    scene.name_is(&scene.other);
    scene.node(&scene.meant.name(), &scene.other.name());
    mark(claim.file());
    assert!(scene.meant.holds_the_mark() && !scene.other.holds_the_mark());
}

/// A header is sealed while its volume is open. What the kernel would show of the mapping is written down
/// by the test: not every one knows mappings.
#[test]
#[ignore = "wants root and loop devices"]
fn t03_what_an_open_volume_lies_on_is_found_by_its_mapping_and_by_no_name() {
    let scene = Scene::new();
    let (meant, other) = (format!("{}p1", scene.meant.name()), format!("{}p1", scene.other.name()));
    let sys = tempfile::tempdir().unwrap();
    let class = sys.path().join("class/block");
    fs::create_dir_all(class.join("dm-7/dm")).unwrap();
    fs::write(class.join("dm-7/dm/name"), "bedplate-vm1\n").unwrap();
    fs::create_dir_all(class.join("dm-7/slaves").join(&meant)).unwrap();
    fs::create_dir_all(class.join(&meant)).unwrap();
    let number = fs::read_to_string(Path::new("/sys/class/block").join(&meant).join("dev"));
    fs::write(class.join(&meant).join("dev"), number.unwrap()).unwrap();
    let roots = Roots { sys: sys.path().to_owned(), ..scene.roots.clone() };
    let lent = Lent::beneath_in(&roots, "bedplate-vm1").unwrap();
    // The name moves afterwards: what is held on to stays.
    scene.node(&meant, &other);
    let file = OpenOptions::new().write(true).open(lent.path()).unwrap();
    (&file).write_all(MARK).unwrap();
    file.sync_all().unwrap();
    assert!(scene.meant.holds_the_mark() && !scene.other.holds_the_mark());
    // It moved before: nothing is lent.
    let error = Lent::beneath_in(&roots, "bedplate-vm1").unwrap_err();
    assert!(matches!(error.fault, Fault::Not { .. }), "{error:?}");
    // No such mapping, and one over two devices.
    let error = Lent::beneath_in(&roots, "bedplate-vm2").unwrap_err();
    assert!(matches!(error.fault, Fault::NoVolume), "{error:?}");
    fs::create_dir_all(class.join("dm-7/slaves").join(&other)).unwrap();
    let error = Lent::beneath_in(&roots, "bedplate-vm1").unwrap_err();
    assert!(matches!(error.fault, Fault::NoVolume), "{error:?}");
}

#[test]
#[ignore = "wants root and loop devices"]
fn t03_what_is_lent_can_be_opened_exclusively_and_is_the_partition_that_was_meant() {
    let scene = Scene::new();
    let looked = scene.look();
    let lent = Lent::partition_in(&scene.roots, &looked, 1).unwrap();
    let partition = format!("{}p1", scene.meant.name());
    scene.node(&partition, &format!("{}p1", scene.other.name()));
    let exclusive = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap();
    let mut options = OpenOptions::new();
    let options = std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, exclusive);
    let file = options.read(true).write(true).open(lent.path()).unwrap();
    (&file).write_all(MARK).unwrap();
    file.sync_all().unwrap();
    assert!(scene.meant.holds_the_mark() && !scene.other.holds_the_mark());
    // A child opens it by the same name.
    let size = Command::new("blockdev").arg("--getsize64").arg(lent.path()).output().unwrap();
    assert_eq!(String::from_utf8(size.stdout).unwrap().trim(), PARTITION.to_string());
}
