//! What is in an image, whatever kind of image it becomes: named parts with their hashes.
//!
//! The same contents give the same bytes of every output.

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_formats::answers::ANSWERS_FILE;
use bedplate_formats::boot::{Boot, Image, Inner, Live, TOPLEVEL, TREE};
use bedplate_formats::system_image::FILE;
use bedplate_model::plan::STORE_SUBVOLUME;
use bedplate_tools::digest;
use sha2::{Digest as _, Sha256};

use crate::build::System;
use crate::closure::Closure;
use crate::error::{Error, file};
use crate::personalize::{self, FLAKE_FILE};
use crate::platform::Platform;
use crate::programs::Programs;
use crate::toplevel::Supplied;
use crate::verity_image::Verity;
use crate::{boot_files, initrd};

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its path from the top of the image, such as `/live/vmlinuz`.
    pub name: String,
    /// Where it was made.
    pub file: PathBuf,
    /// What it holds: the root of the tree of hashes of an image of a file system, SHA-256 of any other.
    pub hash: String,
}

/// All that an image holds, and what firmware starts it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The files, in their order.
    pub parts: Vec<Part>,
    /// The file system of an EFI system partition that starts the kernel among the parts.
    pub esp: PathBuf,
    /// The same for a BIOS, as an image of El Torito.
    pub bios: PathBuf,
    /// The first sector of a disk that a BIOS starts from.
    pub sector: PathBuf,
}

impl Contents {
    /// Puts together what `images` boot, with the repository that the medium brings, in files below `work`.
    pub(crate) fn make(work: &Path, images: &Images<'_>, flake: &[u8]) -> Result<Self, Error> {
        let Images { platform, programs, .. } = images;
        let put = |name: &str, content: &[u8]| {
            let path = work.join(name);
            fs::write(&path, content).map_err(file("write", &path)).map(|()| path)
        };
        let (initrd, esp, bios) =
            (work.join("initrd"), work.join("esp.img"), work.join("bios.img"));
        let archives = [platform.modules(), programs.initrd_program()];
        initrd::write(&archives, &images.boot(), &initrd)?;
        boot_files::esp(&platform.root(), &esp)?;
        let sector = boot_files::bios(&platform.root(), &bios)?;
        let plain = [
            ("/.disk/info", put("info", b"Bedplate\n")?),
            ("/boot/grub/grub.cfg", put("grub.cfg", boot_files::menu().as_bytes())?),
            ("/live/build", put("build", images.build_id().as_bytes())?),
            ("/live/vmlinuz", platform.kernel()),
            ("/live/initrd", initrd),
            (FLAKE_FILE, put("flake.tar", flake)?),
            (ANSWERS_FILE, put("answers.bin", &personalize::empty_area())?),
        ];
        let mut parts = plain.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
        parts.extend(images.all().into_iter().map(|(name, file, verity)| Part {
            name: format!("/{}", place(name)),
            file,
            hash: verity.root_hash.clone(),
        }));
        Ok(Self { parts, esp, bios, sector })
    }
}

fn part((name, path): (&str, PathBuf)) -> Result<Part, Error> {
    let opened = fs::File::open(&path).map_err(file("read", &path))?;
    let hash = digest::of_reader(opened).map_err(file("read", &path))?;
    Ok(Part { name: name.to_owned(), file: path, hash })
}

/// What the live system is put together from, and what it installs.
pub(crate) struct Images<'a> {
    pub platform: &'a Platform,
    pub programs: &'a Programs,
    pub closure: Option<&'a Closure>,
    pub system: Option<&'a System>,
}

impl Images<'_> {
    /// Name, file and hashes of each.
    fn all(&self) -> Vec<(&'static str, PathBuf, &Verity)> {
        let tree = (TREE, self.platform.image(), &self.platform.record.verity);
        let programs = ("programs", self.programs.image.clone(), &self.programs.verity);
        let closure = self.closure.map(|one| ("closure", one.image.clone(), &one.verity));
        let system = self.system.map(|one| (TOPLEVEL, one.image.clone(), &one.verity));
        [tree, programs].into_iter().chain(closure).chain(system).collect()
    }

    /// The platform's store paths that the installer copies.
    pub fn supplied(&self) -> Vec<Supplied> {
        let tree = self.closure.map_or_else(|| self.platform.supplied_tree(), Closure::supplied);
        let mut all = self.programs.supplied();
        all.extend([tree, self.platform.supplied_modules()]);
        all
    }

    /// Hash of what the live system consists of.
    pub fn build_id(&self) -> String {
        let mut hasher = Sha256::new();
        for (_, _, verity) in self.all() {
            hasher.update(&verity.root_hash);
        }
        hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    fn boot(&self) -> Boot {
        let image = |(name, _, verity): (&str, PathBuf, &Verity)| Image {
            name: name.to_owned(),
            file: place(name),
            kind: kind(name).to_owned(),
            root_hash: verity.root_hash.clone(),
            hash_offset: verity.hash_offset,
            inner: holds_file_system(name)
                .then(|| Inner { file: FILE.into(), subvolume: STORE_SUBVOLUME.into() }),
        };
        Boot::Live(Live {
            build: self.build_id(),
            images: self.all().into_iter().map(image).collect(),
            tree: self.platform.record.tree.path.clone(),
            overlay: "programs/live".to_owned(),
        })
    }
}

/// Whether the store of an image is a file system of its own, in a file that may be large.
fn holds_file_system(name: &str) -> bool {
    [TREE, TOPLEVEL].contains(&name)
}

/// The file system of an image, and the end of its name on the medium.
fn kind(name: &str) -> &'static str {
    if holds_file_system(name) { "erofs" } else { "squashfs" }
}

/// Where the image of this name is.
fn place(name: &str) -> String {
    format!("live/{name}.{}", kind(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("info");
        let of = |text: &str| {
            fs::write(&path, text).unwrap();
            part(("/.disk/info", path.clone())).unwrap()
        };
        let found = of("Bedplate\n");
        assert_eq!((found.name.as_str(), &found.file), ("/.disk/info", &path));
        assert_eq!(found.hash, digest::of_bytes(b"Bedplate\n"));
        assert_ne!(found.hash, of("Bedplate").hash);
        fs::remove_file(&path).unwrap();
        let told = part(("/.disk/info", path.clone())).unwrap_err().to_string();
        assert!(told.contains(&path.display().to_string()), "{told}");
    }
}
