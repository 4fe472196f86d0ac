//! A medium with a system that was built in advance: the installer copies it, verifies it, and has
//! nothing to build. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::time::Duration;

use bedplate_qemu_harness::running::Running;
use bedplate_spec::event::{EventKind, Outcome, Unit};
use bedplate_tests::evaluation::Evaluation;
use bedplate_tests::medium::Workspace;
use bedplate_tests::power_cut::recording::blank;
use bedplate_tests::power_cut::trial::require_success;
use bedplate_tests::small::{self, COMPLETE};
use bedplate_tools::nix::Workstation;

const LIMIT: Duration = Duration::from_secs(600);

fn outcome(running: &Running, wanted: &str) -> Option<Outcome> {
    running.events().into_iter().find_map(|event| match event.kind {
        EventKind::StepDone { step, outcome, .. } if step == wanted => Some(outcome),
        _ => None,
    })
}

/// The last that was told of the copy: done, and of how much.
fn copied(running: &Running) -> Option<(u64, u64)> {
    running.events().into_iter().rev().find_map(|event| match event.kind {
        EventKind::Progress { step, done, total, unit: Unit::Bytes, .. } => {
            Some((done, total?)).filter(|_| step == "copy-closure")
        }
        _ => None,
    })
}

#[test]
fn a_system_that_was_built_in_advance_is_copied_and_not_built_again() {
    let directory = tempfile::Builder::new().prefix("bedplate-closure-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let place = directory.path();
    let workspace = Workspace::own();
    if workspace.tree().is_err() {
        workspace.build_medium(&place.join("first.iso"), &mut |_| ()).unwrap();
    }
    // This machine has no Nix: the tree's own, with a store beside the medium.
    let nix = Evaluation::obtain().unwrap();
    let (programs, root) = (place.join("bin"), place.join("workstation"));
    nix.programs(&programs, &root, 1).unwrap();
    let disks = small::disks(place);
    blank(&disks).unwrap();
    let host = place.join("host.toml");
    std::fs::write(&host, small::host_toml(&disks)).unwrap();
    let tree = small::tree(&workspace, place).unwrap();
    let iso = place.join("small.iso");
    let workstation = Workstation::at(&programs, &root);
    let report = workspace.build_medium_in_advance(&iso, &tree, &host, workstation).unwrap();
    let built = report.toplevel.as_ref().unwrap();
    let names: Vec<&str> = built.carried.iter().filter_map(|path| path.name()).collect();
    assert!(
        matches!(names.as_slice(), [one] if one.ends_with("-bedplate-system-small")),
        "{names:?}"
    );

    let medium = small::opened(&report, place).unwrap();
    let running = small::installing(&medium, disks.clone()).start(place, None).unwrap();
    running.wait_for_end(LIMIT).unwrap();
    require_success(&running).unwrap();
    assert_eq!(outcome(&running, "copy-closure"), Some(Outcome::Done), "{}", running.tail());
    let told = running.events().into_iter().filter(
        |event| matches!(&event.kind, EventKind::Progress { step, .. } if step == "build-system"),
    );
    let told: Vec<_> = told.map(|event| event.kind).collect();
    assert_eq!(outcome(&running, "build-system"), Some(Outcome::AlreadyDone), "{told:#?}");
    let (done, total) = copied(&running).unwrap();
    // More than the files alone: what was built in advance is read back.
    assert!(done == total && total > built.bytes(), "{done} of {total}");
    drop(running);

    let running = small::machine("installed", disks).start(place, None).unwrap();
    let complete = format!("{}{}", COMPLETE.trim_end_matches("/nix/store/"), built.toplevel);
    running.wait_for_text(&[&complete], LIMIT).unwrap_or_else(|error| panic!("{error}"));
}
