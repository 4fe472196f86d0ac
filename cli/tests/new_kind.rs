//! A new kind of guest is a file in the model, a block of keys, a driver and a few lines that name them: one is
//! added to a copy of the sources, and what uses guests is tried with it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A line that is added: the file, the line that it goes before, and the line.
const LINES: [(&str, &str, &str); 11] = [
    ("core/model/src/host.rs", "mod notify;", "mod lamp;"),
    ("core/model/src/host.rs", "pub use notify::", "pub use lamp::Lamp;"),
    (
        "core/model/src/host.rs",
        "    /// `[nfs]`: exported directories.",
        "    /// `[lamps.<name>]`.\n    #[serde(default)] pub lamps: BTreeMap<GuestName, Lamp>,",
    ),
    (
        "core/model/src/host/guest.rs",
        "    }\n\n    /// Takes out every guest",
        "            .chain(of_kind::<super::Lamp>(&self.lamps, &self.pools))",
    ),
    (
        "core/model/src/host/guest.rs",
        "    }\n}\n\n/// The directory of a guest",
        "        retain::<super::Lamp>(&mut self.lamps, &self.pools, &mut keep);",
    ),
    ("core/document/src/keys.rs", "#[rustfmt::skip]\nmod network;", "pub(crate) mod lamps;"),
    ("core/document/src/keys/document.rs", "use super::{backups,", "use super::lamps;"),
    (
        "core/document/src/keys/document.rs",
        "    key(\"nfs\",",
        "    key(\"lamps\", Named(rules::vm, &lamps::LAMP), Derived(\"none\"), Inside, \"\", \"Lamps.\"),",
    ),
    (
        "core/document/src/decode.rs",
        "        nfs: services::nfs",
        "        lamps: root.named(\"lamps\", |_, section| super::keys::lamps::lamp(section)),",
    ),
    ("machine/guests/src/lib.rs", "pub mod vm;", "pub mod lamp;"),
    ("machine/guests/src/lib.rs", "]\n}\n\n/// The driver of the kind", ", Box::new(lamp::Lamps)"),
];
/// The files of the kind: what is in `new_kind`, and where it goes.
const FILES: [(&str, &str); 3] = [
    ("model.rs", "core/model/src/host/lamp.rs"),
    ("keys.rs", "core/document/src/keys/lamps.rs"),
    ("driver.rs", "machine/guests/src/lamp.rs"),
];
/// What tries it, which is no part of the kind.
const TRIED: (&str, &str) = ("used.rs", "host-service/tests/lamp.rs");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the sources are in the copy of the workspace. Cargo tells crates of two workspaces that share compiled
/// ones apart by their paths within the workspace, so those must differ.
const COPY: &str = "copy";

/// The manifest of the workspace, for the sources where they are in the copy.
fn manifest() -> String {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let words = text.split('"').map(|word| {
        let is_member = !word.is_empty() && root().join(word).join("Cargo.toml").is_file();
        if is_member { format!("{COPY}/{word}") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join("\"")
}

/// Copies what git would, as far as compiling needs it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (name, path) = (entry.file_name(), entry.path());
        if name == "target" || name == ".git" || name == "corpus" {
            continue;
        }
        let target = to.join(&name);
        if path.is_dir() {
            copy(&path, &target);
        } else if fs::read(&target).ok() != Some(fs::read(&path).unwrap()) {
            // What has not changed since the last time is not compiled again.
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn add(place: &Path, (file, before, line): (&str, &str, &str)) {
    let path = place.join(file);
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find(before).unwrap_or_else(|| panic!("{file} has no {before:?}"));
    let (head, tail) = text.split_at(at);
    fs::write(&path, format!("{head}{line}\n{tail}")).unwrap();
}

#[test]
fn a_kind_of_guest_is_three_files_and_a_line_where_kinds_are_listed() {
    let workspace = root().join("target/new-kind");
    let place = workspace.join(COPY);
    copy(&root(), &place);
    fs::remove_file(place.join("Cargo.toml")).unwrap();
    fs::write(workspace.join("Cargo.toml"), manifest()).unwrap();
    fs::rename(place.join("Cargo.lock"), workspace.join("Cargo.lock")).unwrap();
    for line in LINES {
        add(&place, line);
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/new_kind");
    for (name, path) in FILES.into_iter().chain([TRIED]) {
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(own.join(name), path).unwrap();
    }
    // Beside what is compiled already; what others run there is waited for.
    let output = Command::new(env!("CARGO"))
        .args([
            "test",
            "--quiet",
            "--offline",
            "--package",
            "bedplate-host-service",
            "--test",
            "lamp",
        ])
        .env("CARGO_TARGET_DIR", root().join("target"))
        .current_dir(&workspace)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("2 passed"), "{said}");
    let mut changed: Vec<&str> = LINES.iter().map(|(file, ..)| *file).collect();
    changed.dedup();
    assert_eq!(changed.len(), 6, "a kind is named in no other file: {changed:?}");
}
