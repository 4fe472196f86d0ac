//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer.
//!
//! Its counters are unstable options of the compiler; `RUSTC_BOOTSTRAP` lets the stable one take them
//! (rustc's unstable book, "Compiler environment variables"). Without AddressSanitizer: what the
//! readers call is Rust to the ground, and they are read several times as often.

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use crate::cargo::{cargo, line, run};
use crate::report::Problem;

/// What cargo-fuzz gives the compiler: coverage for libFuzzer (LLVM's SanitizerCoverage).
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// With a target that is named, even if it is this machine's, the flags are not those of build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What is printed before a target runs, and its name.
const BEGINS: &str = "xtask: fuzz ";
/// Where they are compiled, and what they find is left.
const BUILT: &str = "target/fuzz";
/// The most memory that reading one input may take, in MiB, and the most seconds.
const LIMITS: [&str; 2] = ["-rss_limit_mb=2048", "-timeout=20"];
/// What a target begins with, where something like its input is in the repository.
const SEEDS: [(&str, &str); 6] = [
    ("document", "profiles"),
    ("domain", "machine/guests/src/vm/recorded"),
    ("inventory", "core/planner/tests/inventories"),
    ("proxmox", "leaf/import/tests/fixtures"),
    ("secrets", "leaf/secrets/tests/fixtures"),
    ("yaml", "leaf/import/tests/fixtures"),
];

/// How long the targets run.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Seconds each.
    pub seconds: u64,
    /// Executions each; 0 is no limit.
    pub runs: u64,
    /// What libFuzzer's choices follow from; 0 is another one each time.
    pub seed: u32,
}

/// Runs each target, or the one named, as many at once as there are processors. A finding is a failure; what gave it is left in
/// `target/fuzz/artifacts`.
pub fn fuzz(limits: Limits, only: Option<&str>) -> Result<(), Problem> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let targets = targets(&root)?;
    let chosen: Vec<&String> =
        targets.iter().filter(|name| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return Err(Problem::NoTarget(targets));
    }
    run(cargo()
        .args(["build", "--release", "--locked", "--target", TARGET])
        .current_dir(root.join("fuzz"))
        .env("CARGO_TARGET_DIR", root.join(BUILT))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS.join(" ")))?;
    let left = Mutex::new(chosen.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || {
        let mut ended = Ok(());
        // What one target finds does not keep the others from being run.
        while let Some(name) = next() {
            ended = ended.and(one(&root, name, limits));
        }
        ended
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors()).map(|_| scope.spawn(worker)).collect();
        let ended = workers.into_iter().map(ScopedJoinHandle::join);
        let all: Vec<_> =
            ended.map(|one| one.unwrap_or_else(|panic| resume_unwind(panic))).collect();
        all.into_iter().collect()
    })
}

/// How many targets run at once.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn one(root: &Path, name: &str, limits: Limits) -> Result<(), Problem> {
    let fuzz = root.join("fuzz");
    let (corpus, artifacts) = (fuzz.join("corpus").join(name), root.join(BUILT).join("artifacts"));
    let grown = root.join(BUILT).join("corpus").join(name);
    for directory in [&corpus, &grown, &artifacts] {
        fs::create_dir_all(directory).map_err(|error| unreadable(directory, error))?;
    }
    let program = root.join(BUILT).join(TARGET).join("release").join(name);
    let mut command = Command::new(program);
    // What is found is added to the first; the others are read.
    command.arg(&grown).arg(&corpus);
    let seeds = SEEDS.iter().filter(|(of, _)| *of == name).map(|(_, place)| root.join(place));
    command.args(seeds).args(LIMITS).arg("-print_final_stats=1");
    command.arg(format!("-max_total_time={}", limits.seconds));
    if limits.seed > 0 {
        command.arg(format!("-seed={}", limits.seed));
    }
    if limits.runs > 0 {
        command.arg(format!("-runs={}", limits.runs));
    }
    command.arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
    let line = line(&command);
    let said = command.output().map_err(|error| Problem::Start(line.clone(), error))?;
    // In one piece: another target runs beside it.
    let text = String::from_utf8_lossy(&said.stderr);
    eprintln!("{BEGINS}{name}\n{}", text.trim_end());
    if said.status.success() { Ok(()) } else { Err(Problem::Failed(line, said.status)) }
}

/// At 19, two machines in QEMU keep the compiler from its end on a slow hour, and the targets outlast them.
const NICE: &str = "10";

/// All targets, run beside something else with what it leaves of the processors.
pub struct Beside {
    child: Child,
    log: PathBuf,
}

impl Beside {
    /// Compiles them and runs each for `seconds`. The inputs are the same each time: what is found is
    /// of what was changed, and not of chance.
    pub fn begin(seconds: u64) -> Result<Self, Problem> {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(BUILT);
        fs::create_dir_all(&built).map_err(|error| unreadable(&built, error))?;
        let log = built.join("log");
        let file = fs::File::create(&log).map_err(|error| unreadable(&log, error))?;
        let same = file.try_clone().map_err(|error| unreadable(&log, error))?;
        let own = std::env::current_exe().map_err(|error| Problem::Start("xtask".into(), error))?;
        let mut command = Command::new("nice");
        command.args(["-n", NICE]).arg(own).args([
            "fuzz",
            "--seed",
            "1",
            "--seconds",
            &seconds.to_string(),
        ]);
        let child = command.stdin(Stdio::null()).stdout(file).stderr(same).spawn();
        let child = child.map_err(|error| Problem::Start("nice xtask fuzz".into(), error))?;
        Ok(Self { child, log })
    }

    /// Waits until every target had its time, and says how often each ran.
    pub fn finish(mut self) -> Result<(), Problem> {
        let line = "cargo xtask fuzz".to_owned();
        let ended = self.child.wait().map_err(|error| Problem::Start(line.clone(), error))?;
        let said = fs::read(&self.log).map_err(|error| unreadable(&self.log, error))?;
        let said = String::from_utf8_lossy(&said);
        for (target, runs) in executions(&said) {
            eprintln!("xtask: {runs:>9} inputs read by {target}");
        }
        if ended.success() {
            return Ok(());
        }
        let findings = findings(&said);
        if findings.is_empty() {
            let last: Vec<&str> = said.lines().rev().take(40).collect();
            eprintln!("{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        findings.iter().for_each(|finding| eprintln!("xtask: {finding}"));
        Err(Problem::Failed(line, ended))
    }
}

/// How often each target ran, out of what they print.
fn executions(said: &str) -> Vec<(String, u64)> {
    let mut target = "";
    let mut found = Vec::new();
    for line in said.lines() {
        if let Some(name) = line.strip_prefix(BEGINS) {
            target = name;
        }
        let runs = line.strip_prefix("stat::number_of_executed_units:");
        found.extend(runs.and_then(|runs| Some((target.to_owned(), runs.trim().parse().ok()?))));
    }
    found
}

/// What the targets found, out of what they print: each with its panic or what the sanitizer said, and
/// where the input was left.
fn findings(said: &str) -> Vec<String> {
    let mut target = "";
    let mut found: Vec<String> = Vec::new();
    let mut lines = said.lines();
    while let Some(line) = lines.next() {
        let place = line.split_once("Test unit written to ").map(|(_, place)| place);
        if let Some(name) = line.strip_prefix(BEGINS) {
            target = name;
        } else if line.contains("panicked at") {
            // What was asserted stands in the next line.
            found.push(format!("{target}: {line} {}", lines.next().unwrap_or_default()));
        } else if line.contains("ERROR: ") && !line.contains("deadly signal") {
            found.push(format!("{target}: {line}"));
        } else if let Some(place) = place {
            found.push(format!("{target}: the input is in {place}"));
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_each_target_ran_is_read_out_of_what_libfuzzer_prints() {
        let said = "xtask: fuzz answers\nINFO: Seed: 7\nstat::number_of_executed_units: 4711\n\
                    stat::average_exec_per_sec:     77\nxtask: fuzz yaml\n\
                    stat::number_of_executed_units: 12\n";
        let found = executions(said);
        assert_eq!(found, [("answers".to_owned(), 4711), ("yaml".to_owned(), 12)]);
    }

    #[test]
    fn what_was_found_is_told_with_its_place() {
        let said = "xtask: fuzz gpt\nINFO: Seed: 1\n\
                    thread '<unnamed>' (7) panicked at src/partition.rs:253:5:\n\
                    assertion failed: left == right\n==7== ERROR: libFuzzer: deadly signal\n\
                    artifact_prefix='a/'; Test unit written to a/gpt-crash-4\n\
                    xtask: fuzz yaml\n==8== ERROR: libFuzzer: timeout after 20 seconds\n";
        let wanted = [
            "gpt: thread '<unnamed>' (7) panicked at src/partition.rs:253:5: \
             assertion failed: left == right",
            "gpt: the input is in a/gpt-crash-4",
            "yaml: ==8== ERROR: libFuzzer: timeout after 20 seconds",
        ];
        assert_eq!(findings(said), wanted);
        assert_eq!(findings("xtask: fuzz gpt\nerror: could not compile\n"), [""; 0]);
    }
}
