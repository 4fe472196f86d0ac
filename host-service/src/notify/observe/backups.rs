//! Backups that are too old, and repositories in which nothing can be forgotten.

use bedplate_model::host::Backup;

use super::super::machine::{Area, Condition};
use crate::backup::fresh;
use crate::backup::record::{self, Record};
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;

/// All that there is to say of backups.
pub(super) fn look(context: &Context, now: u64) -> Vec<Condition> {
    backups(context, now).into_iter().chain(kept(context)).collect()
}

pub(super) fn backups(context: &Context, now: u64) -> Vec<Condition> {
    let condition = |(name, backup): (&String, &Backup)| {
        let record = match record::read(&context.state, name, &backup.repository) {
            Ok(record) => record,
            Err(error) => {
                let title = format!("it is not known how old the backup {name} is");
                return Some(backup_condition(name, "unknown", title, in_line(&error), 0));
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
pub(super) fn kept(context: &Context) -> Vec<Condition> {
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
