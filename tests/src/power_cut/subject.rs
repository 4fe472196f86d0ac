//! What is installed and cut.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use bedplate_qemu_harness::machine::{Disk, Machine};

use super::shape::Shape;
use crate::failure::Failure;
use crate::medium::{Workspace, put_answers};
use crate::small::{self, Medium};

/// A machine, its answers and its medium.
pub struct Subject {
    /// Where the medium and the record stand.
    pub directory: PathBuf,
    /// The medium.
    pub medium: Medium,
    /// What stands on the medium, and what it is installed on: another build is another subject,
    /// and so are other disks or answers.
    pub build: String,
    shape: Shape,
}

impl Subject {
    /// The small machine, below `parent` in a directory named by what is installed on what.
    pub fn small(parent: &Path) -> Result<Self, Failure> {
        Self::of(Shape::Small, parent)
    }

    /// A machine of some shape. Only [`Shape::Small`] starts systemd on the medium.
    pub fn of(shape: Shape, parent: &Path) -> Result<Self, Failure> {
        let workspace = Workspace::own();
        if workspace.tree().is_err() {
            // What is installed is taken out of the tree that any medium is made of.
            workspace.build_medium(&parent.join("small.iso"), &mut |_| ())?;
        }
        let (mut medium, build) = small::medium(&workspace, parent)?;
        if shape != Shape::Small {
            medium.kernel.command_line.clone_from(&medium.quick);
        }
        let answers = shape.host_toml();
        put_answers(&medium.file, &answers)?;
        let digest = digest(&shape.disks(Path::new("/")), &answers);
        let build = format!("{build}-{digest:016x}");
        Ok(Self { directory: parent.join(&build), medium, build, shape })
    }

    /// Its disks, as raw images in `directory`.
    pub fn disks(&self, directory: &Path) -> Vec<Disk> {
        self.shape.disks(directory)
    }

    /// The machine as it is started from its own disks.
    pub fn installed(&self, disks: Vec<Disk>) -> Machine {
        small::machine("installed", disks)
    }

    /// The machine as it is started from the medium.
    pub fn installing(&self, disks: Vec<Disk>) -> Machine {
        small::installing(&self.medium, disks)
    }
}

fn digest(disks: &[Disk], answers: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (format!("{disks:?}"), answers).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use bedplate_qemu_harness::machine::DiskKind;

    use super::*;

    #[test]
    fn other_disks_or_answers_are_another_subject() {
        let mut disks = small::disks(Path::new("/"));
        let first = digest(&disks, "a");
        assert_eq!(first, digest(&disks, "a"));
        assert_ne!(first, digest(&disks, "b"));
        disks[0].kind = DiskKind::VirtioBlk;
        assert_ne!(first, digest(&disks, "a"));
    }
}
