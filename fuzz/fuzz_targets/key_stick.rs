//! A stick that claims to be a key stick.

#![no_main]

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::sync::LazyLock;

use bedplate_keystick::{Device, Volume, make, read_volume};
use bedplate_tools::secret::Secret;
use libfuzzer_sys::fuzz_target;

struct Stick(Cursor<Vec<u8>>);

impl Read for Stick {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Stick {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.0.get_ref().len().saturating_sub(self.0.position() as usize);
        self.0.write(&bytes[..bytes.len().min(room)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Stick {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Device for Stick {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A whole stick, so that what is changed in it is near to one.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut stick = Stick(Cursor::new(vec![0; 192 << 10]));
    let volume = Volume { id: "1A2B-3C4D", label: "KEY", sector_size: 512 };
    let files = [("bedplate/keyfile".to_owned(), Secret::new(vec![7; 64]))];
    make(&mut stick, &volume, &files).expect("a stick is made");
    stick.0.into_inner()
});

fuzz_target!(|bytes: &[u8]| {
    let read = |image: Vec<u8>| {
        let paths = ["bedplate/keyfile", "bedplate/recovery"];
        drop(read_volume(&mut Stick(Cursor::new(image)), &paths, 1 << 16));
    };
    read(bytes.to_vec());
    // Each four bytes say where one byte of a whole stick is another: most of it is empty.
    let mut near = WHOLE.clone();
    for change in bytes.chunks_exact(4).take(64) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        if let Some(byte) = near.get_mut(place) {
            *byte = change[2];
        }
    }
    read(near);
});
