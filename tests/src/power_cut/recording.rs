//! An installation with everything it wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use bedplate_events::{Event, EventKind};
use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::nbd::log::WriteLog;
use bedplate_qemu_harness::nbd::server::Server;
use bedplate_qemu_harness::pace::Patience;
use bedplate_qemu_harness::{canary, disk_image};
use serde::{Deserialize, Serialize};

use super::subject::Subject;
use super::trial::{STOPPED, require_success};
use crate::failure::{Failure, file};
use crate::seed::CANARY;

/// How long the recorded installation may take.
const LIMIT: Duration = Duration::from_secs(900);
/// How often the events are looked at: what they say is placed in the log that exactly.
const GLANCE: Duration = Duration::from_millis(5);
const MARKS: &str = "marks.json";
const LOG: &str = "writes.log";

/// Where the log stood when something was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Step of the plan.
    pub step: String,
    /// Entries of the log when it began.
    pub begun: usize,
    /// And when it was done.
    pub done: usize,
}

/// A recorded installation.
pub struct Recording {
    /// Everything that was written.
    pub log: WriteLog,
    /// The steps, in order.
    pub marks: Vec<Mark>,
}

impl Recording {
    /// The one of a subject, made when it is not there.
    pub fn obtain(subject: &Subject) -> Result<Self, Failure> {
        let marks = subject.directory.join(MARKS);
        if !marks.exists() {
            record(subject)?;
        }
        let text = fs::read(&marks).map_err(file("read", &marks))?;
        let marks = serde_json::from_slice(&text);
        let marks = marks.map_err(|error| Failure::Unfit(format!("the marks: {error}")))?;
        let log = subject.directory.join(LOG);
        Ok(Self { log: WriteLog::open(&log).map_err(file("read", &log))?, marks })
    }

    /// The mark of a step.
    pub fn mark(&self, step: &str) -> Result<&Mark, Failure> {
        let found = self.marks.iter().find(|mark| mark.step == step);
        found.ok_or_else(|| Failure::Unfit(format!("the installation told nothing of `{step}`")))
    }
}

/// Makes every disk of a machine as it is before the first installation.
pub fn blank(disks: &[Disk]) -> Result<(), Failure> {
    for disk in disks {
        disk_image::create(disk)?;
        if disk.role == CANARY {
            canary::create(&disk.file)?;
        }
    }
    Ok(())
}

fn record(subject: &Subject) -> Result<(), Failure> {
    let place = tempfile::Builder::new().prefix("bedplate-record-").tempdir_in("/var/tmp");
    let place = place.map_err(file("make a directory in", Path::new("/var/tmp")))?;
    fs::create_dir_all(&subject.directory).map_err(file("make", &subject.directory))?;
    let disks = subject.disks(place.path());
    blank(&disks)?;
    let log: PathBuf = subject.directory.join(LOG);
    let server = Server::start(&place.path().join("nbd"), &disks, &log)?;
    let served = disks.iter().map(|disk| server.attach(disk)).collect();
    let running = subject.installing(served).start(place.path(), None)?;
    let (mut patience, mut seen, mut marks) = (Patience::new(LIMIT), 0, Vec::new());
    while !running.has_ended() {
        let position = server.position();
        let events = running.events();
        for event in events.iter().skip(seen) {
            note(&mut marks, event, position);
        }
        seen = events.len();
        let console = running.console();
        if STOPPED.iter().any(|text| console.contains(text)) {
            return Err(Failure::Unfit(format!("it was not installed:\n{}", running.tail())));
        }
        if !patience.goes_on(position as u64) {
            let (spent, tail) = (patience.spent(), running.tail());
            return Err(Failure::Unfit(format!("{spent}, it was not installed:\n{tail}")));
        }
        sleep(GLANCE);
    }
    require_success(&running)?;
    drop(running);
    server.stop()?;
    let text = serde_json::to_string_pretty(&marks);
    let text = text.map_err(|error| Failure::Unfit(format!("the marks: {error}")))?;
    let path = subject.directory.join(MARKS);
    // Last, and whole: a record with marks is complete.
    let staged = path.with_extension("new");
    fs::write(&staged, text).map_err(file("write", &staged))?;
    fs::rename(&staged, &path).map_err(file("rename", &staged))
}

fn note(marks: &mut Vec<Mark>, event: &Event, position: usize) {
    match &event.kind {
        EventKind::StepStarted { step } => {
            marks.push(Mark { step: step.clone(), begun: position, done: usize::MAX });
        }
        EventKind::StepDone { step, .. } => {
            if let Some(mark) = marks.iter_mut().find(|mark| mark.step == *step) {
                mark.done = position;
            }
        }
        _ => {}
    }
}
