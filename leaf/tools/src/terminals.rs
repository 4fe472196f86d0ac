//! The kernel's consoles: every one is written to, and whoever types first at one of them is heard.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Where the kernel lists its consoles (kernel documentation, `sysfs-tty`).
const ACTIVE: &str = "/sys/class/tty/console/active";

/// The longest line that is read, in bytes: as long as the longest passphrase LUKS takes.
const LIMIT: usize = 512;

/// How long to wait before a terminal that has hung up is looked at again.
const PAUSE: Duration = Duration::from_millis(200);

/// The devices of the kernel's consoles; `tty0` stands for the terminal that is shown. The last is
/// the one behind `/dev/console`.
pub fn consoles() -> Vec<PathBuf> {
    named(&fs::read_to_string(ACTIVE).unwrap_or_default())
}

fn named(active: &str) -> Vec<PathBuf> {
    let names = active.split_ascii_whitespace().filter(|name| !name.contains('/'));
    names.map(|name| Path::new("/dev").join(name)).collect()
}

/// Terminals while something is asked: as they were before when it is dropped.
pub struct Terminals(Vec<Terminal>);

struct Terminal {
    file: File,
    before: Option<Termios>,
}

impl Terminals {
    /// Opens them for an answer that nobody may see: echo is off.
    pub fn hidden(devices: &[PathBuf]) -> Self {
        Self::open(devices, |modes| modes.remove(LocalModes::ECHO))
    }

    /// Opens them for an answer that is shown as it is typed.
    pub fn shown(devices: &[PathBuf]) -> Self {
        Self::open(devices, |modes| modes.insert(LocalModes::ECHO))
    }

    fn open(devices: &[PathBuf], echo: impl Fn(&mut LocalModes)) -> Self {
        let all = devices.iter().filter_map(|device| Terminal::open(device, &echo));
        Self(all.collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Shows a text on each.
    pub fn write(&self, text: &str) {
        for terminal in &self.0 {
            // One console that is gone must not silence the others.
            let _ = (&terminal.file).write_all(text.as_bytes());
        }
    }

    /// What to wait on.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.0.iter().map(|terminal| terminal.file.as_fd()).collect()
    }

    /// The line typed on one of the readable terminals, without its end; none when it is empty.
    pub fn line(&self, readable: &[bool]) -> Option<Zeroizing<Vec<u8>>> {
        let ready = self.0.iter().zip(readable).filter(|(_, ready)| **ready);
        ready.map(|(terminal, _)| terminal).find_map(Terminal::line)
    }

    /// Waits for the first line that is typed on any.
    pub fn wait_for_line(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        loop {
            let descriptors = self.descriptors();
            let mut waiting: Vec<PollFd<'_>> =
                descriptors.iter().map(|one| PollFd::new(one, PollFlags::IN)).collect();
            poll(&mut waiting, None)?;
            let events: Vec<PollFlags> = waiting.iter().map(PollFd::revents).collect();
            let readable: Vec<bool> = events.iter().map(|one| !one.is_empty()).collect();
            if let Some(line) = self.line(&readable) {
                return Ok(line);
            }
            if events.iter().any(|one| one.intersects(PollFlags::HUP | PollFlags::ERR)) {
                thread::sleep(PAUSE);
            }
        }
    }
}

impl Drop for Terminals {
    fn drop(&mut self) {
        for terminal in &self.0 {
            if let Some(before) = &terminal.before {
                let _ = tcsetattr(&terminal.file, OptionalActions::Flush, before);
            }
        }
    }
}

impl Terminal {
    fn open(device: &Path, echo: impl Fn(&mut LocalModes)) -> Option<Self> {
        let flags = (OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.cast_signed())
            .open(device)
            .ok()?;
        let before = tcgetattr(&file).ok();
        if let Some(mut asking) = before.clone() {
            echo(&mut asking.local_modes);
            asking.local_modes.insert(LocalModes::ICANON);
            tcsetattr(&file, OptionalActions::Flush, &asking).ok()?;
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

#[cfg(test)]
mod tests {
    use rustix::fs::Mode;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// Somebody's side of a terminal, and its device.
    fn terminal() -> (File, PathBuf) {
        let somebody = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&somebody).unwrap();
        unlockpt(&somebody).unwrap();
        let name = ptsname(&somebody, Vec::new()).unwrap().into_string().unwrap();
        // Held open: what is typed waits for whoever reads next.
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        std::mem::forget(rustix::fs::open(name.as_str(), flags, Mode::empty()).unwrap());
        (File::from(somebody), name.into())
    }

    /// What was shown up to now.
    fn shown(somebody: &mut File) -> String {
        let mut text = [0; 4096];
        let length = somebody.read(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn every_active_console_is_known() {
        assert_eq!(named("tty0 ttyS0\n"), [Path::new("/dev/tty0"), Path::new("/dev/ttyS0")]);
        assert!(named("../x").is_empty());
    }

    #[test]
    fn whoever_types_first_is_heard_and_everybody_sees_the_question() {
        let (mut screen, first) = terminal();
        let (mut serial, second) = terminal();
        let asked = Terminals::shown(&[first, second]);
        asked.write("who?");
        serial.write_all(b"me\n").unwrap();
        assert_eq!(*asked.wait_for_line().unwrap(), b"me");
        assert_eq!(shown(&mut screen), "who?");
        assert!(shown(&mut serial).ends_with("me\r\n"), "what is typed is shown");
    }

    #[test]
    fn t19_a_hidden_answer_is_not_shown_and_the_terminal_is_as_before_afterwards() {
        let (mut somebody, device) = terminal();
        let echoes = |device: &Path| {
            let modes = tcgetattr(File::open(device).unwrap()).unwrap().local_modes;
            modes.contains(LocalModes::ECHO)
        };
        let asked = Terminals::hidden(std::slice::from_ref(&device));
        assert!(!echoes(&device));
        somebody.write_all(b"secret\n").unwrap();
        assert_eq!(*asked.wait_for_line().unwrap(), b"secret");
        asked.write("done");
        assert_eq!(shown(&mut somebody), "done");
        drop(asked);
        assert!(echoes(&device));
    }
}
