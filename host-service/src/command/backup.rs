//! `bedplate-host backup …`.

use std::io::Write;
use std::path::Path;

use bedplate_tools::restic::Snapshot;

use super::Finished;
use crate::backup::record::Task;
use crate::backup::retrieve::{self, Retrieval, Retrieved};
use crate::backup::room::Room;
use crate::backup::run::{self, Run};
use crate::backup::session::Session;
use crate::backup::{choice, upkeep};
use crate::handoff;
use bedplate_events::cause::in_line;
use bedplate_guests::hold::{self, Recovered, StillHeld};
use bedplate_platform::intent;
use bedplate_render::table::{Row, columns, table};

/// `bedplate-host backup run NAME`.
pub fn run(host_file: &Path, name: &str, json: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    handoff::expect_done(&context.state)?;
    let Run { summary, kept } = run::run(&context, name)?;
    let (snapshot, added) = (&summary.snapshot_id, summary.data_added);
    if json {
        let line = serde_json::json!({
            "backup": name, "snapshot": snapshot, "added": added, "kept": kept
        });
        return Ok(writeln!(out, "{line}")?);
    }
    writeln!(out, "backup {name}: snapshot {snapshot}, {added} bytes added")?;
    warn(name, kept.as_deref(), out)
}

/// `bedplate-host backup let-go`, by systemd when a backup has ended as `result` says (`$SERVICE_RESULT`
/// of systemd.exec(5)).
pub fn let_go(host_file: &Path, result: Option<String>, out: &mut dyn Write) -> Finished {
    if has_let_go(result.as_deref()) {
        return Ok(());
    }
    let context = intent::context(host_file)?;
    let held = hold::recover_if_idle(&bedplate_guests::drivers(), &context.runtime)?;
    show_recovered(held.as_ref(), out)
}

/// Whether it ended by itself: what it held it has let go then, as far as that can be.
fn has_let_go(result: Option<&str>) -> bool {
    matches!(result, Some("success" | "exit-code"))
}

/// What became of machines that a backup left held.
pub(super) fn show_recovered(held: Option<&Recovered>, out: &mut dyn Write) -> Finished {
    let Some(Recovered { free, left }) = held else { return Ok(()) };
    free.iter().try_for_each(|name| writeln!(out, "let go again: {name}"))?;
    for StillHeld { name, why, .. } in left {
        writeln!(out, "held still: {name}: {}", in_line(why))?;
    }
    Ok(())
}

/// `bedplate-host backup list NAME`: oldest first.
pub fn list(host_file: &Path, name: &str, json: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let session = Session::open(&context, name)?;
    let found = session.expect()?.snapshots(session.host(), &session.tag())?;
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&found)?)?);
    }
    let rows: Vec<Row> = found.iter().map(row).collect();
    Ok(out.write_all(table(&rows, columns()).as_bytes())?)
}

/// A snapshot for people.
fn row(snapshot: &Snapshot) -> Row {
    let (id, time) = (choice::short(&snapshot.id), choice::time(&snapshot.time));
    let (files, bytes) = snapshot
        .summary
        .map(|size| (size.total_files_processed, size.total_bytes_processed))
        .unzip();
    let files = files.map(|files| format!("{files} files")).unwrap_or_default();
    let bytes = bytes.map(|bytes| format!("{bytes} bytes")).unwrap_or_default();
    let mark = if snapshot.is_complete() { "" } else { "INCOMPLETE" };
    Row::from([id, time, files, bytes, mark.to_owned()])
}

/// In the journal a warning is a warning.
fn warn(name: &str, what: Option<&str>, out: &mut dyn Write) -> Finished {
    let mark = if std::env::var_os("JOURNAL_STREAM").is_some() { "<4>" } else { "" };
    what.map_or(Ok(()), |what| Ok(writeln!(out, "{mark}backup {name}: warning: {what}")?))
}

/// `bedplate-host backup restore NAME --to DIRECTORY`.
pub fn retrieve(
    host_file: &Path,
    request: &Retrieval<'_>,
    json: bool,
    out: &mut dyn Write,
) -> Finished {
    let Retrieved { snapshot, note } = retrieve::retrieve(&intent::context(host_file)?, request)?;
    let to = request.to.display().to_string();
    if json {
        let line = serde_json::json!({
            "backup": request.name, "snapshot": snapshot, "to": to, "note": note
        });
        return Ok(writeln!(out, "{line}")?);
    }
    writeln!(out, "backup {}: snapshot {snapshot} stands in {to}", request.name)?;
    warn(request.name, note.as_deref(), out)
}

/// `bedplate-host backup prune | check | drill NAME`.
pub fn task(
    host_file: &Path,
    name: &str,
    (task, room): (Task, Room),
    json: bool,
    out: &mut dyn Write,
) -> Finished {
    let said = upkeep::perform(&intent::context(host_file)?, name, task, room)?;
    if json {
        let line = serde_json::json!({ "backup": name, "task": task, "said": said });
        return Ok(writeln!(out, "{line}")?);
    }
    Ok(writeln!(out, "backup {name}: {task}: {said}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t51_what_a_backup_that_was_killed_held_is_let_go_and_nothing_after_one_that_ended() {
        for killed in ["signal", "core-dump", "oom-kill", "timeout", "watchdog"] {
            assert!(!has_let_go(Some(killed)), "{killed}");
        }
        assert!(!has_let_go(None), "by hand");
        assert!(has_let_go(Some("success")) && has_let_go(Some("exit-code")));
    }
}
