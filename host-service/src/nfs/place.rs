//! An exported directory, reached from the mount point of its pool and never by a symbolic link: one
//! on the way would lead clients out of the pool.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, mkdirat, openat2};
use rustix::io::Errno;

/// The mode of directories between the pool and an exported one.
const PARENT: Mode = Mode::from_raw_mode(0o755);

/// What is at the path of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory of the pool.
    Directory,
    /// Nothing; it can be made.
    Nothing,
    /// Something that must not be exported: why, and what to do.
    Wrong(String),
}

/// A path that is no directory of its pool.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A link on the way.
    #[error(
        "{} is a symbolic link{to}, which may lead out of the pool: put the directory itself there, or \
         write the path that it leads to in host.toml",
        .link.display()
    )]
    Link {
        /// Absolute path of the symbolic link.
        link: PathBuf,
        /// Where it leads, after a separator; empty when that cannot be read.
        to: String,
    },
    /// Something else.
    #[error("{} is not a directory, or one on its way is none: move it away", .0.display())]
    NotDirectory(PathBuf),
    /// The system refused.
    #[error("could not make or look at {}", .path.display())]
    System {
        /// Absolute path of the directory, or of one on its way.
        path: PathBuf,
        /// What the kernel said when it was made or opened.
        #[source]
        source: io::Error,
    },
}

/// What is at `inside` of the pool at `mount`.
pub fn look(mount: &Path, inside: &Path) -> Result<Place, PlaceError> {
    let pool = open_pool(mount)?;
    match open(&pool, mount, inside) {
        Ok(_) => Ok(Place::Directory),
        Err(PlaceError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Place::Nothing)
        }
        Err(error) => Err(error),
    }
}

/// Makes the directory `inside` of the pool at `mount`, and what is lacking on the way. What is there
/// keeps its mode.
pub fn make(mount: &Path, inside: &Path, mode: u32) -> Result<(), PlaceError> {
    let mut directory = open_pool(mount)?;
    let (whole, mut at) = (mount.join(inside), mount.to_owned());
    for part in inside {
        let path = at.join(part);
        let is_new = match mkdirat(&directory, part, PARENT) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(system(&path, errno)),
        };
        directory = open(&directory, &at, Path::new(part))?;
        if is_new {
            // The mask of this process took bits away.
            let mode = if path == whole { Mode::from_raw_mode(mode) } else { PARENT };
            fchmod(&directory, mode).map_err(|errno| system(&path, errno))?;
        }
        at = path;
    }
    Ok(())
}

fn open_pool(mount: &Path) -> Result<File, PlaceError> {
    File::open(mount).map_err(|source| PlaceError::System { path: mount.to_owned(), source })
}

/// Opens the directory `inside` of `directory`, which stands at `at`.
fn open(directory: impl AsFd, at: &Path, inside: &Path) -> Result<File, PlaceError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let relative = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    openat2(directory, relative, flags, Mode::empty(), stay).map(File::from).map_err(|errno| {
        let path = at.join(inside);
        match (errno, first_link(at, inside)) {
            (_, Some(link)) => {
                let to = fs::read_link(&link).map(|to| format!(" to {}", to.display()));
                PlaceError::Link { link, to: to.unwrap_or_default() }
            }
            (Errno::NOTDIR | Errno::LOOP | Errno::XDEV, None) => PlaceError::NotDirectory(path),
            (errno, None) => system(&path, errno),
        }
    })
}

/// The first symbolic link on the way, itself included: for people, what was decided was not by it.
fn first_link(at: &Path, inside: &Path) -> Option<PathBuf> {
    let ways = inside.iter().scan(at.to_owned(), |way, part| {
        way.push(part);
        Some(way.clone())
    });
    ways.into_iter().find(|way| fs::symlink_metadata(way).is_ok_and(|found| found.is_symlink()))
}

fn system(path: &Path, errno: Errno) -> PlaceError {
    PlaceError::System { path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn t37_a_link_on_the_way_is_named_and_nothing_is_made_beyond_it() {
        let (pool, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mount = pool.path();
        fs::create_dir_all(elsewhere.path().join("there")).unwrap();
        symlink(elsewhere.path(), mount.join("link")).unwrap();
        fs::create_dir(mount.join("own")).unwrap();
        symlink("own", mount.join("near")).unwrap();
        for inside in ["link", "link/there", "link/new", "near", "near/new"] {
            let told = look(mount, Path::new(inside)).unwrap_err();
            let link = mount.join(inside.split('/').next().unwrap());
            assert!(matches!(&told, PlaceError::Link { link: of, .. } if *of == link), "{told:?}");
            assert!(told.to_string().contains("host.toml"), "{told}");
            let refused = make(mount, Path::new(inside), 0o755);
            assert!(matches!(refused, Err(PlaceError::Link { .. })), "{inside}: {refused:?}");
        }
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(mount.join("own")).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_is_made_with_its_parents_and_what_is_there_keeps_its_mode() {
        let pool = tempfile::tempdir().unwrap();
        let mount = pool.path();
        let inside = Path::new("a/b/c");
        assert_eq!(look(mount, inside).unwrap(), Place::Nothing);
        fs::create_dir(mount.join("a")).unwrap();
        fs::set_permissions(mount.join("a"), fs::Permissions::from_mode(0o700)).unwrap();
        for _ in 0..2 {
            make(mount, inside, 0o1777).unwrap();
            assert_eq!(look(mount, inside).unwrap(), Place::Directory);
        }
        let modes = ["a", "a/b", "a/b/c"].map(|path| mode_of(&mount.join(path)));
        assert_eq!(modes, [0o700, 0o755, 0o1777]);
        assert_eq!(look(mount, Path::new("")).unwrap(), Place::Directory, "the pool itself");

        fs::write(mount.join("file"), "").unwrap();
        for inside in ["file", "file/new"] {
            let told = look(mount, Path::new(inside));
            assert!(matches!(told, Err(PlaceError::NotDirectory(_))), "{told:?}");
            let refused = make(mount, Path::new(inside), 0o755);
            assert!(matches!(refused, Err(PlaceError::NotDirectory(_))), "{refused:?}");
        }
    }
}
