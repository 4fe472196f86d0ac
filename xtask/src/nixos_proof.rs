//! `cargo xtask nixos-proof`: builds real systems of NixOS, where there is a cache of it, and looks whether they are
//! what this project takes for granted. What it prints is a report to send in.

use std::env;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Problem;

/// The systems of `nix/nixos/tests/proof.nix`, each with its document.
const SYSTEMS: [(&str, &str); 4] = [
    ("host", "host.toml"),
    ("installed", "installed/host.toml"),
    ("mirror", "mirror.toml"),
    ("small", "small.toml"),
];

/// What an initrd of NixOS begins with: gzip, zstd, xz, or the microcode's cpio before it.
const INITRD: [&[u8]; 4] =
    [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z'], b"070701"];

/// One thing that is taken for granted: its number in docs/nixos.md, what it is, and what is not so.
#[derive(Debug)]
struct Looked {
    number: u32,
    what: &'static str,
    fault: Option<String>,
}

/// Builds the systems with the nixpkgs in the directory `NIXPKGS` and prints the report.
pub fn prove() -> Result<(), Problem> {
    let nixpkgs = env::var_os("NIXPKGS").map(PathBuf::from).ok_or(Problem::NoNixpkgs)?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nix/nixos/tests");
    println!("# Bedplate on a real NixOS\n");
    println!("- {}", said(Command::new("nix").arg("--version")).unwrap_or_else(|it| it));
    let release = fs::read_to_string(nixpkgs.join("lib/.version")).unwrap_or_default();
    println!("- nixpkgs {}", release.trim());
    let mut faults = 0_u32;
    for (name, document) in SYSTEMS {
        println!("\n## {name}\n");
        let looked = match build(&tests, &nixpkgs, name) {
            Ok(toplevel) => all(&toplevel, &tests.join(document)),
            Err(fault) => {
                vec![Looked { number: 1, what: "the system is built", fault: Some(fault) }]
            }
        };
        for one in looked {
            let Looked { number, what, fault } = one;
            faults += u32::from(fault.is_some());
            match fault {
                None => println!("- [x] {number}. {what}"),
                Some(fault) => println!("- [ ] {number}. {what}: {fault}"),
            }
        }
    }
    println!("\nNot looked at by this command: an installation, and the boot after it.");
    if faults == 0 { Ok(()) } else { Err(Problem::NotProven(faults)) }
}

/// The toplevel, or what Nix said.
fn build(tests: &Path, nixpkgs: &Path, name: &str) -> Result<PathBuf, String> {
    let mut command = Command::new("nix-build");
    command.arg("--no-out-link").arg(tests.join("proof.nix"));
    command.args(["--arg", "nixpkgs"]).arg(nixpkgs).args(["-A", name]);
    Ok(PathBuf::from(said(&mut command)?))
}

/// What a program printed, or its first error.
fn said(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| format!("could not run {program}: {source}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let is_error = |line: &&str| line.trim_start().starts_with("error:");
    let line = text.lines().find(is_error).or(text.lines().last()).unwrap_or_default();
    Err(format!("{program} ended with {}: {}", output.status, line.trim()))
}

fn all(toplevel: &Path, document: &Path) -> Vec<Looked> {
    let mut looked = files(toplevel, document);
    let host = toplevel.join("sw/bin/bedplate-host");
    let version = said(Command::new(&host).arg("--version"));
    looked.push(one(9, "bedplate-host of the system runs", version.map(drop)));
    let fits = said(Command::new(&host).args(["generation", "fits"]).arg(toplevel));
    looked.push(one(10, "a switch to it is allowed where no other host runs", fits.map(drop)));
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]);
    verify.arg(toplevel.join("etc/systemd/system/bedplate-converge.service"));
    looked.push(one(11, "systemd takes its units", said(&mut verify).map(drop)));
    let closure = said(Command::new("nix-store").arg("-qR").arg(toplevel));
    let count = closure.and_then(|paths| match paths.lines().count() {
        0..10 => Err(format!("a closure of {} paths", paths.lines().count())),
        _ => Ok(()),
    });
    looked.push(one(12, "its closure can be listed, which is what a medium carries", count));
    looked
}

fn one(number: u32, what: &'static str, found: Result<(), String>) -> Looked {
    Looked { number, what, fault: found.err() }
}

/// What is read in a toplevel, without starting anything.
fn files(toplevel: &Path, document: &Path) -> Vec<Looked> {
    let begins = |name: &str, with: &[&[u8]]| {
        let path = toplevel.join(name);
        let start = start_of(&path)?;
        let fits = with.iter().any(|magic| start.starts_with(magic));
        if fits { Ok(()) } else { Err(format!("{} begins with {start:02x?}", path.display())) }
    };
    let runs = |name: &str| {
        let path = toplevel.join(name);
        let found = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_program = found.is_file() && found.permissions().mode() & 0o111 != 0;
        if is_program { Ok(()) } else { Err(format!("{} is no program", path.display())) }
    };
    let parameters = || {
        let text = text(&toplevel.join("kernel-params"))?;
        if text.contains('\n') { Err(format!("several lines: {text:?}")) } else { Ok(()) }
    };
    let same = || {
        let (ours, theirs) = (text(document)?, text(&toplevel.join("etc/bedplate/host.toml"))?);
        if ours == theirs { Ok(()) } else { Err("it is another one".to_owned()) }
    };
    vec![
        one(1, "the system is built", Ok(())),
        one(2, "`kernel` is a program for UEFI", begins("kernel", &[b"MZ"])),
        one(3, "`initrd` is an archive that the kernel unpacks", begins("initrd", &INITRD)),
        one(4, "`init` is what the kernel's command line starts", runs("init")),
        one(5, "`activate` can be run in the target", runs("activate")),
        one(
            6,
            "`bin/switch-to-configuration` installs the boot loader",
            runs("bin/switch-to-configuration"),
        ),
        one(7, "`kernel-params` is one line", parameters()),
        one(8, "`etc/bedplate/host.toml` is the document", same()),
    ]
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn start_of(path: &Path) -> Result<Vec<u8>, String> {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(6).read_to_end(&mut start));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hand-made toplevel; `change` is written over one of its files.
    fn numbers(change: Option<(&str, &str)>) -> Vec<u32> {
        let place = env::temp_dir().join(format!(
            "bedplate-proof-{}-{}",
            std::process::id(),
            change.map_or("whole", |(name, _)| name).replace('/', "-")
        ));
        let document = place.join("document");
        for directory in ["bin", "etc/bedplate"] {
            fs::create_dir_all(place.join(directory)).unwrap();
        }
        let files = [
            ("document", "schema = 1\n"),
            ("etc/bedplate/host.toml", "schema = 1\n"),
            ("kernel", "MZ..."),
            ("initrd", "070701..."),
            ("kernel-params", "quiet"),
            ("init", "#!"),
            ("activate", "#!"),
            ("bin/switch-to-configuration", "#!"),
        ];
        for (name, text) in files.into_iter().chain(change) {
            let path = place.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let looked = files_of(&place, &document);
        fs::remove_dir_all(&place).unwrap();
        looked
    }

    fn files_of(toplevel: &Path, document: &Path) -> Vec<u32> {
        let looked = files(toplevel, document).into_iter();
        looked.filter(|one| one.fault.is_some()).map(|one| one.number).collect()
    }

    #[test]
    fn what_a_system_lacks_is_told_by_its_number() {
        assert_eq!(numbers(None), [] as [u32; 0]);
        assert_eq!(numbers(Some(("kernel", "\x7fELF"))), [2]);
        assert_eq!(numbers(Some(("initrd", "text"))), [3]);
        assert_eq!(numbers(Some(("kernel-params", "quiet\nsplash"))), [7]);
        assert_eq!(numbers(Some(("etc/bedplate/host.toml", "schema = 2\n"))), [8]);
        let nowhere = Path::new("/nowhere");
        assert_eq!(files_of(nowhere, nowhere), [2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_page_lists_what_is_looked_at() {
        let page = include_str!("../../docs/nixos.md");
        for one in files(Path::new("/nowhere"), Path::new("/nowhere")) {
            let line = format!("{}. {}", one.number, one.what);
            assert!(page.contains(&line), "docs/nixos.md lacks `{line}`");
        }
    }

    #[test]
    fn the_first_error_is_what_is_told() {
        let text = "echo 'error: the first' >&2; echo 'error: the last' >&2; exit 3";
        let error = said(Command::new("sh").args(["-c", text])).unwrap_err();
        assert!(error.ends_with("error: the first"), "{error}");
    }
}
