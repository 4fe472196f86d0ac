//! The programs that our code starts, read in its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::medium::Workspace;

/// Crates whose code runs in `bedplate-host`.
const HOST: [&str; 5] = [
    "host-service/src",
    "machine/guests/src",
    "machine/platform/src",
    "machine/disks/src",
    "machine/resources/src",
];
/// Crates whose code runs in the installer.
const INSTALLER: [&str; 3] = ["installer/src", "machine/disks/src", "machine/platform/src"];
/// Modules of `tools` that only workstations come to, and those that the embedded platform uses and NixOS does not,
/// which builds and switches by itself.
const ELSEWHERE: [&str; 3] = ["git", "nix", "mmdebstrap"];

/// A program, and the file that starts it.
pub type Started = BTreeMap<String, PathBuf>;

/// The programs of `bedplate-host`.
pub fn by_host() -> io::Result<Started> {
    started(&HOST)
}

/// The programs of the installer.
pub fn by_installer() -> io::Result<Started> {
    started(&INSTALLER)
}

fn rust_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        match path.is_dir() {
            true => found.extend(rust_files(&path)?),
            false => found.extend(path.extension().is_some_and(|it| it == "rs").then_some(path)),
        }
    }
    Ok(found)
}

/// The code of a file, without its module of tests.
fn code(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    Ok(text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned())
}

/// The modules of `tools` that a text names.
fn modules(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("bedplate_tools::").skip(1) {
        let names =
            rest.strip_prefix('{').map_or(rest, |all| all.split('}').next().unwrap_or_default());
        let is_many = rest.starts_with('{');
        for name in names.split(',').take(if is_many { usize::MAX } else { 1 }) {
            let word: String =
                name.trim().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
            found.insert(word);
        }
    }
    found
}

/// The programs that a text starts, as far as it names them.
fn programs(text: &str) -> BTreeSet<String> {
    let starts = ["Command::new(\"", "Self::new(\"", "const PROGRAM: &str = \"", "program: \""];
    let named = starts.iter().flat_map(|start| text.split(start).skip(1));
    named.filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect()
}

fn started(crates: &[&str]) -> io::Result<Started> {
    let root = Workspace::own().root;
    let tools = root.join("leaf/tools/src");
    let mut files = Vec::new();
    for directory in crates {
        files.extend(rust_files(&root.join(directory))?);
    }
    let mut used = BTreeSet::new();
    for file in &files {
        used.extend(modules(&code(file)?));
    }
    for name in used.iter().filter(|name| !ELSEWHERE.contains(&name.as_str())) {
        let (file, directory) = (tools.join(format!("{name}.rs")), tools.join(name));
        files.extend(file.is_file().then_some(file));
        if directory.is_dir() {
            files.extend(rust_files(&directory)?);
        }
    }
    let mut found = Started::new();
    for file in files {
        found.extend(programs(&code(&file)?).into_iter().map(|name| (name, file.clone())));
    }
    Ok(found)
}
