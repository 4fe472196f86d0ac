//! T45, F10: the power is cut at every write of rebuild, rollback, update, of a mirror that is brought into
//! step, and of a generation that wants room. One guest writes once, with the real kernel's vfat; every
//! prefix of what it wrote, with and without what the disk had in its cache, is read on this machine: what
//! starts is what started before or what was written, every file of it by content. Some are then written
//! to again by the guest. Every run tells of six cuts. Run by name. `BEDPLATE_ESP_LOG=FILE` looks at a log that was recorded before.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bedplate_qemu_harness::machine::{self, Kernel};
use bedplate_qemu_harness::nbd::cut::{Cut, Unflushed};
use bedplate_qemu_harness::nbd::log::WriteLog;
use bedplate_qemu_harness::nbd::server::Server;
use bedplate_tests::Failure;
use bedplate_tests::esp_cuts::fat::faults;
use bedplate_tests::esp_cuts::guest::{self, DISKS};
use bedplate_tests::esp_cuts::replay::{Disk, Step, Tried, Wrong, starts, steps, summary};
use bedplate_tests::medium::Workspace;

/// How many ways of losing a part of the cache are tried at each write.
const SEEDS: u64 = 3;
/// How many cuts the guest writes to again.
const AGAIN: usize = 6;
/// How many more, of those that left two names of one file.
const SHARED: usize = 4;

struct Recorded {
    directory: tempfile::TempDir,
    kernel: Kernel,
    log: WriteLog,
}

fn record() -> Result<Recorded, Failure> {
    let workspace = Workspace::own();
    let directory = tempfile::Builder::new().prefix("bedplate-esp-").tempdir_in(guest::place());
    let directory = directory.unwrap();
    if workspace.tree().is_err() {
        let medium = tempfile::tempdir_in("/var/tmp").unwrap();
        workspace.build_medium(&medium.path().join("medium.iso"), &mut |_| ())?;
    }
    let writer = Path::new(env!("CARGO_BIN_EXE_esp_writer"));
    let kernel = guest::kernel(&workspace.tree()?, writer, directory.path())?;
    let disks = guest::disks(directory.path());
    guest::blank(&disks)?;
    if let Some(log) = std::env::var_os("BEDPLATE_ESP_LOG") {
        return Ok(Recorded { directory, kernel, log: WriteLog::open(Path::new(&log)).unwrap() });
    }
    let log = directory.path().join("writes.log");
    let server = Server::start(&directory.path().join("nbd"), &disks, &log)?;
    let served = disks.iter().map(|disk| server.attach(disk)).collect();
    guest::run(&kernel, served, "all", directory.path())?;
    server.stop()?;
    // The images the log starts from.
    guest::blank(&disks)?;
    Ok(Recorded { directory, kernel, log: WriteLog::open(&log).unwrap() })
}

impl Recorded {
    fn steps(&self, disk: &str) -> Vec<Step> {
        steps(&self.log, (DISKS.len() - 1) as u16, disk).unwrap()
    }

    fn image(&self, disk: &str) -> PathBuf {
        self.directory.path().join(format!("{disk}.img"))
    }

    fn tried(&self, name: &str) -> BTreeMap<String, Tried> {
        let number = DISKS.iter().position(|(disk, _)| *disk == name).unwrap();
        let place = tempfile::tempdir_in(guest::place()).unwrap();
        let mut disk =
            Disk::new(&self.log, number as u16, &self.image(name), place.path()).unwrap();
        let mut all = BTreeMap::new();
        for (count, step) in self.steps(name).iter().enumerate() {
            let tried = disk.try_step(step, SEEDS).unwrap();
            all.insert(format!("{name}, {:02} {}", count + 1, step.name), tried);
        }
        println!("{}", summary(&all));
        for wrong in all.values().flat_map(|tried| tried.wrong.iter().take(5)) {
            println!("  WRONG  {wrong}");
        }
        for untidy in all.values().flat_map(|tried| tried.untidy.iter().take(5)) {
            println!("  untidy {untidy}");
        }
        all
    }

    /// The disks as a cut leaves them, in `place`.
    fn left(&self, place: &Path, cut: Cut) -> Vec<machine::Disk> {
        let disks = guest::disks(place);
        guest::blank(&disks).unwrap();
        let open = |disk: &machine::Disk| File::options().write(true).open(&disk.file).unwrap();
        let images: Vec<_> = disks.iter().map(open).collect();
        self.log.replay(cut, &images).unwrap();
        disks
    }

    /// Which generation the first disk starts after a cut.
    fn starts_after(&self, cut: Cut) -> Option<u64> {
        let place = tempfile::tempdir_in(guest::place()).unwrap();
        starts(&self.left(place.path(), cut)[0].file).unwrap()
    }

    /// What a cut in the middle of a step leaves starts, and the guest writes to it again.
    fn cut_in(&self, step: &Step, unflushed: Unflushed) {
        let done = step.done.min(self.log.entries().len());
        let position = step.begun.midpoint(done);
        let [before, starting, after] = [
            Cut { position: step.begun, unflushed: Unflushed::Kept },
            Cut { position, unflushed },
            Cut { position: done, unflushed: Unflushed::Kept },
        ]
        .map(|cut| self.starts_after(cut));
        assert!(
            starting == before || starting == after,
            "{}, entry {position}, {unflushed:?}: {starting:?} starts, not {before:?} or {after:?}",
            step.name
        );
        self.again(Cut { position, unflushed });
    }

    /// The guest makes generations 4, 3 and 4 the next one on what a cut left: every file is whole
    /// afterwards, and alone on its clusters.
    fn again(&self, cut: Cut) {
        let (begun, position) = (Instant::now(), cut.position);
        let place = tempfile::tempdir_in(guest::place()).unwrap();
        let disks = self.left(place.path(), cut);
        let files: Vec<PathBuf> = disks.iter().map(|disk| disk.file.clone()).collect();
        let before = starts(&files[0]).ok().flatten();
        let said = guest::run(&self.kernel, disks, "again", place.path());
        said.unwrap_or_else(|failure| panic!("entry {position}: {}", failure.chain()));
        let control = DISKS.iter().position(|(disk, _)| *disk == "control").unwrap();
        for file in [&files[0], &files[1], &files[control]] {
            assert_eq!(starts(file).unwrap(), Some(4), "entry {position}: {}", file.display());
            let faults = faults(&File::open(file).unwrap()).unwrap();
            let faults = but_set_aside(&faults);
            assert!(faults.is_empty(), "entry {position}, {}: {faults:?}", file.display());
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{seconds:6.1} s  entry {position}, {:?}: {before:?} started, then 4",
            cut.unflushed
        );
    }
}

/// All but those of two names of one file of which one is a temporary one: nobody frees the file then.
fn but_set_aside(faults: &[String]) -> Vec<&String> {
    let shared = |fault: &String| {
        let (one, other) = fault.split_once(" shares clusters with ")?;
        (one.ends_with("NEW") || other.ends_with("NEW")).then(|| format!("{one} is longer than"))
    };
    let lengths: Vec<String> = faults.iter().filter_map(shared).collect();
    let is_known = |fault: &&String| lengths.iter().any(|length| fault.starts_with(length));
    faults.iter().filter(|fault| shared(fault).is_none() && !is_known(fault)).collect()
}

fn recorded() -> Recorded {
    let begun = Instant::now();
    let recorded = record().unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let entries = recorded.log.entries().len();
    println!("{:6.1} s  recorded, {entries} entries", begun.elapsed().as_secs_f64());
    recorded
}

#[test]
fn t45_six_cuts_leave_an_esp_that_starts_and_can_be_written_to() {
    let recorded = recorded();
    let steps = recorded.steps("esp");
    let every = steps.len().div_ceil(AGAIN).max(1);
    for (seed, step) in steps.iter().step_by(every).enumerate() {
        let unflushed = match seed % 3 {
            0 => Unflushed::Kept,
            1 => Unflushed::Lost,
            _ => Unflushed::Random(seed as u64),
        };
        recorded.cut_in(step, unflushed);
    }
}

#[test]
#[ignore = "takes six minutes; told by --full"]
fn t45_at_every_write_to_an_esp_a_cut_leaves_one_that_starts() {
    let recorded = recorded();
    let begun = Instant::now();
    let (mut wrong, mut shared) = (Vec::new(), Vec::new());
    for disk in ["esp", "mirror", "fresh"] {
        let tried = recorded.tried(disk);
        assert!(!tried.is_empty(), "{disk}");
        if disk == "esp" {
            let untidy = tried.values().flat_map(|tried| &tried.untidy);
            let untidy = untidy.filter(|wrong| wrong.what.contains(" shares clusters with "));
            shared.extend(untidy.map(Wrong::cut));
        }
        wrong.extend(tried.into_values().flat_map(|tried| tried.wrong));
    }
    let control = recorded.tried("control");
    println!("{:6.1} s  all cuts looked at", begun.elapsed().as_secs_f64());
    let naive = control.iter().find(|(step, _)| step.contains("naively")).unwrap();
    let lost = naive.1.wrong.first().expect("what was wrong before is no longer seen");
    assert!(wrong.is_empty(), "{} cuts are wrong, the first: {}", wrong.len(), wrong[0]);
    let every = shared.len().div_ceil(SHARED).max(1);
    // A loader that points at free clusters is written again, too.
    for cut in shared.into_iter().step_by(every).chain([lost.cut()]) {
        recorded.again(cut);
    }
}
