//! What is asked of the enrolled machine: programs that are not ours.

use super::machine::{AGE_SECRET, SOPS_SECRET};
use crate::probes::Probe;
use crate::seed::STICK;

/// Where the key stick is mounted while questions are asked.
const STICK_MOUNT: &str = "/run/story-stick";
/// The machine's private key.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
/// Looks for bytes in files.
const SEARCH: &str = include_str!("search.pl");
/// The owner's repository.
const REPOSITORY: &str = "/etc/nixos";

fn probe(name: &str, argv: &[&str]) -> Probe {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Probe { name: name.to_owned(), argv }
}

fn git(name: &str, words: &[&str]) -> Probe {
    probe(name, &[&["git", "-C", REPOSITORY], words].concat())
}

/// Looks for the machine's secrets in `places`.
fn search(name: &str, places: &[&str]) -> Probe {
    let secrets = [AGE_SECRET, SOPS_SECRET].map(|name| format!("/run/bedplate/secrets/{name}"));
    let stick = ["keyfile", "recovery"].map(|name| format!("{STICK_MOUNT}/bedplate/{name}"));
    let needles = secrets.iter().chain(&stick).map(String::as_str);
    let argv = ["perl", "-e", SEARCH].into_iter().chain(needles).chain([HOST_KEY, "--"]);
    probe(name, &argv.chain(places.iter().copied()).collect::<Vec<_>>())
}

/// Asked once the first boot is over.
pub fn state() -> Vec<Probe> {
    let stick = format!("/dev/disk/by-uuid/{STICK}");
    let mut probes = vec![
        probe("stick.directory", &["mkdir", "-p", STICK_MOUNT]),
        probe("stick.mount", &["mount", "-o", "ro", &stick, STICK_MOUNT]),
    ];
    for name in [AGE_SECRET, SOPS_SECRET] {
        let path = format!("/run/bedplate/secrets/{name}");
        probes.push(probe(&format!("{name}.stat"), &["stat", "-c", "%U %G %a %F", &path]));
        probes.push(probe(&format!("{name}.place"), &["stat", "-f", "-c", "%T", &path]));
        probes.push(probe(&format!("{name}.sha256"), &["sha256sum", &path]));
    }
    probes.extend([
        probe("host-key.public", &["cat", &format!("{HOST_KEY}.pub")]),
        probe("host-key.derived", &["ssh-keygen", "-y", "-f", HOST_KEY]),
        probe("host-key.stat", &["stat", "-c", "%U %G %a %F", HOST_KEY]),
        git("flake.head", &["rev-parse", "HEAD"]),
        git("flake.log", &["log", "-2", "--format=%H %ae"]),
        git("flake.status", &["status", "--porcelain"]),
        git("flake.remotes", &["remote", "-v"]),
        probe("machine-id", &["cat", "/etc/machine-id"]),
        probe(
            "tree.identity",
            &[
                "find",
                "/run/current-system/tree/etc/",
                "-path",
                "*/ssh/ssh_host_*",
                "-o",
                "-name",
                "machine-id",
                "-size",
                "+0",
            ],
        ),
        probe(
            "left.answers",
            &[
                "find",
                "/",
                "/home",
                "/nix",
                "-xdev",
                "(",
                "-name",
                "answers.bin",
                "-o",
                "-name",
                "*.bundle",
                "-o",
                "-name",
                "ssh_host_*.age",
                "-o",
                "-name",
                "keyfile",
                "-o",
                "-name",
                "recovery",
                ")",
                "-not",
                "-path",
                "/nix/store/*-bedplate-tree/*",
            ],
        ),
        search("leaks.disk", &["/", "/home", "/nix", "/boot"]),
        search(
            "leaks.boot",
            &[
                "/boot",
                "/run/booted-system/initrd",
                "/run/booted-system/kernel-params",
                "/run/booted-system/boot.json",
            ],
        ),
        search(
            "leaks.processes",
            &["/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", "/proc/cmdline"],
        ),
        probe("journal", &["journalctl", "--no-pager", "--all", "--output=verbose"]),
        probe("failed-units", &["systemctl", "--failed", "--no-legend", "--plain"]),
        probe("stick.unmount", &["umount", STICK_MOUNT]),
    ]);
    probes
}

/// Asked when the medium has been started a second time.
pub fn again() -> Vec<Probe> {
    vec![git("again.head", &["rev-parse", "HEAD"]), git("again.status", &["status", "--porcelain"])]
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::SEARCH;

    fn search(needles: &[String], place: &str) -> String {
        let mut command = Command::new("perl");
        let output =
            command.args(["-e", SEARCH]).args(needles).args(["--", place]).output().unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    #[test]
    fn t19_the_search_finds_what_is_there_across_blocks_and_binary_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name).display().to_string();
        fs::create_dir_all(path("tree/below")).unwrap();
        let key: Vec<u8> = (0..64).map(|byte| byte ^ 0x8a).collect();
        fs::write(path("keyfile"), &key).unwrap();
        fs::write(path("words"), "the words nobody says\n").unwrap();
        let needles = [path("keyfile"), path("words")];
        fs::write(path("tree/below/clean"), "the words nobody").unwrap();
        assert_eq!(search(&needles, &path("tree")), "2 looked for in 1 files\n");
        // Over the end of a block.
        let mut long = vec![b'x'; (1 << 22) - 30];
        long.extend(&key);
        fs::write(path("tree/below/long"), &long).unwrap();
        fs::write(path("tree/log"), "10:00 the words nobody says, said").unwrap();
        let found = search(&needles, &path("tree"));
        let [first, second] = [("keyfile", "below/long"), ("words", "log")].map(|(needle, at)| {
            format!("FOUND {} in {}\n", path(needle), path(&format!("tree/{at}")))
        });
        assert_eq!(found, format!("{first}{second}2 looked for in 3 files\n"));
        fs::write(path("words"), "short").unwrap();
        assert!(search(&needles, &path("tree")).contains("too little to be looked for"));
    }
}
