//! Measures the figures that matter and prints them beside their targets.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bedplate_events::{Event, EventKind};
use bedplate_tests::Failure;
use bedplate_tests::benchmark::{directory, ended};
use bedplate_tests::derivations;
use bedplate_tests::disk_figure::DiskFigure;
use bedplate_tests::seed::Sizes;
use bedplate_tests::settled_guests;
use bedplate_tests::story::Story;
use bedplate_tests::unlocking::Unlocking;

/// How long the installed machine may take until its pools are mounted.
const BOOT_LIMIT: Duration = Duration::from_secs(6 * 60);

fn main() -> ExitCode {
    ended(measure())
}

fn measure() -> Result<(), Failure> {
    let directory = directory()?;
    let quiet = Arc::new(|_: &str| ());
    let mut story = Story::begin(directory.path(), Sizes::True, false, quiet)?;
    let cold = story.path("cold-cache");
    medium(&story, &cold, "cold cache, packages downloaded anew")?;
    // What a change of our programs costs beyond their compilation.
    let closure = medium(&story, &cold, "warm cache, target under 20 s")?;
    let path = story.path("bedplate.iso");
    let size = path.metadata().map_or(0, |metadata| metadata.len());
    println!("ISO: {} MB, target under 600 MB", size / 1_000_000);

    let installed = story.install(&path)?;
    let events = story.events()?;
    println!(
        "\nInstall: power-on to power-off {} s with 2 GiB of memory, ended by {}",
        installed.seconds, installed.end
    );
    steps(&events);
    if let Some(figure) = DiskFigure::of(&events) {
        disks(figure, derivations::one_after_the_other(&story)?);
    }
    println!("\nBoot: {}", unlocking(&story)?);
    println!(
        "\nConverge in the machine, {} domains and nothing to do: {:.2} s, target under 2 s",
        settled_guests::MACHINES,
        settled_guests::measure(&story)?.as_secs_f64()
    );
    // The last: the installed system is lost by it.
    compare_with_dd(&story, &path, &events, closure)
}

/// What the disks took, beside what their keys alone take: as they were made, side by side, and
/// seven runs one after the other.
fn disks(figure: DiskFigure, in_turn: Duration) {
    let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
    println!(
        "\nPartition, LUKS and mkfs: {:.1} s; one Argon2id benchmark {:.1} s",
        seconds(figure.took),
        seconds(figure.benchmark)
    );
    let turned = figure.with_runs(in_turn);
    for (runs, how) in [(turned, "one after the other"), (figure, "side by side")] {
        println!(
            "  and one run a volume, {how}, {:.1} s: {:.2} of both and a fifth ({:.1} s)",
            seconds(runs.runs),
            figure.took as f64 / runs.allowed() as f64,
            seconds(runs.allowed())
        );
    }
}

/// What unlocking cost at a boot of what was installed.
fn unlocking(story: &Story) -> Result<Unlocking, Failure> {
    let running = story.start(story.disks())?;
    for pool in ["/mnt/vmstore", "/mnt/bulk"] {
        running.wait_for_text(&[&format!("is mounted at {pool}")], BOOT_LIMIT)?;
    }
    Ok(Unlocking::read(&running.console()))
}

/// How long the system takes to get into the target's store beside `dd` of as many bytes to the
/// same opened LUKS device, in the same guest.
fn compare_with_dd(
    story: &Story,
    medium: &Path,
    events: &[Event],
    closure: u64,
) -> Result<(), Failure> {
    let took: u64 = ["write-system", "copy-closure"].iter().filter_map(|id| took(events, id)).sum();
    if took == 0 {
        return Err(Failure::Unfit("the installation told nothing of its copy".to_owned()));
    }
    let copied = closure as f64 * 1000.0 / took as f64;
    let raw = story.raw_write(medium, closure)?;
    println!(
        "\nClosure of {:.0} MB into the store: {:.1} MB/s; dd of as much to the same opened LUKS device: {:.1} MB/s; ratio {:.2}, target 0.6",
        closure as f64 / 1e6,
        copied / 1e6,
        raw / 1e6,
        copied / raw
    );
    Ok(())
}

/// How long a step took, in milliseconds.
fn took(events: &[Event], wanted: &str) -> Option<u64> {
    events.iter().find_map(|event| match &event.kind {
        EventKind::StepDone { step, milliseconds, .. } if step == wanted => Some(*milliseconds),
        _ => None,
    })
}

fn medium(story: &Story, cache: &Path, what: &str) -> Result<u64, Failure> {
    let begun = Instant::now();
    let path = story.path("bedplate.iso");
    let report = story.workspace.build_medium_from(cache, &path, &mut |_| ())?;
    println!("ISO, {what}: {:.1} s", begun.elapsed().as_secs_f64());
    for (stage, duration) in &report.stages {
        println!("  {:7.1} s  {stage}", duration.as_secs_f64());
    }
    Ok(report.closure_bytes)
}

/// The split by step, and the rate of what counts bytes.
fn steps(events: &[Event]) {
    for event in events {
        match &event.kind {
            EventKind::StepDone { step, milliseconds, .. } => {
                let rate = bytes_of(events, step).map(|bytes| {
                    let rate = bytes as f64 / 1000.0 / (*milliseconds).max(1) as f64;
                    format!("  {:.0} MB at {rate:.1} MB/s", bytes as f64 / 1e6)
                });
                let seconds = *milliseconds as f64 / 1000.0;
                println!("  {seconds:7.1} s  {step}{}", rate.unwrap_or_default());
            }
            EventKind::PlanDone { milliseconds, .. } => {
                let seconds = *milliseconds as f64 / 1000.0;
                println!("  {seconds:7.1} s  answers found to the end, target under 240 s");
            }
            _ => {}
        }
    }
}

fn bytes_of(events: &[Event], wanted: &str) -> Option<u64> {
    let done = |event: &Event| match &event.kind {
        EventKind::Progress { step, done, unit, .. }
            if step == wanted && *unit == bedplate_events::Unit::Bytes =>
        {
            Some(*done)
        }
        _ => None,
    };
    events.iter().filter_map(done).next_back()
}
