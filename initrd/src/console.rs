//! Messages for the person at the machine.

use bedplate_events::cause::in_line;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use bedplate_tools::terminals::consoles;

use crate::error::Error;

/// The consoles and the kernel's log.
pub(crate) struct Console {
    consoles: Vec<File>,
    log: Option<File>,
}

impl Console {
    /// Opens what is there; a machine without a console boots too. `/dev/console` is the last one of
    /// the kernel's alone: whoever sits at another would be asked for a passphrase, and told nothing.
    pub(crate) fn open() -> Self {
        let open = |path: &Path| OpenOptions::new().write(true).open(path).ok();
        let mut files: Vec<File> = consoles().iter().filter_map(|path| open(path)).collect();
        if files.is_empty() {
            files.extend(open(Path::new("/dev/console")));
        }
        Self { consoles: files, log: open(Path::new("/dev/kmsg")) }
    }

    /// One line.
    pub(crate) fn say(&self, text: &str) {
        for mut console in &self.consoles {
            // Nobody is left to be told when the console itself fails.
            let _ = console.write_all(format!("bedplate: {text}\r\n").as_bytes());
        }
        if let Some(mut log) = self.log.as_ref() {
            // Debug level: kept with its time, not shown a second time on the console.
            let _ = log.write_all(format!("<15>bedplate-init: {text}\n").as_bytes());
        }
    }

    /// The last thing this machine says until somebody acts.
    pub(crate) fn fail(&self, error: &Error) {
        self.say("");
        self.say("*** This machine cannot start. ***");
        self.say(&in_line(error));
        self.say(error.advice());
        self.say("Nothing was changed. The machine waits; switch it off when you are ready.");
    }
}
