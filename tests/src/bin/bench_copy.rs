//! Measures the copy of a closure beside `nix copy`, `cp -a` and `dd`, in an installed machine.
//!
//! The same program is the copier in that machine: it does there what the installer's step does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bedplate_engine::Reporter;
use bedplate_installer::error::{During as _, StepError};
use bedplate_installer::meter::Meter;
use bedplate_installer::steps::closure;
use bedplate_installer::steps::file_systems::{Make, Origin, system};
use bedplate_installer::steps::system_image::Source;
use bedplate_model::name::{MapperName, NotAName};
use bedplate_model::plan::STORE_SUBVOLUME;
use bedplate_model::plan::Subvolume;
use bedplate_tests::Failure;
use bedplate_tests::benchmark::{directory, ended};
use bedplate_tests::copy_figure::{self, FILES, Measured, Medium, PATHS};
use bedplate_tests::installed::Installation;
use bedplate_tests::medium::Workspace;
use bedplate_tools::mount::{Access, Mount};
use uuid::Uuid;

/// First argument of the copier.
const COPY: &str = "copy";
/// The id of the file system that it writes: any.
const FSID: u128 = 0x6265_646c_6174_4500_8000_0000_0000_0001;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ended(match arguments.as_slice() {
        [word, image, volume, target] if word == COPY => {
            let volume =
                volume.parse().map_err(|error: NotAName| Failure::Unfit(error.to_string()));
            volume.and_then(|volume| {
                copy(Path::new(image), &volume, Path::new(target)).map_err(unfit)
            })
        }
        _ => measure(),
    })
}

fn unfit(error: StepError) -> Failure {
    Failure::Unfit(bedplate_events::cause::in_line(&error))
}

/// The steps of the installer: the file system is written and mounted, its paths are registered.
fn copy(image: &Path, volume: &MapperName, target: &Path) -> Result<(), StepError> {
    let reporter = Reporter::new(Vec::new());
    let source = Source::open_in(image)?;
    let meter = Meter::new(&reporter, COPY, source.bytes());
    let store = Subvolume { name: STORE_SUBVOLUME.to_owned(), mount: "/nix".to_owned() };
    Make {
        label: COPY,
        file_system: system(),
        id: Uuid::from_u128(FSID),
        origin: Origin::Medium(source, meter),
        members: std::slice::from_ref(volume),
        subvolumes: &[store],
        sealed: false,
    }
    .run()?;
    let place = target.join("nix");
    std::fs::create_dir_all(&place).during("could not make the place of the store")?;
    Mount {
        source: &format!("/dev/mapper/{volume}"),
        target: &place,
        kind: "btrfs",
        access: Access::ReadWrite,
        options: &format!("subvol={STORE_SUBVOLUME}"),
    }
    .mount()
    .during("could not mount the store")?;
    closure::copy_from(&[image.to_owned()], target, &reporter, COPY).map(drop)
}

fn measure() -> Result<(), Failure> {
    let directory = directory()?;
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Unfit(error.to_string()))?;
    let story = Installation::obtain(&(Arc::new(|_: &str| ()) as _))?
        .lend(&directory.path().join("story"), Arc::new(|_: &str| ()))?;
    let tree = Workspace::own().tree()?;
    let media: PathBuf = directory.path().join("media");
    let many = Medium::of_small_files(&media, &tree)?;
    let large = Medium::of_one_large_tree(&media, &tree)?;
    let Measured { small_files, large_tree, dd } =
        copy_figure::measure(&story, &many, &large, &program)?;
    println!(
        "Copy of {PATHS} store paths with {FILES} files, {:.0} MB, verified: {:.1} s",
        many.bytes as f64 / 1e6,
        small_files.ours.as_secs_f64()
    );
    beside(small_files.ours, &small_files.others());
    println!("  target: nix copy takes at least 3 times as long");
    println!(
        "Copy of one tree of {:.0} MB, verified: {:.1} s",
        large.bytes as f64 / 1e6,
        large_tree.ours.as_secs_f64()
    );
    let mut others = large_tree.others().to_vec();
    others.push(("dd of every file", dd));
    beside(large_tree.ours, &others);
    println!("  target: dd takes at least 0.8 times as long");
    Ok(())
}

fn beside(ours: Duration, others: &[(&str, Duration)]) {
    for (name, took) in others {
        let ratio = took.as_secs_f64() / ours.as_secs_f64();
        println!("  {name}: {:.1} s, {ratio:.2} times as long", took.as_secs_f64());
    }
}
