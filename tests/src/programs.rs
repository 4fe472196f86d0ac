//! Our own programs, built now: the binary of a test has none beside itself.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, file};
use crate::medium::Workspace;

/// Builds every program of the workspace, offline; the directory they are in. All of them, because cargo
/// builds the same libraries anew for each choice of packages.
pub fn build() -> Result<PathBuf, Failure> {
    let root = Workspace::own().root;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--offline", "--workspace", "--bins"]).current_dir(&root);
    // What cargo has told this test of its own package: build scripts look at it, and would build again
    // what they have built.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let status = command.status().map_err(file("run cargo in", &root))?;
    if !status.success() {
        return Err(Failure::Unfit("the programs could not be built".to_owned()));
    }
    Ok(root.join("target/debug"))
}
