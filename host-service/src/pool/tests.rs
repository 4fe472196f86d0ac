use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bedplate_disks::pool_fs::Live;
use bedplate_model::host::Media;
use bedplate_model::identity::{Purpose, derive};
use bedplate_planner::Owner;
use bedplate_planner::pool_history::{Mark, Refusal, Side};

use super::member::{Header, Member, Members, role_of};
use super::open::{lacking_warnings, patience};
use super::record::Record;
use super::status::Reality;
use super::*;

fn host() -> HostFile {
    let text = include_str!("../../../profiles/hypervisor/host.toml");
    bedplate_document::parse(text, "host.toml").unwrap()
}

fn name<N: FromStr<Err: Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

fn header(role: &str, epoch: u32, node: &str) -> Header {
    let uuid = derive(host().host.id, Purpose::Luks, role, epoch).to_string();
    Header { uuid, node: node.into() }
}

fn find(record: &Record, headers: &[Header]) -> Result<Members, PoolError> {
    let host = host();
    Members::find(&host, &host.pools["vmstore"], record, headers)
}

fn replaced(role: &str, epoch: u32) -> Record {
    Record { epochs: BTreeMap::from([(name(role), epoch)]), ..Record::default() }
}

#[test]
fn f4_a_member_that_is_not_there_is_missing_and_a_foreign_header_is_no_member() {
    let foreign =
        Header { uuid: "11111111-2222-4333-8444-555555555555".to_owned(), node: "/dev/b1".into() };
    let found = find(&Record::default(), &[header("vm1", 0, "/dev/a1"), foreign]).unwrap().found;
    let nodes: Vec<_> = found.values().map(|one| (one.role.as_str(), one.node.clone())).collect();
    assert_eq!(nodes, [("vm1", PathBuf::from("/dev/a1"))]);
    assert_eq!(found["vm1"].mapper, "bedplate-vm1");
    assert!(found["vm1"].discard);
}

#[test]
fn f4_a_replaced_disk_that_comes_back_is_no_member() {
    let both = [header("vm2", 0, "/dev/old1"), header("vm2", 1, "/dev/new1")];
    for record in [replaced("vm2", 1), Record::default()] {
        let members = find(&record, &both).unwrap();
        assert_eq!(members.found["vm2"].node, PathBuf::from("/dev/new1"));
        assert_eq!(members.found["vm2"].mapper, "bedplate-vm2.1");
        assert_eq!(members.former[0].node, PathBuf::from("/dev/old1"));
    }
    let members = find(&replaced("vm2", 1), &both[..1]).unwrap();
    assert!(members.found.is_empty(), "the old disk alone was taken for the new one");
    assert_eq!(members.former.len(), 1);
}

#[test]
fn t04_a_cloned_header_is_refused() {
    let clones = [header("vm2", 0, "/dev/a1"), header("vm2", 0, "/dev/b1")];
    let error = find(&Record::default(), &clones).unwrap_err();
    assert!(error.to_string().contains("/dev/a1 and /dev/b1"), "{error}");
}

#[test]
fn a_mapping_tells_its_role() {
    let host = host();
    let pool = &host.pools["vmstore"];
    assert_eq!(role_of(pool, "bedplate-vm1"), Some(&name("vm1")));
    assert_eq!(role_of(pool, "bedplate-vm1.12"), Some(&name("vm1")));
    assert_eq!(role_of(pool, "bedplate-vm12"), None);
    assert_eq!(role_of(pool, "bedplate-bulk1"), None);
}

/// How long boot waits for disks that were there the last time, and for those that were not.
#[test]
fn t44_a_slow_disk_is_waited_for_as_long_as_it_needs_to_spin_up() {
    let seconds = Duration::from_secs;
    let wait = |timeout, awaited: &[Media], keys| {
        let awaited: Vec<_> = awaited.iter().map(|media| Some(*media)).collect();
        patience(seconds(timeout), &awaited, keys)
    };
    assert_eq!(wait(10, &[Media::Hdd], false), seconds(60));
    assert_eq!(wait(10, &[Media::Ssd], false), seconds(30));
    assert_eq!(wait(10, &[Media::Ssd, Media::Hdd], true), seconds(60));
    assert_eq!(wait(300, &[Media::Hdd], false), seconds(300), "its owner waits longer");
    // Away the last time too: a boot is not kept up each time.
    assert_eq!(wait(300, &[], false), seconds(5));
    assert_eq!(wait(300, &[], true), seconds(300), "somebody may bring the key");
}

fn live(roles: &[&str], missing: usize) -> Live {
    Live {
        devices: roles.iter().map(|role| format!("bedplate-{role}")).collect(),
        missing,
        ..Live::default()
    }
}

fn verdict(live: Option<Live>, record: Record, headers: &[Header]) -> Status {
    verdict_of(live, record, headers, &[])
}

fn verdict_of(live: Option<Live>, record: Record, headers: &[Header], unsealed: &[&str]) -> Status {
    let unsealed = unsealed.iter().map(|role| name(role)).collect();
    let host = host();
    let members = find(&record, headers).unwrap();
    let open = live.is_some();
    let is_open = move |_: &str| open;
    let pool = &host.pools["vmstore"];
    let dropped = live.iter().flat_map(|live| tend::dropped(&record, &host, pool, live, headers));
    let dropped = dropped.collect();
    let reality = Reality {
        members,
        record,
        unsealed,
        dropped,
        live,
        errors: 0,
        done: Some(12),
        is_open: &is_open,
    };
    status::judge(&host, "vmstore", &reality)
}

#[test]
fn f4_status_says_what_is_wrong_and_what_to_type() {
    let all = ["vm1", "vm2", "vm3"].map(|role| header(role, 0, &format!("/dev/{role}")));
    let whole = verdict(Some(live(&["vm1", "vm2", "vm3"], 0)), Record::default(), &all);
    assert_eq!((whole.health, whole.health.exit_code()), (Health::Whole, 0), "{whole}");

    let lost = verdict(Some(live(&["vm1", "vm3"], 1)), Record::default(), &[all[0].clone()]);
    assert_eq!((lost.health, lost.health.exit_code()), (Health::Degraded, 3));
    assert_eq!(lost.members[1].state, MemberState::Missing);
    assert!(lost.to_string().contains("pool replace vm2 --disk"), "{lost}");

    let down = verdict(None, Record::default(), &all);
    assert_eq!((down.health, down.health.exit_code()), (Health::Down, 4));
    assert_eq!(down.members[0].state, MemberState::Locked);

    let stale = Record { stale: BTreeSet::from([name("vm2")]), ..Record::default() };
    let stale = verdict(Some(live(&["vm1", "vm2", "vm3"], 0)), stale, &all);
    assert!(stale.to_string().contains("pool scrub vmstore"), "{stale}");

    // Mounted, and one is on no disk any more.
    let out = verdict(Some(live(&["vm1", "vm2", "vm3"], 0)), Record::default(), &all[..2]);
    assert_eq!((out.health, out.members[2].state), (Health::Degraded, MemberState::DroppedOut));
    assert!(out.to_string().contains("restart the machine"), "{out}");

    let mut single = live(&["vm1", "vm2", "vm3"], 0);
    single.single.insert("data/single".into());
    let single = verdict(Some(single), Record::default(), &all);
    assert_eq!(single.health, Health::Degraded);
    assert!(single.to_string().contains("data/single"), "{single}");

    let unfinished: [Header; 2] = [all[0].clone(), header("vm2", 1, "/dev/new")];
    let apart = verdict(Some(live(&["vm1", "vm3"], 1)), replaced("vm2", 1), &unfinished);
    assert_eq!(apart.members[1].state, MemberState::Apart);
    let member: &Member = &find(&replaced("vm2", 1), &unfinished).unwrap().found["vm2"];
    assert_eq!(member.epoch, 1);
}

#[test]
fn f4_a_pool_that_lacks_a_disk_of_no_role_is_said_to_be_degraded() {
    let warnings = lacking_warnings("vmstore", true, Vec::new());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("DEGRADED") && warnings[0].contains("pool replace"));
    assert!(lacking_warnings("vmstore", false, Vec::new()).is_empty());
    let named = lacking_warnings("vmstore", true, vec!["vm1 (nvme-x) is not there".into()]);
    assert!(named[0].contains("DEGRADED") && named[0].contains("vm1 (nvme-x)"), "{named:?}");
}

#[test]
fn f4_a_new_disk_missed_nothing_of_what_the_old_one_missed() {
    let roles = || BTreeSet::from([name("vm1"), name("vm2")]);
    let mut record = Record { away: roles(), stale: roles(), ..Record::default() };
    assert!(record.raise(&name("vm1"), 1));
    assert_eq!(record.epochs["vm1"], 1);
    assert!(!record.away.contains("vm1") && !record.stale.contains("vm1"));
    assert!(record.away.contains("vm2") && record.stale.contains("vm2"));
    assert!(!record.raise(&name("vm1"), 1));
}

#[test]
fn f4_what_was_cut_off_comes_before_what_else_is_lost() {
    let there = ["vm2", "vm3"].map(|role| header(role, 0, &format!("/dev/{role}")));
    let cut = || verdict_of(Some(live(&["vm2", "vm3"], 1)), Record::default(), &there, &["vm3"]);
    let status = cut();
    assert_eq!(status.health, Health::Degraded);
    assert!(status.next[0].contains("`bedplate-host pool replace vm3`"), "{status}");
    assert!(status.next[1].contains("`bedplate-host pool replace vm1 --disk NAME`"), "{status}");
}

#[test]
fn t43_a_pool_that_cannot_be_looked_at_is_told_by_name_and_hides_no_other() {
    let clones = [header("vm2", 0, "/dev/a1"), header("vm2", 0, "/dev/b1")];
    let found = status::each(&host(), &clones);
    let health: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.health)).collect();
    assert_eq!(health, [("bulk", Health::Down), ("vmstore", Health::Unseen)]);
    assert_eq!(found.iter().map(|one| one.health.exit_code()).max(), Some(4));
    let text = found[1].to_string();
    assert!(text.contains("COULD NOT BE LOOKED AT") && text.contains("/dev/b1"), "{text}");
    let compared = status::compared_pool(found[1].clone());
    assert!(!compared.agrees && compared.refused.unwrap().contains("unplug the copy"));
}

#[test]
fn t43_a_damaged_record_is_told_by_name_with_what_to_do() {
    assert_eq!(Record::parse("vmstore", "{}").unwrap(), Record::default());
    let told = Record::parse("vmstore", "{ cut").unwrap_err().to_string();
    assert!(told.contains("/var/lib/bedplate/pools/vmstore.json"), "{told}");
    assert!(told.contains("move the record away, then run `bedplate-host pool open vmstore`"));
}

fn mark(roles: &[&str]) -> Mark {
    let uuid = |role: &&str| derive(host().host.id, Purpose::Luks, role, 0).to_string();
    Mark {
        line: vec!["e0".into()],
        members: roles.iter().map(uuid).collect(),
        target: None,
        joining: None,
        since: 1_796_000_000,
        host: "box\u{1b}[2J".into(),
    }
}

#[test]
fn t44_status_tells_who_is_behind_and_how_far_it_is() {
    let all = ["vm1", "vm2", "vm3"].map(|role| header(role, 0, &format!("/dev/{role}")));
    let marked = || Record { mark: Some(mark(&["vm1", "vm3"])), ..Record::default() };
    let behind = verdict(Some(live(&["vm1", "vm3"], 1)), marked(), &all);
    assert_eq!((behind.health, behind.members[1].state), (Health::Degraded, MemberState::Behind));
    let text = behind.to_string();
    assert!(
        text.contains("brought up to date by itself") && !text.contains("pool scrub"),
        "{text}"
    );

    let mut under_way = live(&["vm1", "vm3"], 1);
    under_way.targets.insert("bedplate-vm2".into());
    let status = verdict(Some(under_way), marked(), &all);
    assert_eq!(status.members[1].state, MemberState::Resyncing);
    assert!(status.to_string().contains("RESYNCING 12 %"), "{status}");
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["resync"], serde_json::json!({ "role": "vm2", "percent": 12 }));
    let compared = status::compared_pool(status);
    assert!(compared.reality.unwrap().ends_with("vm2 is brought up to date, 12 % done"));
    // The kernel has taken it in, and nobody has said yet that it has everything.
    let uuid = derive(host().host.id, Purpose::Luks, "vm2", 0).to_string();
    let taken = Mark { target: Some(uuid), ..mark(&["vm1", "vm3"]) };
    let taken = Record { mark: Some(taken), ..Record::default() };
    let taken = verdict(Some(live(&["vm1", "vm2", "vm3"], 0)), taken, &all);
    assert_eq!((taken.health, taken.members[1].state), (Health::Degraded, MemberState::Resyncing));
    // A replacement that was cut off is another matter.
    let cut = verdict_of(Some(live(&["vm1", "vm3"], 1)), marked(), &all, &["vm2"]);
    assert_eq!(cut.members[1].state, MemberState::Apart);
}

#[test]
fn t44_a_disk_that_dropped_out_and_is_back_is_never_marked_as_having_everything() {
    let headers = ["vm1", "vm2", "vm3"].map(|role| header(role, 0, &format!("/dev/{role}")));
    let members = find(&Record::default(), &headers).unwrap();
    let mut back = live(&["vm1", "vm2", "vm3"], 0);
    let roles = |live: &Live, head: Option<&Mark>| {
        let held = history::holders(&members, live, head);
        held.into_iter().map(|member| member.role.clone()).collect::<Vec<_>>()
    };
    assert_eq!(roles(&back, None), ["vm1", "vm2", "vm3"]);
    // It was noted while it was gone.
    assert_eq!(roles(&back, Some(&mark(&["vm1", "vm3"]))), ["vm1", "vm3"]);
    // It came back before anybody looked.
    back.silent.insert("bedplate-vm2".into());
    assert_eq!(roles(&back, Some(&mark(&["vm1", "vm2", "vm3"]))), ["vm1", "vm3"]);
    let host = host();
    let pool = &host.pools["vmstore"];
    let gone = tend::dropped(&Record::default(), &host, pool, &back, &headers);
    assert_eq!(gone, ["vm2"]);
    let told = verdict(Some(back), Record::default(), &headers);
    assert_eq!((told.health, told.members[1].state), (Health::Degraded, MemberState::DroppedOut));
}

#[test]
fn t44_a_refusal_names_what_to_plug_in_and_the_one_command_that_gives_up() {
    let host = host();
    let pool = &host.pools["vmstore"];
    let why =
        |refusal: &Refusal| refused::why(&host, pool, "vmstore", refusal, &["vm2 (x)".into()]);
    let present = BTreeSet::from([name("vm2")]);
    let newest = Some(Box::new(mark(&["vm1", "vm3"])));
    let behind = why(&Refusal::Behind { present: present.clone(), newest });
    let vm1 = format!("vm1 ({})", host.disks["vm1"].id);
    for part in [vm1.as_str(), "vm3 (", "pool open vmstore --give-up-newer", "2026-11-"] {
        assert!(behind.contains(part), "{part}: {behind}");
    }
    assert!(!behind.contains('\u{1b}'), "{behind}");
    let unproven = why(&Refusal::NoProof { present });
    assert!(unproven.contains("vm2 (x)") && unproven.contains("--give-up-newer"), "{unproven}");
    let side = |role: &str, generation| Side {
        roles: BTreeSet::from([name(role)]),
        mark: Some(mark(&[role])),
        generation,
    };
    let gone = Side { roles: BTreeSet::new(), ..side("vm3", 0) };
    let two = why(&Refusal::TwoHistories { sides: vec![side("vm1", 70), side("vm2", 60), gone] });
    for part in ["one on vm1", "generation 70", "one on vm2", "not here, vm3 (", "--keep ROLE"] {
        assert!(two.contains(part), "{part}: {two}");
    }
}

#[test]
fn t44_a_record_of_before_is_read_and_one_with_a_mark_comes_back() {
    let old =
        Record::parse("vmstore", r#"{"epochs":{"vm1":2},"away":["vm2"],"stale":[]}"#).unwrap();
    assert_eq!((old.epochs["vm1"], old.mark.is_none()), (2, true));
    let new = Record { mark: Some(mark(&["vm1"])), generation: 7, ..old };
    let text = serde_json::to_string(&new).unwrap();
    assert_eq!(Record::parse("vmstore", &text).unwrap(), new);
}

#[test]
fn t44_a_missing_device_is_known_by_its_number_to_be_whose_it_was() {
    let (host, mut record) = (host(), Record::default());
    let pool = &host.pools["vmstore"];
    let uuid = |role: &str, epoch| derive(host.host.id, Purpose::Luks, role, epoch).to_string();
    let whose = |record: &Record| facts::owners(&host, pool, record, &[2]).remove(&2).unwrap();
    assert_eq!(whose(&record), Owner::Unknown);
    record.number(&uuid("vm2", 0), 2);
    assert_eq!(whose(&record), Owner::Role(name("vm2")));
    // The new disk of the role is another device; the number of the old one stays its own.
    record.number(&uuid("vm2", 1), 4);
    assert_eq!(whose(&record), Owner::Role(name("vm2")));
    // The kernel gives a number again that nobody has.
    record.number(&uuid("vm3", 0), 2);
    assert_eq!(whose(&record), Owner::Role(name("vm3")));
    assert!(!record.numbers.contains_key(&uuid("vm2", 0)));
    record.number(&uuid("gone", 0), 2);
    assert_eq!(whose(&record), Owner::Former);
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(Record::parse("vmstore", &text).unwrap(), record);
}

#[test]
fn t44_a_header_that_cannot_be_read_is_not_one_without_a_mark() {
    let place = tempfile::tempdir().unwrap();
    let blank = place.path().join("blank");
    std::fs::write(&blank, vec![0; 64 << 10]).unwrap();
    let member = |node: PathBuf| Member {
        role: name("vm2"),
        epoch: 0,
        luks_uuid: String::new(),
        node,
        mapper: name("bedplate-vm2"),
        discard: false,
    };
    assert!(matches!(history::try_read(&member(blank)), Ok(None)));
    // What a disk does that is there and does not answer.
    assert!(history::try_read(&member(place.path().into())).is_err());
    assert!(history::try_read(&member(place.path().join("gone"))).is_err());
}

#[test]
fn t44_a_disk_that_dropped_out_leaves_by_the_number_that_it_had() {
    let host = host();
    let uuid = |role: &str, epoch| derive(host.host.id, Purpose::Luks, role, epoch).to_string();
    let mut record = Record::default();
    record.number(&uuid("vm2", 0), 2);
    record.number(&uuid("vm2", 1), 4);
    let mut live = live(&["vm1", "vm2", "vm2.1", "vm3"], 0);
    live.numbers = BTreeMap::from([("bedplate-vm1".to_owned(), 1), ("bedplate-vm2.1".into(), 5)]);
    let number = |live: &Live, mapper| facts::number(&host, &record, live, &name("vm2"), mapper);
    assert_eq!(number(&live, "bedplate-vm2"), Some(2), "it says nothing itself any more");
    assert_eq!(number(&live, "bedplate-vm2.1"), Some(5), "what a device says goes before");
    assert_eq!(number(&live, "bedplate-vm2.2"), None);
    // Never that of another one that is there.
    live.numbers.insert("bedplate-vm3".into(), 2);
    assert_eq!(number(&live, "bedplate-vm2"), None);
}
