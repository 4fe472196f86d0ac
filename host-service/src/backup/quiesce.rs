//! Virtual machines whose disks are in a snapshot: held while it is taken.
//!
//! The guest's agent flushes and holds the guest's file systems. A guest without one is paused:
//! what it has written is flushed, and a restored disk is as after a power cut. What is held is noted
//! first, so that a machine is let go even if this process is not there to do it.
//!
//! Nothing here waits for ever: every call of libvirt has its limit. A guest whose agent does not answer
//! in time is paused in its place, and because the agent may hear of the freeze later, it counts as held
//! until the agent has said that it is not.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bedplate_libvirt::LibvirtError;
use bedplate_model::host::{HostFile, State};
use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use crate::atomic::{self, WriteError};
use crate::vm::inspect::{self, InspectError};

/// Under the runtime directory: a file for each machine that is held.
const DIRECTORY: &str = "held";
/// Under the runtime directory.
const LOCK: &str = "held.lock";

/// A machine that could not be held or let go.
#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    /// Reading.
    #[error("libvirt could not be looked at")]
    Look(#[from] LibvirtError),
    /// virsh.
    #[error("libvirt could not be asked or told")]
    Libvirt(#[from] CommandError),
    /// XML.
    #[error("a domain could not be understood")]
    Inspect(#[from] InspectError),
    /// A note.
    #[error("could not note that a machine is held")]
    Note(#[from] WriteError),
    /// A backup that was cut off left it so.
    #[error(
        "the machine `{name}` was frozen or paused by a backup that was cut off and cannot be let go; \
         see that its agent answers (`virsh domfsthaw {name}`), or start it anew: \
         `bedplate-host vm restart {name} --force`"
    )]
    StillHeld {
        /// Its name.
        name: String,
        /// Why it cannot be let go.
        #[source]
        source: Box<QuiesceError>,
    },
    /// The agent does not answer.
    #[error(
        "the agent of `{name}` did not answer in time when it was asked to hold the guest, and may \
         hear it still; the guest was paused instead and runs again, and `virsh domfsthaw {name}` lets \
         it go should it stand still"
    )]
    Late {
        /// Its name.
        name: String,
        /// What it said when it was asked to let go.
        #[source]
        source: CommandError,
    },
    /// A note.
    #[error("could not read or remove {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The machines of host.toml with files in or around `paths`.
pub fn affected(intent: &HostFile, paths: &[PathBuf]) -> Vec<String> {
    let mut names = Vec::new();
    for (name, vm) in &intent.vms {
        let Some(pool) = intent.pools.get(&vm.pool) else { continue };
        let directory = Path::new(&pool.mount).join(name);
        let inside = |path: &PathBuf| directory.starts_with(path) || path.starts_with(&directory);
        if vm.state == State::Present && paths.iter().any(inside) {
            names.push(name.clone());
        }
    }
    names
}

/// Those of `names` that run and carry our tag. Without names libvirt is not asked: a backup of plain
/// files does not need it.
pub fn running(virsh: &Virsh, names: Vec<String>) -> Result<Vec<String>, QuiesceError> {
    if names.is_empty() {
        return Ok(names);
    }
    // One that somebody paused is not ours to wake.
    let paused = virsh.paused()?;
    let mut ours = Vec::new();
    for one in bedplate_libvirt::domains(virsh.uri())? {
        if names.contains(&one.name)
            && !paused.contains(&one.name)
            && let Some(xml) = one.live
            && inspect::intent(&xml)?.is_some()
        {
            ours.push(one.name);
        }
    }
    Ok(ours)
}

/// What is noted of a machine: `frozen 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    how: How,
    /// libvirt's number of it; none in a note of an earlier version.
    id: Option<u32>,
}

/// How a machine is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// By its agent.
    Frozen,
    /// By libvirt.
    Paused,
    /// By libvirt, and perhaps by its agent, which did not answer in time.
    Late,
    /// By libvirt, now or later: it did not answer in time.
    Pausing,
}

impl How {
    const ALL: [Self; 4] = [Self::Frozen, Self::Paused, Self::Late, Self::Pausing];

    fn word(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Paused => "paused",
            Self::Late => "late",
            Self::Pausing => "pausing",
        }
    }
}

impl Note {
    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let how = How::ALL.into_iter().find(|how| words.clone().next() == Some(how.word()));
        let how = how.unwrap_or(How::Frozen);
        words.next();
        Self { how, id: words.next().and_then(|id| id.parse().ok()) }
    }

    fn write(self, path: &Path) -> Result<(), WriteError> {
        let how = self.how.word();
        let id = self.id.map(|id| format!(" {id}")).unwrap_or_default();
        atomic::write(path, &format!("{how}{id}\n"), 0o600)
    }
}

/// Machines that are held until [`Held::release`], or until it is dropped.
#[derive(Debug)]
pub struct Held<'a> {
    virsh: &'a Virsh,
    notes: PathBuf,
    names: Vec<String>,
}

impl<'a> Held<'a> {
    /// Holds the machines. When one cannot be held none is.
    pub fn hold(virsh: &'a Virsh, runtime: &Path, names: &[String]) -> Result<Self, QuiesceError> {
        let mut held = Self { virsh, notes: runtime.join(DIRECTORY), names: Vec::new() };
        for name in names {
            let note = held.notes.join(name);
            let id = virsh.id(name)?;
            Note { how: How::Frozen, id }.write(&note)?;
            held.names.push(name.clone());
            if let Err(why) = virsh.freeze(name) {
                // Before anything else: whatever happens now, somebody lets it go.
                let how = if is_late(&why) { How::Late } else { How::Paused };
                Note { how, id }.write(&note)?;
                // It may have been heard all the same, and come late.
                let _ = virsh.thaw(name);
                pause(virsh, name, &note, id)?;
            }
        }
        Ok(held)
    }

    /// Lets all go; the first failure is told after all were tried.
    pub fn release(mut self) -> Result<(), QuiesceError> {
        self.let_go()
    }

    fn let_go(&mut self) -> Result<(), QuiesceError> {
        let results: Vec<_> =
            self.names.drain(..).map(|name| let_go(self.virsh, &self.notes, &name)).collect();
        results.into_iter().collect()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // What fails here stays noted, and is tried again by `recover`.
        let _ = self.let_go();
    }
}

/// Pauses a machine. One that libvirt has not paused in time may be paused later, when nobody thinks of
/// it any more.
fn pause(virsh: &Virsh, name: &str, note: &Path, id: Option<u32>) -> Result<(), QuiesceError> {
    let Err(why) = virsh.suspend(name) else { return Ok(()) };
    if why.is_too_long() {
        Note { how: How::Pausing, id }.write(note)?;
    }
    Err(why.into())
}

/// Whether an agent that was asked may still hear it: one that is there and has not answered. A guest
/// without one says so at once.
fn is_late(why: &CommandError) -> bool {
    // `VIR_ERR_AGENT_UNRESPONSIVE` ("Guest agent is not responding") and `VIR_ERR_AGENT_COMMAND_TIMEOUT`
    // of libvirt's `virerror.c`; a guest whose agent is not running has the first with this reason.
    let text = why.to_string();
    let is_absent = text.contains("not connected") || text.contains("not configured");
    why.is_too_long() || !is_absent && text.to_lowercase().contains("guest agent")
}

/// Two backups must not hold and let go the same machine: released when it is dropped.
pub fn lock(runtime: &Path) -> Result<File, QuiesceError> {
    let file = lock_file(runtime)?;
    let failed = |source| QuiesceError::File { path: runtime.join(LOCK), source };
    file.lock().map_err(failed)?;
    Ok(file)
}

fn lock_file(runtime: &Path) -> Result<File, QuiesceError> {
    let failed = |source| QuiesceError::File { path: runtime.join(LOCK), source };
    fs::create_dir_all(runtime).and_then(|()| File::create(runtime.join(LOCK))).map_err(failed)
}

/// What became of the machines that an earlier run held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Held no longer.
    pub free: Vec<String>,
    /// Held still, and tried again the next time.
    pub left: Vec<(String, QuiesceError)>,
}

impl Recovered {
    /// A machine of `names` that is held still cannot be held anew; those of others are no obstacle.
    pub fn expect_free(self, names: &[String]) -> Result<(), QuiesceError> {
        // One whose agent is silent runs: it is paused again, and it was told.
        let is_late = |why: &QuiesceError| matches!(why, QuiesceError::Late { .. });
        let needed =
            self.left.into_iter().find(|(name, why)| names.contains(name) && !is_late(why));
        needed.map_or(Ok(()), |(name, source)| {
            Err(QuiesceError::StillHeld { name, source: Box::new(source) })
        })
    }
}

/// As [`recover`]; none when machines are held just now for a backup that runs.
pub fn recover_if_idle(virsh: &Virsh, runtime: &Path) -> Result<Option<Recovered>, QuiesceError> {
    let file = lock_file(runtime)?;
    match file.try_lock() {
        Ok(()) => recover(virsh, runtime).map(Some),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => {
            Err(QuiesceError::File { path: runtime.join(LOCK), source })
        }
    }
}

/// Lets go what an earlier run held and did not let go. One that cannot be let go does not keep the
/// others.
pub fn recover(virsh: &Virsh, runtime: &Path) -> Result<Recovered, QuiesceError> {
    let notes = runtime.join(DIRECTORY);
    let entries = match fs::read_dir(&notes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recovered::default()),
        entries => entries.map_err(|source| QuiesceError::File { path: notes.clone(), source })?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut recovered = Recovered::default();
    for name in names.filter(|name| !name.starts_with('.')) {
        match let_go(virsh, &notes, &name) {
            Ok(()) => recovered.free.push(name),
            Err(why) => recovered.left.push((name, why)),
        }
    }
    Ok(recovered)
}

/// What it takes to let a machine go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing.
    Forget,
    /// Its agent.
    Thaw,
    /// libvirt.
    Resume,
    /// libvirt, and then its agent, which must answer.
    ResumeAndThaw,
    /// libvirt, whether or not it is paused now: it does one thing after the other.
    ResumeLate,
}

/// Decides by its note and its number now, none when it does not run: a machine that has gone, or
/// was started anew, is held no longer.
fn step(note: Note, now: Option<u32>) -> Step {
    match (now, note.id) {
        (None, _) => Step::Forget,
        (Some(now), Some(then)) if now != then => Step::Forget,
        _ => match note.how {
            How::Frozen => Step::Thaw,
            How::Paused => Step::Resume,
            How::Late => Step::ResumeAndThaw,
            How::Pausing => Step::ResumeLate,
        },
    }
}

/// What libvirt says of a machine that has no channel for an agent (`qemuDomainAgentAvailable`).
fn was_never_frozen(why: &CommandError) -> bool {
    why.to_string().contains("agent is not configured")
}

/// What libvirt says of a machine that is to be resumed and runs (`qemuDomainResume`).
fn is_running(why: &CommandError) -> bool {
    why.to_string().contains("already running")
}

fn let_go(virsh: &Virsh, notes: &Path, name: &str) -> Result<(), QuiesceError> {
    let path = notes.join(name);
    let failed = |source| QuiesceError::File { path: path.clone(), source };
    let note = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => Note::parse(&note.map_err(failed)?),
    };
    let is_in = |names: Vec<String>| names.iter().any(|one| one == name);
    let is_paused = is_in(virsh.paused()?);
    let now = if is_paused || is_in(virsh.running()?) { virsh.id(name)? } else { None };
    let step = step(note, now);
    match step {
        Step::Forget => {}
        Step::Thaw => {
            let thawed = virsh.thaw(name);
            thawed.or_else(|why| if was_never_frozen(&why) { Ok(()) } else { Err(why) })?;
        }
        Step::ResumeLate => {
            let resumed = virsh.resume(name);
            resumed.or_else(|why| if is_running(&why) { Ok(()) } else { Err(why) })?;
            // As below.
            let _ = virsh.thaw(name);
        }
        Step::Resume | Step::ResumeAndThaw => {
            // Suspending may have failed before anything was paused.
            if is_paused {
                virsh.resume(name)?;
            }
            // Its agent may have been told to freeze and hears of it only now. Most have none.
            let thawed = virsh.thaw(name);
            if step == Step::ResumeAndThaw
                && let Err(source) = thawed
            {
                return Err(QuiesceError::Late { name: name.to_owned(), source });
            }
        }
    }
    fs::remove_file(&path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bedplate_tools::virsh::Limits;

    use super::*;
    use crate::sample;

    #[test]
    fn only_machines_with_files_in_the_snapshot_are_held() {
        let mut intent = sample::intent();
        let of = |path: &str| affected(&intent, &[path.into()]);
        assert_eq!(of("/mnt/vmstore"), ["haos"]);
        assert_eq!(of("/mnt/vmstore/haos"), ["haos"]);
        assert_eq!(of("/mnt/vmstore/haos/nvram"), ["haos"]);
        assert!(of("/mnt/vmstore/haos2").is_empty());
        assert!(of("/mnt/bulk").is_empty());
        intent.vms.get_mut("haos").unwrap().state = State::Absent;
        assert!(affected(&intent, &["/mnt/vmstore".into()]).is_empty());
    }

    #[test]
    fn a_backup_of_plain_files_does_without_libvirt() {
        let nowhere = Virsh::new("test:///no/such/file");
        assert!(running(&nowhere, Vec::new()).unwrap().is_empty());
        assert!(running(&nowhere, vec!["haos".into()]).is_err());
    }

    #[test]
    fn f10_what_a_run_that_was_cut_off_held_is_let_go() {
        let runtime = tempfile::tempdir().unwrap();
        let notes = runtime.path().join(DIRECTORY);
        for name in ["haos", "apps"] {
            atomic::write(&notes.join(name), "frozen 3\n", 0o600).unwrap();
        }
        // No libvirt answers: the notes stay, to be tried again, and each was tried.
        let nowhere = Virsh::new("test:///no/such/file");
        let recovered = recover(&nowhere, runtime.path()).unwrap();
        assert_eq!((recovered.free.len(), recovered.left.len()), (0, 2));
        assert!(notes.join("haos").exists() && notes.join("apps").exists());
        assert!(recover(&nowhere, &runtime.path().join("none")).unwrap().left.is_empty());
    }

    #[test]
    fn a_machine_that_cannot_be_let_go_stops_the_backups_of_its_own_disks_alone() {
        let left = || {
            let error = QuiesceError::File { path: "/x".into(), source: io::Error::other("no") };
            Recovered { free: vec!["apps".into()], left: vec![("haos".into(), error)] }
        };
        left().expect_free(&[]).unwrap();
        left().expect_free(&["apps".into()]).unwrap();
        let error = left().expect_free(&["apps".into(), "haos".into()]).unwrap_err();
        assert!(error.to_string().contains("vm restart haos"), "{error}");
    }

    #[test]
    fn a_machine_that_is_gone_or_was_started_anew_is_held_no_longer() {
        let note = |text: &str| Note::parse(text);
        assert_eq!(step(note("frozen 3\n"), None), Step::Forget);
        assert_eq!(step(note("frozen 3\n"), Some(4)), Step::Forget);
        assert_eq!(step(note("paused 3\n"), Some(4)), Step::Forget);
        assert_eq!(step(note("frozen 3\n"), Some(3)), Step::Thaw);
        assert_eq!(step(note("paused 3\n"), Some(3)), Step::Resume);
        // Of an earlier version: nobody knows.
        assert_eq!(step(note("frozen\n"), Some(3)), Step::Thaw);
        assert_eq!(step(note("paused\n"), Some(3)), Step::Resume);
        assert_eq!(step(note("late 3\n"), Some(3)), Step::ResumeAndThaw);
        assert_eq!(step(note("late 3\n"), Some(4)), Step::Forget);
    }

    /// A `virsh` that notes what it is told, knows the machine `haos` by the number 3, and whose guest
    /// has no agent.
    fn without_agent(place: &Path) -> Virsh {
        let (program, log) = (place.join("virsh"), place.join("log"));
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n\
             *state-paused*) if [ -e {0}.paused ]; then echo haos; fi;;\n\
             *--name) echo haos;;\n*domid*) echo 3;;\n\
             *domfs*) echo \"$4\" >>{0}; exit 1;;\n\
             *suspend*) echo \"$4\" >>{0}; : >{0}.paused;;\n\
             *resume*) echo \"$4\" >>{0}; rm {0}.paused;;\nesac\n",
            log.display()
        );
        atomic::write(&program, &script, 0o700).unwrap();
        Virsh::new("qemu:///system").with_program(program)
    }

    #[test]
    fn a_freeze_that_comes_late_is_undone() {
        let place = tempfile::tempdir().unwrap();
        let virsh = without_agent(place.path());
        let told = || fs::read_to_string(place.path().join("log")).unwrap().replace('\n', " ");
        let held = Held::hold(&virsh, place.path(), &["haos".into()]).unwrap();
        assert_eq!(told(), "domfsfreeze domfsthaw suspend ");
        let note = place.path().join(DIRECTORY).join("haos");
        assert_eq!(fs::read_to_string(&note).unwrap(), "paused 3\n");
        held.release().unwrap();
        assert_eq!(told(), "domfsfreeze domfsthaw suspend resume domfsthaw ");
        assert!(!note.exists());

        // Killed between two notes, of a guest without an agent.
        atomic::write(&note, "frozen 3\n", 0o600).unwrap();
        assert_eq!(recover(&virsh, place.path()).unwrap().left.len(), 1);
        atomic::write(&note, "frozen 2\n", 0o600).unwrap();
        assert_eq!(recover(&virsh, place.path()).unwrap().free, ["haos"]);
        assert!(!note.exists());
    }

    /// The same with an agent that answers to nothing: its calls hang.
    fn with_silent_agent(place: &Path) -> Virsh {
        let virsh = without_agent(place);
        let script = fs::read_to_string(place.join("virsh")).unwrap();
        let hanging = script.replace("exit 1;;", "sleep 60;;");
        assert_ne!(hanging, script);
        atomic::write(&place.join("virsh"), &hanging, 0o700).unwrap();
        let (word, agent) = (Duration::from_secs(20), Duration::from_millis(300));
        virsh.with_limits(Limits { word, agent, work: word })
    }

    #[test]
    fn t51_a_guest_whose_agent_never_answers_is_paused_and_goes_on_and_is_told() {
        let place = tempfile::tempdir().unwrap();
        let virsh = with_silent_agent(place.path());
        let told = || fs::read_to_string(place.path().join("log")).unwrap().replace('\n', " ");
        let began = Instant::now();
        let held = Held::hold(&virsh, place.path(), &["haos".into()]).unwrap();
        assert_eq!(told(), "domfsfreeze domfsthaw suspend ");
        let note = place.path().join(DIRECTORY).join("haos");
        assert_eq!(fs::read_to_string(&note).unwrap(), "late 3\n");
        // It runs again, and because nobody knows whether it is frozen, it stays noted.
        assert!(matches!(held.release(), Err(QuiesceError::Late { .. })));
        assert_eq!(told(), "domfsfreeze domfsthaw suspend resume domfsthaw ");
        assert!(note.exists() && began.elapsed() < Duration::from_secs(40));
        let recovered = recover(&virsh, place.path()).unwrap();
        let (name, why) = &recovered.left[0];
        assert!(name == "haos" && why.to_string().contains("virsh domfsthaw haos"), "{why}");
        // The next backup of it pauses it again.
        recovered.expect_free(&["haos".into()]).unwrap();
    }

    #[test]
    fn f10_a_guest_that_can_have_no_agent_is_not_taken_for_frozen() {
        let place = tempfile::tempdir().unwrap();
        let virsh = without_agent(place.path());
        let script = fs::read_to_string(place.path().join("virsh")).unwrap();
        let note = place.path().join(DIRECTORY).join("haos");
        for (text, free) in [
            ("error: argument unsupported: QEMU guest agent is not configured", 1),
            ("error: Guest agent is not responding: QEMU guest agent is not connected", 0),
        ] {
            let says = script.replace("exit 1;;", &format!("echo '{text}' >&2; exit 1;;"));
            atomic::write(&place.path().join("virsh"), &says, 0o700).unwrap();
            // Killed before it had noted that there is none.
            atomic::write(&note, "frozen 3\n", 0o600).unwrap();
            assert_eq!(recover(&virsh, place.path()).unwrap().free.len(), free, "{text}");
        }
    }

    #[test]
    fn t51_a_guest_that_libvirt_pauses_too_late_does_not_stay_paused() {
        let place = tempfile::tempdir().unwrap();
        let virsh = without_agent(place.path());
        let script = fs::read_to_string(place.path().join("virsh")).unwrap();
        let paused = place.path().join("log.paused");
        let pauses = format!(": >{}", paused.display());
        // It is heard, and done when its caller has given up; what is told next waits for that.
        let late = format!("setsid sh -c 'sleep 3; {pauses}' & sleep 60");
        let resumes = format!("while [ ! -e {0} ]; do sleep 0.1; done; rm {0};;", paused.display());
        let hanging = script.replace(&pauses, &late);
        let hanging = hanging.replace(&format!("rm {};;", paused.display()), &resumes);
        assert!(hanging.contains(&late) && hanging.contains(&resumes), "{hanging}");
        atomic::write(&place.path().join("virsh"), &hanging, 0o700).unwrap();
        let (word, agent) = (Duration::from_secs(2), Duration::from_secs(20));
        let virsh = virsh.with_limits(Limits { word, agent, work: agent });
        Held::hold(&virsh, place.path(), &["haos".into()]).unwrap_err();
        std::thread::sleep(Duration::from_secs(2));
        assert!(!paused.exists(), "it stands still");
        assert!(!place.path().join(DIRECTORY).join("haos").exists());
        // One that is not paused is told from one that cannot be resumed.
        let said = |text: &str| {
            let script = script.replace(
                &format!("rm {};;", paused.display()),
                &format!("echo '{text}' >&2; exit 1;;"),
            );
            atomic::write(&place.path().join("virsh"), &script, 0o700).unwrap();
            let note = place.path().join(DIRECTORY).join("haos");
            atomic::write(&note, "pausing 3\n", 0o600).unwrap();
            recover(&virsh, place.path()).unwrap().free.len()
        };
        assert_eq!(said("error: Requested operation is not valid: domain is already running"), 1);
        assert_eq!(said("error: Timed out during operation: cannot acquire state change lock"), 0);
    }

    #[test]
    fn t51_an_agent_that_is_late_is_told_from_none() {
        use std::os::unix::process::ExitStatusExt as _;
        let failed = |stderr: &str| CommandError::Failed {
            line: "virsh".into(),
            status: std::process::ExitStatus::from_raw(256),
            stderr: stderr.into(),
        };
        let late = "error: Guest agent is not responding: Guest agent not available for now";
        assert!(is_late(&failed(late)));
        assert!(is_late(&failed("error: guest agent command timed out: x")));
        let limit = Duration::from_secs(1);
        assert!(is_late(&CommandError::TooLong { line: "virsh".into(), limit }));
        for none in [
            "error: Guest agent is not responding: QEMU guest agent is not connected",
            "error: argument unsupported: QEMU guest agent is not configured",
            "error: failed to get domain",
        ] {
            assert!(!is_late(&failed(none)), "{none}");
        }
    }
}
