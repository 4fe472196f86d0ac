//! A connection to a booted medium: whose host key it must be, and how that is known.

use std::error::Error;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use bedplate_model::facts::Facts;
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

/// What it takes to log in where a machine's port is known.
pub struct Access<'a> {
    /// Port of its ssh server.
    pub port: u16,
    /// The private key to log in with; none: as ssh is configured.
    pub identity: Option<&'a Path>,
    /// One of these fingerprints must be its host key's. Where there are none somebody is asked.
    pub host_keys: &'a [String],
}

/// A machine that cannot be known or reached.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    /// Nobody answers.
    #[error(
        "nobody answers at {host}, port {port}: has the machine booted the medium, and does its screen show this address? Nothing was sent"
    )]
    Silent {
        host: String,
        port: u16,
        #[source]
        source: CommandError,
    },
    /// Its ssh server does not know the key.
    #[error(
        "{host} lets none of your ssh keys in: `bedplate personalize MEDIUM --authorized-keys FILE` writes yours onto the medium, `--identity FILE` names another. Nothing was sent"
    )]
    LockedOut {
        host: String,
        #[source]
        source: CommandError,
    },
    /// Its ssh server has no key of its own of that kind.
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
    /// None of its addresses led to it.
    #[error(
        "{name} answers at none of its addresses ({addresses}); is it on a network that leads there?"
    )]
    NoAnswer {
        name: String,
        addresses: String,
        #[source]
        source: Box<dyn Error>,
    },
    /// An announcement without an address that can be used.
    #[error(
        "{0} announces no address that ssh takes; ask it by the one on its screen: `bedplate inventory --target`"
    )]
    NoAddress(String),
    /// Not confirmed.
    #[error("the host key of {host} was not confirmed; nothing was sent")]
    NotConfirmed { host: String },
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
    host_key: String,
    /// Holds the host key and the socket of the connection.
    _directory: TempDir,
}

impl Login {
    /// Finds out which host key is the right one. The connection itself is made by the first
    /// command, and by ssh alone: it refuses any other key.
    pub fn open(&self, target: &Target) -> Result<Machine, Failure> {
        let host_keys = self.host_key.as_slice();
        let access = Access { port: self.port, identity: self.identity.as_deref(), host_keys };
        let host = target.host().to_owned();
        let key = access.offered(target, &host).map_err(Failure::Other)?;
        access.trust(target, host, &key)
    }
}

impl Access<'_> {
    /// As [`Login::open`] does, at the first of these addresses where a host key is offered.
    pub fn open_first(&self, name: &str, targets: &[Target]) -> Result<Machine, Failure> {
        let mut last = None;
        for target in targets {
            let host = format!("{name} at {}", target.host());
            match self.offered(target, &host) {
                Ok(key) => return self.trust(target, host, &key),
                Err(error) => last = Some(error),
            }
        }
        let name = name.to_owned();
        let Some(source) = last else { return Err(ConnectionError::NoAddress(name).into()) };
        let addresses: Vec<&str> = targets.iter().map(Target::host).collect();
        let addresses = addresses.join(", ");
        Err(ConnectionError::NoAnswer { name, addresses, source }.into())
    }

    /// The host key that is offered there. Nothing says yet whose it is.
    fn offered(&self, target: &Target, host: &str) -> Result<String, Box<dyn Error>> {
        let port = self.port;
        let scanned = ssh::scan(target, port).map_err(|source| match source {
            CommandError::Failed { .. } => Box::<dyn Error>::from(ConnectionError::Silent {
                host: host.to_owned(),
                port,
                source,
            }),
            source => source.into(),
        });
        let key = scanned?.into_iter().next();
        Ok(key.ok_or_else(|| ConnectionError::NoKey(host.to_owned()))?)
    }

    fn trust(&self, target: &Target, host: String, key: &str) -> Result<Machine, Failure> {
        let found = ssh_keygen::fingerprint(key)?;
        let found = found.ok_or_else(|| ConnectionError::NoKey(host.clone()))?;
        self.compare(&host, &found)?;
        let directory = tempfile::Builder::new().prefix("bedplate-").tempdir()?;
        let identity = self.identity.map(Path::to_owned);
        let ssh = Ssh::new(target.clone(), self.port, identity, key, directory.path())?;
        Ok(Machine { ssh, host, host_key: found, _directory: directory })
    }

    fn compare(&self, host: &str, found: &str) -> Result<(), Failure> {
        if self.host_keys.iter().any(|key| key == found) {
            return Ok(());
        }
        let (host, found) = (host.to_owned(), found.to_owned());
        if !self.host_keys.is_empty() {
            let asked = self.host_keys.join(" or ").escape_debug().to_string();
            return Err(ConnectionError::OtherKey { host, found, asked }.into());
        }
        if !io::stdin().is_terminal() {
            return Err(ConnectionError::NotAsked { host }.into());
        }
        let question = format!("{host} has the host key {found}. Does its screen say the same?");
        let asked = dialoguer::Confirm::new().with_prompt(question).default(false);
        match asked.interact()? {
            true => Ok(()),
            false => Err(ConnectionError::NotConfirmed { host }.into()),
        }
    }
}

impl Machine {
    /// The name or address it was reached by.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The fingerprint of its host key.
    pub fn host_key(&self) -> &str {
        &self.host_key
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
        Ok(read.map_err(|source| match &source {
            CommandError::Failed { stderr, .. } if stderr.contains("Permission denied (") => {
                ConnectionError::LockedOut { host, source }
            }
            _ => ConnectionError::Command { what, host, source },
        })?)
    }
}
