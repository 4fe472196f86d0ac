//! Copying the closure from the medium into the target's store.
//!
//! The platform's own images were hashed when they were made and are read through dm-verity: their
//! few large trees are copied file by file. What another machine's Nix built is not taken on trust:
//! its paths are hashed as they are copied, and compared with what that Nix said of them.

mod database;
mod listed;
mod twin;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_facts::roots::names;
use bedplate_spec::event::Outcome;
use bedplate_tools::nix::Nix;
use bedplate_tools::nix::registration::StorePath;
use bedplate_tools::sync;
use rustix::fs::{Timespec, Timestamps};

use self::listed::Listing;
use crate::context::{Context, TARGET};
use crate::error::{During as _, StepError};
use crate::meter::Meter;
use crate::parallel::{movers, try_each};
use crate::report::Reporter;

/// Roots of the opened images; each holds `nix/store` and `registration`.
const IMAGES: [&str; 2] = ["/run/bedplate/tree", "/run/bedplate/programs"];

/// Holds a system that was built on the workstation, beside the platform.
const BUILT: &str = "/run/bedplate/toplevel";

/// Stands in the place of the first one where what is installed is not the live system's tree.
const CLOSURE: &str = "/run/bedplate/closure";

/// Everything in a store was changed one second after the epoch.
const STORE_TIME: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const STORE_TIMES: Timestamps =
    Timestamps { last_access: STORE_TIME, last_modification: STORE_TIME };

/// A directory of a store may be read and searched, by everybody.
const DIRECTORY_MODE: u32 = 0o555;

/// A file of a store may be read by everybody, and run if it is a program; nobody writes to it.
const fn file_mode(executable: bool) -> u32 {
    if executable { 0o555 } else { 0o444 }
}

fn images() -> Vec<PathBuf> {
    let [tree, programs] = IMAGES;
    let tree = if Path::new(CLOSURE).is_dir() { CLOSURE } else { tree };
    let built = Path::new(BUILT).is_dir().then_some(BUILT);
    [tree, programs].into_iter().chain(built).map(PathBuf::from).collect()
}

/// Copies what is not there yet, then makes Nix know of it.
pub fn copy(context: &Context<'_>, step: &str) -> Result<Outcome, StepError> {
    copy_from(&images(), Path::new(TARGET), context.reporter, step)
}

/// Copies from the images what the store below `target` lacks, and registers it.
pub fn copy_from(
    images: &[PathBuf],
    target: &Path,
    reporter: &Reporter,
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

/// What a store lacks of the images.
#[derive(Default)]
struct Lacking {
    /// Of the platform's own images.
    vouched: Vec<PathBuf>,
    /// What another machine's Nix built, with its registration.
    built: Vec<(PathBuf, StorePath)>,
}

impl Lacking {
    fn look(images: &[PathBuf], store: &Path) -> Result<Self, StepError> {
        let mut lacking = Self::default();
        for image in images {
            let source = image.join("nix/store");
            let names = names(&source);
            let mut registered = verify::registered(image)?;
            verify::agrees(&registered, image, &names)?;
            for name in names {
                if fs::symlink_metadata(store.join(&name)).is_ok() {
                    continue;
                }
                match registered.remove(&name) {
                    Some(path) => lacking.built.push((source.join(&name), path)),
                    None => lacking.vouched.push(source.join(&name)),
                }
            }
        }
        // The largest first: begun last, it would be waited for alone.
        lacking.built.sort_by_key(|(_, path)| std::cmp::Reverse(path.size));
        Ok(lacking)
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.vouched.iter().chain(self.built.iter().map(|(path, _)| path))
    }
}

/// Copies from the images what the store below `target` lacks; whether that was anything. What was
/// built elsewhere is compared with its registration before it gets its name.
pub fn copy_images(
    images: &[PathBuf],
    target: &Path,
    reporter: &Reporter,
    step: &str,
) -> Result<bool, StepError> {
    let (store, staging) = (target.join("nix/store"), target.join("nix/.bedplate-copy"));
    fs::create_dir_all(&store).during("could not make the target's store")?;
    if staging.exists() {
        fs::remove_dir_all(&staging).during("could not clear what an earlier copy left")?;
    }
    fs::create_dir_all(&staging).during("could not make the staging directory")?;
    let lacking = Lacking::look(images, &store)?;
    let listing = Listing::of(&lacking.vouched, &staging)?;
    let built: u64 = lacking.built.iter().map(|(_, path)| path.size).sum();
    let meter = Meter::new(reporter, step, listing.bytes().saturating_add(built));
    listing.copy(&meter)?;
    try_each(&lacking.built, movers(), &|(from, path)| {
        let content = twin::copy(from, &staging, path.size, &meter)
            .during(format!("could not copy {} to the target", path.path.escape_debug()))?;
        verify::compare(path, &content)
    })?;
    // The names may only appear once the content lasts.
    sync::file_system(&store).during("could not flush the target")?;
    for name in lacking.paths().filter_map(|path| path.file_name()) {
        fs::rename(staging.join(name), store.join(name))
            .during(format!("could not put {} into the store", name.display()))?;
    }
    fs::remove_dir(&staging).during("could not remove the staging directory")?;
    Ok(lacking.paths().next().is_some())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use bedplate_tools::nix::archive;
    use bedplate_tools::nix::registration::{self, StorePath};

    use super::*;

    /// An image as the workstation lays it out: a path of one file, with what Nix says of it.
    fn built(place: &Path, text: &str) -> PathBuf {
        let image = place.join(bedplate_spec::boot::TOPLEVEL);
        fs::create_dir_all(image.join("nix/store/a-system")).unwrap();
        fs::write(image.join("nix/store/a-system/init"), text).unwrap();
        let content = archive::content(&image.join("nix/store/a-system")).unwrap();
        let path = StorePath {
            path: "/nix/store/a-system".into(),
            hash: content.hash,
            size: content.size,
            deriver: String::new(),
            references: Vec::new(),
        };
        fs::write(image.join("registration"), registration::text(&[path])).unwrap();
        image
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
