//! Writing answers into a finished medium, in place, and taking them out again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::path::Path;

use bedplate_formats::answers::{ANSWERS_FILE, AREA_BYTES, AnswersError, HEADER_BYTES, Header};

use crate::answers::{self, Answers, Flake, Repository};
use crate::error::{Error, file, unfit};
use crate::iso9660::{self, Extent};

/// The repository that a medium's own platform is enrolled into, for later personalisation.
pub(crate) const FLAKE_FILE: &str = "live/flake.tar";

/// The content of an area without answers.
pub(crate) fn empty_area() -> Vec<u8> {
    let mut area = Header::empty(AREA_BYTES - HEADER_BYTES as u64).encode();
    area.resize(AREA_BYTES as usize, 0);
    area
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Personalized {
    /// Length of the answers in bytes.
    pub length: u64,
    /// How many bytes would fit.
    pub capacity: u64,
}

/// Writes `answers` into the medium `iso` (a file or a stick), in place, and reads them back.
pub fn personalize(iso: &Path, answers: &Answers) -> Result<Personalized, Error> {
    put(iso, &answers.pack()?, |error| too_large(answers, iso, error))
}

/// Writes ssh keys alone into the medium `iso`: it waits to be told what to install by whoever
/// holds one of them. `keys` are the lines of an `authorized_keys` without options.
pub fn let_in(iso: &Path, keys: &str) -> Result<Personalized, Error> {
    put(iso, &answers::pack_keys(keys)?, refused(iso))
}

fn put(
    iso: &Path,
    payload: &[u8],
    refused_for_size: impl FnOnce(AnswersError) -> Error,
) -> Result<Personalized, Error> {
    let mut area = Area::open(iso)?;
    let header = Header::for_payload(payload, area.capacity).map_err(refused_for_size)?;
    area.write(&header, payload).map_err(file("write answers into", iso))?;
    let read = area.payload().map_err(file("read back answers from", iso))?;
    check(&mut area, &header, &read).map_err(refused(iso))?;
    Ok(Personalized { length: header.length, capacity: header.capacity })
}

/// Takes the answers out of the medium `iso`: it is byte for byte as it was before.
pub fn undo(iso: &Path) -> Result<(), Error> {
    let mut area = Area::open(iso)?;
    let header = Header::empty(area.capacity);
    area.write(&header, &[]).map_err(file("remove answers from", iso))
}

/// The answers on a medium; `None` when it has none.
pub fn read_answers(iso: &Path) -> Result<Option<Answers>, Error> {
    let mut source = File::open(iso).map_err(file("open", iso))?;
    let extent = iso9660::find(&mut source, ANSWERS_FILE).map_err(file("read", iso))?;
    source.seek(SeekFrom::Start(extent.offset)).map_err(file("read", iso))?;
    let area = source.take(extent.length);
    read_area(area, iso)
}

/// The answers in an area, for example in the file `answers.bin` of a mounted medium.
pub fn read_area(mut area: impl Read, name: &Path) -> Result<Option<Answers>, Error> {
    let mut bytes = vec![0; HEADER_BYTES];
    area.read_exact(&mut bytes).map_err(file("read", name))?;
    let header = Header::decode(&bytes).map_err(refused(name))?;
    if header.is_empty() {
        return Ok(None);
    }
    let mut payload = Vec::new();
    area.take(header.length).read_to_end(&mut payload).map_err(file("read", name))?;
    header.check(&payload).map_err(refused(name))?;
    Answers::unpack(&payload).map(Some)
}

/// The repository that hosts of this medium are enrolled into when they bring none.
pub fn flake_of(iso: &Path) -> Result<Flake, Error> {
    let mut source = File::open(iso).map_err(file("open", iso))?;
    let extent = iso9660::find(&mut source, FLAKE_FILE).map_err(file("read", iso))?;
    if extent.length > AREA_BYTES {
        return Err(unfit("the repository on", iso, "is too large"));
    }
    source.seek(SeekFrom::Start(extent.offset)).map_err(file("read", iso))?;
    let mut packed = Vec::new();
    source.take(extent.length).read_to_end(&mut packed).map_err(file("read", iso))?;
    answers::unpack_flake(&packed)
}

/// Who brings a repository is told what it takes there.
fn too_large(answers: &Answers, iso: &Path, error: AnswersError) -> Error {
    let (Repository::Owned(owned), AnswersError::TooLarge { length, capacity }) =
        (&answers.repository, &error)
    else {
        return refused(iso)(error);
    };
    let bundle = owned.bundle.len();
    let why = format!(
        "has room for {capacity} bytes of answers and these have {length}, {bundle} of them the \
         repository with its history; nothing was written. Personalise it with a branch whose \
         history holds no large files"
    );
    unfit("the personalisation area of", iso, why)
}

fn refused(path: &Path) -> impl FnOnce(AnswersError) -> Error {
    move |source| Error::Answers { path: path.to_owned(), source }
}

fn check(area: &mut Area, header: &Header, payload: &[u8]) -> Result<(), AnswersError> {
    let found = area.header().unwrap_or_default();
    let same = Header::decode(&found)? == *header;
    if same { header.check(payload) } else { Err(AnswersError::Damaged) }
}

/// The area of an open medium.
struct Area {
    medium: File,
    extent: Extent,
    capacity: u64,
}

impl Area {
    fn open(iso: &Path) -> Result<Self, Error> {
        let medium = OpenOptions::new().read(true).write(true).open(iso);
        let mut medium = medium.map_err(file("open for writing", iso))?;
        let extent = iso9660::find(&mut medium, ANSWERS_FILE).map_err(file("read", iso))?;
        let end = medium.seek(SeekFrom::End(0)).map_err(file("read", iso))?;
        let capacity = extent.length.checked_sub(HEADER_BYTES as u64);
        match capacity {
            Some(capacity) if extent.offset + extent.length <= end => {
                Ok(Self { medium, extent, capacity })
            }
            _ => Err(unfit("the medium", iso, "it is truncated")),
        }
    }

    /// The header goes first and comes back last: a write that is cut short leaves an area
    /// that is refused, never half an answer.
    fn write(&mut self, header: &Header, payload: &[u8]) -> io::Result<()> {
        self.put(0, &[0; HEADER_BYTES])?;
        self.medium.sync_data()?;
        self.put(HEADER_BYTES as u64, payload)?;
        let written = HEADER_BYTES as u64 + payload.len() as u64;
        let rest = self.extent.length.saturating_sub(written);
        io::copy(&mut io::repeat(0).take(rest), &mut self.medium)?;
        self.medium.sync_data()?;
        self.put(0, &header.encode())?;
        self.medium.sync_all()
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.medium.seek(SeekFrom::Start(self.extent.offset + offset))?;
        self.medium.write_all(bytes)
    }

    fn header(&mut self) -> io::Result<Vec<u8>> {
        self.get(0, HEADER_BYTES as u64)
    }

    fn payload(&mut self) -> io::Result<Vec<u8>> {
        let header = Header::decode(&self.header()?).map_err(io::Error::other)?;
        self.get(HEADER_BYTES as u64, header.length.min(self.capacity))
    }

    fn get(&mut self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        self.medium.seek(SeekFrom::Start(self.extent.offset + offset))?;
        let mut bytes = Vec::new();
        (&mut self.medium).take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
