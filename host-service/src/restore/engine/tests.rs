use super::*;

fn staged(place: &Wanted, file: &str, content: &str) {
    let path = drill::below(&staging(place, "apps"), &place.path).join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn begin(places: &[Wanted]) {
    let paths = places.iter().map(|place| place.path.clone()).collect();
    let record =
        Record { schema: 1, snapshot: "ab".into(), paths, stage: Stage::Moving, incomplete: false };
    record::write(&places[0].mount, "apps", &record).unwrap();
}

#[test]
fn what_was_fetched_takes_the_place_of_an_empty_directory_and_of_nothing_else() {
    let pool = tempfile::tempdir().unwrap();
    let mount = pool.path().to_owned();
    let place = |path: &str| Wanted {
        path: mount.join(path),
        mount: mount.clone(),
        file_system: Default::default(),
    };
    let places = [place("apps"), place("photos/new")];
    staged(&places[0], "inner/file", "content");
    staged(&places[1], "one", "1");
    fs::create_dir(mount.join("apps")).unwrap();
    begin(&places);
    put_in_place(&places, "apps").unwrap();
    assert_eq!(fs::read_to_string(mount.join("apps/inner/file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(mount.join("photos/new/one")).unwrap(), "1");
    assert_eq!(record::read(&mount, "apps").unwrap().unwrap().stage, Stage::Done);
    assert!(!mount.join(DIRECTORY).join("apps").exists());

    staged(&places[0], "inner/file", "older");
    begin(&places);
    let refused = put_in_place(&places, "apps");
    assert!(matches!(refused, Err(RestoreError::Occupied(_))), "{refused:?}");
    assert_eq!(fs::read_to_string(mount.join("apps/inner/file")).unwrap(), "content");
}

#[test]
fn f10_a_move_that_was_cut_off_is_finished_and_the_top_of_a_pool_keeps_what_is_ours() {
    let pool = tempfile::tempdir().unwrap();
    let mount = pool.path().to_owned();
    let places =
        [Wanted { path: mount.clone(), mount: mount.clone(), file_system: Default::default() }];
    staged(&places[0], "haos/disk.qcow2", "disk");
    staged(&places[0], "other/disk.qcow2", "other");
    // The backup of a whole pool holds the stubs of its own snapshots.
    staged(&places[0], ".bedplate-snapshots/stub", "");
    fs::create_dir(mount.join(".bedplate-snapshots")).unwrap();
    begin(&places);
    // Cut off after the first of two.
    let from = drill::below(&staging(&places[0], "apps"), &mount).join("haos");
    move_new(&from, &mount.join("haos")).unwrap();
    put_in_place(&places, "apps").unwrap();
    assert_eq!(fs::read_to_string(mount.join("haos/disk.qcow2")).unwrap(), "disk");
    assert_eq!(fs::read_to_string(mount.join("other/disk.qcow2")).unwrap(), "other");
    assert!(existing(&mount, &mount).unwrap().len() == 2);
    assert_eq!(fs::read_dir(mount.join(".bedplate-snapshots")).unwrap().count(), 0);
}

#[test]
fn an_empty_directory_is_nothing_and_a_link_is_something() {
    let pool = tempfile::tempdir().unwrap();
    let mount = pool.path().to_owned();
    let path = mount.join("apps");
    assert!(existing(&path, &mount).unwrap().is_empty());
    fs::create_dir(&path).unwrap();
    assert!(existing(&path, &mount).unwrap().is_empty());
    fs::write(path.join(".bedplate-mine"), "").unwrap();
    assert_eq!(existing(&path, &mount).unwrap().len(), 1, "only at the top of a pool");
    fs::remove_dir_all(&path).unwrap();
    std::os::unix::fs::symlink("/etc", &path).unwrap();
    assert_eq!(existing(&path, &mount).unwrap(), [path]);
}

#[test]
fn a_path_inside_another_comes_back_with_it_whichever_is_named_first() {
    let pool = tempfile::tempdir().unwrap();
    let mount = pool.path().to_owned();
    let place = |path: &str| Wanted {
        path: mount.join(path),
        mount: mount.clone(),
        file_system: Default::default(),
    };
    let places = [place("apps/photos"), place("apps")];
    staged(&places[0], "two", "2");
    staged(&places[1], "one", "1");
    begin(&places);
    put_in_place(&places, "apps").unwrap();
    assert_eq!(fs::read_to_string(mount.join("apps/photos/two")).unwrap(), "2");
    assert_eq!(fs::read_to_string(mount.join("apps/one")).unwrap(), "1");
}

#[test]
fn t43_a_damaged_record_is_told_by_name_and_hides_no_other_restore() {
    let pool = tempfile::tempdir().unwrap();
    let mount = pool.path().to_owned();
    let mut intent = bedplate_sample::intent();
    let mut apps = intent.backups["apps"].clone();
    apps.paths = vec![mount.join("apps").display().to_string()];
    let mut photos = apps.clone();
    photos.paths = vec![mount.join("photos").display().to_string()];
    intent.backups = [("apps".to_owned(), apps), ("photos".to_owned(), photos)].into();
    intent.pools.get_mut("bulk").unwrap().mount = mount.display().to_string();
    let backups = vec!["apps".to_owned(), "photos".to_owned()];
    intent.restore = Some(bedplate_model::host::Restore { backups, snapshot: None });
    let mounts = format!("1 1 0:1 / {} rw - btrfs a rw\n", mount.display());
    let context = Context {
        intent,
        mounts: bedplate_tools::mounts::Mounts::parse(&mounts),
        configuration: mount.join(".bedplate-etc"),
        runtime: mount.join(".bedplate-run"),
        state: mount.join(".bedplate-state"),
    };
    fs::create_dir(mount.join(DIRECTORY)).unwrap();
    let damaged = mount.join(DIRECTORY).join("apps.json");
    fs::write(&damaged, "{ cut").unwrap();
    let found = Restores::diff(&context.intent, &Restores::default().observe(&context).unwrap());
    let told = found[0].refused.as_deref().unwrap();
    assert!(told.contains(damaged.to_str().unwrap()), "{told}");
    assert!(told.contains("move the record away"), "{told}");
    assert!(matches!(&found[1].actions[0], Action::Fetch { backup, .. } if backup == "photos"));
}

fn snapshot(id: &str, is_complete: bool) -> Snapshot {
    let mark = (!is_complete).then(|| bedplate_tools::restic::INCOMPLETE.to_owned());
    Snapshot {
        id: id.into(),
        time: "2026-11-29T03:00:00Z".into(),
        hostname: "hv".into(),
        paths: Vec::new(),
        summary: None,
        tags: mark.into_iter().collect(),
        original: None,
    }
}

#[test]
fn t48_a_restore_begins_with_the_newest_complete_snapshot_and_goes_on_with_it() {
    let found = [snapshot("aa", true), snapshot("bb", true), snapshot("cc", false)];
    let picked = |begun, named| {
        let picked = pick(&found, begun, named).unwrap();
        (picked.choice.snapshot.id, picked.goes_on)
    };
    assert_eq!(picked(None, None), ("bb".into(), false));
    // As it was begun, although there is a newer one.
    assert_eq!(picked(Some("aa"), None), ("aa".into(), true));
    // Begun by a version of this program that knew no marks.
    assert_eq!(picked(Some("cc"), None), ("bb".into(), false));
    assert_eq!(picked(None, Some("cc")), ("cc".into(), false));
    assert_eq!(picked(Some("cc"), Some("cc")), ("cc".into(), true));
    assert!(matches!(pick(&found[2..], None, None), Err(NoChoice::Incomplete { .. })));
}

#[test]
fn a_restore_whose_snapshot_is_gone_or_was_not_meant_is_begun_anew() {
    let found = [snapshot("aa", true), snapshot("bb", true)];
    let picked = |begun, named| {
        let picked = pick(&found, begun, named).unwrap();
        (picked.choice.snapshot.id, picked.goes_on)
    };
    assert_eq!(picked(Some("forgotten"), None), ("bb".into(), false));
    assert_eq!(picked(Some("bb"), Some("aa")), ("aa".into(), false));
    // What came of the other is not mixed with it.
    let pool = tempfile::tempdir().unwrap();
    let mount = pool.path().to_owned();
    let places = [Wanted {
        path: mount.join("apps"),
        mount: mount.clone(),
        file_system: Default::default(),
    }];
    staged(&places[0], "inner/file", "of another snapshot");
    remove_staging(&places, "apps").unwrap();
    assert!(!staging(&places[0], "apps").exists() && mount.join(DIRECTORY).exists());
}
