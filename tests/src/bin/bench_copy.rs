//! Measures the copy of a closure beside `nix copy`, `cp -a` and `dd`, in an installed machine.
//!
//! The same program is the copier in that machine: it does there what the installer's step does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bedplate_installer::report::Reporter;
use bedplate_installer::steps::closure;
use bedplate_tests::Failure;
use bedplate_tests::benchmark::{directory, ended};
use bedplate_tests::copy_figure::{self, FILES, Measured, Medium, PATHS};
use bedplate_tests::installed::Installation;
use bedplate_tests::medium::Workspace;

/// First argument of the copier.
const COPY: &str = "copy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ended(match arguments.as_slice() {
        [word, image, target] if word == COPY => copy(Path::new(image), Path::new(target)),
        _ => measure(),
    })
}

fn copy(image: &Path, target: &Path) -> Result<(), Failure> {
    let reporter = Reporter::new(Vec::new());
    let copied = closure::copy_from(&[image.to_owned()], target, &reporter, COPY);
    copied
        .map(drop)
        .map_err(|error| Failure::Unfit(bedplate_installer::error::chain(Some(&error)).join(": ")))
}

fn measure() -> Result<(), Failure> {
    let directory = directory()?;
    let program = std::env::current_exe();
    let program = program.map_err(|error| Failure::Unfit(error.to_string()))?;
    let story = Installation::obtain(&(Arc::new(|_: &str| ()) as _))?
        .lend(&directory.path().join("story"), Arc::new(|_: &str| ()))?;
    let tree = Workspace::own().tree()?;
    let media: PathBuf = directory.path().join("media");
    let many = Medium::of_small_files(&media, &tree, &program)?;
    let large = Medium::of_one_large_tree(&media, &tree, &program)?;
    let Measured { small_files, large_tree, dd } = copy_figure::measure(&story, &many, &large)?;
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
