//! Asking for the passphrase on every console at once.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::console::active;

/// The longest passphrase LUKS takes.
const LIMIT: usize = 512;

/// The consoles while a passphrase is asked for: echo is off until it is dropped.
pub(crate) struct Prompt {
    terminals: Vec<Terminal>,
}

struct Terminal {
    file: File,
    before: Option<Termios>,
}

impl Prompt {
    /// Opens the kernel's consoles.
    pub(crate) fn open() -> Self {
        Self { terminals: active().iter().filter_map(|name| Terminal::open(name)).collect() }
    }

    /// Shows the question on each.
    pub(crate) fn ask(&self, question: &str) {
        self.write(&format!("\r\n{question} "));
    }

    /// Ends the line of the question: the typed line end is not echoed.
    pub(crate) fn end_line(&self) {
        self.write("\r\n");
    }

    /// What to wait on.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.terminals.iter().map(|terminal| terminal.file.as_fd()).collect()
    }

    /// The line typed on one of the readable consoles, without its end.
    pub(crate) fn line(&self, readable: &[bool]) -> Option<Zeroizing<Vec<u8>>> {
        let ready = self.terminals.iter().zip(readable).filter(|(_, ready)| **ready);
        ready.map(|(terminal, _)| terminal).find_map(Terminal::line)
    }

    fn write(&self, text: &str) {
        for terminal in &self.terminals {
            // One console that is gone must not silence the others.
            let _ = (&terminal.file).write_all(text.as_bytes());
        }
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        for terminal in &self.terminals {
            if let Some(before) = &terminal.before {
                let _ = tcsetattr(&terminal.file, OptionalActions::Flush, before);
            }
        }
    }
}

impl Terminal {
    fn open(name: &str) -> Option<Self> {
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.cast_signed())
            .open(format!("/dev/{name}"))
            .ok()?;
        let before = tcgetattr(&file).ok();
        if let Some(mut silent) = before.clone() {
            silent.local_modes.remove(LocalModes::ECHO);
            silent.local_modes.insert(LocalModes::ICANON);
            tcsetattr(&file, OptionalActions::Flush, &silent).ok()?;
        }
        Some(Self { file, before })
    }

    fn line(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut line = Zeroizing::new(vec![0; LIMIT]);
        let length = (&self.file).read(&mut line).ok()?;
        line.truncate(length);
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        (!line.is_empty()).then_some(line)
    }
}
