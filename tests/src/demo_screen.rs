//! What the demo shows: its phases with the time they take and are expected to take, and of
//! everything else the last line alone. All of it stands in a log.
//!
//! On a terminal each phase is a line that moves; elsewhere (a file, a CI) there are plain lines.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use bedplate_qemu_harness::pace::Pace;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::{Failure, file};
use crate::phase::{ALL, Phase};

/// Plain lines come at most so often while a phase goes on.
const PLAIN_PAUSE: Duration = Duration::from_secs(20);
/// How often the screen is brought up to date.
const TICK: Duration = Duration::from_millis(500);
/// Of a line that is shown beside others, so many characters.
const SHOWN: usize = 100;

/// The screen of a demo; clones show on the same.
#[derive(Clone)]
pub struct Screen(Arc<Mutex<State>>);

struct State {
    log: File,
    pace: Pace,
    now: Option<(Phase, Instant)>,
    last: String,
    view: View,
}

enum View {
    Bars(BTreeMap<&'static str, ProgressBar>),
    Plain { told: Instant },
}

impl Screen {
    /// A screen on standard output whose log is the file at `log`. `terminal` says whether lines can
    /// move there; `pace` how slow this machine is.
    pub fn new(log: &Path, terminal: bool, pace: Pace) -> Result<Self, Failure> {
        let view = if terminal { bars(pace) } else { View::Plain { told: Instant::now() } };
        // One that is resumed goes on in it: the reason may stand there.
        let opened = File::options().create(true).append(true).open(log);
        let log = opened.map_err(file("write", log))?;
        let state = State { log, pace, now: None, last: String::new(), view };
        let screen = Self(Arc::new(Mutex::new(state)));
        let state = Arc::downgrade(&screen.0);
        thread::spawn(move || tick(&state));
        Ok(screen)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A phase that ended before this screen began.
    pub fn done_before(&self, phase: Phase, took: Duration) {
        self.state().ended(phase, took, true);
    }

    /// The phase that was going on has ended well, and this one begins.
    pub fn phase(&self, phase: Phase) {
        let mut state = self.state();
        state.end(true);
        state.begin(phase);
    }

    /// A line of a console, or of the demo itself.
    pub fn line(&self, line: &str) {
        let mut state = self.state();
        // A full disk stops no demo.
        writeln!(state.log, "{line}").ok();
        if !is_waiting(line) {
            state.last = line.chars().take(SHOWN).collect();
        }
    }

    /// The demo is over.
    pub fn end(&self, well: bool) {
        let mut state = self.state();
        state.end(well);
        if let View::Bars(bars) = &state.view {
            bars.values().filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
        }
    }
}

/// Whether systemd says, twice a second, that it still waits for something.
fn is_waiting(line: &str) -> bool {
    line.contains("A start job is running for") || line.contains("A stop job is running for")
}

fn tick(state: &Weak<Mutex<State>>) {
    while let Some(state) = state.upgrade() {
        state.lock().unwrap_or_else(PoisonError::into_inner).show();
        drop(state);
        thread::sleep(TICK);
    }
}

impl State {
    fn begin(&mut self, phase: Phase) {
        self.now = Some((phase, Instant::now()));
        self.last.clear();
        self.log_phase(&format!("{} begins", phase.name()));
        match &mut self.view {
            View::Plain { told } => {
                *told = Instant::now();
                let expected = clock(self.pace.scale(phase.expected()));
                say(&format!("{}: begins, takes about {expected}", phase.name()));
            }
            View::Bars(_) => self.show(),
        }
    }

    fn end(&mut self, well: bool) {
        if let Some((phase, begun)) = self.now.take() {
            self.ended(phase, begun.elapsed(), well);
        }
    }

    fn ended(&mut self, phase: Phase, took: Duration, well: bool) {
        let (name, time) = (phase.name(), clock(took));
        let word = if well { "done" } else { "STOPPED" };
        self.log_phase(&format!("{name} {word} after {time}"));
        match &self.view {
            View::Plain { .. } => say(&format!("{name}: {word} after {time}")),
            View::Bars(bars) => {
                let Some(bar) = bars.get(name) else { return };
                bar.set_message(format!("{} {name:<9} {time:>6}", if well { '+' } else { '!' }));
                bar.abandon();
            }
        }
    }

    fn log_phase(&mut self, text: &str) {
        writeln!(self.log, "==== {text}").ok();
    }

    fn show(&mut self) {
        let Some((phase, begun)) = self.now else { return };
        let (name, time) = (phase.name(), clock(begun.elapsed()));
        let expected = clock(self.pace.scale(phase.expected()));
        let last = &self.last;
        match &mut self.view {
            View::Plain { told } if told.elapsed() >= PLAIN_PAUSE => {
                *told = Instant::now();
                say(&format!("{name}: {time} of about {expected}: {last}"));
            }
            View::Plain { .. } => {}
            View::Bars(bars) => {
                let Some(bar) = bars.get(name) else { return };
                bar.set_message(format!("> {name:<9} {time:>6} of about {expected}  {last}"));
            }
        }
    }
}

fn bars(pace: Pace) -> View {
    let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
    let style = ProgressStyle::with_template("{wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = |phase: Phase| {
        let bar = multi.add(ProgressBar::new_spinner().with_style(style.clone()));
        let expected = clock(pace.scale(phase.expected()));
        bar.set_message(format!("  {:<9}        about {expected}", phase.name()));
        (phase.name(), bar)
    };
    View::Bars(ALL.into_iter().map(bar).collect())
}

fn say(line: &str) {
    // Whoever has stopped reading is no reason to stop.
    writeln!(io::stdout(), "demo: {line}").ok();
}

/// Minutes and seconds.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_logged_and_of_systemds_waiting_nothing_is_shown() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join("demo.log");
        let screen = Screen::new(&log, false, Pace::REFERENCE).unwrap();
        screen.phase(Phase::Boot);
        screen.line("host | Started systemd-journald.service");
        screen
            .line("host | [  ***] A start job is running for bedplate-converge (1min / no limit)");
        assert_eq!(screen.state().last, "host | Started systemd-journald.service");
        screen.phase(Phase::HandOff);
        screen.end(false);
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "{text}");
        assert_eq!((lines[0], lines[3]), ("==== boot begins", "==== boot done after 0:00"));
        assert_eq!(lines[5], "==== hand-off STOPPED after 0:00");
    }

    #[test]
    fn times_are_minutes_and_seconds() {
        assert_eq!(clock(Duration::from_secs(125)), "2:05");
    }
}
