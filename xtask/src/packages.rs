//! The Debian packages that building and testing need.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::Command;

use crate::cargo::run;
use crate::report::Problem;

/// Every package, with its purpose beside it.
const PACKAGES: [&str; 32] = [
    "gcc",                    // linking, C parts of crates
    "binutils",               // kernel modules of the small guest, without what they need not have
    "libc6-dev",              // the same
    "pkg-config",             // finds the two libraries below
    "libcryptsetup-dev",      // crate libcryptsetup-rs
    "libblkid-dev",           // crate libblkid-rs
    "libclang-dev",           // bindgen, for both
    "mmdebstrap",             // the tree
    "debian-archive-keyring", // its signatures
    "squashfs-tools",         // the images
    "erofs-utils",            // the same
    "cryptsetup-bin",         // veritysetup
    "patchelf",               // programs with their own loader
    "xorriso",                // the ISO
    "uidmap",                 // mmdebstrap as an ordinary user
    "qemu-system-x86",        // the machines
    "qemu-utils",             // their disks
    "ovmf",                   // their firmware
    "openssh-client",         // looking into them
    "openssl",                // the https server that a repository is fetched from
    "age",                    // holds our reading and writing of its files against its own
    "btrfs-progs",            // file systems of a benchmark
    "libvirt-daemon",         // its test driver, looked at as on a host
    "libvirt-clients",        // holds definitions of machines against libvirt's own schema
    "syslinux",               // the boot loader of the small guest
    "syslinux-common",        // the same
    "mtools",                 // the same
    "qemu-guest-agent",       // what runs in a small guest, too
    "xz-utils",               // its image
    "zstd",                   // looking into an initrd
    "systemd",                // its generators and networkd, as hosts of NixOS are set up for them
    "iproute2",               // the network that networkd gets
];

/// Installs what is missing once somebody agrees, at the terminal or by `--yes`; or says how.
pub fn ensure(yes: bool) -> Result<(), Problem> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(prefix) = privilege() else {
        return Err(Problem::MissingPackages(missing.into_iter().map(str::to_owned).collect()));
    };
    if !yes && !agrees(&missing) {
        return Err(Problem::NotAgreed(missing.into_iter().map(str::to_owned).collect()));
    }
    eprintln!("xtask: installing {}", missing.join(" "));
    run(&mut apt_get(prefix, &["update", "-q"], &[]))?;
    // Nothing that is there goes for what is wanted here: apt would rather remove one of our own.
    let install = ["install", "-q", "-y", "--no-install-recommends", "--no-remove"];
    if let Err(problem) = run(&mut apt_get(prefix, &install, &missing)) {
        // A qemu-utils that is newer than the archive's QEMU (a backport left on the machine)
        // breaks qemu-system-common: bring all of QEMU to one version.
        let Some(version) = candidate("qemu-system-x86") else { return Err(problem) };
        let utilities = format!("qemu-utils={version}");
        let mut wanted = missing;
        wanted.retain(|name| *name != "qemu-utils");
        wanted.push(&utilities);
        let install = [&install[..], &["--allow-downgrades"]].concat();
        run(&mut apt_get(prefix, &install, &wanted))?;
    }
    let missing: Vec<_> = PACKAGES.into_iter().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Problem::MissingPackages(missing.into_iter().map(str::to_owned).collect()))
}

/// Whether whoever sits at the terminal says yes.
fn agrees(missing: &[&str]) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    eprint!(
        "These Debian packages are needed and not installed:\n  {}\nInstall them? [y/N] ",
        missing.join(" ")
    );
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .is_ok_and(|_| ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn is_installed(name: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", name])
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

/// How packages may be installed: as root, through sudo without a password, or not at all.
fn privilege() -> Option<&'static [&'static str]> {
    let output = Command::new("id").arg("--user").output().ok()?;
    if output.stdout.trim_ascii() == b"0" {
        return Some(&[]);
    }
    let sudo = Path::new("/usr/bin/sudo").exists()
        && Command::new("sudo").args(["-n", "true"]).output().is_ok_and(|o| o.status.success());
    sudo.then_some(&["sudo", "-n"])
}

fn apt_get(prefix: &[&str], words: &[&str], packages: &[&str]) -> Command {
    let line = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], words, packages];
    let mut line = line.concat().into_iter();
    let mut command = Command::new(line.next().unwrap_or("apt-get"));
    command.args(line);
    command
}

fn candidate(package: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["policy", package]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (line != "(none)").then(|| line.to_owned())
}
