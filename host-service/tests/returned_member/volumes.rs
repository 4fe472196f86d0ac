//! Loop devices, and what is mounted from them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bedplate_disks::pool_fs::{self, Making};
use bedplate_model::host::FileSystem;
use bedplate_tools::btrfs;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mount::{Access, Mount, unmount};
use uuid::Uuid;

/// Held while loop devices are in use. The tests may be processes of their own: one that lets go of a
/// device would have the kernel forget what another has just found on the same one.
pub fn alone() -> fs::File {
    let path = std::env::temp_dir().join("bedplate-loop-devices.lock");
    let lock = fs::File::create(path).unwrap();
    lock.lock().unwrap();
    lock
}

/// An id that no file system had: the kernel remembers those it has seen.
fn id() -> Uuid {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("6f1d0a52-6f0b-4c6b-{count:04x}-{:012x}", std::process::id());
    Uuid::parse_str(&id).unwrap()
}

/// Bytes of a disk, all of it sparse.
const SIZE: u64 = 512 << 20;
/// Bytes of a MiB.
pub const MIB: usize = 1 << 20;

/// A disk that was never written to.
pub fn blank(directory: &Path, name: &str) -> PathBuf {
    let path = directory.join(name);
    fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    path
}

/// How often it is looked whether a device is gone, and what lies between two looks.
const LOOKS: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// A loop device, let go of when dropped.
pub struct Loop(pub PathBuf);

impl Loop {
    /// Over a file.
    pub fn of(file: &Path) -> Result<Self, String> {
        let node = Command::new("losetup").args(["--find", "--show"]).arg(file).read();
        node.map(|node| Self(node.trim().into())).map_err(|error| error.to_string())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let_go(&self.0);
    }
}

/// A device that somebody else reads just then stays until he has: under another node its file would be the
/// same member twice, and the kernel refuses both ("File exists").
fn let_go(node: &Path) {
    let _ = btrfs::forget_one(node);
    let _ = Command::new("losetup").arg("--detach").arg(node).run();
    let name = node.file_name().unwrap_or_default();
    let behind = Path::new("/sys/block").join(name).join("loop/backing_file");
    for _ in 0..LOOKS {
        if !behind.exists() {
            return;
        }
        thread::sleep(PAUSE);
    }
    eprintln!("{} is still there after {:?}", node.display(), PAUSE * LOOKS);
}

/// The file of a disk that answers nothing any more and takes nothing, while its node stays.
pub struct Dead<'a>(&'a Path);

impl<'a> Dead<'a> {
    /// From now on.
    pub fn new(file: &'a Path) -> Self {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap();
        Command::new("chattr").arg("+i").arg(file).run().unwrap();
        Self(file)
    }
}

impl Drop for Dead<'_> {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(self.0).run();
    }
}

/// Where a pool is mounted; unmounted when dropped.
pub struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// By these devices and no others.
    pub fn new(
        at: &'a Path,
        nodes: &[&Path],
        options: &str,
        access: Access,
    ) -> Result<Self, String> {
        let devices: Vec<_> =
            nodes.iter().map(|node| format!("device={}", node.display())).collect();
        let options = [devices.join(","), options.to_owned()].join(",");
        let source = &nodes[0].display().to_string();
        let mount = Mount {
            source,
            target: at,
            kind: "btrfs",
            access,
            options: options.trim_end_matches(','),
        };
        mount.mount().map_err(|error| format!("{error:?}"))?;
        Ok(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        unmount(self.0).unwrap();
    }
}

/// Numbers that look random: nothing compresses, and each life is the same.
fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Files, with the seed and length of what each holds.
pub type Files = BTreeMap<String, (u32, usize)>;

/// Writes a file whole.
pub fn put(mount: &Path, files: &mut Files, name: &str, seed: u32, length: usize) {
    let path = mount.join(name);
    // In place, where it is: a file without checksums keeps its blocks.
    let mut file =
        fs::OpenOptions::new().create(true).write(true).truncate(false).open(path).unwrap();
    std::io::Write::write_all(&mut file, &content(seed, length)).unwrap();
    file.sync_all().unwrap();
    files.insert(name.to_owned(), (seed, length));
}

/// Files that hold something else than what was put there.
pub fn wrong(mount: &Path, files: &Files) -> Vec<String> {
    let differs = |(name, (seed, length)): (&String, &(u32, usize))| {
        let found = fs::read(mount.join(name)).unwrap_or_default();
        (found != content(*seed, *length)).then(|| name.clone())
    };
    files.iter().filter_map(differs).collect()
}

/// Makes a pool of two copies, and a directory of files without checksums in it; its id.
pub fn make(nodes: &[&Path], mount: &Path) -> Uuid {
    let id = id();
    let nodes: Vec<PathBuf> = nodes.iter().map(|node| node.to_path_buf()).collect();
    let making = Making { members: &nodes, label: "pool", id, two_copies: true };
    pool_fs::of(FileSystem::Btrfs).make(&making).unwrap();
    btrfs::scan(&nodes).unwrap();
    let all: Vec<&Path> = nodes.iter().map(PathBuf::as_path).collect();
    let _mounted = Mounted::new(mount, &all, "", Access::ReadWrite).unwrap();
    fs::create_dir(mount.join("images")).unwrap();
    // Files in it have no checksums, as images have that other tools make.
    Command::new("chattr").arg("+C").arg(mount.join("images")).run().unwrap();
    id
}

/// The kernel forgets what it has seen on these devices.
pub fn forget(nodes: &[&Path]) {
    nodes.iter().for_each(|node| btrfs::forget_one(node).unwrap());
}

/// Lets go of every loop device over a file in this directory.
pub fn detach_below(directory: &Path) {
    let columns = ["--list", "--noheadings", "--output", "NAME,BACK-FILE"];
    let list = Command::new("losetup").args(columns).read().unwrap();
    for line in list.lines() {
        let mut words = line.split_whitespace();
        if let (Some(node), Some(file)) = (words.next(), words.next())
            && Path::new(file).starts_with(directory)
        {
            let_go(Path::new(node));
        }
    }
}
