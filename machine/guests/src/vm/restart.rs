//! `vm restart`: a guest is asked to shut down, and started with its newest definition.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bedplate_libvirt::{Domain, LibvirtError, Off};
use bedplate_model::host::{HostFile, State};
use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use super::inspect::{self, InspectError};
use super::memory;

/// How often it is looked whether a guest is down.
const INTERVAL: Duration = Duration::from_millis(500);

/// A machine that was not restarted.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// Not declared, or not to be there.
    #[error("host.toml declares no machine `{0}` that is to be there")]
    Unknown(String),
    /// libvirt has none, or one that somebody else made.
    #[error(
        "libvirt has no machine `{0}` of ours; nothing was done. `bedplate-host converge` defines it"
    )]
    NotOurs(String),
    /// Its owner has its memory.
    #[error(
        "the memory of `{0}` is saved in a file of yours, and it was not started without it; `virsh \
         restore` with that file lets it go on, and `virsh start {0}` starts it as after a power cut: \
         that file is of no use then"
    )]
    Saved(String),
    /// The XML that libvirt returned for the machine cannot be read.
    #[error("the definition of the machine could not be read; nothing was done")]
    Definition(#[from] InspectError),
    /// libvirt did not say which domains there are.
    #[error("libvirt could not be looked at; nothing was done")]
    Look(#[from] LibvirtError),
    /// `virsh` could not shut the machine down, turn it off or start it.
    #[error("libvirt could not be told; `virsh list --all` says how the machine stands")]
    Libvirt(#[from] CommandError),
    /// It does not listen.
    #[error("`{vm}` has not shut down within {seconds} s and runs on; `--force` turns it off")]
    Deaf {
        /// Name of the machine that runs on.
        vm: String,
        /// How long was waited.
        seconds: u64,
    },
}

/// What to do about a guest that does not shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Leave it running after so long.
    LeaveAfter(Duration),
    /// Turn it off after so long.
    TurnOffAfter(Duration),
}

impl Patience {
    fn duration(self) -> Duration {
        match self {
            Self::LeaveAfter(duration) | Self::TurnOffAfter(duration) => duration,
        }
    }
}

/// Restarts a machine of ours; one that is off is started.
pub fn restart(
    intent: &HostFile,
    virsh: &Virsh,
    vm: &str,
    patience: Patience,
) -> Result<(), RestartError> {
    if !intent.vms.get(vm).is_some_and(|found| found.state == State::Present) {
        return Err(RestartError::Unknown(vm.to_owned()));
    }
    if runs(&bedplate_libvirt::domains(virsh.uri())?, vm, Path::new(memory::LOGS))? {
        shut_down(virsh, vm, patience)?;
    }
    Ok(virsh.start(vm)?)
}

/// Whether the machine runs; an error when it is not ours, or saved where libvirt does not find it.
fn runs(domains: &[Domain], vm: &str, logs: &Path) -> Result<bool, RestartError> {
    let not_ours = || RestartError::NotOurs(vm.to_owned());
    let found = domains.iter().find(|one| one.name == vm).ok_or_else(not_ours)?;
    let xml = found.persistent.as_deref().ok_or_else(not_ours)?;
    inspect::intent(xml)?.ok_or_else(not_ours)?;
    if memory::off(logs, found) == Some(Off::Saved) && !found.managed_save {
        return Err(RestartError::Saved(vm.to_owned()));
    }
    Ok(found.running)
}

fn shut_down(virsh: &Virsh, vm: &str, patience: Patience) -> Result<(), RestartError> {
    let began = Instant::now();
    match virsh.shutdown(vm) {
        // Its agent does not answer: it is waited for as any other, it may have heard.
        Err(error) if error.is_too_long() => {}
        // It cannot be asked: it crashed, or stands still.
        Err(_) if matches!(patience, Patience::TurnOffAfter(_)) => return Ok(virsh.destroy(vm)?),
        told => told?,
    }
    while virsh.running()?.iter().any(|running| running == vm) {
        if began.elapsed() < patience.duration() {
            sleep(INTERVAL);
            continue;
        }
        return match patience {
            Patience::TurnOffAfter(_) => Ok(virsh.destroy(vm)?),
            Patience::LeaveAfter(waited) => {
                Err(RestartError::Deaf { vm: vm.to_owned(), seconds: waited.as_secs() })
            }
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bedplate_libvirt::State as Standing;
    use bedplate_tools::virsh::Limits;

    use super::*;
    use bedplate_sample as sample;

    const AT_ONCE: Patience = Patience::TurnOffAfter(Duration::ZERO);

    #[test]
    fn only_what_is_declared_and_to_be_there_is_restarted() {
        let mut intent = sample::intent();
        let nowhere = Virsh::new("test:///nowhere");
        let told = |intent: &HostFile, vm: &str| restart(intent, &nowhere, vm, AT_ONCE);
        assert!(matches!(told(&intent, "other"), Err(RestartError::Unknown(_))));
        intent.vms.get_mut("haos").unwrap().state = State::Absent;
        assert!(matches!(told(&intent, "haos"), Err(RestartError::Unknown(_))));
    }

    #[test]
    fn a_domain_without_our_tag_is_left_alone() {
        let domain = |name: &str, metadata: &str| Domain {
            name: name.into(),
            running: true,
            persistent: Some(format!("<domain><metadata>{metadata}</metadata></domain>")),
            ..Domain::default()
        };
        let ours = "<b:vm xmlns:b=\"urn:bedplate:vm:1\" intent=\"ab\"/>";
        let mut gone = domain("gone", ours);
        gone.persistent = None;
        let state = Standing::Off(Off::Saved);
        let saved = Domain { running: false, state, ..domain("saved", ours) };
        let kept = Domain { managed_save: true, name: "kept".into(), ..saved.clone() };
        let all = [domain("haos", ours), domain("test", "<other/>"), gone, saved, kept];
        let runs = |all: &[Domain], vm: &str| runs(all, vm, Path::new("/no/logs"));
        assert!(matches!(runs(&all, "haos"), Ok(true)));
        assert!(matches!(runs(&all, "kept"), Ok(false)));
        assert!(matches!(runs(&all, "saved"), Err(RestartError::Saved(_))));
        for name in ["test", "gone", "not-there"] {
            let told = runs(&all, name);
            assert!(matches!(&told, Err(RestartError::NotOurs(of)) if of == name), "{told:?}");
        }
    }

    /// A `virsh` that notes what it is told, for which `haos` runs until it is turned off, and that does
    /// `then` when it is to shut it down.
    fn deaf(place: &Path, then: &str) -> Virsh {
        let (program, log) = (place.join("virsh"), place.join("log"));
        let script = format!(
            "#!/bin/sh\necho \"$4\" >>{0}\ncase \"$*\" in\n*--name) [ -e {0}.off ] || echo haos;;\n\
             *shutdown*) {then};;\n*destroy*) : >{0}.off;;\nesac\n",
            log.display()
        );
        bedplate_tools::atomic::write(&program, &script, 0o700).unwrap();
        let (word, agent) = (Duration::from_secs(20), Duration::from_millis(300));
        let limits = Limits { word, agent, work: word };
        Virsh::new("qemu:///system").with_program(program).with_limits(limits)
    }

    #[test]
    fn t51_a_guest_that_cannot_be_asked_or_never_answers_is_turned_off_when_it_was_said_so() {
        for then in ["sleep 60", "exit 1", "exit 0"] {
            let place = tempfile::tempdir().unwrap();
            let virsh = deaf(place.path(), then);
            let began = Instant::now();
            let left = Patience::LeaveAfter(Duration::ZERO);
            shut_down(&virsh, "haos", left).unwrap_err();
            assert!(!place.path().join("log.off").exists(), "{then}: it runs on");
            shut_down(&virsh, "haos", AT_ONCE).unwrap();
            assert!(place.path().join("log.off").exists(), "{then}");
            assert!(began.elapsed() < Duration::from_secs(40), "{then}");
        }
    }
}
