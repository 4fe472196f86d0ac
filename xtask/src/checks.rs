//! What `cargo xtask test` runs, in order: the fast checks, then the stories in QEMU.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{self, cargo};
use crate::lanes;
use crate::real_restic;
use crate::report::Problem;

/// Stories that every run tells. Those that take longest come first; what needs a platform in the
/// cache comes behind them, which make one.
const STORIES: [&str; 10] = [
    "hypervisor",
    "refusal",
    "power_cut",
    "key_stick",
    "reinstall",
    "faults",
    "esp_cuts",
    BACKUPS,
    CLOSURE,
    REPOSITORY,
];

/// Those that borrow the installed disks, and with them the port at which their VM's image is served
/// (`tests/src/installed.rs`).
const BORROWERS: [&str; 2] = ["hypervisor", "key_stick"];

/// What is told without a machine, but with the Nix of a platform in the cache.
const REPOSITORY: &str = "repository";
/// As that, and builds.
const CLOSURE: &str = "closure";
/// As that, with its restic.
const BACKUPS: &str = "backups";

/// What is told without a machine, but as root with an ssh server. It is no package that is installed
/// for it: on a workstation that would let others in.
const REMOTE: &str = "remote";

/// Tests on loop devices, as root.
const MOVED: &str = "moved";
/// A network of its own, as root, with networkd.
const ONLINE: &str = "online";
/// As those on loop devices, with the kernel's own btrfs.
const RETURNED: &str = "returned_member";
/// What of it takes minutes.
const LONG: &str = "t44_long_lives";

/// Stories that only the full set tells.
const FULL: [&str; 16] = [
    "guests",
    "network",
    "bridges",
    "enrolment",
    "over_ssh",
    "discovery",
    "closure_medium",
    "recovery",
    "lab",
    "guest_agent",
    "sftp_backup",
    "generations",
    "update",
    "attended",
    "disk_loss",
    "pool_life",
];

/// Formatting, lints, licences where cargo-deny is installed, and every test without a VM.
pub fn fast(full: bool) -> Result<(), Problem> {
    cargo::run(cargo().args(["fmt", "--all", "--check"]))?;
    // The fuzzers are a workspace of their own: that its lock is out of date would be told of after the stories.
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    cargo::run(cargo().args(["update", "--workspace", "--locked", "--quiet"]).current_dir(fuzz))?;
    let lint =
        ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
    cargo::run(cargo().args(lint))?;
    // What runs by name is no target of `--all-targets`: a story that does not compile would be told
    // of late.
    let mut lint = cargo();
    lint.args(["clippy", "--workspace", "--locked", "--quiet"]);
    for story in STORIES.into_iter().chain(FULL).chain([REMOTE]) {
        lint.args(["--test", story]);
    }
    cargo::run(lint.args(["--", "-D", "warnings"]))?;
    if cargo::has_subcommand("deny") {
        cargo::run(cargo().args(["deny", "--offline", "check", "licenses", "bans"]))?;
    } else {
        eprintln!("xtask: cargo-deny is not installed, licences and bans were NOT checked");
    }
    let tests = if cargo::has_subcommand("nextest") {
        &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"][..]
    } else {
        &["test", "--workspace", "--locked", "--no-fail-fast"]
    };
    // A snapshot that differs is a failure here, never a file to accept later.
    cargo::run(cargo().args(tests).env("INSTA_UPDATE", "no").env("INSTA_FORCE_PASS", "0"))?;
    if has_ssh_server() {
        tell(REMOTE, false, None)?;
        let fetch = ["test", "--locked", "--quiet", "--workspace", "--lib", "sshd::"];
        cargo::run(cargo().args(fetch).args(["--", "--ignored"]))?;
    } else {
        eprintln!(
            "xtask: no /usr/sbin/sshd, or not root: `bedplate install` was NOT tested against the installer, nor fetching a repository or keeping backups against a real ssh server"
        );
    }
    on_loop_devices(full)?;
    with_networkd()?;
    if has_platform() {
        tell(REPOSITORY, false, None)?;
        tell(CLOSURE, false, None)?;
        tell(BACKUPS, false, None)
    } else {
        eprintln!(
            "xtask: no platform in target/bedplate-cache yet (a medium makes one; the stories follow when there is one): what `bedplate init` and `host add` write was NOT evaluated by Nix so far, no system was built in advance, and no backup was made by restic"
        );
        Ok(())
    }
}

/// Tests with real block devices and file systems, with `full` those that take minutes, too.
fn on_loop_devices(full: bool) -> Result<(), Problem> {
    let told = |test: &str, skipped: &[&str]| {
        let mut command = cargo();
        command.args(["test", "--locked", "--quiet", "--workspace", "--test", test]);
        command.args(["--", "--ignored", "--test-threads=1"]);
        cargo::run(command.args(skipped.iter().flat_map(|name| ["--skip", name])))
    };
    if !has_loop_devices() {
        eprintln!(
            "xtask: not root, or no loop device can be made: what happens when a disk's name moves while it is opened was NOT tested, nor what becomes of a pool whose members come and go"
        );
        return Ok(());
    }
    told(MOVED, &[])?;
    if real_restic::has_btrfs() {
        return told(RETURNED, if full { &[] } else { &[LONG] });
    }
    eprintln!("xtask: no btrfs: what becomes of a pool whose members come and go was NOT tested");
    Ok(())
}

/// A machine's network, by networkd in a namespace.
fn with_networkd() -> Result<(), Problem> {
    let pair = ["--net", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"];
    let has_pairs = || Command::new("unshare").args(pair).output();
    let can = is_root()
        && Path::new("/usr/lib/systemd/systemd-networkd").exists()
        && has_pairs().is_ok_and(|made| made.status.success());
    if !can {
        eprintln!(
            "xtask: not root, no networkd, or no network namespace can be made: when a machine counts as online was NOT tested"
        );
        return Ok(());
    }
    let mut command = cargo();
    command.args(["test", "--locked", "--quiet", "--workspace", "--test", ONLINE]);
    cargo::run(command.args(["--", "--ignored", "--test-threads=1"]))
}

/// Whether a loop device can be had: as root, and not in a container without them.
fn has_loop_devices() -> bool {
    let free = || Command::new("losetup").arg("--find").output();
    is_root() && free().is_ok_and(|found| found.status.success())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn has_ssh_server() -> bool {
    is_root() && Path::new("/usr/sbin/sshd").exists()
}

/// Whether there is a tree with a Nix.
fn has_platform() -> bool {
    let entries = std::fs::read_dir(platforms()).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join("platform.json").is_file())
}

/// Where trees are; `BEDPLATE_CACHE` names another directory of such.
fn platforms() -> PathBuf {
    let own = || real_restic::CACHE.into();
    std::env::var_os("BEDPLATE_CACHE").map_or_else(own, PathBuf::from)
}

/// The stories of a run: those named, or all that every run tells, with `full` those of the full
/// set, too.
pub fn chosen(named: &[String], full: bool) -> Result<Vec<&'static str>, Problem> {
    let all = || STORIES.into_iter().chain(FULL);
    if named.is_empty() {
        return Ok(STORIES.into_iter().chain(FULL.into_iter().filter(|_| full)).collect());
    }
    let known = |name: &String| all().chain([REMOTE]).find(|story| story == name);
    let found: Option<Vec<_>> = named.iter().map(known).collect();
    found.ok_or_else(|| Problem::NoStory(all().map(str::to_owned).collect()))
}

/// Compiles the stories, so that telling them does not begin with that.
pub fn compile(stories: &[&str]) -> Result<(), Problem> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--locked", "--workspace"]);
    cargo::run(command.args(stories.iter().flat_map(|story| ["--test", story])))
}

/// The end-to-end stories. One that fails does not keep the others from being told; what became of each
/// stands at the end, with the time that it took and that everything before them took. `shard` is the
/// part of the power cuts that is tried, such as `2/4`.
pub fn stories(
    stories: &[&str],
    full: bool,
    shard: Option<&str>,
    before: Duration,
    lanes: usize,
) -> Result<(), Problem> {
    let begun = Instant::now();
    let borrow = |one: &str, other: &str| [one, other].iter().all(|it| BORROWERS.contains(it));
    let told = lanes::tell(stories, lanes, borrow, |story| {
        let run = |command: &mut Command| match lanes {
            1 => cargo::run(command),
            _ => lanes::run_as(story, command),
        };
        eprintln!("xtask: story {story}");
        run(&mut telling(story, full, shard))?;
        // After it: it has fetched restic's server.
        let is_backups = story == BACKUPS;
        let restic = is_backups.then(|| real_restic::command(&platforms(), has_loop_devices()));
        restic.transpose()?.flatten().map_or(Ok(()), |mut command| run(&mut command))
    });
    eprintln!(
        "xtask: passed  {:5.0} s  what is compiled, checks and unit tests",
        before.as_secs_f64()
    );
    for (story, outcome, time) in &told {
        let outcome = if outcome.is_ok() { "passed" } else { "FAILED" };
        eprintln!("xtask: {outcome}  {:5.0} s  {story}", time.as_secs_f64());
    }
    let (all, at_once) =
        (before + begun.elapsed(), if lanes == 1 { "" } else { ", two at a time" });
    eprintln!("xtask:         {:5.0} s  altogether{at_once}", all.as_secs_f64());
    told.into_iter().try_for_each(|(_, outcome, _)| outcome)
}

fn tell(story: &str, full: bool, shard: Option<&str>) -> Result<(), Problem> {
    eprintln!("xtask: story {story}");
    cargo::run(&mut telling(story, full, shard))
}

fn telling(story: &str, full: bool, shard: Option<&str>) -> Command {
    let mut command = cargo();
    // Of the workspace, as everything before: for one package alone cargo would compile the crates
    // that it needs anew, with other features.
    command.args(["test", "--locked", "--workspace", "--test", story]);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    if full || story == BACKUPS && has_ssh_server() {
        command.arg("--include-ignored");
    }
    if let Some(shard) = shard {
        command.env("BEDPLATE_SHARD", shard);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_is_told_by_name_and_one_that_is_not_there_is_refused() {
        assert_eq!(chosen(&[], false).ok(), Some(STORIES.to_vec()));
        assert_eq!(chosen(&[], true).ok().map(|all| all.len()), Some(STORIES.len() + FULL.len()));
        assert_eq!(chosen(&["lab".to_owned()], false).ok(), Some(vec!["lab"]));
        assert!(matches!(chosen(&["nothing".to_owned()], true), Err(Problem::NoStory(_))));
    }
}
