//! The installed machine: it boots without the medium, hands off, and is asked what it is.

use std::time::{Duration, Instant};

use bedplate_qemu_harness::disk_image::sha256_of;
use bedplate_qemu_harness::http::Request;
use bedplate_qemu_harness::machine::{Disk, Machine};
use bedplate_qemu_harness::pace::{self, Pace};
use bedplate_qemu_harness::running::Running;
use bedplate_qemu_harness::ssh::{Answer, Ssh};

use crate::answers::{self, GUEST};
use crate::claims::{Verdict, judge_all};
use crate::evidence::{Evidence, LATE};
use crate::failure::{Failure, file};
use crate::inner_guest::InnerGuest;
use crate::phase::Phase;
use crate::probes::{self, CONVERGE, Probe, moment};
use crate::seed::{self, CANARY, HOST};
use crate::story::{Installed, Story};
use crate::table;

/// Memory of the machine when it runs a VM.
const MEMORY_MIB: u32 = 3072;
/// How long the machine may take until it lets us in.
const LOGIN_LIMIT: Duration = Duration::from_secs(6 * 60);
/// How long the VM may take until it reports, and until it has written over NFS.
const GUEST_LIMIT: Duration = Duration::from_secs(8 * 60);
/// How long a converge may cut the login off: a minute of silence, and the time that networkd and ssh
/// need on a slow machine.
const CONVERGE_LIMIT: Duration = Duration::from_secs(8 * 60);
/// How long systemd may take until it has nothing left to start.
const SETTLED_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long a power-off may take.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(150);

/// An installed machine that lets us in.
pub struct Host {
    /// The machine; it is killed when dropped.
    pub running: Running,
    /// root's login.
    pub ssh: Ssh,
}

impl Host {
    /// Runs argv on the machine, whatever its status.
    pub fn run(&self, argv: &[&str]) -> Result<Answer, Failure> {
        Ok(self.ssh.run(argv)?)
    }

    /// Runs argv on the machine and returns what it wrote; any status but 0 is a failure.
    pub fn read(&self, argv: &[&str]) -> Result<String, Failure> {
        let answer = self.ssh.run(argv)?;
        if answer.status == 0 {
            return Ok(answer.stdout);
        }
        let (status, errors) = (answer.status, answer.stderr);
        Err(Failure::Unfit(format!("`{}` ended with {status}: {errors}", argv.join(" "))))
    }

    /// As [`Host::read`], of what tells nanoseconds and nothing else.
    pub fn read_time(&self, argv: &[&str]) -> Result<Duration, Failure> {
        let told = self.read(argv)?;
        let unfit = |error| Failure::Unfit(format!("no time but {told:?}: {error}"));
        told.trim().parse().map(Duration::from_nanos).map_err(unfit)
    }

    /// What a line of a shell wrote on the machine; any status but 0 is a failure.
    pub fn shell(&self, line: &str) -> Result<String, Failure> {
        self.read(&["sh", "-c", line])
    }

    /// Writes a file on the machine.
    pub fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        self.read(&["sh", "-c", "printf %s \"$2\" > \"$1\"", "sh", path, text]).map(drop)
    }

    /// Runs `bedplate-host` for the document in this file, prints what it says and returns it; any
    /// status but 0 is a failure.
    pub fn bedplate(&self, document: &str, arguments: &[&str]) -> Result<String, Failure> {
        let said = self.read(&[&["bedplate-host", "--host-file", document], arguments].concat())?;
        println!("{arguments:?}: {said}");
        Ok(said)
    }

    /// Has `bedplate-host converge` run for this document in a unit of its own, which goes on when the
    /// login is cut off; returns what it said when it is over and somebody can log in again.
    pub fn converge_apart(&self, document: &str, unit: &str) -> Result<String, Failure> {
        let converge = ["bedplate-host", "--host-file", document, "converge"];
        let run = ["systemd-run", "--no-block", "--collect", "--unit", unit];
        self.read(&[&run[..], &converge].concat())?;
        let state = ["systemctl", "show", "--value", "--property=ActiveState", unit];
        let over = || {
            let state = self.run(&state).ok()?;
            ["failed", "inactive"].contains(&state.stdout.trim()).then_some(())
        };
        pace::ask(CONVERGE_LIMIT, Duration::from_secs(5), over).map_err(|spent| {
            Failure::Unfit(format!("{spent}, the machine stays away, or converge goes on"))
        })?;
        let said = self.read(&["journalctl", "-b", "-o", "cat", "-u", unit])?;
        println!("{said}");
        Ok(said)
    }

    /// Waits until systemd has nothing left to start; returns what it then is (`running`,
    /// `degraded`). With a VM that starts on its own this takes until it was started.
    pub fn settle(&self) -> Result<String, Failure> {
        settled(&self.ssh)
    }

    /// Waits for a request that `wanted` accepts, which the VM `name` is to send.
    pub fn wait_for_guest(
        &self,
        story: &Story,
        name: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Failure> {
        self.wait_for_guest_after(story, name, 0, wanted)
    }

    /// As [`Host::wait_for_guest`], not counting the first `before` requests.
    pub fn wait_for_guest_after(
        &self,
        story: &Story,
        name: &str,
        before: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Failure> {
        let mut guest = InnerGuest::new(&self.ssh, name);
        let request = story.server.wait_while(
            &format!("what {name} reports"),
            GUEST_LIMIT,
            before,
            |request: &Request| wanted(&request.target),
            || guest.progress(),
        );
        match request {
            Ok(request) => Ok(request.target),
            Err(error) => Err(Failure::Unfit(format!("{error}; {}", guest.describe()))),
        }
    }

    /// Presses the power button and waits for the end.
    pub fn power_off(self) -> Result<(), Failure> {
        // The small guest knows no power button; the machine would wait five minutes for it.
        self.run(&["virsh", "destroy", GUEST])?;
        self.running.press_power()?;
        self.running.wait_for_end(POWER_OFF_LIMIT).map(drop).map_err(Failure::from)
    }
}

impl Story {
    /// Starts the installed machine with `disks` (all of them: [`Story::disks`]) and returns at
    /// once: for what is seen and typed on the serial console before anybody can log in.
    pub fn start(&self, disks: Vec<Disk>) -> Result<Running, Failure> {
        self.start_machine(&self.machine(disks))
    }

    /// The installed machine with `disks`, to be given more than it was installed with.
    pub fn machine(&self, disks: Vec<Disk>) -> Machine {
        seed::machine(HOST, disks, MEMORY_MIB, self.record.ssh_port)
    }

    fn start_machine(&self, machine: &Machine) -> Result<Running, Failure> {
        Ok(machine.start(&self.directory, Some(self.console("host")))?)
    }

    /// As [`Story::start`], and waits until root can log in.
    pub fn boot(&self, disks: Vec<Disk>) -> Result<Host, Failure> {
        self.boot_machine(&self.machine(disks))
    }

    /// As [`Story::boot`], of a [`Story::machine`] that was given more.
    pub fn boot_machine(&self, machine: &Machine) -> Result<Host, Failure> {
        let running = self.start_machine(machine)?;
        let begun = Instant::now();
        let ssh = Ssh::new(&self.key, self.record.ssh_port)?;
        ssh.wait(LOGIN_LIMIT, &running)?;
        self.say(&format!("ssh answers after {} s", begun.elapsed().as_secs()));
        Ok(Host { running, ssh })
    }

    /// Boots what was installed, gathers evidence, judges, and keeps both.
    pub fn claims(&self, installed: &Installed) -> Result<Vec<Verdict>, Failure> {
        self.begins(Phase::Boot);
        let running = self.start(self.disks())?;
        let gathered = self.gather(installed, &running);
        self.keep_log(&running, "host.serial.log")?;
        let mut evidence = gathered?;
        drop(running);
        evidence.note("canary.sha256.after", sha256_of(&seed::canary(&self.directory).file)?);
        self.keep(&evidence)?;
        let verdicts = judge_all(&evidence);
        let path = self.path("claims.txt");
        std::fs::write(&path, table::render(&verdicts)).map_err(file("write", &path))?;
        Ok(verdicts)
    }

    fn gather(&self, installed: &Installed, running: &Running) -> Result<Evidence, Failure> {
        let mut evidence = Evidence::default();
        evidence.note("install.end", installed.end.as_str());
        evidence.note("canary.sha256.before", installed.canary.as_str());
        note_json(&mut evidence, "canary.counters.install", &installed.counters)?;

        let begun = Instant::now();
        let ssh = Ssh::new(&self.key, self.record.ssh_port)?;
        ssh.wait(LOGIN_LIMIT, running)?;
        self.say(&format!("ssh answers after {} s", begun.elapsed().as_secs()));
        self.begins(Phase::HandOff);
        self.say(&format!("boot is over: {}", settled(&ssh)?));
        self.wait_for_guest(&ssh, &mut evidence)?;
        self.begins(Phase::Claims);
        self.ask(&ssh, &mut evidence)?;
        let requests = self.server.requests().into_iter().map(|request| request.target);
        evidence.note("http.requests", requests.collect::<Vec<_>>().join("\n"));
        self.journal(&ssh)?;
        // The small guest knows no power button; the host would wait five minutes for it.
        ssh.run(&["virsh", "destroy", GUEST])?;
        self.power_off(running)?;
        note_json(&mut evidence, "canary.counters.run", &running.qmp().counters(CANARY)?)?;
        Ok(evidence)
    }

    /// The VM reports on its own; why a report stays away is kept for the claims to tell.
    fn wait_for_guest(&self, ssh: &Ssh, evidence: &mut Evidence) -> Result<(), Failure> {
        let state = ssh.run(&["systemctl", "is-active", "bedplate-converge.service"])?;
        self.say(&format!("bedplate-converge: {}", state.stdout.trim()));
        let mut guest = InnerGuest::new(ssh, GUEST);
        for path in ["/guest/up", "/guest/nfs-ok"] {
            let wanted = |request: &Request| request.target.split('?').next() == Some(path);
            let waited = self.server.wait_while(path, GUEST_LIMIT, 0, wanted, || guest.progress());
            match waited {
                Ok(request) => self.say(&format!("the VM says: {}", request.target)),
                Err(error) => {
                    let late = format!("{error}; {}", guest.describe());
                    self.say(&late);
                    evidence.note(LATE, late);
                    break;
                }
            }
        }
        Ok(())
    }

    fn ask(&self, ssh: &Ssh, evidence: &mut Evidence) -> Result<(), Failure> {
        let host = self.path("host.toml");
        let host = std::fs::read_to_string(&host).map_err(file("read", &host))?;
        for Probe { name, argv } in probes::state(&answers::parse(&host)?) {
            self.say(&format!("asking: {}", argv.join(" ")));
            evidence.put(&name, run(ssh, &argv)?);
        }
        for (when, converge) in [("before", true), ("after", false)] {
            for Probe { name, argv } in probes::unchanging() {
                evidence.put(&moment(when, &name), run(ssh, &argv)?);
            }
            if converge {
                self.say("converging again");
                evidence.put("converge.again", ssh.run(&CONVERGE)?);
            }
        }
        Ok(())
    }

    /// Kept for those who look for a cause.
    fn journal(&self, ssh: &Ssh) -> Result<(), Failure> {
        let journal = ssh.run(&["journalctl", "--boot", "--no-pager"])?;
        let path = self.path("host.journal.log");
        std::fs::write(&path, journal.stdout).map_err(file("write", &path))
    }

    fn power_off(&self, running: &Running) -> Result<(), Failure> {
        running.press_power()?;
        if let Err(error) = running.wait_for_end(POWER_OFF_LIMIT) {
            self.say(&format!("the power button was not heeded: {error}"));
        }
        Ok(())
    }

    fn keep(&self, evidence: &Evidence) -> Result<(), Failure> {
        let path = self.path("evidence.json");
        let text = serde_json::to_string_pretty(evidence)
            .map_err(|error| Failure::Unfit(format!("{}: {error}", path.display())))?;
        std::fs::write(&path, text).map_err(file("write", &path))
    }
}

/// Waits until systemd of the machine has nothing left to start; returns what it then is.
pub fn settled(ssh: &Ssh) -> Result<String, Failure> {
    let limit = Pace::known().seconds(SETTLED_LIMIT);
    let state = ssh.run(&["timeout", &limit, "systemctl", "is-system-running", "--wait"])?;
    // What `timeout` ends with when the time is over.
    if state.status == 124 {
        let jobs = ssh.run(&["systemctl", "list-jobs", "--no-legend"])?;
        let jobs = jobs.stdout;
        return Err(Failure::TimedOut(format!(
            "timed out after {limit} s, systemd still has to start:\n{jobs}"
        )));
    }
    Ok(state.stdout.trim().to_owned())
}

fn run(ssh: &Ssh, argv: &[String]) -> Result<Answer, Failure> {
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    Ok(ssh.run(&argv)?)
}

fn note_json(
    evidence: &mut Evidence,
    name: &str,
    value: &impl serde::Serialize,
) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Unfit(error.to_string()))?;
    evidence.note(name, text);
    Ok(())
}
