//! From packages and programs to a medium.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bedplate_spec::answers::ANSWERS_FILE;
use bedplate_spec::boot::{Boot, Image, Live, MEDIUM_LABEL};
use bedplate_tools::xorriso;
use sha2::{Digest as _, Sha256};

use crate::answers::{self, Answers};
use crate::error::{Error, file, tool};
use crate::personalize::{self, FLAKE_FILE};
use crate::platform::Platform;
use crate::programs::{self, Programs};
use crate::{boot_files, initrd};

const BIOS_IMAGE: &str = "boot/grub/bios.img";

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
    /// Where to write the medium.
    pub output: PathBuf,
    /// Mirror of the packages; without one the machine's configuration decides.
    pub mirror: Option<String>,
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
    fs::create_dir_all(&request.cache).map_err(file("make", &request.cache))?;
    let platform = Platform::obtain(&request.cache, request.mirror.as_deref(), &mut enter)?;

    enter(Stage::Programs);
    let work = tempfile::Builder::new().prefix("build-").tempdir_in(&request.cache);
    let work = Work(work.map_err(file("make a directory in", &request.cache))?.keep());
    let mut programs = programs::gather(&request.workspace_binaries, &platform, &work.0)?;
    programs.seal()?;

    enter(Stage::BootFiles);
    let description = programs.description.text()?;
    let flake = answers::embedded_flake(&request.platform_nix, &description)?;
    let flake_tar = answers::pack_flake(&flake)?;
    let build = build_id(&platform, &programs);
    let files = Files::write(&work.0, &platform, &programs, &build, &flake_tar)?;

    enter(Stage::Medium);
    let partial = request.output.with_extension("iso.part");
    files.medium(&platform, &programs, &partial)?;
    if let Some(host) = &request.host {
        enter(Stage::Answers);
        let host = fs::read_to_string(host).map_err(file("read", host))?;
        personalize::personalize(&partial, &Answers { host, flake })?;
    }
    fs::rename(&partial, &request.output).map_err(file("rename", &partial))?;
    let path = request.output.clone();
    let size = fs::metadata(&path).map_err(file("look at", &path))?.len();
    Ok(IsoReport { stages: clock.finish(), path, size, build })
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

/// Hash of what the live system consists of.
fn build_id(platform: &Platform, programs: &Programs) -> String {
    let mut hasher = Sha256::new();
    for part in [&platform.record.verity.root_hash, &programs.verity.root_hash] {
        hasher.update(part);
    }
    hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn boot(platform: &Platform, programs: &Programs, build: &str) -> Boot {
    let image = |name: &str, verity: &crate::verity_image::Verity| Image {
        name: name.to_owned(),
        file: format!("live/{name}.squashfs"),
        root_hash: verity.root_hash.clone(),
        hash_offset: verity.hash_offset,
    };
    Boot::Live(Live {
        build: build.to_owned(),
        images: vec![image("tree", &platform.record.verity), image("programs", &programs.verity)],
        tree: platform.record.tree.path.clone(),
        overlay: "programs/live".to_owned(),
    })
}

/// Files made for one medium.
struct Files {
    info: PathBuf,
    menu: PathBuf,
    build: PathBuf,
    initrd: PathBuf,
    flake: PathBuf,
    answers: PathBuf,
    esp: PathBuf,
    bios: PathBuf,
    sector: PathBuf,
}

impl Files {
    fn write(
        work: &Path,
        platform: &Platform,
        programs: &Programs,
        build: &str,
        flake: &[u8],
    ) -> Result<Self, Error> {
        let put = |name: &str, content: &[u8]| {
            let path = work.join(name);
            fs::write(&path, content).map_err(file("write", &path)).map(|()| path)
        };
        let (initrd, esp, bios) =
            (work.join("initrd"), work.join("esp.img"), work.join("bios.img"));
        let parts = [platform.modules(), programs.initrd_program()];
        initrd::write(&parts, &boot(platform, programs, build), &initrd)?;
        boot_files::esp(&platform.root(), &esp)?;
        let sector = boot_files::bios(&platform.root(), &bios)?;
        Ok(Self {
            info: put("info", b"Bedplate\n")?,
            menu: put("grub.cfg", boot_files::menu().as_bytes())?,
            build: put("build", build.as_bytes())?,
            flake: put("flake.tar", flake)?,
            answers: put("answers.bin", &personalize::empty_area())?,
            initrd,
            esp,
            bios,
            sector,
        })
    }

    fn medium(&self, platform: &Platform, programs: &Programs, to: &Path) -> Result<(), Error> {
        let (kernel, tree) = (platform.kernel(), platform.image());
        let files: [(&str, &Path); 10] = [
            ("/.disk/info", &self.info),
            ("/boot/grub/grub.cfg", &self.menu),
            (BIOS_IMAGE, &self.bios),
            ("/live/build", &self.build),
            ("/live/vmlinuz", &kernel),
            ("/live/initrd", &self.initrd),
            ("/live/tree.squashfs", &tree),
            ("/live/programs.squashfs", &programs.image),
            (FLAKE_FILE, &self.flake),
            (ANSWERS_FILE, &self.answers),
        ];
        let _ = fs::remove_file(to);
        let request = xorriso::Request {
            output: to,
            volume: MEDIUM_LABEL,
            esp: &self.esp,
            bios: Some((BIOS_IMAGE, &self.sector)),
            files: &files,
        };
        xorriso::make(&request).map_err(tool("write the medium"))
    }
}
