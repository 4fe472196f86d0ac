//! Stories told two at a time: a machine in QEMU leaves much of two processors idle.

use std::io::{self, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cargo::line;
use crate::report::Problem;

/// What two machines of stories need besides what there is anyway, in KiB.
const MEMORY: u64 = 8 << 20;

/// A story, what became of it, and how long it took.
pub type Told<'a> = (&'a str, Result<(), Problem>, Duration);

/// How many stories can be told at once on this machine.
pub fn fit() -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    if processors >= 2 && available(&memory) >= MEMORY { 2 } else { 1 }
}

/// Memory that can be had without swapping, in KiB, out of `/proc/meminfo` (proc_meminfo(5)).
fn available(memory: &str) -> u64 {
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok()).unwrap_or(0)
}

/// Tells all stories, as many at once as there are lanes, in their order as far as it can be: two that
/// `exclude` each other are never told at once.
pub fn tell<'a>(
    stories: &[&'a str],
    lanes: usize,
    exclude: impl Fn(&str, &str) -> bool + Sync,
    one: impl Fn(&str) -> Result<(), Problem> + Sync,
) -> Vec<Told<'a>> {
    let queue = Queue { state: Mutex::new(State::of(stories)), changed: Condvar::new() };
    thread::scope(|scope| {
        for _ in 0..lanes.max(1) {
            scope.spawn(|| {
                while let Some(story) = queue.next(&exclude) {
                    let begun = Instant::now();
                    let outcome = one(story);
                    queue.ended((story, outcome, begun.elapsed()));
                }
            });
        }
    });
    queue.state.into_inner().unwrap_or_else(PoisonError::into_inner).told
}

struct Queue<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    waiting: Vec<&'a str>,
    running: Vec<&'a str>,
    told: Vec<Told<'a>>,
}

impl<'a> State<'a> {
    fn of(stories: &[&'a str]) -> Self {
        Self { waiting: stories.to_vec(), running: Vec::new(), told: Vec::new() }
    }

    /// The first story that may run beside those that do.
    fn take(&mut self, exclude: &impl Fn(&str, &str) -> bool) -> Option<&'a str> {
        let free = |story: &&str| !self.running.iter().any(|other| exclude(story, other));
        let place = self.waiting.iter().position(free)?;
        let story = self.waiting.remove(place);
        self.running.push(story);
        Some(story)
    }
}

impl<'a> Queue<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next story, once it may run; none when none is left.
    fn next(&self, exclude: &impl Fn(&str, &str) -> bool) -> Option<&'a str> {
        let mut state = self.lock();
        loop {
            if let Some(story) = state.take(exclude) {
                return Some(story);
            }
            if state.waiting.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn ended(&self, told: Told<'a>) {
        let mut state = self.lock();
        state.running.retain(|story| *story != told.0);
        state.told.push(told);
        self.changed.notify_all();
    }
}

/// Runs a command; each line that it prints is ours, behind `name`.
pub fn run_as(name: &str, command: &mut Command) -> Result<(), Problem> {
    let said = line(command);
    let start = |source| Problem::Start(said.clone(), source);
    let (reader, writer) = io::pipe().map_err(start)?;
    let other = writer.try_clone().map_err(start)?;
    let child = command.stdin(Stdio::null()).stdout(other).stderr(writer).spawn();
    // What is left of the other end is the child's, and its end is the end of the lines.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child.map_err(start)?;
    pass_on(name, BufReader::new(reader), &mut io::stderr()).map_err(start)?;
    let status = child.wait().map_err(start)?;
    if status.success() { Ok(()) } else { Err(Problem::Failed(said, status)) }
}

fn pass_on(name: &str, mut said: impl io::BufRead, out: &mut impl io::Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    while said.read_until(b'\n', &mut bytes)? > 0 {
        let mut whole = format!("{name:>10} | ").into_bytes();
        whole.append(&mut bytes);
        if !whole.ends_with(b"\n") {
            whole.push(b'\n');
        }
        // In one piece: the other lane prints, too.
        out.write_all(&whole)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    #[test]
    fn every_story_is_told_once_and_two_that_exclude_each_other_not_at_once() {
        let running = Mutex::new(Vec::new());
        let exclude = |one: &str, other: &str| one.starts_with('x') && other.starts_with('x');
        let told = tell(&["x1", "x2", "a", "x3", "b"], 2, exclude, |story| {
            let mut now = running.lock().unwrap();
            assert!(!now.iter().any(|other: &String| exclude(story, other)));
            assert!(now.len() < 2);
            now.push(story.to_owned());
            drop(now);
            thread::sleep(Duration::from_millis(20));
            running.lock().unwrap().retain(|other| other != story);
            match story {
                "a" => Err(Problem::Failed("a".to_owned(), ExitStatus::from_raw(256))),
                _ => Ok(()),
            }
        });
        let mut names: Vec<_> =
            told.iter().map(|(name, outcome, _)| (*name, outcome.is_ok())).collect();
        names.sort_unstable();
        let wanted = [("a", false), ("b", true), ("x1", true), ("x2", true), ("x3", true)];
        assert_eq!(names, wanted);
    }

    #[test]
    fn lines_stand_behind_the_name_of_who_prints_them() {
        let mut out = Vec::new();
        pass_on("faults", &b"one\n\ntwo \xff"[..], &mut out).unwrap();
        assert_eq!(out, b"    faults | one\n    faults | \n    faults | two \xff\n");
    }

    #[test]
    fn what_fails_is_told_by_its_command() {
        let failed = run_as("x", Command::new("sh").args(["-c", "echo out; exit 3"]));
        assert!(
            matches!(failed, Err(Problem::Failed(line, _)) if line == "sh -c echo out; exit 3")
        );
    }

    #[test]
    fn memory_is_read_out_of_meminfo() {
        let text = "MemTotal:       24576000 kB\nMemAvailable:    9000000 kB\n";
        assert_eq!(available(text), 9_000_000);
        assert_eq!(available("MemTotal: 1 kB\n"), 0);
    }
}
