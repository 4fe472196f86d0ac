//! How long the demo compiles from nothing, and everything after a changed line, beside what it took at an
//! earlier commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{self, cargo, run};
use crate::report::Problem;

/// The last commit whose demo was compiled in two profiles, and whose crates were not yet in layers.
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

/// A file of each part whose change is measured: its name, where it is now, and where it was.
const CHANGED: [(&str, &str, &str); 3] = [
    ("the planner", "core/planner/src/lib.rs", "spec/src/planner.rs"),
    ("a guest driver", "machine/guests/src/vm/engine.rs", "host-service/src/vm/engine.rs"),
    ("the CLI", "cli/src/plan.rs", "cli/src/plan.rs"),
];
/// Each change is made so often, in both by turns; the shortest time counts.
const ROUNDS: usize = 3;

/// Compiles both from nothing, one after the other, and then after a changed line; prints the times and
/// their ratios.
pub fn measure() -> Result<(), Problem> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place_before = checkout(&root, BEFORE, "before")?;
    let compiled_before = COMPILED_BEFORE.iter().map(|arguments| {
        let mut command = cargo();
        command.args(*arguments);
        command
    });
    let before = cold(&place_before, compiled_before.collect())?;
    let place_now = checkout(&root, "HEAD", "now")?;
    let now = cold(&place_now, vec![cargo::build_command(&["demo"])])?;
    println!(
        "\nCold build of the demo: {:.0} s; at {BEFORE}: {:.0} s; ratio {:.2}, target 0.5",
        now.as_secs_f64(),
        before.as_secs_f64(),
        now.as_secs_f64() / before.as_secs_f64()
    );
    rebuilt(&place_now, &place_before)?;
    remove(&place_now)?;
    remove(&place_before)
}

/// How long `cargo build --workspace` takes after a line was changed.
fn rebuilt(now: &Path, before: &Path) -> Result<(), Problem> {
    build_all(now)?;
    build_all(before)?;
    for (what, file_now, file_before) in CHANGED {
        let (mut least_now, mut least_before) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            least_now = least_now.min(after_a_change(now, file_now)?);
            least_before = least_before.min(after_a_change(before, file_before)?);
        }
        println!(
            "Rebuilt after a line changed in {what}: {:.1} s; at {BEFORE}: {:.1} s; ratio {:.2}, target 0.5",
            least_now.as_secs_f64(),
            least_before.as_secs_f64(),
            least_now.as_secs_f64() / least_before.as_secs_f64()
        );
    }
    Ok(())
}

fn after_a_change(place: &Path, file: &str) -> Result<Duration, Problem> {
    let path = place.join(file);
    let unfit = |error| Problem::Directory(path.clone(), error);
    let mut text = fs::read_to_string(&path).map_err(unfit)?;
    text.push_str("// changed\n");
    fs::write(&path, text).map_err(unfit)?;
    let begun = Instant::now();
    build_all(place)?;
    Ok(begun.elapsed())
}

fn build_all(place: &Path) -> Result<(), Problem> {
    let mut command = cargo();
    command.args(["build", "--workspace", "--locked", "--quiet"]).current_dir(place);
    run(command.env("CARGO_TARGET_DIR", place.join("target")))
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

/// How long the commands take with nothing compiled.
fn cold(place: &Path, commands: Vec<Command>) -> Result<Duration, Problem> {
    let begun = Instant::now();
    for mut command in commands {
        command.arg("--quiet").current_dir(place);
        run(command.env("CARGO_TARGET_DIR", place.join("target")))?;
    }
    Ok(begun.elapsed())
}

fn remove(place: &Path) -> Result<(), Problem> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Problem::Directory(place.to_owned(), error))
        }
        _ => Ok(()),
    }
}
