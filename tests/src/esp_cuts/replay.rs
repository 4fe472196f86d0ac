//! Every cut of a recorded log, looked at on this machine.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bedplate_facts::boot_chain::{Chain, EMPTY_ENTRY, Entry};
use bedplate_qemu_harness::nbd::cut::{Cut, Survivor, Unflushed, survivors};
use bedplate_qemu_harness::nbd::log::{Action, WriteLog};

use super::Mark;
use super::fat;

/// A cut after which something is not right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What was being done.
    pub step: String,
    /// How many entries of the log were done.
    pub position: usize,
    /// What became of what no flush covered.
    pub unflushed: Unflushed,
    /// What is wrong.
    pub what: String,
}

impl Wrong {
    /// The cut.
    pub fn cut(&self) -> Cut {
        Cut { position: self.position, unflushed: self.unflushed }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, position, unflushed, what } = self;
        write!(formatter, "{step}, entry {position}, {unflushed:?}: {what}")
    }
}

/// What came of the cuts of one step.
#[derive(Debug, Clone, Default)]
pub struct Tried {
    /// How many cuts there were.
    pub cuts: usize,
    /// After which the machine would not start what ran before or what is written.
    pub wrong: Vec<Wrong>,
    /// After which the volume wants a check, though it boots.
    pub untidy: Vec<Wrong>,
}

/// A step on one disk, as entries of the log.
#[derive(Debug, Clone)]
pub struct Step {
    /// Name of the step of the story.
    pub name: String,
    /// First entry.
    pub begun: usize,
    /// Behind the last.
    pub done: usize,
}

/// The steps of a disk, out of what the guest wrote to its disk of marks.
pub fn steps(log: &WriteLog, marks: u16, disk: &str) -> io::Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, entry) in log.entries().iter().enumerate().filter(|(_, it)| it.disk == marks) {
        let Action::Write { .. } = entry.action else { continue };
        let mut bytes = vec![0; usize::try_from(entry.length).map_err(io::Error::other)?];
        log.content(index, &mut bytes)?;
        // The kernel writes pages: marks that were noted before come with the new one.
        let mark = bytes.chunks(super::SECTOR).filter_map(Mark::parse).next_back();
        let Some(mark) = mark.filter(|mark| mark.disk == disk) else { continue };
        match steps.last_mut() {
            Some(step) if mark.done => step.done = index,
            _ => steps.push(Step { name: mark.step, begun: index, done: usize::MAX }),
        }
    }
    Ok(steps)
}

/// A disk while its log is replayed: as it is without a power cut, and as one leaves it that loses its
/// whole cache.
pub struct Disk<'a> {
    log: &'a WriteLog,
    number: u16,
    kept: PathBuf,
    lost: PathBuf,
    /// Entries that no flush covered.
    pending: Vec<usize>,
    position: usize,
}

impl<'a> Disk<'a> {
    /// `blank`: the image before the first entry; copies of it are made in `place`.
    pub fn new(log: &'a WriteLog, number: u16, blank: &Path, place: &Path) -> io::Result<Self> {
        let (kept, lost) = (place.join("kept.img"), place.join("lost.img"));
        for image in [&kept, &lost] {
            std::fs::copy(blank, image)?;
        }
        Ok(Self { log, number, kept, lost, pending: Vec::new(), position: 0 })
    }

    /// Replays up to an entry without looking.
    pub fn forward(&mut self, position: usize) -> io::Result<()> {
        while self.position < position.min(self.log.entries().len()) {
            self.next()?;
        }
        Ok(())
    }

    /// The next entry of the log; whether it was one of this disk.
    fn next(&mut self) -> io::Result<bool> {
        let index = self.position;
        self.position += 1;
        let entry = self.log.entries().get(index);
        let entry = entry.filter(|entry| entry.disk == self.number);
        let Some(entry) = entry else { return Ok(false) };
        let open = |path: &Path| File::options().read(true).write(true).open(path);
        if entry.action == Action::Flush {
            let lost = open(&self.lost)?;
            for index in self.pending.drain(..) {
                apply(self.log, &whole(self.log, index), &lost)?;
            }
        } else {
            apply(self.log, &whole(self.log, index), &open(&self.kept)?)?;
            if entry.fua {
                apply(self.log, &whole(self.log, index), &open(&self.lost)?)?;
            } else {
                self.pending.push(index);
            }
        }
        Ok(true)
    }

    /// Which generation starts; none when nothing does.
    pub fn starts(&self) -> Option<u64> {
        starts(&self.kept).ok().flatten()
    }

    /// Tries every cut of a step: nothing lost, everything lost, and what each seed says.
    pub fn try_step(&mut self, step: &Step, seeds: u64) -> io::Result<Tried> {
        self.forward(step.begun)?;
        let before = self.starts();
        let after = {
            let place = tempfile::tempdir_in(self.kept.parent().unwrap_or(Path::new(".")))?;
            let mut ahead = Disk::new(self.log, self.number, &self.kept, place.path())?;
            ahead.position = self.position;
            ahead.forward(step.done)?;
            ahead.starts()
        };
        let mut tried = Tried::default();
        let mut note = |position, unflushed, looked: io::Result<Looked>, last: bool| {
            tried.cuts += 1;
            let wrong = |what| Wrong { step: step.name.clone(), position, unflushed, what };
            let looked = match looked {
                Ok(looked) => looked,
                Err(error) => {
                    tried.wrong.push(wrong(error.to_string()));
                    return;
                }
            };
            let wanted = looked.starts == after || (!last && looked.starts == before);
            if !wanted || !looked.broken.is_empty() {
                let what = format!(
                    "{:?} starts, not {before:?} or {after:?}; {}",
                    looked.starts,
                    looked.broken.join(", ")
                );
                tried.wrong.push(wrong(what));
            }
            if !looked.untidy.is_empty() {
                tried.untidy.push(wrong(looked.untidy.join(", ")));
            }
        };
        while self.position < step.done.min(self.log.entries().len()) {
            if !self.next()? {
                continue;
            }
            let position = self.position;
            note(position, Unflushed::Kept, look(&self.kept), false);
            for seed in 0..seeds {
                if self.pending.is_empty() {
                    break;
                }
                let cut = Cut { position, unflushed: Unflushed::Random(seed) };
                let looked = self.with(cut)?;
                note(position, cut.unflushed, looked, false);
            }
        }
        note(self.position, Unflushed::Lost, look(&self.lost), true);
        Ok(tried)
    }

    /// What a cut leaves that loses a part of the cache; the image is as before afterwards.
    fn with(&self, cut: Cut) -> io::Result<io::Result<Looked>> {
        let image = File::options().read(true).write(true).open(&self.lost)?;
        let left = survivors(self.log.entries(), cut);
        let left = left.iter().filter(|survivor| self.pending.contains(&survivor.entry));
        let mut undo: Vec<(u64, Vec<u8>)> = Vec::new();
        for survivor in left {
            let entry = self.log.entries().get(survivor.entry).ok_or(io::ErrorKind::NotFound)?;
            let length = survivor.bytes.end - survivor.bytes.start;
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            let at = entry.offset + survivor.bytes.start;
            image.read_exact_at(&mut bytes, at)?;
            undo.push((at, bytes));
            apply(self.log, survivor, &image)?;
        }
        let looked = look(&self.lost);
        for (at, bytes) in undo.iter().rev() {
            image.write_all_at(bytes, *at)?;
        }
        Ok(looked)
    }
}

fn whole(log: &WriteLog, index: usize) -> Survivor {
    let length = log.entries().get(index).map_or(0, |entry| entry.length);
    Survivor { entry: index, bytes: 0..length }
}

fn apply(log: &WriteLog, survivor: &Survivor, image: &File) -> io::Result<()> {
    log.apply_to(survivor, image)
}

struct Looked {
    starts: Option<u64>,
    broken: Vec<String>,
    untidy: Vec<String>,
}

fn look(image: &Path) -> io::Result<Looked> {
    let chain = Chain::look(image)?;
    // A new name without content yet is no entry to any boot loader.
    let empty = |entry: &&Entry| entry.faults.iter().all(|fault| fault.what != EMPTY_ENTRY);
    let entries = chain.entries.iter().filter(empty).flat_map(|entry| &entry.faults);
    let broken = chain.loaders.iter().chain(entries).map(ToString::to_string).collect();
    let untidy = fat::faults(&File::open(image)?)?;
    // Before there is an entry nothing is claimed.
    let broken = if chain.entries.is_empty() { Vec::new() } else { broken };
    Ok(Looked { starts: first(&chain), broken, untidy })
}

/// Which generation an image starts.
pub fn starts(image: &Path) -> io::Result<Option<u64>> {
    Ok(first(&Chain::look(image)?))
}

fn first(chain: &Chain) -> Option<u64> {
    let entry = chain.entries.first().filter(|_| chain.is_bootable())?;
    let rest = entry.name.strip_prefix("bedplate-")?;
    rest.split(['+', '.']).next()?.parse().ok()
}

/// How many cuts of which step went wrong.
pub fn summary(tried: &BTreeMap<String, Tried>) -> String {
    let line = |(step, tried): (&String, &Tried)| {
        let (cuts, wrong, untidy) = (tried.cuts, tried.wrong.len(), tried.untidy.len());
        format!("{cuts:>6} cuts, {wrong:>4} wrong, {untidy:>4} untidy  {step}\n")
    };
    tried.iter().map(line).collect()
}
