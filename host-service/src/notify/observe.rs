//! What is found that wants somebody.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bedplate_model::host::Backup;
use bedplate_tools::command::CommandError;
use bedplate_tools::systemctl;

use super::machine::{Area, Condition, Observation};
use crate::backup::fresh;
use crate::backup::quiesce::{QuiesceError, Recovered};
use crate::backup::record::{self, Record};
use crate::chain::chain;
use crate::context::Context;
use crate::converge::{self, Status as Resource};
use crate::firewall;
use crate::generation;
use crate::handoff;
use crate::lab;
use crate::pool::{self, Health, MemberState, PoolError, Status};
use crate::vm;
use crate::wear;

/// Somebody may just be changing something: what differs is told when it still does later.
const DRIFT_PATIENCE: u64 = 15 * 60;
/// One look that fails may be the machine's start, or its end.
const LOOK_PATIENCE: u64 = 15 * 60;
/// How long it is taken for granted that EFI system partitions are as they were.
const BOOT_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// Its time says when they were, in the directory of what is gone with the next boot.
const BOOT_WELL: &str = "esp-well";
/// Our own units.
const UNITS: &str = "bedplate-*";
/// The unit that tells: it fails because nobody could be told.
const TELLER: &str = "bedplate-notify.service";

/// Something that could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// Pools.
    #[error("it could not be found out how the pools stand")]
    Pools(#[from] PoolError),
    /// Units.
    #[error("systemd could not be asked for units that failed")]
    Units(#[from] CommandError),
    /// Machines.
    #[error("it could not be found out which machines a backup left held")]
    Machines(#[from] QuiesceError),
    /// The lock.
    #[error("could not lock {}", .path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Looks at everything. What cannot be looked at does not keep the rest from being told of; it is
/// told of itself (T43), and returned beside it.
pub fn observe(
    context: &Context,
    held: Result<Option<Recovered>, QuiesceError>,
    now: u64,
) -> (Observation, Vec<LookError>) {
    let mut found = Observation::default();
    let mut failures = Vec::new();
    let mut busy = false;
    let mut add = |area, conditions: Result<Option<Vec<Condition>>, LookError>| match conditions {
        Ok(Some(conditions)) => {
            found.areas.insert(area);
            found.conditions.extend(conditions);
        }
        Ok(None) => busy = true,
        Err(failure) => {
            found.conditions.push(unseen(area, &failure));
            failures.push(failure);
        }
    };
    let pools = pools(context);
    let well = pools.as_ref().ok().and_then(|pools| Some(pools.as_ref()?.1.clone()));
    add(Area::Pools, pools.map(|pools| Some(pools?.0)));
    if let Some(conditions) = boot(context) {
        add(Area::Boot, Ok(Some(conditions)));
    }
    add(Area::Backups, Ok(Some(backups(context, now).into_iter().chain(kept(context)).collect())));
    add(Area::Units, units().map(Some));
    add(Area::Machines, machines(held));
    let disks = wear::compared(context);
    add(Area::Disks, Ok(Some(disks.iter().filter_map(disk_condition).collect())));
    add(Area::Drift, drift(context));
    found.well = well.unwrap_or_default();
    // What was not looked at for a good reason may still be what cannot be looked at.
    if !busy {
        found.areas.insert(Area::Looks);
    }
    (found, failures)
}

/// Something that cannot be looked at: nobody would be told how it stands.
fn unseen(area: Area, failure: &LookError) -> Condition {
    Condition {
        area: Area::Looks,
        name: area.label().to_owned(),
        kind: failure.to_string(),
        title: failure.to_string(),
        cleared: format!("it is seen again how it stands: {}", area.label()),
        text: format!(
            "{}\nUntil that is mended nothing is told of it. `bedplate-host notify` looks again.",
            chain(failure)
        ),
        urgent: true,
        patience: LOOK_PATIENCE,
    }
}

/// Conditions, and what is well.
type Pools = (Vec<Condition>, Vec<(Area, String, String)>);

/// None while a pool is being changed: on the way from one state to the next there is nothing to tell. A
/// scrub is no such change.
fn pools(context: &Context) -> Result<Option<Pools>, LookError> {
    let file = lock_file(context, "pool.lock")?;
    if let Err(TryLockError::WouldBlock) = file.try_lock_shared() {
        return Ok(None);
    }
    let found = pool::status(&context.intent)?;
    let well = found.iter().filter(|status| pool_condition(status).is_none());
    let well = well.map(|status| (Area::Pools, status.name.clone(), status.to_string())).collect();
    Ok(Some((found.iter().filter_map(pool_condition).collect(), well)))
}

/// A pool that is not whole. Numbers of errors do not make it another one: they grow.
pub(super) fn pool_condition(status: &Status) -> Option<Condition> {
    let how = match status.health {
        Health::Whole if status.next.is_empty() => return None,
        Health::Whole => "wants something done",
        Health::Degraded => "is DEGRADED",
        Health::Down => "is NOT MOUNTED",
        Health::Unseen => "cannot be looked at",
    };
    let patience = if status.health == Health::Unseen { LOOK_PATIENCE } else { 0 };
    let members = status.members.iter().filter(|member| member.state != MemberState::InPool);
    let members: Vec<String> =
        members.map(|member| format!("{} {:?}", member.role, member.state)).collect();
    let kind = format!("{:?}, {}, {} to do", status.health, members.join(", "), status.next.len());
    let name = &status.name;
    Some(Condition {
        area: Area::Pools,
        name: name.clone(),
        kind,
        title: format!("pool {name} {how}"),
        cleared: format!("pool {name} is whole again"),
        text: status.to_string(),
        urgent: true,
        patience,
    })
}

/// What the machine boots by. None while it is being written, and for a day after all was well: every
/// file is read from the disks.
fn boot(context: &Context) -> Option<Vec<Condition>> {
    let well = context.runtime.join(BOOT_WELL);
    let since = fs::metadata(&well).and_then(|found| found.modified()).ok();
    if since.and_then(|since| since.elapsed().ok()).is_some_and(|age| age < BOOT_PAUSE) {
        return None;
    }
    let alone = lock_file(context, "host.lock").ok()?;
    alone.try_lock().ok()?;
    let found = generation::compared(&context.intent);
    if found.iter().all(|one| one.agrees) {
        // Without it the next look comes sooner.
        fs::write(&well, "").ok();
    }
    Some(found.iter().filter_map(boot_condition).collect())
}

pub(super) fn boot_condition(found: &Resource) -> Option<Condition> {
    if found.agrees {
        return None;
    }
    let name = found.name.clone().unwrap_or_default();
    let lines: Vec<&str> = found.wants.iter().chain(&found.refused).map(String::as_str).collect();
    Some(Condition {
        area: Area::Boot,
        kind: lines.join("; "),
        title: format!("the EFI system partition on {name} is not as it was written"),
        cleared: format!("the EFI system partition on {name} is as it was written"),
        text: format!("{}\nThe machine may not start again from this disk.", lines.join("\n")),
        urgent: true,
        patience: LOOK_PATIENCE,
        name,
    })
}

fn backups(context: &Context, now: u64) -> Vec<Condition> {
    let condition = |(name, backup): (&String, &Backup)| {
        let record = match record::read(&context.state, name, &backup.repository) {
            Ok(record) => record,
            Err(error) => {
                let title = format!("it is not known how old the backup {name} is");
                return Some(backup_condition(name, "unknown", title, chain(&error), 0));
            }
        };
        let never = || {
            let never = record.last_success.is_none();
            never.then(|| ("there is none".to_owned(), fresh::limit(backup)))
        };
        let old = fresh::stale(backup, &record, now).map(|why| (why, 0));
        let (why, patience) = old.or_else(never)?;
        let title = format!("backup {name} is too old");
        Some(backup_condition(name, "stale", title, too_old(name, &record, &why), patience))
    };
    context.intent.backups.iter().filter_map(condition).collect()
}

/// Repositories that grow because nothing can be forgotten in them. Nothing is lost by it, for long.
fn kept(context: &Context) -> Vec<Condition> {
    let condition = |(name, backup): (&String, &Backup)| {
        let why = record::read(&context.state, name, &backup.repository).ok()?.kept?;
        Some(Condition {
            // By a name of its own: it may be too old, too.
            name: format!("{name}, old snapshots"),
            cleared: format!("old snapshots of the backup {name} are forgotten again"),
            urgent: false,
            ..backup_condition(
                name,
                "kept",
                format!("old snapshots of the backup {name} are not forgotten"),
                format!("Of the backup {name} {why}."),
                0,
            )
        })
    };
    context.intent.backups.iter().filter_map(condition).collect()
}

fn too_old(name: &str, record: &Record, why: &str) -> String {
    let failure = record.last.as_ref().and_then(|last| last.failure.as_deref());
    let failure = failure.map(|why| format!("\nThe newest run failed: {why}"));
    format!("Of the backup {name} {why}.{}", failure.unwrap_or_default())
}

fn backup_condition(
    name: &str,
    kind: &str,
    title: String,
    text: String,
    patience: u64,
) -> Condition {
    Condition {
        area: Area::Backups,
        name: name.to_owned(),
        kind: kind.to_owned(),
        title,
        cleared: format!("backup {name} is fresh again"),
        text,
        urgent: true,
        patience,
    }
}

fn units() -> Result<Vec<Condition>, LookError> {
    let failed = systemctl::failed(UNITS)?;
    Ok(failed.iter().filter(|unit| *unit != TELLER).map(|unit| unit_condition(unit)).collect())
}

fn unit_condition(unit: &str) -> Condition {
    Condition {
        area: Area::Units,
        name: unit.to_owned(),
        kind: "failed".into(),
        title: format!("{unit} failed"),
        cleared: format!("{unit} has not failed any more"),
        text: format!("`journalctl -u {unit}` says why."),
        urgent: true,
        patience: 0,
    }
}

/// None while a backup holds machines.
fn machines(
    held: Result<Option<Recovered>, QuiesceError>,
) -> Result<Option<Vec<Condition>>, LookError> {
    let of = |found: Recovered| found.left.iter().map(machine_condition).collect();
    Ok(held?.map(of))
}

/// Whoever uses it sees that it hangs; its backups fail until it is let go.
fn machine_condition((name, why): &(String, QuiesceError)) -> Condition {
    if let QuiesceError::Late { .. } = why {
        return Condition {
            area: Area::Machines,
            name: name.clone(),
            kind: "silent".into(),
            title: format!("the agent of machine {name} does not answer"),
            cleared: format!("the agent of machine {name} answers again"),
            text: format!(
                "{}\nIts backups go on with a pause. The agent is asked again every ten minutes; see in \
                 the guest whether it runs (`qemu-guest-agent`), or start the guest anew: \
                 `bedplate-host vm restart {name} --force`.",
                chain(why)
            ),
            urgent: true,
            patience: 0,
        };
    }
    Condition {
        area: Area::Machines,
        name: name.clone(),
        kind: "held".into(),
        title: format!("machine {name} may stand still since a backup that was cut off"),
        cleared: format!("machine {name} is held no longer"),
        text: format!(
            "A backup that was cut off froze or paused it, and it cannot be let go: {}\n\
             It is tried again every ten minutes, and backups of its disks fail until then. See \
             that libvirt runs and the guest's agent answers (`virsh domfsthaw {name}`), or \
             start it anew: `bedplate-host vm restart {name} --force`.",
            chain(why)
        ),
        urgent: true,
        patience: 0,
    }
}

/// A disk that wears, or that does not answer. Numbers do not make it another one: they grow.
fn disk_condition(disk: &Resource) -> Option<Condition> {
    let name = disk.name.clone()?;
    let what: Vec<&str> = disk.refused.iter().chain(&disk.wants).map(String::as_str).collect();
    let is_silent = disk.refused.is_some();
    (!what.is_empty()).then(|| Condition {
        area: Area::Disks,
        kind: format!("{} things, silent: {is_silent}", what.len()),
        title: format!("disk {name} wants somebody"),
        cleared: format!("disk {name} is well again"),
        text: format!("{}\n{}", disk.intent.as_deref().unwrap_or(&name), what.join("\n")),
        urgent: true,
        patience: if is_silent { LOOK_PATIENCE } else { 0 },
        name,
    })
}

/// None while converge is at work.
fn drift(context: &Context) -> Result<Option<Vec<Condition>>, LookError> {
    let file = lock_file(context, "host.lock")?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Ok(None);
    }
    let found = handoff::compared(context).into_iter();
    let found = found.chain(converge::restores(context)).chain(converge::status(context));
    let found = found.chain(firewall::compared(context)).chain(lab::compared(context));
    let found: Vec<_> = found.collect();
    let guests = found.iter().flat_map(guest_conditions);
    let differs: Vec<_> = found.iter().filter(|one| is_told(one)).cloned().collect();
    Ok(Some(guests.chain(drift_condition(&differs)).collect()))
}

/// What stopped a guest, or wants its owner: each by itself, because it does not wait for what differs.
fn guest_conditions(one: &Resource) -> Vec<Condition> {
    let wants = one.wants.iter().filter(|want| one.kind == "vm" && !vm::diff::is_restart(want));
    let name = one.name.as_deref().unwrap_or("*");
    let condition = |want: &String| {
        // What stands behind it has numbers that change.
        let kind = want.split_once(':').map_or(want.as_str(), |(kind, _)| kind);
        let urgent = vm::standing::is_urgent(want);
        Condition {
            area: Area::Drift,
            name: format!("vm {name}, {kind}"),
            kind: kind.to_owned(),
            title: format!("machine {name}: {kind}"),
            cleared: format!("machine {name}: no longer so: {kind}"),
            text: format!("{name}: {want}"),
            urgent,
            patience: if urgent { 0 } else { DRIFT_PATIENCE },
        }
    };
    wants.map(condition).collect()
}

/// A backup that has not run yet is told of when it is too old, and what a machine wants is told by itself
/// ([`guest_conditions`]); a restart that is pending has time: whoever changed the machine was told.
fn is_told(one: &Resource) -> bool {
    match one.kind {
        "backup" => false,
        "vm" => !one.actions.is_empty() || one.refused.is_some(),
        _ => !one.agrees,
    }
}

fn drift_condition(found: &[Resource]) -> Option<Condition> {
    let line = |one: &Resource| {
        let name = one.name.as_deref().unwrap_or("*");
        let what = one.refused.iter().chain(&one.actions).chain(&one.wants);
        let what: Vec<&str> = what.map(String::as_str).collect();
        format!("{} {name}: {}", one.kind, what.join("; "))
    };
    let lines: Vec<String> = found.iter().map(line).collect();
    let names =
        found.iter().map(|one| format!("{} {}", one.kind, one.name.as_deref().unwrap_or("*")));
    let kind = names.collect::<Vec<_>>().join(", ");
    (!found.is_empty()).then(|| Condition {
        area: Area::Drift,
        name: "host.toml".into(),
        title: format!("{} things differ from host.toml", found.len()),
        cleared: "everything is as host.toml says again".into(),
        text: format!(
            "{}\n`bedplate-host converge` does what can be done without you.",
            lines.join("\n")
        ),
        urgent: false,
        patience: DRIFT_PATIENCE,
        kind,
    })
}

fn lock_file(context: &Context, name: &str) -> Result<File, LookError> {
    let path = context.runtime.join(name);
    let failed = |source| LookError::Lock { path: path.clone(), source };
    fs::create_dir_all(&context.runtime).map_err(failed)?;
    File::create(&path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::record::Attempt;
    use crate::sample;

    fn context(state: PathBuf) -> Context {
        Context {
            intent: sample::intent(),
            mounts: sample::mounts(),
            configuration: state.join("etc"),
            runtime: state.join("run"),
            state,
        }
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
        let all = observe(&context, Ok(None), 1_000_000).0.conditions;
        assert!(all.contains(&told), "{all:?}");
        let stands = crate::backup::diff::wants(&context.intent.backups["apps"], &record, 0);
        assert!(stands.is_empty(), "{stands:?}");
    }

    #[test]
    fn t43_what_cannot_be_looked_at_is_told_and_hides_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let context = context(place.path().to_owned());
        let error = || QuiesceError::File { path: "/x".into(), source: io::Error::other("no") };
        let (found, _) = observe(&context, Err(error()), 1_000_000);
        let told = found.conditions.iter().find(|one| one.name == "machine").unwrap();
        assert!(told.area == Area::Looks && told.urgent && told.text.contains("no"), "{told:?}");
        // While something is under way it is not said that everything is seen again.
        let (busy, _) = observe(&context, Ok(None), 1_000_000);
        assert!(!busy.areas.contains(&Area::Looks), "{busy:?}");

        let mut context = context;
        let other = context.intent.backups["apps"].clone();
        context.intent.backups.insert("other".into(), other);
        let directory = record::path(&context.state, "apps");
        fs::create_dir_all(directory.parent().unwrap()).unwrap();
        fs::write(&directory, "{ cut").unwrap();
        let titles: Vec<String> =
            backups(&context, 1_000_000).into_iter().map(|one| one.title).collect();
        assert_eq!(
            titles,
            ["it is not known how old the backup apps is", "backup other is too old"]
        );
    }

    #[test]
    fn a_machine_that_cannot_be_let_go_is_told_and_the_rest_with_it() {
        let place = tempfile::tempdir().unwrap();
        let context = context(place.path().to_owned());
        let error = || QuiesceError::File { path: "/x".into(), source: io::Error::other("no") };
        let left = vec![("haos".to_owned(), error())];
        let recovered = Recovered { left, ..Recovered::default() };
        let (found, _) = observe(&context, Ok(Some(recovered)), 1_000_000);
        let held = found.conditions.iter().find(|one| one.area == Area::Machines).unwrap();
        assert!(held.urgent && held.patience == 0 && held.title.contains("haos"), "{held:?}");
        assert!(held.text.contains("vm restart haos") && held.text.contains(": no\n"), "{held:?}");
        let rest = |areas: &std::collections::BTreeSet<Area>| {
            areas.contains(&Area::Backups) && areas.contains(&Area::Drift)
        };
        assert!(rest(&found.areas), "{found:?}");
        // Held by a backup that runs; and when that cannot be said everything else is looked at.
        let (busy, _) = observe(&context, Ok(None), 1_000_000);
        assert!(!busy.areas.contains(&Area::Machines) && rest(&busy.areas));
        let (found, failures) = observe(&context, Err(error()), 1_000_000);
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
        assert!(drift(&context).unwrap().is_none());
        let busy = lock_file(&context, "pool.lock").unwrap();
        busy.lock().unwrap();
        assert!(pools(&context).unwrap().is_none());
    }
}
