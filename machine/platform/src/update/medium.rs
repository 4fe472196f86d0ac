//! A medium that is plugged into the running machine: its images, mounted read-only.
//!
//! dm-verity is not used here: what is copied is compared with its hash when it is in the store.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_formats::system_image;
use bedplate_model::plan::STORE_SUBVOLUME;
use bedplate_tools::mount::{self, Access, ImageMount, Mount, MountError};

/// Images of a medium, relative to its root: the first that is there holds the installed tree.
const TREES: [(&str, &str); 2] =
    [("live/closure.squashfs", "squashfs"), ("live/tree.erofs", "erofs")];
/// Our programs and the description.
const PROGRAMS: (&str, &str) = ("live/programs.squashfs", "squashfs");

/// A medium that could not be opened. Nothing stays mounted.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// Nothing there.
    #[error("{} is not there: plug in the medium, or name its device", .0.display())]
    NotThere(PathBuf),
    /// A mount.
    #[error("the medium cannot be opened")]
    Mount(#[from] MountError),
    /// An image.
    #[error("the image {} cannot be opened", .file.display())]
    Image {
        /// The image, a file on the medium or inside another image of it.
        file: PathBuf,
        /// How `mount` ended, with the tail of what it said.
        #[source]
        source: bedplate_tools::command::CommandError,
    },
    /// Where it is mounted.
    #[error("could not make {}", .path.display())]
    Place {
        /// Directory that the medium or an image of it was to be mounted at.
        path: PathBuf,
        /// What the kernel said when the directory was made.
        #[source]
        source: std::io::Error,
    },
    /// Of something else.
    #[error("{} is no medium of Bedplate", .0.display())]
    NotOurs(PathBuf),
}

/// An opened medium; closed when dropped.
#[derive(Debug)]
pub struct Opened {
    /// Roots of the images, each with `nix/store`.
    pub images: Vec<PathBuf>,
    mounted: Vec<PathBuf>,
}

impl Opened {
    /// Opens the medium in `device` below `place`.
    pub fn open(device: &Path, place: &Path) -> Result<Self, MediumError> {
        if !device.exists() {
            return Err(MediumError::NotThere(device.to_owned()));
        }
        let mut opened = Self { images: Vec::new(), mounted: Vec::new() };
        let medium = make(&place.join("medium"))?;
        let (source, target) = (device.to_string_lossy(), medium.as_path());
        let kind = "iso9660";
        Mount { source: &source, target, kind, access: Access::ReadOnly, options: "" }
            .mount_restricted()?;
        opened.mounted.push(medium.clone());
        let trees = TREES.iter().find(|(file, _)| medium.join(file).is_file());
        let (file, kind) = trees.ok_or_else(|| MediumError::NotOurs(device.to_owned()))?;
        let tree = make(&place.join("tree"))?;
        opened.image(&medium.join(file), &tree, kind, "")?;
        if tree.join(system_image::DESCRIPTION).is_file() {
            // The store is a file system of its own, in a file of the image.
            let subvolume = format!("subvol={STORE_SUBVOLUME}");
            let inner = tree.join(STORE_SUBVOLUME);
            opened.image(&tree.join(system_image::FILE), &inner, "btrfs", &subvolume)?;
        }
        let programs = make(&place.join("programs"))?;
        opened.image(&medium.join(PROGRAMS.0), &programs, PROGRAMS.1, "")?;
        opened.images = vec![tree, programs];
        Ok(opened)
    }

    fn image(
        &mut self,
        file: &Path,
        target: &Path,
        kind: &str,
        options: &str,
    ) -> Result<(), MediumError> {
        let failed = |source| MediumError::Image { file: file.to_owned(), source };
        ImageMount { file, target, kind, options }.mount().map_err(failed)?;
        self.mounted.push(target.to_owned());
        Ok(())
    }

    /// Where the medium describes its platform.
    pub fn description(&self) -> PathBuf {
        self.images.last().map_or_else(PathBuf::new, |programs| programs.join("platform.json"))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        for target in self.mounted.iter().rev() {
            // One that is in use goes with the next boot.
            mount::unmount(target).ok();
        }
    }
}

fn make(path: &Path) -> Result<PathBuf, MediumError> {
    let made = fs::create_dir_all(path);
    made.map_err(|source| MediumError::Place { path: path.to_owned(), source })?;
    Ok(path.to_owned())
}

#[cfg(test)]
pub(super) fn of_directories(images: Vec<PathBuf>) -> Opened {
    Opened { images, mounted: Vec::new() }
}
