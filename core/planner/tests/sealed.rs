//! Whether a volume is finished, unfinished or lost: the profile's disks as runs and years leave them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use bedplate_document::parse;
use bedplate_model::facts::{DiskFacts, Facts, Signature, TokenFacts, kind};
use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::plan::{Plan, Step};
use bedplate_planner::{is_finished, plan, warnings_of_finished};

const ROLES: [(&str, &str); 7] = [
    ("nvme0n1", "os"),
    ("sda", "bulk1"),
    ("sdb", "bulk2"),
    ("sdc", "bulk3"),
    ("nvme1n1", "vm1"),
    ("nvme2n1", "vm2"),
    ("nvme3n1", "vm3"),
];

fn host(wipe: Wipe) -> HostFile {
    let text = include_str!("../../../profiles/hypervisor/host.toml");
    let mut host = parse(text, "host.toml").unwrap();
    host.disks.values_mut().for_each(|disk| disk.wipe = wipe);
    host
}

fn blank() -> Facts {
    serde_json::from_str(include_str!("../../../profiles/hypervisor/inventory.json")).unwrap()
}

/// The disk of a role.
fn of<'f>(facts: &'f mut Facts, role: &str) -> &'f mut DiskFacts {
    let id = &host(Wipe::Ours).disks[role].id;
    facts.disks.iter_mut().find(|disk| disk.has_id(id)).unwrap()
}

fn signature(partition: Option<u32>, kind: &str, uuid: Option<String>) -> Signature {
    Signature { partition, kind: kind.into(), label: None, uuid, size: 1 << 40 }
}

fn luks(role: &str) -> u32 {
    if role == "os" { 2 } else { 1 }
}

fn uuid(role: &str, purpose: Purpose) -> String {
    derive(host(Wipe::Ours).host.id, purpose, role, 0).to_string()
}

/// The disk of a role with the work of the plan of this hash.
fn made(facts: &mut Facts, role: &str, plan: &str, sealed: bool) {
    let label = signature(None, "gpt", Some(uuid(role, Purpose::GptDisk)));
    let header = signature(Some(luks(role)), "crypto_LUKS", Some(uuid(role, Purpose::Luks)));
    let esp = (role == "os").then(|| signature(Some(1), "vfat", Some("1-2".into())));
    let disk = of(facts, role);
    disk.signatures = [label, header].into_iter().chain(esp).collect();
    disk.bedplate = Some(TokenFacts {
        plan: plan.into(),
        luks_uuid: uuid(role, Purpose::Luks),
        sealed,
        sealed_at: None,
        sections: Default::default(),
        boots: (role == "os").then_some(true),
    });
}

/// Neither copy of the header of a role is whole.
fn tear(facts: &mut Facts, role: &str) {
    let disk = of(facts, role);
    disk.bedplate = None;
    disk.signatures.push(signature(Some(luks(role)), kind::TORN_HEADER, None));
}

fn hash() -> String {
    plan(&host(Wipe::Ours), &blank()).unwrap().hash.into()
}

fn finished() -> Facts {
    let (mut facts, hash) = (blank(), hash());
    ROLES.iter().for_each(|(_, role)| made(&mut facts, role, &hash, true));
    facts
}

fn refused(host: &HostFile, facts: &Facts) -> String {
    plan(host, facts).expect_err("this must be refused").to_string()
}

fn resumed(plan: &Plan) -> Vec<&str> {
    plan.disks.iter().filter(|disk| disk.resume).map(|disk| disk.role.as_str()).collect()
}

#[test]
fn t46_a_finished_disk_with_one_broken_header_is_finished() {
    for which in ["primary", "secondary"] {
        let mut facts = finished();
        let broken = signature(Some(2), &kind::broken_copy(which), None);
        of(&mut facts, "os").signatures.push(broken);
        assert!(is_finished(&host(Wipe::Ours), &facts));
        let warned = warnings_of_finished(&host(Wipe::Ours), &facts);
        assert!(warned.len() == 1 && warned[0].contains("`cryptsetup repair`"), "{warned:?}");
        let said = refused(&host(Wipe::Ours), &facts);
        let wanted = format!("broken {which} LUKS header on partition 2");
        assert!(
            said.contains("a finished installation stands on it") && said.contains(&wanted),
            "{said}"
        );
    }
}

#[test]
fn t46_a_header_that_cannot_be_read_is_not_torn() {
    let mut facts = blank();
    made(&mut facts, "os", &hash(), true);
    let os = of(&mut facts, "os");
    os.bedplate = None;
    os.signatures.push(signature(Some(2), kind::UNREADABLE, None));
    let said = refused(&host(Wipe::Ours), &facts);
    assert!(said.contains("the disk is not blank") && said.contains("smartctl"), "{said}");
    // A whole header that says nothing that we can read: somebody's keys may open it.
    os_only(&mut facts, "crypto_LUKS");
    assert!(refused(&host(Wipe::Ours), &facts).contains("the disk is not blank"));
    let plan = plan(&host(Wipe::Any), &facts).unwrap();
    assert!(plan.destroyed_lines().iter().any(|line| line.contains("crypto_LUKS")));
}

fn os_only(facts: &mut Facts, kind: &str) {
    let os = of(facts, "os");
    let header = signature(Some(2), kind, Some(uuid("os", Purpose::Luks)));
    os.signatures = vec![signature(None, "gpt", Some(uuid("os", Purpose::GptDisk))), header];
}

#[test]
fn t46_a_torn_header_is_formatted_and_told_with_what_stands_there() {
    let mut facts = blank();
    os_only(&mut facts, "crypto_LUKS");
    tear(&mut facts, "os");
    let torn = plan(&host(Wipe::Ours), &facts).unwrap();
    assert_eq!((torn.hash.to_string(), resumed(&torn)), (hash(), vec!["os"]));
    let told = torn.destroyed_lines().join("\n");
    assert!(
        told.contains("crypto_LUKS on partition 2") && told.contains("torn LUKS header"),
        "{told}"
    );
    // The keyslots' area is filled with random bytes before there is a header.
    os_only(&mut facts, kind::UNKNOWN);
    let random = plan(&host(Wipe::Ours), &facts).unwrap();
    assert!(random.destroyed_lines().join("").contains("unknown data on partition 2"));
    // One copy is written after the other: the second one is whole, and has no key yet.
    for which in ["primary", "secondary"] {
        os_only(&mut facts, "crypto_LUKS");
        let broken = signature(Some(2), &kind::broken_copy(which), None);
        let torn = signature(Some(2), kind::TORN_HEADER, None);
        of(&mut facts, "os").signatures.extend([broken, torn]);
        let begun = plan(&host(Wipe::Ours), &facts).unwrap();
        assert_eq!((begun.hash.to_string(), resumed(&begun)), (hash(), vec!["os"]), "{which}");
    }
    os_only(&mut facts, kind::UNKNOWN);
    // A table alone: nothing is lost, and nothing is told.
    of(&mut facts, "os").signatures.truncate(1);
    assert!(plan(&host(Wipe::Ours), &facts).unwrap().destroys.is_empty());
}

#[test]
fn t46_a_disk_that_boots_is_not_torn_whatever_became_of_its_header() {
    let mut facts = blank();
    os_only(&mut facts, kind::UNKNOWN);
    let os = of(&mut facts, "os");
    os.signatures.push(signature(Some(1), "vfat", None));
    assert!(plan(&host(Wipe::Ours), &facts).is_ok());
    of(&mut facts, "os").signatures.push(signature(Some(1), kind::BOOT_ENTRY, None));
    let said = refused(&host(Wipe::Ours), &facts);
    assert!(
        said.contains("boot entry on partition 1") && said.contains("headers/os.img"),
        "{said}"
    );
}

#[test]
fn t46_a_header_lost_beside_sealed_ones_is_never_formatted() {
    let hash = hash();
    for (_, torn) in ROLES {
        let mut facts = finished();
        // One is not sealed yet: the others count as unfinished with it.
        let other = if torn == "bulk2" { "bulk3" } else { "bulk2" };
        made(&mut facts, other, &hash, false);
        tear(&mut facts, torn);
        let said = refused(&host(Wipe::Ours), &facts);
        let wanted = format!("bedplate/headers/{torn}.img.zst");
        assert!(said.contains("no whole LUKS header") && said.contains(&wanted), "{said}");
        // Its table alone is left.
        of(&mut facts, torn).signatures.truncate(1);
        assert!(refused(&host(Wipe::Ours), &facts).contains("no whole LUKS header"), "{torn}");
    }
}

#[test]
fn t46_a_header_torn_while_sealing_is_sealed_again() {
    let hash = hash();
    let mut facts = finished();
    // The second copy is whole, and does not know of the seal yet.
    made(&mut facts, "vm2", &hash, false);
    of(&mut facts, "vm2").signatures.push(signature(Some(1), &kind::broken_copy("primary"), None));
    let plan = plan(&host(Wipe::Ours), &facts).unwrap();
    assert_eq!((plan.hash.as_str(), resumed(&plan).len()), (hash.as_str(), 7));
    assert!(plan.destroys.is_empty());
    assert!(plan.disks.iter().filter(|disk| disk.role != "vm2").all(|disk| disk.sealed));
}

#[test]
fn t46_a_table_out_of_sight_hides_no_volume() {
    let mut facts = finished();
    of(&mut facts, "vm1").signatures.push(signature(None, kind::UNSEEN_TABLE, None));
    let said = refused(&host(Wipe::Ours), &facts);
    assert!(said.contains("unseen partition table"), "{said}");
    // The last write of a table was lost.
    let mut facts = blank();
    os_only(&mut facts, kind::UNSEEN_TABLE);
    of(&mut facts, "os").signatures[1] = signature(None, kind::UNSEEN_TABLE, None);
    assert!(plan(&host(Wipe::Ours), &facts).unwrap().destroys.is_empty());
    of(&mut facts, "os").signatures =
        vec![signature(None, kind::UNFINISHED, Some(uuid("os", Purpose::GptDisk)))];
    assert_eq!(resumed(&plan(&host(Wipe::Ours), &facts).unwrap()), ["os"]);
    of(&mut facts, "os").signatures[0].uuid = Some(uuid("vm1", Purpose::GptDisk));
    assert!(plan(&host(Wipe::Ours), &facts).is_err());
}

/// A finished machine whose EFI system partition is as `bend` leaves it.
fn broken(bend: impl FnOnce(&mut DiskFacts)) -> Facts {
    let mut facts = finished();
    let os = of(&mut facts, "os");
    os.bedplate.as_mut().unwrap().boots = Some(false);
    bend(os);
    facts
}

fn ids(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(Step::id).collect()
}

#[test]
fn t46_a_finished_machine_with_a_broken_boot_entry_is_repaired_and_never_formatted() {
    let facts = broken(|_| ());
    let wanted = [
        "check-disks",
        "prepare-stick",
        "open-os",
        "mount",
        "find-system",
        "activate",
        "boot-entry",
        "finish",
    ];
    assert!(!is_finished(&host(Wipe::Ours), &facts));
    // Its owner made the file system; where it is ours, it is made anew if it cannot be read.
    let plan_of = |host: &HostFile, facts: &Facts| plan(host, facts).unwrap();
    let repair = plan_of(&host(Wipe::Ours), &facts);
    assert_eq!((ids(&repair), repair.repairs()), (wanted.map(str::to_owned).to_vec(), true));
    assert_eq!((repair.hash.to_string(), resumed(&repair)), (hash(), vec!["os"]));
    assert!(repair.destroys.is_empty() && repair.disks.iter().all(|disk| disk.sealed));
    let Step::PrepareStick { existing, .. } = &repair.steps[1] else { panic!() };
    assert!(*existing, "no key is made");
    // A later document, a member of another epoch, members that are kept: all the same.
    let mut later = host(Wipe::Ours);
    later.host.timezone = "UTC".into();
    assert_eq!(ids(&plan_of(&later, &facts)), wanted);
    let mut kept = host(Wipe::Ours);
    kept.pools["bulk"].disks.clone().iter().for_each(|role| {
        kept.disks.get_mut(role).unwrap().wipe = Wipe::Never;
    });
    assert_eq!(ids(&plan_of(&kept, &facts)), wanted);
}

#[test]
fn t46_an_efi_system_partition_that_is_gone_is_made_and_told() {
    let esp = |kind: &'static str| {
        broken(move |os| {
            os.signatures.retain(|found| found.partition != Some(1));
            os.signatures.extend((!kind.is_empty()).then(|| signature(Some(1), kind, None)));
        })
    };
    let made = |facts: &Facts| plan(&host(Wipe::Ours), facts).unwrap();
    let blank = made(&esp(""));
    assert!(ids(&blank).contains(&"esp-os".to_owned()) && blank.destroys.is_empty());
    let told = made(&esp(kind::UNKNOWN));
    assert!(ids(&told).contains(&"esp-os".to_owned()));
    assert!(told.destroyed_lines().join("").contains("unknown data on partition 1"));
    assert!(refused(&host(Wipe::Ours), &esp("ext4")).contains("carries something else: ext4"));
}

#[test]
fn t46_a_repair_wants_the_word_and_the_whole_machine() {
    let facts = broken(|_| ());
    let said = refused(&host(Wipe::Blank), &facts);
    assert!(said.contains("does not boot") && said.contains("wipe = \"ours\""), "{said}");
    // `any` means another installation, unless it is the one from this very document.
    let mut other = host(Wipe::Any);
    other.host.timezone = "UTC".into();
    let anew = plan(&other, &facts).unwrap();
    assert!(!anew.repairs() && anew.destroys.len() == 7);
    let same = broken(|os| {
        os.bedplate.as_mut().unwrap().sections = plan(&host(Wipe::Any), &blank()).unwrap().sections;
    });
    assert!(plan(&host(Wipe::Any), &same).unwrap().repairs());
    // A member lost its header: what boots is not all that has to be mended.
    let mut later = host(Wipe::Ours);
    later.host.timezone = "UTC".into();
    let mut lacking = facts;
    os_gone(&mut lacking, "vm1");
    let said = refused(&later, &lacking);
    assert!(said.contains("a finished installation that does not boot"), "{said}");
    assert!(!said.contains("begins anew"), "{said}");
}

fn os_gone(facts: &mut Facts, role: &str) {
    let disk = of(facts, role);
    (disk.bedplate, disk.signatures) = (None, Vec::new());
}
