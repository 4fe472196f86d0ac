//! A disk is lost: the machine comes up without it and says so, and gets another one. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::machine::Disk;
use bedplate_tests::answers::GUEST;
use bedplate_tests::installed::Installation;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed::{INSTALLED, POOLS};
use bedplate_tests::story::{Story, Tell};
use tempfile::TempDir;

/// How long the VM may take until it reports: it is emulated by an emulated machine.
const GUEST_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Exit code of `pool status` when a pool is degraded.
const DEGRADED: i32 = 3;

fn directory(what: &str) -> TempDir {
    let prefix = format!("bedplate-{what}-");
    tempfile::Builder::new().prefix(&prefix).tempdir_in("/var/tmp").unwrap()
}

/// Disks that were booted once: the VM is there, and both pools hold data with known hashes.
fn used(directory: &Path) -> (Story, Vec<String>) {
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let installation = Installation::obtain(&tell).unwrap();
    let story = installation.lend(directory, tell).unwrap();
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    let status = host.run(&["bedplate-host", "pool", "status"]).unwrap();
    assert_eq!(status.status, 0, "{status:?}");
    for (pool, mount) in POOLS {
        for file in ["a", "b"] {
            let path = format!("of={mount}/{file}.{pool}");
            host.read(&["dd", "if=/dev/urandom", &path, "bs=1M", "count=16"]).unwrap();
        }
    }
    let hashes = hashes(&host);
    host.power_off().unwrap();
    (story, hashes)
}

/// Hashes of the data in both pools, one line a file.
fn hashes(host: &Host) -> Vec<String> {
    let line = "sha256sum /mnt/*/a.* /mnt/*/b.*";
    host.read(&["sh", "-c", line]).unwrap().lines().map(str::to_owned).collect()
}

/// What must hold whatever is lost: both pools mounted, said to be degraded, data whole, exports
/// served, and the VM started.
fn lives_without(host: &Host, lost: &[&str], hashes_before: &[String]) {
    // Nothing failed for it.
    assert_eq!(host.settle().unwrap(), "running");
    let status = host.run(&["bedplate-host", "pool", "status"]).unwrap();
    assert_eq!(status.status, DEGRADED, "{status:?}");
    for role in lost {
        let line = status.stdout.lines().find(|line| line.split_whitespace().next() == Some(role));
        assert!(line.is_some_and(|line| line.contains("MISSING")), "{role}: {}", status.stdout);
    }
    let journal = ["journalctl", "-b", "-p", "warning", "-u", "bedplate-pool@*", "-o", "cat"];
    let journal = host.read(&journal).unwrap();
    for role in lost {
        assert!(journal.contains(&format!("left: {role} (")), "no warning of {role}: {journal}");
    }
    for (pool, mount) in POOLS {
        let options = host.read(&["findmnt", "-no", "OPTIONS", mount]).unwrap();
        let is_lost = INSTALLED.iter().any(|(role, of)| *of == Some(pool) && lost.contains(role));
        assert_eq!(options.contains("degraded"), is_lost, "{pool}: {options}");
    }
    assert_eq!(hashes(host), hashes_before, "data changed");
    let exports = host.read(&["exportfs", "-v"]).unwrap();
    assert!(exports.contains("/mnt/bulk/apps-vm"), "{exports}");
    let running = host.read(&["virsh", "--quiet", "list", "--name", "--state-running"]).unwrap();
    assert_eq!(running.trim(), GUEST);
}

fn boot_without(story: &Story, lost: &[&str], more: Vec<Disk>) -> Host {
    let mut disks = story.disks_without(lost);
    disks.extend(more);
    story.boot(disks).unwrap()
}

/// Runs `bedplate-host pool …` and returns what it said; any status but 0 fails.
fn pool(host: &Host, words: &[&str]) -> String {
    let answer = host.run(&[&["bedplate-host", "pool"], words].concat()).unwrap();
    println!("pool {}: {}\n{}", words.join(" "), answer.stdout, answer.stderr);
    assert_eq!(answer.status, 0, "pool {}: {answer:?}", words.join(" "));
    answer.stdout
}

/// The LUKS header of a disk has both keyslots and the seal.
fn is_sealed(host: &Host, id: &str) {
    let device = format!("/dev/disk/by-id/{id}-part1");
    let dump = host.read(&["cryptsetup", "luksDump", "--dump-json-metadata", &device]).unwrap();
    let dump: serde_json::Value = serde_json::from_str(&dump).unwrap();
    let slots: Vec<&String> = dump["keyslots"].as_object().unwrap().keys().collect();
    assert_eq!(slots, ["0", "1"], "{id}");
    assert_eq!(dump["keyslots"]["1"]["kdf"]["type"], "argon2id", "{id}");
    let mut tokens = dump["tokens"].as_object().unwrap().values();
    let seal = tokens.find(|token| token["type"] == "bedplate").unwrap();
    assert_eq!(seal["sealed"], true, "{id}");
}

/// Everything is RAID1, over `count` devices, none of which is missing.
fn is_raid1(host: &Host, mount: &str, count: usize) {
    let usage = host.read(&["btrfs", "filesystem", "usage", mount]).unwrap();
    let chunks: Vec<&str> = usage.lines().filter(|line| line.contains(": Size:")).collect();
    assert!(chunks.len() >= 3, "{usage}");
    for line in chunks {
        assert!(line.contains(",RAID1:"), "{usage}");
    }
    let show = host.read(&["btrfs", "filesystem", "show", mount]).unwrap();
    assert!(show.contains(&format!("Total devices {count} ")), "{show}");
    assert!(!show.to_lowercase().contains("missing"), "{show}");
}

/// Writes while degraded; the hashes of all data, the new included.
fn write_degraded(host: &Host) -> Vec<String> {
    for (pool, mount) in POOLS {
        let path = format!("of={mount}/b.degraded-{pool}");
        host.read(&["dd", "if=/dev/urandom", &path, "bs=1M", "count=16", "conv=fsync"]).unwrap();
    }
    hashes(host)
}

fn whole(host: &Host) {
    let status = host.run(&["bedplate-host", "pool", "status"]).unwrap();
    assert_eq!(status.status, 0, "{}{}", status.stdout, status.stderr);
}

/// Each member of each pool is lost once, one of each pool at a time. The first pair is replaced:
/// in one pool by `replace`, in the other by `remove` and `add`.
#[test]
fn f4_each_member_can_be_lost_and_another_takes_its_place() {
    let base = directory("disk-loss");
    let (story, before) = used(base.path());
    let fork = directory("disk-loss-fork");
    replaced(&story.fork(fork.path()).unwrap(), &before);
    for lost in [["vm2", "bulk2"], ["vm3", "bulk3"]] {
        let fork = directory("disk-loss-fork");
        let fork = (story.fork(fork.path()).unwrap(), fork);
        let host = boot_without(&fork.0, &lost, Vec::new());
        lives_without(&host, &lost, &before);
        host.power_off().unwrap();
    }
}

/// Loses a disk of each pool, writes, gets both back to three disks, and boots with them.
fn replaced(story: &Story, before: &[String]) {
    let lost = ["vm1", "bulk1"];
    let new = [
        story.fresh_disk("vm1", "BPVM1NEW").unwrap(),
        story.fresh_disk("bulk1", "BPBULK1NEW").unwrap(),
    ];
    let ids = new.each_ref().map(Disk::by_id);
    let host = boot_without(story, &lost, new.to_vec());
    lives_without(&host, &lost, before);
    // The machine inside, over the exports.
    story.server.wait_for("/guest/nfs-ok", GUEST_LIMIT).unwrap();
    let written = write_degraded(&host);

    // Shown, not done; and never on a disk that is in use.
    let replace = ["bedplate-host", "pool", "replace", "vm1", "--disk", &ids[0]];
    let shown = host.run(&replace).unwrap();
    assert_eq!(shown.status, 2, "{shown:?}");
    assert!(shown.stdout.contains("Partition") && shown.stdout.contains(&ids[0]), "{shown:?}");
    let used = story.disks().into_iter().find(|disk| disk.role == "vm2").unwrap().by_id();
    let taken = ["bedplate-host", "pool", "replace", "vm1", "--wipe", "--yes", "--disk", &used];
    let refused = host.run(&taken).unwrap();
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("in use"), "{refused:?}");

    // btrfs would give up at the missing device and call that a success.
    let scrub = host.run(&["bedplate-host", "pool", "scrub", "vmstore"]).unwrap();
    assert!(scrub.status == 1 && scrub.stderr.contains("lacks a disk"), "{scrub:?}");

    pool(&host, &["replace", "vm1", "--disk", &ids[0], "--yes"]);
    is_raid1(&host, "/mnt/vmstore", 3);
    is_sealed(&host, &ids[0]);
    pool(&host, &["remove", "bulk1", "--yes"]);
    is_raid1(&host, "/mnt/bulk", 2);
    pool(&host, &["add", "bulk1", "--disk", &ids[1], "--yes"]);
    is_raid1(&host, "/mnt/bulk", 3);
    is_sealed(&host, &ids[1]);
    for name in ["vmstore", "bulk"] {
        assert!(pool(&host, &["scrub", name]).contains("no errors found"));
    }
    whole(&host);
    assert_eq!(hashes(&host), written, "data changed");
    host.power_off().unwrap();

    // The old disk of vm1 is back beside the new one: it is no member.
    let mut disks = story.disks_without(&["bulk1"]);
    disks.extend(new);
    let host = story.boot(disks).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    whole(&host);
    for (_, mount) in POOLS {
        let options = host.read(&["findmnt", "-no", "OPTIONS", mount]).unwrap();
        assert!(!options.contains("degraded"), "{options}");
        is_raid1(&host, mount, 3);
    }
    assert!(host.read(&["ls", "/dev/mapper"]).unwrap().contains("bedplate-vm1.1"));
    assert_eq!(hashes(&host), written, "data changed");
}

/// Every member alone, and every one replaced.
#[test]
#[ignore = "six boots and six replacements take longer than CI has"]
fn f4_every_member_is_lost_alone_and_replaced() {
    let base = directory("disk-loss");
    let (story, before) = self::used(base.path());
    for (role, _) in INSTALLED.iter().filter(|(_, pool)| pool.is_some()) {
        let fork = directory("disk-loss-fork");
        let story = story.fork(fork.path()).unwrap();
        let new = story.fresh_disk(role, &format!("BP{}NEW", role.to_uppercase())).unwrap();
        let id = new.by_id();
        let host = boot_without(&story, &[role], vec![new]);
        lives_without(&host, &[role], &before);
        let written = write_degraded(&host);
        pool(&host, &["replace", role, "--disk", &id, "--yes"]);
        is_sealed(&host, &id);
        for (_, mount) in POOLS {
            is_raid1(&host, mount, 3);
        }
        whole(&host);
        assert_eq!(hashes(&host), written, "{role}: data changed");
        host.power_off().unwrap();
    }
}
