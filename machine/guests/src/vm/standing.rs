//! What is to be done about how a machine stands, by why it stands so.
//!
//! Only what its owner did is left alone: a machine that was shut down or turned off stays off until the
//! next boot. One that crashed, whose memory was saved or that could not be started is no such machine,
//! and one whose disk could not be written waits for room.

use bedplate_libvirt::{Off, Paused, State};
use bedplate_model::host::Vm;

use super::diff::Action;
use super::observe::{DomainFound, FilesFound};

/// How much a pool must have left before a guest that ran out of it goes on: less would be full again at
/// once, in bytes.
const ROOM: u64 = 1 << 30;
/// How what is to be told begins.
const IO_ERROR: &str = "paused by an I/O error";
const CRASHED: &str = "crashed";
const HANGS: &str = "paused by its watchdog";
const STOPPED: &str = "paused after a failure of libvirt or QEMU";
const EMULATED: &str = "runs emulated";
const UNRESUMED: &str = "saved, and not resumed";

/// What is to be done and told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// To do.
    pub actions: Vec<Action>,
    /// For a person to see to.
    pub wants: Vec<String>,
    /// To know.
    pub notes: Vec<String>,
}

/// Whether somebody should come because of what a machine wants.
pub fn is_urgent(want: &str) -> bool {
    let urgent = [IO_ERROR, CRASHED, HANGS, STOPPED, EMULATED, UNRESUMED];
    urgent.iter().any(|start| want.starts_with(start))
}

/// Decides by how the machine is found, none when libvirt has none yet.
pub fn decide(
    name: &str,
    vm: &Vm,
    found: Option<&DomainFound>,
    files: &FilesFound,
    kvm_is_gone: bool,
) -> Decision {
    let mut decision = Decision::default();
    let start = || Action::Start { vm: name.to_owned() };
    let Some(found) = found else {
        decision.actions.extend(vm.autostart.then(start));
        return decision;
    };
    if found.running.is_none() {
        off(name, vm, found, files, &mut decision);
        return decision;
    }
    if !files.started {
        decision.actions.push(Action::Remember { vm: name.to_owned() });
    }
    stopped(name, found.standing, files, &mut decision);
    if kvm_is_gone && found.live.as_ref().is_some_and(|live| live.kind != "kvm") {
        decision.wants.push(format!(
            "{EMULATED}: KVM ran guests on this machine and does not work now, so {name} is many \
             times slower; see that virtualization is on in the firmware's settings (VT-x, AMD-V, SVM) \
             and `journalctl -k --grep kvm`; `bedplate-host converge` looks again"
        ));
    }
    decision
}

/// One that does not run.
fn off(name: &str, vm: &Vm, found: &DomainFound, files: &FilesFound, decision: &mut Decision) {
    let why = match found.standing {
        State::Off(why) => why,
        _ => Off::Unknown,
    };
    if found.unresumed {
        decision.wants.push(unresumed(name, found.managed_save));
    }
    match why {
        Off::Saved if found.unresumed => {}
        Off::Migrated => {
            decision.notes.push(format!("{name} was moved to another machine and runs there"));
        }
        // What is in its memory would be lost for whoever restores that file.
        Off::Saved if !found.managed_save => decision.wants.push(format!(
            "saved into a file: `virsh restore` with that file lets {name} go on; started without \
             it, its disk would no longer be the one that its memory knows (`virsh start {name}`)"
        )),
        Off::Crashed if !vm.autostart => decision.notes.push(format!(
            "{name} crashed; it is not started, because `autostart` is off (`virsh start {name}`)"
        )),
        _ if !vm.autostart => {}
        _ if found.managed_save || brought_down(why) || !files.started && !is_of_its_owner(why) => {
            decision.actions.push(Action::Start { vm: name.to_owned() });
        }
        Off::Unknown => decision.notes.push(format!(
            "{name} is off, and libvirt, which was itself started since, cannot say why; it is left \
             alone until the next boot (`virsh start {name}`)"
        )),
        _ => {}
    }
}

/// A machine whose memory is kept, and that could not go on from it.
fn unresumed(name: &str, is_managed: bool) -> String {
    let why = format!(
        "the end of `{}/{name}.log` and `journalctl -u libvirtd` say why",
        super::memory::LOGS
    );
    if is_managed {
        format!(
            "{UNRESUMED}: {name} could not go on from its memory, which libvirt keeps; {why}, and \
             `virsh start {name}` tries again. `virsh managedsave-remove {name}` throws it away, and \
             {name} then starts as after a power cut"
        )
    } else {
        format!(
            "{UNRESUMED}: {name} could not go on from its memory, which is in a file of yours; it is \
             not started without it. {why}, and `virsh restore` with that file tries again. `virsh start \
             {name}` starts it as after a power cut, and that file is of no use any more"
        )
    }
}

/// Whether it went down without anybody having wanted it.
fn brought_down(why: Off) -> bool {
    match why {
        Off::Crashed | Off::Failed | Off::GivenUp => true,
        Off::Unknown
        | Off::ShutDown
        | Off::Destroyed
        | Off::Migrated
        | Off::Saved
        | Off::FromSnapshot => false,
    }
}

/// Whether somebody wanted it down, since this boot: what was before it libvirt has forgotten.
fn is_of_its_owner(why: Off) -> bool {
    matches!(why, Off::ShutDown | Off::Destroyed | Off::FromSnapshot)
}

/// One that is there and does not run.
fn stopped(name: &str, standing: State, files: &FilesFound, decision: &mut Decision) {
    let want = match standing {
        State::Paused(Paused::IoError) => {
            let mebibytes = files.room.map_or(0, |room| room >> 20);
            if files.room.is_some_and(|room| room >= ROOM) {
                decision.actions.push(Action::Resume { vm: name.to_owned() });
                format!(
                    "{IO_ERROR}: its pool has room now ({mebibytes} MiB), and {name} is resumed; if it \
                     comes again, see `bedplate-host pool status` and `virsh domblkerror {name}`"
                )
            } else {
                format!(
                    "{IO_ERROR}: {name} waits, because its pool has {mebibytes} MiB left; make room \
                     on it, and it is resumed by itself or by `bedplate-host converge`"
                )
            }
        }
        State::Paused(Paused::Watchdog) => {
            format!(
                "{HANGS}: {name} hangs; `bedplate-host vm restart {name} --force` starts it anew"
            )
        }
        State::Paused(Paused::Crashed) | State::Crashed => format!(
            "{CRASHED}: what is left of {name} is kept (`virsh dump {name} FILE`); \
             `bedplate-host vm restart {name} --force` starts it anew"
        ),
        State::Paused(Paused::Failed) => format!(
            "{STOPPED}: `journalctl -u libvirtd` says at what; `virsh resume {name}` lets it go on"
        ),
        State::Paused(Paused::Told | Paused::Busy | Paused::Unknown)
        | State::Running
        | State::Asleep
        | State::Off(_)
        | State::Unknown => return,
    };
    decision.wants.push(want);
}

/// How it stands, in a few words.
pub fn words(found: &DomainFound) -> &'static str {
    match (found.standing, found.running.is_some()) {
        (State::Paused(Paused::IoError), _) => IO_ERROR,
        (State::Paused(Paused::Watchdog), _) => HANGS,
        (State::Paused(Paused::Crashed) | State::Crashed, _) => "crashed, and kept as it is",
        (State::Paused(Paused::Failed), _) => STOPPED,
        (State::Paused(Paused::Told | Paused::Busy | Paused::Unknown), _) => "paused",
        (State::Asleep, _) => "asleep",
        (_, true) => "running",
        _ if found.unresumed => UNRESUMED,
        _ if found.managed_save => "saved",
        (State::Off(Off::Crashed), _) => "off, because it crashed",
        (State::Off(Off::Failed), _) => "off, because it could not be started",
        (State::Off(Off::GivenUp), _) => "off, because libvirt gave it up",
        (State::Off(Off::Saved), _) => "saved into a file",
        (State::Off(Off::Migrated), _) => "moved to another machine",
        _ => "shut off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_sample as sample;

    fn found(standing: State) -> DomainFound {
        let runs = !matches!(standing, State::Off(_));
        let running = runs.then(|| Some("ab".to_owned()));
        DomainFound { standing, running, intent: Some("ab".into()), ..DomainFound::default() }
    }

    fn decided(found: &DomainFound, room: u64) -> Decision {
        let files = FilesFound { started: true, room: Some(room), ..FilesFound::default() };
        decide("haos", &sample::intent().vms["haos"], Some(found), &files, false)
    }

    fn titles(decision: &Decision) -> Vec<String> {
        decision.actions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn t50_only_what_its_owner_shut_off_is_left_alone() {
        for (why, started) in [
            (Off::ShutDown, false),
            (Off::Destroyed, false),
            (Off::FromSnapshot, false),
            (Off::Crashed, true),
            (Off::Failed, true),
            (Off::GivenUp, true),
        ] {
            let decision = decided(&found(State::Off(why)), 0);
            let wanted: &[&str] = if started { &["start haos"] } else { &[] };
            assert_eq!(titles(&decision), wanted, "{why:?}");
            assert!(decision.wants.is_empty() && decision.notes.is_empty(), "{decision:?}");
        }
        // libvirt forgets why when it is itself started; a machine that runs elsewhere is not doubled.
        for why in [Off::Unknown, Off::Migrated] {
            let decision = decided(&found(State::Off(why)), 0);
            assert!(decision.actions.is_empty() && decision.notes.len() == 1, "{decision:?}");
        }
    }

    #[test]
    fn t50_one_that_its_owner_shut_off_before_anybody_looked_is_left_alone_too() {
        // libvirt started it at boot, and converge has not seen it run.
        let files = FilesFound::default();
        let vm = &sample::intent().vms["haos"];
        let starts = |why| {
            let found = found(State::Off(why));
            titles(&decide("haos", vm, Some(&found), &files, false)) == ["start haos"]
        };
        assert!(!starts(Off::ShutDown) && !starts(Off::Destroyed));
        assert!(starts(Off::Unknown) && starts(Off::Failed), "not started yet in this boot");
    }

    #[test]
    fn t50_a_saved_machine_goes_on_from_its_memory_and_not_without_it() {
        let mut saved = found(State::Off(Off::Saved));
        let told = decided(&saved, 0);
        assert!(told.actions.is_empty() && told.wants[0].contains("virsh restore"), "{told:?}");
        // Before it was ever started in this boot, too.
        let files = FilesFound::default();
        let fresh = decide("haos", &sample::intent().vms["haos"], Some(&saved), &files, false);
        assert!(fresh.actions.is_empty() && fresh.wants.len() == 1, "{fresh:?}");
        saved.managed_save = true;
        assert_eq!(titles(&decided(&saved, 0)), ["start haos"]);
        saved.standing = State::Off(Off::Unknown);
        assert_eq!(titles(&decided(&saved, 0)), ["start haos"]);
    }

    #[test]
    fn t50_a_saved_machine_that_could_not_go_on_is_told_and_its_memory_kept() {
        let mut saved = found(State::Off(Off::Saved));
        saved.unresumed = true;
        for files in [FilesFound::default(), FilesFound { started: true, ..FilesFound::default() }]
        {
            let vm = &sample::intent().vms["haos"];
            let told = decide("haos", vm, Some(&saved), &files, false);
            assert!(told.actions.is_empty() && told.wants.len() == 1, "{told:?}");
            assert!(
                is_urgent(&told.wants[0]) && told.wants[0].contains("virsh restore"),
                "{told:?}"
            );
        }
        // From what libvirt keeps it is tried again: a start that fails does not throw it away.
        let mut kept = found(State::Off(Off::Failed));
        (kept.unresumed, kept.managed_save) = (true, true);
        let told = decided(&kept, 0);
        assert_eq!((titles(&told), told.wants.len()), (vec!["start haos".to_owned()], 1));
        assert!(told.wants[0].contains("managedsave-remove"), "{told:?}");
        assert_eq!(words(&kept), UNRESUMED);
    }

    #[test]
    fn t50_a_guest_that_ran_out_of_room_is_told_and_resumed_once_there_is_some() {
        let paused = found(State::Paused(Paused::IoError));
        let full = decided(&paused, 5 << 20);
        assert!(full.actions.is_empty() && full.wants[0].contains("5 MiB left"), "{full:?}");
        assert!(is_urgent(&full.wants[0]) && words(&paused) == IO_ERROR);
        let room = decided(&paused, 2 << 30);
        assert_eq!((titles(&room), room.wants.len()), (vec!["resume haos".to_owned()], 1));
        // Also one that nobody starts by itself.
        let mut vm = sample::intent().vms["haos"].clone();
        vm.autostart = false;
        let files = FilesFound { started: true, room: Some(2 << 30), ..FilesFound::default() };
        assert_eq!(titles(&decide("haos", &vm, Some(&paused), &files, false)), ["resume haos"]);
        // One that somebody paused is not ours to wake.
        let told = decided(&found(State::Paused(Paused::Told)), 2 << 30);
        assert_eq!(told, Decision::default());
    }

    #[test]
    fn t50_a_crash_that_is_kept_and_a_watchdog_are_told() {
        for standing in
            [State::Crashed, State::Paused(Paused::Crashed), State::Paused(Paused::Watchdog)]
        {
            let decision = decided(&found(standing), 0);
            assert!(decision.actions.is_empty() && is_urgent(&decision.wants[0]), "{decision:?}");
            assert!(decision.wants[0].contains("vm restart haos --force"), "{decision:?}");
        }
    }

    #[test]
    fn t50_a_guest_that_runs_emulated_because_kvm_is_gone_is_told() {
        let xml = |kind: &str| format!("<domain type='{kind}'><name>haos</name></domain>");
        let model = |kind: &str| super::super::model::Model::parse(&xml(kind)).ok();
        let mut running = found(State::Running);
        let files = FilesFound { started: true, ..FilesFound::default() };
        let vm = &sample::intent().vms["haos"];
        let mut wants = |kind: &str, gone| {
            running.live = model(kind);
            decide("haos", vm, Some(&running), &files, gone).wants
        };
        assert!(wants("qemu", true)[0].starts_with(EMULATED));
        assert!(wants("qemu", false).is_empty() && wants("kvm", true).is_empty());
    }
}
