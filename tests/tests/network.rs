//! A change that cuts the machine off is taken back by itself. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::thread;
use std::time::{Duration, Instant};

use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed::MAC;

/// A NIC that the machine does not have.
const NO_NIC: &str = "52:54:00:0b:ad:00";
/// host.toml with that NIC.
const WRONG: &str = "/root/wrong.toml";
/// The converge of it: no child of a login that is about to be cut off.
const UNIT: &str = "wrong-network.service";
/// A minute of silence, the time that networkd and ssh need, on a slow machine.
const LIMIT: Duration = Duration::from_secs(8 * 60);
/// Exit code of `plan` when something is not as intended and converge does nothing about it.
const STUCK: i32 = 4;

/// What networkd is told, and the address that came of it.
fn network(host: &Host) -> String {
    let line =
        "cd /etc/systemd/network && sha256sum 10-bedplate-* | sort; ip -4 -brief address show br0";
    host.read(&["sh", "-c", line]).unwrap()
}

/// Waits until the converge has ended and somebody outside can ask whether it has.
fn ended(host: &Host) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = host.run(&["systemctl", "show", "--value", "--property=ActiveState", UNIT]);
        match state {
            Ok(state) if ["failed", "inactive"].contains(&state.stdout.trim()) => break,
            _ => assert!(Instant::now() < deadline, "the machine stays away, or converge goes on"),
        }
        thread::sleep(Duration::from_secs(5));
    }
    host.read(&["journalctl", "-b", "-o", "cat", "-u", UNIT]).unwrap()
}

#[test]
fn t36_settings_that_lead_nowhere_are_taken_back_and_not_tried_again() {
    let (_directory, _, story) = installed::lent("network").unwrap();
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    let before = network(&host);

    let line = format!(
        "sed 's/{MAC}/{NO_NIC}/' /etc/bedplate/host.toml > {WRONG} && grep -q {NO_NIC} {WRONG}"
    );
    host.read(&["sh", "-c", &line]).unwrap();
    let converge = ["bedplate-host", "--host-file", WRONG, "converge"];
    let run = ["systemd-run", "--no-block", "--property=RemainAfterExit=no", "--unit", UNIT];
    host.read(&[&run[..], &converge].concat()).unwrap();
    let told = ended(&host);
    println!("{told}");
    assert!(told.contains("the change was taken back, the network is as before"), "{told}");
    assert_eq!(network(&host), before);

    let plan = host.run(&["bedplate-host", "--host-file", WRONG, "plan"]).unwrap();
    assert_eq!(plan.status, STUCK, "{plan:?}");
    assert!(plan.stdout.contains("network try-again"), "{plan:?}");
    let status = host.run(&["bedplate-host", "status"]).unwrap();
    assert_eq!(status.status, 0, "what the machine's own host.toml says stands: {status:?}");
    host.power_off().unwrap();
}
