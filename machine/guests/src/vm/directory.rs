//! The directory of a virtual machine: made and deleted with care.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bedplate_tools::mounts::Mounts;

/// A directory that is not what it must be.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The system refused.
    #[error("could not {operation} {}", .path.display())]
    System {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said when the directory was looked at, made or deleted.
        #[source]
        source: io::Error,
    },
    /// A link, or a file.
    #[error("{} is not a directory of its own", .0.display())]
    NotDirectory(PathBuf),
    /// Not on the pool.
    #[error("{} is not on the pool", .0.display())]
    OtherFileSystem(PathBuf),
    /// Something is mounted in it.
    #[error("something is mounted at or below {}", .0.display())]
    Mounted(PathBuf),
    /// A file that would land elsewhere.
    #[error("{} is not directly in {}", .file.display(), .directory.display())]
    Outside {
        /// Path of the disk, of the installer, or of what cloud-init is told.
        file: PathBuf,
        /// Where it belongs.
        directory: PathBuf,
    },
}

/// Makes the directory if it is not there.
pub fn make(directory: &Path) -> Result<(), DirectoryError> {
    match fs::create_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return is_own(directory),
        Err(error) => return Err(system("make", directory)(error)),
    }
    // QEMU runs as its own user and must get through.
    fs::set_permissions(directory, Permissions::from_mode(0o711))
        .map_err(system("set the mode of", directory))
}

/// Refuses a file that is not directly in `directory`, or a directory that is a link.
pub fn check_file(directory: &Path, file: &Path) -> Result<(), DirectoryError> {
    is_own(directory)?;
    if file.parent() == Some(directory) && file.file_name().is_some() {
        return Ok(());
    }
    Err(DirectoryError::Outside { file: file.to_owned(), directory: directory.to_owned() })
}

/// Deletes the directory of a machine; links in it are removed, never followed.
pub fn delete(pool: &Path, directory: &Path, mounts: &Mounts) -> Result<(), DirectoryError> {
    is_own(directory)?;
    if directory.parent() != Some(pool) {
        return Err(DirectoryError::OtherFileSystem(directory.to_owned()));
    }
    if mounts.any_at_or_below(&directory.to_string_lossy()) {
        return Err(DirectoryError::Mounted(directory.to_owned()));
    }
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    let pool_device = device(pool).map_err(system("look at", pool))?;
    if device(directory).map_err(system("look at", directory))? != pool_device {
        return Err(DirectoryError::OtherFileSystem(directory.to_owned()));
    }
    fs::remove_dir_all(directory).map_err(system("delete", directory))
}

fn is_own(directory: &Path) -> Result<(), DirectoryError> {
    let found = fs::symlink_metadata(directory).map_err(system("look at", directory))?;
    if found.is_dir() { Ok(()) } else { Err(DirectoryError::NotDirectory(directory.to_owned())) }
}

fn system(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::System { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t38_only_a_directory_of_its_own_in_the_pool_is_deleted() {
        let pool = tempfile::tempdir().unwrap();
        let vm = pool.path().join("haos");
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &vm).unwrap();
        let mounts = Mounts::default();
        assert!(matches!(delete(pool.path(), &vm, &mounts), Err(DirectoryError::NotDirectory(_))));
        fs::remove_file(&vm).unwrap();
        make(&vm).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), vm.join("link")).unwrap();
        let inside = format!("1 1 0:1 / {}/x rw - ext4 x rw", vm.display());
        let busy = delete(pool.path(), &vm, &Mounts::parse(&inside));
        assert!(matches!(busy, Err(DirectoryError::Mounted(_))));
        delete(pool.path(), &vm, &mounts).unwrap();
        assert!(!vm.exists());
        assert!(elsewhere.path().join("kept").exists());
    }

    #[test]
    fn t38_a_disk_outside_its_directory_is_refused() {
        let pool = tempfile::tempdir().unwrap();
        let vm = pool.path().join("haos");
        make(&vm).unwrap();
        assert!(check_file(&vm, &vm.join("haos.qcow2")).is_ok());
        assert!(check_file(&vm, &pool.path().join("other/haos.qcow2")).is_err());
        assert!(check_file(&vm, &vm.join("../other.qcow2")).is_err());
    }
}
