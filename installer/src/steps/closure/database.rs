//! Nix's database of the target's store.
//!
//! Nix writes the version of the tables so that it lasts, and only then the tables, which last a
//! while later (`LocalStore::openDB`, Nix 2.26). Where the power went in between, no Nix ever opened
//! that store again ("no such table: ValidPaths"), and no run of the installer came to its end. So
//! the database is made aside, and gets its place when all of it lasts.

use std::fs;
use std::path::Path;

use bedplate_tools::command::CommandError;
use bedplate_tools::nix::Nix;
use bedplate_tools::sync;

use crate::error::{During as _, StepError};

/// Below the root of a store.
const DATABASE: &str = "nix/var/nix/db";

/// Where it is made.
const ASIDE: &str = "nix/.bedplate-database";

/// Makes the database, unless it is there.
pub fn make(target: &Path) -> Result<(), StepError> {
    make_by(target, |root| Nix::new(root).make_database())
}

/// As [`make`], by what makes a database below a root.
fn make_by(
    target: &Path,
    maker: impl FnOnce(&Path) -> Result<(), CommandError>,
) -> Result<(), StepError> {
    let (place, aside) = (target.join(DATABASE), target.join(ASIDE));
    if aside.exists() {
        fs::remove_dir_all(&aside).during("could not clear what an earlier run left")?;
    }
    if place.exists() {
        return Ok(());
    }
    fs::create_dir_all(&aside).during("could not make a directory for Nix's database")?;
    maker(&aside).during("could not make Nix's database")?;
    sync::file_system(&aside).during("could not flush the target")?;
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).during("could not make the directory of Nix's database")?;
    }
    fs::rename(aside.join(DATABASE), &place).during("could not put Nix's database into place")?;
    fs::remove_dir_all(&aside).during("could not remove the directory of Nix's database")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bedplate_tools::command::CommandExt as _;

    use super::*;

    /// Writes the version and, unless it is torn, the tables.
    fn maker(torn: bool) -> impl FnOnce(&Path) -> Result<(), CommandError> {
        move |root| {
            let place = root.join(DATABASE);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("schema"), "10").unwrap();
            if torn {
                return Command::new("false").run();
            }
            fs::write(place.join("db.sqlite"), "tables").unwrap();
            Ok(())
        }
    }

    #[test]
    fn f1_only_a_whole_database_gets_its_place_and_the_next_run_makes_it_when_one_was_torn() {
        let target = tempfile::tempdir().unwrap();
        let (place, aside) = (target.path().join(DATABASE), target.path().join(ASIDE));
        assert!(make_by(target.path(), maker(true)).is_err());
        assert!(!place.exists() && aside.join(DATABASE).join("schema").exists());
        make_by(target.path(), maker(false)).unwrap();
        assert_eq!(fs::read_to_string(place.join("db.sqlite")).unwrap(), "tables");
        assert!(!aside.exists());
        // One that has its place is left alone.
        make_by(target.path(), |_| panic!("a second database is made")).unwrap();
    }
}
