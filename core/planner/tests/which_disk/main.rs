//! Which disk is which: names that stand for several disks, and disks that cannot be used (T56);
//! and what devices say of themselves (T59). Each wrong machine has a right neighbour.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod sticks;

use bedplate_document::parse;
use bedplate_model::facts::{DiskFacts, Facts, Signature, TokenFacts};
use bedplate_model::host::{HostFile, Stick, Wipe};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::plan::Plan;
use bedplate_planner::plan;

const OS: &str = "nvme-NORTHWIND_N9_7781";

fn host() -> HostFile {
    let text = r#"
schema = 1
[host]
id = "3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21"
name = "attic"
platform = "embedded"
state_version = "26.05"
[disks.os]
id = "nvme-NORTHWIND_N9_7781"
[disks.left]
id = "ata-SPINDLE_4000_L100"
[disks.right]
id = "ata-SPINDLE_4000_R200"
[os]
disk = "os"
[pools.photos]
mount = "/mnt/photos"
disks = ["left", "right"]
[unlock]
[[unlock.sticks]]
volume_id = "1A2B-3C4D"
"#;
    parse(text, "host.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

fn disk(name: &str, by_id: &[&str], serial: &str, transport: &str, size: u64) -> DiskFacts {
    serde_json::from_value(serde_json::json!({
        "kernel_name": name, "number": format!("8:{name}"), "by_id": by_id, "serial": serial,
        "size": size, "sector_size": 512, "rotational": false, "transport": transport,
    }))
    .unwrap()
}

fn facts() -> Facts {
    let disks = serde_json::to_value([
        disk("nvme0n1", &[OS, "nvme-NORTHWIND_N9_7781_1"], "7781", "nvme", 500_107_862_016),
        disk("sda", &["ata-SPINDLE_4000_L100"], "L100", "sata", 4_000_787_030_016),
        disk("sdb", &["ata-SPINDLE_4000_R200"], "R200", "sata", 4_000_787_030_016),
    ])
    .unwrap();
    serde_json::from_value(serde_json::json!({
        "schema": 1, "firmware": "uefi", "memory_bytes": 8_589_934_592_u64, "disks": disks,
    }))
    .unwrap()
}

fn of<'f>(facts: &'f mut Facts, name: &str) -> &'f mut DiskFacts {
    facts.disks.iter_mut().find(|disk| disk.kernel_name == name).unwrap()
}

type Bend<'b> = &'b dyn Fn(&mut HostFile, &mut Facts);

fn planned(bend: Bend<'_>) -> Plan {
    let (mut host, mut facts) = (host(), facts());
    bend(&mut host, &mut facts);
    plan(&host, &facts).unwrap_or_else(|error| panic!("{error}"))
}

/// What is said; every word must be in it.
fn refused(words: &[&str], bend: Bend<'_>) -> String {
    let (mut host, mut facts) = (host(), facts());
    bend(&mut host, &mut facts);
    let said = plan(&host, &facts).expect_err("this must be refused").to_string();
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
    said
}

fn named(host: &mut HostFile, role: &str, id: &str) {
    host.disks.get_mut(role).unwrap().id = id.parse().unwrap();
}

fn share_wwn(facts: &mut Facts, wwn: &str) {
    of(facts, "sda").wwn = Some(wwn.into());
    of(facts, "sdb").wwn = Some(wwn.into());
    let link = format!("wwn-0x{}", wwn.trim_start_matches("0x").trim_start_matches("naa."));
    of(facts, "sdb").by_id.push(link);
}

#[test]
fn t56_two_disks_of_one_wwn_are_two_by_their_serials() {
    for wwn in ["0x0000000000000000", "naa.5000000000000000", "0x50014ee20c0ffee1"] {
        planned(&|_, facts| share_wwn(facts, wwn));
    }
    let paths = |_: &mut HostFile, facts: &mut Facts| {
        share_wwn(facts, "0x50014ee20c0ffee1");
        of(facts, "sda").serial = Some("R200".into());
    };
    refused(&["right", "this is the same disk as left"], &paths);
    refused(&["this is the same disk as left"], &|_, facts| {
        share_wwn(facts, "0x50014ee20c0ffee1");
        (of(facts, "sda").serial, of(facts, "sdb").serial) = (None, None);
    });
    planned(&|_, facts| {
        share_wwn(facts, "0x5000000000000000");
        (of(facts, "sda").serial, of(facts, "sdb").serial) = (None, None);
    });
}

#[test]
fn t56_an_id_shared_through_a_wwn_is_refused_and_both_disks_are_named() {
    let shared = |host: &mut HostFile, facts: &mut Facts| {
        share_wwn(facts, "0x5000000000000001");
        named(host, "right", "wwn-0x5000000000000001");
    };
    let said = refused(&["2 disks", "serial L100", "serial R200"], &shared);
    assert!(said.contains("write `id = \"ata-SPINDLE_4000_R200\"`"), "{said}");
    planned(&|host, facts| {
        shared(host, facts);
        of(facts, "sda").wwn = Some("0x5000000000000002".into());
    });
}

#[test]
fn t56_the_bare_name_of_a_controller_with_two_namespaces_is_refused() {
    let second = |facts: &mut Facts, by_id: &[&str]| {
        let mut second = disk("nvme0n2", by_id, "7781", "nvme", 480_000_000_000);
        second.wwn = Some("eui.0100000000000000ab".into());
        of(facts, "nvme0n1").wwn = Some("eui.0100000000000000aa".into());
        facts.disks.push(second);
    };
    for names in [&["nvme-NORTHWIND_N9_7781_2"][..], &["nvme-eui.0100000000000000ab"]] {
        refused(&["more than one namespace", "nvme-NORTHWIND_N9_7781_1"], &|_, facts| {
            second(facts, names);
        });
        planned(&|host, facts| {
            second(facts, names);
            named(host, "os", "nvme-NORTHWIND_N9_7781_1");
        });
    }
}

#[test]
fn t56_names_of_content_are_no_names_of_a_disk() {
    for name in ["lvm-pv-uuid-Abc-1", "dm-uuid-LVM-Abc", "md-uuid-1:2:3:4"] {
        refused(&["goes with it", "ata-SPINDLE_4000_L100"], &|host, facts| {
            of(facts, "sda").by_id.push(name.into());
            named(host, "left", name);
        });
        refused(&["what stood on it"], &|host, _| named(host, "left", name));
        planned(&|_, facts| of(facts, "sda").by_id.push(name.into()));
    }
}

const STICK: &str = "usb-Pebble_Stick_0042-0:0";

#[test]
fn t56_the_system_starts_from_no_disk_of_the_network() {
    type Reach = (&'static str, fn(&mut DiskFacts));
    let reached: [Reach; 3] = [
        ("NVMe/TCP", |disk| disk.modules = vec!["nvme_core".into(), "nvme_tcp".into()]),
        ("NVMe/RDMA", |disk| disk.network = Some("rdma".into())),
        ("iSCSI", |disk| disk.network = Some("iscsi".into())),
    ];
    for (name, bend) in reached {
        refused(&["os", name, "over the network"], &|_, facts| bend(of(facts, "nvme0n1")));
        let plan = planned(&|_, facts| bend(of(facts, "sda")));
        assert!(plan.warnings.concat().contains(name), "{:?}", plan.warnings);
    }
    let own = planned(&|_, facts| of(facts, "nvme0n1").modules = vec!["nvme".into()]);
    assert_eq!(own.warnings, Vec::<String>::new());
}

#[test]
fn t56_zoned_disks_other_processors_and_32_bit_firmware_are_refused() {
    refused(&["left", "host-managed"], &|_, facts| {
        of(facts, "sda").zoned = Some("host-managed".into());
    });
    planned(&|_, facts| of(facts, "sda").zoned = Some("host-aware".into()));
    refused(&["aarch64-linux"], &|_, facts| facts.platform = Some("aarch64-linux".into()));
    refused(&["32-bit UEFI"], &|_, facts| facts.firmware_bits = Some(32));
    let plain = planned(&|_, _| ());
    let known = planned(&|_, facts| {
        facts.platform = Some("x86_64-linux".into());
        facts.firmware_bits = Some(64);
    });
    assert_eq!(plain, known, "an inventory that does not know is no reason to refuse");
}

#[test]
fn t56_a_pool_that_cannot_keep_two_copies_apart_is_warned_of() {
    let unequal = planned(&|_, facts| of(facts, "sdb").size = 500_107_862_016);
    assert!(unequal.warnings.concat().contains("3.5 TB of left"), "{:?}", unequal.warnings);
    let bays = planned(&|_, facts| {
        of(facts, "sda").wwn = Some("0x1000000000000001".into());
        of(facts, "sdb").wwn = Some("0x1000000000000002".into());
        of(facts, "sdb").serial = Some("L100".into());
    });
    assert!(bays.warnings.concat().contains("parts of one device"), "{:?}", bays.warnings);
    let nearly = planned(&|_, facts| of(facts, "sdb").size -= 4_000_000_000);
    assert_eq!(nearly.warnings, Vec::<String>::new());
}

#[test]
fn t56_a_missing_disk_is_given_no_substitute_that_would_be_refused() {
    let gone = |host: &mut HostFile| named(host, "os", "nvme-GONE_1");
    let said = refused(&["choose one without a role", "nvme-NORTHWIND_N9_7781"], &|host, facts| {
        gone(host);
        let mut small = disk("sdx", &["usb-Tiny_1-0:0"], "T", "usb", 64 << 20);
        facts.disks.push(small.clone());
        (small.size, small.read_only, small.by_id) =
            (64 << 30, true, vec!["usb-Locked-0:0".into()]);
        facts.disks.push(small);
    });
    assert!(!said.contains("Tiny") && !said.contains("Locked"), "{said}");
    refused(&["vda (32 GB)", "serial="], &|host, facts| {
        gone(host);
        facts.disks.remove(0);
        facts.disks.push(disk("vda", &[], "", "virtio", 32_000_000_000));
    });
    let said = refused(&["and 38 more"], &|host, facts| {
        gone(host);
        for number in 0..49 {
            let id = format!("ata-SPARE_{number}");
            facts.disks.push(disk(&id, &[&id], &id, "sata", 64 << 30));
        }
    });
    assert!(said.len() < 1000, "{said}");
}

/// The finished volume of `role`, as a former installation left it.
fn keep(facts: &mut Facts, name: &str, role: &str) {
    let uuid = derive(host().host.id, Purpose::Luks, role, 0).to_string();
    let disk = of(facts, name);
    let found = |partition, kind: &str, uuid: &str| Signature {
        partition,
        kind: kind.into(),
        label: None,
        uuid: Some(uuid.into()),
        size: 1 << 40,
    };
    disk.signatures = vec![found(None, "gpt", "x"), found(Some(1), "crypto_LUKS", &uuid)];
    disk.bedplate = Some(TokenFacts {
        plan: "feed".into(),
        luks_uuid: uuid,
        sealed: true,
        sealed_at: None,
        sections: Default::default(),
        boots: None,
    });
}

fn kept(host: &mut HostFile, facts: &mut Facts) {
    for role in ["left", "right"] {
        host.disks.get_mut(role).unwrap().wipe = Wipe::Never;
    }
    keep(facts, "sda", "left");
    keep(facts, "sdb", "right");
}

#[test]
fn t56_a_kept_member_is_found_by_its_volume_and_never_replaced_while_it_is_healthy() {
    planned(&kept);
    let swapped = |host: &mut HostFile, facts: &mut Facts| {
        kept(host, facts);
        named(host, "left", "ata-SPINDLE_4000_R200");
        named(host, "right", "ata-SPINDLE_4000_L100");
    };
    refused(
        &[
            "the finished volume of `right` stands on it",
            "write `id = \"ata-SPINDLE_4000_L100\"` in `[disks.left]`",
        ],
        &swapped,
    );
    let moved = |host: &mut HostFile, facts: &mut Facts| {
        kept(host, facts);
        of(facts, "sda").by_id = vec!["usb-Bay_L100-0:0".into()];
    };
    let said = refused(&["write `id = \"usb-Bay_L100-0:0\"` in `[disks.left]`"], &moved);
    assert!(!said.contains("pool replace"), "{said}");
    let said = refused(&["other sectors", "4096", "as it was before"], &|host, facts| {
        kept(host, facts);
        let disk = of(facts, "sda");
        (disk.sector_size, disk.bedplate) = (4096, None);
        disk.signatures.truncate(1);
        (disk.signatures[0].kind, disk.signatures[0].uuid) = ("PMBR".into(), None);
    });
    assert!(!said.contains("pool replace"), "{said}");
    let said = refused(&["pool replace"], &|host, facts| {
        kept(host, facts);
        facts.disks.retain(|disk| disk.kernel_name != "sda");
    });
    assert!(said.contains("if it is lost"), "{said}");
}

#[test]
fn t56_two_sizes_that_differ_never_look_equal() {
    let expect = |size| {
        move |host: &mut HostFile, facts: &mut Facts| {
            host.disks.get_mut("os").unwrap().expect_size = Some(size);
            of(facts, "nvme0n1").size = 1_024_209_543_168;
        }
    };
    refused(&["(1.02 TB)", "(1 TB)"], &expect(1_000_000_000_000));
    planned(&expect(1_024_209_543_168));
}

#[test]
fn t59_no_text_of_a_device_is_long_or_moves_the_cursor() {
    let evil = format!("\u{1b}[2J\nall is well{}", "x".repeat(65_536));
    let bend = |_: &mut HostFile, facts: &mut Facts| {
        for disk in &mut facts.disks {
            (disk.model, disk.transport) = (Some(evil.clone()), evil.clone());
            disk.holders = vec![evil.clone()];
            let (partition, kind) = (Some(1), evil.clone());
            let (label, uuid) = (Some(evil.clone()), None);
            disk.signatures = vec![Signature { partition, kind, label, uuid, size: 1 }];
        }
        of(facts, "sda").serial = Some(evil.clone());
        of(facts, "sdb").serial = Some(evil.clone());
        facts.platform = Some(evil.clone());
    };
    let said = refused(&["u{1b}[2J"], &bend);
    assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
    assert!(!said.contains("\nall is well") && said.len() < 8000, "{}", said.len());
}

#[test]
fn t56_one_wwn_is_one_in_every_form_that_drivers_write() {
    let shared = |host: &mut HostFile, facts: &mut Facts| {
        share_wwn(facts, "0x5000c50000000abc");
        named(host, "right", "wwn-0x5000c50000000abc");
    };
    for other in ["naa.5000c50000000abc", "NAA.5000C50000000ABC", "0X5000c50000000abc "] {
        refused(&["2 disks", "serial L100", "serial R200"], &|host, facts| {
            shared(host, facts);
            of(facts, "sda").wwn = Some(other.into());
        });
    }
    planned(&|host, facts| {
        shared(host, facts);
        of(facts, "sda").wwn = Some("naa.5000c50000000abd".into());
    });
}

#[test]
fn t56_a_wwn_that_firmware_left_blank_makes_no_two_disks_one() {
    let unnamed = |facts: &mut Facts, wwn: &str| {
        share_wwn(facts, wwn);
        (of(facts, "sda").serial, of(facts, "sdb").serial) = (None, None);
    };
    let blank = [
        "0xffffffffffffffff",
        "eui.FFFFFFFFFFFFFFFF",
        "uuid.00000000-0000-0000-0000-000000000000",
        "eui.0000000000000001",
        "eui.0000000001000000",
        "0x5000000000000001",
        "0x3000000000000000",
        "NAA.5000000000000000",
    ];
    for wwn in blank {
        planned(&|_, facts| unnamed(facts, wwn));
    }
    for wwn in ["0x5000c50000000abc", "eui.00000000000000100008", "0x5000ffffffffffff"] {
        refused(&["this is the same disk as left"], &|_, facts| unnamed(facts, wwn));
    }
}

#[test]
fn t56_a_serial_is_padded_here_and_there_and_blanks_in_it_are_lines_in_names() {
    let second = |facts: &mut Facts, serial: &str| {
        let mut second = disk("nvme0n2", &[], serial, "nvme", 480_000_000_000);
        second.wwn = Some("eui.0100000000000000ab".into());
        of(facts, "nvme0n1").wwn = Some("eui.0100000000000000aa".into());
        of(facts, "nvme0n1").by_id = vec![OS.into()];
        facts.disks.push(second);
    };
    refused(&["more than one namespace", "disconnect what shares"], &|_, facts| {
        second(facts, "7781    ");
    });
    refused(&["more than one namespace"], &|host, facts| {
        second(facts, "77 81");
        of(facts, "nvme0n1").serial = Some("77 81 ".into());
        of(facts, "nvme0n1").by_id = vec!["nvme-NORTHWIND_N9_77_81".into()];
        named(host, "os", "nvme-NORTHWIND_N9_77_81");
    });
    refused(&["another disk reports the same serial: sdz"], &|_, facts| {
        facts.disks.push(disk("sdz", &[], " L100 ", "sata", 1 << 40));
    });
    planned(&|_, facts| facts.disks.push(disk("sdz", &[], "L 100", "sata", 1 << 40)));
}

#[test]
fn t56_the_system_starts_from_no_disk_that_software_makes_or_the_network_brings() {
    for (transport, name) in [("aoe", "AoE"), ("rbd", "Ceph"), ("nbd", "NBD")] {
        refused(&["os", name, "over the network"], &|_, facts| {
            of(facts, "nvme0n1").transport = transport.into();
        });
    }
    for (module, name) in [("nvme_fc", "NVMe/FC"), ("qla4xxx", "iSCSI"), ("fcoe", "FCoE")] {
        refused(&["os", name, "over the network"], &|_, facts| {
            of(facts, "nvme0n1").modules = vec![module.into()];
        });
    }
    for made in ["ram", "bcache", "drbd", "zvol"] {
        refused(&["left", "this is no disk"], &|_, facts| of(facts, "sda").transport = made.into());
    }
    // A host adapter of Fibre Channel asks nothing of the network.
    planned(&|_, facts| of(facts, "nvme0n1").modules = vec!["qla2xxx".into()]);
}

#[test]
fn t56_a_name_of_content_that_is_gone_is_answered_in_whole_sentences() {
    let said = refused(&["write the name of the disk itself, or choose one"], &|host, _| {
        named(host, "left", "dm-name-old");
    });
    assert!(!said.contains("help: ,") && !said.contains("help: ;"), "{said}");
}

#[test]
fn t56_a_second_path_and_a_disk_with_a_twin_are_not_suggested() {
    let gone = |facts: &mut Facts, other: DiskFacts| {
        facts.disks.push(other);
        facts.disks.push(disk("sdg", &["ata-GOOD_1"], "G1", "sata", 64 << 30));
    };
    let suggested = |bend: Bend<'_>| {
        let said = refused(&["ata-GOOD_1"], bend);
        said.lines().find(|line| line.contains("choose one")).unwrap().to_owned()
    };
    let said = suggested(&|host, facts| {
        named(host, "os", "nvme-GONE_1");
        let mut path = disk("sdp", &["scsi-PATH"], "L100", "scsi", 4_000_787_030_016);
        (path.wwn, of(facts, "sda").wwn) =
            (Some("0x5000c5001".into()), Some("naa.5000C5001".into()));
        gone(facts, path);
    });
    assert!(!said.contains("PATH"), "{said}");
    let said = suggested(&|host, facts| {
        named(host, "os", "nvme-GONE_1");
        for name in ["sdt", "sdu"] {
            facts.disks.push(disk(name, &[&format!("usb-TWIN-{name}")], "T", "usb", 64 << 30));
        }
        gone(facts, disk("sdv", &["usb-ALONE"], "V", "usb", 64 << 30));
    });
    assert!(said.contains("usb-ALONE") && !said.contains("TWIN"), "{said}");
}

#[test]
fn t56_an_inventory_without_disks_is_told_as_that() {
    let said = refused(&["the inventory has no disk at all"], &|_, facts| facts.disks.clear());
    assert!(!said.contains("has a role already"), "{said}");
    let taken = |host: &mut HostFile, _: &mut Facts| named(host, "os", "nvme-GONE_1");
    refused(&["every disk of the machine has a role already"], &|host, facts| {
        taken(host, facts);
        facts.disks.remove(0);
    });
}
