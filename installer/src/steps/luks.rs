//! LUKS volumes: each is worked on by a child process, because libcryptsetup is one lock a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bedplate_disks::Lent;
use bedplate_events::{DeviceState, Outcome};
use bedplate_facts::machine::memory_bytes;
use bedplate_facts::roots::Roots;
use bedplate_luks::{ArgonCost, Format, KEYFILE_SLOT, PASSPHRASE_SLOT, Standing, Token};
use bedplate_model::host::Derivation;
use bedplate_model::plan::Step;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::secret::Secret;
use bedplate_tools::udev;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::context::Context;
use crate::device::{lend_partition, lend_volume, owner_name};
use crate::error::{During as _, StepError};
use bedplate_events::cause::texts;
use bedplate_model::name::MapperName;

/// How long deriving from the recovery passphrase takes.
const DERIVATION: Duration = Duration::from_millis(1000);

/// The most memory one derivation takes, in KiB; stage 1 has to have it again.
const MEMORY_CAP_KIB: u64 = 256 << 10;

/// Letters and digits of a recovery passphrase as it is generated: 128 random bits.
const GENERATED_LENGTH: usize = 32;

/// What a child is asked to do; travels on its standard input. Its keys stand there as they are, and
/// are read where they stand: as text they would be copied into buffers that nobody clears.
struct Job<'a> {
    device: PathBuf,
    keyfile: &'a [u8],
    passphrase: &'a [u8],
    task: Task,
}

impl<'a> Job<'a> {
    /// Device and task, then the keys, each behind its length.
    fn encode(&self) -> serde_json::Result<Secret> {
        let order = serde_json::to_vec(&(&self.device, &self.task))?;
        let parts = [order.as_slice(), self.keyfile, self.passphrase];
        let length: usize = parts.iter().map(|part| LENGTH + part.len()).sum();
        // Made at once: a vector that grows leaves copies behind.
        let mut bytes = Vec::with_capacity(length);
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        Ok(Secret::new(bytes))
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, String> {
        let part = |bytes: &'a [u8]| {
            let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
            rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)
        };
        let parts = || {
            let (order, rest) = part(bytes)?;
            let (keyfile, rest) = part(rest)?;
            let (passphrase, rest) = part(rest)?;
            rest.is_empty().then_some((order, keyfile, passphrase))
        };
        let (order, keyfile, passphrase) = parts().ok_or("the job is cut short")?;
        let (device, task) = serde_json::from_slice(order).map_err(|error| error.to_string())?;
        Ok(Self { device, keyfile, passphrase, task })
    }
}

/// Bytes of the length of a part.
const LENGTH: usize = 8;

#[derive(Serialize, Deserialize)]
enum Task {
    /// Make the header, or find it made by an unfinished run of this plan; then open it.
    Format {
        uuid: Uuid,
        label: String,
        mapper: MapperName,
        token: Token,
        argon: ArgonCost,
        discard: bool,
        resume: bool,
    },
    /// Test both keyslots.
    Verify,
}

/// What a child answers.
#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    AlreadyDone,
    Failed(Vec<String>),
}

/// The child: reads a job, does it, prints the answer. Returns whether it went well.
pub fn work(input: &[u8]) -> (String, bool) {
    let answer = match Job::decode(input) {
        Ok(job) => perform(&job).unwrap_or_else(|error| Answer::Failed(texts(&error))),
        Err(error) => Answer::Failed(vec![error]),
    };
    let well = !matches!(answer, Answer::Failed(_));
    (serde_json::to_string(&answer).unwrap_or_default(), well)
}

fn perform(job: &Job<'_>) -> bedplate_luks::Result<Answer> {
    let device = &job.device;
    match &job.task {
        Task::Format { uuid, label, mapper, token, argon, discard, resume } => {
            let made = match bedplate_luks::standing(device, *uuid, &token.plan)? {
                Standing::Begun(made) => Some(made),
                Standing::Free => None,
                Standing::Other => return Ok(untouched("another LUKS volume stands there")),
            };
            let ours = made.is_some()
                && *resume
                && bedplate_luks::test_key(device, Some(KEYFILE_SLOT), job.keyfile)?
                && bedplate_luks::test_key(device, Some(PASSPHRASE_SLOT), job.passphrase)?;
            if !ours && made.is_some_and(|made| made.sealed) {
                return Ok(untouched("the volume is sealed and the keys do not open it"));
            }
            if ours {
                bedplate_luks::open(device, mapper, Some(KEYFILE_SLOT), job.keyfile, *discard)?;
                return Ok(Answer::AlreadyDone);
            }
            let format = Format {
                device,
                uuid: *uuid,
                label,
                keyfile: job.keyfile,
                passphrase: job.passphrase,
                argon: *argon,
                token,
            };
            bedplate_luks::format_and_open(&format, mapper, *discard)?;
            Ok(Answer::Done)
        }
        Task::Verify => {
            for (slot, key, name) in [
                (KEYFILE_SLOT, job.keyfile, "keyfile"),
                (PASSPHRASE_SLOT, job.passphrase, "recovery passphrase"),
            ] {
                if !bedplate_luks::test_key(device, Some(slot), key)? {
                    return Ok(Answer::Failed(vec![format!(
                        "the {name} does not open slot {slot}"
                    )]));
                }
            }
            Ok(Answer::Done)
        }
    }
}

fn untouched(why: &str) -> Answer {
    Answer::Failed(vec![format!("{why}; nothing was written")])
}

/// How many volumes are worked on at once.
pub fn permits(argon: ArgonCost) -> usize {
    let available = memory_bytes(&Roots::identity(), "MemAvailable:").unwrap_or(0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    at_once(argon, available, processors)
}

/// As many derivations as fit into half of the memory, and one more than there are processors at
/// most: some wait for their disks.
fn at_once(argon: ArgonCost, available: u64, processors: usize) -> usize {
    let one = u64::from(argon.memory_kib.max(1)) * 1024;
    let fitting = usize::try_from(available / 2 / one).unwrap_or(1);
    fitting.clamp(1, processors.saturating_add(1))
}

/// Finds out once what a derivation may cost on this machine.
pub fn measure(context: &Context<'_>) -> Result<ArgonCost, StepError> {
    if let Some(argon) = context.argon.get() {
        return Ok(*argon);
    }
    if context.host.unlock.derivation == Derivation::Minimal
        && context.keys()?.passphrase.expose().len() >= GENERATED_LENGTH
    {
        return Ok(*context.argon.get_or_init(ArgonCost::minimal));
    }
    let memory = memory_bytes(&Roots::identity(), "MemTotal:").unwrap_or(0);
    let cap = (memory / 1024 / 8).clamp(32 << 10, MEMORY_CAP_KIB);
    let cap = u32::try_from(cap).unwrap_or(32 << 10);
    // What it does for new partitions would be measured too.
    udev::settle().during("udev did not come to rest")?;
    let argon = bedplate_luks::benchmark_argon(cap, DERIVATION)
        .during("could not measure the cost of the recovery passphrase")?;
    Ok(*context.argon.get_or_init(|| argon))
}

/// Makes and opens the volume of one [`Step::FormatLuks`].
pub fn format(context: &Context<'_>, step: &Step) -> Result<Outcome, StepError> {
    let Step::FormatLuks { role, partition, uuid, label, mapper } = step else {
        return Err(StepError::new("not a step that makes a LUKS header"));
    };
    let target = context.disk(role)?;
    let argon = measure(context)?;
    let lent = lend_partition(target, *partition)
        .map_err(|error| error.on(owner_name(target), DeviceState::Partial))?;
    let task = Task::Format {
        uuid: *uuid,
        label: label.clone(),
        mapper: mapper.clone(),
        token: Token::unsealed(&context.plan.hash, &context.plan.sections),
        argon,
        discard: target.discard,
        resume: target.resume,
    };
    child(context, lent.path(), task, "could not encrypt the volume")
        .map_err(|error| error.on(owner_name(target), DeviceState::Partial))
}

fn child(
    context: &Context<'_>,
    device: PathBuf,
    task: Task,
    what: &str,
) -> Result<Outcome, StepError> {
    let keys = context.keys()?;
    let job =
        Job { device, keyfile: keys.keyfile.expose(), passphrase: keys.passphrase.expose(), task };
    let input = job.encode().during(what)?;
    let program = std::env::current_exe().during(what)?;
    // Every mapping has udev look at it; who only needs its node need not wait for that.
    let output = Command::new(program)
        .arg("luks-worker")
        .env("DM_DISABLE_UDEV", "1")
        .read_with_secret(&input)
        .during(what)?;
    match serde_json::from_str(&output).during(what)? {
        Answer::Done => Ok(Outcome::Done),
        Answer::AlreadyDone => Ok(Outcome::AlreadyDone),
        Answer::Failed(causes) => Err(std::io::Error::other(causes.join(": "))).during(what),
    }
}

/// Tests both keyslots of one member.
pub fn verify(context: &Context<'_>, role: &str) -> Result<(), StepError> {
    let target = context.disk(role)?;
    let volume = volume_of(context, role)?;
    child(context, volume.path(), Task::Verify, "a keyslot could not be opened")
        .map(drop)
        .map_err(|error| error.on(owner_name(target), DeviceState::Written))
}

/// Saves the header on every stick, sealed: put back later, it belongs to a finished installation.
fn save_header(context: &Context<'_>, device: &Path, role: &str) -> Result<(), StepError> {
    let what = || format!("could not save the LUKS header of {role}");
    let directory = tempfile::tempdir_in("/run/bedplate").during(what())?;
    let file = directory.path().join(role);
    bedplate_luks::backup_sealed(device, &file).during(what())?;
    let header = fs::read(&file).during(what())?;
    let packed = zstd::encode_all(header.as_slice(), 3).during(what())?;
    let path = bedplate_keystick::layout::header(role);
    context
        .sticks()
        .try_for_each(|stick| bedplate_keystick::write(stick, &path, &packed))
        .during(what())
}

/// Saves the header of one member on every stick, and marks the member as belonging to a finished
/// installation: whoever is sealed has a header to put back.
pub fn seal(context: &Context<'_>, role: &str) -> Result<(), StepError> {
    let target = context.disk(role)?;
    let volume = volume_of(context, role)?;
    let device = volume.path();
    save_header(context, &device, role)
        .and_then(|()| bedplate_luks::seal(&device).during("could not seal the LUKS header"))
        .map_err(|error| error.on(owner_name(target), DeviceState::Written))
}

/// What the open volume of a role lies on, which carries the header of the plan.
fn volume_of(context: &Context<'_>, role: &str) -> Result<Lent, StepError> {
    let volume = context.plan.steps.iter().find_map(|step| match step {
        Step::FormatLuks { role: of, uuid, mapper, .. } if of == role => Some((*uuid, mapper)),
        _ => None,
    });
    let (uuid, mapper) =
        volume.ok_or_else(|| StepError::new(format!("the plan encrypts no disk `{role}`")))?;
    let lent = lend_volume(context.disk(role)?, mapper)?;
    let found = bedplate_luks::read_token(&lent.path()).during("could not read the LUKS header")?;
    match found {
        Some((found, _)) if found == uuid => Ok(lent),
        _ => Err(StepError::new(format!("another volume than planned is open as {mapper}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_volumes_are_worked_on_as_memory_and_processors_allow() {
        let argon = ArgonCost { memory_kib: 256 << 10, iterations: 4, threads: 2 };
        assert_eq!(at_once(argon, 16 << 30, 2), 3);
        assert_eq!(at_once(argon, 1 << 30, 8), 2, "half of it is for everything else");
        assert_eq!(at_once(argon, 100 << 20, 8), 1);
        assert_eq!(at_once(argon, 0, 1), 1);
    }

    const UUID: Uuid = Uuid::from_u128(7);
    const PLAN: &str = "sha256-abc";

    fn token() -> Token {
        Token::unsealed(PLAN, &std::collections::BTreeMap::new())
    }

    fn volume(sealed: bool) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(32 << 20).unwrap();
        bedplate_luks::format(&Format {
            device: file.path(),
            uuid: UUID,
            label: "bedplate-vm1",
            keyfile: b"the keyfile",
            passphrase: b"the passphrase",
            argon: ArgonCost::minimal(),
            token: &token(),
        })
        .unwrap();
        if sealed {
            bedplate_luks::seal(file.path()).unwrap();
        }
        file
    }

    fn asked(device: &Path, keyfile: &[u8], plan: &str, resume: bool) -> (String, bool) {
        let job = Job {
            device: device.to_owned(),
            keyfile,
            passphrase: b"the passphrase",
            task: Task::Format {
                uuid: UUID,
                label: "bedplate-vm1".to_owned(),
                mapper: "bedplate-test-sealed".parse().unwrap(),
                token: Token { plan: plan.to_owned(), ..token() },
                argon: ArgonCost::minimal(),
                discard: false,
                resume,
            },
        };
        work(job.encode().unwrap().expose())
    }

    #[test]
    fn t19_keys_reach_the_child_in_one_buffer_that_is_cleared_and_are_read_where_they_stand() {
        let device = PathBuf::from("/dev/nothing");
        let (keyfile, passphrase) = ([7, 0, 255], *b"the passphrase");
        let job = Job { device, keyfile: &keyfile, passphrase: &passphrase, task: Task::Verify };
        let sent = job.encode().unwrap();
        let bytes = sent.expose();
        let read = Job::decode(bytes).unwrap();
        assert_eq!((read.keyfile, read.passphrase), (&keyfile[..], &passphrase[..]));
        let inside = |key: &[u8]| bytes.as_ptr_range().contains(&key.as_ptr());
        assert!(inside(read.keyfile) && inside(read.passphrase), "it is a copy");
        // As numbers they would stand there again.
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("255") && text.matches("the passphrase").count() == 1);
        for end in 0..bytes.len() {
            assert!(Job::decode(&bytes[..end]).is_err(), "{end}");
        }
    }

    fn is_refused(device: &Path, keyfile: &[u8], plan: &str, resume: bool, words: &str) {
        let before = fs::read(device).unwrap();
        let (answer, well) = asked(device, keyfile, plan, resume);
        assert!(!well && answer.contains(words), "{answer}");
        assert!(fs::read(device).unwrap() == before, "it was written to");
    }

    #[test]
    fn f1_a_sealed_volume_whose_keys_do_not_fit_is_never_formatted() {
        let file = volume(true);
        for resume in [true, false] {
            is_refused(file.path(), b"another keyfile", PLAN, resume, "is sealed");
        }
    }

    #[test]
    fn t46_a_volume_of_another_plan_is_never_formatted() {
        for sealed in [true, false] {
            let file = volume(sealed);
            is_refused(file.path(), b"the keyfile", "sha256-other", true, "another LUKS volume");
        }
    }

    #[test]
    fn t46_a_sealed_volume_with_one_broken_header_is_never_formatted() {
        use std::os::unix::fs::FileExt as _;
        // The first sector, the JSON area, and all of the first copy.
        for (at, length) in [(0, 512), (4096, 512), (0, 16 << 10), (16 << 10, 512)] {
            let file = volume(true);
            file.as_file().write_all_at(&vec![0; length], at).unwrap();
            is_refused(
                file.path(),
                b"another keyfile",
                "sha256-other",
                true,
                "another LUKS volume",
            );
            let made = bedplate_luks::standing(file.path(), UUID, PLAN).unwrap();
            assert!(matches!(made, Standing::Begun(made) if made.sealed), "{length} at {at}");
        }
    }
}
