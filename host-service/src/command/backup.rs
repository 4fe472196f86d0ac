//! `bedplate-host backup …`.

use std::io::Write;
use std::path::Path;

use super::Finished;
use crate::backup::record::Task;
use crate::backup::retrieve::{self, Request};
use crate::backup::session::Session;
use crate::backup::{run, upkeep};
use crate::context::Context;
use crate::handoff;

/// `bedplate-host backup run NAME`.
pub fn run(host_file: &Path, name: &str, json: bool, out: &mut dyn Write) -> Finished {
    let context = Context::read(host_file)?;
    handoff::expect_done(&context.state)?;
    let summary = run::run(&context, name)?;
    let (snapshot, added) = (&summary.snapshot_id, summary.data_added);
    if json {
        let line = serde_json::json!({ "backup": name, "snapshot": snapshot, "added": added });
        writeln!(out, "{line}")?;
    } else {
        writeln!(out, "backup {name}: snapshot {snapshot}, {added} bytes added")?;
    }
    Ok(())
}

/// `bedplate-host backup list NAME`: oldest first.
pub fn list(host_file: &Path, name: &str, json: bool, out: &mut dyn Write) -> Finished {
    let context = Context::read(host_file)?;
    let session = Session::open(&context, name)?;
    let found = session.expect()?.snapshots(session.host(), &session.tag())?;
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&found)?)?);
    }
    for snapshot in &found {
        let id: String = snapshot.id.chars().take(8).collect();
        let time: String = snapshot.time.chars().take(19).collect();
        match snapshot.summary {
            Some(size) => writeln!(
                out,
                "{id}  {time}  {} files, {} bytes",
                size.total_files_processed, size.total_bytes_processed
            )?,
            None => writeln!(out, "{id}  {time}")?,
        }
    }
    Ok(())
}

/// `bedplate-host backup restore NAME --to DIRECTORY`.
pub fn retrieve(
    host_file: &Path,
    request: &Request<'_>,
    json: bool,
    out: &mut dyn Write,
) -> Finished {
    let snapshot = retrieve::retrieve(&Context::read(host_file)?, request)?;
    let to = request.to.display().to_string();
    if json {
        let line = serde_json::json!({ "backup": request.name, "snapshot": snapshot, "to": to });
        return Ok(writeln!(out, "{line}")?);
    }
    Ok(writeln!(out, "backup {}: snapshot {snapshot} stands in {to}", request.name)?)
}

/// `bedplate-host backup prune | check | drill NAME`.
pub fn task(host_file: &Path, name: &str, task: Task, json: bool, out: &mut dyn Write) -> Finished {
    let said = upkeep::perform(&Context::read(host_file)?, name, task)?;
    if json {
        let line = serde_json::json!({ "backup": name, "task": task, "said": said });
        return Ok(writeln!(out, "{line}")?);
    }
    Ok(writeln!(out, "backup {name}: {task}: {said}")?)
}
