//! Images of disks: fetched, extracted, checked, and only then given their name.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_spec::host::Download;
use bedplate_tools::qemu_img::{self, QemuImageError};
use tempfile::NamedTempFile;

use crate::download::{self, DownloadError};
use crate::extract::{self, ExtractError};
use crate::report::Reporter;

/// An image that could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Fetching.
    #[error("the image could not be fetched")]
    Download(#[from] DownloadError),
    /// Extracting.
    #[error("the image could not be extracted")]
    Extract(#[from] ExtractError),
    /// Describing or changing.
    #[error("the image could not be looked at or changed")]
    Image(#[from] QemuImageError),
    /// Not qcow2.
    #[error("the image is {0}, not qcow2")]
    Format(String),
    /// Reads a file of the host.
    #[error("the image refers to another file: {0}")]
    Outside(String),
    /// A file.
    #[error("could not write {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Fetches the disk of a machine to its place. An existing disk is never replaced.
pub fn fetch_disk(
    image: &Download,
    directory: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<(), DiskError> {
    let destination = Path::new(&image.dest);
    let ready = extracted(fetch(image, directory, reporter)?, directory, reporter)?;
    check(ready.path())?;
    keep(ready, destination)
}

/// Fetches an installer to its place.
pub fn fetch_installer(
    image: &Download,
    directory: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<(), DiskError> {
    let ready = extracted(fetch(image, directory, reporter)?, directory, reporter)?;
    keep(ready, Path::new(&image.dest))
}

/// Makes an empty disk.
pub fn make_empty(path: &Path, bytes: u64) -> Result<(), DiskError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let file = temporary(directory).map_err(failed(path))?;
    qemu_img::create(file.path(), bytes)?;
    keep(file, path)
}

fn fetch(
    image: &Download,
    directory: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<NamedTempFile, DiskError> {
    sweep(directory).map_err(failed(directory))?;
    let mut progress = |done, total| reporter.bytes(done, total, "fetched");
    Ok(download::fetch(&image.url, &image.sha256, directory, &mut progress)?)
}

fn extracted(
    mut packed: NamedTempFile,
    directory: &Path,
    reporter: &mut Reporter<'_>,
) -> Result<NamedTempFile, DiskError> {
    let kind = extract::packing(packed.as_file_mut()).map_err(failed(packed.path()))?;
    let Some(kind) = kind else { return Ok(packed) };
    let mut plain = temporary(directory).map_err(failed(directory))?;
    let mut progress = |done| reporter.bytes(done, None, "extracted");
    let (from, to) = (packed.as_file_mut(), plain.as_file_mut());
    extract::extract(from, to, kind, extract::LIMIT, &mut progress)?;
    Ok(plain)
}

/// Refuses what is not a qcow2 that stands for itself.
pub fn check(image: &Path) -> Result<(), DiskError> {
    let info = qemu_img::info(image, None)?;
    if info.format != "qcow2" {
        return Err(DiskError::Format(info.format));
    }
    info.outside_file().map_or(Ok(()), |file| Err(DiskError::Outside(file.to_owned())))
}

/// Removes what a run that was cut off left behind; converge runs once at a time.
fn sweep(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".bedplate-download-") || name.starts_with(".bedplate-image-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".bedplate-image-").tempfile_in(directory)
}

fn keep(file: NamedTempFile, destination: &Path) -> Result<(), DiskError> {
    let failed = || failed(destination);
    File::open(file.path()).and_then(|file| file.sync_all()).map_err(failed())?;
    file.persist_noclobber(destination).map_err(|error| failed()(error.error))?;
    let directory = destination.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f10_what_a_cut_left_behind_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for name in [".bedplate-download-a1", ".bedplate-image-b2", "haos.qcow2"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        sweep(directory.path()).unwrap();
        let left = fs::read_dir(directory.path()).unwrap().map(|one| one.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["haos.qcow2"]);
    }
}
