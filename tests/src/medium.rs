//! The medium of a story, and the tree it was made of.

use std::path::{Path, PathBuf};

use bedplate_image_builder::answers::{Answers, Repository};
use bedplate_image_builder::build::{IsoReport, IsoRequest, Stage, build_iso};
use bedplate_image_builder::personalize::{flake_of, personalize};
use bedplate_image_builder::toplevel;
use bedplate_tools::nix::Workstation;

use crate::failure::{Failure, file};

/// Where the workspace keeps what its images are made of.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Root of the repository.
    pub root: PathBuf,
}

impl Workspace {
    /// The repository this program was built from.
    pub fn own() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        Self { root: root.to_owned() }
    }

    /// The profile's `host.toml`.
    pub fn profile(&self) -> Result<String, Failure> {
        let path = self.root.join("profiles/hypervisor/host.toml");
        std::fs::read_to_string(&path).map_err(file("read", &path))
    }

    /// What is kept between builds.
    pub fn cache(&self) -> PathBuf {
        self.root.join("target/bedplate-cache")
    }

    /// Makes a medium without answers.
    pub fn build_medium(
        &self,
        output: &Path,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Result<IsoReport, Failure> {
        self.build(output, &self.cache(), None, on_stage)
    }

    /// Makes a medium with nothing but what stands in `cache` to start from.
    pub fn build_medium_from(
        &self,
        cache: &Path,
        output: &Path,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Result<IsoReport, Failure> {
        self.build(output, cache, None, on_stage)
    }

    /// Makes a medium that installs `tree` in the place of the live system's own.
    pub fn build_medium_with(&self, output: &Path, tree: &Path) -> Result<IsoReport, Failure> {
        self.build(output, &self.cache(), Some(tree), &mut |_| ())
    }

    /// The sources of the embedded platform.
    pub fn platform_nix(&self) -> PathBuf {
        self.root.join("nix/embedded")
    }

    /// Makes a medium that installs `tree` and is personalised with the document at `host`, whose
    /// system `workstation` builds in advance, by the platform whose sources stand in `platform_nix`.
    pub fn build_medium_in_advance(
        &self,
        output: &Path,
        tree: &Path,
        host: &Path,
        platform_nix: &Path,
        workstation: Workstation,
    ) -> Result<IsoReport, Failure> {
        let request = IsoRequest {
            host: Some(host.to_owned()),
            platform_nix: platform_nix.to_owned(),
            toplevel: Some(toplevel::InAdvance { workstation, hardware: None }),
            ..self.request(output, &self.cache(), Some(tree))
        };
        Ok(build_iso(&request, &mut |_| ())?)
    }

    fn build(
        &self,
        output: &Path,
        cache: &Path,
        installed_tree: Option<&Path>,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Result<IsoReport, Failure> {
        Ok(build_iso(&self.request(output, cache, installed_tree), on_stage)?)
    }

    fn request(&self, output: &Path, cache: &Path, installed_tree: Option<&Path>) -> IsoRequest {
        IsoRequest {
            workspace_binaries: self.root.join("target/release"),
            cache: cache.to_owned(),
            platform_nix: self.platform_nix(),
            host: None,
            repository: None,
            toplevel: None,
            output: output.to_owned(),
            mirror: None,
            installed_tree: installed_tree.map(Path::to_owned),
        }
    }

    /// The Debian tree that media are made of; there after the first medium.
    pub fn tree(&self) -> Result<PathBuf, Failure> {
        Self::tree_in(&self.cache())
    }

    /// The newest Debian tree in a cache.
    pub fn tree_in(cache: &Path) -> Result<PathBuf, Failure> {
        let platforms = directories(cache)?;
        let mut found: Vec<PathBuf> = Vec::new();
        for platform in platforms.iter().filter(|path| path.join("platform.json").exists()) {
            let paths = directories(&platform.join("stage/nix/store"))?;
            found.extend(paths.into_iter().filter(|path| path.ends_with_name("-bedplate-tree")));
        }
        found.sort_by_key(|path| path.metadata().and_then(|meta| meta.modified()).ok());
        found.pop().ok_or_else(|| Failure::Unfit(format!("no tree in {}", cache.display())))
    }
}

trait EndsWithName {
    fn ends_with_name(&self, end: &str) -> bool;
}

impl EndsWithName for PathBuf {
    fn ends_with_name(&self, end: &str) -> bool {
        self.file_name().is_some_and(|name| name.to_string_lossy().ends_with(end))
    }
}

fn directories(parent: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(parent).map_err(file("list", parent))?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

/// Writes answers into a medium.
pub fn put_answers(medium: &Path, host: &str) -> Result<(), Failure> {
    let repository = Repository::Files(flake_of(medium)?);
    let answers = Answers { host: host.to_owned(), repository };
    personalize(medium, &answers)?;
    Ok(())
}
