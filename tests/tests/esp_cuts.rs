//! T45, F10: the power is cut at every write of rebuild, rollback, update, of a mirror that is brought into
//! step, and of a generation that wants room. One guest writes once, with the real kernel's vfat; every
//! prefix of what it wrote, with and without what the disk had in its cache, is read on this machine: what
//! starts is what started before or what was written, every file of it by content. A handful are then
//! written to again by the guest. Run by name. `BEDPLATE_ESP_LOG=FILE` looks at a log that was recorded before.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use bedplate_qemu_harness::machine::{self, Kernel};
use bedplate_qemu_harness::nbd::cut::{Cut, Unflushed};
use bedplate_qemu_harness::nbd::log::WriteLog;
use bedplate_qemu_harness::nbd::server::Server;
use bedplate_tests::Failure;
use bedplate_tests::esp_cuts::guest::{self, DISKS};
use bedplate_tests::esp_cuts::replay::{Disk, Step, Tried, starts, steps, summary};
use bedplate_tests::medium::Workspace;

/// How many ways of losing a part of the cache are tried at each write.
const SEEDS: u64 = 3;
/// How many cuts the guest writes to again.
const AGAIN: usize = 6;

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

    /// What a cut in the middle of a step leaves starts, and the guest makes generation 4 the next
    /// one on it.
    fn again(&self, step: &Step, unflushed: Unflushed) {
        let begun = Instant::now();
        let position = step.begun.midpoint(step.done.min(self.log.entries().len()));
        let [before, starting, after] = [
            Cut { position: step.begun, unflushed: Unflushed::Kept },
            Cut { position, unflushed },
            Cut { position: step.done.min(self.log.entries().len()), unflushed: Unflushed::Kept },
        ]
        .map(|cut| self.starts_after(cut));
        assert!(
            starting == before || starting == after,
            "{}, entry {position}, {unflushed:?}: {starting:?} starts, not {before:?} or {after:?}",
            step.name
        );
        let place = tempfile::tempdir_in(guest::place()).unwrap();
        let disks = self.left(place.path(), Cut { position, unflushed });
        let files: Vec<PathBuf> = disks.iter().map(|disk| disk.file.clone()).collect();
        let said = guest::run(&self.kernel, disks, "again", place.path());
        said.unwrap_or_else(|failure| panic!("entry {position}: {}", failure.chain()));
        for file in files.iter().take(2) {
            assert_eq!(starts(file).unwrap(), Some(4), "entry {position}: {}", file.display());
        }
        let (seconds, name) = (begun.elapsed().as_secs_f64(), &step.name);
        println!("{seconds:6.1} s  {name}, entry {position}, {unflushed:?}: {starting:?}, then 4");
    }
}

/// Recorded once for all tests of this file.
static RECORDED: LazyLock<Recorded> = LazyLock::new(|| {
    let begun = Instant::now();
    let recorded = record().unwrap_or_else(|failure| panic!("{}", failure.chain()));
    let entries = recorded.log.entries().len();
    println!("{:6.1} s  recorded, {entries} entries", begun.elapsed().as_secs_f64());
    recorded
});

#[test]
fn t45_six_cuts_leave_an_esp_that_starts_and_can_be_written_to() {
    let steps = RECORDED.steps("esp");
    let every = steps.len().div_ceil(AGAIN).max(1);
    for (seed, step) in steps.iter().step_by(every).enumerate() {
        let unflushed = match seed % 3 {
            0 => Unflushed::Kept,
            1 => Unflushed::Lost,
            _ => Unflushed::Random(seed as u64),
        };
        RECORDED.again(step, unflushed);
    }
}

#[test]
#[ignore = "takes six minutes; told by --full"]
fn t45_at_every_write_to_an_esp_a_cut_leaves_one_that_starts() {
    let begun = Instant::now();
    let mut wrong = Vec::new();
    for disk in ["esp", "mirror", "fresh"] {
        let tried = RECORDED.tried(disk);
        assert!(!tried.is_empty(), "{disk}");
        wrong.extend(tried.into_values().flat_map(|tried| tried.wrong));
    }
    let control = RECORDED.tried("control");
    println!("{:6.1} s  all cuts looked at", begun.elapsed().as_secs_f64());
    let naive = control.iter().find(|(step, _)| step.contains("naively")).unwrap();
    assert!(!naive.1.wrong.is_empty(), "what was wrong before is no longer seen");
    assert!(wrong.is_empty(), "{} cuts are wrong, the first: {}", wrong.len(), wrong[0]);
}
