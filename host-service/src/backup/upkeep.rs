//! Prune, check and drill: each with a schedule of its own, each recorded.

use super::drill::{self, Drilled};
use super::error::BackupError;
use super::record::{self, Attempt, Task};
use super::room::Room;
use super::session::Session;
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;

/// Does a task on the repository of the backup `name`, and records how it ended. Returns what there is
/// to say of it.
pub fn perform(
    context: &Context,
    name: &str,
    task: Task,
    room: Room,
) -> Result<String, BackupError> {
    let backup = context.intent.backups.get(name);
    let backup = backup.ok_or_else(|| BackupError::Unknown(name.to_owned()))?;
    let result = attempt(context, name, task, room);
    let failure = result.as_ref().err().map(|error| in_line(error));
    let mut record = record::read(&context.state, name, &backup.repository)?;
    record.tasks.insert(task, Attempt::now(None, 0, failure));
    let written = record::write(&context.state, name, &record);
    let text = result?;
    written?;
    Ok(text)
}

fn attempt(context: &Context, name: &str, task: Task, room: Room) -> Result<String, BackupError> {
    let session = Session::open(context, name)?;
    let restic = session.expect()?;
    match task {
        Task::Prune => restic.prune()?,
        Task::Check => {
            restic.check()?;
            newest_is_there(&session)?;
        }
        Task::CheckData => restic.check_data()?,
        Task::Drill => {
            let Drilled { snapshot, found } = drill::drill(&session, &restic, room)?;
            let (files, bytes) = (found.files, found.bytes);
            return Ok(format!(
                "snapshot {snapshot} came back: {files} files, {bytes} bytes, all equal"
            ));
        }
    }
    Ok("done".into())
}

/// What the record takes for the newest backup must be in the repository: somebody else may have
/// deleted it, and then the newest is older than anybody is told.
fn newest_is_there(session: &Session<'_>) -> Result<(), BackupError> {
    let Session { context, name, backup, .. } = session;
    let record = record::read(&context.state, name, &backup.repository)?;
    let newest = record.last_success.and_then(|success| success.snapshot);
    let Some(newest) = newest else { return Ok(()) };
    let found = session.restic().snapshots(session.host(), &session.tag())?;
    let is_there = found.iter().any(|snapshot| snapshot.is_called(&newest));
    if is_there { Ok(()) } else { Err(BackupError::Lost(newest)) }
}
