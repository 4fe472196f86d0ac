//! Key sticks: which device is one, which cannot become one, and two names of one.

use super::*;

/// A blank stick that is to be made the key stick, and perhaps its twin.
fn sticks(host: &mut HostFile, facts: &mut Facts, twin: Option<&str>) {
    host.unlock.sticks = vec![Stick { volume_id: "1A2B-3C4D".into(), id: STICK.parse().ok() }];
    facts.disks.push(disk("sdc", &[STICK], "0042", "usb", 16_000_000_000));
    if let Some(serial) = twin {
        facts.disks.push(disk("sdd", &[], serial, "usb", 16_000_000_000));
    }
}

#[test]
fn t56_two_sticks_under_one_name_and_the_medium_are_no_key_stick() {
    planned(&|host, facts| sticks(host, facts, None));
    planned(&|host, facts| sticks(host, facts, Some("0043")));
    refused(&["2 sticks share this name", "the booted medium"], &|host, facts| {
        sticks(host, facts, Some("0042"));
        facts.boot_medium = Some("sdc".into());
    });
    refused(&["1A2B-3C4D", "the medium the machine was booted from"], &|host, facts| {
        sticks(host, facts, None);
        facts.boot_medium = Some("sdc".into());
    });
    // One that was made already is known by its volume id.
    planned(&|host, facts| {
        sticks(host, facts, Some("0042"));
        let (partition, label, uuid) = (Some(1), None, Some("1A2B-3C4D".into()));
        let volume = Signature { partition, kind: "vfat".into(), label, uuid, size: 1 << 30 };
        of(facts, "sdd").signatures = vec![volume];
        facts.boot_medium = Some("sdc".into());
    });
}

#[test]
fn t56_a_key_stick_under_the_name_of_another_is_refused_by_the_document() {
    let text = include_str!("../../../../profiles/hypervisor/host.toml");
    let stick = |volume: &str, id: &str| {
        format!("\n[[unlock.sticks]]\nvolume_id = \"{volume}\"\nid = \"{id}\"\n")
    };
    let both = |second: &str| {
        parse(&format!("{text}{}{}", stick("AAAA-0001", STICK), stick("AAAA-0002", second)), "x")
    };
    let said = both(STICK).unwrap_err().to_string();
    assert!(said.contains("another stick's already"), "{said}");
    both("usb-Pebble_Stick_0043-0:0").unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn t56_a_key_stick_that_would_not_be_formatted_is_told_before_the_installation() {
    let with = |bend: fn(&mut DiskFacts)| {
        move |host: &mut HostFile, facts: &mut Facts| {
            sticks(host, facts, None);
            bend(of(facts, "sdc"));
        }
    };
    let volume = |kind: &str, uuid: &str| Signature {
        partition: None,
        kind: kind.into(),
        label: None,
        uuid: Some(uuid.into()),
        size: 1 << 30,
    };
    refused(&["key stick 1A2B-3C4D", "read-only"], &with(|disk| disk.read_only = true));
    refused(&["in use"], &with(|disk| disk.holders = vec!["mounted at /x".into()]));
    refused(&["this is no stick"], &with(|disk| disk.transport = "optical".into()));
    let full = |host: &mut HostFile, facts: &mut Facts| {
        sticks(host, facts, None);
        of(facts, "sdc").signatures = vec![volume("ntfs", "x")];
    };
    refused(&["not blank: ntfs", "wipefs"], &full);
    planned(&|host, facts| {
        sticks(host, facts, None);
        of(facts, "sdc").signatures = vec![volume("unfinished", "1A2B-3C4D")];
    });
    // Nothing is formatted beside what is kept, and the stick of its keys is another.
    planned(&|host, facts| {
        kept(host, facts);
        full(host, facts);
    });
}

#[test]
fn t56_two_key_sticks_are_two_devices() {
    let second = |id: &str| {
        let id = id.to_owned();
        move |host: &mut HostFile, facts: &mut Facts| {
            sticks(host, facts, None);
            of(facts, "sdc").by_id.push("wwn-0x5000c50000000042".into());
            facts.disks.push(disk("sdd", &["usb-Other_1-0:0"], "1", "usb", 16_000_000_000));
            host.unlock.sticks.push(Stick { volume_id: "AAAA-0002".into(), id: id.parse().ok() });
        }
    };
    refused(&["1A2B-3C4D and AAAA-0002 are one stick"], &second("wwn-0x5000c50000000042"));
    planned(&second("usb-Other_1-0:0"));
}
