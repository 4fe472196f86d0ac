//! Disks and partitions that are ours alone, and the ones that were meant.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bedplate_facts::roots::{Roots, names, text};

use crate::error::{ClaimError, Fault};
use crate::held::{Held, device_number, named, number_of};
use crate::identity::Identity;

/// How long the node of a partition may take to appear.
const PATIENCE: Duration = Duration::from_secs(15);

/// A whole disk or a partition, open for writing and for us alone, that was compared while it was.
#[derive(Debug)]
pub struct Claim {
    file: File,
    disk: String,
}

impl Claim {
    /// The whole disk.
    pub fn disk(identity: &Identity) -> Result<Self, ClaimError> {
        Self::disk_in(&Roots::identity(), identity)
    }

    /// The whole disk, to read what stands on it. When a device that was open for writing is
    /// closed, udev takes its partitions away and brings them back; not after this.
    pub fn disk_to_read(identity: &Identity) -> Result<Self, ClaimError> {
        let roots = Roots::identity();
        claimed(&roots, identity, &by_id(&roots, identity), None, false)
    }

    /// A partition of the disk, once it is there.
    pub fn partition(identity: &Identity, number: u32) -> Result<Self, ClaimError> {
        Self::partition_in(&Roots::identity(), identity, number)
    }

    /// The whole disk, as the directories of `roots` show it.
    pub fn disk_in(roots: &Roots, identity: &Identity) -> Result<Self, ClaimError> {
        claimed(roots, identity, &by_id(roots, identity), None, true)
    }

    /// A partition, as the directories of `roots` show it.
    pub fn partition_in(
        roots: &Roots,
        identity: &Identity,
        number: u32,
    ) -> Result<Self, ClaimError> {
        let path = wait_for_partition(roots, identity, number)?;
        claimed(roots, identity, &path, Some(number), true)
    }

    /// What is open.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Kernel name of the whole disk.
    pub fn disk_name(&self) -> &str {
        &self.disk
    }
}

/// A partition for a library that opens what it works on by itself, and exclusively: compared while
/// it was ours alone, and held on to since, so that the name it is lent under can only mean it.
#[derive(Debug)]
pub struct Lent {
    file: File,
}

impl Lent {
    /// A partition of the disk, once it is there.
    pub fn partition(identity: &Identity, number: u32) -> Result<Self, ClaimError> {
        Self::partition_in(&Roots::identity(), identity, number)
    }

    /// A partition, as the directories of `roots` show it.
    pub fn partition_in(
        roots: &Roots,
        identity: &Identity,
        number: u32,
    ) -> Result<Self, ClaimError> {
        let path = wait_for_partition(roots, identity, number)?;
        // For reading: when it is closed, udev has no reason to look at the device again.
        let claim = claimed(roots, identity, &path, Some(number), false)?;
        let lend = File::open(through(&claim.file));
        let file = lend.map_err(|source| fault(identity, Fault::Lend(source)))?;
        Ok(Self { file })
    }

    /// What an open volume lies on, for its header to be written to. It is found by the mapping and by no
    /// name: the mapping has it exclusively, so that it cannot be claimed.
    pub fn beneath(mapper: &str) -> Result<Self, ClaimError> {
        Self::beneath_in(&Roots::identity(), mapper)
    }

    /// What an open volume lies on, as the directories of `roots` show it.
    pub fn beneath_in(roots: &Roots, mapper: &str) -> Result<Self, ClaimError> {
        let failed = |fault| ClaimError { disk: mapper.to_owned(), fault };
        let below = beneath(roots, mapper).ok_or_else(|| failed(Fault::NoVolume))?;
        let path = roots.dev.join(below.replace('!', "/"));
        let opened =
            File::open(&path).and_then(|file| Ok((device_number(&file.metadata()?), file)));
        let (number, file) =
            opened.map_err(|source| failed(Fault::Open { path: path.clone(), source }))?;
        // While it is open its number is given to no other: what is asked now is of this one.
        let own = text(&roots.sys.join("class/block").join(&below).join("dev"));
        if number.is_none() || number != own || beneath(roots, mapper) != Some(below) {
            let wanted = "what the open volume lies on".to_owned();
            return Err(failed(Fault::Not { path, wanted }));
        }
        Ok(Self { file })
    }

    /// A name that leads to what is open, whatever becomes of the names under `/dev` (proc(5),
    /// `/proc/pid/fd`). For this process and, as root, for its children, as long as this lives.
    pub fn path(&self) -> PathBuf {
        through(&self.file)
    }
}

fn through(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// Kernel name of the one device that a mapping lies on.
fn beneath(roots: &Roots, mapper: &str) -> Option<String> {
    let class = roots.sys.join("class/block");
    let is_it = |name: &String| {
        name.starts_with("dm-")
            && text(&class.join(name).join("dm/name")).as_deref() == Some(mapper)
    };
    let mapping = names(&class).into_iter().find(is_it)?;
    let mut below = names(&class.join(mapping).join("slaves")).into_iter();
    below.next().filter(|_| below.next().is_none())
}

fn by_id(roots: &Roots, identity: &Identity) -> PathBuf {
    roots.dev.join("disk/by-id").join(&identity.id)
}

fn fault(identity: &Identity, fault: Fault) -> ClaimError {
    ClaimError { disk: identity.owner_name.clone(), fault }
}

fn claimed(
    roots: &Roots,
    identity: &Identity,
    path: &Path,
    partition: Option<u32>,
    write: bool,
) -> Result<Claim, ClaimError> {
    let failed = |source| fault(identity, Fault::Open { path: path.to_owned(), source });
    let file = exclusive(path, write).map_err(failed)?;
    let held = Held::of(roots, &file).map_err(failed)?;
    let wanted = || match partition {
        Some(number) => format!("partition {number} of a disk"),
        None => "a whole disk".to_owned(),
    };
    let held = held
        .filter(|held| held.partition == partition)
        .ok_or_else(|| fault(identity, Fault::Not { path: path.to_owned(), wanted: wanted() }))?;
    let differences = match held.facts(roots, &file) {
        Some(facts) => {
            let mut found = identity.differences(&facts);
            if named(roots, &identity.id) != number_of(roots, &held.disk) {
                found.push(format!("{} is the name of another disk now", identity.id));
            }
            found
        }
        None => vec!["it has no medium any more".to_owned()],
    };
    if differences.is_empty() {
        Ok(Claim { file, disk: held.disk })
    } else {
        Err(fault(identity, Fault::Changed(differences)))
    }
}

/// Opens a block device, failing when it or a partition of it is mounted or held by anybody (open(2),
/// `O_EXCL` without `O_CREAT`).
fn exclusive(path: &Path, write: bool) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::EXCL.bits()).unwrap_or(0);
    OpenOptions::new().read(true).write(write).custom_flags(flags).open(path)
}

/// The node of a partition of the disk behind the by-id name, once it is there.
fn wait_for_partition(
    roots: &Roots,
    identity: &Identity,
    number: u32,
) -> Result<PathBuf, ClaimError> {
    let link = by_id(roots, identity);
    let opened = |source| fault(identity, Fault::Open { path: link.clone(), source });
    let device = std::fs::metadata(&link).map_err(opened)?;
    let not = || Fault::Not { path: link.clone(), wanted: "a whole disk".to_owned() };
    let device = device_number(&device).ok_or_else(|| fault(identity, not()))?;
    let entry = std::fs::canonicalize(roots.sys.join("dev/block").join(device)).map_err(opened)?;
    let disk = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let node = roots.dev.join(partition_name(&disk.replace('!', "/"), number));
    let deadline = Instant::now() + PATIENCE;
    while !node.exists() {
        if Instant::now() > deadline {
            let seconds = PATIENCE.as_secs();
            return Err(fault(identity, Fault::NoPartition { path: node, seconds }));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(node)
}

/// The kernel's name of a partition of a disk.
pub fn partition_name(disk: &str, number: u32) -> String {
    let separator = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{separator}{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_nodes_follow_the_kernel() {
        assert_eq!(partition_name("nvme0n1", 2), "nvme0n1p2");
        assert_eq!(partition_name("sda", 1), "sda1");
    }
}
