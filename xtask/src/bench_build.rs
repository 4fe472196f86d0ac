//! How long the demo compiles from nothing, beside what it took before there was one profile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{self, cargo, run};
use crate::report::Problem;

/// The last commit whose demo was compiled in two profiles.
const BEFORE: &str = "3a01865";
/// What that demo compiled.
const COMPILED_BEFORE: [&[&str]; 2] = [
    &[
        "build",
        "--release",
        "--locked",
        "--package=bedplate-initrd",
        "--package=bedplate-installer",
        "--package=bedplate-host-service",
        "--package=bedplate-cli",
    ],
    &["build", "--locked", "--package=bedplate-tests", "--bin=demo"],
];

/// Compiles both from nothing, one after the other, and prints the times and their ratio.
pub fn measure() -> Result<(), Problem> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let before = checkout(&root, BEFORE, "before")?;
    let compiled_before = COMPILED_BEFORE.iter().map(|arguments| {
        let mut command = cargo();
        command.args(*arguments);
        command
    });
    let before = cold(&before, compiled_before.collect())?;
    let now = checkout(&root, "HEAD", "now")?;
    let now = cold(&now, vec![cargo::build_command(&["demo"])])?;
    println!(
        "\nCold build of the demo: {:.0} s; at {BEFORE}: {:.0} s; ratio {:.2}, target 0.5",
        now.as_secs_f64(),
        before.as_secs_f64(),
        now.as_secs_f64() / before.as_secs_f64()
    );
    Ok(())
}

/// The repository as it was committed, in a directory of its own, with its crates fetched.
fn checkout(root: &Path, commit: &str, name: &str) -> Result<PathBuf, Problem> {
    let place = root.join("target/cold-build").join(name);
    remove(&place)?;
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", "--shared", "--no-checkout"]).arg(root).arg(&place);
    run(&mut clone)?;
    run(Command::new("git").arg("-C").arg(&place).args(["checkout", "--quiet", commit]))?;
    run(cargo().args(["fetch", "--quiet", "--locked"]).current_dir(&place))?;
    Ok(place)
}

/// How long the commands take with nothing compiled; the directory is removed afterwards.
fn cold(place: &Path, commands: Vec<Command>) -> Result<Duration, Problem> {
    let begun = Instant::now();
    for mut command in commands {
        command.arg("--quiet").current_dir(place);
        run(command.env("CARGO_TARGET_DIR", place.join("target")))?;
    }
    let took = begun.elapsed();
    remove(place)?;
    Ok(took)
}

fn remove(place: &Path) -> Result<(), Problem> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Problem::Directory(place.to_owned(), error))
        }
        _ => Ok(()),
    }
}
