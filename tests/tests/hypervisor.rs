//! The whole story of the hypervisor, on smaller disks. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::sync::Arc;

use bedplate_tests::installed::Installation;
use bedplate_tests::story::Tell;
use bedplate_tests::table;

#[test]
fn a_hypervisor_is_installed_boots_and_hands_off() {
    let directory = tempfile::Builder::new().prefix("bedplate-story-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let told = (|| {
        let installation = Installation::obtain(&tell)?;
        installation.lend(directory.path(), tell)?.claims(&installation.installed)
    })();
    let verdicts = match told {
        Ok(verdicts) => verdicts,
        Err(failure) => panic!("{}\nlogs: {}", failure.chain(), directory.keep().display()),
    };
    println!("{}", table::render(&verdicts));
    if !table::failed(&verdicts).is_empty() {
        panic!("claims failed; logs: {}", directory.keep().display());
    }
}
