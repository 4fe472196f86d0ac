//! What commands tell, as lines for people or as JSON for programs. How lines look is `render`'s.

use std::io::{self, Write};

use bedplate_events::Sink;
use bedplate_render::entries::{self, Entry, Tone};
use bedplate_render::json::JsonLines;
use bedplate_render::plain::Plain;
use bedplate_render::table::columns;
use bedplate_resources::status::{Standing, Status};

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Plain,
    /// One JSON document a line.
    Json,
}

/// Where events go that are shown on `out`.
pub fn sink<'w>(out: impl Write + Send + 'w, format: Format) -> Box<dyn Sink + 'w> {
    match format {
        Format::Json => Box::new(JsonLines::new(out, "")),
        Format::Plain => Box::new(Plain::of_host(out)),
    }
}

/// An output that keeps the first error: whoever shows events goes on without one.
pub struct Noticing<'w> {
    out: &'w mut (dyn Write + Send),
    /// Whether all could be written.
    pub written: io::Result<()>,
}

impl<'w> Noticing<'w> {
    /// Of this output.
    pub fn new(out: &'w mut (dyn Write + Send)) -> Self {
        Self { out, written: Ok(()) }
    }

    fn notice<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && self.written.is_ok()
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.written = Err(io::Error::new(error.kind(), error.to_string()));
        }
        result
    }
}

impl Write for Noticing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.notice(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.notice(result)
    }
}

/// Writes what `status` or `plan` found.
pub fn status(out: &mut dyn Write, format: Format, all: &[Status]) -> io::Result<()> {
    match format {
        Format::Json => {
            all.iter().try_for_each(|one| writeln!(out, "{}", serde_json::to_string(one)?))
        }
        Format::Plain => entries::write(out, &all.iter().map(entry).collect::<Vec<_>>(), columns()),
    }
}

fn entry(one: &Status) -> Entry {
    let (word, tone) = match one.standing() {
        Standing::Agrees => ("ok", Tone::Well),
        Standing::Differs => ("DIFFERS", Tone::Odd),
        Standing::Stuck => ("STUCK", Tone::Bad),
    };
    let intent = one.intent.iter().map(|text| format!("intent:  {text}"));
    let reality = one.reality.iter().map(|text| format!("reality: {text}"));
    let refused = one.refused.iter().map(|why| format!("refused: {why}"));
    let actions = one.actions.iter().map(|action| format!("would {action}"));
    let wants = one.wants.iter().map(|what| format!("wants:   {what}"));
    let notes = one.notes.iter().cloned();
    let lines = intent.chain(reality).chain(refused).chain(actions).chain(wants).chain(notes);
    let title = format!("{} {}", one.kind, one.name.as_deref().unwrap_or("*"));
    Entry { word, tone, title, lines: lines.collect() }
}

#[cfg(test)]
mod tests {
    use bedplate_engine::Reporter;

    use super::*;

    #[test]
    fn what_wants_a_person_is_shown_and_is_not_ok() {
        let wants = vec!["the newest is 3 days old".to_owned()];
        let mut one = Status::unseen("backup", Some("apps".into()), String::new());
        one = Status { refused: None, wants, ..one };
        let mut out = Vec::new();
        status(&mut out, Format::Plain, &[one]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text, "STUCK   backup apps\n          wants:   the newest is 3 days old\n");
    }

    /// Whoever reads goes away after so many bytes.
    struct Gone(usize);

    impl Write for Gone {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_reads_may_go_away_and_that_is_noticed() {
        for format in [Format::Plain, Format::Json] {
            for (room, well) in [(1 << 20, true), (20, false)] {
                let mut gone = Gone(room);
                let mut output = Noticing::new(&mut gone);
                let reporter = Reporter::new(vec![sink(&mut output, format)]);
                reporter.warn(None, "a warning of more than twenty bytes");
                reporter.warn(None, "and the work goes on");
                drop(reporter);
                assert_eq!(output.written.is_ok(), well, "{format:?} {room}");
            }
        }
    }
}
