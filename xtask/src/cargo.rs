//! Calls to cargo.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::report::Problem;

/// The packages whose programs go onto the medium.
const MEDIUM: [&str; 4] =
    ["bedplate-initrd", "bedplate-installer", "bedplate-host-service", "bedplate-cli"];

/// Runs a command with its output on our own; a status other than 0 is a problem.
pub fn run(command: &mut Command) -> Result<(), Problem> {
    let line = line(command);
    let status = command.status().map_err(|source| Problem::Start(line.clone(), source))?;
    if status.success() { Ok(()) } else { Err(Problem::Failed(line, status)) }
}

fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// cargo itself, as the one that runs us.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Builds what goes onto the medium.
pub fn build_medium_programs() -> Result<(), Problem> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked"]);
    for package in MEDIUM {
        command.args(["--package", package]);
    }
    run(&mut command)
}

/// Runs one of the story programs.
pub fn story(name: &str, arguments: &[OsString]) -> Result<(), Problem> {
    run(program_of_tests(name).arg("--").args(arguments))
}

/// Runs a benchmark of what is in its own process: built as what people are given.
pub fn benchmark(name: &str) -> Result<(), Problem> {
    run(program_of_tests(name).arg("--release"))
}

fn program_of_tests(name: &str) -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", "bedplate-tests", "--bin", name]);
    command
}

/// The demo's arguments, passed on.
pub fn demo_arguments(
    keep: Option<PathBuf>,
    resume: Option<PathBuf>,
    small: bool,
) -> Vec<OsString> {
    let mut arguments = Vec::new();
    for (flag, value) in [("--keep", keep), ("--resume", resume)] {
        if let Some(directory) = value {
            arguments.extend([OsString::from(flag), directory.into_os_string()]);
        }
    }
    if small {
        arguments.push(OsString::from("--small"));
    }
    arguments
}

/// Whether a cargo subcommand is installed.
pub fn has_subcommand(name: &str) -> bool {
    cargo().args([name, "--version"]).output().is_ok_and(|output| output.status.success())
}
