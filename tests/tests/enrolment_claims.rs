//! Each claim about an enrolled machine is broken in turn, and the table says so. The evidence is
//! written by hand after the formats of the tools; the story itself records its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use bedplate_qemu_harness::ssh::Answer;
use bedplate_tests::broken_evidence::each_fails_alone;
use bedplate_tests::enrolment::claims::{ALL, Claim, EXPECTED, TOLD, judge_all};
use bedplate_tests::enrolment::machine::REMOTE;
use bedplate_tests::enrolment::probes;
use bedplate_tests::evidence::Evidence;
use bedplate_tests::probes::Probe;
use bedplate_tests::table;

const BASE: &str = "1111111111111111111111111111111111111111";
const HEAD: &str = "2222222222222222222222222222222222222222";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZv";
const SECRETS: [&str; 4] = ["cbde fghi age", "cbde fghi sops", "cbde passphrase", "cbde recovery"];

fn sound() -> Evidence {
    let mut evidence = Evidence::default();
    let mut note = |name: &str, text: &str| evidence.note(name, text);
    note("expected.commit", BASE);
    note("expected.public-key", &format!("{KEY} root@attic\n"));
    note("expected.sha256", "aaaa\nbbbb");
    note("expected.secrets", &SECRETS.join("\n"));
    for name in ["install.end", "again.end"] {
        note(name, if name == "install.end" { "guest-shutdown" } else { "guest-reset" });
    }
    for name in TOLD {
        note(name, "something was told");
    }
    for (name, access, sum) in [
        ("wireguard", "root root 400 regular file", "aaaa"),
        ("user-data", "backup operator 440 regular file", "bbbb"),
    ] {
        note(&format!("{name}.stat"), &format!("{access}\n"));
        note(&format!("{name}.place"), "tmpfs\n");
        note(&format!("{name}.sha256"), &format!("{sum}  /run/bedplate/secrets/{name}\n"));
    }
    note("host-key.public", KEY);
    note("host-key.derived", &format!("{KEY} root@attic\n"));
    note("host-key.stat", "root root 600 regular file\n");
    note("flake.head", &format!("{HEAD}\n"));
    note("flake.log", &format!("{HEAD} bedplate@attic\n{BASE} owner@example.org\n"));
    note("flake.remotes", &format!("origin\t{REMOTE} (fetch)\norigin\t{REMOTE} (push)\n"));
    for name in ["flake.status", "tree.identity", "left.answers", "failed-units", "again.status"] {
        note(name, "");
    }
    for name in ["stick.directory", "stick.mount", "stick.unmount"] {
        note(name, "");
    }
    note("machine-id", "0123456789abcdef0123456789abcdef\n");
    note("leaks.disk", "5 looked for in 41000 files\n");
    note("leaks.boot", "5 looked for in 9 files\n");
    note("leaks.processes", "5 looked for in 141 files\n");
    note("stick.secrets", "0 found");
    note("stick.bundle", "cccc");
    note("again.bundle", "cccc");
    note("again.head", HEAD);
    note("fetched.commit", HEAD);
    note("fetched.parent", BASE);
    evidence
}

fn replace(evidence: &mut Evidence, name: &str, from: &str, to: &str) {
    let answer = evidence.0.get_mut(name).unwrap_or_else(|| panic!("no `{name}`"));
    assert!(answer.stdout.contains(from), "`{name}` has no {from:?}:\n{}", answer.stdout);
    answer.stdout = answer.stdout.replace(from, to);
}

/// What the machine would show if the claim were false. No claim can be left out.
fn falsify(claim: Claim, evidence: &mut Evidence) {
    let found =
        |needle: &str, at: &str| format!("FOUND {needle} in {at}\n5 looked for in 50000 files\n");
    match claim {
        Claim::PoweredOff => replace(evidence, "install.end", "guest-shutdown", "guest-reset"),
        Claim::AgeSecret => replace(evidence, "wireguard.place", "tmpfs", "btrfs"),
        Claim::SopsSecret => replace(evidence, "user-data.stat", "440", "444"),
        Claim::HostKey => replace(evidence, "host-key.derived", "GZvb2Jh", "GZvb2Ji"),
        Claim::OneCommit => replace(evidence, "flake.log", BASE, "another"),
        Claim::Clean => evidence.note("flake.status", "?? left"),
        Claim::Origin => replace(evidence, "flake.remotes", REMOTE, "/run/answers/flake.bundle"),
        Claim::Fetched => evidence.note("fetched.parent", HEAD),
        Claim::Again => evidence.note("again.bundle", "dddd"),
        Claim::Disk => {
            evidence.note("leaks.disk", found("/run/bedplate/secrets/wireguard", "/nix/store/x"));
        }
        Claim::Processes => {
            evidence.note("leaks.processes", found("recovery", "/proc/412/cmdline"));
        }
        Claim::Told => evidence.note("journal", format!("asked: {}", SECRETS[2])),
        Claim::Stick => evidence.note("stick.secrets", "1 found"),
        Claim::Boot => evidence.note("leaks.boot", found("keyfile", "/boot/EFI/bedplate/initrd")),
        Claim::NothingLeft => evidence.note("left.answers", "/root/flake.bundle"),
        Claim::Identity => {
            evidence.note("tree.identity", "/run/current-system/tree/etc/ssh/ssh_host_rsa_key");
        }
        Claim::Units => evidence.note("failed-units", "bedplate-converge.service loaded failed"),
    }
}

#[test]
fn every_claim_holds_on_sound_evidence_and_fails_alone_on_broken() {
    assert_eq!(each_fails_alone(&ALL, sound, falsify, judge_all), Ok(()));
}

#[test]
fn t19_each_secret_is_looked_for_in_each_text() {
    for name in TOLD {
        for secret in SECRETS {
            let mut evidence = sound();
            evidence.note(name, format!("before {secret} after"));
            let verdicts = judge_all(&evidence);
            let failed: Vec<Claim> =
                table::failed(&verdicts).iter().map(|verdict| verdict.claim).collect();
            assert_eq!(failed, [Claim::Told], "{secret} in {name}");
        }
    }
}

#[test]
fn a_search_that_saw_little_or_looked_for_less_proves_nothing() {
    for name in ["leaks.disk", "leaks.boot", "leaks.processes"] {
        for text in ["5 looked for in 0 files", "4 looked for in 90000 files", "perl: not found"] {
            let mut evidence = sound();
            evidence.note(name, text);
            assert_eq!(table::failed(&judge_all(&evidence)).len(), 1, "{name}: {text}");
        }
    }
}

#[test]
fn what_was_not_seen_never_holds_and_everything_asked_is_needed() {
    assert_eq!(table::failed(&judge_all(&Evidence::default())).len(), ALL.len());
    let asked = probes::state().into_iter().chain(probes::again());
    let asked = asked.map(|Probe { name, .. }| name).filter(|name| !name.starts_with("stick."));
    for name in asked.chain(EXPECTED.map(str::to_owned)) {
        let mut missing = sound();
        assert!(missing.0.remove(&name).is_some(), "`{name}` is asked and not in the evidence");
        assert!(!table::failed(&judge_all(&missing)).is_empty(), "`{name}` is not needed");
        let mut broken = sound();
        let failure = Answer { status: 1, stderr: "broken".into(), ..Answer::default() };
        broken.put(&name, failure);
        assert!(!table::failed(&judge_all(&broken)).is_empty(), "failure of `{name}` passes");
    }
}
