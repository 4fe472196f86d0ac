//! Bars, for real terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use bedplate_events::progress::{Progress, Running, Step};
use bedplate_events::shown::{shown_line, shown_lines};
use bedplate_events::{Event, EventKind, Sink, Unit};
use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plain::{Plain, failure};
use super::text::duration;

const REFRESHES_A_SECOND: u8 = 10;
/// What turns while something runs. The kernel's own font has these, and no prettier ones.
const TURNING: &str = "|/-\\ ";

/// Bars for what runs, lines for what is done.
pub struct Bars {
    multi: MultiProgress,
    progress: Progress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on a terminal.
    pub fn on(terminal: Term) -> Self {
        let target = ProgressDrawTarget::term(terminal, REFRESHES_A_SECOND);
        let multi = MultiProgress::with_draw_target(target);
        Self { multi, progress: Progress::default(), bars: BTreeMap::new() }
    }

    fn title(&self, step: &str) -> String {
        shown_line(self.progress.title(step))
    }

    fn print(&self, line: &str) {
        // A terminal that went away must not stop an installation.
        let _ = self.multi.println(line);
    }

    /// One bar for each step that runs, and none else.
    fn arrange(&mut self) {
        self.bars.retain(|step, bar| {
            let runs = matches!(self.progress.step(step), Some(Step::Running(_)));
            if !runs {
                bar.finish_and_clear();
            }
            runs
        });
        for (step, _) in self.progress.running() {
            if !self.bars.contains_key(step) {
                self.bars.insert(step.to_owned(), self.begin(step));
            }
        }
    }

    fn begin(&self, step: &str) -> ProgressBar {
        let style = ProgressStyle::default_spinner().tick_chars(TURNING);
        let bar = ProgressBar::new_spinner().with_style(style).with_message(self.title(step));
        let bar = self.multi.add(bar);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    fn moves(&self, step: &str) {
        let Some(Step::Running(Running { amount: Some(amount), .. })) = self.progress.step(step)
        else {
            return;
        };
        let Some(bar) = self.bars.get(step) else { return };
        if let Some(total) = amount.total {
            let template = match amount.unit {
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
        bar.set_position(amount.done);
    }
}

impl Sink for Bars {
    fn show(&mut self, event: &Event) {
        self.progress.follow(event);
        self.arrange();
        match &event.kind {
            EventKind::StepStarted { .. } => {}
            EventKind::Progress { step, .. } => self.moves(step),
            EventKind::Warned { message, .. } => self.print(&format!("! {}", shown_lines(message))),
            EventKind::StepDone { step, milliseconds, .. } => {
                self.print(&format!("+ {} ({})", self.title(step), duration(*milliseconds)));
            }
            EventKind::Failed { .. } => {
                for line in failure(&event.kind) {
                    self.print(&line);
                }
            }
            EventKind::PlanStarted { .. } | EventKind::PlanDone { .. } => {
                let mut lines = Vec::new();
                Plain::of_installation(&mut lines).show(event);
                self.print(String::from_utf8_lossy(&lines).trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bedplate_events::{EVENT_SCHEMA, Outcome};

    use super::*;

    #[test]
    fn a_bar_stands_for_each_step_that_runs_and_for_no_other() {
        let mut bars = Bars::on(Term::stderr());
        bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        let mut show = |kind| {
            bars.show(&Event { schema: EVENT_SCHEMA, sequence: 0, at_ms: 1, kind });
            bars.bars.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        let begin = |step: &str| EventKind::StepStarted { step: step.into() };
        show(begin("a"));
        assert_eq!(show(begin("b")), "a b");
        // Its beginning was lost.
        let (step, total, unit) = ("c".into(), Some(9), Unit::Items);
        let moved = EventKind::Progress { step, done: 1, total, unit, note: None };
        assert_eq!(show(moved), "a b c");
        let outcome = Outcome::Done;
        let done = EventKind::StepDone { step: "b".into(), outcome, milliseconds: 1 };
        assert_eq!(show(done), "a c");
        let failed = EventKind::Failed {
            step: Some("a".into()),
            device: None,
            state: None,
            message: String::new(),
            causes: Vec::new(),
            next: String::new(),
        };
        assert_eq!(show(failed), "c", "what runs beside it still does");
        assert_eq!(show(EventKind::PlanDone { success: false, milliseconds: 1 }), "");
    }
}
