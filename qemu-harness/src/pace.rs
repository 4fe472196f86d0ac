//! How fast this machine emulates now, and how long it is waited for therefore.
//!
//! A limit is written for the machine that [`REFERENCE`] was measured on. [`Pace`] says how many
//! times slower this one is: it boots a sector that counts, in as many emulators at once as there
//! are processors, because an emulated machine of ours uses them all. [`Patience`] multiplies a
//! limit by that, looks again whenever the limit has passed, and goes on while whoever is waited
//! for is seen to get on.

use std::fmt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::boot_sector;

/// How long the counting takes on the machine that the limits were written on. It was not measured
/// there: on one where it takes 1.04 to 1.18 s with nothing else running (two processors, QEMU 7.2), an
/// installation takes about twice as long.
const REFERENCE: Duration = Duration::from_millis(500);
/// How often the sector counts. QEMU's own start is a small part of the time then.
const COUNT: u32 = 200_000_000;
/// How long the counting may take. A machine that is slower still counts as one of [`SLOWEST`].
const LIMIT: Duration = Duration::from_secs(60);
/// No limit is multiplied by more: who waits wants to know some day.
const SLOWEST: f64 = 12.0;
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_secs(5);
/// A part of the limit: who did something in so long a time before its end is waited for longer.
const RECENT: u32 = 4;
/// How often the whole limit, at most, whoever gets on is waited for.
const AT_MOST: u32 = 3;

/// How many times slower than the reference machine this one is; 1 if it is faster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace(f64);

impl Pace {
    /// That of the reference machine itself.
    pub const REFERENCE: Self = Self(1.0);

    /// Measures now. Takes a second, and more on a slow machine.
    pub fn measure() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let begun = Instant::now();
        let mut children: Vec<_> = (0..processors).filter_map(|_| count().ok()).collect();
        let deadline = begun + LIMIT;
        let ends = children.iter_mut().map(|(child, _)| counts(child, deadline));
        let counted = ends.filter(|counted| *counted).count();
        // A QEMU that cannot even count says nothing of how fast it is.
        if counted == 0 { Self(SLOWEST) } else { Self::of(begun.elapsed()) }
    }

    /// The pace of a machine that counts in this time.
    fn of(took: Duration) -> Self {
        Self((took.as_secs_f64() / REFERENCE.as_secs_f64()).clamp(1.0, SLOWEST))
    }

    /// The slowest that was measured in this process; measured the first time.
    pub fn known() -> Self {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        *known.get_or_insert_with(Self::measure)
    }

    /// Measures again; what is slower than what was known counts from now on.
    fn again() -> Self {
        let now = Self::measure();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let slowest = known.map_or(now.0, |known| known.0.max(now.0));
        *known.insert(Self(slowest))
    }

    /// A limit of the reference machine, as it is here.
    pub fn scale(self, limit: Duration) -> Duration {
        limit.mul_f64(self.0)
    }

    /// The same in whole seconds, for programs that take a limit themselves.
    pub fn seconds(self, limit: Duration) -> String {
        self.scale(limit).as_secs().to_string()
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1} times as slow as the reference", self.0)
    }
}

static KNOWN: Mutex<Option<Pace>> = Mutex::new(None);

/// Whether an emulator counts to the end in time.
fn counts(child: &mut Child, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return status.code() == Some(boot_sector::STATUS),
            Ok(None) => thread::sleep(Duration::from_millis(5)),
            Err(_) => break,
        }
    }
    // It ends now, one way or the other.
    child.kill().and_then(|()| child.wait()).ok();
    false
}

/// An emulator that counts, and the disk it boots from.
fn count() -> std::io::Result<(Child, NamedTempFile)> {
    let sector = NamedTempFile::new()?;
    std::fs::write(sector.path(), boot_sector::that_counts(COUNT))?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-cpu", "Haswell-noTSX"]);
    boot_sector::boot(&mut command, sector.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((command.spawn()?, sector))
}

/// Asks every `pause` until there is an answer, for as long as `limit` on the reference machine.
pub fn ask<R>(
    limit: Duration,
    pause: Duration,
    mut ask: impl FnMut() -> Option<R>,
) -> Result<R, Spent> {
    let mut patience = Patience::new(limit);
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if !patience.goes_on(0) {
            return Err(patience.spent());
        }
        thread::sleep(pause);
    }
}

/// How long something is waited for.
///
/// `progress` of its methods is any number that grows while what is waited for gets on: bytes on a
/// console, requests of a disk. One that never does is given exactly the limit, times the pace.
#[derive(Debug)]
pub struct Patience {
    begun: Instant,
    limit: Duration,
    deadline: Instant,
    /// How far it had got when it was looked for the last time.
    seen: Option<u64>,
    moved: Instant,
}

/// What became of a wait that had no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// How long was waited.
    pub waited: Duration,
    /// How long ago there was progress for the last time.
    pub still: Duration,
}

impl Patience {
    /// Begins now. `limit` is as on the reference machine.
    pub fn new(limit: Duration) -> Self {
        Self::with_pace(limit, Pace::known())
    }

    fn with_pace(limit: Duration, pace: Pace) -> Self {
        let begun = Instant::now();
        Self { begun, limit, deadline: begun + pace.scale(limit), seen: None, moved: begun }
    }

    /// Until when to wait before [`Patience::goes_on`] is asked.
    pub fn next_look(&self) -> Instant {
        self.deadline.min(Instant::now() + LOOK)
    }

    /// Whether to wait on, given how far it has got.
    pub fn goes_on(&mut self, progress: u64) -> bool {
        self.goes_on_at(progress, Instant::now(), Pace::again)
    }

    fn goes_on_at(&mut self, progress: u64, now: Instant, measure: impl FnOnce() -> Pace) -> bool {
        // A machine that is started again counts from its beginning. What was first seen was done
        // before.
        if self.seen.replace(progress).is_some_and(|seen| seen != progress) {
            self.moved = now;
        }
        if now < self.deadline {
            return true;
        }
        // The machine may have become slower since the limit was set.
        let scaled = measure().scale(self.limit);
        if self.begun + scaled > now {
            self.deadline = self.begun + scaled;
            return true;
        }
        let recent = scaled / RECENT;
        if now.duration_since(self.moved) < recent && now < self.begun + scaled * AT_MOST {
            self.deadline = now + recent;
            return true;
        }
        false
    }

    /// What is to be told when it does not go on.
    pub fn spent(&self) -> Spent {
        Spent { waited: self.begun.elapsed(), still: self.moved.elapsed() }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waited, still) = (self.waited.as_secs(), self.still.as_secs());
        if still * u64::from(RECENT) < waited {
            write!(formatter, "timed out after {waited} s, though it was still getting on")
        } else {
            write!(formatter, "timed out after {waited} s, the last {still} without any progress")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn patience() -> Patience {
        Patience::with_pace(MINUTE, Pace(1.0))
    }

    #[test]
    fn a_pace_is_never_faster_than_the_reference_and_has_an_end() {
        assert_eq!(Pace::of(REFERENCE / 10), Pace(1.0));
        assert_eq!(Pace::of(REFERENCE * 3), Pace(3.0));
        assert_eq!(Pace::of(REFERENCE * 1000), Pace(SLOWEST));
        assert_eq!(Pace(2.5).seconds(MINUTE), "150");
    }

    #[test]
    fn what_does_nothing_is_given_the_limit_and_no_more() {
        let mut patience = patience();
        let begun = patience.begun;
        assert!(patience.goes_on_at(0, begun + MINUTE / 2, || unreachable!()));
        assert!(!patience.goes_on_at(0, begun + MINUTE, || Pace(1.0)));
    }

    #[test]
    fn a_machine_that_has_become_slower_is_given_more() {
        let mut patience = patience();
        let begun = patience.begun;
        assert!(patience.goes_on_at(0, begun + MINUTE, || Pace(3.0)));
        assert!(patience.goes_on_at(0, begun + MINUTE * 2, || unreachable!()));
        assert!(!patience.goes_on_at(0, begun + MINUTE * 3, || Pace(3.0)));
    }

    #[test]
    fn who_gets_on_is_waited_for_but_not_for_ever() {
        let mut patience = patience();
        let begun = patience.begun;
        let mut now = begun + MINUTE;
        assert!(patience.goes_on_at(0, begun, || unreachable!()));
        let mut progress = 1;
        while patience.goes_on_at(progress, now, || Pace(1.0)) {
            progress += 1;
            now = patience.deadline;
        }
        let waited = now - begun;
        assert!(waited >= MINUTE * AT_MOST && waited < MINUTE * (AT_MOST + 1), "{waited:?}");
    }

    #[test]
    fn what_timed_out_says_so_and_whether_it_still_got_on() {
        let spent = |still| Spent { waited: MINUTE * 8, still: Duration::from_secs(still) };
        assert_eq!(spent(3).to_string(), "timed out after 480 s, though it was still getting on");
        assert_eq!(
            spent(300).to_string(),
            "timed out after 480 s, the last 300 without any progress"
        );
    }

    #[test]
    fn this_machine_can_be_measured() {
        let (mut child, _sector) = count().unwrap();
        assert!(counts(&mut child, Instant::now() + LIMIT));
        let mut other = Command::new("false").spawn().unwrap();
        assert!(!counts(&mut other, Instant::now() + LIMIT));
    }
}
