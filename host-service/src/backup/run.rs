//! One run of one backup.

use std::path::PathBuf;

use bedplate_spec::host::Backup;
use bedplate_tools::restic::{Keep, Restic, Summary};
use bedplate_tools::virsh::Virsh;

use super::error::BackupError;
use super::quiesce::{self, Held};
use super::record::{self, Attempt};
use super::session::Session;
use super::source::{self, Shown, Source, Wanted};
use crate::context::Context;

/// Runs the backup `name` and records how it ended.
pub fn run(context: &Context, name: &str) -> Result<Summary, BackupError> {
    let backup = context.intent.backups.get(name);
    let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
    let result = attempt(context, name);
    // An attempt may have made the repository and noted that.
    let mut record = record::read(&context.state, name, &backup.repository)?;
    let attempt = match &result {
        Ok(summary) => Attempt::now(Some(summary.snapshot_id.clone()), summary.data_added, None),
        Err(error) => Attempt::now(None, 0, Some(error.to_string())),
    };
    if let Ok(summary) = &result {
        record.local = Some(summary.snapshot_id.clone());
        record.last_success = Some(attempt.clone());
    }
    record.last = Some(attempt);
    let written = record::write(&context.state, name, &record);
    let summary = result?;
    written?;
    Ok(summary)
}

fn attempt(context: &Context, name: &str) -> Result<Summary, BackupError> {
    let session = Session::open(context, name)?;
    let wanted = session.wanted()?;
    let restic = session.make_ready()?;
    let sources = snapshots(&session, &wanted)?;
    match store(&session, &restic, &sources) {
        Ok(summary) => Ok(summary),
        Err(error) => {
            // Nothing will ever be compared with these; what fails here is removed by the next run.
            let _ = source::remove(name, &wanted);
            Err(error)
        }
    }
}

/// Snapshots of the paths, with the machines held whose disks are in them.
fn snapshots(session: &Session<'_>, wanted: &[Wanted]) -> Result<Vec<Source>, BackupError> {
    let Session { context, name, backup, .. } = session;
    let mut record = record::read(&context.state, name, &backup.repository)?;
    if record.local.take().is_some() {
        // Before the snapshots go: a drill must not compare with what is there no longer.
        record::write(&context.state, name, &record)?;
    }
    let sources = source::sources(name, wanted)?;
    let virsh = Virsh::new("qemu:///system");
    let _one_at_a_time = quiesce::lock(&context.runtime)?;
    quiesce::recover(&virsh, &context.runtime)?;
    let paths: Vec<PathBuf> = wanted.iter().map(|one| one.path.clone()).collect();
    let names = quiesce::running(&virsh, quiesce::affected(&context.intent, &paths))?;
    let held = Held::hold(&virsh, &context.runtime, &names)?;
    let taken = source::take(name, wanted, &sources);
    let released = held.release();
    taken?;
    released?;
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
    let summary = restic.backup(host, &tag, &shown.place, &shown.paths);
    shown.hide()?;
    let summary = summary?.ok_or(BackupError::NoSnapshot)?;
    restic.forget(host, &tag, keep(session.backup))?;
    Ok(summary)
}

fn keep(backup: &Backup) -> Keep {
    let keep = &backup.keep;
    Keep { daily: keep.daily, weekly: keep.weekly, monthly: keep.monthly }
}
