//! `[restore]`: backups that come back onto new pools, before anything uses them.
//!
//! Each path comes back only where nothing is. It is fetched into a directory of its own on the pool,
//! and moved to its place when all of it is there. The record of it stands on the pool too: it lasts as
//! long as the data does. Until a restore is finished everything that would use its paths is held back.

mod diff;
mod engine;
mod record;

use std::path::{Path, PathBuf};

use bedplate_model::host::HostFile;
use bedplate_tools::restic;

use bedplate_resources::context::Context;

pub use diff::{Action, Observed, Occupied};
#[cfg(test)]
pub(crate) use engine::fetch;
pub use engine::{RestoreError, Restores};
pub use record::{Record, Stage};

/// Directory at the top of a pool.
const DIRECTORY: &str = ".bedplate-restore";

/// The document without what would use the paths of the backups `pending`: their guests, their
/// exports, and backups of them, which would store that nothing is there. A repository on a path that
/// comes back would be made there anew.
pub fn held_back(intent: &HostFile, pending: &[String]) -> HostFile {
    let paths: Vec<PathBuf> = pending
        .iter()
        .filter_map(|name| intent.backups.get(name))
        .flat_map(|backup| backup.paths.iter().map(PathBuf::from))
        .collect();
    let concerns =
        |path: &Path| paths.iter().any(|one| one.starts_with(path) || path.starts_with(one));
    let mut rest = intent.clone();
    rest.retain_guests(|guest| !guest.touches(&paths));
    rest.nfs.exports.retain(|export| !concerns(Path::new(&export.path)));
    rest.backups.retain(|_, backup| {
        let repository = restic::is_local(&backup.repository).then_some(&backup.repository);
        !backup.paths.iter().chain(repository).any(|path| concerns(Path::new(path)))
    });
    rest
}

/// A restore that is not done, and that a backup must wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Name of the backup that is to come back.
    pub restore: String,
    /// How far it is, or why that cannot be said.
    pub why: String,
}

/// The restore for which the backup `name` must wait: what it would store now is what has not come
/// back, and the restore would take that for the newest there is.
pub fn in_the_way(context: &Context, name: &str) -> Option<Pending> {
    let names = context.intent.restore.iter().flat_map(|restore| &restore.backups);
    let mut concerned = names.filter(|restore| {
        let rest = held_back(&context.intent, std::slice::from_ref(restore));
        !rest.backups.contains_key(name)
    });
    concerned.find_map(|restore| {
        let why = engine::left(context, restore)?;
        Some(Pending { restore: restore.clone(), why })
    })
}

/// Whether anything of `[restore]` is not done, or cannot be looked at.
pub fn is_pending(context: &Context) -> bool {
    let mut names = context.intent.restore.iter().flat_map(|restore| &restore.backups);
    names.any(|name| engine::left(context, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_sample as sample;

    #[test]
    fn what_would_use_what_is_not_back_yet_is_held_back_and_nothing_else() {
        let intent = sample::intent();
        let rest = held_back(&intent, &["apps".into()]);
        let exports: Vec<_> = rest.nfs.exports.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(exports, ["/mnt/bulk/homeassistant-vm"]);
        assert!(rest.backups.is_empty() && rest.vms.contains_key("haos"));
        assert_eq!(rest.network, intent.network);

        let mut intent = intent;
        let mut vms = intent.backups["apps"].clone();
        vms.paths = vec!["/mnt/vmstore".into()];
        intent.backups.insert("vms".into(), vms);
        // The repository of `apps` would be made anew where the old one comes back.
        assert!(held_back(&intent, &["vms".into()]).backups.is_empty());
        intent.backups.get_mut("apps").unwrap().repository = "sftp:b@nas:/r".into();
        let rest = held_back(&intent, &["vms".into()]);
        assert!(rest.vms.is_empty() && rest.backups.contains_key("apps"));
        assert_eq!(held_back(&intent, &[]), intent);
    }
}
