//! What the flake's packages are built from (`nix/nixos/build.nix`) holds every file that a program carries.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Component, Path, PathBuf};

const PACKAGES: &str = "nix/nixos/build.nix";
const INCLUDES: [&str; 3] = ["include_str!", "include_bytes!", "include!"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The workspace's members, whose directories are in the fileset.
fn members() -> Vec<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let list = text.split_once("\nmembers = [").unwrap().1.split_once("\n]").unwrap().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What the fileset names beside the members, relative to the root.
fn fileset(packages: &str) -> Vec<PathBuf> {
    let list = packages.split_once("fileset = lib.fileset.unions (").unwrap().1;
    let list = list.split_once(']').unwrap().0;
    list.split_whitespace().filter_map(|word| word.strip_prefix("../../")).map(Into::into).collect()
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_of_tests = path.file_stem().is_some_and(|name| name == "tests");
        if path.is_dir() && !is_of_tests {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_of_tests {
            found.push(path);
        }
    }
}

/// The text without a module of tests, which stands last.
fn without_tests(text: &str) -> &str {
    let begin = |found: &(usize, &str)| {
        let line = text[found.0..].lines().nth(1).unwrap_or_default();
        line.starts_with("mod ") && line.ends_with('{')
    };
    let end = text.match_indices("#[cfg(test)]").find(begin);
    end.map_or(text, |(at, _)| &text[..at])
}

/// The files that the text includes, as it names them. One that is not named by a literal counts as
/// the empty name.
fn included(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for part in INCLUDES.iter().flat_map(|name| line.split(name).skip(1)) {
            let literal = part.strip_prefix("(\"").and_then(|rest| rest.split_once('"'));
            found.push(literal.map(|(name, _)| name.to_owned()).unwrap_or_default());
        }
    }
    found
}

/// `path` without `..`, whether or not something is there.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

/// Files outside `member` that its programs carry, relative to the root.
fn carried(member: &str) -> Vec<PathBuf> {
    let (root, mut sources) = (root(), Vec::new());
    let crate_root = root.join(member);
    rust_files(&crate_root.join("src"), &mut sources);
    sources.extend(Some(crate_root.join("build.rs")).filter(|path| path.is_file()));
    let mut found = Vec::new();
    for source in sources {
        for name in included(without_tests(&fs::read_to_string(&source).unwrap())) {
            assert!(!name.is_empty(), "{}: what is included is no literal", source.display());
            let path = plain(&source.parent().unwrap().join(name));
            assert!(path.is_file(), "{} includes {}", source.display(), path.display());
            if !path.starts_with(&crate_root) {
                found.push(path.strip_prefix(&root).unwrap().to_owned());
            }
        }
    }
    found
}

/// What is carried and neither lies in a member nor in `fileset`.
fn missing(carried: &[PathBuf], fileset: &[PathBuf]) -> Vec<PathBuf> {
    let members: Vec<PathBuf> = members().into_iter().map(Into::into).collect();
    let covered = |path: &PathBuf| members.iter().chain(fileset).any(|one| path.starts_with(one));
    carried.iter().filter(|path| !covered(path)).cloned().collect()
}

#[test]
fn the_flake_s_packages_are_built_from_all_that_programs_carry() {
    let packages = fs::read_to_string(root().join(PACKAGES)).unwrap();
    let fileset = fileset(&packages);
    for path in &fileset {
        assert!(root().join(path).exists(), "{PACKAGES} names {}", path.display());
    }
    assert!(packages.contains("map (member: ../.. + \"/${member}\") workspace.workspace.members"));
    let carried: Vec<PathBuf> = members().iter().flat_map(|member| carried(member)).collect();
    assert!(carried.len() >= 9, "{carried:?}");
    assert_eq!(missing(&carried, &fileset), Vec::<PathBuf>::new());
}

#[test]
fn what_is_carried_and_not_built_from_is_found() {
    let text = "const A: &str = include_str!(\"../../nix/host/configuration.nix\");\n\
                #[cfg(test)]\nmod tests;\nconst B: &[u8] = include_bytes!(\"../x\");\n\
                #[cfg(test)]\nmod tests {\n    include_str!(\"../../docs/x\");\n}\n";
    let found = included(without_tests(text));
    assert_eq!(found, ["../../nix/host/configuration.nix", "../x"]);
    assert_eq!(included("concat!(include_str!(NAME))"), [""]);
    let carried = ["nix/host/configuration.nix", "core/model/src/lib.rs", "profiles/x/host.toml"];
    let carried = carried.map(PathBuf::from);
    let fileset = fileset("fileset = lib.fileset.unions (\n [ ../../nix/host\n ../../prof ] ++ x");
    assert_eq!(missing(&carried, &fileset), [PathBuf::from("profiles/x/host.toml")]);
}
