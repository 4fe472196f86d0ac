//! Which cuts are tried.

use bedplate_qemu_harness::nbd::cut::{Cut, Dice, Unflushed};
use bedplate_qemu_harness::nbd::log::Entry;
use serde::{Deserialize, Serialize};

use super::recording::Recording;
use crate::failure::Failure;

/// How many cuts at random times belong to the full set.
const RANDOM: u64 = 60;
/// What directory entries of boot entries are called in VFAT's short names.
const ENTRY: &[u8] = b"BEDPLA~";

/// A cut with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What it is called in the results.
    pub name: String,
    /// The cut.
    pub cut: Cut,
}

fn case(name: impl Into<String>, position: usize, unflushed: Unflushed) -> Case {
    Case { name: name.into(), cut: Cut { position, unflushed } }
}

/// The cuts of every run: one at each kind of state that disks can be left in.
pub fn telling(recording: &Recording) -> Result<Vec<Case>, Failure> {
    let middle = |step: &str| middle(recording, step);
    let commit = commit(recording)?;
    Ok(vec![
        case("while a partition table is written", middle("partition-os")?, Unflushed::Random(1)),
        case("while a LUKS header is made", middle("luks-os")?, Unflushed::Random(2)),
        case("while the closure is copied", middle("copy-closure")?, Unflushed::Random(3)),
        case("just before the seal", recording.mark("seal")?.begun, Unflushed::Lost),
        case("when the boot entry has no name yet", commit, Unflushed::Lost),
        case("as soon as the boot entry is renamed", commit + 1, Unflushed::Kept),
    ])
}

/// The cuts of the full shape. Its NVMe disks have no cache; what is lost at random is in the
/// caches of the rotating ones and of the key sticks.
pub fn full_shape(recording: &Recording) -> Result<Vec<Case>, Failure> {
    let commit = commit(recording)?;
    Ok(vec![
        case(
            "while the header of bulk1 is made",
            middle(recording, "luks-bulk1")?,
            Unflushed::Random(11),
        ),
        case(
            "while the second pool is made",
            middle(recording, "btrfs-bulk")?,
            Unflushed::Random(12),
        ),
        case(
            "while the closure is copied",
            middle(recording, "copy-closure")?,
            Unflushed::Random(13),
        ),
        case("between seal and boot entry", recording.mark("seal")?.done, Unflushed::Random(14)),
        case("as soon as the boot entry is renamed", commit + 1, Unflushed::Lost),
    ])
}

/// Half of a step's writes are done.
fn middle(recording: &Recording, step: &str) -> Result<usize, Failure> {
    recording.mark(step).map(|mark| mark.begun.midpoint(mark.done.max(mark.begun)))
}

/// Index of the write that gives the boot entry its name.
fn commit(recording: &Recording) -> Result<usize, Failure> {
    let begun = recording.mark("boot-entry")?.begun;
    let found = recording.log.find(begun, ENTRY);
    let found = found.map_err(|error| Failure::Unfit(format!("the log: {error}")))?;
    found.ok_or_else(|| Failure::Unfit("no write names a boot entry".to_owned()))
}

/// The full set: after each step, around the commit point, and at random times.
pub fn all(recording: &Recording) -> Result<Vec<Case>, Failure> {
    let mut cases = telling(recording)?;
    for (index, mark) in recording.marks.iter().enumerate() {
        let unflushed = Unflushed::Random(100 + index as u64);
        cases.push(case(format!("after {}", mark.step), mark.done, unflushed));
    }
    let commit = commit(recording)?;
    for (name, position) in [("before", commit), ("after", commit + 1)] {
        for seed in 0..3 {
            let name = format!("right {name} the rename, seed {seed}");
            cases.push(case(name, position, Unflushed::Random(200 + seed)));
        }
    }
    cases.extend(endings(recording)?);
    cases.extend(random(recording.log.entries(), RANDOM));
    Ok(cases)
}

/// Cuts shortly before the end of the steps in which Nix writes: there it makes its database, and
/// cleans up after a build.
fn endings(recording: &Recording) -> Result<Vec<Case>, Failure> {
    let mut cases = Vec::new();
    for step in ["copy-closure", "build-system"] {
        let done = recording.mark(step)?.done;
        let both = [Unflushed::Kept, Unflushed::Lost].into_iter().cycle();
        for (writes, unflushed) in (2..=22).step_by(4).zip(both) {
            let name = format!("{writes} writes before the end of {step}");
            cases.push(case(name, done.saturating_sub(writes), unflushed));
        }
    }
    Ok(cases)
}

/// Cuts at random times, from the first write to the last.
fn random(entries: &[Entry], count: u64) -> Vec<Case> {
    let at = |entry: Option<&Entry>| entry.map_or(0, |entry| u64::from(entry.at));
    let (first, last) = (at(entries.first()), at(entries.last()));
    let one = |seed: u64| {
        let mut dice = Dice(seed);
        let time = first + dice.roll() % (last - first + 1);
        let position = entries.partition_point(|entry| u64::from(entry.at) <= time);
        let unflushed = match seed % 4 {
            0 => Unflushed::Lost,
            1 => Unflushed::Kept,
            _ => Unflushed::Random(seed),
        };
        case(format!("random {seed}, {:.1} s", time as f64 / 1000.0), position, unflushed)
    };
    (0..count).map(one).collect()
}

/// The part of the cases that shard `index` of `count` tries, as in `2/4`.
pub fn shard(cases: Vec<Case>, text: &str) -> Result<Vec<Case>, Failure> {
    let wrong = || Failure::Unfit(format!("`{text}` is no shard: write for example 2/4"));
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    let (index, count): (usize, usize) =
        (index.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
    if index == 0 || index > count {
        return Err(wrong());
    }
    let own = |(place, case): (usize, Case)| (place % count == index - 1).then_some(case);
    Ok(cases.into_iter().enumerate().filter_map(own).collect())
}

#[cfg(test)]
mod tests {
    use bedplate_qemu_harness::nbd::log::Action;

    use super::*;

    #[test]
    fn shards_are_disjoint_and_leave_nothing_out() {
        let cases: Vec<Case> = (0..10).map(|n| case(n.to_string(), n, Unflushed::Lost)).collect();
        let mut together: Vec<Case> =
            (1..=3).flat_map(|n| shard(cases.clone(), &format!("{n}/3")).unwrap()).collect();
        together.sort_by_key(|case| case.cut.position);
        assert_eq!(together, cases);
        for wrong in ["0/3", "4/3", "x", "1/", "/"] {
            assert!(shard(cases.clone(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn f1_random_cuts_are_the_same_every_time_and_spread_over_time_not_over_writes() {
        // Nine tenths of the writes are done in the first second of a hundred.
        let entry = |n: u32| Entry {
            disk: 0,
            action: Action::Zero,
            offset: 0,
            length: 512,
            fua: false,
            at: if n < 900 { n } else { 1000 + (n - 900) * 1000 },
        };
        let entries: Vec<Entry> = (0..1000).map(entry).collect();
        let cases = random(&entries, 60);
        assert_eq!(cases, random(&entries, 60));
        let late = cases.iter().filter(|case| case.cut.position > 900).count();
        assert!(late > 50, "{late} of 60");
        assert!(cases.iter().all(|case| case.cut.position <= 1000));
    }
}
