//! An installation with somebody at the console: consent, and a recovery passphrase that is typed
//! there and kept nowhere. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use bedplate_keystick::read_volume;
use bedplate_qemu_harness::machine::Disk;
use bedplate_qemu_harness::pace;
use bedplate_qemu_harness::running::Running;
use bedplate_tests::medium::put_answers;
use bedplate_tests::power_cut::recording::blank;
use bedplate_tests::power_cut::subject::Subject;
use bedplate_tests::power_cut::trial::require_success;
use bedplate_tests::screens;
use bedplate_tests::seed::KEY;
use bedplate_tests::small::{self, COMPLETE};

const LIMIT: Duration = Duration::from_secs(600);
/// How long an answer may take to be taken, on a busy machine too: what is typed a second time
/// after the questions have ended is shown, as anything is.
const ANSWERED: Duration = Duration::from_secs(90);
const PASSPHRASE: &str = "four words of somebody";
/// The password of a repository that exists already, and where the stick keeps it.
const PASSWORD: &str = "of years ago";
const ON_STICK: &str = "bedplate/restic";

fn says(running: &Running, text: &str) {
    running.wait_for_text(&[text], LIMIT).unwrap_or_else(|error| panic!("{error}"));
}

fn answers(disks: &[Disk]) -> String {
    let text = small::host_toml(disks);
    let changes = [
        ("unattended = true", "unattended = false"),
        ("derivation = \"minimal\"", "recovery = \"prompt\""),
    ];
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    format!(
        "{text}\n[backups.apps]\nrepository = \"rest:https://backup.example.org/small\"\n\
         paths = [\"/mnt/data/apps\"]\npassword = {{ prompt = \"{ON_STICK}\" }}\n"
    )
}

fn start(subject: &Subject, disks: &[Disk], place: &Path) -> Running {
    subject.installing(disks.to_vec()).start(place, None).unwrap()
}

/// Whoever types something else changes nothing.
fn is_not_confirmed(subject: &Subject, disks: &[Disk], place: &Path) {
    let mut running = start(subject, disks, place);
    says(&running, "written to: os (");
    says(&running, "Type the host's name, small, to install");
    running.type_line("yes").unwrap();
    says(&running, "that is not its name; `no` stops");
    types(&mut running, "no", "the installation was not confirmed");
    drop(running);
    for disk in disks.iter().filter(|disk| disk.role != bedplate_tests::seed::CANARY) {
        let content = std::fs::read(&disk.file).unwrap();
        assert!(content.iter().all(|byte| *byte == 0), "{} was written to", disk.role);
    }
}

/// Types a line until the next question is there: what comes before a question is thrown away.
fn types(running: &mut Running, line: &str, next: &str) {
    for _ in 0..10 {
        let before = running.console().matches(next).count();
        running.type_line(line).unwrap();
        let asked = || (running.console().matches(next).count() > before).then_some(());
        if pace::ask(ANSWERED, Duration::from_millis(200), asked).is_ok() {
            return;
        }
    }
    panic!("no `{next}`:\n{}", running.tail());
}

/// What is too short is not taken.
fn is_installed(subject: &Subject, disks: &[Disk], place: &Path) {
    let mut running = start(subject, disks, place);
    running.qmp().plug_keyboard().unwrap();
    says(&running, "Type the host's name, small, to install");
    screens::keep(&running, "consent").unwrap();
    // At the screen; what follows at the serial line.
    running.qmp().type_keys("small").unwrap();
    says(&running, "Recovery passphrase of the volumes");
    types(&mut running, "short", "at least 12 characters");
    types(&mut running, PASSPHRASE, "The same again");
    types(&mut running, PASSPHRASE, "The password of the backup apps");
    types(&mut running, PASSWORD, "The same again");
    types(&mut running, PASSWORD, "Bedplate: install small");
    screens::keep(&running, "begun").unwrap();
    says(&running, "Enrol the host");
    screens::keep(&running, "halfway").unwrap();
    running.wait_for_end(LIMIT).unwrap();
    screens::keep(&running, "installed").unwrap();
    require_success(&running).unwrap();
    let console = running.console();
    assert!(!console.contains(PASSPHRASE) && !console.contains(PASSWORD), "t19: it was shown");
}

/// The stick has what was typed for it: the next installation with it does not ask again.
fn is_not_asked_twice(subject: &Subject, disks: &[Disk], place: &Path) {
    let others: Vec<Disk> = disks.iter().filter(|disk| disk.role != KEY).cloned().collect();
    blank(&others).unwrap();
    let mut running = start(subject, disks, place);
    says(&running, "Type the host's name, small, to install");
    types(&mut running, "small", "Recovery passphrase of the volumes");
    types(&mut running, PASSPHRASE, "The same again");
    types(&mut running, PASSPHRASE, "Bedplate: install small");
    assert!(!running.console().contains("The password of the backup"), "it was asked for");
}

/// Without its stick the machine asks, and the passphrase opens every volume.
fn opens_by_it(subject: &Subject, disks: &[Disk], place: &Path) {
    let without: Vec<Disk> = disks.iter().filter(|disk| disk.role != KEY).cloned().collect();
    let mut running = subject.installed(without).start(place, None).unwrap();
    says(&running, "Passphrase of the system disk");
    running.type_line(PASSPHRASE).unwrap();
    says(&running, COMPLETE);
    assert!(!running.console().contains(PASSPHRASE), "t19: the passphrase was shown");
}

#[test]
fn t06_t22_somebody_consents_and_types_a_passphrase_that_is_kept_nowhere() {
    let directory = tempfile::Builder::new().prefix("bedplate-attended-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let place = directory.path();
    let subject = Subject::small(place).unwrap();
    let disks = subject.disks(place);
    blank(&disks).unwrap();
    put_answers(&subject.medium.file, &answers(&disks)).unwrap();
    is_not_confirmed(&subject, &disks, place);
    is_installed(&subject, &disks, place);
    opens_by_it(&subject, &disks, place);
    let stick = disks.iter().find(|disk| disk.role == KEY).unwrap();
    let content = std::fs::read(&stick.file).unwrap();
    let words = PASSPHRASE.as_bytes();
    assert!(!content.windows(words.len()).any(|part| part == words), "it is on the stick");
    let mut volume = File::open(&stick.file).unwrap();
    let kept = read_volume(&mut volume, &[ON_STICK], 1 << 12).unwrap();
    assert_eq!(kept.files[0].1.expose(), PASSWORD.as_bytes());
    is_not_asked_twice(&subject, &disks, place);
}
