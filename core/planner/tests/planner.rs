//! Planning: the profile and its inventory, bent in one way a test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use bedplate_document::parse;
use bedplate_model::facts::{
    DiskFacts, Facts, FirmwareKind, Signature, SystemImageFacts, TokenFacts,
};
use bedplate_model::host::{HostFile, Platform, Wipe};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::plan::Holder;
use bedplate_model::plan::{Partition, Plan, Step};
use bedplate_planner::plan;

fn host() -> HostFile {
    parse(include_str!("../../../profiles/hypervisor/host.toml"), "host.toml").unwrap()
}

fn facts() -> Facts {
    serde_json::from_str(include_str!("../../../profiles/hypervisor/inventory.json")).unwrap()
}

fn disk<'f>(facts: &'f mut Facts, kernel_name: &str) -> &'f mut DiskFacts {
    facts.disks.iter_mut().find(|disk| disk.kernel_name == kernel_name).unwrap()
}

fn signature(partition: Option<u32>, kind: &str, uuid: Option<String>) -> Signature {
    Signature { partition, kind: kind.into(), label: None, uuid, size: 500_107_862_016 }
}

fn set_wipe(host: &mut HostFile, wipe: Wipe) {
    host.disks.values_mut().for_each(|disk| disk.wipe = wipe);
}

/// Snapshot of the refusals; a plan instead fails the test.
fn refused(name: &str, bend: impl FnOnce(&mut HostFile, &mut Facts)) {
    let (mut host, mut facts) = (host(), facts());
    bend(&mut host, &mut facts);
    let error = plan(&host, &facts).expect_err("this must be refused");
    insta::assert_snapshot!(name, error.to_string());
}

fn planned(bend: impl FnOnce(&mut HostFile, &mut Facts)) -> Plan {
    let (mut host, mut facts) = (host(), facts());
    bend(&mut host, &mut facts);
    plan(&host, &facts).unwrap_or_else(|error| panic!("{error}"))
}

/// What an interrupted run leaves behind: labels and headers with the identities of `role`.
fn leave(facts: &mut Facts, kernel_name: &str, role: &str, found: Option<TokenFacts>) {
    let id = host().host.id;
    let luks = if role == "os" { 2 } else { 1 };
    let uuid = |purpose| Some(derive(id, purpose, role, 0).to_string());
    let disk = disk(facts, kernel_name);
    disk.signatures = vec![signature(None, "gpt", uuid(Purpose::GptDisk))];
    if found.is_some() {
        disk.signatures.push(signature(Some(luks), "crypto_LUKS", uuid(Purpose::Luks)));
    }
    disk.bedplate = found;
}

fn found(plan: &str, sealed: bool) -> Option<TokenFacts> {
    Some(TokenFacts {
        plan: plan.into(),
        luks_uuid: "x".into(),
        sealed,
        sealed_at: None,
        sections: Default::default(),
        boots: None,
    })
}

#[test]
fn the_profile_is_planned() {
    let plan = planned(|_, _| {});
    assert!(plan.destroys.is_empty());
    insta::assert_json_snapshot!("profile", plan);
}

#[test]
fn steps_have_distinct_ids_and_their_disks_in_the_title() {
    let summaries = planned(|_, _| {}).summaries();
    let mut ids: Vec<&str> = summaries.iter().map(|summary| summary.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), summaries.len());
    assert!(summaries.iter().any(|summary| {
        summary.id == "luks-vm3" && summary.title == "Encrypt vm3 (nvme-CT500P3SSD8_2231E6401234)"
    }));
}

#[test]
fn shuffled_disks_give_the_same_plan() {
    let first = serde_json::to_vec(&planned(|_, _| {})).unwrap();
    for shift in 1..9 {
        let again = planned(|_, facts| {
            facts.disks.rotate_left(shift);
            for (index, disk) in facts.disks.iter_mut().enumerate() {
                if disk.kernel_name != "sde" {
                    disk.kernel_name = format!("sd{index}");
                }
                disk.number = format!("8:{}", index * 16);
                disk.diskseq = Some(100 + index as u64);
            }
        });
        assert_eq!(first, serde_json::to_vec(&again).unwrap(), "rotated by {shift}");
    }
    let no_medium = planned(|_, facts| {
        facts.disks.retain(|disk| disk.kernel_name != "sde");
        facts.boot_medium = None;
    });
    assert_eq!(first, serde_json::to_vec(&no_medium).unwrap());
}

#[test]
fn the_hash_follows_document_and_identity_but_not_expect_plan() {
    let hash = planned(|_, _| {}).hash;
    assert_eq!(hash, planned(|host, _| host.install.expect_plan = Some(hash.clone())).hash);
    assert_eq!(hash, planned(|host, _| set_wipe(host, Wipe::Ours)).hash);
    let other = [
        planned(|host, _| host.host.timezone = "UTC".into()).hash,
        planned(|_, facts| disk(facts, "sda").serial = Some("other".into())).hash,
        planned(|_, facts| disk(facts, "sda").size += 4096).hash,
        planned(|_, facts| disk(facts, "sda").wwn = None).hash,
        planned(|host, facts| {
            set_wipe(host, Wipe::Any);
            disk(facts, "sda").signatures = vec![signature(None, "btrfs", None)];
        })
        .hash,
    ];
    assert!(!other.contains(&hash));
}

#[test]
fn partitions_are_aligned_and_leave_room_for_the_backup_label() {
    for size in [4 << 30, (4 << 30) + 512, 500_107_862_016_u64] {
        for sector_size in [512, 4096] {
            let plan = planned(|host, facts| {
                host.disks.get_mut("os").unwrap().expect_size = None;
                let os = disk(facts, "nvme0n1");
                (os.size, os.sector_size) = (size, sector_size);
            });
            let partitions = plan.steps.iter().find_map(|step| match step {
                Step::Partition { role, partitions, .. } if role == "os" => Some(partitions),
                _ => None,
            });
            let [esp, luks]: &[Partition; 2] = partitions.unwrap().as_slice().try_into().unwrap();
            assert_eq!((esp.start, esp.length), (1 << 20, 1 << 30));
            assert_eq!(luks.start, esp.start + esp.length);
            let end = luks.start + luks.length;
            assert!(
                end.is_multiple_of(1 << 20)
                    && end + (1 << 20) <= size
                    && end + (2 << 20) > size - 512
            );
        }
    }
}

#[test]
fn t01_the_boot_medium_is_refused() {
    refused("t01_boot_medium", |host, facts| {
        let os = host.disks.get_mut("os").unwrap();
        os.id = "usb-Kingston_DataTraveler_3.0_E0D55EA573DCF450A97C0123-0:0".parse().unwrap();
        os.expect_size = None;
        disk(facts, "sde").signatures.clear();
    });
}

#[test]
fn t02_two_names_of_one_disk_are_refused() {
    refused("t02_by_number", |host, _| {
        host.disks.get_mut("vm3").unwrap().id =
            "nvme-Samsung_SSD_970_EVO_500GB_S466NX0M701234A_1".parse().unwrap();
    });
    refused("t02_by_wwn", |_, facts| {
        let path = disk(facts, "sdb").clone();
        let again = disk(facts, "sdc");
        (again.wwn, again.serial, again.model) = (path.wwn, path.serial, path.model);
        (again.size, again.sector_size) = (path.size, path.sector_size);
    });
    refused("t02_by_diskseq", |_, facts| disk(facts, "sdc").diskseq = disk(facts, "sdb").diskseq);
}

#[test]
fn t04_disks_that_cannot_be_told_apart_are_refused() {
    refused("t04_cloned_serial", |_, facts| {
        let mut clone = disk(facts, "sdc").clone();
        (clone.kernel_name, clone.number, clone.diskseq) = ("sdf".into(), "8:80".into(), Some(20));
        (clone.wwn, clone.by_id) = (None, vec!["usb-clone".into()]);
        facts.disks.push(clone);
    });
    refused("t04_one_name_of_two_disks", |_, facts| {
        let name = "ata-TOSHIBA_HDWD120_Y0A1B2CAS";
        disk(facts, "sdb").by_id.push(name.into());
    });
}

#[test]
fn t05_disks_in_use_are_refused() {
    refused("t05_holders", |_, facts| {
        disk(facts, "sda").holders = vec!["md127".into(), "dm-3 (luks-x)".into()];
        disk(facts, "sdb").holders = vec!["mounted at /mnt/old".into()];
    });
}

fn photos() -> Vec<Signature> {
    let label = Some("photos\u{1b}[2J".into());
    vec![Signature { label, ..signature(Some(1), "btrfs", None) }, signature(None, "gpt", None)]
}

#[test]
fn t06_content_is_refused_without_consent() {
    refused("t06_blank", |_, facts| disk(facts, "nvme0n1").signatures = photos());
    refused("t06_ours", |host, facts| {
        set_wipe(host, Wipe::Ours);
        disk(facts, "nvme0n1").signatures = photos();
    });
}

#[test]
fn t06_content_is_destroyed_with_consent_and_listed() {
    let plan = planned(|host, facts| {
        set_wipe(host, Wipe::Any);
        disk(facts, "nvme0n1").signatures = photos();
        leave(facts, "sda", "bulk1", found("feedfacefeedface", true));
    });
    insta::assert_json_snapshot!("t06_destroys", plan.destroys);
    assert_eq!(plan.destroyed_lines().len(), 5);
}

#[test]
fn t07_an_interrupted_run_of_this_plan_is_finished() {
    let hash = planned(|_, _| {}).hash;
    let again = planned(|host, facts| {
        set_wipe(host, Wipe::Ours);
        leave(facts, "nvme0n1", "os", found(&hash, false));
        leave(facts, "sda", "bulk1", None);
    });
    assert_eq!(again.hash, hash);
    let resumed: Vec<&str> =
        again.disks.iter().filter(|disk| disk.resume).map(|disk| disk.role.as_str()).collect();
    assert_eq!(resumed, ["os", "bulk1"]);
    assert!(again.destroys.is_empty());
}

#[test]
fn t07_a_run_cut_off_while_sealing_is_finished() {
    let hash = planned(|_, _| {}).hash;
    let again = planned(|host, facts| {
        set_wipe(host, Wipe::Ours);
        leave(facts, "nvme0n1", "os", found(&hash, true));
        leave(facts, "sda", "bulk1", found(&hash, false));
    });
    assert_eq!((again.hash, again.disks.iter().filter(|disk| disk.resume).count()), (hash, 2));
}

#[test]
fn t07_work_that_is_not_to_be_finished_is_refused() {
    let hash = planned(|_, _| {}).hash;
    refused("t07_blank_refuses_unfinished", |_, facts| {
        leave(facts, "sda", "bulk1", found(&hash, false))
    });
    refused("t07_another_plan", |host, facts| {
        set_wipe(host, Wipe::Ours);
        leave(facts, "sda", "bulk1", found("feedfacefeedface", false));
    });
    refused("t07_finished", |host, facts| {
        set_wipe(host, Wipe::Ours);
        leave(facts, "nvme0n1", "os", found(&hash, true));
    });
    refused("t07_label_of_another_role", |host, facts| {
        set_wipe(host, Wipe::Ours);
        leave(facts, "sda", "bulk2", None);
    });
    refused("t07_foreign_partition_beside_ours", |host, facts| {
        set_wipe(host, Wipe::Ours);
        leave(facts, "sda", "bulk1", found(&hash, false));
        disk(facts, "sda").signatures.push(signature(Some(3), "ext4", None));
    });
}

#[test]
fn t08_partitions_small_disks_and_odd_sectors_are_refused() {
    refused("t08_partition", |_, facts| {
        let disk = disk(facts, "sda");
        disk.partition_by_id.append(&mut disk.by_id);
    });
    refused("t08_too_small", |host, facts| {
        host.disks.values_mut().for_each(|disk| disk.expect_size = None);
        disk(facts, "nvme0n1").size = 3 << 30;
        disk(facts, "sda").size = 100 << 20;
    });
    refused("t08_sectors", |host, facts| {
        host.os.esp_size = 128 << 20;
        disk(facts, "nvme0n1").sector_size = 4096;
        disk(facts, "sda").sector_size = 520;
    });
}

#[test]
fn identity_that_differs_is_refused() {
    refused("missing", |_, facts| facts.disks.retain(|disk| disk.kernel_name != "sda"));
    refused("missing_with_others", |host, _| {
        host.disks.get_mut("bulk1").unwrap().id =
            "ata-ST4000VN006-3CW104_ZW601235".parse().unwrap();
    });
    refused("serial", |host, facts| {
        host.disks.get_mut("os").unwrap().expect_serial = Some("S466NX0M701234B".into());
        host.disks.get_mut("bulk1").unwrap().expect_serial = Some("ZW601234".into());
        disk(facts, "sda").serial = None;
    });
    refused("size", |host, facts| {
        disk(facts, "nvme0n1").size = 250_059_350_016;
        host.disks.get_mut("bulk1").unwrap().expect_size = Some(4_000_787_030_017);
    });
}

#[test]
fn machines_that_do_not_fit_are_refused() {
    refused("machine", |host, facts| {
        facts.firmware = FirmwareKind::Bios;
        facts.schema = 2;
        disk(facts, "sda").read_only = true;
        disk(facts, "sdb").transport = "md".into();
        host.disks.get_mut("bulk3").unwrap().wipe = Wipe::Never;
    });
    refused("expect_plan", |host, _| host.install.expect_plan = "0".repeat(64).parse().ok());
    refused("t10_two_sticks_with_one_volume_id", |_, facts| {
        let mut stick = disk(facts, "sdd").clone();
        (stick.kernel_name, stick.number, stick.diskseq) = ("sdf".into(), "8:80".into(), None);
        facts.disks.push(stick);
    });
}

#[test]
fn f8_a_disk_too_small_for_the_system_on_the_medium_is_refused() {
    refused("f8_closure_too_large", |host, facts| {
        host.os.esp_size = 2 << 30;
        disk(facts, "nvme0n1").size = 4 << 30;
        host.disks.get_mut("os").unwrap().expect_size = None;
        facts.closure_bytes = Some(700 << 20);
    });
}

#[test]
fn f8_a_machine_of_nixos_needs_no_room_for_the_live_system() {
    planned(|host, facts| {
        host.host.platform = Platform::Nixos;
        facts.closure_bytes = Some(700 << 30);
        facts.built_bytes = Some(2 << 30);
    });
    refused("f8_built_closure_too_large", |host, facts| {
        host.host.platform = Platform::Nixos;
        facts.closure_bytes = Some(700 << 30);
        facts.built_bytes = Some(600 << 30);
    });
}

/// A medium whose file system image needs so many bytes.
fn image(facts: &mut Facts, size: u64) {
    facts.system_image = Some(SystemImageFacts { size, bytes: 300_000_000 });
}

fn writes_system(bend: impl FnOnce(&mut HostFile, &mut Facts)) -> bool {
    let plan = planned(bend);
    let ids: Vec<String> = plan.steps.iter().map(Step::id).collect();
    let (made, written) =
        (ids.contains(&"btrfs-os".to_owned()), ids.contains(&"write-system".to_owned()));
    assert_ne!(made, written, "the file system comes about in one way");
    written
}

#[test]
fn the_medium_s_file_system_is_written_where_it_is_what_the_document_asks_for() {
    let size = 600_000_000;
    assert!(writes_system(|_, facts| image(facts, size)));
    assert!(!writes_system(|_, _| ()));
    assert!(!writes_system(|_, facts| image(facts, 500_107_862_016)), "it does not fit");
    assert!(!writes_system(|host, facts| {
        image(facts, size);
        let nix = host.os.subvolumes.remove("nix").unwrap();
        host.os.subvolumes.insert("store".into(), nix);
    }));
    assert!(!writes_system(|host, facts| {
        image(facts, size);
        host.host.platform = Platform::Nixos;
    }));
}

#[test]
fn a_system_of_nixos_that_was_built_in_advance_is_written_as_it_is_and_a_platform_s_is_not() {
    let built = |platform: Platform| {
        planned(|host, facts| {
            host.host.platform = platform;
            facts.built_image = Some(SystemImageFacts { size: 600_000_000, bytes: 400_000_000 });
        })
    };
    let of_nixos = built(Platform::Nixos);
    let written = of_nixos.steps.iter().find_map(|step| match step {
        Step::WriteSystem { image, bytes, .. } => Some((*image, *bytes)),
        _ => None,
    });
    assert_eq!(written, Some((Holder::Toplevel, 400_000_000)));
    // It is what an embedded system has beside its platform, and no store by itself.
    let of_embedded = built(Platform::Embedded);
    assert!(!of_embedded.steps.iter().any(|step| matches!(step, Step::WriteSystem { .. })));
}

#[test]
fn the_medium_s_file_system_does_not_change_the_hash() {
    let with = planned(|_, facts| image(facts, 600_000_000));
    assert_eq!(with.hash, planned(|_, _| ()).hash);
    let step = with.steps.iter().find(|step| matches!(step, Step::WriteSystem { .. })).unwrap();
    insta::assert_json_snapshot!("write_system", step);
    assert_eq!(step.title(), "Write file system os from the medium: 300 MB");
}

/// Ids of the steps that a step comes after.
fn after(plan: &Plan, id: &str) -> Vec<String> {
    let number = plan.steps.iter().position(|step| step.id() == id).unwrap();
    plan.after()[number].iter().map(|before| plan.steps[*before].id()).collect()
}

#[test]
fn tables_run_side_by_side_and_volumes_with_what_stands_on_them_but_not_the_two() {
    let plan = planned(|_, _| ());
    let comes_after = |one: &str, other: &str| after(&plan, one).contains(&other.to_owned());
    let beside = |one: &str, other: &str| !comes_after(one, other) && !comes_after(other, one);
    assert!(beside("partition-os", "partition-vm3") && beside("esp-os", "partition-vm3"));
    assert!(beside("luks-os", "luks-vm1") && beside("luks-os", "btrfs-vmstore"));
    // On one disk, and between laying out and filling.
    assert!(comes_after("esp-os", "partition-os"));
    assert!(comes_after("btrfs-vmstore", "luks-vm3"));
    assert!(
        comes_after("luks-bulk1", "partition-os") && comes_after("luks-bulk1", "partition-vm3")
    );
    // Everything else comes after all that stands before it.
    for (number, step) in plan.steps.iter().enumerate() {
        let may_run_beside = ["partition-", "esp-", "luks-", "btrfs-"];
        if !may_run_beside.iter().any(|kind| step.id().starts_with(kind)) {
            assert_eq!(plan.after()[number], (0..number).collect::<Vec<_>>(), "{}", step.id());
        }
    }
}
