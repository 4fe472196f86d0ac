//! Events and status as lines for people, or as JSON for programs.

use std::io::{self, Write};

use bedplate_events::shown::{shown_line, shown_lines};
use bedplate_events::{Event, EventKind, Outcome};

use bedplate_resources::status::{Standing, Status};

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Plain,
    /// One JSON document a line.
    Json,
}

/// Writes one event.
pub fn event(out: &mut dyn Write, format: Format, event: &Event) -> io::Result<()> {
    match format {
        Format::Json => json_line(out, event),
        Format::Plain => plain(event).map_or(Ok(()), |line| writeln!(out, "{line}")),
    }
}

/// Writes what `status` or `plan` found.
pub fn status(out: &mut dyn Write, format: Format, all: &[Status]) -> io::Result<()> {
    for one in all {
        match format {
            Format::Json => json_line(out, one)?,
            Format::Plain => plain_status(out, one)?,
        }
    }
    Ok(())
}

fn json_line(out: &mut dyn Write, value: &impl serde::Serialize) -> io::Result<()> {
    writeln!(out, "{}", serde_json::to_string(value)?)
}

fn plain(event: &Event) -> Option<String> {
    let line = match &event.kind {
        EventKind::PlanStarted { title, steps, .. } if steps.is_empty() => {
            format!("{title}: nothing to do")
        }
        EventKind::PlanStarted { title, steps, destroys, .. } => {
            let titles =
                steps.iter().map(|step| format!("\n  {}: {}", step.id, shown_line(&step.title)));
            let lost = destroys.iter().map(|line| format!("\n  DESTROYS {}", shown_line(line)));
            let (lost, titles) = (lost.collect::<String>(), titles.collect::<String>());
            format!("{title}: {} steps{lost}{titles}", steps.len())
        }
        EventKind::StepStarted { .. } => return None,
        EventKind::Progress { step, done, total, note, .. } => {
            let total = total.map(|total| format!(" of {} MB", total / 1_000_000));
            let note =
                note.as_deref().map(|note| format!(" {}", shown_line(note))).unwrap_or_default();
            format!("{step}:{note} {} MB{}", done / 1_000_000, total.unwrap_or_default())
        }
        EventKind::Warned { step, message } => {
            format!("warning: {}{}", prefix(step), shown_lines(message))
        }
        EventKind::StepDone { step, outcome: Outcome::Done, milliseconds } => {
            format!("{step}: done in {:.1} s", seconds(*milliseconds))
        }
        EventKind::StepDone { step, outcome: Outcome::AlreadyDone, .. } => {
            format!("{step}: was done already")
        }
        EventKind::Failed { step, message, causes, next, .. } => {
            let causes = causes.iter().map(|cause| format!("\n  because {}", shown_lines(cause)));
            let causes: String = causes.collect();
            let (message, next) = (shown_lines(message), shown_lines(next));
            format!("FAILED: {}{message}{causes}\n  next: {next}", prefix(step))
        }
        EventKind::PlanDone { success: true, milliseconds } => {
            format!("all done in {:.1} s", seconds(*milliseconds))
        }
        EventKind::PlanDone { success: false, milliseconds } => {
            format!("not everything was done ({:.1} s)", seconds(*milliseconds))
        }
    };
    Some(line)
}

fn prefix(step: &Option<String>) -> String {
    step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss)]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

fn plain_status(out: &mut dyn Write, one: &Status) -> io::Result<()> {
    let name = one.name.as_deref().unwrap_or("*");
    let word = match one.standing() {
        Standing::Agrees => "ok",
        Standing::Differs => "DIFFERS",
        Standing::Stuck => "STUCK",
    };
    writeln!(out, "{word:8}{} {name}", one.kind)?;
    let intent = one.intent.iter().map(|text| format!("intent:  {text}"));
    let reality = one.reality.iter().map(|text| format!("reality: {text}"));
    let refused = one.refused.iter().map(|why| format!("refused: {why}"));
    let actions = one.actions.iter().map(|action| format!("would {action}"));
    let wants = one.wants.iter().map(|what| format!("wants:   {what}"));
    let notes = one.notes.iter().cloned();
    for line in intent.chain(reality).chain(refused).chain(actions).chain(wants).chain(notes) {
        writeln!(out, "          {}", shown_lines(&line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t18_control_characters_do_not_reach_the_terminal() {
        let kind = EventKind::Warned { step: None, message: "a\u{1b}[2Jb".into() };
        let event = Event { schema: 1, sequence: 0, at_ms: 0, kind };
        assert_eq!(plain(&event).unwrap(), "warning: a\\u{1b}[2Jb");
    }

    #[test]
    fn what_wants_a_person_is_shown_and_is_not_ok() {
        let wants = vec!["the newest is 3 days old".to_owned()];
        let mut one = Status::unseen("backup", Some("apps".into()), String::new());
        one = Status { refused: None, wants, ..one };
        let mut out = Vec::new();
        status(&mut out, Format::Plain, &[one]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "STUCK   backup apps\n          wants:   the newest is 3 days old\n");
    }
}
