//! Nix's database of the target's store.
//!
//! Nix writes the version of the tables so that it lasts, and only then the tables, which last a
//! while later (`LocalStore::openDB`, Nix 2.26). Where the power went in between, no Nix ever opened
//! that store again ("no such table: ValidPaths"), and no run of the installer came to its end. So
//! the database is made aside, and gets its place when all of it lasts.

use std::fs;
use std::path::Path;

use bedplate_tools::nix::Nix;
use bedplate_tools::sync;

use crate::error::{During as _, StepError};

/// Below the root of a store.
const DATABASE: &str = "nix/var/nix/db";

/// Where it is made.
const ASIDE: &str = "nix/.bedplate-database";

/// Makes the database, unless it is there.
pub fn make(target: &Path) -> Result<(), StepError> {
    let (place, aside) = (target.join(DATABASE), target.join(ASIDE));
    if aside.exists() {
        fs::remove_dir_all(&aside).during("could not clear what an earlier run left")?;
    }
    if place.exists() {
        return Ok(());
    }
    fs::create_dir_all(&aside).during("could not make a directory for Nix's database")?;
    Nix::new(&aside).make_database().during("could not make Nix's database")?;
    sync::file_system(&aside).during("could not flush the target")?;
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).during("could not make the directory of Nix's database")?;
    }
    fs::rename(aside.join(DATABASE), &place).during("could not put Nix's database into place")?;
    fs::remove_dir_all(&aside).during("could not remove the directory of Nix's database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_a_database_that_has_its_place_stays_and_one_that_was_begun_aside_goes() {
        let target = tempfile::tempdir().unwrap();
        let (place, aside) = (target.path().join(DATABASE), target.path().join(ASIDE));
        fs::create_dir_all(aside.join(DATABASE)).unwrap();
        fs::write(aside.join(DATABASE).join("schema"), "10").unwrap();
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("schema"), "10").unwrap();
        make(target.path()).unwrap();
        assert!(!aside.exists());
        assert_eq!(fs::read_to_string(place.join("schema")).unwrap(), "10");
    }
}
