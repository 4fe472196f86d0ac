//! Calls to cargo.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::report::Problem;

/// The packages whose programs go onto the medium, and those programs.
const MEDIUM: [(&str, &str); 4] = [
    ("bedplate-initrd", "bedplate-init"),
    ("bedplate-installer", "bedplate-installer"),
    ("bedplate-host-service", "bedplate-host"),
    ("bedplate-cli", "bedplate"),
];

/// Runs a command with its output on our own; a status other than 0 is a problem.
pub fn run(command: &mut Command) -> Result<(), Problem> {
    let line = line(command);
    let status = command.status().map_err(|source| Problem::Start(line.clone(), source))?;
    if status.success() { Ok(()) } else { Err(Problem::Failed(line, status)) }
}

/// A command as it is told of.
pub fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Where everything is built, whatever this machine's cargo is set to: media are made of what stands
/// there.
const TARGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");

/// cargo itself, as the one that runs us. What it has told us of our own package is kept from it:
/// build scripts (that of `ring`) look at these variables, and what `cargo build` has built would be
/// built again.
pub fn cargo() -> Command {
    let mut command =
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.env("CARGO_TARGET_DIR", TARGET);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_our_package) {
            command.env_remove(name);
        }
    }
    command
}

fn is_of_our_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_BIN_NAME", "CARGO_CRATE_NAME"]
            .contains(&name)
}

/// Builds what goes onto the medium, and these programs of the stories: always the same packages in
/// one go and one profile, so that none is compiled a second time with other features.
pub fn build(programs: &[&str]) -> Result<(), Problem> {
    run(&mut build_command(programs))
}

/// The command of [`build`].
pub fn build_command(programs: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "bedplate-tests"]);
    for (package, program) in MEDIUM {
        command.args(["--package", package, "--bin", program]);
    }
    command.args(programs.iter().flat_map(|program| ["--bin", program]));
    command
}

/// Runs a program that [`build`] has built.
pub fn program(name: &str, arguments: &[OsString]) -> Result<(), Problem> {
    run(Command::new(Path::new(TARGET).join("release").join(name)).args(arguments))
}

/// The demo's arguments, passed on.
pub fn demo_arguments(
    keep: Option<PathBuf>,
    resume: Option<PathBuf>,
    small: bool,
    built: Duration,
) -> Vec<OsString> {
    let mut arguments =
        vec![OsString::from("--built-in"), OsString::from(built.as_secs().to_string())];
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
