//! A repository in use: opened, alone among this machine's own, and proven to be there.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_model::host::{Backup, FileSystem, HostFile, Pool};
use bedplate_tools::command::CommandError;
use bedplate_tools::restic::{self, Restic};

use super::access::{AccessError, Opener};
use super::choice::{self, Choice};
use super::decision::{Decision, Known, decide};
use super::error::BackupError;
use super::source::Wanted;
use super::{key, lock, record};
use bedplate_resources::context::Context;

/// One backup of `host.toml` with its repository.
#[derive(Debug)]
pub struct Session<'a> {
    /// What is known of this machine.
    pub context: &'a Context,
    /// Name in `host.toml`.
    pub name: &'a str,
    /// What `host.toml` says of it.
    pub backup: &'a Backup,
    opener: Opener,
    /// Released when it is dropped.
    _alone: File,
}

impl<'a> Session<'a> {
    /// Opens the backup `name`; nothing is asked of the repository yet.
    pub fn open(context: &'a Context, name: &'a str) -> Result<Self, BackupError> {
        Self::opened_by(context, name, Opener::read)
    }

    /// As [`Session::open`], with what opens the repository from elsewhere.
    pub(super) fn opened_by(
        context: &'a Context,
        name: &'a str,
        opener: impl FnOnce(&Context, &Backup) -> Result<Opener, AccessError>,
    ) -> Result<Self, BackupError> {
        let backup = context.intent.backups.get(name);
        let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
        if restic::is_local(&backup.repository) {
            let pool = backup.repository_pool.as_deref().unwrap_or_default();
            context.pool_mount(pool).map_err(BackupError::Pool)?;
        }
        let alone = alone(context, name)?;
        Ok(Self { context, name, backup, opener: opener(context, backup)?, _alone: alone })
    }

    /// The repository.
    pub fn restic(&self) -> Restic<'_> {
        self.opener.restic()
    }

    /// Name of this machine, by which its snapshots are known.
    pub fn host(&self) -> &str {
        &self.context.intent.host.name
    }

    /// By which the snapshots of this backup are known.
    pub fn tag(&self) -> String {
        format!("bedplate-{}", self.name)
    }

    /// The repository must be there. What processes of this machine left locked is unlocked.
    pub fn expect(&self) -> Result<Restic<'_>, BackupError> {
        let restic = self.restic();
        if let Err(probe) = restic.probe() {
            let why = match probe.exit_code() {
                Some(restic::NO_REPOSITORY) => "there is none at that place",
                Some(restic::WRONG_PASSWORD) => "the password does not open it",
                _ => "it could not be looked at",
            };
            return Err(BackupError::Repository(why.into(), Some(probe)));
        }
        free(&restic, self.host())?;
        Ok(restic)
    }

    /// The repository must be there, or is made when it never was.
    pub fn make_ready(&self) -> Result<Restic<'_>, BackupError> {
        let (context, repository) = (self.context, self.backup.repository.as_str());
        let mut record = record::read(&context.state, self.name, repository)?;
        let restic = self.restic();
        let probe = restic.probe().err();
        let on_stick = key::is_noted(&context.intent, self.name, repository, &context.runtime);
        let known = match on_stick {
            Ok(on_stick) => Known { here: record.existed, on_stick },
            // A stick that cannot be read proves nothing.
            Err(_) => Known { here: record.existed, on_stick: None },
        };
        match decide(probe.as_ref().map(CommandError::exit_code), known) {
            Decision::Refuse(why) => return Err(BackupError::Repository(why, probe)),
            Decision::Use => {}
            Decision::Make => restic.init()?,
        }
        if !record.existed {
            record.existed = true;
            record::write(&context.state, self.name, &record)?;
        }
        if known.on_stick == Some(false) {
            key::note(&context.intent, self.name, repository, &context.runtime)
                .map_err(BackupError::Note)?;
        }
        free(&restic, self.host())?;
        Ok(restic)
    }

    /// The paths with their pools, all of which must be mounted.
    pub fn wanted(&self) -> Result<Vec<Wanted>, BackupError> {
        wanted(self.context, self.backup)
    }

    /// A snapshot of this backup, by its id or the start of it; the newest complete one otherwise.
    pub fn snapshot(&self, restic: &Restic<'_>, id: Option<&str>) -> Result<Choice, BackupError> {
        Ok(choice::choose(&restic.snapshots(self.host(), &self.tag())?, id)?)
    }
}

/// As [`Session::wanted`].
pub fn wanted(context: &Context, backup: &Backup) -> Result<Vec<Wanted>, BackupError> {
    let paths = backup.paths.iter().map(PathBuf::from);
    paths
        .map(|path| {
            let pool = pool_of(&context.intent, &path).unwrap_or_default();
            let mount = context.pool_mount(pool).map_err(BackupError::Pool)?;
            let file_system = file_system(&context.intent, &path);
            Ok(Wanted { path, mount: mount.into(), file_system })
        })
        .collect()
}

/// The name of the pool that a path is in.
pub fn pool_of<'a>(intent: &'a HostFile, path: &Path) -> Option<&'a str> {
    let inside = intent.pools.iter().filter(|(_, pool)| path.starts_with(&pool.mount));
    inside.max_by_key(|(_, pool)| pool.mount.len()).map(|(name, _)| name.as_str())
}

/// The file system of the pool that a path is in.
pub fn file_system(intent: &HostFile, path: &Path) -> FileSystem {
    let pool = pool_of(intent, path).and_then(|name| intent.pools.get(name));
    pool.map(Pool::file_system).unwrap_or_default()
}

fn free(restic: &Restic<'_>, host: &str) -> Result<(), BackupError> {
    match lock::decide(&restic.locks()?, host, &lock::lives) {
        // Where somebody works, restic waits for its turn.
        lock::Decision::Free | lock::Decision::Wait(_) => Ok(()),
        lock::Decision::Unlock => Ok(restic.unlock_stale()?),
    }
}

/// One task on one backup at a time; the next waits.
pub(super) fn alone(context: &Context, name: &str) -> Result<File, BackupError> {
    let path = context.runtime.join(format!("backup-{name}.lock"));
    let failed = |source: io::Error| BackupError::Alone { path: path.clone(), source };
    fs::create_dir_all(&context.runtime).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}
