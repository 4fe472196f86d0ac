//! A VM inside the machine under test, watched from there while it is waited for.

use std::time::{Duration, Instant};

use bedplate_qemu_harness::pace::Pace;
use bedplate_qemu_harness::ssh::Ssh;

/// How often the machine is asked about its VM: each time takes it a second of its own.
const PAUSE: Duration = Duration::from_secs(30);
/// What is counted, as `virsh domstats` names it: requests of disks, packets that it sends.
/// What it receives is not: others speak on its bridge.
const COUNTED: [&str; 4] = [".rd.reqs", ".wr.reqs", ".fl.reqs", ".tx.pkts"];

/// A VM of the machine behind an ssh login.
pub(crate) struct InnerGuest<'a> {
    ssh: &'a Ssh,
    name: &'a str,
    asked: Option<Instant>,
    counted: u64,
    console: String,
}

impl<'a> InnerGuest<'a> {
    /// Begins to listen to its serial console.
    pub fn new(ssh: &'a Ssh, name: &'a str) -> Self {
        let guest = Self { ssh, name, asked: None, counted: 0, console: String::new() };
        let line = "exec cat \"$(virsh ttyconsole \"$1\" | tr -d '\\n')\" > \"$2\"";
        let run =
            ["systemd-run", "--quiet", "--collect", "--unit", &guest.unit(), "sh", "-c", line];
        // A VM that does not run has no console; its state says so.
        ssh.run(&[&run[..], &["sh", name, &guest.heard()]].concat()).ok();
        guest
    }

    fn unit(&self) -> String {
        format!("heard-{}", self.name)
    }

    fn heard(&self) -> String {
        format!("/run/{}", self.unit())
    }

    /// A number that grows while the VM gets on; asked for no more often than [`PAUSE`] says.
    pub fn progress(&mut self) -> u64 {
        let pause = Pace::known().scale(PAUSE);
        if self.asked.is_none_or(|asked| asked.elapsed() >= pause) {
            self.ask();
        }
        self.counted + self.console.len() as u64
    }

    fn ask(&mut self) {
        let stats = ["virsh", "domstats", "--block", "--interface", self.name];
        // A machine that does not answer has no number; whoever waits asks again.
        if let Ok(answer) = self.ssh.run(&stats) {
            self.counted = counted(&answer.stdout);
        }
        if let Ok(answer) = self.ssh.run(&["cat", &self.heard()]) {
            self.console = answer.stdout;
        }
        self.asked = Some(Instant::now());
    }

    /// What it is doing, for whoever waited for it in vain.
    pub fn describe(&mut self) -> String {
        let before = self.counted;
        self.ask();
        let state = self.ssh.run(&["virsh", "domstate", "--reason", self.name]);
        let state = state.map_or_else(|error| error.to_string(), |answer| answer.stdout);
        let line = self.console.lines().rfind(|line| !line.trim().is_empty());
        format!(
            "the VM {}: {}, {} requests of its disks and packets, {}; the last of its console: {}",
            self.name,
            state.trim(),
            self.counted,
            if self.counted != before { "it gets on" } else { "none of them new" },
            line.unwrap_or("nothing").trim()
        )
    }
}

impl Drop for InnerGuest<'_> {
    fn drop(&mut self) {
        // It ends with its VM at the latest.
        self.ssh.run(&["systemctl", "stop", &self.unit()]).ok();
    }
}

/// What `virsh domstats` counts, lines such as `  block.0.rd.reqs=812`, in one number.
fn counted(stats: &str) -> u64 {
    let values = stats.lines().filter_map(|line| line.trim().split_once('='));
    let ours = values.filter(|(key, _)| COUNTED.iter().any(|end| key.ends_with(end)));
    ours.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn requests_and_packets_are_counted_and_times_are_not() {
        let stats = "Domain: 'guest'\n  block.count=1\n  block.0.rd.reqs=12\n  block.0.rd.times=99\n  \
                     block.0.wr.reqs=3\n  net.0.tx.pkts=4\n";
        assert_eq!(counted(stats), 19);
        assert_eq!(counted("error: failed to get domain"), 0);
    }
}
