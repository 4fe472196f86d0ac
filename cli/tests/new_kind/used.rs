//! What uses guests meets a kind that the tests have added.

use std::path::PathBuf;

use bedplate_engine::Reporter;
use bedplate_guests::{drivers, hold, of_kind};
use bedplate_host_service::{converge, etc, restore};
use bedplate_model::host::HostFile;
use bedplate_platform::toplevel::{Entry, Parts};
use bedplate_resources::context::Context;

const PORCH: &str = "[lamps.porch]\npool = \"bulk\"\n";

fn host() -> HostFile {
    bedplate_sample::intent_with(PORCH).unwrap()
}

fn context(place: &std::path::Path) -> Context {
    let (runtime, state, configuration) = (place.into(), place.into(), place.into());
    Context { intent: host(), mounts: bedplate_sample::mounts(), configuration, runtime, state }
}

#[test]
fn the_document_refuses_what_it_refuses_of_every_guest() {
    let more = format!("{PORCH}[[nfs.exports]]\npath = \"/mnt/bulk/porch/light\"\n");
    let told = bedplate_sample::intent_with(&more).unwrap_err();
    assert!(told.contains("`lamps.porch`") && told.contains("lie in each other"), "{told}");
    let told = bedplate_sample::intent_with("[lamps.porch]\npool = \"none\"\n").unwrap_err();
    assert!(told.contains("`lamps.porch.pool`: there is no `[pools.none]`"), "{told}");
}

#[test]
fn converge_status_backup_restore_and_units_know_it() {
    let place = tempfile::tempdir().unwrap();
    let context = context(place.path());
    let lamp = || converge::status(&context).into_iter().find(|one| one.kind == "lamp");
    assert_eq!(lamp().unwrap().actions, ["porch"]);
    let driver = of_kind("lamp").unwrap();
    assert!(driver.look(&context).perform(&context, &Reporter::new(Vec::new())));
    assert!(lamp().is_none());

    let affected = hold::affected(&context.intent, &[PathBuf::from("/mnt/bulk/porch")]);
    let names = hold::names(&*driver, &affected);
    assert_eq!(names, ["porch"]);
    let held = hold::Held::hold(&*driver, place.path(), &names).unwrap();
    assert!(place.path().join("held-lamp/porch").exists());
    held.release().unwrap();
    assert!(!place.path().join("held-lamp/porch").exists());
    // One that a backup that was killed has left.
    std::fs::write(place.path().join("held-lamp/porch"), "held\n").unwrap();
    let recovered = hold::recover_if_idle(&drivers(), place.path()).unwrap().unwrap();
    assert_eq!(recovered.free, ["porch"]);

    let mut host = host();
    host.backups.get_mut("apps").unwrap().paths = vec!["/mnt/bulk/porch".into()];
    assert!(restore::held_back(&host, &["apps".into()]).lamps.is_empty());

    let part = || "/nix/store/p".to_owned();
    let parts = Parts {
        tree: part(),
        programs: part(),
        runtime: part(),
        initrd_modules: part(),
        initrd_program: part(),
        kernel_version: part(),
        out: part(),
    };
    let all = etc::entries(&host, "", &parts);
    let unit = Entry::File("[Service]\nExecStart=/nix/store/p\n".into());
    assert_eq!(all.get("systemd/system/lamps.service"), Some(&unit));
    let Some(Entry::File(pool)) = all.get("systemd/system/bedplate-pool@.service") else { panic!() };
    assert!(pool.contains(" lamps.service "), "{pool}");
}
