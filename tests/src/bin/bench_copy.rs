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
use bedplate_tests::copy_figure::{self, Copied, FILES, Medium, PATHS};
use bedplate_tests::installed::Installation;
use bedplate_tests::medium::Workspace;

/// First argument of the copier.
const COPY: &str = "copy";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [word, image, target] if word == COPY => copy(Path::new(image), Path::new(target)),
        _ => measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

fn copy(image: &Path, target: &Path) -> Result<(), Failure> {
    let reporter = Reporter::new(Vec::new());
    let copied = closure::copy_from(&[image.to_owned()], target, &reporter, COPY);
    copied
        .map(drop)
        .map_err(|error| Failure::Unfit(bedplate_installer::error::chain(Some(&error)).join(": ")))
}

fn measure() -> Result<(), Failure> {
    let made = tempfile::Builder::new().prefix("bedplate-bench-").tempdir_in("/var/tmp");
    let unfit = |what: String| Failure::Unfit(what);
    let directory = made.map_err(|error| unfit(format!("no directory in /var/tmp: {error}")))?;
    let program = std::env::current_exe().map_err(|error| unfit(error.to_string()))?;
    let story = Installation::obtain(&(Arc::new(|_: &str| ()) as _))?
        .lend(&directory.path().join("story"), Arc::new(|_: &str| ()))?;
    let tree = Workspace::own().tree()?;
    let media: PathBuf = directory.path().join("media");
    let many = Medium::of_small_files(&media, &tree, &program)?;
    let large = Medium::of_one_large_tree(&media, &tree, &program)?;
    let (small_files, large_tree) = copy_figure::measure(&story, &many, &large)?;
    println!(
        "Copy of {PATHS} store paths with {FILES} files, {:.0} MB, verified: {:.1} s",
        many.bytes as f64 / 1e6,
        small_files.ours.as_secs_f64()
    );
    beside(&small_files);
    println!("  target: nix copy takes at least 3 times as long");
    println!(
        "Copy of one tree of {:.0} MB, verified: {:.1} s",
        large.bytes as f64 / 1e6,
        large_tree.ours.as_secs_f64()
    );
    beside(&large_tree);
    println!("  target: dd takes at least 0.8 times as long");
    Ok(())
}

fn beside(copied: &Copied) {
    let line = |name: &str, took: Duration| {
        let ratio = took.as_secs_f64() / copied.ours.as_secs_f64();
        println!("  {name}: {:.1} s, {ratio:.2} times as long", took.as_secs_f64());
    };
    line("nix copy --from the same medium", copied.nix);
    line("cp -a", copied.cp);
    if let Some(dd) = copied.dd {
        line("dd of every file", dd);
    }
}
