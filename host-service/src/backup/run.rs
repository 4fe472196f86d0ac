//! One run of one backup.

use std::path::PathBuf;

use bedplate_model::host::Backup;
use bedplate_tools::restic::{Keep, Restic, Stored, Summary};

use super::error::BackupError;
use super::nested;
use super::record::{self, Attempt};
use super::session::{self, Session};
use super::source::{self, Shown, Source, Wanted, Which};
use crate::restore;
use bedplate_events::cause::in_line;
use bedplate_guests::hold::{self, Held};
use bedplate_resources::context::Context;

/// A run that stored everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What restic says of it.
    pub summary: Summary,
    /// Why old snapshots stay, when they do. What was stored is stored all the same.
    pub kept: Option<String>,
}

/// Runs the backup `name` and records how it ended.
pub fn run(context: &Context, name: &str) -> Result<Run, BackupError> {
    record_of(context, name, attempt(context, name))
}

/// Records how an attempt ended.
pub(super) fn record_of(
    context: &Context,
    name: &str,
    result: Result<Run, BackupError>,
) -> Result<Run, BackupError> {
    let backup = context.intent.backups.get(name);
    let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
    // An attempt may have made the repository and noted that.
    let mut record = record::read(&context.state, name, &backup.repository)?;
    let attempt = match &result {
        Ok(run) => {
            Attempt::now(Some(run.summary.snapshot_id.clone()), run.summary.data_added, None)
        }
        Err(error) => Attempt::now(None, 0, Some(in_line(error))),
    };
    if let Ok(run) = &result {
        record.local = Some(run.summary.snapshot_id.clone());
        record.last_success = Some(attempt.clone());
        record.kept.clone_from(&run.kept);
    }
    record.last = Some(attempt);
    let written = record::write(&context.state, name, &record);
    let run = result?;
    written?;
    Ok(run)
}

/// As [`run`], unless there is a backup that ended well: whoever is at work on it, perhaps making
/// that one, is waited for.
pub fn first(context: &Context, name: &str) -> Result<Option<Run>, BackupError> {
    let backup = context.intent.backups.get(name);
    let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
    // Let go at once: who comes in between makes one more, at worst.
    drop(session::alone(context, name)?);
    if record::read(&context.state, name, &backup.repository)?.last_success.is_some() {
        return Ok(None);
    }
    run(context, name).map(Some)
}

fn attempt(context: &Context, name: &str) -> Result<Run, BackupError> {
    // Before the repository is touched: an empty pool must not become the newest backup, whoever runs
    // it. A restore that is done stays done, so that this cannot change meanwhile.
    if let Some(restore::Pending { restore, why }) = restore::in_the_way(context, name) {
        return Err(BackupError::NotBack { backup: name.to_owned(), restore, why });
    }
    perform(&Session::open(context, name)?)
}

pub(super) fn perform(session: &Session<'_>) -> Result<Run, BackupError> {
    let wanted = session.wanted()?;
    let restic = session.make_ready()?;
    let sources = snapshots(session, &wanted)?;
    match store(session, &restic, &sources) {
        Ok(summary) => {
            keep_local(session, &wanted)?;
            Ok(Run { summary, kept: forget(session, &restic) })
        }
        Err(error) => {
            // Nothing will ever be compared with these, while those of the run before stay; what fails
            // here is removed by the next run.
            let _ = source::remove(session.name, &wanted, Which::Fresh);
            Err(error)
        }
    }
}

/// What was just stored is what a drill compares with from now on.
fn keep_local(session: &Session<'_>, wanted: &[Wanted]) -> Result<(), BackupError> {
    let Session { context, name, backup, .. } = session;
    let mut record = record::read(&context.state, name, &backup.repository)?;
    if record.local.take().is_some() {
        // Before the snapshots go: a drill must not compare with what is there no longer.
        record::write(&context.state, name, &record)?;
    }
    Ok(source::keep(name, wanted)?)
}

/// Forgets old snapshots. Why they stay, when they do: what was stored is stored all the same.
fn forget(session: &Session<'_>, restic: &Restic<'_>) -> Option<String> {
    match restic.forget(session.host(), &session.tag(), keep(session.backup)) {
        Ok(0) => None,
        Ok(count) => Some(format!(
            "{count} old snapshots are still there: the repository lets nothing be removed \
             (append-only), and grows until they are forgotten and pruned where that is allowed"
        )),
        Err(error) => Some(format!("old snapshots could not be forgotten: {}", in_line(&error))),
    }
}

/// Snapshots of the paths, with the machines held whose disks are in them.
fn snapshots(session: &Session<'_>, wanted: &[Wanted]) -> Result<Vec<Source>, BackupError> {
    let Session { context, name, .. } = session;
    let sources = source::sources(name, wanted, Which::Fresh)?;
    let _one_at_a_time = hold::lock(&context.runtime)?;
    let paths: Vec<PathBuf> = wanted.iter().map(|one| one.path.clone()).collect();
    let affected = hold::affected(&context.intent, &paths);
    let drivers = bedplate_guests::drivers();
    let mut running = Vec::new();
    for driver in &drivers {
        let names = hold::names(&**driver, &affected);
        hold::recover(&**driver, &context.runtime)?.expect_free(&names)?;
        running.push((&**driver, driver.running(names)?));
    }
    // Of a run that was cut off: nobody is held meanwhile.
    source::remove(name, wanted, Which::Fresh)?;
    let held = running.iter().map(|(driver, names)| Held::hold(*driver, &context.runtime, names));
    let held = held.collect::<Result<Vec<_>, _>>()?;
    let taken = source::take(name, wanted, &sources);
    let released: Vec<_> = held.into_iter().map(Held::release).collect();
    taken?;
    for released in released {
        match released {
            // It was paused, and runs again; that its agent is silent stays noted, and `notify` tells it.
            Err(error) if error.is_late() => {}
            released => released?,
        }
    }
    if let Err(error) = nested::expect_none(wanted, &sources) {
        // Nothing will ever be compared with these.
        let _ = source::remove(name, wanted, Which::Fresh);
        return Err(error.into());
    }
    Ok(sources)
}

fn store(
    session: &Session<'_>,
    restic: &Restic<'_>,
    sources: &[Source],
) -> Result<Summary, BackupError> {
    let place = session.context.runtime.join("backup").join(session.name);
    let shown = Shown::new(&place, sources)?;
    let (host, tag) = (session.host(), session.tag());
    let stored = restic.backup(host, &tag, &shown.place, &shown.paths);
    shown.hide()?;
    judge(stored?)
}

/// Nothing but what holds everything is a backup.
fn judge(stored: Stored) -> Result<Summary, BackupError> {
    match stored {
        Stored::Complete(summary) => Ok(summary),
        Stored::Incomplete(summary, unread) => {
            Err(BackupError::Incomplete { snapshot: summary.snapshot_id, unread })
        }
        Stored::Marked(summary) => Err(BackupError::Marked { snapshot: summary.snapshot_id }),
        Stored::Nothing => Err(BackupError::NoSnapshot),
    }
}

fn keep(backup: &Backup) -> Keep {
    let keep = &backup.keep;
    Keep { daily: keep.daily, weekly: keep.weekly, monthly: keep.monthly }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use bedplate_model::host::Restore;

    use super::*;
    use bedplate_sample as sample;
    use bedplate_tools::mounts::Mounts;

    /// A pool that was just made, and a backup of all of it that is to come back.
    fn reinstalled(mount: &Path) -> Context {
        let place = mount.display().to_string();
        let mut intent = sample::intent();
        intent.pools.get_mut("vmstore").unwrap().mount = place.clone();
        let mut vms = intent.backups.remove("apps").unwrap();
        (vms.paths, vms.repository) = (vec![place.clone()], "rest:https://nas.example/".into());
        vms.repository_pool = None;
        intent.backups.insert("vms".into(), vms);
        intent.restore = Some(Restore { backups: vec!["vms".into()], snapshot: None });
        Context {
            intent,
            mounts: Mounts::parse(&format!("1 1 0:1 / {place} rw - btrfs a rw\n")),
            configuration: mount.join(".bedplate-etc"),
            runtime: mount.join(".bedplate-run"),
            state: mount.join(".bedplate-state"),
        }
    }

    #[test]
    fn f6_an_empty_pool_is_not_stored_while_what_was_on_it_is_not_back() {
        let pool = tempfile::tempdir().unwrap();
        let context = reinstalled(pool.path());
        let refused = |context: &Context| match run(context, "vms") {
            Err(BackupError::NotBack { restore, why, .. }) => Some((restore, why)),
            _ => None,
        };
        let (restore, why) = refused(&context).unwrap();
        assert_eq!(restore, "vms");
        assert!(why.contains("fetch "), "{why}");
        // It is on record, for whoever is told that the backup is too old.
        let record = record::read(&context.state, "vms", "rest:https://nas.example/").unwrap();
        let failure = record.last.and_then(|last| last.failure).unwrap();
        assert!(failure.contains("bedplate-host converge"), "{failure}");

        // What cannot be looked at is not known to be back.
        let unmounted = Context { mounts: Mounts::default(), ..context.clone() };
        assert!(refused(&unmounted).unwrap().1.contains("not mounted"));
        let restores = pool.path().join(".bedplate-restore");
        fs::create_dir(&restores).unwrap();
        fs::write(restores.join("vms.json"), "{").unwrap();
        assert!(refused(&context).is_some(), "a damaged record");
        let at = |stage: &str| {
            let text =
                format!(r#"{{"schema": 1, "snapshot": "ab", "paths": [], "stage": "{stage}"}}"#);
            fs::write(restores.join("vms.json"), text).unwrap();
        };
        for stage in ["fetching", "moving"] {
            at(stage);
            assert!(refused(&context).is_some(), "{stage}");
        }
        at("done");
        assert_eq!(restore::in_the_way(&context, "vms"), None);
        fs::remove_file(restores.join("vms.json")).unwrap();
        // Somebody put something there: nothing will be restored.
        fs::create_dir(pool.path().join("haos")).unwrap();
        assert_eq!(restore::in_the_way(&context, "vms"), None);
    }

    #[test]
    fn a_backup_that_no_restore_concerns_does_not_wait() {
        let pool = tempfile::tempdir().unwrap();
        let mut context = reinstalled(pool.path());
        let mut other = context.intent.backups["vms"].clone();
        other.paths = vec!["/mnt/bulk/apps-vm".into()];
        context.intent.backups.insert("apps".into(), other);
        assert!(restore::in_the_way(&context, "vms").is_some());
        assert_eq!(restore::in_the_way(&context, "apps"), None);
        // As converge runs the others while it holds back what waits.
        let intent = restore::held_back(&context.intent, &["vms".into()]);
        let converging = Context { intent, ..context };
        assert_eq!(restore::in_the_way(&converging, "apps"), None);
    }

    #[test]
    fn a_first_backup_that_somebody_else_made_meanwhile_is_not_made_again() {
        let pool = tempfile::tempdir().unwrap();
        let context = reinstalled(pool.path());
        let at_work = session::alone(&context, "vms").unwrap();
        let outcome = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| first(&context, "vms"));
            std::thread::sleep(std::time::Duration::from_millis(100));
            let repository = context.intent.backups["vms"].repository.clone();
            let last_success = Some(Attempt::now(Some("4bba301e".into()), 7, None));
            let record = record::Record { repository, last_success, ..Default::default() };
            record::write(&context.state, "vms", &record).unwrap();
            drop(at_work);
            waiting.join().unwrap()
        });
        assert!(matches!(outcome, Ok(None)), "{outcome:?}");
    }
}
