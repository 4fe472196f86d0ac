//! Messages for the person at the machine.

use std::error::Error as StdError;
use std::fs::{File, OpenOptions};
use std::io::Write as _;

use crate::error::Error;

/// The consoles and the kernel's log.
pub(crate) struct Console {
    console: Option<File>,
    log: Option<File>,
}

impl Console {
    /// Opens what is there; a machine without a console boots too.
    pub(crate) fn open() -> Self {
        let open = |path| OpenOptions::new().write(true).open(path).ok();
        Self { console: open("/dev/console"), log: open("/dev/kmsg") }
    }

    /// One line.
    pub(crate) fn say(&self, text: &str) {
        // Nobody is left to be told when the console itself fails.
        if let Some(mut console) = self.console.as_ref() {
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
        self.say(&chain(error));
        self.say(error.advice());
        self.say("Nothing was changed. The machine waits; switch it off when you are ready.");
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
