//! What is installed and cut.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use bedplate_qemu_harness::machine::{Disk, DiskKind, Machine};

use crate::failure::Failure;
use crate::medium::{Workspace, put_answers};
use crate::seed::{self, MEDIUM};
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
}

impl Subject {
    /// The small machine, below `parent` in a directory named by the medium's build.
    pub fn small(parent: &Path) -> Result<Self, Failure> {
        let workspace = Workspace::own();
        if workspace.tree().is_err() {
            // What is installed is taken out of the tree that any medium is made of.
            workspace.build_medium(&parent.join("small.iso"), &mut |_| ())?;
        }
        let (medium, build) = small::medium(&workspace, parent)?;
        let disks = small::disks(Path::new("/"));
        let answers = small::host_toml(&disks);
        put_answers(&medium.file, &answers)?;
        let build = format!("{build}-{:016x}", digest(&disks, &answers));
        Ok(Self { directory: parent.join(&build), medium, build })
    }

    /// Its disks, as raw images in `directory`.
    pub fn disks(&self, directory: &Path) -> Vec<Disk> {
        small::disks(directory)
    }

    /// The machine as it is started from its own disks.
    pub fn installed(&self, disks: Vec<Disk>) -> Machine {
        small::machine("installed", disks)
    }

    /// The machine as it is started from the medium.
    pub fn installing(&self, mut disks: Vec<Disk>) -> Machine {
        let mut medium = seed::medium(&self.medium.file, 0);
        // The firmware starts the medium's kernel at once; what it would read itself is quicker
        // to read as virtio than as USB.
        (medium.kind, medium.boot_index) = (DiskKind::VirtioBlk, None);
        debug_assert_eq!(medium.role, MEDIUM);
        disks.push(medium);
        let mut machine = small::machine("installing", disks);
        machine.kernel = Some(self.medium.kernel.clone());
        machine
    }
}

fn digest(disks: &[Disk], answers: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (format!("{disks:?}"), answers).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_disks_or_answers_are_another_subject() {
        let mut disks = small::disks(Path::new("/"));
        let first = digest(&disks, "a");
        assert_eq!(first, digest(&disks, "a"));
        assert_ne!(first, digest(&disks, "b"));
        disks[0].kind = DiskKind::Nvme;
        assert_ne!(first, digest(&disks, "a"));
    }
}
