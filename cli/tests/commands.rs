//! `bedplate check` and `bedplate plan` as people run them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs `bedplate` at the root of the repository.
fn bedplate(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(env!("CARGO_BIN_EXE_bedplate")).args(arguments).current_dir(root).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const PROFILE: &str = "profiles/hypervisor/host.toml";
const INVENTORY: &str = "profiles/hypervisor/inventory.json";

#[test]
fn the_profile_is_checked_and_planned() {
    let check = bedplate(&["check", PROFILE]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    // Where there is no systemd, that is said too.
    let told = stdout(&check);
    let lines: Vec<_> = told.lines().filter(|line| !line.contains("the schedules of")).collect();
    insta::assert_snapshot!("check", lines.join("\n"));
    let plan = bedplate(&["plan", PROFILE, "--inventory", INVENTORY]);
    assert_eq!(plan.status.code(), Some(0), "{}", stderr(&plan));
    insta::assert_snapshot!("plan", stdout(&plan));
}

#[test]
fn the_plan_as_json_is_the_plan() {
    let output = bedplate(&["plan", PROFILE, "--inventory", INVENTORY, "--json"]);
    let plan: bedplate_model::plan::Plan = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((plan.disks.len(), plan.hash.len()), (7, 64));
}

#[test]
fn the_schema_is_printed_as_the_documentation_has_it() {
    let output = bedplate(&["schema"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output) == include_str!("../../docs/host-toml.schema.json"));
}

#[test]
fn mistakes_are_shown_with_the_line_and_end_with_1() {
    let output = bedplate(&["check", "core/document/tests/hosts/unknown_keys.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!("mistakes", stderr(&output));
}

#[test]
fn what_is_painted_says_the_same_and_is_not_painted_for_programs() {
    let plan = ["plan", PROFILE, "--inventory", INVENTORY];
    let mistakes = ["check", "core/document/tests/hosts/unknown_keys.toml"];
    for arguments in [&plan[..], &mistakes] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        command.args(arguments).current_dir(root);
        let plain = command.env_remove("CLICOLOR_FORCE").output().unwrap();
        let painted = command.env("CLICOLOR_FORCE", "1").output().unwrap();
        let text = |output: &Output| stdout(output) + &stderr(output);
        assert!(!text(&plain).contains('\u{1b}'));
        assert_ne!(text(&painted), text(&plain));
        assert_eq!(anstream::adapter::strip_str(&text(&painted)).to_string(), text(&plain));
    }
}

#[test]
fn a_schedule_that_systemd_does_not_understand_is_a_mistake_and_one_not_asked_for_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = tempfile::tempdir().unwrap();
    let host = place.path().join("host.toml");
    let text = include_str!("../../profiles/hypervisor/host.toml");
    let mistyped = text.replace("schedule = \"daily\"", "schedule = \"dayly\"");
    assert_ne!(text, mistyped);
    std::fs::write(&host, mistyped).unwrap();
    let check = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        command.arg("check").arg(&host).args(more).env("PATH", place.path()).output().unwrap()
    };
    let unasked = check(&[]);
    assert_eq!(unasked.status.code(), Some(0), "{}", stderr(&unasked));
    let notes = stdout(&unasked).lines().filter(|line| line.contains("were not looked at")).count();
    assert_eq!(notes, 1, "{}", stdout(&unasked));

    let program = place.path().join("systemd-analyze");
    let script = "#!/bin/sh\n[ \"$3\" != dayly ] || { echo \"cannot parse '$3'\" >&2; exit 1; }\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (more, out) in [(&[][..], stderr as fn(&Output) -> String), (&["--json"], stdout)] {
        let wrong = check(more);
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
        let told = out(&wrong).replace("\\\"", "\"");
        assert!(told.contains("`backups.apps.schedule`, \"dayly\", is no time"), "{told}");
        assert!(told.contains("cannot parse 'dayly'"), "{told}");
    }
    std::fs::write(&host, text).unwrap();
    let right = check(&[]);
    assert_eq!(right.status.code(), Some(0), "{}", stderr(&right));
    assert!(!stdout(&right).contains("were not looked at"));
}

#[test]
fn refusals_are_shown_and_end_with_1() {
    let output = bedplate(&[
        "plan",
        "core/document/tests/hosts/good_minimal.toml",
        "--inventory",
        INVENTORY,
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    insta::assert_snapshot!("refusals", stderr(&output));
}

/// A key with which somebody can log in.
const SSH_KEYS: &str = "ssh_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me@laptop\"]";

#[test]
fn several_documents_and_standard_input_are_checked_in_one_go() {
    let wrong = "core/document/tests/hosts/unknown_keys.toml";
    let two = bedplate(&["check", PROFILE, wrong]);
    assert_eq!(two.status.code(), Some(1));
    assert!(stdout(&two).contains("host.toml is valid") && stderr(&two).contains("unknown key"));
    let listed = bedplate(&["check", "--json", PROFILE, wrong]);
    let list: serde_json::Value = serde_json::from_str(&stdout(&listed)).unwrap();
    assert_eq!(list[0]["host"]["host"]["name"], "hypervisor");
    assert_eq!(list[0]["mistakes"], serde_json::json!([]));
    assert!(list[1]["host"].is_null());
    let first = &list[1]["mistakes"][0];
    assert!(first["line"].is_u64() && first["column"].is_u64() && first["help"].is_string());

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
    command.args(["check", "-"]).stdin(std::fs::File::open(root.join(wrong)).unwrap());
    let piped = command.output().unwrap();
    assert_eq!(piped.status.code(), Some(1));
    assert!(stderr(&piped).contains("--> standard input:"), "{}", stderr(&piped));
}

#[test]
fn a_refusal_and_a_mistake_are_a_document_where_json_is_asked_for() {
    let of = |output: &Output| -> serde_json::Value {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
        serde_json::from_str(&stdout(output)).unwrap()
    };
    // The disks of the profile are in no other machine.
    let place = tempfile::tempdir().unwrap();
    let inventory = place.path().join("inventory.json");
    let text = include_str!("../../profiles/hypervisor/inventory.json");
    std::fs::write(&inventory, text.replace("S466NX0M701234A", "S466NX0M70OTHER")).unwrap();
    let other = inventory.to_str().unwrap();
    let plan = of(&bedplate(&["plan", PROFILE, "--inventory", other, "--json"]));
    let first = &plan["mistakes"][0];
    assert!(first["role"].is_string() && first["help"].is_string(), "{plan}");
    let wrong = "core/document/tests/hosts/unknown_keys.toml";
    let plan = of(&bedplate(&["plan", wrong, "--inventory", INVENTORY, "--json"]));
    assert!(plan["mistakes"][0]["line"].is_u64(), "{plan}");
    let missing = of(&bedplate(&["plan", "no/such.toml", "--json"]));
    assert!(missing["mistakes"][0]["message"].as_str().unwrap().contains("could not read"));
}

#[test]
fn a_time_zone_and_a_schedule_that_nobody_knows_are_told_together() {
    let place = tempfile::tempdir().unwrap();
    let host = place.path().join("host.toml");
    let text = include_str!("../../profiles/hypervisor/host.toml");
    let wrong = text
        .replace("Europe/Brussels", "Europe/Brusels")
        .replace("schedule = \"daily\"", "schedule = \"dayly\"");
    std::fs::write(&host, &wrong).unwrap();
    let check = bedplate(&["check", host.to_str().unwrap()]);
    let told = stderr(&check);
    let zones = Path::new("/usr/share/zoneinfo/UTC").exists();
    let analyze = Path::new("/usr/bin/systemd-analyze").exists();
    assert_eq!(told.contains("Europe/Brusels"), zones, "{told}");
    assert_eq!(told.contains("dayly"), analyze, "{told}");
}

#[test]
fn files_that_cannot_be_read_end_with_1_and_wrong_usage_with_2() {
    let missing = bedplate(&["check", "no/such/host.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("could not read no/such/host.toml\n  caused by: "));
    let no_inventory = bedplate(&["plan", PROFILE, "--inventory", PROFILE]);
    assert_eq!(no_inventory.status.code(), Some(1));
    assert!(
        stderr(&no_inventory)
            .contains("is no inventory, as `bedplate inventory --json` writes it\n  caused by: ")
    );
    assert_eq!(bedplate(&["plan", PROFILE, "--steps", "--json"]).status.code(), Some(2));
    assert_eq!(bedplate(&["frobnicate"]).status.code(), Some(2));
}

#[test]
fn the_inventory_of_this_machine_is_one_that_plan_reads() {
    let json = bedplate(&["inventory", "--json"]);
    assert_eq!(json.status.code(), Some(0), "{}", stderr(&json));
    let facts: bedplate_model::facts::Facts = serde_json::from_slice(&json.stdout).unwrap();
    assert!(facts.memory_bytes > 0);
    let table = bedplate(&["inventory"]);
    assert_eq!(stdout(&table).lines().next().unwrap().split(',').count(), 2, "{table:?}");
    let none = bedplate(&["inventory", "--root", "core"]);
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(stderr(&none), "error: core shows no machine: it holds no sys/block\n");
}

#[test]
fn t18_json_carries_no_control_character_to_the_terminal() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let inventory = std::fs::read_to_string(root.join(INVENTORY)).unwrap();
    let hostile = inventory.replacen("\"serial\": \"", "\"serial\": \"\u{9b}2J", 1);
    assert_ne!(inventory, hostile);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inventory.json");
    std::fs::write(&path, hostile).unwrap();
    let plan = bedplate(&["plan", PROFILE, "--inventory", path.to_str().unwrap(), "--json"]);
    assert_eq!(plan.status.code(), Some(0), "{}", stderr(&plan));
    assert!(!stdout(&plan).chars().any(|c| c.is_control() && c != '\n'));
    let parsed: bedplate_model::plan::Plan = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(parsed.disks.iter().any(|disk| disk.serial.as_ref().unwrap().starts_with('\u{9b}')));
}

#[test]
fn a_plan_beside_a_kept_pool_says_what_is_destroyed_and_what_is_kept() {
    let pair = "core/planner/tests/pairs/good_kept_pool.toml";
    let plan =
        bedplate(&["plan", pair, "--inventory", "core/planner/tests/inventories/installed.json"]);
    assert_eq!(plan.status.code(), Some(0), "{}", stderr(&plan));
    insta::assert_snapshot!("plan_kept", stdout(&plan));
}

#[test]
fn a_workstation_without_nix_is_told_what_to_do_before_anything_is_made() {
    let place = tempfile::tempdir().unwrap();
    let (host, output) = (place.path().join("host.toml"), place.path().join("x.iso"));
    let text = include_str!("../../profiles/hypervisor/host.toml");
    let text = text.replace("00000000-0000-4000-8000-", "3f0c7a52-5d0e-4b8e-9d5e-");
    std::fs::write(&host, &text).unwrap();
    let iso = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        command.arg("iso").arg("--output").arg(&output).args(more);
        command.arg("--cache").arg(place.path().join("cache"));
        command.current_dir(place.path()).env("PATH", place.path()).output().unwrap()
    };
    let path = host.clone();
    let host = host.to_str().unwrap();
    let locked = iso(&["--host", host]);
    assert_eq!(locked.status.code(), Some(1));
    assert!(stderr(&locked).contains("nobody could ever log in"), "{}", stderr(&locked));
    std::fs::write(path, text.replace("ssh_keys = []", SSH_KEYS)).unwrap();
    let without = iso(&["--host", host, "--with-closure"]);
    assert_eq!(without.status.code(), Some(6), "{}", stderr(&without));
    assert!(stderr(&without).contains("apt install nix-bin"), "{}", stderr(&without));
    assert!(!place.path().join("cache").exists() && !output.exists());
    assert_eq!(iso(&["--with-closure"]).status.code(), Some(2));
    // An inventory of another version: nothing is made up.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join(INVENTORY)).unwrap();
    let inventory = place.path().join("inventory.json");
    std::fs::write(&inventory, text.replace("  \"platform\": \"x86_64-linux\",\n", "")).unwrap();
    let old = iso(&["--host", host, "--with-closure", "--inventory", inventory.to_str().unwrap()]);
    assert_eq!(old.status.code(), Some(1));
    assert!(stderr(&old).contains("make it again"), "{}", stderr(&old));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_to_tell_of() {
    for arguments in [&["schema"][..], &["plan", PROFILE, "--inventory", INVENTORY, "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        let output = command.args(arguments).current_dir(root).stdout(writer).output().unwrap();
        assert!(!output.status.success(), "what is read may be cut");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}
