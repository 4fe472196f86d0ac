use super::backups::{backups, kept};
use super::disks::disk_condition;
use super::drift::{drift_condition, guest_conditions, is_told};
use super::*;
use crate::backup::record::{self, Attempt, Record};
use bedplate_guests::hold::{HoldError, StillHeld};
use bedplate_resources::status::Status as Resource;
use bedplate_sample as sample;

fn context(state: PathBuf) -> Context {
    Context {
        intent: sample::intent(),
        mounts: sample::mounts(),
        configuration: state.join("etc"),
        runtime: state.join("run"),
        state,
    }
}

fn seen(context: &Context, held: Held) -> (Observation, Vec<LookError>) {
    observe(context, ask(move || held), 1_000_000)
}

#[test]
fn t51_what_hangs_is_told_at_once_and_keeps_nobody_from_telling_the_rest() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    let began = Instant::now();
    let never = ask(|| {
        std::thread::sleep(Duration::from_secs(120));
        Ok(None)
    });
    let limit = Duration::from_secs(10);
    let (found, failures) = observe_within(&context, never, 1_000_000, limit);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let told = found.conditions.iter().find(|one| one.name == "machine").unwrap();
    assert!(told.area == Area::Looks && told.urgent && told.patience == 0, "{told:?}");
    assert!(told.title.contains("did not end"), "{told:?}");
    assert!(failures.iter().any(|one| matches!(one, LookError::Hangs { .. })), "{failures:?}");
    // What it is like otherwise is neither over nor new.
    assert!(!found.areas.contains(&Area::Machines));
    assert!(found.areas.contains(&Area::Backups) && found.areas.contains(&Area::Drift));
    assert!(found.conditions.iter().any(|one| one.area == Area::Backups), "{found:?}");
}

#[test]
fn t43_while_libvirt_says_nothing_no_guest_is_well_by_that() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    // There is no libvirt here.
    let (found, _) = seen(&context, Ok(None));
    assert!(found.areas.contains(&Area::Drift) && !found.areas.contains(&Area::Guests));
    let told = found.conditions.iter().find(|one| one.name == "guests").unwrap();
    assert!(told.urgent && told.area == Area::Looks && told.text.contains("libvirt"), "{told:?}");
    let drift = found.conditions.iter().find(|one| one.area == Area::Drift);
    assert!(drift.is_none_or(|one| !one.text.contains("vm *")), "told once: {drift:?}");
}

#[test]
fn the_age_of_a_backup_is_told_although_nothing_runs_it() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    let never = backups(&context, 1_000_000);
    assert_eq!(never[0].patience, 50 * 3600, "{never:?}");
    let attempt = Attempt { at: 1_000_000, snapshot: None, added: 0, failure: None };
    let repository = context.intent.backups["apps"].repository.clone();
    let record = Record { repository, last_success: Some(attempt), ..Record::default() };
    record::write(&context.state, "apps", &record).unwrap();
    assert!(backups(&context, 1_000_000 + 3600).is_empty());
    let old = backups(&context, 1_000_000 + 72 * 3600);
    assert_eq!((old[0].title.as_str(), old[0].patience), ("backup apps is too old", 0));
}

#[test]
fn t43_a_repository_in_which_nothing_can_be_forgotten_is_told_of_and_is_no_failure() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    assert!(kept(&context).is_empty());
    let repository = context.intent.backups["apps"].repository.clone();
    let why = "3 old snapshots are still there".to_owned();
    let record = Record { repository, kept: Some(why.clone()), ..Record::default() };
    record::write(&context.state, "apps", &record).unwrap();
    let told = kept(&context).remove(0);
    assert!(!told.urgent && told.text.contains(&why), "{told:?}");
    assert_ne!(told.name, backups(&context, 1_000_000)[0].name);
    let all = seen(&context, Ok(None)).0.conditions;
    assert!(all.contains(&told), "{all:?}");
    let stands = crate::backup::diff::wants(&context.intent.backups["apps"], &record, 0);
    assert!(stands.is_empty(), "{stands:?}");
}

#[test]
fn t43_what_cannot_be_looked_at_is_told_and_hides_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    let error = || HoldError::File { path: "/x".into(), source: io::Error::other("no") };
    let (found, _) = seen(&context, Err(error()));
    let told = found.conditions.iter().find(|one| one.name == "machine").unwrap();
    assert!(told.area == Area::Looks && told.urgent && told.text.contains("no"), "{told:?}");
    // While something is under way it is not said that everything is seen again.
    let (busy, _) = seen(&context, Ok(None));
    assert!(!busy.areas.contains(&Area::Looks), "{busy:?}");

    let mut context = context;
    let other = context.intent.backups["apps"].clone();
    context.intent.backups.insert("other".into(), other);
    let directory = record::path(&context.state, "apps");
    fs::create_dir_all(directory.parent().unwrap()).unwrap();
    fs::write(&directory, "{ cut").unwrap();
    let titles: Vec<String> =
        backups(&context, 1_000_000).into_iter().map(|one| one.title).collect();
    assert_eq!(titles, ["it is not known how old the backup apps is", "backup other is too old"]);
}

#[test]
fn a_machine_that_cannot_be_let_go_is_told_and_the_rest_with_it() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    let error = || HoldError::File { path: "/x".into(), source: io::Error::other("no") };
    let advice = "`bedplate-host vm restart haos --force`".to_owned();
    let left = vec![StillHeld { name: "haos".to_owned(), advice, why: error() }];
    let recovered = Recovered { left, ..Recovered::default() };
    let (found, _) = seen(&context, Ok(Some(recovered)));
    let held = found.conditions.iter().find(|one| one.area == Area::Machines).unwrap();
    assert!(held.urgent && held.patience == 0 && held.title.contains("haos"), "{held:?}");
    assert!(held.text.contains("vm restart haos") && held.text.contains(": no\n"), "{held:?}");
    let rest = |areas: &std::collections::BTreeSet<Area>| {
        areas.contains(&Area::Backups) && areas.contains(&Area::Drift)
    };
    assert!(rest(&found.areas), "{found:?}");
    // Held by a backup that runs; and when that cannot be said everything else is looked at. A program that
    // another test starts just then holds the lock of this one until it has begun.
    let busy = (0..50).map(|_| seen(&context, Ok(None)).0);
    let busy = busy.into_iter().find(|one| one.areas.contains(&Area::Drift)).unwrap();
    assert!(!busy.areas.contains(&Area::Machines) && rest(&busy.areas));
    let again = (0..50).map(|_| seen(&context, Err(error())));
    let (found, failures) =
        again.into_iter().find(|one| one.0.areas.contains(&Area::Drift)).unwrap();
    assert!(rest(&found.areas) && !found.areas.contains(&Area::Machines));
    assert!(failures.iter().any(|one| matches!(one, LookError::Machines(_))), "{failures:?}");
}

#[test]
fn t43_a_disk_that_wears_is_told_of_once_and_one_that_is_well_is_not() {
    let said = |wants: &[&str]| Resource {
        intent: Some("ata-B1 is well".into()),
        wants: wants.iter().map(|one| (*one).to_owned()).collect(),
        refused: None,
        ..Resource::unseen("disk", Some("bulk1".into()), String::new())
    };
    assert_eq!(disk_condition(&said(&[])), None);
    let told = disk_condition(&said(&["it has 70 °C"])).unwrap();
    assert!(told.urgent && told.patience == 0 && told.text.contains("70 °C"), "{told:?}");
    assert_eq!(told.kind, disk_condition(&said(&["it has 71 °C"])).unwrap().kind);
    let silent = Resource::unseen("disk", Some("bulk1".into()), "it did not answer".into());
    assert!(disk_condition(&silent).unwrap().patience > 0);
}

#[test]
fn what_differs_is_one_condition_that_names_all_of_it() {
    let resource = |name: &str| Resource {
        kind: "vm",
        name: Some(name.into()),
        agrees: false,
        intent: None,
        reality: None,
        actions: vec![format!("start {name}")],
        refused: None,
        notes: Vec::new(),
        wants: Vec::new(),
    };
    assert_eq!(drift_condition(&[]), None);
    let one = drift_condition(&[resource("haos"), resource("apps")]).unwrap();
    assert_eq!(one.kind, "vm haos, vm apps");
    assert!(one.text.contains("vm apps: start apps\n"), "{}", one.text);

    // What a person has to see to is told of everything but a restart that has time.
    let wanting = |kind| {
        let wants = vec!["the kernel has none of the rules".to_owned()];
        Resource { kind, actions: Vec::new(), wants, ..resource("nfs") }
    };
    let told = ["firewall", "lab", "secret", "vm", "backup"].map(wanting);
    let told: Vec<_> = told.into_iter().filter(is_told).collect();
    let kinds: Vec<_> = told.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, ["firewall", "lab", "secret"]);
    let text = drift_condition(&told).unwrap().text;
    assert!(text.contains("firewall nfs: the kernel has none of the rules\n"), "{text}");
    assert!(is_told(&resource("haos")));
}

#[test]
fn t50_what_stopped_a_guest_is_told_at_once_and_once() {
    let guest = |wants: &[&str]| Resource {
        kind: "vm",
        name: Some("haos".into()),
        agrees: false,
        intent: None,
        reality: None,
        actions: Vec::new(),
        refused: None,
        notes: Vec::new(),
        wants: wants.iter().map(|want| (*want).to_owned()).collect(),
    };
    let full = "paused by an I/O error: haos waits, because its pool has 5 MiB left";
    let told = guest_conditions(&guest(&[full, "restart pending: haos runs"]));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].urgent && told[0].patience == 0 && told[0].text.contains("5 MiB"));
    assert_eq!(told[0].title, "machine haos: paused by an I/O error");
    let fuller = guest_conditions(&guest(&[&full.replace("5 MiB", "4 MiB")]));
    assert_eq!((&fuller[0].kind, &fuller[0].name), (&told[0].kind, &told[0].name));
    let by_hand = guest_conditions(&guest(&["changed by hand: it"]));
    assert!(!by_hand[0].urgent && by_hand[0].patience > 0);
}

#[test]
fn nothing_is_said_of_what_is_under_way() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path().to_owned());
    let busy = lock_file(&context, "host.lock").unwrap();
    busy.lock().unwrap();
    let (found, _) = seen(&context, Ok(None));
    assert!(!found.areas.contains(&Area::Drift) && !found.areas.contains(&Area::Looks));
    let busy = lock_file(&context, "pool.lock").unwrap();
    busy.lock().unwrap();
    assert!(pools::look(&context).unwrap().is_none());
}
