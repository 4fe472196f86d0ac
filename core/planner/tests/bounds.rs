//! Long documents full of mistakes: told in short. What is not linear here does not end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fmt::Write as _;

use bedplate_document::{LIMIT, Problems, parse};
use bedplate_model::facts::{DiskFacts, Facts, Signature};
use bedplate_planner::plan;

const MINIMAL: &str = include_str!("../../document/tests/hosts/good_minimal.toml");

/// The problems of a document, which are told in few lines.
fn problems(text: &str) -> Problems {
    assert!(text.len() <= LIMIT, "{} bytes are not read at all", text.len());
    let problems = parse(text, "host.toml").unwrap_err();
    let told = problems.to_string();
    assert!(told.len() < 100_000, "{} bytes are told", told.len());
    problems
}

/// The lines that `line` makes of each number, in front of which stands `before`.
fn lines(before: &str, count: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = before.to_owned();
    for at in 0..count {
        let _ = writeln!(text, "{}", line(at));
    }
    text
}

#[test]
fn t59_many_unknown_keys_are_told_in_short_with_how_many_more() {
    let found = problems(&lines(MINIMAL, 40_000, |at| format!("key{at} = 1")));
    assert_eq!((found.len(), found.iter().count(), found.more()), (40_000, 100, 39_900));
    assert!(found.to_string().ends_with("\nand 39900 more"), "{found}");
    let lines: Vec<usize> = found.iter().map(|it| it.line).collect();
    let first = MINIMAL.lines().count() + 1;
    assert_eq!(lines, (first..first + 100).collect::<Vec<_>>());
    let few = problems(&format!("{MINIMAL}\nkey = 1"));
    assert!(few.len() == 1 && few.more() == 0 && !few.to_string().contains(" more"), "{few}");
}

#[test]
fn t59_many_unknown_keys_of_one_line_are_told_where_they_stand() {
    let keys: Vec<String> = (0..40_000).map(|at| format!("key{at} = 1")).collect();
    let found = problems(
        &format!("{MINIMAL}\nvlans = {{ {} }}", keys.join(", "))
            .replace("nic = \"enp5s0\"\n\nvlans", "nic"),
    );
    assert_eq!(found.len(), 40_001, "the MAC is missing, too");
    assert!(found.iter().all(|it| it.line == found.iter().next().unwrap().line));
}

#[test]
fn t59_many_disks_of_a_pool_that_are_not_there_are_told_in_short() {
    let roles: Vec<String> = (0..800).map(|at| format!("\"disk-{at}\"")).collect();
    let text = MINIMAL.replace("\"one\", \"two\"", &roles.join(", "));
    let declared = lines(&text, 800, |at| format!("[disks.dsk_{at}]\nid = \"ata-Disk_{at}\""));
    let found = problems(&declared);
    assert!(found.len() >= 1600 && found.to_string().ends_with(" more"), "{}", found.len());
    // A few mistakes among many names are still guessed at.
    let typo = MINIMAL.replace("\"one\", \"two\"", "\"one\", \"twoo\"");
    assert!(problems(&typo).to_string().contains("did you mean \"two\"?"));
}

#[test]
fn t59_many_disks_that_nothing_uses_are_told_in_short() {
    let text = lines(MINIMAL, 10_000, |at| format!("[disks.spare_{at}]\nid = \"ata-Spare_{at}\""));
    assert_eq!(problems(&text).len(), 10_000);
}

#[test]
fn t59_many_bridges_pools_and_names_are_compared_in_time() {
    problems(&lines(MINIMAL, 6_000, |at| {
        format!("[network.bridges.x{at}]\naddresses = [\"10.0.0.1/8\"]\ngateway = \"10.0.0.1\"")
    }));
    problems(&lines(MINIMAL, 8_000, |at| {
        format!("[pools.p{at}]\nmount = \"/mnt/same\"\ndisks = [\"d{at}\", \"e{at}\"]")
    }));
    let names: Vec<String> = (0..100_000).map(|at| format!("\"b{at}\"")).collect();
    problems(&format!("{MINIMAL}\n[restore]\nbackups = [{}]", names.join(",")));
}

#[test]
fn t59_a_pool_of_many_disks_is_planned_in_time_or_refused_in_short() {
    let roles: Vec<String> = (0..200).map(|at| format!("\"disk-{at}\"")).collect();
    let text = MINIMAL.replace("\"one\", \"two\"", &roles.join(", "));
    let text = text.replace("[disks.one]\nid = \"ata-Disk_B\"\n", "");
    let text = text.replace("[disks.two]\nid = \"ata-Disk_C\"\n", "");
    let text = lines(&text, 200, |at| format!("[disks.disk-{at}]\nid = \"ata-Disk_{at}\""));
    let host = parse(&text, "host.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let mut facts: Facts =
        serde_json::from_str(include_str!("../../../profiles/hypervisor/inventory.json")).unwrap();
    let blank = facts.disks.remove(0);
    let disk = |id: &str, at: usize| DiskFacts {
        kernel_name: format!("sd{at}"),
        number: format!("8:{at}"),
        by_id: vec![id.to_owned()],
        serial: Some(format!("S{at}")),
        wwn: None,
        diskseq: Some(at as u64),
        signatures: Vec::new(),
        ..blank.clone()
    };
    facts.disks = (0..200).map(|at| disk(&format!("ata-Disk_{at}"), at)).collect();
    facts.disks.push(disk("nvme-Disk_A", 200));
    assert!(plan(&host, &facts).is_ok());
    // The same machine with other disks.
    facts.disks = (0..200).map(|at| disk(&format!("ata-Other_{at}"), at)).collect();
    let told = plan(&host, &facts).unwrap_err().to_string();
    assert!(told.ends_with("\nand 101 more") && told.len() < 100_000, "{}", told.len());
}

/// A machine with a pool of so many disks, each with this WWN and serial, and the document of it.
fn many(count: usize, id: fn(usize) -> String) -> (String, Facts) {
    let roles: Vec<String> = (0..count).map(|at| format!("\"disk-{at}\"")).collect();
    let text = MINIMAL.replace("\"one\", \"two\"", &roles.join(", "));
    let text = text.replace("[disks.one]\nid = \"ata-Disk_B\"\n", "");
    let text = text.replace("[disks.two]\nid = \"ata-Disk_C\"\n", "");
    let text = lines(&text, count, |at| format!("[disks.disk-{at}]\nid = \"{}\"", id(at)));
    let mut facts: Facts =
        serde_json::from_str(include_str!("../../../profiles/hypervisor/inventory.json")).unwrap();
    let blank = facts.disks.remove(0);
    let disk = |at: usize| DiskFacts {
        kernel_name: format!("sd{at}"),
        number: format!("8:{at}"),
        by_id: vec![id(at)],
        serial: Some(format!("S{at}")),
        wwn: None,
        diskseq: Some(at as u64),
        signatures: Vec::new(),
        ..blank.clone()
    };
    facts.disks = (0..count).map(disk).collect();
    (text, facts)
}

fn told(text: &str, facts: &Facts) -> String {
    let host = parse(text, "host.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let told = plan(&host, facts).unwrap_err().to_string();
    assert!(told.len() < 100_000, "{} bytes are told", told.len());
    told
}

#[test]
fn t59_many_disks_that_share_a_wwn_or_a_serial_are_told_in_short() {
    let (text, mut facts) = many(800, |at| format!("scsi-5000c50000000abc-{at}"));
    for disk in &mut facts.disks {
        disk.wwn = Some("0x5000c50000000abc".into());
    }
    let said = told(&text, &facts);
    assert!(said.contains("800 disks of the machine report this WWN"), "{said}");
    assert!(said.contains(", and 788 more\n"), "{said}");
    for disk in &mut facts.disks {
        (disk.wwn, disk.serial) = (None, Some("S".into()));
    }
    let said = told(&text, &facts);
    assert!(said.contains(", and 787 more\n"), "{said}");
}

#[test]
fn t59_for_many_disks_that_are_gone_the_others_are_looked_at_once() {
    let (text, mut facts) = many(1_000, |at| format!("ata-Disk_{at}"));
    for disk in &mut facts.disks {
        disk.by_id = (0..5).map(|at| format!("ata-Other-{}-{at}", disk.kernel_name)).collect();
    }
    let said = told(&text, &facts);
    assert!(said.contains(", and 988 more\n"), "{said}");
}

#[test]
fn t59_what_stands_on_a_disk_and_who_holds_it_is_told_in_short() {
    let (text, mut facts) = many(2, |at| format!("ata-Disk_{at}"));
    facts.disks[0].holders = (0..9_000).map(|at| format!("dm-{at} (x)")).collect();
    let volume = |at| Signature {
        partition: Some(at),
        kind: "ext4".into(),
        label: Some("x".repeat(200)),
        uuid: None,
        size: 1,
    };
    facts.disks[0].signatures = (0..9_000).map(volume).collect();
    let said = told(&text, &facts);
    assert!(said.contains("and 8980 more") && said.contains("; and 8960 more\n"), "{said}");
}

#[test]
fn t59_many_sticks_under_one_name_are_told_in_short() {
    let (text, mut facts) = many(2, |at| format!("ata-Disk_{at}"));
    let stick = "volume_id = \"1A2B-3C4D\"";
    assert!(text.contains(stick), "{text}");
    let text = text.replace(stick, &format!("{stick}\nid = \"usb-Stick\""));
    let one = facts.disks[0].clone();
    facts.disks.extend((0..3_000).map(|at| DiskFacts {
        number: format!("9:{at}"),
        diskseq: None,
        serial: Some("S".into()),
        by_id: vec!["usb-Stick".into(), format!("usb-{at}")],
        ..one.clone()
    }));
    let said = told(&text, &facts);
    assert!(said.contains("3000 sticks share this name"), "{said}");
    assert!(said.contains(" and 2980 more\n"), "{said}");
}
