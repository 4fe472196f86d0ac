//! `bedplate key create` as people run it, on images.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bedplate_keystick::{Contents, read_volume};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

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

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bedplate"));
        command.args(["key", "create", "--host", "host.toml"]).args(arguments);
        command.current_dir(self.directory.path());
        command
    }

    fn create(&self, arguments: &[&str]) -> Output {
        // Whoever runs the tests may sit at a terminal.
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
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

/// Somebody's side of a terminal, and what it has shown.
struct Screen {
    somebody: File,
    shown: String,
}

/// A terminal, and the side of it that a program has.
fn terminal() -> (Screen, File) {
    let somebody = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&somebody).unwrap();
    unlockpt(&somebody).unwrap();
    let name = ptsname(&somebody, Vec::new()).unwrap().into_string().unwrap();
    let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (Screen { somebody: File::from(somebody), shown: String::new() }, File::from(program))
}

impl Screen {
    fn wait_for(&mut self, text: &str) {
        let mut bytes = [0; 512];
        while !self.shown.contains(text) {
            let read = self.somebody.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "it ended without `{text}`: {}", self.shown);
            self.shown += &String::from_utf8_lossy(&bytes[..read]);
        }
    }

    /// Types a line as soon as nothing that is typed is shown: what comes earlier is not heard.
    fn type_hidden(&mut self, line: &str) {
        while tcgetattr(&self.somebody).unwrap().local_modes.contains(LocalModes::ECHO) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.somebody.write_all(line.as_bytes()).unwrap();
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
fn t19_a_secret_is_typed_at_a_terminal_and_read_from_nothing_else() {
    let desk = Desk::new();
    let text = fs::read_to_string(desk.path("host.toml")).unwrap();
    let typed = text
        .replace("{ stick = \"bedplate/restic-apps\" }", "{ prompt = \"bedplate/restic-apps\" }");
    assert_ne!(typed, text);
    fs::write(desk.path("host.toml"), typed).unwrap();
    let error = desk.refused(&["--image", "key.img", "--size", "2MiB"]);
    assert!(error.contains("nobody can be asked for the password of the backup apps"), "{error}");
    assert!(!desk.path("key.img").exists());

    let (mut screen, keyboard) = terminal();
    let mut command = desk.command(&["--image", "key.img", "--size", "2MiB"]);
    command.stdin(keyboard.try_clone().unwrap()).stdout(keyboard.try_clone().unwrap());
    let mut child = command.stderr(keyboard).spawn().unwrap();
    drop(command);
    screen.wait_for("for `bedplate/restic-apps` on the stick: ");
    screen.type_hidden("resti\u{e7} 4ever\n");
    screen.wait_for("The same again: ");
    screen.type_hidden("resti\u{e7} 4ever\n");
    screen.wait_for("written and read back");
    assert!(child.wait().unwrap().success(), "{}", screen.shown);
    assert!(!screen.shown.contains("4ever"), "{}", screen.shown);
    let (path, secret) = &desk.stick("key.img").files[0];
    assert_eq!((path.as_str(), secret.expose()), (SECRETS[0], "resti\u{e7} 4ever".as_bytes()));
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
