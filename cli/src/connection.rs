//! A connection to a booted medium: whose host key it must be, and how that is known.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use bedplate_spec::facts::Facts;
use bedplate_tools::command::{CommandError, CommandExt as _};
use bedplate_tools::ssh::{self, Ssh, Target};
use bedplate_tools::ssh_keygen;
use tempfile::TempDir;

use crate::report::Failure;

/// How a booted medium is logged in to.
#[derive(clap::Args)]
pub struct Login {
    /// Port of its ssh server.
    #[arg(long, default_value_t = 22)]
    port: u16,
    /// The private key to log in with [default: as ssh is configured].
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Fingerprint of its host key, as its screen shows it: `SHA256:…` [default: asked].
    #[arg(long, value_name = "FINGERPRINT")]
    host_key: Option<String>,
}

/// A machine that cannot be known or reached.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    /// Nobody answers.
    #[error(
        "{0} offers no ed25519 host key; is it the booted medium, and has it an ssh key of yours?"
    )]
    NoKey(String),
    /// Another machine.
    #[error(
        "{host} has the host key {found}, not {asked}: it is another machine, or the medium was \
         booted again; compare with its screen. Nothing was sent"
    )]
    OtherKey { host: String, found: String, asked: String },
    /// Nobody to compare.
    #[error(
        "give the fingerprint on the screen of {host} (`--host-key SHA256:…`); nobody can be asked here"
    )]
    NotAsked { host: String },
    /// Not confirmed.
    #[error("the host key was not confirmed; nothing was sent")]
    NotConfirmed,
    /// Another version.
    #[error("could not {what} on {host}: its answer is not one that this version reads")]
    Foreign {
        what: &'static str,
        host: String,
        #[source]
        source: serde_json::Error,
    },
    /// A command there failed.
    #[error("could not {what} on {host}")]
    Command {
        what: &'static str,
        host: String,
        #[source]
        source: CommandError,
    },
}

/// An open way to the machine.
pub struct Machine {
    ssh: Ssh,
    host: String,
    /// Holds the host key and the socket of the connection.
    _directory: TempDir,
}

impl Login {
    /// Finds out which host key is the right one. The connection itself is made by the first
    /// command, and by ssh alone: it refuses any other key.
    pub fn open(&self, target: &Target) -> Result<Machine, Failure> {
        let host = target.host().to_owned();
        let offered = ssh::scan(target, self.port)?;
        let key = offered.first().ok_or_else(|| ConnectionError::NoKey(host.clone()))?;
        let found = ssh_keygen::fingerprint(key)?;
        let found = found.ok_or_else(|| ConnectionError::NoKey(host.clone()))?;
        self.compare(&host, found)?;
        let directory = tempfile::Builder::new().prefix("bedplate-").tempdir()?;
        let (target, identity) = (target.clone(), self.identity.clone());
        let ssh = Ssh::new(target, self.port, identity, key, directory.path())?;
        Ok(Machine { ssh, host, _directory: directory })
    }

    fn compare(&self, host: &str, found: String) -> Result<(), Failure> {
        let host = host.to_owned();
        match &self.host_key {
            Some(asked) if *asked == found => Ok(()),
            Some(asked) => {
                let asked = asked.escape_debug().to_string();
                Err(ConnectionError::OtherKey { host, found, asked }.into())
            }
            None if !io::stdin().is_terminal() => Err(ConnectionError::NotAsked { host }.into()),
            None => {
                let question =
                    format!("{host} has the host key {found}. Does its screen say the same?");
                let asked = dialoguer::Confirm::new().with_prompt(question).default(false);
                match asked.interact()? {
                    true => Ok(()),
                    false => Err(ConnectionError::NotConfirmed.into()),
                }
            }
        }
    }
}

impl Machine {
    /// The name or address it was reached by.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The command that runs the installer there.
    pub fn installer(&self, arguments: &[&str]) -> std::process::Command {
        self.ssh.command(&[&["bedplate-installer"], arguments].concat())
    }

    /// What the machine is.
    pub fn inventory(&self) -> Result<Facts, Failure> {
        self.parse("read the inventory", &["inventory", "--json"])
    }

    /// The JSON that the installer there prints.
    pub fn parse<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        arguments: &[&str],
    ) -> Result<T, Failure> {
        let text = self.read(what, arguments)?;
        let host = self.host.clone();
        let parsed = serde_json::from_slice(&text);
        Ok(parsed.map_err(|source| ConnectionError::Foreign { what, host, source })?)
    }

    /// What the installer there prints.
    pub fn read(&self, what: &'static str, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let read = self.installer(arguments).read_bytes();
        let host = self.host.clone();
        Ok(read.map_err(|source| ConnectionError::Command { what, host, source })?)
    }
}
