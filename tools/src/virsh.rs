//! `virsh`: libvirt, one command per call.

use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// A connection, by its URI.
#[derive(Debug, Clone)]
pub struct Virsh {
    uri: String,
}

impl Virsh {
    /// Connects to `uri` with every call, for example `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into() }
    }

    /// Names of all domains.
    pub fn domains(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--all", "--name"])
    }

    /// Names of the domains that run.
    pub fn running(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--name"])
    }

    /// Names of the domains that libvirt starts at boot.
    pub fn autostarted(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--all", "--autostart", "--name"])
    }

    /// The definition that counts from the next start on.
    pub fn persistent_xml(&self, domain: &str) -> Result<String, CommandError> {
        self.command(&["dumpxml", "--inactive", "--domain", domain]).read()
    }

    /// The definition a running domain was started with.
    pub fn live_xml(&self, domain: &str) -> Result<String, CommandError> {
        self.command(&["dumpxml", "--domain", domain]).read()
    }

    /// Defines what `xml` describes.
    pub fn define(&self, xml: &str) -> Result<(), CommandError> {
        self.command(&["define", "/dev/stdin"]).read_with_input(xml.as_bytes()).map(drop)
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

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>, CommandError> {
        Ok(lines(&self.command(arguments).read()?))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("virsh");
        command.args(["--quiet", "--connect", &self.uri]).args(arguments).env("LC_ALL", "C");
        command
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_one_per_line_with_a_blank_line_at_the_end() {
        assert_eq!(lines("haos\napps\n\n"), ["haos", "apps"]);
    }
}
