//! `bedplate write`: puts a medium onto a stick, and reads it back.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Seek as _, SeekFrom, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bedplate_model::facts::DiskFacts;
use bedplate_model::size;
use bedplate_tools::direct::Direct;

use crate::device::{self, Chosen, TargetError};
use crate::report::Failure;

/// Write a medium (`bedplate iso`) to a USB stick, and read it back from the stick itself.
///
/// What is on the stick is lost. A device that is in use is refused whatever is said; one that cannot be removed,
/// or that is not blank, wants its own name once more (`--overwrite NAME`).
#[derive(clap::Args)]
pub struct Write {
    /// The medium.
    image: PathBuf,
    /// The stick, by its name below /dev/disk/by-id; `bedplate inventory` lists them.
    device: PathBuf,
    /// Write to this device whatever is on it.
    #[arg(long, value_name = "NAME")]
    overwrite: Option<String>,
}

/// How much is copied and compared at once, in bytes.
const PIECE: usize = 4 << 20;
/// What the end of a larger device is cleared of: the second table of partitions (UEFI 2.10, section 5.3.2), which would
/// contradict the first.
const END: u64 = 1 << 20;
/// The largest image, in bytes: more is no medium of ours.
const LARGEST: u64 = 8 << 30;
/// Where an image of ISO 9660 says that it is one (ECMA-119, section 8.1), and how.
const DESCRIPTOR: (u64, &[u8; 6]) = (0x8000, b"\x01CD001");
/// How often it is told how far things are: at a terminal, and in a log.
const OFTEN: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];

/// Why the stick is not what the image is.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// Not something to boot from.
    #[error("{} is no medium: it holds no ISO 9660 file system. Nothing was written", .0.display())]
    NoMedium(PathBuf),
    /// More than is taken.
    #[error("{} has {}, more than any medium. Nothing was written", .path.display(), size::show(*.bytes))]
    TooLarge { path: PathBuf, bytes: u64 },
    /// The image could not be read, or the stick not be written.
    #[error("could not {action} {name}; the stick is not usable as it is, write it again")]
    Copy {
        action: &'static str,
        name: String,
        #[source]
        source: io::Error,
    },
    /// The stick took the writes and holds something else.
    #[error(
        "{name} does not hold what was written to it, from byte {at} on: the stick is broken or is not as large as it says; take another"
    )]
    Differs { name: String, at: u64 },
}

impl Write {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let (mut image, bytes) = self.open()?;
        let never = |facts: &DiskFacts| unfit(facts, bytes);
        let Chosen { name, facts, mut claim } = device::choose(&self.device, never)?;
        let doubts: Vec<String> = [device::is_fixed(&facts), device::is_not_blank(&facts)]
            .into_iter()
            .flatten()
            .collect();
        device::ask(&name, &doubts, self.overwrite.as_deref())?;
        let mut told = Told::new(bytes);
        let stick = claim.file();
        copy(&mut image, stick, (bytes, facts.size), &mut told)
            .map_err(|(action, source)| WriteError::Copy { action, name: name.clone(), source })?;
        // The device that is open, past what the kernel remembers of it.
        let node = PathBuf::from(format!("/proc/self/fd/{}", stick.as_raw_fd()));
        told.begin("read back");
        match compare(&mut image, &node, bytes, &mut told) {
            Ok(None) => {}
            Ok(Some(at)) => return Err(WriteError::Differs { name, at }.into()),
            Err(source) => {
                return Err(WriteError::Copy { action: "read back", name, source }.into());
            }
        }
        told.end();
        let (image, amount) = (self.image.display(), size::show(bytes));
        Ok(writeln!(io::stdout(), "{name} holds {image} ({amount}), written and read back")?)
    }

    /// The image and its size in bytes.
    fn open(&self) -> Result<(File, u64), Failure> {
        let name = self.image.display().to_string();
        let failed = |source| TargetError::File { action: "open", name: name.clone(), source };
        let mut image = File::open(&self.image).map_err(failed)?;
        let bytes = image.seek(SeekFrom::End(0)).map_err(failed)?;
        if bytes > LARGEST {
            return Err(WriteError::TooLarge { path: self.image.clone(), bytes }.into());
        }
        let mut found = [0; 6];
        let (at, magic) = DESCRIPTOR;
        let read = image.seek(SeekFrom::Start(at)).and_then(|_| image.read_exact(&mut found));
        if read.is_err() || found != *magic {
            return Err(WriteError::NoMedium(self.image.clone()).into());
        }
        Ok((image, bytes))
    }
}

/// What rules a device out for an image of so many bytes.
fn unfit(facts: &DiskFacts, bytes: u64) -> Option<String> {
    let has = size::show(facts.size);
    (facts.size < bytes).then(|| format!("it has {has}, and the medium {}", size::show(bytes)))
}

/// Writes the image to the beginning of the stick, of these sizes, and clears the end.
fn copy(
    image: &mut File,
    stick: &mut File,
    (bytes, room): (u64, u64),
    told: &mut Told,
) -> Result<(), (&'static str, io::Error)> {
    let reading = |source| ("read the image for", source);
    let writing = |source| ("write to", source);
    image.rewind().map_err(reading)?;
    stick.rewind().map_err(writing)?;
    let mut piece = vec![0; PIECE];
    let mut done = 0;
    while done < bytes {
        let want = usize::try_from((bytes - done).min(PIECE as u64)).unwrap_or(PIECE);
        let part = piece.get_mut(..want).unwrap_or_default();
        image.read_exact(part).map_err(reading)?;
        stick.write_all(part).map_err(writing)?;
        // Nothing waits for long at the end, and what is told is what has been written.
        stick.sync_data().map_err(writing)?;
        done += want as u64;
        told.at(done);
    }
    let clear = room.saturating_sub(bytes).min(END);
    if clear > 0 {
        stick.seek(SeekFrom::Start(room - clear)).map_err(writing)?;
        io::copy(&mut io::repeat(0).take(clear), stick).map_err(writing)?;
    }
    stick.sync_all().map_err(writing)
}

/// The first byte at which the device differs from the image; none when it does not.
fn compare(
    image: &mut File,
    device: &Path,
    bytes: u64,
    told: &mut Told,
) -> io::Result<Option<u64>> {
    image.rewind()?;
    let mut stick = Direct::open(device)?;
    let (mut wanted, mut found) = (vec![0; PIECE], vec![0; PIECE]);
    let mut done = 0;
    while done < bytes {
        let want = usize::try_from((bytes - done).min(PIECE as u64)).unwrap_or(PIECE);
        let (wanted, found) =
            (wanted.get_mut(..want).unwrap_or_default(), found.get_mut(..want).unwrap_or_default());
        image.read_exact(wanted)?;
        stick.read_exact(found)?;
        if let Some(at) = wanted.iter().zip(found.iter()).position(|(one, other)| one != other) {
            return Ok(Some(done + at as u64));
        }
        done += want as u64;
        told.at(done);
    }
    Ok(None)
}

/// How far things are, on standard error.
struct Told {
    what: &'static str,
    bytes: u64,
    begun: Instant,
    last: Instant,
    at_terminal: bool,
    is_open: bool,
}

impl Told {
    fn new(bytes: u64) -> Self {
        let at_terminal = io::stderr().is_terminal();
        let begun = Instant::now();
        Self { what: "written", bytes, begun, last: begun, at_terminal, is_open: false }
    }

    fn begin(&mut self, what: &'static str) {
        self.end();
        (self.what, self.begun) = (what, Instant::now());
    }

    fn at(&mut self, done: u64) {
        if self.last.elapsed() < OFTEN[usize::from(!self.at_terminal)] {
            return;
        }
        self.last = Instant::now();
        let line = line(self.what, done, self.bytes, self.begun.elapsed());
        let shown = if self.at_terminal { format!("\r{line}\u{1b}[K") } else { line + "\n" };
        // Progress that cannot be shown is no reason to stop.
        drop(io::stderr().write_all(shown.as_bytes()));
        self.is_open = self.at_terminal;
    }

    /// Whatever follows stands in a line of its own.
    fn end(&mut self) {
        if std::mem::take(&mut self.is_open) {
            drop(io::stderr().write_all(b"\n"));
        }
    }
}

fn line(what: &str, done: u64, bytes: u64, elapsed: Duration) -> String {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / milliseconds;
    let left =
        (bytes - done).checked_div(rate).map_or(String::new(), |left| format!(", {left} s left"));
    let (done, bytes, rate) = (size::show(done), size::show(bytes), size::show(rate));
    format!("{what}: {done} of {bytes}, {rate}/s{left}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn facts(size: u64) -> DiskFacts {
        let facts = serde_json::json!({
            "kernel_name": "sda", "number": "8:0", "by_id": ["usb-Stick_1"], "size": size,
            "sector_size": 512, "rotational": false, "transport": "usb", "removable": true,
        });
        serde_json::from_value(facts).unwrap()
    }

    #[test]
    fn a_stick_is_what_the_image_is_and_one_that_lies_is_found_out() {
        let place = tempfile::tempdir().unwrap();
        let (image, stick) = (place.path().join("image"), place.path().join("stick"));
        let bytes: Vec<u8> = (0..9_u32 << 20).map(|at| (at % 251) as u8).collect();
        fs::write(&image, &bytes).unwrap();
        let room = 16 << 20;
        fs::write(&stick, vec![7; room]).unwrap();
        let size = bytes.len() as u64;
        let mut told = Told::new(size);
        let mut from = File::open(&image).unwrap();
        let mut to = File::options().read(true).write(true).open(&stick).unwrap();
        copy(&mut from, &mut to, (size, room as u64), &mut told).unwrap();
        let written = fs::read(&stick).unwrap();
        assert_eq!(written[..bytes.len()], bytes);
        assert!(written[room - (1 << 20)..].iter().all(|byte| *byte == 0), "an old table stays");
        assert_eq!(written[bytes.len()], 7);
        assert_eq!(compare(&mut from, &stick, size, &mut told).unwrap(), None);
        to.write_at(&[255], 5_000_000).unwrap();
        to.sync_all().unwrap();
        assert_eq!(compare(&mut from, &stick, size, &mut told).unwrap(), Some(5_000_000));
        // A stick that ends early.
        to.set_len(size - 1).unwrap();
        to.write_at(&bytes[5_000_000..=5_000_000], 5_000_000).unwrap();
        to.sync_all().unwrap();
        assert!(compare(&mut from, &stick, size, &mut told).is_err());
    }

    #[test]
    fn what_is_no_medium_and_what_is_too_small_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let image = place.path().join("image");
        for content in [vec![], vec![0; 1 << 20]] {
            fs::write(&image, content).unwrap();
            let write = Write { image: image.clone(), device: "x".into(), overwrite: None };
            let told = write.run().unwrap_err().told();
            assert!(told.contains("is no medium"), "{told}");
        }
        assert_eq!(unfit(&facts(1 << 30), 1 << 20), None);
        assert!(unfit(&facts(1 << 20), 1 << 30).unwrap().contains("and the medium"));
    }

    #[test]
    fn how_far_it_is_says_what_is_left() {
        let shown = line("written", 500 << 20, 1000 << 20, Duration::from_secs(10));
        assert_eq!(shown, "written: 524 MB of 1 GB, 52.4 MB/s, 10 s left");
        assert!(!line("written", 0, 1, Duration::ZERO).contains("left"));
    }
}
