//! `virsh`: libvirt is told by it, one command per call.
//!
//! No call waits for ever: a daemon that hangs, a guest's agent that never answers, a process of QEMU
//! that waits in the kernel. A call that took too long may still have been heard.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::command::{CommandError, CommandExt as _};

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What libvirt does by itself: looking, defining.
    pub word: Duration,
    /// What the guest's agent is asked. Windows gives its programs a minute to get ready for a freeze.
    pub agent: Duration,
    /// What reads or writes as much as a guest's memory, or waits for what QEMU has still to write.
    pub work: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        // The daemon is started by the first who asks, and reads all its definitions then.
        let (word, agent) = (Duration::from_secs(120), Duration::from_secs(90));
        Self { word, agent, work: Duration::from_secs(600) }
    }
}

/// By how much libvirt gives up on an agent before its caller gives up on libvirt.
const MARGIN: Duration = Duration::from_secs(20);

/// A connection, by its URI.
#[derive(Debug, Clone)]
pub struct Virsh {
    program: PathBuf,
    uri: String,
    limits: Limits,
}

impl Virsh {
    /// Connects to `uri` with every call, for example `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { program: "virsh".into(), uri: uri.into(), limits: Limits::default() }
    }

    /// With other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// With another program than the `virsh` of the path.
    #[must_use]
    pub fn with_program(self, program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..self }
    }

    /// What it connects to.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Names of the domains that run.
    pub fn running(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--name"])
    }

    /// The number of a domain that runs or is paused: another one each time it is started.
    pub fn id(&self, domain: &str) -> Result<Option<u32>, CommandError> {
        Ok(self.ask(&["domid", "--domain", domain])?.trim().parse().ok())
    }

    /// Where a volume of a storage pool is.
    pub fn volume_path(&self, pool: &str, volume: &str) -> Result<PathBuf, CommandError> {
        let path = self.ask(&["vol-path", "--pool", pool, "--vol", volume])?;
        Ok(PathBuf::from(path.trim()))
    }

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>, CommandError> {
        let lines = self.ask(arguments)?;
        let names = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    /// Defines what `xml` describes, once libvirt's schema has found nothing wrong with it.
    pub fn define(&self, xml: &str) -> Result<(), CommandError> {
        self.command(&["define", "--validate", "/dev/stdin"])
            .read_within(self.limits.word, xml.as_bytes())
            .map(drop)
    }

    /// Starts a domain.
    pub fn start(&self, domain: &str) -> Result<(), CommandError> {
        self.tell(&["start", "--domain", domain], self.limits.work)
    }

    /// Whether libvirt starts the domain at boot.
    pub fn autostart(&self, domain: &str, wanted: bool) -> Result<(), CommandError> {
        let mut arguments = vec!["autostart", "--domain", domain];
        if !wanted {
            arguments.push("--disable");
        }
        self.tell(&arguments, self.limits.word)
    }

    /// Asks the guest to shut down; it may take its time, or not listen.
    pub fn shutdown(&self, domain: &str) -> Result<(), CommandError> {
        self.tell(&["shutdown", "--domain", domain], self.limits.agent)
    }

    /// Turns a domain off at once.
    pub fn destroy(&self, domain: &str) -> Result<(), CommandError> {
        self.tell(&["destroy", "--domain", domain], self.limits.work)
    }

    /// Removes the definition with everything that libvirt keeps of the domain: the firmware's
    /// variables, the TPM, a saved state, and what it knows of snapshots and checkpoints.
    pub fn undefine(&self, domain: &str) -> Result<(), CommandError> {
        let what = ["undefine", "--domain", domain, "--nvram", "--tpm", "--managed-save"];
        let known = ["--snapshots-metadata", "--checkpoints-metadata"];
        self.tell(&[&what[..], &known].concat(), self.limits.word)
    }

    /// Has the guest's agent flush and hold all its file systems.
    ///
    /// libvirt itself gives up before this does: it would hold its lock on the agent for ever
    /// otherwise, and the guest could not be let go.
    pub fn freeze(&self, domain: &str) -> Result<(), CommandError> {
        let patience = self.limits.agent.saturating_sub(MARGIN).as_secs().max(1).to_string();
        let arguments = ["guest-agent-timeout", "--domain", domain, "--timeout", &patience];
        // A guest without an agent says so when it is asked to freeze.
        let _ = self.tell(&arguments, self.limits.word);
        self.tell(&["domfsfreeze", "--domain", domain], self.limits.agent)
    }

    /// Undoes [`Virsh::freeze`].
    pub fn thaw(&self, domain: &str) -> Result<(), CommandError> {
        self.tell(&["domfsthaw", "--domain", domain], self.limits.agent)
    }

    /// Pauses a domain; what it has written is flushed.
    pub fn suspend(&self, domain: &str) -> Result<(), CommandError> {
        self.tell(&["suspend", "--domain", domain], self.limits.word)
    }

    /// Undoes [`Virsh::suspend`].
    pub fn resume(&self, domain: &str) -> Result<(), CommandError> {
        self.tell(&["resume", "--domain", domain], self.limits.word)
    }

    /// Names of the domains that are paused.
    pub fn paused(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--state-paused", "--name"])
    }

    /// Enlarges the disk `path` of a running domain to `bytes`.
    pub fn enlarge_disk(&self, domain: &str, path: &str, bytes: u64) -> Result<(), CommandError> {
        let size = format!("{bytes}B");
        let arguments = ["blockresize", "--domain", domain, "--path", path, "--size", &size];
        self.tell(&arguments, self.limits.work)
    }

    /// Gives a domain that runs the device that `xml` describes.
    pub fn attach(&self, domain: &str, xml: &str) -> Result<(), CommandError> {
        self.command(&["attach-device", "--domain", domain, "--file", "/dev/stdin", "--live"])
            .read_within(self.limits.work, xml.as_bytes())
            .map(drop)
    }

    /// Takes it from it.
    pub fn detach(&self, domain: &str, xml: &str) -> Result<(), CommandError> {
        self.command(&["detach-device", "--domain", domain, "--file", "/dev/stdin", "--live"])
            .read_within(self.limits.work, xml.as_bytes())
            .map(drop)
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, CommandError> {
        self.command(arguments).read_within(self.limits.word, &[])
    }

    fn tell(&self, arguments: &[&str], limit: Duration) -> Result<(), CommandError> {
        self.command(arguments).read_within(limit, &[]).map(drop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "--connect", &self.uri]).args(arguments).env("LC_ALL", "C");
        command
    }
}
