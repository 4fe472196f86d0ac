//! Where an installation is shown: on every console of the kernel, or where it was started by hand.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_events::Sink;
use bedplate_render::bars::Bars;
use bedplate_render::plain::Plain;
use bedplate_tools::terminals::consoles;
use console::Term;

/// What the standard output of a service is that is shown at the console.
const CONSOLE: &str = "/dev/console";

/// Bars take at least so many columns.
const COLUMNS: u16 = 80;

/// The terminals that show it. `/dev/console` is the last of the kernel's consoles alone; somebody
/// may sit at each of them.
pub fn terminals() -> Vec<PathBuf> {
    let output = fs::read_link("/proc/self/fd/1").unwrap_or_default();
    let found = if output == Path::new(CONSOLE) { consoles() } else { vec![output] };
    found.into_iter().filter(|path| is_terminal(path)).collect()
}

fn is_terminal(path: &Path) -> bool {
    OpenOptions::new().write(true).open(path).is_ok_and(|file| rustix::termios::isatty(&file))
}

/// A renderer for each of them: bars on a screen that is wide enough, plain lines elsewhere.
pub fn sinks() -> Vec<Box<dyn Sink>> {
    let terminals = terminals();
    if terminals.is_empty() {
        return vec![Box::new(Plain::of_installation(io::stdout()))];
    }
    terminals.iter().filter_map(|path| sink(path)).collect()
}

fn sink(path: &Path) -> Option<Box<dyn Sink>> {
    let file = OpenOptions::new().write(true).open(path).ok()?;
    let columns = rustix::termios::tcgetwinsize(&file).map_or(0, |size| size.ws_col);
    if is_serial(path) || columns < COLUMNS {
        return Some(Box::new(Plain::of_installation(file)));
    }
    let input = OpenOptions::new().read(true).open(path).ok()?;
    Some(Box::new(Bars::on(Term::read_write_pair(input, file))))
}

fn is_serial(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["ttyS", "ttyUSB", "ttyAMA", "hvc"].iter().any(|kind| name.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_lines_are_told_from_screens() {
        for serial in ["/dev/ttyS0", "/dev/hvc0"] {
            assert!(is_serial(Path::new(serial)), "{serial}");
        }
        for screen in ["/dev/tty0", "/dev/tty1", "/dev/pts/3"] {
            assert!(!is_serial(Path::new(screen)), "{screen}");
        }
    }
}
