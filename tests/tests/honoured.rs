//! Every key of `host.toml` is honoured by the embedded platform where it says, or evaluation warns of
//! it by name. A new key fails here until the table says what shows it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

#[path = "honoured/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_document as document;
use bedplate_document::keys::{Block, Key, Place, blocks, key_at};
use bedplate_guests::vm::{VirtualMachines, observe, seed};
use bedplate_host_service::backup::{Backups, diff as backups, fresh};
use bedplate_host_service::etc;
use bedplate_host_service::nfs::{self, Exports};
use bedplate_host_service::restore::Restores;
use bedplate_model::host::HostFile;
use bedplate_planner as planner;
use bedplate_platform::activation::accounts::{self, Databases};
use bedplate_platform::toplevel;
use bedplate_repository::shipped;
use bedplate_resources::kind::Kind as _;
use bedplate_tests::embedded;
use bedplate_tests::example;
use bedplate_tests::medium::Workspace;
use bedplate_tools::mounts::Mounts;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use table::{Shown, TABLE};

const EVERY_KEY: &str = include_str!("honoured/every_key.toml");

/// Every key, with the section it stands in.
fn keys() -> impl Iterator<Item = (&'static Block, &'static Key)> {
    blocks().into_iter().flat_map(|block| block.keys.iter().map(move |key| (block, key)))
}

/// Where the sources are that look at a key of this place.
fn readers(place: Place) -> &'static [&'static str] {
    match place {
        Place::Plan => &["core/planner/src"],
        Place::Installer => &["installer/src"],
        _ => &["host-service/src", "machine/guests/src"],
    }
}

fn parse(text: &str) -> Result<HostFile, String> {
    document::parse(text, "host.toml").map_err(|problems| problems.to_string())
}

/// The place of a path in the document, made where it is not there.
fn at<'d>(document: &'d mut DocumentMut, path: &str) -> &'d mut Item {
    path.split('.').fold(document.as_item_mut(), |item, part| match part.parse::<usize>() {
        Ok(index) if item.is_array_of_tables() || item.is_array() => &mut item[index],
        _ => &mut item[part],
    })
}

fn changed(edits: &[(&str, &str)]) -> String {
    let mut document: DocumentMut = EVERY_KEY.parse().unwrap();
    for (path, value) in edits {
        let value: Value = value.parse().unwrap();
        // An inline table in an array is reached by its own way.
        match path.rsplit_once(".0.") {
            Some((list, key)) if at(&mut document, list).is_array() => {
                let list = at(&mut document, list).as_array_mut().unwrap();
                let first = list.get_mut(0).and_then(Value::as_inline_table_mut).unwrap();
                TableLike::insert(first, key, Item::Value(value));
            }
            _ => *at(&mut document, path) = Item::Value(value),
        }
    }
    document.to_string()
}

/// Everything that comes of a document, by where.
fn outcome(host: &HostFile) -> BTreeMap<Place, String> {
    let mounts = host.pools.values();
    let mounts = mounts.map(|pool| format!("1 1 0:1 / {} rw - btrfs /dev/x rw\n", pool.mount));
    let mounts = Mounts::parse(&mounts.collect::<String>());
    let served =
        Exports::diff(host, &nfs::Observed { mounts: mounts.clone(), ..Default::default() });
    let observed = observe::Observed { mounts: mounts.clone(), ..Default::default() };
    let machines = VirtualMachines::diff(host, &observed);
    let seeds = host.vms.values().filter_map(|vm| vm.cloud_init.as_ref());
    let seeds: Vec<_> = seeds.map(|told| seed::image("x", told).unwrap()).collect();
    let observed = backups::Observed { mounts, ..Default::default() };
    let wanted = host.backups.keys().map(|name| Backups::describe(host, &observed, name));
    let wanted: Vec<_> = wanted.collect();
    let patience: Vec<_> = host.backups.values().map(fresh::limit).collect();
    let found = host.backups.keys().map(|name| (name.clone(), Ok((None, Vec::new()))));
    let restores = Restores::diff(host, &found.collect());
    BTreeMap::from([
        (Place::Plan, plan(host)),
        (Place::Stage1, format!("{:?}", toplevel::stage1(host))),
        (Place::Toplevel, toplevel(host)),
        (Place::Accounts, accounts_of(host)),
        (Place::Exports, format!("{served:?}")),
        (Place::Machines, format!("{machines:?} {seeds:?}")),
        (Place::Backups, format!("{wanted:?} {patience:?}")),
        (Place::Restores, format!("{restores:?}")),
        (Place::Secrets, format!("{:?}", host.repository_secrets())),
    ])
}

/// The plan or why there is none, without the fingerprints that every change changes.
fn plan(host: &HostFile) -> String {
    let facts = example::facts().unwrap();
    let mut host = host.clone();
    host.install.expect_plan = None;
    let mut plan = match planner::plan(&host, &facts) {
        Ok(plan) => plan,
        Err(refusals) => return format!("{refusals:?}"),
    };
    plan.hash = Default::default();
    plan.sections.clear();
    serde_json::to_string(&plan).unwrap()
}

fn toplevel(host: &HostFile) -> String {
    format!("{:?}", etc::toplevel(host, "", &embedded::parts()).unwrap())
}

fn accounts_of(host: &HostFile) -> String {
    let etc = tempfile::tempdir().unwrap();
    fs::write(etc.path().join("group"), "kvm:x:993:\nlibvirt:x:988:\n").unwrap();
    let tree = Databases::read(etc.path()).unwrap();
    format!("{:?}", accounts::merge(&Databases::default(), &tree, &host.host.users))
}

/// The sources below a path, with their tests.
fn sources(path: &Path, text: &mut String) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        entries.for_each(|entry| sources(&entry, text));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        text.push_str(&fs::read_to_string(path).unwrap());
    }
}

/// What is wrong with what a key says and the table shows; none when it is so.
fn wrong(place: Place, shown: &Shown, before: &BTreeMap<Place, String>) -> Option<String> {
    let another = || Some(format!("{place:?} is not shown by this"));
    match shown {
        Shown::By(edits) => {
            let Some(same) = before.get(&place) else { return another() };
            let after = match parse(&changed(edits)) {
                Ok(host) => outcome(&host),
                Err(problems) => return Some(problems),
            };
            (*same == after[&place]).then(|| {
                let others: Vec<_> = before.keys().filter(|at| before[at] != after[at]).collect();
                format!("{place:?} is the same whatever it says; what differs is {others:?}")
            })
        }
        Shown::Refused(..) if place != Place::Only => another(),
        Shown::Refused(path, value) => {
            parse(&changed(&[(path, value)])).is_ok().then(|| format!("{value} is accepted"))
        }
        Shown::Read(file, _) if !readers(place).iter().any(|of| file.starts_with(of)) => another(),
        Shown::Read(file, expression) => {
            let (mut text, root) = (String::new(), Workspace::own().root);
            let beside = PathBuf::from(format!("{file}.rs"));
            let files = [root.join(file), root.join(beside)];
            files.iter().filter(|path| path.exists()).for_each(|path| sources(path, &mut text));
            (!text.contains(expression)).then(|| format!("{file} does not say `{expression}`"))
        }
    }
}

#[test]
fn every_key_is_honoured_where_it_says_or_warned_of_by_name() {
    let told = keys().filter(|(_, key)| !matches!(key.place, Place::Inside | Place::Nowhere));
    let told: BTreeSet<_> = told.map(|(block, key)| (block.path, key.name)).collect();
    let listed: BTreeSet<_> = TABLE.iter().map(|(section, name, _)| (*section, *name)).collect();
    assert_eq!(listed.len(), TABLE.len(), "a key stands twice in the table");
    let forgotten: Vec<_> = told.difference(&listed).collect();
    assert!(forgotten.is_empty(), "say in honoured/table.rs what shows these: {forgotten:?}");
    let gone: Vec<_> = listed.difference(&told).collect();
    assert!(gone.is_empty(), "no such keys any more, or nothing is to be shown: {gone:?}");
    assert!(told.len() > 100, "{}", told.len());

    let before = outcome(&parse(EVERY_KEY).unwrap());
    let wrong = TABLE.iter().filter_map(|(section, name, shown)| {
        let place = key_at(section, name).unwrap().place;
        Some(format!("{section}.{name}: {}", wrong(place, shown, &before)?))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_says_that_it_is_not_honoured_is_warned_of_and_only_tables_say_nothing() {
    let platform = shipped::platform(None);
    let library = std::str::from_utf8(&platform["lib.nix"]).unwrap();
    let mut warned = 0;
    for (block, key) in keys() {
        let whole = format!("{}.{}", block.path, key.name);
        match key.place {
            Place::Nowhere => {
                warned += 1;
                assert!(library.contains(&format!("key \"{whole}\"")), "{whole}");
            }
            Place::Inside => assert!(key.form.block().is_some(), "{whole} says nothing"),
            _ => {}
        }
    }
    assert_eq!(warned, 1);
}

#[test]
fn a_key_that_changes_nothing_is_found() {
    let planned = plan(&parse(EVERY_KEY).unwrap());
    assert!(planned.contains("\"step\":\"seal\""), "{planned}");

    let before = outcome(&parse(EVERY_KEY).unwrap());
    let wrong = |place, shown: Shown| wrong(place, &shown, &before);
    let zone = || Shown::By(&[("host.timezone", "\"Asia/Tokyo\"")]);
    let same = wrong(Place::Machines, zone()).unwrap();
    assert!(same.contains("what differs is [Toplevel]"), "{same}");
    assert_eq!(wrong(Place::Toplevel, zone()), None);
    assert!(wrong(Place::Service, zone()).unwrap().contains("is not shown by this"));
    assert!(wrong(Place::Only, Shown::Refused("nfs.v3", "true")).unwrap().contains("is accepted"));
    assert!(wrong(Place::Plan, Shown::Refused("schema", "2")).is_some());
    assert!(
        wrong(Place::Installer, Shown::Read("installer/src", "host.install.nothing")).is_some()
    );
    assert!(wrong(Place::Service, Shown::Read("installer/src", "host.install.then")).is_some());
    assert!(wrong(Place::Plan, Shown::By(&[("os.disk", "\"nothing\"")])).is_some());
}
