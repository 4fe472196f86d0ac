//! `virsh`: libvirt is told by it, one command per call.

use std::path::PathBuf;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// A connection, by its URI.
#[derive(Debug, Clone)]
pub struct Virsh {
    program: PathBuf,
    uri: String,
}

impl Virsh {
    /// Connects to `uri` with every call, for example `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { program: "virsh".into(), uri: uri.into() }
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
        Ok(self.command(&["domid", "--domain", domain]).read()?.trim().parse().ok())
    }

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>, CommandError> {
        let lines = self.command(arguments).read()?;
        let names = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    /// Defines what `xml` describes, once libvirt's schema has found nothing wrong with it.
    pub fn define(&self, xml: &str) -> Result<(), CommandError> {
        self.command(&["define", "--validate", "/dev/stdin"])
            .read_with_input(xml.as_bytes())
            .map(drop)
    }

    /// Starts a domain.
    pub fn start(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["start", "--domain", domain]).run()
    }

    /// Whether libvirt starts the domain at boot.
    pub fn autostart(&self, domain: &str, wanted: bool) -> Result<(), CommandError> {
        let mut command = self.command(&["autostart", "--domain", domain]);
        if !wanted {
            command.arg("--disable");
        }
        command.run()
    }

    /// Asks the guest to shut down; it may take its time, or not listen.
    pub fn shutdown(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["shutdown", "--domain", domain]).run()
    }

    /// Turns a domain off at once.
    pub fn destroy(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["destroy", "--domain", domain]).run()
    }

    /// Removes the definition with the firmware's variables and a saved state.
    pub fn undefine(&self, domain: &str) -> Result<(), CommandError> {
        let flags = ["--nvram", "--managed-save", "--snapshots-metadata"];
        self.command(&["undefine", "--domain", domain]).args(flags).run()
    }

    /// Has the guest's agent flush and hold all its file systems.
    pub fn freeze(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["domfsfreeze", "--domain", domain]).run()
    }

    /// Undoes [`Virsh::freeze`].
    pub fn thaw(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["domfsthaw", "--domain", domain]).run()
    }

    /// Pauses a domain; what it has written is flushed.
    pub fn suspend(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["suspend", "--domain", domain]).run()
    }

    /// Undoes [`Virsh::suspend`].
    pub fn resume(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["resume", "--domain", domain]).run()
    }

    /// Names of the domains that are paused.
    pub fn paused(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--state-paused", "--name"])
    }

    /// Enlarges the disk `path` of a running domain to `bytes`.
    pub fn enlarge_disk(&self, domain: &str, path: &str, bytes: u64) -> Result<(), CommandError> {
        let size = format!("{bytes}B");
        self.command(&["blockresize", "--domain", domain, "--path", path, "--size", &size]).run()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--quiet", "--connect", &self.uri]).args(arguments).env("LC_ALL", "C");
        command
    }
}
