//! Bars, for real terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use bedplate_events::shown::{shown_line, shown_lines};
use bedplate_events::{Event, EventKind, StepSummary, Unit};
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::{Plain, failure};
use super::text::duration;
use bedplate_events::Sink;

const REFRESHES_A_SECOND: u8 = 10;
/// What turns while something runs. The kernel's own font has these, and no prettier ones.
const TURNING: &str = "|/-\\ ";

/// Bars for what runs, lines for what is done.
pub struct Bars {
    multi: MultiProgress,
    steps: Vec<StepSummary>,
    running: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on a terminal.
    pub fn on(terminal: Term) -> Self {
        let target = ProgressDrawTarget::term(terminal, REFRESHES_A_SECOND);
        let multi = MultiProgress::with_draw_target(target);
        Self { multi, steps: Vec::new(), running: BTreeMap::new() }
    }

    fn title(&self, step: &str) -> String {
        let found = self.steps.iter().find(|summary| summary.id == step);
        shown_line(found.map_or(step, |summary| &summary.title))
    }

    fn print(&self, line: &str) {
        // A terminal that went away must not stop an installation.
        let _ = self.multi.println(line);
    }

    fn begin(&mut self, step: &str) {
        let style = ProgressStyle::default_spinner().tick_chars(TURNING);
        let bar = ProgressBar::new_spinner().with_style(style).with_message(self.title(step));
        let bar = self.multi.add(bar);
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running.insert(step.to_owned(), bar);
    }

    fn progress(&mut self, step: &str, done: u64, total: Option<u64>, unit: Unit) {
        let Some(bar) = self.running.get(step) else { return };
        if let Some(total) = total {
            let template = match unit {
                Unit::Bytes => {
                    "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
                }
                Unit::Items => "{spinner} {msg} {wide_bar} {pos}/{len}",
            };
            // Anew each time: a build counts bytes first and derivations later, and finds more of
            // both on its way.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.tick_chars(TURNING));
            }
            bar.set_length(total);
        }
        bar.set_position(done);
    }

    fn end(&mut self, step: &str) {
        if let Some(bar) = self.running.remove(step) {
            bar.finish_and_clear();
        }
    }
}

impl Sink for Bars {
    fn show(&mut self, event: &Event) {
        match &event.kind {
            EventKind::PlanStarted { steps, .. } => {
                self.steps.clone_from(steps);
                let mut heading = Vec::new();
                Plain::new(&mut heading).show(event);
                self.print(String::from_utf8_lossy(&heading).trim_end());
            }
            EventKind::StepStarted { step } => self.begin(step),
            EventKind::Progress { step, done, total, unit, .. } => {
                self.progress(step, *done, *total, *unit);
            }
            EventKind::Warned { message, .. } => self.print(&format!("! {}", shown_lines(message))),
            EventKind::StepDone { step, milliseconds, .. } => {
                self.end(step);
                self.print(&format!("+ {} ({})", self.title(step), duration(*milliseconds)));
            }
            EventKind::Failed { .. } => {
                for bar in std::mem::take(&mut self.running).into_values() {
                    bar.finish_and_clear();
                }
                for line in failure(&event.kind) {
                    self.print(&line);
                }
            }
            EventKind::PlanDone { .. } => {
                let mut lines = Vec::new();
                Plain::new(&mut lines).show(event);
                self.print(String::from_utf8_lossy(&lines).trim_end());
            }
        }
    }
}
