//! Generations of the embedded platform: a new one from the repository, back to an earlier one, and
//! one that does not come up. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::sync::Arc;
use std::time::Duration;

use bedplate_tests::installed::{self, Installation};
use bedplate_tests::running_host::Host;
use bedplate_tests::seed;
use bedplate_tests::story::{Story, Tell};

/// How long a boot may take that ends in an emergency, half a minute of reading it included.
const LIMIT: Duration = Duration::from_secs(300);
/// How often a generation is tried.
const TRIES: usize = 3;

/// What the machine says of its generations, the latest first: number, runs, boots next, trial.
fn generations(host: &Host) -> Vec<(u64, bool, bool, String)> {
    let text = host.read(&["bedplate-host", "--json", "generation", "list"]).unwrap();
    println!("{}", host.read(&["bedplate-host", "generation", "list"]).unwrap());
    let all: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let one = |one: &serde_json::Value| {
        let flag = |name: &str| one[name].as_bool().unwrap();
        let trial = one["trial"].to_string().replace(['"', '{', '}'], "");
        (one["number"].as_u64().unwrap(), flag("running"), flag("next"), trial)
    };
    all.iter().map(one).collect()
}

/// What the boot menu would start: bootctl is not ours.
fn default_entry(host: &Host) -> String {
    let line = "bootctl --esp-path=/boot --json=short list";
    let text = host.read(&["sh", "-c", line]).unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let default = entries.iter().find(|entry| entry["isDefault"] == true);
    default.map(|entry| entry["version"].as_str().unwrap().to_owned()).unwrap_or_default()
}

fn rebuild(host: &Host, words: &[&str]) -> u64 {
    let argv = [&["bedplate-host", "--json", "rebuild"], words].concat();
    let text = host.read(&argv).unwrap();
    let next: serde_json::Value = serde_json::from_str(&text).unwrap();
    next["generation"].as_u64().unwrap()
}

/// Its boot ends in an emergency.
const EMERGENCY: &str = "$box echo \" systemd.unit=emergency.target\" >> $out/kernel-params";
/// It boots, and its multi-user.target wants what cannot be had.
const NO_TARGET: &str = "for script in init activate; do \
    $box sed -i \"s|${good}|$out|g\" $out/$script; done; \
    units=$out/etc/systemd/system; \
    $box mkdir -p $units/multi-user.target.d; \
    $box printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' > $units/broken.service; \
    $box printf '[Unit]\\nRequires=broken.service\\nAfter=broken.service\\n' \
    > $units/multi-user.target.d/broken.conf";

/// A generation that is whole in all but one thing.
fn broken(host: &Host, how: &str) {
    let line = "set -e; \
        cat > /root/broken.nix <<'NIX'\n\
        let good = builtins.storePath (builtins.readFile /root/good); in derivation {\n\
        name = \"bedplate-system-broken\"; system = \"x86_64-linux\";\n\
        builder = \"${good}/tree/usr/bin/busybox\";\n\
        args = [ \"sh\" \"-c\" ''\n\
        box=${good}/tree/usr/bin/busybox\n\
        $box mkdir $out; $box cp -a ${good}/* $out/; $box chmod -R u+w $out\n\
        HOW\n\
        '' ]; }\n\
        NIX\n\
        printf %s $(readlink -f /nix/var/nix/profiles/system) > /root/good; \
        top=$(nix-build --no-out-link /root/broken.nix); \
        nix-env -p /nix/var/nix/profiles/system --set $top; \
        bedplate-host generation boot $top";
    host.shell(&line.replace("HOW", how)).unwrap();
}

/// The machine starts again by itself, each time after saying why.
fn fails(story: &Story, times: usize) {
    for number in 1..=times {
        let running = story.start(story.disks()).unwrap();
        running.wait_for_text(&["on trial and did not come up"], LIMIT).unwrap();
        let end = running.wait_for_end(LIMIT).unwrap();
        assert_eq!(end.as_deref(), Some("guest-reset"), "try {number}");
        println!("== try {number} of the broken generation has failed");
    }
}

#[test]
fn a_generation_that_does_not_come_up_gives_way_to_the_one_before() {
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let installation = Installation::obtain(&tell).unwrap();
    let directory = tempfile::Builder::new().prefix("bedplate-generations-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let story = installation.lend(directory.path(), tell).unwrap();

    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    assert_eq!(generations(&host), [(1, true, true, "came_up".to_owned())]);
    let none = host.run(&["bedplate-host", "rebuild", "--rollback"]).unwrap();
    assert!(none.status == 1 && none.stderr.contains("no generation before 1"), "{none:?}");
    assert_eq!(rebuild(&host, &[]), 1, "nothing has changed");
    let file = format!("/etc/nixos/nix/hosts/{}/host.toml", seed::HOST);
    host.read(&["sed", "-i", "s|Europe/Brussels|Europe/Lisbon|", &file]).unwrap();
    assert_eq!(rebuild(&host, &[]), 2);
    assert_eq!(default_entry(&host), "2");
    assert_eq!(rebuild(&host, &["--rollback"]), 1);
    assert_eq!(default_entry(&host), "1");
    assert_eq!(rebuild(&host, &["--rollback", "--to", "2"]), 2);
    let both = generations(&host);
    assert_eq!((both[0].2, both[1].2), (true, false), "{both:?}");
    // What runs is no longer what the profile names: a collection leaves it all the same.
    let collection = host.read(&["nix-store", "--gc", "--print-roots"]).unwrap();
    assert!(collection.contains("/run/current-system -> "), "{collection}");
    broken(&host, EMERGENCY);
    assert_eq!(default_entry(&host), "3");
    host.power_off().unwrap();

    fails(&story, TRIES);
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    let now = generations(&host);
    assert_eq!(now[0], (3, false, false, "given_up".to_owned()));
    assert_eq!(now[1], (2, true, true, "came_up".to_owned()));
    assert!(host.read(&["cat", "/etc/bedplate/host.toml"]).unwrap().contains("Europe/Lisbon"));
    // The profile follows, so that nothing builds on what never came up.
    assert_eq!(rebuild(&host, &["--rollback"]), 2);
    assert_eq!(default_entry(&host), "2");
    host.power_off().unwrap();
}

/// Everything else comes up, and there is no emergency. How tries are counted is told above.
#[test]
fn a_generation_that_misses_multi_user_target_has_failed_its_try() {
    let (_directory, _, story) = installed::lent("generations").unwrap();
    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    broken(&host, NO_TARGET);
    host.power_off().unwrap();
    fails(&story, 1);
}
