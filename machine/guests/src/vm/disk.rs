//! Images of disks: fetched, extracted, checked, and only then given their name.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bedplate_model::host::Download;
use bedplate_tools::qemu_img::{self, QemuImageError};
use tempfile::{NamedTempFile, PersistError};

use bedplate_engine::StepReporter;
use bedplate_fetch::download::{self, DownloadError};
use bedplate_fetch::extract::{self, ExtractError};
use bedplate_tools::atomic::{self, WriteError};
use bedplate_tools::digest;

/// In the directory of a machine: which download its installer came from.
const INSTALLER: &str = ".installer";
/// How often the growth of a file is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// An image that could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The image did not come, or came as something else than `host.toml` says.
    #[error("the image could not be fetched")]
    Download(#[from] DownloadError),
    /// What came holds no image that can be unpacked.
    #[error("the image could not be extracted")]
    Extract(#[from] ExtractError),
    /// Describing or changing.
    #[error("the image could not be looked at or changed")]
    Image(#[from] QemuImageError),
    /// Neither qcow2 nor raw.
    #[error("the image is {0}, not qcow2")]
    Format(String),
    /// A page that says where the image is now, for example.
    #[error("the image is no disk: neither qcow2, nor raw with a partition table")]
    NoDisk,
    /// Reads a file of the host.
    #[error("the image refers to another file: {0}")]
    Outside(String),
    /// A file.
    #[error("could not write {}", .path.display())]
    File {
        /// The image, or the note that is kept beside it.
        path: PathBuf,
        /// What the kernel said when it was read, written or given its name.
        #[source]
        source: io::Error,
    },
}

/// Fetches the disk of a machine to its place. An existing disk is never replaced.
pub fn fetch_disk(
    image: &Download,
    directory: &Path,
    of_step: &StepReporter<'_>,
) -> Result<(), DiskError> {
    let destination = Path::new(&image.dest);
    let mut ready = extracted(fetch(image, directory, of_step)?, directory, of_step)?;
    if qemu_img::info(ready.path(), None)?.format == "raw" {
        ready = converted(&ready, directory, of_step)?;
    }
    check(ready.path())?;
    keep(ready, destination)
}

/// Fetches an installer to its place, unless what is there is it. One that is there is replaced only by a
/// whole one; a guest that has it in its drive keeps it until its next start.
pub fn fetch_installer(
    image: &Download,
    directory: &Path,
    of_step: &StepReporter<'_>,
) -> Result<(), DiskError> {
    let destination = Path::new(&image.dest);
    // One that was not packed can be known by itself.
    let is_it = match File::open(destination) {
        Ok(file) => digest::of_reader(file).map_err(failed(destination))? == image.sha256,
        Err(_) => false,
    };
    if !is_it {
        let ready = extracted(fetch(image, directory, of_step)?, directory, of_step)?;
        // A cut in between leaves a note of another one: it is fetched again.
        put(ready, destination, NamedTempFile::persist)?;
    }
    let note = directory.join(INSTALLER);
    atomic::write(&note, &format!("{}\n", image.sha256), 0o644)
        .map_err(|WriteError { path, source }| DiskError::File { path, source })
}

/// SHA-256 of the download that the installer in `directory` came from, where that was noted.
pub fn installer_of(directory: &Path) -> Option<String> {
    let noted = fs::read_to_string(directory.join(INSTALLER)).ok()?;
    Some(noted.trim().to_owned())
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
    of_step: &StepReporter<'_>,
) -> Result<NamedTempFile, DiskError> {
    sweep(directory).map_err(failed(directory))?;
    let mut progress = |done, total| of_step.bytes(done, total, "fetched");
    Ok(download::fetch(&image.url, &image.sha256, directory, &mut progress)?)
}

fn extracted(
    mut packed: NamedTempFile,
    directory: &Path,
    of_step: &StepReporter<'_>,
) -> Result<NamedTempFile, DiskError> {
    let kind = extract::packing(packed.as_file_mut()).map_err(failed(packed.path()))?;
    let Some(kind) = kind else { return Ok(packed) };
    let mut plain = temporary(directory).map_err(failed(directory))?;
    let mut progress = |done| of_step.bytes(done, None, "extracted");
    let (from, to) = (packed.as_file_mut(), plain.as_file_mut());
    extract::extract(from, to, kind, extract::LIMIT, &mut progress)?;
    Ok(plain)
}

/// A raw image as a qcow2; its holes stay holes.
fn converted(
    raw: &NamedTempFile,
    directory: &Path,
    of_step: &StepReporter<'_>,
) -> Result<NamedTempFile, DiskError> {
    if !has_partition_table(raw.as_file()).map_err(failed(raw.path()))? {
        return Err(DiskError::NoDisk);
    }
    let to = temporary(directory).map_err(failed(directory))?;
    let size =
        |file: &NamedTempFile| file.as_file().metadata().map_or(0, |found| found.blocks() * 512);
    let total = size(raw);
    std::thread::scope(|scope| {
        let converting = scope.spawn(|| qemu_img::convert_raw(raw.path(), to.path()));
        while !converting.is_finished() {
            of_step.bytes(size(&to).min(total), Some(total), "converted");
            std::thread::sleep(GLANCE);
        }
        converting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(to)
}

/// Whether an MBR stands at the start, be it the one before a GPT (UEFI Specification 2.10, section
/// 5.2.1): the last two bytes of the first 512.
fn has_partition_table(image: &File) -> io::Result<bool> {
    let mut signature = [0; 2];
    match image.read_exact_at(&mut signature, 510) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| signature == [0x55, 0xAA]),
    }
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

/// A disk that is there is never replaced.
fn keep(file: NamedTempFile, destination: &Path) -> Result<(), DiskError> {
    put(file, destination, NamedTempFile::persist_noclobber)
}

fn put<'a>(
    file: NamedTempFile,
    destination: &'a Path,
    persist: fn(NamedTempFile, &'a Path) -> Result<File, PersistError>,
) -> Result<(), DiskError> {
    let failed = || failed(destination);
    File::open(file.path()).and_then(|file| file.sync_all()).map_err(failed())?;
    persist(file, destination).map_err(|error| failed()(error.error))?;
    let directory = destination.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::File { path, source }
}

#[cfg(test)]
mod tests {
    use bedplate_tools::command::CommandExt as _;

    use bedplate_engine::Reporter;

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

    fn raw(directory: &Path, content: &[u8]) -> NamedTempFile {
        let file = temporary(directory).unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    /// A disk of 8 MiB, with a partition table's signature and something far behind it.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 8 << 20];
        disk[510..512].copy_from_slice(&[0x55, 0xAA]);
        disk[5 << 20..][..4].copy_from_slice(b"data");
        disk
    }

    fn convert(content: &[u8]) -> (tempfile::TempDir, Result<NamedTempFile, DiskError>) {
        let directory = tempfile::tempdir().unwrap();
        let nobody = Reporter::new(Vec::new());
        let of_step = StepReporter::new(&nobody, "haos");
        let made = converted(&raw(directory.path(), content), directory.path(), &of_step);
        (directory, made)
    }

    #[test]
    fn a_raw_image_becomes_a_qcow2_of_the_same_content() {
        let (directory, made) = convert(&disk());
        let made = made.unwrap();
        check(made.path()).unwrap();
        let plain = raw(directory.path(), &disk());
        std::process::Command::new("qemu-img")
            .args(["compare", "-q", "-f", "raw", "-F", "qcow2"])
            .args([plain.path(), made.path()])
            .run()
            .unwrap();
    }

    #[test]
    fn t33_a_raw_disk_that_looks_like_a_qcow2_is_taken_for_what_it_is_said_to_be() {
        let mut disk = disk();
        disk[..4].copy_from_slice(b"QFI\xfb");
        let (_directory, made) = convert(&disk);
        let size = bedplate_tools::qcow2::virtual_size(made.unwrap().path()).unwrap();
        assert_eq!(size, 8 << 20);
    }

    #[test]
    fn what_is_no_disk_is_refused_and_leaves_nothing() {
        for page in [&b"<html>The image has moved</html>"[..], &[0; 4096]] {
            let (directory, made) = convert(page);
            assert!(matches!(made, Err(DiskError::NoDisk)), "{made:?}");
            drop(made);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }
}
