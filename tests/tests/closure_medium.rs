//! Media with a system that was built in advance: what an embedded one has beside its platform is copied
//! and verified, one of NixOS is written as a file system, and nothing is built. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bedplate_events::{EventKind, Outcome, Unit};
use bedplate_image_builder::build::IsoReport;
use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::running::Running;
use bedplate_tests::evaluation::Evaluation;
use bedplate_tests::medium::Workspace;
use bedplate_tests::power_cut::recording::blank;
use bedplate_tests::power_cut::trial::require_success;
use bedplate_tests::small::{self, COMPLETE, Medium};
use bedplate_tools::command::CommandExt as _;
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

/// What two media of one story have in common.
struct Media {
    workspace: Workspace,
    place: PathBuf,
    /// Where the programs of Nix are, and its store.
    nix: (PathBuf, PathBuf),
    disks: Vec<Disk>,
    tree: PathBuf,
}

impl Media {
    /// A medium with the system of `document`, built by the sources in `platform`.
    fn with(&self, name: &str, document: &str, platform: &Path) -> (IsoReport, Medium) {
        let directory = self.place.join(name);
        fs::create_dir(&directory).unwrap();
        let (host, iso) = (directory.join("host.toml"), directory.join("small.iso"));
        fs::write(&host, document).unwrap();
        let (programs, root) = &self.nix;
        let workstation = Workstation::at(programs, root);
        let report = self
            .workspace
            .build_medium_in_advance(&iso, &self.tree, &host, platform, workstation)
            .unwrap();
        let medium = small::opened(&report, &directory).unwrap();
        (report, medium)
    }

    /// Installs on blank disks, and returns the machine as it ended.
    fn installed(&self, medium: &Medium) -> Running {
        blank(&self.disks).unwrap();
        let machine = small::installing(medium, self.disks.clone());
        let running = machine.start(&self.place, None).unwrap();
        running.wait_for_end(LIMIT).unwrap();
        require_success(&running).unwrap();
        assert_eq!(outcome(&running, "build-system"), Some(Outcome::AlreadyDone));
        running
    }

    fn boots(&self, toplevel: &str) {
        let machine = small::machine("installed", self.disks.clone());
        let running = machine.start(&self.place, None).unwrap();
        let complete = format!("{}{toplevel}", COMPLETE.trim_end_matches("/nix/store/"));
        running.wait_for_text(&[&complete], LIMIT).unwrap_or_else(|error| panic!("{error}"));
    }

    /// The sources of the embedded platform, which say that they build NixOS: what is installed is not
    /// NixOS, but comes onto the disk as a system of NixOS does.
    fn stand_in(&self) -> PathBuf {
        let sources = self.place.join("stand-in");
        fs::create_dir(&sources).unwrap();
        let copy = ["-r", "--no-target-directory"];
        let mut command = Command::new("cp");
        command.args(copy).arg(self.workspace.platform_nix()).arg(&sources).run().unwrap();
        let library = sources.join("lib.nix");
        let text = fs::read_to_string(&library).unwrap();
        let (ours, theirs) = ("\"nixos\" != \"embedded\"", "\"embedded\" != \"nixos\"");
        assert!(text.contains(ours));
        fs::write(&library, text.replace(ours, theirs)).unwrap();
        sources
    }
}

#[test]
fn a_system_that_was_built_in_advance_is_installed_and_not_built_again() {
    let directory = tempfile::Builder::new().prefix("bedplate-closure-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let place = directory.path().to_owned();
    let workspace = Workspace::own();
    if workspace.tree().is_err() {
        workspace.build_medium(&place.join("first.iso"), &mut |_| ()).unwrap();
    }
    // This machine has no Nix: the tree's own, with a store beside the medium.
    let nix = (place.join("bin"), place.join("workstation"));
    Evaluation::obtain().unwrap().programs(&nix.0, &nix.1, 1).unwrap();
    let disks = small::disks(&place);
    let tree = small::tree(&workspace, &place).unwrap();
    let media = Media { workspace, place, nix, disks, tree };
    let document = small::host_toml(&media.disks);

    let (report, medium) = media.with("embedded", &document, &media.workspace.platform_nix());
    let built = report.toplevel.as_ref().unwrap();
    let carried: Vec<&str> = built.carried.iter().filter_map(|path| path.name()).collect();
    assert!(
        matches!(carried.as_slice(), [one] if one.ends_with("-bedplate-system-small")),
        "{carried:?}"
    );
    let running = media.installed(&medium);
    assert_eq!(outcome(&running, "copy-closure"), Some(Outcome::Done), "{}", running.tail());
    let (done, total) = copied(&running).unwrap();
    // More than the files alone: what was built in advance is hashed on the way.
    assert!(done == total && total > built.bytes(), "{done} of {total}");
    drop(running);
    media.boots(&built.toplevel);

    // All that it is made of is in the store of the workstation now, as with NixOS.
    let document = document.replace("\"embedded\"", "\"nixos\"");
    let (report, medium) = media.with("nixos", &document, &media.stand_in());
    let built = report.toplevel.as_ref().unwrap();
    assert!(built.carried.len() > 5, "{:?}", built.carried);
    let running = media.installed(&medium);
    assert_eq!(outcome(&running, "write-system"), Some(Outcome::Done), "{}", running.tail());
    assert_eq!(outcome(&running, "copy-closure"), Some(Outcome::AlreadyDone));
    drop(running);
    media.boots(&built.toplevel);
}
