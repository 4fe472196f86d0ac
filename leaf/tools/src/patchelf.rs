//! `patchelf`: which loader and which directory of libraries a program uses.

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// Sets the interpreter of `program` and where its libraries are found.
pub fn set_loader(program: &Path, loader: &str, libraries: &str) -> Result<(), CommandError> {
    let mut command = Command::new("patchelf");
    command.args(["--set-interpreter", loader, "--set-rpath", libraries]);
    command.arg(program).run()
}

/// Lets `library` find its own libraries in `rpath`.
pub fn set_rpath(library: &Path, rpath: &str) -> Result<(), CommandError> {
    Command::new("patchelf").args(["--set-rpath", rpath]).arg(library).run()
}
