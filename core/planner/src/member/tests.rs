use std::fmt::Debug;
use std::str::FromStr;

use super::*;
use bedplate_document as document;
use bedplate_model::facts::{FirmwareKind, Signature, TokenFacts};
use bedplate_model::plan::PartitionKind;

fn host() -> HostFile {
    let text = include_str!("../../../../profiles/hypervisor/host.toml");
    document::parse(text, "host.toml").unwrap()
}

fn blank(id: &str) -> DiskFacts {
    serde_json::from_value(serde_json::json!({
        "kernel_name": "nvme9n1", "number": "259:9", "by_id": [id], "serial": "NEW",
        "size": 1_000_204_886_016_u64, "sector_size": 512, "rotational": false, "transport": "nvme",
    }))
    .unwrap()
}

fn facts(disk: DiskFacts) -> Facts {
    Facts {
        schema: 1,
        disks: vec![disk],
        firmware: FirmwareKind::Uefi,
        firmware_bits: None,
        memory_bytes: 1 << 32,
        nics: Vec::new(),
        boot_medium: None,
        platform: None,
        microcode: None,
        closure_bytes: None,
        built_bytes: None,
        system_image: None,
        built_image: None,
    }
}

/// `vm2` is gone.
fn lost() -> PoolFacts {
    PoolFacts {
        mounted: true,
        devices: ["bedplate-vm1", "bedplate-vm3"].map(str::to_owned).into(),
        missing: BTreeMap::from([(2, Owner::Unknown)]),
        next_epoch: 1,
        ..PoolFacts::default()
    }
}

fn name<N: FromStr<Err: Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

/// One that lasts as long as the tests.
fn named<N: FromStr<Err: Debug>>(text: &str) -> &'static N {
    Box::leak(Box::new(name(text)))
}

fn request(task: MemberTask) -> MemberRequest<'static> {
    MemberRequest { task, role: named("vm2"), id: Some(named("nvme-NEW")), wipe: false }
}

fn ids(plan: &MemberPlan) -> Vec<&'static str> {
    plan.steps.iter().map(MemberStep::id).collect()
}

fn signature(partition: Option<u32>, kind: &str, uuid: Uuid) -> Signature {
    Signature { partition, kind: kind.into(), label: None, uuid: Some(uuid.to_string()), size: 1 }
}

/// What the token of a header says that an unfinished change has made.
fn begun(uuid: Uuid) -> Option<TokenFacts> {
    let (plan, luks_uuid, sections) = ("p".into(), uuid.to_string(), Default::default());
    Some(TokenFacts { plan, luks_uuid, sealed: false, sealed_at: None, sections, boots: None })
}

#[test]
fn f4_a_lost_disk_is_replaced_in_an_order_that_survives_a_power_cut() {
    let plan =
        plan_member(&host(), &facts(blank("nvme-NEW")), &lost(), &request(MemberTask::Replace))
            .unwrap();
    let wanted = ["partition", "luks", "record", "join", "leave", "convert", "save-header", "seal"];
    assert_eq!(ids(&plan), wanted);
    assert_eq!(plan.steps[4], MemberStep::Leave { device: Leaving::Missing(2) });
    let uuid = derive(host().host.id, Purpose::Luks, "vm2", 1);
    assert_eq!(plan.steps[7], MemberStep::Seal { uuid });
    assert_ne!(uuid, derive(host().host.id, Purpose::Luks, "vm2", 0));
    assert!(plan.destroys.is_empty());
}

#[test]
fn f10_a_run_that_was_cut_off_is_finished() {
    let host = host();
    let derived = |purpose| derive(host.host.id, purpose, "vm2", 1);
    let mut torn = blank("nvme-NEW");
    torn.signatures = vec![
        signature(None, "gpt", derived(Purpose::GptDisk)),
        signature(Some(1), "crypto_LUKS", derived(Purpose::Luks)),
    ];
    torn.bedplate = begun(derived(Purpose::Luks));
    let pool = PoolFacts { current: [derived(Purpose::Luks).to_string()].into(), ..lost() };
    let plan = plan_member(&host, &facts(torn), &pool, &request(MemberTask::Replace)).unwrap();
    assert!(plan.disk.unwrap().resume && plan.destroys.is_empty());

    // Joined: what is left needs no disk to be named.
    let mut joined = lost();
    joined.devices.insert("bedplate-vm2.1".into());
    let request = MemberRequest { id: None, ..request(MemberTask::Replace) };
    let plan = plan_member(&host, &facts(blank("nvme-OTHER")), &joined, &request).unwrap();
    assert_eq!(ids(&plan), ["leave", "convert", "save-header", "seal"]);
    joined.missing.clear();
    let plan = plan_member(&host, &facts(blank("nvme-OTHER")), &joined, &request).unwrap();
    assert_eq!(ids(&plan), ["convert", "save-header", "seal"]);
}

#[test]
fn f4_a_disk_that_still_works_is_copied_off() {
    let mut pool = lost();
    pool.missing.clear();
    pool.devices.insert("bedplate-vm2".into());
    let plan =
        plan_member(&host(), &facts(blank("nvme-NEW")), &pool, &request(MemberTask::Replace))
            .unwrap();
    let leaving = Leaving::Mapper(name("bedplate-vm2"));
    assert!(plan.steps.contains(&MemberStep::Leave { device: leaving }));
}

fn refusal(disk: DiskFacts, pool: &PoolFacts, request: &MemberRequest<'_>) -> String {
    plan_member(&host(), &facts(disk), pool, request).unwrap_err().to_string()
}

#[test]
fn t06_data_on_the_new_disk_needs_consent() {
    let mut used = blank("nvme-NEW");
    used.signatures = vec![signature(None, "btrfs", Uuid::from_u128(7))];
    let text = refusal(used.clone(), &lost(), &request(MemberTask::Replace));
    assert!(text.contains("not blank: btrfs") && text.contains("--wipe"), "{text}");
    let allowed = MemberRequest { wipe: true, ..request(MemberTask::Replace) };
    let plan = plan_member(&host(), &facts(used), &lost(), &allowed).unwrap();
    assert!(plan.destroyed_lines()[0].starts_with("vm2 (nvme-NEW): btrfs"));
}

#[test]
fn t07_nothing_that_this_machine_needs_is_ever_taken() {
    let host = host();
    let allowed = MemberRequest { wipe: true, ..request(MemberTask::Replace) };
    let stick = host.unlock.sticks[0].volume_id.clone();
    let mut key = blank("nvme-NEW");
    key.signatures = vec![Signature { uuid: Some(stick), ..signature(None, "vfat", Uuid::nil()) }];
    assert!(refusal(key, &lost(), &allowed).contains("key stick"));

    let member = derive(host.host.id, Purpose::Luks, "bulk1", 0);
    let mut locked = blank("nvme-NEW");
    locked.signatures = vec![signature(Some(1), "crypto_LUKS", member)];
    let pool = PoolFacts { current: [member.to_string()].into(), ..lost() };
    assert!(refusal(locked, &pool, &allowed).contains("a member of a pool"));

    let mut other = blank("nvme-NEW");
    other.by_id.push(host.disks["bulk2"].id.to_string());
    assert!(refusal(other, &lost(), &allowed).contains("the disk of `bulk2`"));

    let mut open = blank("nvme-NEW");
    open.holders = vec!["dm-3 (bedplate-vm1)".into()];
    assert!(refusal(open, &lost(), &allowed).contains("in use"));

    let mut small = blank("nvme-NEW");
    small.size = 1 << 20;
    assert!(refusal(small, &lost(), &allowed).contains("are needed here"));
}

#[test]
fn a_change_that_makes_no_sense_is_refused() {
    let disk = || blank("nvme-NEW");
    let whole = PoolFacts {
        devices: ["bedplate-vm1", "bedplate-vm2", "bedplate-vm3"].map(str::to_owned).into(),
        missing: BTreeMap::new(),
        ..lost()
    };
    assert!(refusal(disk(), &whole, &request(MemberTask::Add)).contains("already"));
    assert!(refusal(disk(), &lost(), &request(MemberTask::Add)).contains("lacks a disk"));
    let two = PoolFacts { missing: BTreeMap::new(), ..lost() };
    assert!(refusal(disk(), &two, &request(MemberTask::Replace)).contains("pool add vm2"));
    let last = MemberRequest { role: named("vm1"), ..request(MemberTask::Remove) };
    assert!(refusal(disk(), &two, &last).contains("RAID1 needs 2"));
    let down = PoolFacts { mounted: false, ..lost() };
    assert!(refusal(disk(), &down, &request(MemberTask::Replace)).contains("pool open vmstore"));
    let nobody = MemberRequest { role: named("vm9"), ..request(MemberTask::Replace) };
    assert!(refusal(disk(), &lost(), &nobody).contains("no pool"));
    let gone = MemberRequest { id: Some(named("nvme-GONE")), ..request(MemberTask::Replace) };
    assert!(refusal(disk(), &lost(), &gone).contains("no such disk"));
}

#[test]
fn t44_nothing_is_changed_while_another_disk_has_dropped_out() {
    let pool = |dropped: &str| PoolFacts {
        devices: ["bedplate-vm1", "bedplate-vm2", "bedplate-vm3"].map(str::to_owned).into(),
        missing: BTreeMap::new(),
        dropped: BTreeSet::from([name(dropped)]),
        ..lost()
    };
    for task in [MemberTask::Replace, MemberTask::Add, MemberTask::Remove] {
        let told = refusal(blank("nvme-NEW"), &pool("vm3"), &request(task));
        assert!(told.contains("`vm3` dropped out") && told.contains("pool replace vm3"), "{told}");
    }
    for task in [MemberTask::Replace, MemberTask::Remove] {
        let plan = plan_member(&host(), &facts(blank("nvme-NEW")), &pool("vm2"), &request(task));
        let leaving = Leaving::Mapper(name("bedplate-vm2"));
        assert!(plan.unwrap().steps.contains(&MemberStep::Leave { device: leaving }));
    }
}

#[test]
fn a_disk_leaves_a_pool_that_can_spare_it() {
    let plan = plan_member(&host(), &facts(blank("nvme-X")), &lost(), &request(MemberTask::Remove))
        .unwrap();
    assert_eq!(ids(&plan), ["leave", "record"]);
    assert_eq!(plan.steps[1], MemberStep::Record { epoch: 1 });
}

#[test]
fn f4_the_disk_with_the_copy_of_the_esp_is_replaced_with_a_copy_of_its_own() {
    let mut host = host();
    host.os.esp_mirror = Some(name("vm2"));
    let replace = |disk: DiskFacts, pool: &PoolFacts| {
        plan_member(&host, &facts(disk), pool, &request(MemberTask::Replace)).unwrap()
    };
    let plan = replace(blank("nvme-NEW"), &lost());
    let wanted = [
        "partition",
        "esp",
        "luks",
        "record",
        "join",
        "mirror",
        "leave",
        "convert",
        "save-header",
        "seal",
    ];
    assert_eq!(ids(&plan), wanted);
    let MemberStep::Partition { guid, partitions } = &plan.steps[0] else { panic!() };
    let numbers: Vec<_> = partitions.iter().map(|one| (one.number, one.kind)).collect();
    assert_eq!(numbers, [(1, PartitionKind::Esp), (2, PartitionKind::Luks)]);
    let before = derive(host.host.id, Purpose::GptEsp, "vm2", 0);
    assert_ne!(partitions[0].guid, before, "the disk before may come back");
    let MemberStep::FormatEsp { partition: 1, volume_id } = plan.steps[1] else { panic!() };
    let MemberStep::FormatLuks { partition: 2, uuid, .. } = plan.steps[2] else { panic!() };

    // Cut off after its headers: what stands there is taken up, not refused.
    let vfat = Signature {
        uuid: Some(bedplate_model::identity::shown_volume_id(volume_id)),
        ..signature(Some(1), "vfat", Uuid::nil())
    };
    let begun = DiskFacts {
        bedplate: begun(uuid),
        signatures: vec![
            signature(None, "gpt", *guid),
            vfat,
            signature(Some(2), "crypto_LUKS", uuid),
        ],
        ..blank("nvme-NEW")
    };
    let again = replace(begun, &lost());
    assert!(again.disk.as_ref().unwrap().resume && again.destroys.is_empty());
    // Cut off after it joined: the copy of the ESP is still brought into step.
    let mut joined = lost();
    joined.devices.insert("bedplate-vm2.1".into());
    let rest = ["mirror", "leave", "convert", "save-header", "seal"];
    assert_eq!(ids(&replace(blank("nvme-NEW"), &joined)), rest);
}

#[test]
fn t56_a_new_member_is_known_by_a_name_of_its_own_and_is_no_key_stick() {
    let joined = |id: &str, bend: &dyn Fn(&mut Facts, &mut HostFile)| {
        let (mut facts, mut host) = (facts(blank(id)), host());
        let mut other = blank("nvme-OTHER");
        (other.kernel_name, other.number) = ("nvme8n1".into(), "259:8".into());
        other.serial = Some("OTHER".into());
        facts.disks.push(other);
        bend(&mut facts, &mut host);
        let request = MemberRequest { id: Some(named(id)), ..request(MemberTask::Replace) };
        plan_member(&host, &facts, &lost(), &request).map_err(|error| error.to_string())
    };
    let refused = |id, words, bend: &dyn Fn(&mut Facts, &mut HostFile)| {
        let said = joined(id, bend).unwrap_err();
        assert!(said.contains(words), "{said}");
    };
    joined("nvme-NEW", &|_, _| ()).unwrap();
    refused("nvme-NEW", "another disk reports the same serial", &|facts, _| {
        facts.disks[1].serial = Some("NEW".into());
    });
    refused("nvme-eui.0123456789abcdef", "serial OTHER", &|facts, _| {
        facts.disks.iter_mut().for_each(|disk| disk.wwn = Some("eui.0123456789abcdef".into()));
    });
    refused("lvm-pv-uuid-X", "goes with it", &|_, _| ());
    refused("nvme-NEW", "this is a key stick", &|_, host| {
        let volume_id = "0000-0001".into();
        host.unlock.sticks =
            vec![bedplate_model::host::Stick { volume_id, id: Some(name("nvme-NEW")) }];
    });
}

/// The disks that are in the pool, and the new one.
fn with_members(new: DiskFacts, size: u64) -> Facts {
    let member = |(role, number): (&str, u32)| DiskFacts {
        number: format!("259:{number}"),
        kernel_name: format!("nvme{number}n1"),
        by_id: vec![host().disks[role].id.to_string()],
        serial: Some(role.to_owned()),
        wwn: Some(format!("eui.000000000000000{number}")),
        size,
        signatures: vec![signature(
            Some(1),
            "crypto_LUKS",
            derive(host().host.id, Purpose::Luks, role, 0),
        )],
        ..blank("x")
    };
    let mut all = facts(new);
    all.disks.extend([("vm1", 1), ("vm3", 3)].map(member));
    all
}

#[test]
fn t56_what_a_pool_lacks_by_its_disks_is_told_before_it_is_changed() {
    let told = |new: DiskFacts, size, task| {
        let pool = match task {
            MemberTask::Add => PoolFacts { missing: BTreeMap::new(), ..lost() },
            _ => lost(),
        };
        plan_member(&host(), &with_members(new, size), &pool, &request(task)).unwrap().warnings
    };
    let new = || blank("nvme-NEW");
    assert_eq!(told(new(), new().size, MemberTask::Replace), [] as [String; 0]);
    for task in [MemberTask::Replace, MemberTask::Add] {
        // Two others of 100 GB: most of the new one never gets a second copy.
        let small = told(new(), 100 << 30, task);
        assert!(
            small.len() == 1 && small[0].contains("of vm2 (nvme-NEW) are never used"),
            "{small:?}"
        );
        // Another unit of the enclosure that vm1 is in.
        let shared = DiskFacts {
            serial: Some("vm1".into()),
            wwn: Some("eui.00000000000000aa".into()),
            by_id: vec!["nvme-eui.00000000000000aa".into()],
            ..new()
        };
        let request =
            MemberRequest { id: Some(named("nvme-eui.00000000000000aa")), ..request(task) };
        let mut pool = lost();
        pool.missing.retain(|_, _| task == MemberTask::Replace);
        let all = with_members(shared, new().size);
        let plan = plan_member(&host(), &all, &pool, &request).unwrap();
        assert!(plan.warnings[0].contains("lost together"), "{:?}", plan.warnings);
    }
    // What is left when one goes.
    let unequal = MemberRequest { role: named("vm2"), id: None, ..request(MemberTask::Remove) };
    let mut all = with_members(new(), 100 << 30);
    all.disks[1].size = 400 << 30;
    let plan = plan_member(&host(), &all, &lost(), &unequal).unwrap();
    assert!(plan.warnings[0].contains("of vm1 ("), "{:?}", plan.warnings);
}

#[test]
fn t46_a_member_s_header_is_formatted_only_when_no_key_opens_it_and_then_it_is_told() {
    let host = host();
    let derived = |purpose| derive(host.host.id, purpose, "vm2", 1);
    let mut disk = blank("nvme-NEW");
    disk.signatures = vec![
        signature(None, "gpt", derived(Purpose::GptDisk)),
        signature(Some(1), "crypto_LUKS", derived(Purpose::Luks)),
    ];
    let replace = |disk: &DiskFacts| {
        plan_member(&host, &facts(disk.clone()), &lost(), &request(MemberTask::Replace))
    };
    // A whole header without a token of ours that can be read, and one that is sealed.
    assert!(replace(&disk).is_err());
    disk.bedplate = begun(derived(Purpose::Luks)).map(|found| TokenFacts { sealed: true, ..found });
    assert!(replace(&disk).is_err());
    disk.bedplate = None;
    disk.signatures.push(signature(Some(1), bedplate_model::facts::kind::TORN_HEADER, Uuid::nil()));
    let plan = replace(&disk).unwrap();
    assert!(plan.disk.unwrap().resume);
    let told = plan.destroys[0].content.join("; ");
    assert!(told.contains("crypto_LUKS on partition 1") && told.contains("torn LUKS"), "{told}");
    // A disk that was marked and then lost the power.
    disk.signatures = vec![signature(None, "unfinished", derived(Purpose::GptDisk))];
    let plan = replace(&disk).unwrap();
    assert!(plan.disk.unwrap().resume && plan.destroys.is_empty());
}

/// A role that host.toml names and whose disk never joined.
fn with_new_role() -> HostFile {
    let mut host = host();
    let intended = host.disks["vm2"].clone();
    host.disks.insert(name("vm4"), Disk { id: name("nvme-NEW"), ..intended });
    host.pools.get_mut("vmstore").unwrap().disks.push(name("vm4"));
    host
}

#[test]
fn t44_a_role_that_never_joined_takes_out_nobody_else_s_missing_device() {
    let host = with_new_role();
    let ask = |owner: Owner, task, role: &str| {
        let pool = PoolFacts { missing: BTreeMap::from([(2, owner)]), ..lost() };
        let request =
            MemberRequest { task, role: named(role), id: Some(named("nvme-NEW")), wipe: false };
        plan_member(&host, &facts(blank("nvme-NEW")), &pool, &request)
            .map_err(|error| error.to_string())
    };
    let vm2 = || Owner::Role(name("vm2"));
    for task in [MemberTask::Remove, MemberTask::Replace] {
        // It is known whose it is.
        let told = ask(vm2(), task, "vm4").unwrap_err();
        assert!(told.contains("what is missing is the disk of `vm2`"), "{told}");
        let told = ask(Owner::Former, task, "vm4").unwrap_err();
        assert!(told.contains("a role that host.toml no longer names"), "{told}");
        // Nothing says it.
        for role in ["vm2", "vm4"] {
            let told = ask(Owner::Unknown, task, role).unwrap_err();
            assert!(told.contains("nothing says whether"), "{told}");
        }
    }
    let told = ask(vm2(), MemberTask::Add, "vm4").unwrap_err();
    assert!(told.contains("pool replace vm2"), "{told}");
    // Named by its number, the one that is meant goes.
    let plan = plan_member(
        &host,
        &Facts { disks: Vec::new(), ..facts(blank("x")) },
        &PoolFacts { missing: BTreeMap::from([(7, vm2())]), ..lost() },
        &request(MemberTask::Remove),
    );
    assert_eq!(plan.unwrap().steps[0], MemberStep::Leave { device: Leaving::Missing(7) });
}

#[test]
fn t44_a_replacement_that_was_cut_off_takes_out_nobody_else_s_missing_device() {
    // vm2 has its new disk, the old one has left, and then vm3 dies.
    let pool = |owner| PoolFacts {
        devices: ["bedplate-vm1", "bedplate-vm2.1"].map(str::to_owned).into(),
        missing: BTreeMap::from([(3, owner)]),
        ..lost()
    };
    let again = |owner, role: &str| {
        let request = MemberRequest { role: named(role), ..request(MemberTask::Replace) };
        plan_member(&host(), &facts(blank("nvme-NEW")), &pool(owner), &request)
            .map_err(|error| error.to_string())
    };
    let plan = again(Owner::Role(name("vm3")), "vm2").unwrap();
    assert_eq!(ids(&plan), ["convert", "save-header", "seal"]);
    let told = again(Owner::Unknown, "vm2").unwrap_err();
    assert!(told.contains("`bedplate-host pool replace vm3` comes first"), "{told}");
    // What it comes to an end by is not in its own way.
    let leaving = MemberStep::Leave { device: Leaving::Missing(3) };
    assert!(again(Owner::Unknown, "vm3").unwrap().steps.contains(&leaving));
    let plan = again(Owner::Role(name("vm2")), "vm2").unwrap();
    assert_eq!(plan.steps[0], leaving);
}
