use super::*;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(place.etc()).unwrap();
        place.source(files);
        place
    }

    fn etc(&self) -> PathBuf {
        self.directory.path().join("etc")
    }

    fn source(&self, files: &[(&str, &str)]) {
        let source = self.directory.path().join("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir(&source).unwrap();
        for (name, content) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn apply(&self) -> Vec<PathBuf> {
        let root = self.directory.path();
        apply(&self.etc(), &[root.join("source")], &root.join("manifest.json")).unwrap()
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.etc().join(name)).ok()
    }
}

#[test]
fn a_file_as_written_follows_its_source_and_goes_with_it() {
    let place = Place::new(&[("a/b", "1"), ("c", "2")]);
    assert!(place.apply().is_empty());
    place.source(&[("a/b", "3")]);
    assert!(place.apply().is_empty());
    assert_eq!(place.read("a/b").as_deref(), Some("3"));
    assert_eq!(place.read("c"), None);
}

#[test]
fn a_file_changed_by_hand_stays_and_is_reported_each_time() {
    let place = Place::new(&[("a", "1")]);
    place.apply();
    fs::write(place.etc().join("a"), "mine").unwrap();
    place.source(&[("a", "2")]);
    for _ in 0..2 {
        assert_eq!(place.apply(), [place.etc().join("a")]);
        assert_eq!(place.read("a").as_deref(), Some("mine"));
    }
    fs::write(place.etc().join("a"), "1").unwrap();
    assert!(place.apply().is_empty());
    assert_eq!(place.read("a").as_deref(), Some("2"));
}

#[test]
fn a_file_that_was_there_first_stays() {
    let place = Place::new(&[("a", "1")]);
    fs::write(place.etc().join("a"), "mine").unwrap();
    assert_eq!(place.apply(), [place.etc().join("a")]);
    assert_eq!(place.read("a").as_deref(), Some("mine"));
}

#[test]
fn accounts_and_machine_id_are_never_copied() {
    let place = Place::new(&[("passwd", "x"), ("shadow", "x"), ("machine-id", "x")]);
    assert!(place.apply().is_empty());
    assert_eq!(fs::read_dir(place.etc()).unwrap().count(), 0);
}

#[test]
fn f1_without_a_manifest_files_already_written_are_ours() {
    let place = Place::new(&[("a", "1"), ("b", "2")]);
    fs::write(place.etc().join("a"), "1").unwrap();
    assert!(place.apply().is_empty());
    place.source(&[("b", "2")]);
    place.apply();
    assert_eq!(place.read("a"), None);
}

#[test]
fn f1_a_cut_while_files_are_replaced_leaves_each_of_them_ours() {
    let place = Place::new(&[("new", "2"), ("old", "2")]);
    // As after a cut between the two renames of a change from 1 to 2 that also adds a file.
    let print = |content: &str| {
        let file = place.directory.path().join("print");
        fs::write(&file, content).unwrap();
        fingerprint(&file).unwrap().unwrap()
    };
    fs::write(place.etc().join("old"), "1").unwrap();
    fs::create_dir(place.etc().join(STAGING)).unwrap();
    fs::write(place.etc().join(STAGING).join("0"), "half").unwrap();
    let pending = [
        ("new".to_owned(), format!("{ABSENT} {}", print("2"))),
        ("old".to_owned(), format!("{} {}", print("1"), print("2"))),
    ];
    save(&place.directory.path().join("manifest.json"), &pending.into()).unwrap();
    // Even when another generation is booted next.
    place.source(&[("new", "3"), ("old", "3")]);
    assert!(place.apply().is_empty());
    assert_eq!(
        (place.read("new").as_deref(), place.read("old").as_deref()),
        (Some("3"), Some("3"))
    );
    assert!(!place.etc().join(STAGING).exists());
}

#[test]
fn t26_a_host_key_in_a_tree_is_never_copied() {
    let place = Place::new(&[("ssh/ssh_host_ed25519_key", "shared"), ("ssh/sshd_config", "x")]);
    assert!(place.apply().is_empty());
    assert_eq!(place.read("ssh/ssh_host_ed25519_key"), None);
    assert_eq!(place.read("ssh/sshd_config").as_deref(), Some("x"));
}
