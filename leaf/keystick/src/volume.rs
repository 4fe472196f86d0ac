//! A whole stick or image: made in one go through `fatfs`, without a mount.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use bedplate_tools::direct::Direct;
use bedplate_tools::secret::Secret;
use bedplate_tools::signature::Signature;
use bedplate_tools::unfinished;
use fatfs::{FileSystem, FsOptions};
use rustix::fs::{Advice, fadvise};

use crate::layout::inside;
use crate::{Result, StickError};

/// What is cleared at both ends: traces of file systems, partition tables and superblocks of RAID.
const CLEARED: u64 = 1 << 20;

/// How much is gathered before it is written, in bytes.
const GATHERED: usize = 1 << 20;

/// A stick or an image.
pub trait Device: Read + Write + Seek {
    /// Returns when all that was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;

    /// What is read from now on comes from the medium, not from memory.
    fn forget(&mut self) -> io::Result<()>;
}

impl Device for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(fadvise(&*self, 0, None, Advice::DontNeed)?)
    }
}

impl Device for Direct {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn forget(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The volume to make.
#[derive(Debug, Clone, Copy)]
pub struct Volume<'a> {
    /// Volume id, such as `1A2B-3C4D`.
    pub id: &'a str,
    /// Label, at most 11 characters.
    pub label: &'a str,
    /// Bytes of a logical sector.
    pub sector_size: u32,
}

/// What was found on a stick.
#[derive(Debug)]
pub struct Contents {
    /// Volume id, such as `1A2B-3C4D`.
    pub volume_id: String,
    /// Those of the files asked for that are there and hold something.
    pub files: Vec<(String, Secret)>,
}

/// Makes the volume with these files, and reads it back.
///
/// Everything is written behind a first sector that is marked as [`unfinished`] under the volume's
/// id; what belongs there comes last and alone. A power cut leaves no VFAT volume at all, or the
/// complete one.
pub fn make(
    device: &mut impl Device,
    volume: &Volume<'_>,
    files: &[(String, Secret)],
) -> Result<()> {
    clear_ends(device, volume).map_err(StickError::volume("clear the volume"))?;
    let first = fill(device, volume, files)?;
    device
        .sync()
        .and_then(|()| device.seek(SeekFrom::Start(0)))
        .and_then(|_| device.write_all(&first))
        .and_then(|()| device.sync())
        .and_then(|()| device.forget())
        .map_err(StickError::volume("finish the volume"))?;
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let back = read_volume(device, &paths, u64::MAX)?;
    match files.iter().find(|file| !back.files.contains(file)) {
        _ if back.volume_id != volume.id => {
            Err(StickError::ReadBack { path: "the volume id".to_owned() })
        }
        Some((path, _)) => Err(StickError::ReadBack { path: path.clone() }),
        None => Ok(()),
    }
}

/// The files of a volume, as far as they are there; `limit` is the most one of them may hold.
pub fn read_volume(device: &mut impl Device, paths: &[&str], limit: u64) -> Result<Contents> {
    let failed = || StickError::volume("read the volume");
    let mut start = vec![0; 36 << 10];
    device.seek(SeekFrom::Start(0)).map_err(failed())?;
    let read = device.read(&mut start).map_err(failed())?;
    start.truncate(read);
    let Some(Signature::Fat { volume_id }) = Signature::parse(&start) else {
        return Err(failed()(io::Error::other("there is no VFAT volume")));
    };
    device.seek(SeekFrom::Start(0)).map_err(failed())?;
    let volume = FileSystem::new(device, FsOptions::new()).map_err(failed())?;
    let mut files = Vec::new();
    for path in paths {
        let relative = inside(path)?.to_string_lossy();
        let file = match volume.root_dir().open_file(&relative) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StickError::file("open", path)(error)),
        };
        let secret = Secret::read(&mut file.take(limit.saturating_add(1)));
        let secret = secret.map_err(StickError::file("read", path))?;
        if secret.expose().len() as u64 > limit {
            return Err(StickError::Unusable { path: (*path).to_owned(), what: "too long" });
        }
        files.extend((!secret.expose().is_empty()).then(|| ((*path).to_owned(), secret)));
    }
    Ok(Contents { volume_id, files })
}

/// The first sector goes first and alone: from then on nothing looks like a volume, and whoever
/// looks sees which one is to become of it.
fn clear_ends(device: &mut impl Device, volume: &Volume<'_>) -> io::Result<()> {
    let size = device.seek(SeekFrom::End(0))?;
    let length = usize::try_from(CLEARED.min(size)).map_err(io::Error::other)?;
    let mut first = unfinished::mark(volume.id);
    first.resize(length, 0);
    device.seek(SeekFrom::Start(0))?;
    device.write_all(first.get(..volume.sector_size as usize).unwrap_or(&first))?;
    device.sync()?;
    device.seek(SeekFrom::Start(size - length as u64))?;
    device.write_all(&vec![0; length])?;
    device.seek(SeekFrom::Start(0))?;
    device.write_all(&first)?;
    device.sync()
}

/// Writes all but the first sector, which it returns.
fn fill(
    device: &mut impl Device,
    volume: &Volume<'_>,
    files: &[(String, Secret)],
) -> Result<Vec<u8>> {
    let failed = || StickError::volume("make the volume");
    let sector_size =
        usize::try_from(volume.sector_size).map_err(|error| failed()(io::Error::other(error)))?;
    let mut held = Held { device, first: vec![0; sector_size], position: 0 };
    format(&mut held, volume).map_err(failed())?;
    held.position = 0;
    let made = FileSystem::new(&mut held, FsOptions::new()).map_err(failed())?;
    for (path, secret) in files {
        put(&made, inside(path)?, secret).map_err(StickError::file("write", path))?;
    }
    made.unmount().map_err(failed())?;
    Ok(held.first)
}

fn format(device: &mut (impl Read + Write + Seek), volume: &Volume<'_>) -> io::Result<()> {
    let size = device.seek(SeekFrom::End(0))?;
    device.seek(SeekFrom::Start(0))?;
    let mut label = [b' '; 11];
    for (slot, byte) in label.iter_mut().zip(volume.label.bytes()) {
        *slot = byte;
    }
    let id = u32::from_str_radix(&volume.id.replace('-', ""), 16).map_err(io::Error::other)?;
    let sectors = u32::try_from(size / u64::from(volume.sector_size)).map_err(io::Error::other)?;
    let options = fatfs::FormatVolumeOptions::new()
        .bytes_per_sector(u16::try_from(volume.sector_size).map_err(io::Error::other)?)
        .total_sectors(sectors)
        .volume_id(id)
        .volume_label(label);
    let mut gathered = Gathered(BufWriter::with_capacity(GATHERED, device));
    fatfs::format_volume(&mut gathered, options)?;
    gathered.flush()
}

fn put<T: Read + Write + Seek>(
    volume: &FileSystem<T>,
    path: &std::path::Path,
    secret: &Secret,
) -> io::Result<()> {
    let mut directory = volume.root_dir();
    for part in path.parent().into_iter().flatten() {
        // An existing directory is opened.
        directory = directory.create_dir(&part.to_string_lossy())?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = directory.create_file(&name)?;
    file.truncate()?;
    file.write_all(secret.expose())?;
    file.flush()
}

/// What is written piece by piece in one go: fatfs clears its tables in pieces of 512 bytes.
struct Gathered<D: Write>(BufWriter<D>);

impl<D: Read + Write> Read for Gathered<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.flush()?;
        self.0.get_mut().read(buffer)
    }
}

impl<D: Write> Write for Gathered<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<D: Write + Seek> Seek for Gathered<D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// A device whose first sector is kept in memory.
struct Held<'a, D> {
    device: &'a mut D,
    first: Vec<u8>,
    position: u64,
}

impl<D: Device> Held<'_, D> {
    /// The part of the first sector at the position, at most so long; none behind it.
    fn held(&mut self, length: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(self.position).ok()?;
        let end = start.saturating_add(length).min(self.first.len());
        self.first.get_mut(start..end).filter(|part| !part.is_empty() || length == 0)
    }
}

impl<D: Device> Read for Held<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = if let Some(part) = self.held(buffer.len()) {
            let count = part.len();
            buffer.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            count
        } else {
            self.device.seek(SeekFrom::Start(self.position))?;
            self.device.read(buffer)?
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl<D: Device> Write for Held<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = if let Some(part) = self.held(bytes.len()) {
            let count = part.len();
            part.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            count
        } else {
            self.device.seek(SeekFrom::Start(self.position))?;
            self.device.write(bytes)?
        };
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.device.flush()
    }
}

impl<D: Device> Seek for Held<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(offset) => self
                .position
                .checked_add_signed(offset)
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?,
            SeekFrom::End(_) => self.device.seek(to)?,
        };
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests;
