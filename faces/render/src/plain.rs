//! Plain lines, for serial consoles and logs.

use std::io::Write;

use bedplate_events::progress::{Amount, Progress, Step};
use bedplate_events::shown::{shown_line, shown_lines};
use bedplate_events::{DeviceState, Event, EventKind, Outcome, Sink, StepSummary};

use super::text::{amount, bytes, duration};

/// What is told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Installation,
    Host,
}

/// What is said of a plan for disks that loses no data.
pub const DESTROYS_NOTHING: &str =
    "Destroys nothing: every disk is blank, is kept or holds this plan's own work.";

/// At most one progress line in this time.
const PROGRESS_INTERVAL_MS: u64 = 1000;

/// Writes plain lines.
pub struct Plain<W> {
    output: W,
    of: Of,
    progress: Progress,
    /// The step whose line stands open, without its end.
    open: Option<String>,
    last_progress: u64,
}

impl<W: Write + Send> Plain<W> {
    /// An installation, which somebody watches: steps by their number and title, a line for each that is
    /// finished when the step is.
    pub fn of_installation(output: W) -> Self {
        Self::new(output, Of::Installation)
    }

    /// What a host does, which is read in a journal afterwards: the plan is listed, and each step is told by
    /// its id when it has ended.
    pub fn of_host(output: W) -> Self {
        Self::new(output, Of::Host)
    }

    fn new(output: W, of: Of) -> Self {
        Self { output, of, progress: Progress::default(), open: None, last_progress: 0 }
    }

    fn write(&mut self, text: &str) {
        // A console that went away must not stop an installation.
        let _ = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
    }

    fn line(&mut self, text: &str) {
        let end = if self.open.take().is_some() { "\n" } else { "" };
        self.write(&format!("{end}{text}\n"));
    }

    fn heading(&self, step: &str) -> String {
        if self.of == Of::Host {
            return format!("{}:", shown_line(step));
        }
        let total = self.progress.announced().len();
        let width = total.to_string().len();
        let place = self.progress.place(step).map_or("?".to_owned(), |place| place.to_string());
        format!("[{place:>width$}/{total}] {} ...", shown_line(self.progress.title(step)))
    }

    fn begin(&mut self, step: &str) {
        if self.of == Of::Host {
            return;
        }
        let heading = self.heading(step);
        let end = if self.open.is_some() { "\n" } else { "" };
        self.write(&format!("{end}{heading}"));
        self.open = Some(step.to_owned());
    }

    fn end(&mut self, step: &str, outcome: Outcome, milliseconds: u64) {
        let word = match outcome {
            Outcome::Done => "done",
            Outcome::AlreadyDone => "already done",
        };
        let result = format!("{word} {}", duration(milliseconds));
        if self.open.as_deref() == Some(step) {
            self.open = None;
            self.write(&format!(" {result}\n"));
        } else {
            let heading = self.heading(step);
            self.line(&format!("{heading} {result}"));
        }
    }

    fn moves(&mut self, step: &str, at_ms: u64) {
        if at_ms < self.last_progress + PROGRESS_INTERVAL_MS {
            return;
        }
        let Some(Step::Running(running)) = self.progress.step(step) else { return };
        let Some(Amount { done, total, unit, note, .. }) = &running.amount else { return };
        let mut line = self.heading(step);
        if *done > 0 || total.is_some() {
            line.push_str(&format!(" {}", amount(*done, *total, *unit)));
        }
        if let Some(rate) = running.rate() {
            line.push_str(&format!(", {}/s", bytes(rate)));
        }
        if let Some(remaining) = running.remaining() {
            line.push_str(&format!(", {} left", duration(remaining)));
        }
        if let Some(note) = note {
            line.push_str(&format!(" ({})", shown_line(note)));
        }
        self.last_progress = at_ms;
        self.line(&line);
    }

    fn plan(&mut self, title: &str, plan: Option<&str>, destroys: &[String]) {
        self.line(&format!("Bedplate: {}", shown_line(title)));
        // What has a hash is a plan for disks.
        if let Some(plan) = plan {
            self.line(&format!("Plan {}", shown_line(plan)));
            if destroys.is_empty() {
                self.line(DESTROYS_NOTHING);
            }
        }
        for line in destroys {
            self.line(&format!("DESTROYS {}", shown_line(line)));
        }
        if self.of == Of::Host {
            let steps = self.progress.announced().iter();
            let line = |step: &StepSummary| {
                format!("  {}: {}", shown_line(&step.id), shown_line(&step.title))
            };
            let lines: Vec<String> = steps.map(line).collect();
            lines.iter().for_each(|line| self.line(line));
        }
    }

    fn warning(&mut self, step: Option<&str>, message: &str) {
        let step = step.map(|step| format!("{}: ", shown_line(step))).unwrap_or_default();
        self.line(&format!("WARNING {step}{}", shown_lines(message)));
    }

    fn over(&mut self, success: bool, took: &str) {
        let nothing = self.progress.plan().is_some() && self.progress.ended().is_empty();
        let (left, all) = (self.progress.left().count(), self.progress.announced().len());
        match (success, self.of) {
            (true, _) if nothing => self.line(&format!("Finished in {took}: nothing to do.")),
            (true, _) => self.line(&format!("Finished in {took}.")),
            (false, Of::Installation) => {
                self.line(&format!("Stopped after {took}."));
                self.line("Nothing further will be written. The machine stays as it is.");
            }
            (false, Of::Host) if left > 0 => self.line(&format!(
                "Not everything was done ({took}): {left} of {all} steps were not begun."
            )),
            (false, Of::Host) => self.line(&format!("Not everything was done ({took}).")),
        }
    }
}

impl<W: Write + Send> Sink for Plain<W> {
    fn show(&mut self, event: &Event) {
        self.progress.follow(event);
        match &event.kind {
            EventKind::PlanStarted { title, plan, destroys, .. } => {
                self.plan(title, plan.as_deref(), destroys);
            }
            EventKind::StepStarted { step } => self.begin(step),
            EventKind::Progress { step, .. } => self.moves(step, event.at_ms),
            EventKind::Warned { step, message } => self.warning(step.as_deref(), message),
            EventKind::StepDone { step, outcome, milliseconds } => {
                self.end(step, *outcome, *milliseconds);
            }
            EventKind::Failed { .. } => {
                for line in failure(&event.kind) {
                    self.line(&line);
                }
            }
            EventKind::PlanDone { success, milliseconds } => {
                self.over(*success, &duration(*milliseconds));
            }
        }
    }
}

/// A failure as lines.
pub fn failure(kind: &EventKind) -> Vec<String> {
    let EventKind::Failed { step, device, state, message, causes, next } = kind else {
        return Vec::new();
    };
    let mut lines = vec![match step {
        Some(step) => format!("FAILED {}: {}", shown_line(step), shown_lines(message)),
        None => format!("FAILED {}", shown_lines(message)),
    }];
    if let Some(device) = device {
        let state = match state {
            Some(DeviceState::Untouched) => ", untouched",
            Some(DeviceState::Partial) => ", written in part",
            Some(DeviceState::Written) => ", written",
            None => "",
        };
        lines.push(format!("  device: {}{state}", shown_line(device)));
    }
    lines.extend(causes.iter().map(|cause| format!("  because: {}", shown_lines(cause))));
    lines.push(format!("  next: {}", shown_lines(next)));
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bedplate_events::{EVENT_SCHEMA, Unit};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn render(kinds: Vec<(u64, EventKind)>) -> String {
        shown(Of::Installation, kinds)
    }

    fn shown(of: Of, kinds: Vec<(u64, EventKind)>) -> String {
        let buffer = Buffer::default();
        let mut plain = Plain::new(buffer.clone(), of);
        for (sequence, (at_ms, kind)) in kinds.into_iter().enumerate() {
            let sequence = sequence as u64;
            plain.show(&Event { schema: EVENT_SCHEMA, sequence, at_ms, kind });
        }
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    fn plan() -> EventKind {
        let step = |id: &str, title: &str| StepSummary { id: id.into(), title: title.into() };
        EventKind::PlanStarted {
            title: "install hypervisor".into(),
            plan: Some("c0ffee".into()),
            steps: vec![
                step("luks-os", "Encrypt os (nvme-OS)"),
                step("luks-vm1", "Encrypt vm1 (nvme-VM1)"),
                step("copy", "Copy the system"),
            ],
            destroys: vec!["os (nvme-OS): btrfs \"pho\u{1b}tos\" on partition 1, 500 GB".into()],
        }
    }

    fn start(step: &str) -> EventKind {
        EventKind::StepStarted { step: step.into() }
    }

    fn done(step: &str, milliseconds: u64) -> EventKind {
        EventKind::StepDone { step: step.into(), outcome: Outcome::Done, milliseconds }
    }

    fn copied(done: u64) -> EventKind {
        EventKind::Progress {
            step: "copy".into(),
            done,
            total: Some(600_000_000),
            unit: Unit::Bytes,
            note: None,
        }
    }

    #[test]
    fn an_installation_with_parallel_steps_reads_well_on_serial() {
        insta::assert_snapshot!(render(vec![
            (0, plan()),
            (10, start("luks-os")),
            (11, start("luks-vm1")),
            (700, done("luks-vm1", 689)),
            (900, done("luks-os", 890)),
            (1000, start("copy")),
            (2000, copied(30_000_000)),
            (2500, copied(60_000_000)),
            (3000, copied(90_000_000)),
            (
                9000,
                EventKind::Progress {
                    step: "copy".into(),
                    done: 0,
                    total: None,
                    unit: Unit::Items,
                    note: Some("downloading 'x\u{1b}'".into()),
                }
            ),
            (22_000, done("copy", 21_000)),
            (22_001, EventKind::PlanDone { success: true, milliseconds: 22_001 }),
        ]));
    }

    #[test]
    fn a_failure_names_step_device_state_causes_and_what_next() {
        insta::assert_snapshot!(render(vec![
            (0, plan()),
            (10, start("luks-os")),
            (
                20,
                EventKind::Failed {
                    step: Some("luks-os".into()),
                    device: Some("os (nvme-OS)".into()),
                    state: Some(DeviceState::Partial),
                    message: "could not make the LUKS header".into(),
                    causes: vec!["input/output error".into()],
                    next: "replace the disk".into(),
                }
            ),
            (21, EventKind::PlanDone { success: false, milliseconds: 21 }),
        ]));
    }

    #[test]
    fn what_a_host_does_reads_well_in_a_journal() {
        let warned = EventKind::Warned {
            step: Some("copy".into()),
            message: "slow\nFAILED x\u{1b}[2J".into(),
        };
        let already = EventKind::StepDone {
            step: "luks-vm1".into(),
            outcome: Outcome::AlreadyDone,
            milliseconds: 3,
        };
        let failed = EventKind::Failed {
            step: Some("copy".into()),
            device: None,
            state: None,
            message: "it broke".into(),
            causes: vec!["no space".into()],
            next: "make room".into(),
        };
        insta::assert_snapshot!(shown(
            Of::Host,
            vec![
                (0, plan()),
                (10, start("luks-vm1")),
                (11, already),
                (1000, start("copy")),
                (2000, copied(30_000_000)),
                (2500, warned),
                (3000, failed),
                (3001, EventKind::PlanDone { success: false, milliseconds: 3001 }),
            ]
        ));
    }

    #[test]
    fn a_host_that_has_nothing_to_do_says_so() {
        let title = "converge hv".to_owned();
        let none = EventKind::PlanStarted { title, plan: None, steps: vec![], destroys: vec![] };
        let over = |success| EventKind::PlanDone { success, milliseconds: 20 };
        let failing = shown(Of::Host, vec![(0, none.clone()), (20, over(false))]);
        assert!(!failing.contains("nothing to do"), "{failing}");
        let told = shown(Of::Host, vec![(0, none), (20, over(true))]);
        assert_eq!(told, "Bedplate: converge hv\nFinished in 0.1 s: nothing to do.\n");
    }
}
