//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer, with a nightly compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::run;
use crate::report::Problem;

/// What cargo-fuzz gives the compiler: coverage for libFuzzer, and AddressSanitizer for the C that
/// readers call (rustc's unstable book, `sanitizer`; LLVM's SanitizerCoverage).
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Zsanitizer=address",
];
/// A sanitizer wants a target that is named, even if it is this machine's.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The most memory that reading one input may take, in MiB, and the most seconds.
const LIMITS: [&str; 2] = ["-rss_limit_mb=2048", "-timeout=20"];
/// What a target begins with, where something like its input is in the repository.
const SEEDS: [(&str, &str); 2] =
    [("document", "profiles"), ("inventory", "spec/tests/inventories")];

/// Runs each target, or the one named, for `seconds`. A finding is a failure; what gave it is left
/// in `fuzz/artifacts`.
pub fn fuzz(seconds: u64, only: Option<&str>) -> Result<(), Problem> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let targets = targets(&root)?;
    let chosen: Vec<&String> =
        targets.iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return Err(Problem::NoTarget(targets));
    }
    run(Command::new("cargo")
        .args(["+nightly", "build", "--release", "--target", TARGET, "--target-dir", "target"])
        .current_dir(root.join("fuzz"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env("RUSTFLAGS", FLAGS.join(" ")))?;
    chosen.into_iter().try_for_each(|name| one(&root, name, seconds))
}

fn one(root: &Path, name: &str, seconds: u64) -> Result<(), Problem> {
    let fuzz = root.join("fuzz");
    let (corpus, artifacts) = (fuzz.join("corpus").join(name), fuzz.join("artifacts"));
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory).map_err(|error| unreadable(directory, error))?;
    }
    let program = fuzz.join("target").join(TARGET).join("release").join(name);
    let mut command = Command::new(program);
    command.arg(&corpus);
    let seeds = SEEDS.iter().filter(|(of, _)| *of == name).map(|(_, place)| root.join(place));
    command.args(seeds).args(LIMITS).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
    run(&mut command)
}

/// Their names, in order.
fn targets(root: &Path) -> Result<Vec<String>, Problem> {
    let place = root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&place).map_err(|error| unreadable(&place, error))?;
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    names.sort();
    Ok(names)
}

fn unreadable(path: &Path, error: std::io::Error) -> Problem {
    Problem::Directory(path.to_owned(), error)
}
