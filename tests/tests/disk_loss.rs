//! A disk is lost: the machine comes up without it and says so, and gets another one. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::http::Request;
use bedplate_qemu_harness::machine::Disk;
use bedplate_tests::answers::{GUEST, NOTIFY_PATH, TOKEN_FILE};
use bedplate_tests::installed::Installation;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed::{self, INSTALLED, MIRROR, POOLS};
use bedplate_tests::story::{Story, Tell};
use tempfile::TempDir;

/// How long the VM may take until it reports: it is emulated by an emulated machine.
const GUEST_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Exit code of `pool status` when a pool is degraded.
const DEGRADED: i32 = 3;
/// What the machine's messages carry; it may stand nowhere else.
const TOKEN: &str = "tk_canary_of_the_story";
/// What a disk takes in a second whose work is to be cut off: what it has to take for it is at
/// least eight times as much.
const SLOW: u64 = 1 << 20;
/// Where the EFI system partition begins, and how long it is.
const ESP: (u64, u64) = (1 << 20, 1 << 30);

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
    whole(&host);
    assert!(messages(&story).is_empty(), "nothing has happened: {:?}", messages(&story));
    let token = format!("umask 077; echo {TOKEN} > {TOKEN_FILE}");
    host.read(&["sh", "-c", &token]).unwrap();
    second_generation(&host);
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

/// Builds the system anew with another host.toml and makes it the one that boots next: the ESP and
/// its mirror carry the same entries and files.
fn second_generation(host: &Host) {
    let files = |place: &str| {
        // What the name counts are the tries that are left, on the disk that was booted from.
        let line = format!(
            "cd {place} && find . -type f ! -name '*random-seed*' | sort | xargs sha256sum | \
             sed -E 's/(bedplate-[0-9]+)[+0-9-]*[.]conf/\\1.conf/'"
        );
        host.read(&["sh", "-c", &line]).unwrap()
    };
    let entries = |text: &str| text.lines().filter(|line| line.ends_with(".conf")).count();
    let first = files("/boot");
    let line = format!(
        "set -e; cd /etc/nixos; sed -i 's|Europe/Brussels|Europe/Lisbon|' nix/hosts/{0}/host.toml; \
         top=$(nix build --offline --no-update-lock-file --no-link --print-out-paths \
         '/etc/nixos#nixosConfigurations.\"{0}\".config.system.build.toplevel'); \
         nix-env -p /nix/var/nix/profiles/system --set $top; \
         $top/bin/switch-to-configuration boot",
        seed::HOST
    );
    host.read(&["sh", "-c", &line]).unwrap();
    let second = files("/boot");
    assert!(second.contains("loader/entries/bedplate-2.conf"), "{second}");
    assert_eq!(entries(&second), entries(&first) + 1, "{first}\n{second}");
    assert_eq!(files("/boot-mirror"), second, "the mirror is not in step");
}

/// The messages that came from the machine, newest last.
fn messages(story: &Story) -> Vec<Request> {
    let mut all = story.server.requests();
    all.retain(|request| request.target == NOTIFY_PATH);
    all
}

/// Somebody was told, after the first `before` messages, that `pool` stands like `how` and that
/// each of `missing` is missing.
fn told(story: &Story, before: usize, pool: &str, how: &str, missing: &[&str]) {
    let messages = messages(story);
    let fits = |request: &&Request| {
        let mut lines = request.body.lines();
        request.method == "POST"
            && request.authorization == format!("Bearer {TOKEN}")
            && lines.next().is_some_and(|line| line.starts_with(&format!("pool {pool}: {how},")))
            && missing.iter().all(|role| lines.any(|line| is_missing(line, role)))
    };
    let new = messages.get(before..).unwrap_or_default();
    assert!(new.iter().any(|request| fits(&request)), "{pool} {how} {missing:?}: {new:#?}");
}

fn is_missing(line: &str, role: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some(role) && words.next() == Some("MISSING")
}

/// Hashes of the data in both pools, one line a file.
fn hashes(host: &Host) -> Vec<String> {
    let line = "sha256sum /mnt/*/a.* /mnt/*/b.*";
    host.read(&["sh", "-c", line]).unwrap().lines().map(str::to_owned).collect()
}

/// What a machine has lost.
#[derive(Clone, Copy)]
struct Loss<'a> {
    /// Members that are not there.
    members: &'a [&'a str],
    /// Pools that lack a disk for it.
    pools: &'a [&'a str],
    /// Units that fail for it.
    units: &'a [&'a str],
}

/// What must hold whatever is lost: the system is the newest, the pools are mounted, those that
/// lack a disk are said to be degraded, data whole, exports served, and the VM started.
fn lives_without(host: &Host, loss: Loss<'_>, hashes_before: &[String]) {
    let settled = host.settle().unwrap();
    let units = ["systemctl", "list-units", "--failed", "--plain", "--no-legend"];
    let units = host.read(&units).unwrap();
    let names: Vec<&str> = units.lines().filter_map(|l| l.split_whitespace().next()).collect();
    assert_eq!(names, loss.units, "{settled}: {units}");
    assert!(host.read(&["cat", "/etc/bedplate/host.toml"]).unwrap().contains("Europe/Lisbon"));
    let status = host.run(&["bedplate-host", "pool", "status"]).unwrap();
    assert_eq!(status.status, DEGRADED, "{status:?}");
    for role in loss.members {
        let missing = status.stdout.lines().any(|line| is_missing(line, role));
        assert!(missing, "{role}: {}", status.stdout);
    }
    let journal = ["journalctl", "-b", "-p", "warning", "-u", "bedplate-pool@*", "-o", "cat"];
    let journal = host.read(&journal).unwrap();
    for role in loss.members {
        assert!(journal.contains(&format!("left: {role} (")), "no warning of {role}: {journal}");
    }
    for (pool, mount) in POOLS {
        let options = host.read(&["findmnt", "-no", "OPTIONS", mount]).unwrap();
        let is_lost = loss.pools.contains(&pool);
        assert_eq!(options.contains("degraded"), is_lost, "{pool}: {options}");
    }
    assert_eq!(hashes(host), hashes_before, "data changed");
    let exports = host.read(&["exportfs", "-v"]).unwrap();
    assert!(exports.contains("/mnt/bulk/apps-vm"), "{exports}");
    let running = host.read(&["virsh", "--quiet", "list", "--name", "--state-running"]).unwrap();
    assert_eq!(running.trim(), GUEST);
}

fn boot_without(story: &Story, lost: &[&str], more: &[&Disk]) -> Host {
    let mut disks = story.disks_without(lost);
    disks.extend(more.iter().map(|disk| (*disk).clone()));
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
    is_sealed_at(host, id, 1);
}

fn is_sealed_at(host: &Host, id: &str, partition: u32) {
    let device = format!("/dev/disk/by-id/{id}-part{partition}");
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

/// Writes to the one disk that is left of a pool until there is a chunk without a second copy, and
/// data in it; the hashes of all data.
fn write_single(host: &Host, mount: &str) -> Vec<String> {
    let line = format!(
        "set -e; cd {mount}; for n in 1 2 3 4 5 6; do \
         btrfs filesystem usage . | grep -q '^Data,single' && break; \
         fallocate -l 500M filler.$n; done; \
         dd if=/dev/urandom of=b.single bs=1M count=16 conv=fsync; rm filler.*; sync; \
         btrfs filesystem usage . | grep '^Data,single'"
    );
    println!("{}", host.read(&["sh", "-c", &line]).unwrap());
    hashes(host)
}

fn whole(host: &Host) {
    let status = host.run(&["bedplate-host", "pool", "status"]).unwrap();
    assert_eq!(status.status, 0, "{}{}", status.stdout, status.stderr);
}

/// Each member of each pool is lost once, most with one of the other pool, and each EFI system
/// partition. Those of the first boots get others in their place.
#[test]
fn f4_each_member_can_be_lost_and_another_takes_its_place() {
    let base = directory("disk-loss");
    let (story, before) = used(base.path());
    let fork = directory("disk-loss-fork");
    lost_one_after_the_other(&story.fork(fork.path()).unwrap(), &before);

    let fork = directory("disk-loss-fork");
    let fork = (story.fork(fork.path()).unwrap(), fork);
    let disks = fork.0.disks_without(&["vm2", "bulk2"]);
    let os = disks.iter().find(|disk| disk.role == "os").unwrap();
    disk_image::zero(os, ESP.0, ESP.1).unwrap();
    let host = fork.0.boot(disks).unwrap();
    let (pools, units) = (&["vmstore", "bulk"], &["boot.mount"]);
    lives_without(&host, Loss { members: &["vm2", "bulk2"], pools, units }, &before);
    host.power_off().unwrap();
}

/// Three boots, each without other disks than the one before.
fn lost_one_after_the_other(story: &Story, before: &[String]) {
    let fresh = |role, serial| story.fresh_disk(role, serial).unwrap();
    let vm1 = fresh("vm1", "BPVM1NEW");
    let (bulk1, bulk3) = (fresh("bulk1", "BPBULK1NEW"), fresh("bulk3", "BPBULK3NEW"));
    let host = boot_without(story, &["vm1", "bulk1"], &[&vm1]);
    let written = replaced_and_removed(story, host, &vm1, before);

    // The old disk of vm1 is back beside the new one; of the pool `bulk` one disk is left.
    let host = boot_without(story, &["bulk1", "bulk3", MIRROR], &[&vm1, &bulk3]);
    let lost = Loss { members: &["bulk1", "bulk3"], pools: &["bulk"], units: &[] };
    lives_without(&host, lost, &written);
    assert!(host.read(&["ls", "/dev/mapper"]).unwrap().contains("bedplate-vm1.1"));
    let written = write_single(&host, "/mnt/bulk");
    cut_off(host, "bulk3", &bulk3);

    let heard = messages(story).len();
    let host = boot_without(story, &["vm1", "vm3", "bulk1", "bulk3"], &[&vm1, &bulk1, &bulk3]);
    let members = &["vm3", "bulk1"];
    lives_without(&host, Loss { members, pools: &["vmstore", "bulk"], units: &[] }, &written);
    told(story, heard, "vmstore", "DEGRADED", &["vm3"]);
    finished_after_the_cut(story, &host, [&bulk1, &bulk3]);
    assert_eq!(hashes(&host), written, "data changed");
    let journal = host.read(&["journalctl", "-o", "cat"]).unwrap();
    assert!(!journal.contains(TOKEN), "the token stands in the journal");
    host.power_off().unwrap();
}

/// Without vm1 and bulk1: data is written, vm1 is replaced and bulk1 given up. Returns the hashes.
fn replaced_and_removed(story: &Story, host: Host, vm1: &Disk, before: &[String]) -> Vec<String> {
    let lost = Loss { members: &["vm1", "bulk1"], pools: &["vmstore", "bulk"], units: &[] };
    lives_without(&host, lost, before);
    told(story, 0, "vmstore", "DEGRADED", &["vm1"]);
    told(story, 0, "bulk", "DEGRADED", &["bulk1"]);
    // The machine inside, over the exports.
    story.server.wait_for("/guest/nfs-ok", GUEST_LIMIT).unwrap();
    let written = write_degraded(&host);
    refusals(story, &host, &vm1.by_id());
    pool(&host, &["replace", "vm1", "--disk", &vm1.by_id(), "--yes"]);
    is_raid1(&host, "/mnt/vmstore", 3);
    is_sealed(&host, &vm1.by_id());
    pool(&host, &["remove", "bulk1", "--yes"]);
    is_raid1(&host, "/mnt/bulk", 2);
    for name in ["vmstore", "bulk"] {
        assert!(pool(&host, &["scrub", name]).contains("no errors found"));
    }
    // At once, and not when the timer comes round.
    host.read(&["bedplate-host", "notify"]).unwrap();
    told(story, 0, "vmstore", "whole", &[]);
    assert_eq!(hashes(&host), written, "data changed");
    host.power_off().unwrap();
    written
}

/// The replacement that was cut off goes on, and the pool gets its third disk back.
fn finished_after_the_cut(story: &Story, host: &Host, [bulk1, bulk3]: [&Disk; 2]) {
    is_half_replaced(host);
    let heard = messages(story).len();
    pool(host, &["replace", "bulk3", "--disk", &bulk3.by_id(), "--yes"]);
    is_raid1(host, "/mnt/bulk", 2);
    is_sealed(host, &bulk3.by_id());
    pool(host, &["add", "bulk1", "--disk", &bulk1.by_id(), "--yes"]);
    is_raid1(host, "/mnt/bulk", 3);
    is_sealed(host, &bulk1.by_id());
    assert!(pool(host, &["scrub", "bulk"]).contains("no errors found"));
    host.read(&["bedplate-host", "notify"]).unwrap();
    told(story, heard, "bulk", "whole", &[]);
}

/// Shown, not done; never on a disk that is in use; and no scrub of a pool that lacks a disk.
fn refusals(story: &Story, host: &Host, id: &str) {
    let replace = ["bedplate-host", "pool", "replace", "vm1", "--disk", id];
    let shown = host.run(&replace).unwrap();
    assert_eq!(shown.status, 2, "{shown:?}");
    assert!(shown.stdout.contains("Partition") && shown.stdout.contains(id), "{shown:?}");
    let used = story.disks().into_iter().find(|disk| disk.role == "vm2").unwrap().by_id();
    let taken = ["bedplate-host", "pool", "replace", "vm1", "--wipe", "--yes", "--disk", &used];
    let refused = host.run(&taken).unwrap();
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("in use"), "{refused:?}");
    // btrfs would give up at the missing device and call that a success.
    let scrub = host.run(&["bedplate-host", "pool", "scrub", "vmstore"]).unwrap();
    assert!(scrub.status == 1 && scrub.stderr.contains("lacks a disk"), "{scrub:?}");
}

/// Cuts the power while what the lost disk held is written to the new one.
fn cut_off(host: Host, role: &str, new: &Disk) {
    host.running.qmp().slow_down(&new.role, SLOW).unwrap();
    let line = format!(
        "bedplate-host --json pool replace {role} --disk {} --yes > /run/replace.log 2>&1 & \
         until grep -q '\"step_started\".*\"leave\"' /run/replace.log; do \
         kill -0 $! || {{ cat /run/replace.log; exit 1; }}; sleep 0.2; done; sleep 1; \
         cat /run/replace.log; btrfs filesystem usage /mnt/bulk",
        new.by_id()
    );
    println!("{}", host.read(&["sh", "-c", &line]).unwrap());
    host.running.cut_power().unwrap();
}

/// The new disk is in the pool `bulk`, which still lacks the one that is lost.
fn is_half_replaced(host: &Host) {
    let status = host.run(&["bedplate-host", "pool", "status"]).unwrap();
    let line = |role: &str| {
        let mut lines = status.stdout.lines();
        lines.find(|line| line.split_whitespace().next() == Some(role)).map(str::to_owned)
    };
    assert!(line("bulk3").is_some_and(|line| line.contains("in the pool")), "{status:?}");
    let usage = host.read(&["btrfs", "filesystem", "usage", "/mnt/bulk"]).unwrap();
    assert!(usage.contains("Data,single") && usage.to_lowercase().contains("missing"), "{usage}");
}

/// A pool's disk that is to carry the copy of the ESP is replaced: the new one does, and the machine
/// boots from it alone.
#[test]
fn f4_a_disk_with_the_copy_of_the_esp_is_replaced_and_boots() {
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let base = directory("disk-loss-mirror");
    let story = Installation::obtain(&tell).unwrap().lend(base.path(), tell).unwrap();
    let mut new = story.fresh_disk("vm3", "BPVM3NEW").unwrap();
    new.boot_index = Some(3);
    let mut disks = story.disks();
    disks.push(new.clone());
    let host = story.boot(disks.clone()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    // As if vm3 had been named from the start.
    let line = format!(
        "sed -e 's/esp_mirror = \"{MIRROR}\"/esp_mirror = \"vm3\"/' -e '/^\\[disks.{MIRROR}\\]/,/^$/d' \
         /etc/bedplate/host.toml > /root/host.toml && grep -q 'esp_mirror = \"vm3\"' /root/host.toml"
    );
    host.read(&["sh", "-c", &line]).unwrap();
    let disk = new.by_id();
    let replace = ["bedplate-host", "--host-file", "/root/host.toml", "pool", "replace", "vm3"];
    let answer = host.run(&[&replace[..], &["--disk", &disk, "--yes"]].concat()).unwrap();
    println!("{}\n{}", answer.stdout, answer.stderr);
    assert_eq!(answer.status, 0, "{answer:?}");
    is_raid1(&host, "/mnt/vmstore", 3);
    is_sealed_at(&host, &disk, 2);
    let mounted = host.read(&["findmnt", "-no", "SOURCE", "/boot-mirror"]).unwrap();
    let named = host.read(&["readlink", "-f", &format!("/dev/disk/by-id/{disk}-part1")]).unwrap();
    assert_eq!(mounted, named);
    let files = "for esp in /boot /boot-mirror; do (cd $esp && find . -type f ! -name \
                 '*random-seed*' | sort | xargs sha256sum | sha256sum); done | sort -u | wc -l";
    assert_eq!(host.read(&["sh", "-c", files]).unwrap().trim(), "1", "the copy is not in step");
    host.power_off().unwrap();

    let os = disks.iter().find(|disk| disk.role == "os").unwrap();
    disk_image::zero(os, ESP.0, ESP.1).unwrap();
    disks.retain(|disk| disk.role != MIRROR);
    let host = story.boot(disks).unwrap();
    whole(&host);
    host.power_off().unwrap();
}

/// Every member alone, and every one replaced.
#[test]
#[ignore = "six boots and six replacements take longer than CI has"]
fn f4_every_member_is_lost_alone_and_replaced() {
    let base = directory("disk-loss");
    let (story, before) = self::used(base.path());
    for (role, pool_of) in INSTALLED.iter().filter(|(_, pool)| pool.is_some()) {
        let fork = directory("disk-loss-fork");
        let story = story.fork(fork.path()).unwrap();
        let new = story.fresh_disk(role, &format!("BP{}NEW", role.to_uppercase())).unwrap();
        let id = new.by_id();
        let host = boot_without(&story, &[role], &[&new]);
        let pools: Vec<&str> = pool_of.iter().copied().collect();
        lives_without(&host, Loss { members: &[role], pools: &pools, units: &[] }, &before);
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
