use super::*;
use crate::layout::LABEL;

const SIZE: usize = 192 << 10;
const SECTOR: usize = 512;

#[derive(Clone)]
enum Written {
    Bytes(usize, Vec<u8>),
    Synced,
}

/// A device in memory that remembers what was written to it, and when it was flushed.
struct Memory {
    image: Vec<u8>,
    position: usize,
    log: Vec<Written>,
}

impl Memory {
    fn new(image: Vec<u8>) -> Self {
        Self { image, position: 0, log: Vec::new() }
    }
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let from = self.image.get(self.position..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        self.position += count;
        Ok(count)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.position;
        apply(&mut self.image, at, bytes);
        self.log.push(Written::Bytes(at, bytes.to_vec()));
        self.position += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(at) => at as usize,
            SeekFrom::End(offset) => self.image.len().checked_add_signed(offset as isize).unwrap(),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset as isize).unwrap(),
        };
        Ok(self.position as u64)
    }
}

impl Device for Memory {
    fn sync(&mut self) -> io::Result<()> {
        self.log.push(Written::Synced);
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn apply(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn volume() -> Volume<'static> {
    Volume { id: "1A2B-3C4D", label: LABEL, sector_size: 512 }
}

fn files(byte: u8) -> Vec<(String, Secret)> {
    vec![
        ("bedplate/recovery".to_owned(), Secret::new(vec![byte; 39])),
        ("bedplate/deep/er/restic-apps".to_owned(), Secret::new(vec![byte ^ 1; 1000])),
        ("bedplate/keyfile".to_owned(), Secret::new(vec![byte ^ 2; 64])),
    ]
}

/// What somebody finds after a power cut: no volume, or all files of one generation.
fn after_cut(image: Vec<u8>) -> Option<Vec<(String, Secret)>> {
    let mut device = Memory::new(image);
    let paths = files(0);
    let paths: Vec<&str> = paths.iter().map(|(path, _)| path.as_str()).collect();
    read_volume(&mut device, &paths, 4096).ok().map(|contents| contents.files)
}

fn recorded(before: &[u8], wanted: &[(String, Secret)]) -> Vec<Written> {
    let mut device = Memory::new(before.to_vec());
    make(&mut device, &volume(), wanted).unwrap();
    device.log
}

fn made(wanted: &[(String, Secret)]) -> Vec<u8> {
    let mut device = Memory::new(vec![0xff; SIZE]);
    make(&mut device, &volume(), wanted).unwrap();
    device.image
}

#[test]
fn t23_a_cut_at_any_write_leaves_no_stick_or_a_whole_one() {
    let (old, new) = (files(7), files(42));
    let before = made(&old);
    let mut image = before.clone();
    let log = recorded(&before, &new);
    assert!(log.len() > 100, "{}", log.len());
    let (mut none, mut whole) = (0, 0);
    for written in &log {
        if let Written::Bytes(at, bytes) = written {
            apply(&mut image, *at, bytes);
        }
        match after_cut(image.clone()) {
            None => none += 1,
            Some(found) if found == new => whole += 1,
            Some(found) => panic!("{} of {} files: half a stick", found.len(), new.len()),
        }
    }
    assert!(none > 100 && whole >= 1, "{none} {whole}");
    assert_eq!(after_cut(image).unwrap(), new);
}

/// Sectors that were not flushed reach the medium in any order, or never.
#[test]
fn t23_lost_and_reordered_sectors_leave_no_stick_or_a_whole_one() {
    let (old, new) = (files(7), files(42));
    let before = made(&old);
    let log = recorded(&before, &new);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let ends: Vec<usize> = (0..log.len())
        .filter(|at| matches!(log[*at], Written::Synced))
        .chain([log.len()])
        .collect();
    for round in 0..400 {
        let (start, end) = match round % ends.len() {
            0 => (0, ends[0]),
            window => (ends[window - 1], ends[window]),
        };
        let mut image = before.clone();
        for (index, written) in log[..end].iter().enumerate() {
            let Written::Bytes(at, bytes) = written else { continue };
            for (offset, piece) in sectors(*at, bytes) {
                if index < start || next().is_multiple_of(2) {
                    apply(&mut image, offset, piece);
                }
            }
        }
        if let Some(found) = after_cut(image) {
            assert!(found == new || (start == 0 && found == old), "round {round}: {}", found.len());
        }
    }
}

fn sectors(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let head = (SECTOR - at % SECTOR).min(bytes.len());
    let rest = bytes[head..].chunks(SECTOR).enumerate();
    std::iter::once((at, &bytes[..head]))
        .chain(rest.map(move |(index, piece)| (at + head + index * SECTOR, piece)))
}

#[test]
fn both_sector_sizes_hold_every_file_and_the_volume_id() {
    for (sector_size, size) in [(512, 64 << 20), (4096, 64 << 20), (512, 300 << 10)] {
        let mut device = Memory::new(vec![0xa5; size]);
        let wanted = files(1);
        make(&mut device, &Volume { sector_size, ..volume() }, &wanted).unwrap();
        let found = read_volume(&mut device, &["bedplate/keyfile", "nothing"], 64).unwrap();
        assert_eq!(found.volume_id, "1A2B-3C4D");
        assert_eq!(found.files, wanted[2..]);
    }
}

#[test]
fn t15_a_file_that_is_too_long_or_outside_is_refused() {
    let mut device = Memory::new(made(&files(1)));
    assert!(read_volume(&mut device, &["bedplate/keyfile"], 63).is_err());
    assert!(read_volume(&mut device, &["../keyfile"], 64).is_err());
}

/// A stick that takes every write and keeps none of those to one place.
struct Liar(Memory);

impl Read for Liar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Liar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.iter().all(|byte| *byte == 42 ^ 2) {
            self.0.position += bytes.len();
            return Ok(bytes.len());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Liar {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Device for Liar {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn t22_a_stick_that_loses_what_it_took_is_found_out() {
    let mut device = Liar(Memory::new(vec![0; SIZE]));
    let error = make(&mut device, &volume(), &files(42)).unwrap_err().to_string();
    assert!(error.contains("gave back something else for `bedplate/keyfile`"), "{error}");
}

/// fatfs clears its tables in pieces of 512 bytes.
#[test]
fn what_is_cleared_is_written_in_one_go() {
    let mut device = Memory::new(vec![0xff; 64 << 20]);
    make(&mut device, &volume(), &[]).unwrap();
    let writes = device.log.iter().filter(|one| matches!(one, Written::Bytes(..))).count();
    assert!(writes < 200, "{writes} writes");
}
