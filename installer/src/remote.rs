//! The side of `bedplate install` that runs in the live system.
//!
//! What is sent is stored on tmpfs, and the same run as ever is started in a session of its own:
//! it holds the lock, and a connection that drops ends only the one who watches.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bedplate_events::Event;
use bedplate_events::progress::Progress;
use bedplate_formats::answers as area;
use bedplate_formats::passphrase;
use bedplate_formats::remote::{self, State};
use bedplate_model::host::{HostFile, Recovery};
use bedplate_tools::secret::Secret;
use zeroize::Zeroizing;

use crate::access::write_private;
use crate::answers::{self, Payload};
use crate::error::{During as _, StepError};
use crate::lock;
use crate::places::Places;

/// How often a watcher looks for more events.
const LOOK_EACH: Duration = Duration::from_millis(100);

/// What the installer of this machine is at.
pub fn state(places: &Places) -> State {
    // Asked first: a run that ends in between has written its last event.
    let runs = lock::is_held(&places.lock());
    let events = fs::read(places.events()).unwrap_or_default();
    remote::state(&String::from_utf8_lossy(&events), runs)
}

/// Takes what is sent on `input`: answers as they stand on a medium, and after them the recovery
/// passphrase where the document asks for one. Returns the lock, which the run inherits.
pub fn receive(input: &mut impl Read, places: &Places) -> Result<File, StepError> {
    let path = places.lock();
    let taken = lock::take(&path).during(format!("could not lock {}", path.display()))?;
    let lock = taken.ok_or_else(|| {
        StepError::new("an installation is under way on this machine")
            .next("nothing new was begun; give the same command again to watch it")
    })?;
    let sent = places.sent();
    let stored = store(input, &sent, places);
    if stored.is_err() {
        // Half of what was sent is of no use to anybody.
        let _ = fs::remove_dir_all(&sent);
        forget_recovery(places);
    }
    stored.map_err(|error| error.next("nothing was written; send it again")).map(|()| lock)
}

fn store(input: &mut impl Read, sent: &Path, places: &Places) -> Result<(), StepError> {
    let what = || format!("could not store what was sent in {}", sent.display());
    for old in [places.recovery(), places.events()] {
        match fs::remove_file(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).during(what());
            }
            _ => {}
        }
    }
    if sent.exists() {
        fs::remove_dir_all(sent).during(what())?;
    }
    fs::create_dir_all(sent).during(what())?;
    fs::set_permissions(sent, fs::Permissions::from_mode(0o700)).during(what())?;
    let named = Path::new("what was sent");
    let payload = answers::receive(input, named, sent).during("could not use what was sent")?;
    if let Payload::Keys(_) = payload {
        return Err(StepError::new("what was sent holds no host.toml"));
    }
    // Made at once: a vector that grows leaves copies behind.
    let mut rest = Zeroizing::new(Vec::with_capacity(remote::LONGEST_FRAME + 1));
    let limit = remote::LONGEST_FRAME as u64 + 1;
    input.take(limit).read_to_end(&mut rest).during("what was sent is cut short")?;
    let passphrase = remote::framed(&rest).ok_or_else(|| {
        let what = "what was sent is cut short, goes on after its end, or is of another version of bedplate";
        StepError::new(what)
    })?;
    if passphrase.is_empty() {
        return Ok(());
    }
    write_private(&places.recovery(), passphrase).during("could not keep the recovery passphrase")
}

/// Takes the recovery passphrase that was sent, if one was. Its file goes before anything else is done,
/// so that it is gone however the run ends.
pub fn take_recovery(places: &Places) -> Option<Secret> {
    let read = fs::read(places.recovery()).map(Secret::new);
    forget_recovery(places);
    read.ok()
}

/// The recovery passphrase that the document asks for, out of what was sent.
pub fn recovery(sent: Option<Secret>, host: &HostFile) -> Result<Option<Secret>, StepError> {
    if host.unlock.recovery != Recovery::Prompt {
        return Ok(None);
    }
    let secret = sent.ok_or_else(|| {
        StepError::new("`unlock.recovery` is \"prompt\", and no recovery passphrase was sent")
            .next("nothing was written; give the command again")
    })?;
    let typed = std::str::from_utf8(secret.expose()).unwrap_or("\u{0}");
    match passphrase::fault(typed) {
        None => Ok(Some(secret)),
        Some(fault) => {
            Err(StepError::new(format!("the recovery passphrase is not taken: {fault}"))
                .next("nothing was written; give the command again"))
        }
    }
}

/// Removes the recovery passphrase that was sent, if it is still there.
pub fn forget_recovery(places: &Places) {
    // It is on tmpfs: at the latest it goes with this boot.
    let _ = fs::remove_file(places.recovery());
}

/// Starts `program` with `arguments` in a session of its own. It inherits the lock as its standard
/// input, so that there is no moment without it.
pub fn start(program: &Path, arguments: &[&str], lock: File) -> Result<(), StepError> {
    let console = OpenOptions::new().write(true).open("/dev/console");
    let output = console.map_or_else(|_| Stdio::null(), Stdio::from);
    let mut command = Command::new("setsid");
    command.arg(program).args(arguments);
    command.stdin(Stdio::from(lock)).stdout(output).stderr(Stdio::null()).current_dir("/");
    // Not waited for: it lives on when this process ends.
    command.spawn().map(drop).during("could not start the installation")
}

/// Copies the events of the newest run to `output`, line by line, until the run is over.
pub fn follow(places: &Places, output: &mut impl Write) -> Result<(), StepError> {
    let mut lines = Lines { path: places.events(), reader: None, partial: String::new() };
    let mut progress = Progress::default();
    loop {
        let runs = lock::is_held(&places.lock());
        while let Some(line) = lines.next().during("could not read the events")? {
            let what = "nobody reads the events any more; the installation goes on";
            output.write_all(line.as_bytes()).and_then(|()| output.flush()).during(what)?;
            let told = serde_json::from_str::<Event>(&line);
            told.iter().for_each(|event| progress.follow(event));
            if progress.end().is_some() {
                return Ok(());
            }
        }
        if !runs {
            forget_what_nobody_reads(places);
            return Err(StepError::new("the installer ended without a word")
                .next("look at its screen; a run of the same plan finishes what this one began"));
        }
        std::thread::sleep(LOOK_EACH);
    }
}

/// Removes the passphrase of a run that is gone, unless another one has begun.
fn forget_what_nobody_reads(places: &Places) {
    if let Ok(Some(_alone)) = lock::take(&places.lock()) {
        forget_recovery(places);
    }
}

/// Whole lines of a file that still grows.
struct Lines {
    path: PathBuf,
    reader: Option<BufReader<File>>,
    partial: String,
}

impl Lines {
    /// None when there is no further line yet.
    fn next(&mut self) -> io::Result<Option<String>> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => match File::open(&self.path) {
                Ok(file) => none.insert(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        reader.read_line(&mut self.partial)?;
        let whole = self.partial.ends_with('\n');
        Ok(whole.then(|| std::mem::take(&mut self.partial)))
    }
}

/// The repository of the medium, as it is packed there.
pub fn flake(places: &Places) -> Result<Vec<u8>, StepError> {
    let path = places.flake();
    let what = || format!("could not read the medium's repository, {}", path.display());
    let mut packed = Vec::new();
    let file = File::open(&path).during(what())?;
    file.take(area::AREA_BYTES).read_to_end(&mut packed).during(what())?;
    Ok(packed)
}

#[cfg(test)]
mod tests {
    use bedplate_formats::answers::{HEADER_BYTES, Header};
    use bedplate_model::name::PlanHash;

    use super::*;
    use crate::facts::Source;
    use crate::run::{Order, Run};

    fn sent(file: &str, rest: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        builder.append_data(&mut header, file, &b"x\n\n"[..]).unwrap();
        let payload = builder.into_inner().unwrap();
        let header = Header::for_payload(&payload, payload.len() as u64).unwrap().encode();
        [&header, payload.as_slice(), &remote::frame(rest)].concat()
    }

    fn take(bytes: &[u8], places: &Places) -> Result<File, StepError> {
        receive(&mut { bytes }, places)
    }

    #[test]
    fn t19_the_passphrase_is_in_a_private_file_until_it_is_read_and_in_no_other() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path());
        let lock = take(&sent("host.toml", b"correct horse battery"), &places).unwrap();
        let mode = fs::metadata(places.recovery()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let profile = include_str!("../../profiles/hypervisor/host.toml");
        let mut host = bedplate_document::parse(profile, "host.toml").unwrap();
        assert!(recovery(None, &host).unwrap().is_none());
        host.unlock.recovery = Recovery::Prompt;
        let taken = take_recovery(&places);
        assert!(!places.recovery().exists(), "it stays until the run ends, or for good");
        let secret = recovery(taken, &host).unwrap().unwrap();
        assert_eq!(secret.expose(), b"correct horse battery");
        assert!(take_recovery(&places).is_none());
        assert!(recovery(None, &host).unwrap_err().to_string().contains("was sent"));
        let short = Some(Secret::new(b"short".to_vec()));
        assert!(recovery(short, &host).unwrap_err().to_string().contains("is not taken"));
        drop(lock);
        drop(take(&sent("host.toml", b""), &places).unwrap());
        assert!(!places.recovery().exists());
    }

    #[test]
    fn t19_a_run_that_dies_or_never_begins_leaves_no_passphrase() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path());
        let send = || take(&sent("host.toml", b"correct horse battery"), &places).unwrap();
        // Killed before it read anything: whoever watches notices.
        let lock = send();
        assert!(places.recovery().exists());
        drop(lock);
        assert!(follow(&places, &mut io::sink()).is_err());
        assert!(!places.recovery().exists());
        // Started without what it needs.
        drop(send());
        let order = Order::Sent { plan: PlanHash::default() };
        let source = Source::Inventory(place.path().join("none"));
        assert!(!Run { places: places.clone(), source, order }.run());
        assert!(!places.recovery().exists());
    }

    #[test]
    fn what_is_sent_while_somebody_installs_changes_nothing() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path());
        let lock = take(&sent("host.toml", b""), &places).unwrap();
        fs::write(places.events(), "x").unwrap();
        let error = take(&sent("host.toml", b"correct horse battery"), &places).unwrap_err();
        assert!(error.to_string().contains("under way"), "{error}");
        assert!(places.events().exists() && !places.recovery().exists());
        drop(lock);
    }

    #[test]
    fn t13_crafted_and_overlong_input_is_refused_and_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path());
        let good = sent("host.toml", b"");
        let mut damaged = good.clone();
        damaged[HEADER_BYTES] ^= 1;
        let cut = &good[..good.len() - 1];
        let overlong = sent("host.toml", &[b'x'; 2000]);
        // A part of a passphrase is none.
        let whole = sent("host.toml", b"correct horse battery staple of 44 characters");
        for missing in 1..80 {
            assert!(take(&whole[..whole.len() - missing], &places).is_err(), "{missing}");
            assert!(!places.sent().exists() && !places.recovery().exists());
        }
        for bad in [&[][..], b"x", cut, &damaged, &overlong, &sent("authorized_keys", b"")] {
            assert!(take(bad, &places).is_err());
            assert!(!places.sent().exists() && !places.recovery().exists());
        }
    }

    #[test]
    fn f1_a_run_that_is_gone_without_its_last_event_is_said_to_be() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path());
        let started = r#"{"schema":1,"sequence":0,"at_ms":0,"event":"step_started","step":"x"}"#;
        let done = r#"{"schema":1,"sequence":1,"at_ms":9,"event":"plan_done","success":true,"milliseconds":9}"#;
        let mut shown = Vec::new();
        fs::write(places.events(), format!("{started}\n{{\"sche")).unwrap();
        let error = follow(&places, &mut shown).unwrap_err();
        assert!(error.to_string().contains("without a word"));
        assert_eq!(shown, format!("{started}\n").as_bytes());
        fs::write(places.events(), format!("{started}\n{done}\nmore\n")).unwrap();
        shown.clear();
        follow(&places, &mut shown).unwrap();
        assert_eq!(shown, format!("{started}\n{done}\n").as_bytes());
    }
}
