//! A copy that is made while a content is hashed: everything is read once, and written below open
//! directories, so that no path is looked up for each of thousands of files.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bedplate_tools::nix::archive::Witness;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, fchmod, fstat, futimens, mkdirat, openat, symlinkat, utimensat,
};

use super::STORE_TIMES;
use crate::meter::Meter;

/// Where the copy of one store path has got to.
pub struct Copier<'a> {
    /// Those that are begun, the innermost last; the first is the staging directory.
    directories: Vec<OwnedFd>,
    /// The file that is begun.
    output: Option<File>,
    meter: &'a Meter<'a>,
    /// Bytes that the meter knows of.
    metered: u64,
}

impl<'a> Copier<'a> {
    /// Copies into a directory.
    pub fn new(into: &Path, meter: &'a Meter<'a>) -> io::Result<Self> {
        let staging = open_directory(CWD, into.as_os_str())?;
        Ok(Self { directories: vec![staging], output: None, meter, metered: 0 })
    }

    /// Tells the meter of so many bytes in all: serialised, a path has more than its files have.
    pub fn complete(self, size: u64) {
        self.meter.add(size.saturating_sub(self.metered));
    }

    fn place(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.directories.last().ok_or(io::ErrorKind::NotFound)?.as_fd())
    }
}

impl Witness for Copier<'_> {
    fn directory(&mut self, name: &OsStr) -> io::Result<()> {
        let made = {
            let place = self.place()?;
            mkdirat(place, name, Mode::from_raw_mode(0o755)).map_err(|error| named(name, error))?;
            open_directory(place, name)?
        };
        self.directories.push(made);
        Ok(())
    }

    fn directory_ends(&mut self) -> io::Result<()> {
        let directory = self.directories.pop().ok_or(io::ErrorKind::NotFound)?;
        fchmod(&directory, Mode::from_raw_mode(0o555))?;
        Ok(futimens(&directory, &STORE_TIMES)?)
    }

    fn link(&mut self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        let place = self.place()?;
        symlinkat(target, place, name).map_err(|error| named(name, error))?;
        Ok(utimensat(place, name, &STORE_TIMES, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn file(&mut self, name: &OsStr, executable: bool) -> io::Result<()> {
        let mode = Mode::from_raw_mode(if executable { 0o555 } else { 0o444 });
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(self.place()?, name, flags, mode).map_err(|error| named(name, error))?;
        // Of what a umask took away.
        if Mode::from_raw_mode(fstat(&made)?.st_mode) != mode {
            fchmod(&made, mode)?;
        }
        self.output = Some(made.into());
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.as_mut().ok_or(io::ErrorKind::NotFound)?.write_all(bytes)?;
        self.metered = self.metered.saturating_add(bytes.len() as u64);
        self.meter.add(bytes.len() as u64);
        Ok(())
    }

    fn file_ends(&mut self) -> io::Result<()> {
        let output = self.output.take().ok_or(io::ErrorKind::NotFound)?;
        Ok(futimens(&output, &STORE_TIMES)?)
    }
}

fn open_directory(place: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(place, name, flags, Mode::empty()).map_err(|error| named(name, error))
}

fn named(name: &OsStr, error: rustix::io::Errno) -> io::Error {
    let name = String::from_utf8_lossy(name.as_bytes()).escape_debug().to_string();
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
