//! `bedplate key create` as people run it, on images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bedplate_keystick::{Contents, read_volume};

const SECRETS: [&str; 3] = ["bedplate/restic-apps", "bedplate/recovery", "bedplate/keyfile"];

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    /// A directory with a document that names two sticks.
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let profile = fs::read_to_string(root.join("profiles/hypervisor/host.toml")).unwrap();
        let second = "[[unlock.sticks]]\nvolume_id = \"5E6F-7A8B\"\n\n[network]";
        let text = profile.replacen("[network]", second, 1);
        assert_ne!(text, profile);
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(desk.path("host.toml"), text).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn create(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        command.args(["key", "create", "--host", "host.toml"]).args(arguments);
        command.current_dir(self.directory.path()).output().unwrap()
    }

    fn made(&self, arguments: &[&str]) -> String {
        let output = self.create(arguments);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(output.stderr));
        text(output.stdout)
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.create(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }

    fn stick(&self, name: &str) -> Contents {
        let mut file = File::open(self.path(name)).unwrap();
        read_volume(&mut file, &SECRETS, 1 << 16).unwrap()
    }
}

#[test]
fn t22_two_sticks_open_the_same_volumes() {
    let desk = Desk::new();
    let told = desk.made(&["--image", "first.img", "--size", "8MiB"]);
    assert!(
        told.starts_with("first.img is the key stick 1A2B-3C4D, written and read back"),
        "{told}"
    );
    let first = desk.stick("first.img");
    assert_eq!(first.volume_id, "1A2B-3C4D");
    let lengths: Vec<_> = first.files.iter().map(|(_, file)| file.expose().len()).collect();
    assert_eq!(lengths, [39, 39, 64]);

    let told =
        desk.made(&["--image", "second.img", "--size", "8MiB", "--from", "first.img", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["volume_id"], "5E6F-7A8B");
    assert_eq!(told["files"], serde_json::json!(SECRETS));
    let second = desk.stick("second.img");
    assert_eq!(second.volume_id, "5E6F-7A8B");
    assert_eq!(second.files, first.files);
    assert!(!desk.path("second.img.new").exists());
}

#[test]
fn t22_a_stick_with_a_key_is_not_overwritten_without_being_told() {
    let desk = Desk::new();
    desk.made(&["--image", "key.img", "--size", "2MiB"]);
    let before = fs::read(desk.path("key.img")).unwrap();
    let error = desk.refused(&["--image", "key.img", "--size", "2MiB"]);
    assert!(error.contains("key.img is not written to: it holds a keyfile"), "{error}");
    assert!(
        desk.refused(&["--image", "key.img", "--overwrite", "yes"]).contains("--overwrite key.img")
    );
    assert_eq!(fs::read(desk.path("key.img")).unwrap(), before);
    desk.made(&["--image", "key.img", "--size", "2MiB", "--overwrite", "key.img"]);
    assert_ne!(fs::read(desk.path("key.img")).unwrap(), before);
}

#[test]
fn t15_a_link_and_a_directory_are_no_image_and_a_foreign_stick_is_no_first_one() {
    let desk = Desk::new();
    std::os::unix::fs::symlink("/etc/hostname", desk.path("link")).unwrap();
    assert!(desk.refused(&["--image", "link"]).contains("no plain file"));
    fs::write(desk.path("noise"), vec![7; 1 << 20]).unwrap();
    assert!(desk.refused(&["--image", "a", "--from", "noise"]).contains("noise cannot be copied"));
    fs::create_dir_all(desk.path("mounted/bedplate")).unwrap();
    fs::write(desk.path("mounted/bedplate/recovery"), "cbde").unwrap();
    fs::write(desk.path("mounted/bedplate/keyfile"), vec![7; 31]).unwrap();
    let error = desk.refused(&["--image", "a", "--from", "mounted"]);
    assert!(error.contains("mounted lacks `bedplate/keyfile`"), "{error}");
    assert!(!desk.path("a").exists() && !desk.path("a.new").exists());
}

#[test]
fn sticks_that_the_document_does_not_name_and_unstable_names_are_refused() {
    let desk = Desk::new();
    let error = desk.refused(&["--image", "a", "--stick", "FFFF-FFFF"]);
    assert!(error.contains("it names 1A2B-3C4D, 5E6F-7A8B"), "{error}");
    desk.made(&["--image", "first.img", "--size", "2MiB"]);
    let same = ["--image", "a", "--from", "first.img", "--stick", "1a2b-3c4d"];
    assert!(desk.refused(&same).contains("is the stick 1A2B-3C4D itself"));
    assert!(desk.refused(&["--device", "/dev/sda"]).contains("no whole device named under"));
    assert_eq!(desk.create(&[]).status.code(), Some(2));
    assert_eq!(desk.create(&["--image", "a", "--size", "3"]).status.code(), Some(2));
}
