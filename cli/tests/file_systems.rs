//! Whoever uses a pool asks `disks::pool_fs`, and never which file system it has.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::Path;

/// Sources of those that use pools.
const CONSUMERS: [&str; 2] = ["host-service/src", "installer/src"];
/// What names it, and is about no pool.
const OTHERS: [&str; 4] = [
    // The system itself stands in subvolumes of a btrfs, which the installer makes or takes from the medium.
    "installer/src/steps/file_systems.rs",
    "installer/src/steps/system_image.rs",
    // Any volume that somebody keeps a repository on.
    "installer/src/steps/flake/fetch/volume.rs",
    // Tests alone.
    "host-service/src/backup/full.rs",
];

/// Lines that name btrfs, each with its number: comments and tests may.
fn naming(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let code = lines.take_while(|(_, line)| !line.ends_with("mod tests {"));
    let code = code.filter(|(_, line)| !line.starts_with("//"));
    code.filter(|(_, line)| line.to_lowercase().contains("btrfs")).collect()
}

fn look_through(root: &Path, directory: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{directory}/{name}");
        if entry.file_type().unwrap().is_dir() {
            look_through(root, &path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" && !OTHERS.contains(&path.as_str()) {
            let text = fs::read_to_string(entry.path()).unwrap();
            let lines = naming(&text).into_iter();
            found.extend(lines.map(|(number, line)| format!("{path}:{number}: {line}")));
        }
    }
}

#[test]
fn who_uses_a_pool_does_not_ask_which_file_system_it_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for directory in CONSUMERS {
        look_through(root, directory, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_line_that_names_it_is_found_and_a_comment_is_not() {
    let text = "// btrfs does it\nuse bedplate_tools::btrfs;\n\n    let it = FileSystem::Btrfs;\n\
        /// As btrfs.\n#[cfg(test)]\nmod tests {\n    use bedplate_tools::btrfs;\n}\n";
    let numbers: Vec<_> = naming(text).into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, [2, 4]);
}
