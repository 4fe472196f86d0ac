//! An installer with a fault of its own, as a process: what it leaves, and what others see of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bedplate_engine::Reporter;
use bedplate_engine::parallel;
use bedplate_events::{Event, EventKind};
use bedplate_installer::places::Places;
use bedplate_installer::{lock, panics, remote, run};

/// Where the process that panics has its files.
const DIRECTORY: &str = "BEDPLATE_TEST_DIRECTORY";

/// What `run` sets up, and then two of the engine's threads that panic.
#[test]
#[ignore = "ends with a panic: the test below starts it as a process of its own"]
fn an_installer_that_panics() {
    let places = Places::below(Path::new(&std::env::var_os(DIRECTORY).unwrap()));
    let _lock = lock::take(&places.lock()).unwrap().unwrap();
    let reporter = Arc::new(Reporter::new(run::sinks(&places.events())));
    panics::tell(&reporter);
    reporter.emit(EventKind::PlanStarted {
        title: "install".into(),
        plan: None,
        steps: Vec::new(),
        destroys: Vec::new(),
    });
    let work = |number: &u32| -> Result<(), ()> { panic!("fault {number} \u{1b}[2J") };
    let _ = parallel::try_each(&[1, 2], 2, &work);
}

#[test]
fn t09_an_installer_that_panics_says_so_everywhere_and_ends() {
    let place = tempfile::tempdir().unwrap();
    let places = Places::below(place.path());
    std::fs::create_dir_all(places.lock().parent().unwrap()).unwrap();
    let begun = Instant::now();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_installer_that_panics", "--ignored", "--nocapture"])
        .env(DIRECTORY, place.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // systemd takes it for failed, and starts the shells of `OnFailure`.
    assert!(!output.status.success());
    assert!(begun.elapsed() < Duration::from_secs(60), "it hung");
    let (screen, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(errors.contains("panicked at"), "{errors}");
    for part in ["a fault of its own", "tests/panicking.rs:", "boot the medium again"] {
        assert!(screen.contains(part), "{part}: {screen}");
    }

    // Who follows it over ssh gets the same, and does not wait for ever.
    let mut heard = Vec::new();
    remote::follow(&places, &mut heard).unwrap();
    let heard = String::from_utf8(heard).unwrap();
    let events = heard.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().kind);
    let events: Vec<EventKind> = events.collect();
    let [EventKind::PlanStarted { .. }, EventKind::Failed { causes, .. }, last] = events.as_slice()
    else {
        panic!("{heard}")
    };
    assert!(matches!(last, EventKind::PlanDone { success: false, .. }), "{heard}");
    assert!(causes[0].starts_with("fault ") && !causes[0].contains('\u{1b}'), "{causes:?}");
    // And another run may begin.
    assert!(lock::take(&places.lock()).unwrap().is_some());
}
