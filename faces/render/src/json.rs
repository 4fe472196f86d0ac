//! Events as JSON lines, for files and for the harness.

use std::io::Write;

use bedplate_events::Event;

use bedplate_events::Sink;

/// Writes one line of JSON an event.
pub struct JsonLines<W> {
    output: W,
    prefix: &'static str,
}

impl<W: Write + Send> JsonLines<W> {
    /// Lines with `prefix` before the JSON.
    pub fn new(output: W, prefix: &'static str) -> Self {
        Self { output, prefix }
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {
    fn show(&mut self, event: &Event) {
        let Ok(json) = serde_json::to_string(event) else { return };
        let line = format!("{}{json}\n", self.prefix);
        // A reader that went away must not stop an installation.
        let _ = self.output.write_all(line.as_bytes()).and_then(|()| self.output.flush());
    }
}
