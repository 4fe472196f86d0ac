//! The one image in an archive.

use std::fs::File;
use std::io::{BufRead, Read, Seek};

use super::{ExtractError, Limited, copy};

/// More entries than any archive around one image has.
const ENTRIES: usize = 1000;
/// How images end.
const IMAGES: [&str; 4] = [".qcow2", ".img", ".raw", ".iso"];

fn is_image(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    IMAGES.iter().any(|end| name.ends_with(end))
}

/// Links and everything else that is no file are passed over.
pub(super) fn untar(
    from: &mut dyn Read,
    to: &mut File,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExtractError> {
    let mut found: Option<String> = None;
    for (index, entry) in tar::Archive::new(from).entries()?.enumerate() {
        if index >= ENTRIES {
            return Err(ExtractError::TooMany(ENTRIES));
        }
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if !is_image(&name) || !(kind.is_file() || kind.is_gnu_sparse()) {
            continue;
        }
        if let Some(first) = found {
            return Err(ExtractError::SeveralImages(first, name));
        }
        copy(&mut entry, to, progress)?;
        found = Some(name);
    }
    found.map(drop).ok_or(ExtractError::NoImage)
}

pub(super) fn unzip(
    from: impl BufRead + Seek,
    to: &mut File,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ExtractError> {
    let mut archive = zip::ZipArchive::new(from).map_err(ExtractError::Zip)?;
    if archive.len() > ENTRIES {
        return Err(ExtractError::TooMany(ENTRIES));
    }
    let mut found: Option<(usize, String)> = None;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(ExtractError::Zip)?;
        let name = entry.name().map_err(ExtractError::Zip)?.into_owned();
        if !entry.is_file() || !is_image(&name) {
            continue;
        }
        if let Some((_, first)) = found {
            return Err(ExtractError::SeveralImages(first, name));
        }
        found = Some((index, name));
    }
    let (index, _) = found.ok_or(ExtractError::NoImage)?;
    let entry = archive.by_index(index).map_err(ExtractError::Zip)?;
    copy(&mut Limited { inner: entry, limit, left: limit }, to, progress)
}
