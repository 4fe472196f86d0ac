//! Copying the closure from the medium into the target's store.

mod copier;
mod database;
mod verify;

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_events::Outcome;
use bedplate_facts::roots::names;
use bedplate_model::host::Platform;
use bedplate_tools::nix::Nix;
use bedplate_tools::sync;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, futimens, utimensat};

use self::verify::Expected;
use crate::context::{Context, TARGET};
use crate::error::{During as _, StepError};
use crate::meter::Meter;
use bedplate_engine::Reporter;
use bedplate_engine::parallel::{movers, try_each};

/// Roots of the opened images that the embedded platform is made of; each holds `nix/store` and
/// `registration`.
const IMAGES: [&str; 2] = ["/run/bedplate/tree", "/run/bedplate/programs"];

/// Holds a system that was built on the workstation: all of it, or what it has beside the platform.
const BUILT: &str = "/run/bedplate/toplevel";

/// Stands in the place of the first one where what is installed is not the live system's tree.
const CLOSURE: &str = "/run/bedplate/closure";

/// Bytes read and written at once.
const CHUNK: usize = 1 << 20;

/// A store path of so many bytes takes a while.
const LARGE: u64 = 16 << 20;

/// Everything in a store was changed one second after the epoch.
const STORE_TIME: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const STORE_TIMES: Timestamps =
    Timestamps { last_access: STORE_TIME, last_modification: STORE_TIME };

/// One file to copy.
struct Entry {
    from: PathBuf,
    to: PathBuf,
    size: u64,
    mode: u32,
}

/// What a tree holds.
#[derive(Default)]
struct Listing {
    files: Vec<Entry>,
    directories: Vec<PathBuf>,
    bytes: u64,
}

/// A machine of NixOS has nothing of what the live system is made of.
fn images(platform: Platform) -> Vec<PathBuf> {
    let [tree, programs] = IMAGES;
    let tree = if Path::new(CLOSURE).is_dir() { CLOSURE } else { tree };
    let ours = match platform {
        Platform::Embedded => &[tree, programs][..],
        Platform::Nixos => &[],
    };
    let built = Path::new(BUILT).is_dir().then_some(&BUILT);
    ours.iter().chain(built).map(PathBuf::from).collect()
}

/// Copies what is not there yet, then makes Nix know of it.
pub fn copy(context: &Context<'_>, step: &str) -> Result<Outcome, StepError> {
    copy_from(&images(context.host.host.platform), Path::new(TARGET), context.reporter, step)
}

/// Copies from the images what the store below `target` lacks, and registers it.
pub fn copy_from(
    images: &[PathBuf],
    target: &Path,
    reporter: &Reporter<'_>,
    step: &str,
) -> Result<Outcome, StepError> {
    let copied = copy_images(images, target, reporter, step)?;
    let mut registration = Vec::new();
    for image in images {
        let file = image.join("registration");
        registration.extend(fs::read(&file).during(format!("could not read {}", file.display()))?);
    }
    database::make(target)?;
    Nix::new(target)
        .load_registration(&registration)
        .during("could not register the copied store paths")?;
    Ok(if copied { Outcome::Done } else { Outcome::AlreadyDone })
}

/// Copies from the images what the store below `target` lacks; whether that was anything. What was
/// built elsewhere is hashed on the way and compared with its registration before it gets its name.
pub fn copy_images(
    images: &[PathBuf],
    target: &Path,
    reporter: &Reporter<'_>,
    step: &str,
) -> Result<bool, StepError> {
    let (store, staging) = (target.join("nix/store"), target.join("nix/.bedplate-copy"));
    let mut listing = Listing::default();
    let stores: Vec<PathBuf> = images.iter().map(|image| image.join("nix/store")).collect();
    let (mut wanted, mut expected) = (Vec::new(), Vec::new());
    fs::create_dir_all(&store).during("could not make the target's store")?;
    if staging.exists() {
        fs::remove_dir_all(&staging).during("could not clear what an earlier copy left")?;
    }
    fs::create_dir_all(&staging).during("could not make the staging directory")?;
    for (image, source) in images.iter().zip(&stores) {
        let names = names(source);
        let mut registered = verify::registered(image)?;
        verify::agrees(&registered, image, &names)?;
        for name in names {
            if fs::symlink_metadata(store.join(&name)).is_ok() {
                continue;
            }
            match registered.remove(&name) {
                Some(path) => expected.push(Expected { store: source, path }),
                None => list(&source.join(&name), &staging.join(&name), &mut listing)
                    .during(format!("could not list {name} on the medium"))?,
            }
            wanted.push(name);
        }
    }
    let verified: u64 = expected.iter().map(|one| one.path.size).sum();
    let meter = Meter::new(reporter, step, listing.bytes.saturating_add(verified));
    copy_files(&listing.files, &meter).during("could not copy the system to the target")?;
    for directory in listing.directories.iter().rev() {
        finish(directory, 0o555).during("could not finish a directory of the store")?;
    }
    // The large ones first, so that none of them is left for the end; the others as they lie on the
    // medium, whose blocks hold many of them.
    expected.sort_by_key(|one| one.path.size < LARGE);
    verify::copy(&expected, &staging, &meter)?;
    // The names may only appear once the content lasts.
    sync::file_system(&store).during("could not flush the target")?;
    for name in &wanted {
        fs::rename(staging.join(name), store.join(name))
            .during(format!("could not put {name} into the store"))?;
    }
    fs::remove_dir(&staging).during("could not remove the staging directory")?;
    Ok(!wanted.is_empty())
}

/// Makes directories and links, and lists files.
fn list(from: &Path, to: &Path, listing: &mut Listing) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return touch(to);
    }
    if !metadata.is_dir() {
        let executable = metadata.permissions().mode() & 0o111 != 0;
        listing.bytes += metadata.len();
        listing.files.push(Entry {
            from: from.to_owned(),
            to: to.to_owned(),
            size: metadata.len(),
            mode: if executable { 0o555 } else { 0o444 },
        });
        return Ok(());
    }
    fs::create_dir(to)?;
    listing.directories.push(to.to_owned());
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        list(&from.join(&name), &to.join(&name), listing)?;
    }
    Ok(())
}

fn copy_files(files: &[Entry], meter: &Meter<'_>) -> io::Result<()> {
    try_each(files, movers(), &|file: &Entry| {
        copy_file(file)?;
        meter.add(file.size);
        Ok(())
    })
}

fn copy_file(entry: &Entry) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", entry.to.display()));
    let mut input = File::open(&entry.from).map_err(named)?;
    let mut output = File::create_new(&entry.to).map_err(named)?;
    let mut left = entry.size;
    let mut buffer = vec![0; usize::try_from(left).map_or(CHUNK, |size| size.min(CHUNK))];
    while left > 0 {
        let count = input.read(&mut buffer).map_err(named)?;
        if count == 0 {
            return Err(named(io::ErrorKind::UnexpectedEof.into()));
        }
        output.write_all(buffer.get(..count).unwrap_or_default()).map_err(named)?;
        left = left.saturating_sub(count as u64);
    }
    // By the open file: a path would be looked up once more each time.
    output.set_permissions(Permissions::from_mode(entry.mode)).map_err(named)?;
    futimens(&output, &STORE_TIMES).map_err(io::Error::from).map_err(named)
}

fn finish(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    touch(path)
}

fn touch(path: &Path) -> io::Result<()> {
    Ok(utimensat(CWD, path, &STORE_TIMES, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use bedplate_formats::boot::TOPLEVEL;
    use bedplate_tools::nix::archive;
    use bedplate_tools::nix::registration::{self, StorePath};

    use super::*;

    #[test]
    fn a_tree_is_copied_with_store_permissions_links_and_times() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/run"), vec![7; CHUNK + 5]).unwrap();
        fs::set_permissions(from.join("bin/run"), Permissions::from_mode(0o755)).unwrap();
        fs::write(from.join("text"), "x").unwrap();
        symlink("bin/run", from.join("link")).unwrap();
        let mut listing = Listing::default();
        list(&from, &to, &mut listing).unwrap();
        assert_eq!(listing.bytes, CHUNK as u64 + 6);
        let reporter = Reporter::new(Vec::new());
        copy_files(&listing.files, &Meter::new(&reporter, "copy", listing.bytes)).unwrap();
        for directory in listing.directories.iter().rev() {
            finish(directory, 0o555).unwrap();
        }
        assert_eq!(fs::read(to.join("bin/run")).unwrap(), vec![7; CHUNK + 5]);
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().mode() & 0o777;
        assert_eq!((mode("bin/run"), mode("text"), mode("bin")), (0o555, 0o444, 0o555));
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("bin/run"));
        assert_eq!(fs::symlink_metadata(to.join("link")).unwrap().mtime(), 1);
        assert_eq!(fs::metadata(&to).unwrap().mtime(), 1);
        fs::set_permissions(to.join("bin"), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&to, Permissions::from_mode(0o755)).unwrap();
    }

    /// An image as the workstation lays it out: a path of one file, with what Nix says of it.
    fn built(place: &Path, text: &str) -> PathBuf {
        let image = place.join(TOPLEVEL);
        fs::create_dir_all(image.join("nix/store/a-system")).unwrap();
        fs::write(image.join("nix/store/a-system/init"), text).unwrap();
        register(&image, "a-system");
        image
    }

    fn register(image: &Path, name: &str) {
        let content = archive::content(&image.join("nix/store").join(name)).unwrap();
        let path = StorePath {
            path: format!("/nix/store/{name}"),
            hash: content.hash,
            size: content.size,
            deriver: String::new(),
            references: Vec::new(),
        };
        fs::write(image.join("registration"), registration::text(&[path])).unwrap();
    }

    fn copied(image: &Path, target: &Path) -> Result<bool, String> {
        let reporter = Reporter::new(Vec::new());
        copy_images(&[image.to_owned()], target, &reporter, "copy").map_err(|e| e.to_string())
    }

    #[test]
    fn what_was_built_elsewhere_is_copied_once_and_verified() {
        let place = tempfile::tempdir().unwrap();
        let image = built(place.path(), "system");
        assert_eq!(copied(&image, place.path()), Ok(true));
        assert_eq!(copied(&image, place.path()), Ok(false));
        let init = place.path().join("nix/store/a-system/init");
        assert_eq!(fs::read_to_string(&init).unwrap(), "system");
        fs::set_permissions(init.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn what_is_verified_is_copied_with_store_permissions_links_and_times() {
        let place = tempfile::tempdir().unwrap();
        let image = place.path().join(TOPLEVEL);
        let source = image.join("nix/store/a-system");
        fs::create_dir_all(source.join("bin")).unwrap();
        fs::write(source.join("bin/run"), vec![7; CHUNK * 2 + 5]).unwrap();
        fs::set_permissions(source.join("bin/run"), Permissions::from_mode(0o755)).unwrap();
        fs::write(source.join("text"), "x").unwrap();
        symlink("bin/run", source.join("link")).unwrap();
        register(&image, "a-system");
        assert_eq!(copied(&image, place.path()), Ok(true));
        let made = place.path().join("nix/store/a-system");
        assert_eq!(fs::read(made.join("bin/run")).unwrap(), vec![7; CHUNK * 2 + 5]);
        let found = |name: &str| fs::symlink_metadata(made.join(name)).unwrap();
        let modes = ["bin/run", "text", "bin", ""].map(|name| found(name).mode() & 0o7777);
        assert_eq!(modes, [0o555, 0o444, 0o555, 0o555]);
        let times = ["bin/run", "text", "bin", "", "link"].map(|name| found(name).mtime());
        assert_eq!(times, [1; 5]);
        assert_eq!(fs::read_link(made.join("link")).unwrap(), Path::new("bin/run"));
        for name in ["bin", ""] {
            fs::set_permissions(made.join(name), Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn f7_a_damaged_path_is_refused_by_name_and_reaches_no_store() {
        let place = tempfile::tempdir().unwrap();
        let image = built(place.path(), "system");
        fs::write(image.join("nix/store/a-system/init"), "sYstem").unwrap();
        for _ in 0..2 {
            let said = copied(&image, place.path()).unwrap_err();
            assert!(said.contains("/nix/store/a-system is not what"), "{said}");
            assert_eq!(names(&place.path().join("nix/store")), Vec::<String>::new());
            // Who is not root may not clear a sealed directory.
            let sealed = place.path().join("nix/.bedplate-copy/a-system");
            fs::set_permissions(sealed, Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn t27_what_the_registration_does_not_name_or_the_medium_lacks_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let image = built(place.path(), "system");
        fs::write(image.join("nix/store/b-more"), "").unwrap();
        let said = copied(&image, place.path()).unwrap_err();
        assert!(said.contains("/nix/store/b-more is not in the registration"), "{said}");
        fs::remove_file(image.join("nix/store/b-more")).unwrap();
        fs::rename(image.join("nix/store/a-system"), place.path().join("gone")).unwrap();
        let said = copied(&image, place.path()).unwrap_err();
        assert!(said.contains("the medium lacks /nix/store/a-system"), "{said}");
        fs::write(image.join("registration"), "/nix/store/../x\n1\n1\n\n0\n").unwrap();
        assert!(copied(&image, place.path()).unwrap_err().contains("cannot be read"));
    }
}
