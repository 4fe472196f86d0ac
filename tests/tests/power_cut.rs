//! F1: the power is cut while a machine is installed, at many moments of one recorded
//! installation. Run by name.
//!
//! A cut is to cost at most 60 s, its re-run included: replay, a boot that shows what the cut left,
//! the medium's boot and installation, and the boot of the result. On two idle processors 53 to
//! 65 s were seen, the longest where everything is still to be installed; what others compute
//! beside it adds to that. Two cuts at once are no way out: the emulated timer comes so late then
//! that kernels give up ("IO-APIC + timer doesn't work").
//! The installed tree has 16 MB; with our programs, their libraries and stage 1, which every
//! installation carries, 47 MB are copied.
//!
//! `BEDPLATE_SHARD=2/4` tries a part of the full set, `BEDPLATE_CUT=closure` the cuts whose names
//! contain that. What the full set gave is kept in `target/power-cut/results.jsonl`; cuts that went
//! well with the same build are not tried again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use bedplate_tests::Failure;
use bedplate_tests::power_cut::cases::{self, Case};
use bedplate_tests::power_cut::recording::Recording;
use bedplate_tests::power_cut::results::Results;
use bedplate_tests::power_cut::shape::Shape;
use bedplate_tests::power_cut::subject::Subject;
use bedplate_tests::power_cut::trial;

fn recorded(shape: Shape, parent: &Path) -> Result<(Subject, Recording), Failure> {
    let begun = Instant::now();
    let subject = Subject::of(shape, parent)?;
    println!("{:6.1} s  the medium, build {}", begun.elapsed().as_secs_f64(), subject.build);
    let begun = Instant::now();
    let recording = Recording::obtain(&subject)?;
    println!(
        "{:6.1} s  the recorded installation, {} entries",
        begun.elapsed().as_secs_f64(),
        recording.log.entries().len()
    );
    Ok((subject, recording))
}

/// Tries the cases one by one; the names of those that went wrong.
fn try_all(
    subject: &Subject,
    recording: &Recording,
    cases: &[Case],
    results: Option<&Results>,
) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for case in cases {
        let outcome = trial::run(subject, recording, case)?;
        println!(
            "{:6.1} s  {} (entry {}): {}; {}{}",
            outcome.seconds,
            case.name,
            case.cut.position,
            outcome.after_cut,
            outcome.again,
            outcome.failure.iter().map(|text| format!("\n  WRONG {text}")).collect::<String>()
        );
        if outcome.failure.is_some() {
            wrong.push(case.name.clone());
        }
        if let Some(results) = results {
            results.add(&outcome)?;
        }
    }
    Ok(wrong)
}

#[test]
fn f1_six_telling_cuts_boot_complete_or_not_at_all_and_are_finished_by_the_next_run() {
    let directory = tempfile::Builder::new().prefix("bedplate-power-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let tried = recorded(Shape::Cached, directory.path()).and_then(|(subject, recording)| {
        try_all(&subject, &recording, &cases::telling(&recording)?, None)
    });
    assert_eq!(tried.unwrap_or_else(|failure| panic!("{}", failure.chain())), [""; 0]);
}

/// Tries what was not tried with this build before, and keeps what came of it below `target`.
fn try_the_rest(
    directory: &str,
    shape: Shape,
    choose: fn(&Recording) -> Result<Vec<Case>, Failure>,
) -> Result<Vec<String>, Failure> {
    let parent = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target").join(directory);
    std::fs::create_dir_all(&parent).unwrap();
    // The medium and the record stand there: one run at a time.
    let alone = std::fs::File::create(parent.join("lock")).unwrap();
    alone.lock().unwrap();
    let results = Results::at(&parent.join("results.jsonl"));
    let (subject, recording) = recorded(shape, &parent)?;
    let mut cases = choose(&recording)?;
    if let Ok(shard) = std::env::var("BEDPLATE_SHARD") {
        cases = cases::shard(cases, &shard)?;
    }
    if let Ok(part) = std::env::var("BEDPLATE_CUT") {
        cases.retain(|case| case.name.contains(&part));
    }
    let (all, passed) = (cases.len(), results.passed(&subject.build)?);
    cases.retain(|case| !passed.contains(&case.name));
    println!("{} of {all} cuts are to be tried", cases.len());
    try_all(&subject, &recording, &cases, Some(&results))
}

#[test]
#[ignore = "hours: `cargo xtask test --full`"]
fn f1_cuts_after_each_step_and_at_sixty_random_times() {
    let tried = try_the_rest("power-cut", Shape::Cached, cases::all);
    assert_eq!(tried.unwrap_or_else(|failure| panic!("{}", failure.chain())), [""; 0]);
}

#[test]
#[ignore = "half an hour: `cargo xtask test --full`"]
fn f1_five_cuts_on_the_full_shape() {
    let tried = try_the_rest("power-cut-full-shape", Shape::Full, cases::full_shape);
    assert_eq!(tried.unwrap_or_else(|failure| panic!("{}", failure.chain())), [""; 0]);
}
