//! One run of one backup.

use std::path::PathBuf;

use bedplate_spec::host::Backup;
use bedplate_tools::command::CommandError;
use bedplate_tools::restic::{self, Keep, Restic, Summary};

use super::decision::{Decision, decide};
use super::key::{self, KeyError};
use super::record::{self, Attempt, RecordError};
use super::source::{SourceError, Sources, Wanted};
use crate::atomic::WriteError;
use crate::context::Context;

/// A backup that was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No such backup.
    #[error("host.toml declares no backup `{0}`")]
    Unknown(String),
    /// A pool is not mounted.
    #[error("{0}")]
    Pool(String),
    /// The password.
    #[error("the password of the repository could not be read")]
    Key(#[from] KeyError),
    /// The repository.
    #[error("the repository is in doubt: {0}")]
    Repository(String, #[source] Option<CommandError>),
    /// restic.
    #[error("restic failed")]
    Restic(#[from] CommandError),
    /// It did not say what it made.
    #[error("restic named no snapshot")]
    NoSnapshot,
    /// The source.
    #[error("what is to be backed up could not be prepared")]
    Source(#[from] SourceError),
    /// The record.
    #[error("the record of the backup could not be read")]
    Record(#[from] RecordError),
    /// The record.
    #[error("the record of the backup could not be written")]
    Write(#[from] WriteError),
}

/// Runs the backup `name` and records how it ended.
pub fn run(context: &Context, name: &str) -> Result<Summary, BackupError> {
    let backup = context.intent.backups.get(name);
    let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
    let result = attempt(context, name, backup);
    // An attempt may have made the repository and noted that.
    let mut record = record::read(&context.state, name, &backup.repository)?;
    let attempt = match &result {
        Ok(summary) => Attempt::now(Some(summary.snapshot_id.clone()), summary.data_added, None),
        Err(error) => Attempt::now(None, 0, Some(error.to_string())),
    };
    if result.is_ok() {
        record.last_success = Some(attempt.clone());
    }
    record.last = Some(attempt);
    let written = record::write(&context.state, name, &record);
    let summary = result?;
    written?;
    Ok(summary)
}

fn attempt(context: &Context, name: &str, backup: &Backup) -> Result<Summary, BackupError> {
    let wanted = wanted(context, backup)?;
    let password = key::read(context, &backup.password)?;
    let cache = PathBuf::from("/var/cache/restic");
    let restic = Restic { repository: &backup.repository, password: &password, cache };
    ready_repository(context, name, backup, &restic)?;
    let mut sources = Sources::default();
    let made = sources.take(name, &wanted).map_err(BackupError::from).and_then(|()| {
        let host = &context.intent.host.name;
        let summary = restic.backup(host, &tag(name), sources.paths())?;
        let summary = summary.ok_or(BackupError::NoSnapshot)?;
        restic.forget(host, &tag(name), keep(backup))?;
        Ok(summary)
    });
    let released = sources.release();
    let summary = made?;
    released?;
    Ok(summary)
}

/// Every pool that is read from or written to must be mounted.
fn wanted(context: &Context, backup: &Backup) -> Result<Vec<Wanted>, BackupError> {
    if restic::is_local(&backup.repository) {
        let pool = backup.repository_pool.as_deref().unwrap_or_default();
        context.pool_mount(pool).map_err(BackupError::Pool)?;
    }
    let pool_of = |path: &PathBuf| {
        let pools = context.intent.pools.iter();
        let inside = pools.filter(|(_, pool)| path.starts_with(&pool.mount));
        inside.max_by_key(|(_, pool)| pool.mount.len()).map(|(name, _)| name.as_str())
    };
    let paths = backup.paths.iter().map(PathBuf::from);
    paths
        .map(|path| {
            let pool = pool_of(&path).unwrap_or_default();
            let mount = context.pool_mount(pool).map_err(BackupError::Pool)?;
            Ok(Wanted { path, mount: mount.into() })
        })
        .collect()
}

fn ready_repository(
    context: &Context,
    name: &str,
    backup: &Backup,
    restic: &Restic<'_>,
) -> Result<(), BackupError> {
    let mut record = record::read(&context.state, name, &backup.repository)?;
    let probe = restic.probe().err();
    match decide(probe.as_ref().map(CommandError::exit_code), record.existed) {
        Decision::Refuse(why) => return Err(BackupError::Repository(why, probe)),
        Decision::Use => {}
        Decision::Make => restic.init()?,
    }
    if !record.existed {
        record.existed = true;
        record::write(&context.state, name, &record)?;
    }
    Ok(())
}

fn tag(name: &str) -> String {
    format!("bedplate-{name}")
}

fn keep(backup: &Backup) -> Keep {
    let keep = &backup.keep;
    Keep { daily: keep.daily, weekly: keep.weekly, monthly: keep.monthly }
}
