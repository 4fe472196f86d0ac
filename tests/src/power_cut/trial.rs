//! One cut, tried: what the disks do after it, the installer once more, and the result.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use bedplate_events::{Event, EventKind};
use bedplate_qemu_harness::disk_image::sha256_of;
use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::running::Running;

use super::cases::Case;
use super::recording::{Recording, blank};
use super::results::Outcome;
use super::subject::Subject;
use crate::failure::{Failure, file};
use crate::seed::CANARY;
use crate::small::{COMPLETE, DAMAGED};

/// What the console shows when an installation will not go on.
pub const STOPPED: [&str; 3] =
    ["Nothing further will be written", "Kernel panic", "You are in emergency mode"];
/// What the installer says of disks whose installation is finished.
const FINISHED: &str = "nothing is written";
/// What it says last when it has finished one.
const DONE: &str = "Finished in ";
/// How firmware and boot loader show that there is nothing to boot.
const NOTHING_TO_BOOT: [&str; 2] = ["UEFI Interactive Shell", "No loader found"];
/// How long anything may take: on a busy machine several times what it needs.
const LIMIT: Duration = Duration::from_secs(600);

/// Tries one case in a directory of its own, which stays when something is wrong.
pub fn run(subject: &Subject, recording: &Recording, case: &Case) -> Result<Outcome, Failure> {
    let place = tempfile::Builder::new().prefix("bedplate-cut-").tempdir_in("/var/tmp");
    let place = place.map_err(file("make a directory in", Path::new("/var/tmp")))?;
    let begun = Instant::now();
    let mut outcome = Outcome {
        case: case.clone(),
        build: subject.build.clone(),
        after_cut: String::new(),
        again: String::new(),
        seconds: 0.0,
        failure: None,
    };
    let tried = attempt(subject, recording, place.path(), &mut outcome);
    outcome.seconds = begun.elapsed().as_secs_f64();
    if let Err(failure) = tried {
        let kept = place.keep();
        outcome.failure = Some(format!("{}\n  kept: {}", failure.chain(), kept.display()));
    }
    Ok(outcome)
}

fn attempt(
    subject: &Subject,
    recording: &Recording,
    place: &Path,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let disks = subject.disks(place);
    blank(&disks)?;
    let canary = canary_of(&disks)?;
    replay(recording, outcome.case.cut, &disks)?;
    outcome.after_cut = boot(subject, &disks, place)?;
    let complete = outcome.after_cut.starts_with(COMPLETE);
    keep_log(place, "installed", "after-cut")?;
    outcome.again = install(subject, &disks, place)?;
    if complete != (outcome.again == FINISHED) {
        return Err(Failure::Unfit(format!(
            "after the cut: {}; the installer said: {}",
            outcome.after_cut, outcome.again
        )));
    }
    let result = boot(subject, &disks, place)?;
    if !result.starts_with(COMPLETE) {
        return Err(Failure::Unfit(format!("the result does not boot: {result}")));
    }
    if canary_of(&disks)? != canary {
        return Err(Failure::Unfit("the disk that nobody names was changed".to_owned()));
    }
    Ok(())
}

fn replay(
    recording: &Recording,
    cut: bedplate_qemu_harness::nbd::cut::Cut,
    disks: &[Disk],
) -> Result<(), Failure> {
    let open = |disk: &Disk| File::options().write(true).open(&disk.file);
    let images: Result<Vec<File>, _> = disks.iter().map(open).collect();
    let images = images.map_err(file("open an image in", Path::new("/var/tmp")))?;
    let replayed = recording.log.replay(cut, &images);
    replayed.map_err(|error| Failure::Unfit(format!("the log cannot be replayed: {error}")))
}

fn canary_of(disks: &[Disk]) -> Result<String, Failure> {
    let canary = disks.iter().find(|disk| disk.role == CANARY);
    let canary = canary.ok_or_else(|| Failure::Unfit("there is no canary".to_owned()))?;
    Ok(sha256_of(&canary.file)?)
}

/// Starts the machine from its disks: complete, or visibly nothing to boot.
fn boot(subject: &Subject, disks: &[Disk], place: &Path) -> Result<String, Failure> {
    // The firmware of a machine that never booted from these disks knows nothing of them.
    fs::remove_file(place.join("installed.vars.fd")).ok();
    let shown = [COMPLETE, NOTHING_TO_BOOT[0], NOTHING_TO_BOOT[1], DAMAGED];
    let running = subject.installed(disks.to_vec()).start(place, None)?;
    let index = running.wait_for_text(&shown, LIMIT)?;
    if NOTHING_TO_BOOT.contains(&shown[index]) {
        return Ok(format!("nothing to boot: {}", shown[index]));
    }
    running.wait_for_end(LIMIT)?;
    let line = line_of(&running, shown[index]);
    if shown[index] == COMPLETE {
        return Ok(line);
    }
    Err(Failure::Unfit(format!("it booted, but not complete:\n{}", running.tail())))
}

fn line_of(running: &Running, text: &str) -> String {
    let console = running.console();
    let line = console.lines().find(|line| line.contains(text)).unwrap_or_default();
    line[line.find(text).unwrap_or(0)..].trim().to_owned()
}

/// Starts the medium: it finishes the installation, or finds it finished. The machine has no time
/// to go down then: what is not on its disks when the installer says so is lost. That it goes
/// down by itself was seen when the installation was recorded.
fn install(subject: &Subject, disks: &[Disk], place: &Path) -> Result<String, Failure> {
    let shown = [FINISHED, DONE, STOPPED[0], STOPPED[1], STOPPED[2]];
    let running = subject.installing(disks.to_vec()).start(place, None)?;
    let index = running.wait_for_text(&shown, LIMIT)?;
    match index {
        0 => Ok(FINISHED.to_owned()),
        1 => {
            let is_done = |event: &Event| matches!(event.kind, EventKind::PlanDone { .. });
            running.wait_for_event("the end of the plan", LIMIT, is_done)?;
            require_success(&running)?;
            let steps = steps_of(&running);
            running.cut_power()?;
            Ok(steps)
        }
        _ => Err(Failure::Unfit(format!("the installer stopped:\n{}", running.tail()))),
    }
}

/// What was found done already, and what was done.
fn steps_of(running: &Running) -> String {
    let (mut all, mut kept) = (0, 0);
    for event in running.events() {
        if let EventKind::StepDone { outcome, .. } = event.kind {
            all += 1;
            kept += usize::from(outcome == bedplate_events::Outcome::AlreadyDone);
        }
    }
    format!("installed: {all} steps, {kept} found done")
}

/// A machine that went down says nothing yet: the installation must have said that it is done.
pub fn require_success(running: &Running) -> Result<(), Failure> {
    let done = running
        .events()
        .iter()
        .any(|event| matches!(event.kind, EventKind::PlanDone { success: true, .. }));
    if done {
        return Ok(());
    }
    Err(Failure::Unfit(format!("the machine went down uninstalled:\n{}", running.tail())))
}

fn keep_log(place: &Path, name: &str, as_name: &str) -> Result<(), Failure> {
    let log = place.join(format!("{name}.serial.log"));
    fs::rename(&log, place.join(format!("{as_name}.serial.log"))).map_err(file("rename", &log))
}
