//! From packages and programs to a medium.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::answers::{self, Answers, Flake, Repository};
use crate::closure;
use crate::contents::{Contents, Images};
use crate::error::{Error, file};
use crate::output;
use crate::outputs::{Iso, Output};
use crate::owned;
use crate::platform::Platform;
use crate::programs;
use crate::toplevel::{self, Built};
use crate::tree_nix::TreePrograms;
use crate::verity_image::Verity;

/// What a medium is made of.
#[derive(Debug, Clone)]
pub struct IsoRequest {
    /// Directory with the release builds of our programs.
    pub workspace_binaries: PathBuf,
    /// Directory for what is kept between builds.
    pub cache: PathBuf,
    /// The sources of the embedded platform.
    pub platform_nix: PathBuf,
    /// The `host.toml` to personalise with; without one the medium asks.
    pub host: Option<PathBuf>,
    /// The owner's repository, for a medium that is personalised; without one, the medium's own.
    pub repository: Option<owned::Repository>,
    /// The system to build in advance for a medium that is personalised; without one, the machine
    /// builds it.
    pub toplevel: Option<toplevel::InAdvance>,
    /// Where to write the medium.
    pub output: PathBuf,
    /// Mirror of the packages; without one the machine's configuration decides.
    pub mirror: Option<String>,
    /// The root of a tree that is installed in the place of the live system's own.
    pub installed_tree: Option<PathBuf>,
}

/// A stage of the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Packages are fetched and unpacked.
    Packages,
    /// Modules are gathered, store paths computed.
    Closure,
    /// The image of the tree is made.
    TreeImage,
    /// Our programs are prepared and their image is made.
    Programs,
    /// The system is built in advance, and the image of its closure is made.
    System,
    /// The initrd and the files for firmware are written.
    BootFiles,
    /// The medium is written.
    Medium,
    /// The answers are written into it.
    Answers,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Packages => "packages",
            Self::Closure => "store paths",
            Self::TreeImage => "tree image",
            Self::Programs => "programs",
            Self::System => "system, built in advance",
            Self::BootFiles => "boot files",
            Self::Medium => "medium",
            Self::Answers => "answers",
        })
    }
}

/// A medium that was made.
#[derive(Debug, Clone)]
pub struct IsoReport {
    /// The stages that ran, and how long each took. What the cache held did not run.
    pub stages: Vec<(Stage, Duration)>,
    /// Where the medium is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its build id.
    pub build: String,
    /// Store path of the tree that it installs.
    pub tree: String,
    /// What the system it installs takes in a store, by the sizes Nix is told, in bytes.
    pub closure_bytes: u64,
    /// The system that was built in advance.
    pub toplevel: Option<Built>,
}

/// Makes a medium. The output appears whole or not at all.
pub fn build_iso(
    request: &IsoRequest,
    on_stage: &mut dyn FnMut(Stage),
) -> Result<IsoReport, Error> {
    let mut clock = Clock { stages: Vec::new(), since: Instant::now() };
    let mut enter = |stage| {
        clock.enter(stage);
        on_stage(stage);
    };
    // Packages take minutes: what cannot be written or cannot travel is refused before.
    let output = output::place(&request.output)?;
    let look =
        |asked: &owned::Repository| Ok((owned::look(&asked.directory)?, asked.take_platform));
    let owned = request.repository.as_ref().map(look).transpose()?;
    request.toplevel.as_ref().map(toplevel::InAdvance::check).transpose()?;
    fs::create_dir_all(&request.cache).map_err(file("make", &request.cache))?;
    let platform = Platform::obtain(&request.cache, request.mirror.as_deref(), &mut enter)?;

    enter(Stage::Programs);
    let work = tempfile::Builder::new().prefix("build-").tempdir_in(&request.cache);
    let work = Work(work.map_err(file("make a directory in", &request.cache))?.keep());
    let made =
        request.installed_tree.as_deref().map(|root| closure::make(root, &platform, &work.0));
    let closure = made.transpose()?;
    let tree = closure.as_ref().map_or(&platform.record.tree, |closure| &closure.tree);
    let mut programs = programs::gather(&request.workspace_binaries, &platform, tree, &work.0)?;
    programs.seal()?;
    let description = programs.description.text()?;
    let flake = answers::embedded_flake(&request.platform_nix, &description)?;
    let flake_tar = answers::pack_flake(&flake)?;
    let answers = request.host.as_deref().map(|host| answers_of(host, owned.as_ref(), flake));
    let answers = answers.transpose()?;

    let closure = closure.as_ref();
    let mut images = Images { platform: &platform, programs: &programs, closure, system: None };
    let asked = request.toplevel.as_ref().zip(answers.as_ref());
    let system = asked.map(|(asked, answers)| {
        enter(Stage::System);
        system(asked, answers, &images, &request.cache)
    });
    let system = system.transpose()?;
    images.system = system.as_ref();

    enter(Stage::BootFiles);
    let contents = Contents::make(&work.0, &images, &flake_tar)?;
    let size = write(&Iso, &contents, answers.as_ref(), &output, &mut enter)?;
    let (path, build, tree) = (request.output.clone(), images.build_id(), tree.path.clone());
    let toplevel = system.map(|system| system.built);
    let closure_bytes = programs.closure_bytes + toplevel.as_ref().map_or(0, Built::bytes);
    let stages = clock.finish();
    Ok(IsoReport { stages, path, size, build, tree, closure_bytes, toplevel })
}

/// Writes the contents with their answers, and returns the size in bytes.
fn write(
    output: &dyn Output,
    contents: &Contents,
    answers: Option<&Answers>,
    to: &Path,
    enter: &mut dyn FnMut(Stage),
) -> Result<u64, Error> {
    enter(Stage::Medium);
    let partial = to.with_extension("iso.part");
    output.write(contents, &partial)?;
    if let Some(answers) = answers {
        enter(Stage::Answers);
        output.answer(&partial, answers)?;
    }
    fs::rename(&partial, to).map_err(file("rename", &partial))?;
    Ok(fs::metadata(to).map_err(file("look at", to))?.len())
}

/// The text of a host.toml; which encoding another one is in, or where it goes wrong, is said as
/// `bedplate check` says it.
pub fn document_text(bytes: &[u8], path: &Path) -> Result<String, Error> {
    let text = bedplate_document::text(bytes, "host.toml").map(str::to_owned);
    text.map_err(|why| std::io::Error::new(std::io::ErrorKind::InvalidData, why))
        .map_err(file("read", path))
}

/// What a medium with the document `host` is personalised with: the owner's repository, or
/// `flake`, the medium's own.
fn answers_of(
    host: &Path,
    owned: Option<&(owned::State, bool)>,
    flake: Flake,
) -> Result<Answers, Error> {
    let bytes = fs::read(host).map_err(file("read", host))?;
    let host = document_text(&bytes, host)?;
    let repository = match owned {
        Some((state, take_platform)) => {
            state.has_room_for(&host)?;
            let description = state.description(&flake, *take_platform)?;
            Repository::Owned(state.bundle(description)?)
        }
        None => Repository::Files(flake),
    };
    Ok(Answers { host, repository })
}

/// A system that was built in advance, and the image with its closure.
pub(crate) struct System {
    pub(crate) built: Built,
    pub(crate) image: PathBuf,
    pub(crate) verity: Verity,
}

fn system(
    asked: &toplevel::InAdvance,
    answers: &Answers,
    images: &Images<'_>,
    cache: &Path,
) -> Result<System, Error> {
    let built = asked.build(&answers.host, &answers.repository, &images.supplied())?;
    let programs = TreePrograms::new(&images.platform.root());
    let (image, verity) = toplevel::image(&built, &asked.workstation, &programs, cache)?;
    Ok(System { built, image, verity })
}

struct Clock {
    stages: Vec<(Stage, Duration)>,
    since: Instant,
}

impl Clock {
    fn enter(&mut self, stage: Stage) {
        self.lap();
        self.stages.push((stage, Duration::ZERO));
    }

    fn lap(&mut self) {
        if let Some((_, duration)) = self.stages.last_mut() {
            *duration = self.since.elapsed();
        }
        self.since = Instant::now();
    }

    fn finish(mut self) -> Vec<(Stage, Duration)> {
        self.lap();
        self.stages
    }
}

/// A directory that goes when the build ends, with what was sealed in it.
struct Work(PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        let _ = crate::platform::remove(&self.0);
    }
}
