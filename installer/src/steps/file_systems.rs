//! File systems over opened volumes, and the mounts of the target. Which one a pool has, the plan says; the
//! system stands in subvolumes of a btrfs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_disks::pool_fs::{self, Making, Opening, PoolFileSystem};
use bedplate_events::Outcome;
use bedplate_model::host::FileSystem;
use bedplate_model::name::MapperName;
use bedplate_model::plan::{Mount, MountSource, Subvolume};
use bedplate_tools::btrfs;
use bedplate_tools::mount::{Access, Mount as SystemMount, unmount};
use bedplate_tools::vfat;
use uuid::Uuid;

use super::kept;
use crate::context::{Context, TARGET};
use crate::device::wait_for_partition;
use crate::error::{During as _, StepError};
use crate::meter::Meter;
use crate::steps::system_image::Source;

/// The one that the system stands in.
const SYSTEM: FileSystem = FileSystem::Btrfs;

/// What makes and mounts it.
pub fn system() -> &'static dyn PoolFileSystem {
    pool_fs::of(SYSTEM)
}

/// Below this a file system stands while its subvolumes are made, by its label.
pub const TOP_LEVEL: &str = "/run/bedplate/top-level";

/// A file system over opened volumes.
pub struct Make<'a> {
    /// Which one.
    pub file_system: &'static dyn PoolFileSystem,
    /// Label of the file system, and its name below [`TOP_LEVEL`].
    pub label: &'a str,
    /// By which it is known.
    pub id: Uuid,
    /// How it comes about.
    pub origin: Origin<'a>,
    /// Names under `/dev/mapper`.
    pub members: &'a [MapperName],
    /// Subvolumes at the top level.
    pub subvolumes: &'a [Subvolume],
    /// Whether a member is sealed: then the file system holds data, and is never made anew.
    pub sealed: bool,
}

/// How a file system comes about.
pub enum Origin<'a> {
    /// It is made without content.
    Empty {
        /// Whether everything is kept on two members.
        raid1: bool,
    },
    /// The medium's image is written, and grows to the volume's size.
    Medium(Source, Meter<'a>),
}

/// What stands on the volumes of a file system.
enum Standing {
    /// It is not on all of them.
    Absent,
    /// It is there, and the kernel does not mount it.
    Refused(StepError),
    /// It is there and can be used.
    Sound,
}

impl Make<'_> {
    /// Makes it, unless it is there already.
    pub fn run(&self) -> Result<Outcome, StepError> {
        let nodes = nodes(self.members);
        let present = match self.standing(&nodes)? {
            Standing::Sound => true,
            unsound => {
                self.may_be_made(unsound)?;
                self.make(&nodes)?;
                false
            }
        };
        let made = self.make_subvolumes(&nodes)?;
        Ok(if present && !made { Outcome::AlreadyDone } else { Outcome::Done })
    }

    fn make(&self, nodes: &[PathBuf]) -> Result<(), StepError> {
        let kind = self.file_system.words().name;
        let failure = format!("could not make the {kind} file system {}", self.label);
        match &self.origin {
            Origin::Empty { raid1 } => {
                let (label, id, two_copies) = (self.label, self.id, *raid1);
                let making = Making { members: nodes, label, id, two_copies };
                self.file_system.make(&making).during(failure)
            }
            Origin::Medium(source, meter) => {
                let node = nodes.first().ok_or_else(|| StepError::new("no members"))?;
                let name = btrfs::Renaming { fsid: self.id, label: self.label };
                source.write(node, name, meter).during(failure)
            }
        }
    }

    /// What stands on the volumes. A superblock alone says little: the power may have gone under
    /// a disk that loses what it called durable, and the kernel refuses what is left.
    fn standing(&self, nodes: &[PathBuf]) -> Result<Standing, StepError> {
        if !self.is_present(nodes)? {
            return Ok(Standing::Absent);
        }
        let top = &Path::new(TOP_LEVEL).join(self.label);
        if let Err(refusal) = open(self.file_system, nodes, top, Access::ReadWrite) {
            // The kernel must not take its old members for those of the one made in its place.
            for node in nodes {
                let forgotten = self.file_system.forget(node);
                forgotten.during("could not make the kernel forget a file system")?;
            }
            return Ok(Standing::Refused(refusal));
        }
        unmount(top).during("could not unmount the top level")?;
        Ok(Standing::Sound)
    }

    /// Whether what is not sound may be made anew: where nothing is sealed nothing is lost by it.
    fn may_be_made(&self, standing: Standing) -> Result<(), StepError> {
        if !self.sealed {
            return Ok(());
        }
        let label = self.label;
        let error = match standing {
            Standing::Refused(refusal) => StepError {
                what: format!("the file system {label} cannot be mounted, and it is sealed"),
                ..refusal
            },
            _ => StepError::new(format!(
                "the file system {label} is not on all its volumes, and one of them is sealed"
            )),
        };
        Err(error.next("nothing was written to it; only `wipe = \"any\"` makes it anew"))
    }

    fn is_present(&self, nodes: &[PathBuf]) -> Result<bool, StepError> {
        for node in nodes {
            let found = is_member(self.file_system, node, self.id);
            if !found.during("could not look at an opened volume")? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn make_subvolumes(&self, nodes: &[PathBuf]) -> Result<bool, StepError> {
        if self.subvolumes.is_empty() {
            return Ok(false);
        }
        let top = &Path::new(TOP_LEVEL).join(self.label);
        mount_system(nodes, top, "subvolid=5")?;
        let mut made = false;
        let mut result = match self.origin {
            Origin::Empty { .. } => Ok(()),
            Origin::Medium(..) => btrfs::grow(top).during("could not let the file system grow"),
        };
        for subvolume in self.subvolumes {
            let path = top.join(&subvolume.name);
            if result.is_ok() && !path.exists() {
                made = true;
                result = btrfs::create_subvolume(&path)
                    .during(format!("could not create the subvolume {}", subvolume.name));
            }
        }
        let unmounted = unmount(top).during("could not unmount the top level");
        result.and(unmounted).map(|()| made)
    }
}

fn nodes(members: &[MapperName]) -> Vec<PathBuf> {
    members.iter().map(|member| Path::new("/dev/mapper").join(member)).collect()
}

/// Whether a member of the file system `id` stands there.
pub fn is_member(file_system: &dyn PoolFileSystem, node: &Path, id: Uuid) -> io::Result<bool> {
    let told = file_system.told(node)?;
    Ok(told.is_some_and(|told| told.pool == id && !told.hidden && !told.torn))
}

/// A subvolume of the system's file system.
fn mount_system(nodes: &[PathBuf], target: &Path, subvolume: &str) -> Result<(), StepError> {
    let Some(first) = nodes.first() else { return Err(StepError::new("no members")) };
    let mut words: Vec<String> =
        nodes.iter().map(|node| format!("device={}", node.display())).collect();
    words.push(subvolume.to_owned());
    let source = first.display().to_string();
    mount(&source, target, SYSTEM.name(), &words.join(","), Access::ReadWrite)
}

/// Mounts a pool. One that is kept is mounted read-only: nothing is written, not even the log that a power cut
/// left.
pub fn open(
    file_system: &dyn PoolFileSystem,
    nodes: &[PathBuf],
    target: &Path,
    access: Access,
) -> Result<(), StepError> {
    fs::create_dir_all(target).during(format!("could not make {}", target.display()))?;
    // A member that is missing is refused.
    let opening = Opening { members: nodes, at: target, degraded: false, access };
    file_system.open(&opening).during(format!("could not mount at {}", target.display()))
}

fn mount(
    source: &str,
    target: &Path,
    kind: &str,
    options: &str,
    access: Access,
) -> Result<(), StepError> {
    fs::create_dir_all(target).during(format!("could not make {}", target.display()))?;
    SystemMount { source, target, kind, access, options }
        .mount()
        .during(format!("could not mount at {}", target.display()))
}

/// Mounts the target under `/mnt`, in the order given.
pub fn mount_all(context: &Context<'_>, mounts: &[Mount]) -> Result<Outcome, StepError> {
    for wanted in mounts {
        let place = Path::new(TARGET).join(wanted.target.trim_start_matches('/'));
        match &wanted.source {
            MountSource::OsSubvolume { mapper, name } => {
                let nodes = nodes(std::slice::from_ref(mapper));
                mount_system(&nodes, &place, &format!("subvol={name}"))?;
            }
            MountSource::Esp { role, partition } => {
                let node = wait_for_partition(context.disk(role)?, *partition)?;
                mount(
                    &node.display().to_string(),
                    &place,
                    "vfat",
                    &format!("umask=0077,{}", vfat::DURABLE),
                    Access::ReadWrite,
                )?;
            }
            MountSource::Pool { file_system, members } => {
                let is_kept = kept::is_kept(context, members);
                let access = if is_kept { Access::ReadOnly } else { Access::ReadWrite };
                open(pool_fs::of(*file_system), &nodes(members), &place, access)?;
            }
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(sealed: bool) -> Make<'static> {
        let (label, id) = ("data", Uuid::from_u128(7));
        Make {
            file_system: system(),
            label,
            id,
            origin: Origin::Empty { raid1: true },
            members: &[],
            subvolumes: &[],
            sealed,
        }
    }

    #[test]
    fn f1_a_file_system_that_the_kernel_refuses_is_made_anew_unless_it_is_sealed() {
        let refused = || {
            let cause: Result<(), _> = Err(std::io::Error::other("parent transid verify failed"));
            Standing::Refused(cause.during("could not mount").unwrap_err())
        };
        assert!(over(false).may_be_made(refused()).is_ok());
        assert!(over(false).may_be_made(Standing::Absent).is_ok());
        let error = over(true).may_be_made(refused()).unwrap_err();
        assert_eq!(error.what, "the file system data cannot be mounted, and it is sealed");
        assert_eq!(error.causes(), ["parent transid verify failed"]);
        assert!(error.next.unwrap().contains("nothing was written"));
        assert!(over(true).may_be_made(Standing::Absent).is_err());
    }
}
