//! Each claim is broken in turn, and the table says so.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use bedplate_qemu_harness::ssh::Answer;
use bedplate_tests::broken_evidence::each_fails_alone;
use bedplate_tests::claims::{ALL, Claim, Judgement, judge_all};
use bedplate_tests::evidence::Evidence;
use bedplate_tests::table;

/// Evidence in which every claim holds: recorded from the real tools in a run of the story.
fn sound() -> Evidence {
    serde_json::from_str(include_str!("evidence/sound.json")).unwrap()
}

fn replace(evidence: &mut Evidence, name: &str, from: &str, to: &str) {
    let answer = evidence.0.get_mut(name).unwrap_or_else(|| panic!("no `{name}`"));
    assert!(answer.stdout.contains(from), "`{name}` has no {from:?}:\n{}", answer.stdout);
    answer.stdout = answer.stdout.replace(from, to);
}

fn fail(evidence: &mut Evidence, name: &str) {
    assert!(evidence.0.contains_key(name), "no `{name}`");
    evidence.put(name, Answer { status: 1, stderr: "broken".into(), ..Answer::default() });
}

/// What the machine would show if the claim were false. No claim can be left out.
fn falsify(claim: Claim, evidence: &mut Evidence) {
    match claim {
        Claim::PoweredOff => replace(evidence, "install.end", "guest-shutdown", "guest-reset"),
        Claim::Volumes => replace(evidence, "volumes", "bedplate-bulk3", "something-else"),
        Claim::Subvolumes => replace(evidence, "subvolumes", "path home", "path away"),
        Claim::VmPool => replace(evidence, "btrfs.df.vmstore", "Data, RAID1", "Data, single"),
        Claim::BulkPool => {
            replace(evidence, "btrfs.show.bulk", "Total devices 3", "Total devices 4");
        }
        Claim::Headers => {
            let name = "luks.dump.vm2";
            let text = evidence.0[name].stdout.clone();
            let mut header: serde_json::Value = serde_json::from_str(&text).unwrap();
            for token in header["tokens"].as_object_mut().unwrap().values_mut() {
                token["sealed"] = false.into();
            }
            evidence.note(name, header.to_string());
        }
        Claim::Keys => fail(evidence, "luks.recovery.bulk1"),
        Claim::CanaryBytes => evidence.note("canary.sha256.after", "0".repeat(64)),
        Claim::CanaryWrites => {
            replace(evidence, "canary.counters.install", "\"writes\":0", "\"writes\":1");
        }
        Claim::Bridge => {
            replace(evidence, "bridge.members", "52:54:00:0b:ed:01", "52:54:00:0b:ed:02")
        }
        Claim::Exports => replace(evidence, "exports", "100.64.0.0/10", "<world>"),
        Claim::NfsWritten => evidence.note("nfs.file", "written by someone else"),
        Claim::Domain => evidence.note("domain.autostart", ""),
        Claim::GuestLease => {
            replace(evidence, "http.requests", "ip=192.168.1.16", "ip=192.168.1.15")
        }
        Claim::Backup => evidence.note("restic.snapshots.apps", "[]"),
        Claim::BackupSound => fail(evidence, "restic.check.apps"),
        Claim::Unchanged => {
            let files = evidence.0["after.files"].stdout.clone();
            evidence.note("after.files", files + "/etc/exports.d/new 644 1.0 1.0\n");
        }
        Claim::Enrolled => replace(evidence, "flake.log", "bedplate@", "someone@"),
        Claim::Clean => evidence.note("flake.status", " M flake.nix"),
        Claim::CurrentSystem => evidence.note("system.current", "/nix/store/another"),
        Claim::Store => fail(evidence, "store.verified"),
        Claim::Firewall => evidence.note("firewall", "inactive active active"),
        Claim::Units => evidence.note("failed-units", "nfs-server.service loaded failed failed"),
    }
}

#[test]
fn every_claim_holds_on_sound_evidence_and_fails_alone_on_broken() {
    assert_eq!(each_fails_alone(&ALL, sound, falsify, judge_all), Ok(()));
}

#[test]
fn what_was_not_seen_never_holds() {
    let verdicts = judge_all(&Evidence::default());
    assert_eq!(table::failed(&verdicts).len(), ALL.len(), "{}", table::render(&verdicts));
    let used = |name: &&String| !name.starts_with("stick.");
    for name in sound().0.keys().filter(used) {
        let mut missing = sound();
        missing.0.remove(name);
        assert!(!table::failed(&judge_all(&missing)).is_empty(), "`{name}` is not needed");
        let mut broken = sound();
        fail(&mut broken, name);
        assert!(!table::failed(&judge_all(&broken)).is_empty(), "failure of `{name}` passes");
    }
}

#[test]
fn a_vm_that_did_not_report_in_time_is_told_as_late_and_not_as_wrong() {
    let mut evidence = sound();
    let requests = evidence.0["http.requests"].stdout.replace("/guest/nfs-ok", "/guest/other");
    evidence.note("http.requests", requests);
    let late = "timed out after 480 s, the last 470 without any progress";
    evidence.note("guest.late", late);
    let verdicts = judge_all(&evidence);
    let failed = table::failed(&verdicts);
    assert_eq!(failed.len(), 1, "{}", table::render(&verdicts));
    assert_eq!((failed[0].claim, failed[0].judgement), (Claim::NfsWritten, Judgement::NotInTime));
    assert_eq!(failed[0].seen, late);
    assert!(table::render(&verdicts).contains('?'));
}
