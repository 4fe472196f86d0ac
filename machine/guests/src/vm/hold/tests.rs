use std::time::{Duration, Instant};

use bedplate_tools::virsh::Limits;

use std::fs;

use super::super::engine::VirtualMachines;
use super::release::{Step, step};
use super::*;
use crate::hold::{Held, recover};
use bedplate_tools::atomic;

/// Below the runtime directory.
const DIRECTORY: &str = "held";

fn machines(virsh: &Virsh) -> VirtualMachines {
    VirtualMachines { virsh: virsh.clone() }
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
    let recovered = recover(&machines(&nowhere), runtime.path()).unwrap();
    assert_eq!((recovered.free.len(), recovered.left.len()), (0, 2));
    assert!(notes.join("haos").exists() && notes.join("apps").exists());
    assert!(recover(&machines(&nowhere), &runtime.path().join("none")).unwrap().left.is_empty());
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
    let driver = machines(&virsh);
    let held = Held::hold(&driver, place.path(), &["haos".into()]).unwrap();
    assert_eq!(told(), "domfsfreeze domfsthaw suspend ");
    let note = place.path().join(DIRECTORY).join("haos");
    assert_eq!(fs::read_to_string(&note).unwrap(), "paused 3\n");
    held.release().unwrap();
    assert_eq!(told(), "domfsfreeze domfsthaw suspend resume domfsthaw ");
    assert!(!note.exists());

    // Killed between two notes, of a guest without an agent.
    atomic::write(&note, "frozen 3\n", 0o600).unwrap();
    assert_eq!(recover(&machines(&virsh), place.path()).unwrap().left.len(), 1);
    atomic::write(&note, "frozen 2\n", 0o600).unwrap();
    assert_eq!(recover(&machines(&virsh), place.path()).unwrap().free, ["haos"]);
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
    let driver = machines(&virsh);
    let held = Held::hold(&driver, place.path(), &["haos".into()]).unwrap();
    assert_eq!(told(), "domfsfreeze suspend ");
    let note = place.path().join(DIRECTORY).join("haos");
    assert_eq!(fs::read_to_string(&note).unwrap(), "late 3\n");
    // It runs again, and because nobody knows whether it is frozen, it stays noted.
    assert!(matches!(held.release(), Err(HoldError::Late { .. })));
    assert_eq!(told(), "domfsfreeze suspend resume domfsthaw ");
    assert!(note.exists() && began.elapsed() < Duration::from_secs(40));
    let recovered = recover(&machines(&virsh), place.path()).unwrap();
    let left = &recovered.left[0];
    assert!(left.name == "haos" && left.why.to_string().contains("virsh domfsthaw haos"));
    // The next backup of it pauses it again.
    recovered.expect_free(&["haos".into()]).unwrap();
}

/// A `virsh` for guests that all run, with the numbers of their names: the agents of those called
/// `silent-N` never answer, `stuck` cannot be paused, and the rest answer.
fn many(place: &Path) -> Virsh {
    let (program, log) = (place.join("virsh"), place.join("log"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*state-paused*) for p in {0}.*; do echo \"${{p#{0}.}}\"; done;;\n\
         *--name) printf 'silent-1\\nsilent-2\\nsilent-3\\nsilent-4\\nwell\\nstuck\\n';;\n*domid*) echo 3;;\n\
         *domfs*silent*) sleep 60;;\n*domfsfreeze*stuck*) exit 1;;\n*suspend*stuck*) exit 1;;\n\
         *domfs*) echo \"$4 $6\" >>{0};;\n*suspend*) echo \"$4 $6\" >>{0}; : >{0}.\"$6\";;\n\
         *resume*) echo \"$4 $6\" >>{0}; rm {0}.\"$6\";;\nesac\n",
        log.display()
    );
    atomic::write(&program, &script, 0o700).unwrap();
    let (word, agent) = (Duration::from_secs(20), Duration::from_secs(4));
    let virsh = Virsh::new("qemu:///system").with_program(program);
    virsh.with_limits(Limits { word, agent, work: word })
}

#[test]
fn t51_many_agents_that_never_answer_cost_one_limit_and_every_guest_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let virsh = many(place.path());
    let silent: Vec<String> = (1..=4).map(|number| format!("silent-{number}")).collect();
    let names = [&silent[..], &["well".to_owned()]].concat();
    let began = Instant::now();
    let driver = machines(&virsh);
    let held = Held::hold(&driver, place.path(), &names).unwrap();
    let once = began.elapsed();
    assert!(once < Duration::from_secs(12), "four limits are not over: {once:?}");
    let told = || fs::read_to_string(place.path().join("log")).unwrap();
    for name in &silent {
        assert!(told().contains(&format!("suspend {name}\n")), "{}", told());
    }
    assert!(!told().contains("suspend well"), "{}", told());
    held.release().unwrap_err();
    for name in &silent {
        assert!(told().contains(&format!("resume {name}\n")), "{}", told());
    }
    assert!(told().contains("domfsthaw well\n"), "{}", told());
    // They are asked again, all at the same time.
    let again = recover(&machines(&virsh), place.path()).unwrap();
    assert_eq!((again.free.len(), again.left.len()), (0, 4));
    assert!(began.elapsed() < Duration::from_secs(36), "{:?}", began.elapsed());
}

#[test]
fn t51_when_one_guest_cannot_be_held_every_other_is_let_go() {
    let place = tempfile::tempdir().unwrap();
    let virsh = many(place.path());
    let names = ["stuck", "silent-1", "well"].map(str::to_owned);
    assert!(Held::hold(&machines(&virsh), place.path(), &names).is_err());
    let told = fs::read_to_string(place.path().join("log")).unwrap();
    assert!(told.contains("domfsthaw well\n") && told.contains("resume silent-1\n"), "{told}");
    assert!(!place.path().join(DIRECTORY).join("well").exists());
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
        assert_eq!(recover(&machines(&virsh), place.path()).unwrap().free.len(), free, "{text}");
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
    assert!(Held::hold(&machines(&virsh), place.path(), &["haos".into()]).is_err());
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
        recover(&machines(&virsh), place.path()).unwrap().free.len()
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
