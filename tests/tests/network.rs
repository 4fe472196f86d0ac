//! A change that cuts the machine off is taken back by itself. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed::MAC;

/// A NIC that the machine does not have.
const NO_NIC: &str = "52:54:00:0b:ad:00";
/// host.toml with that NIC.
const WRONG: &str = "/root/wrong.toml";
/// The converge of it.
const UNIT: &str = "wrong-network.service";
/// Exit code of `plan` when something is not as intended and converge does nothing about it.
const STUCK: i32 = 4;

/// What networkd is told, and the address that came of it.
fn network(host: &Host) -> String {
    let line =
        "cd /etc/systemd/network && sha256sum 10-bedplate-* | sort; ip -4 -brief address show br0";
    host.read(&["sh", "-c", line]).unwrap()
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
    let told = host.converge_apart(WRONG, UNIT).unwrap();
    assert!(told.contains("the change was taken back, the network is as before"), "{told}");
    assert_eq!(network(&host), before);

    let plan = host.run(&["bedplate-host", "--host-file", WRONG, "plan"]).unwrap();
    assert_eq!(plan.status, STUCK, "{plan:?}");
    assert!(plan.stdout.contains("network try-again"), "{plan:?}");
    let status = host.run(&["bedplate-host", "status"]).unwrap();
    assert_eq!(status.status, 0, "what the machine's own host.toml says stands: {status:?}");
    host.power_off().unwrap();
}
