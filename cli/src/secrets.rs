//! `bedplate secrets rekey`: a host's secrets are encrypted for the host.

mod files;
pub mod round;

use std::io::{self, Write as _};
use std::path::PathBuf;

use bedplate_document::rules::{self, Wrong};
use bedplate_secrets::ssh;
use bedplate_tools::secret::Secret;

use crate::report::{self, Failure};
use round::{Done, Round};

/// Secrets of a repository.
#[derive(clap::Subcommand)]
pub enum Secrets {
    Rekey(Rekey),
}

impl Secrets {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Rekey(rekey) => rekey.run(),
        }
    }
}

/// Where a repository is and how it is laid out.
#[derive(clap::Args)]
pub struct Place {
    /// The work tree of the repository.
    #[arg(long, default_value = ".")]
    pub repository: PathBuf,
    /// Directory of the hosts inside it.
    #[arg(long, default_value = "nix/hosts")]
    pub hosts: String,
    /// An admin's key, for files of age: of `age-keygen` or of `ssh-keygen`, without passphrase.
    /// For sops files sops finds its own.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// Encrypt a host's secrets for its ssh key: `.sops.yaml` gets its recipient, its files are
/// re-encrypted by sops and by age. Nothing is committed.
#[derive(clap::Args)]
pub struct Rekey {
    /// The host.
    #[arg(value_parser = host_name)]
    name: String,
    #[command(flatten)]
    place: Place,
    /// The host's public ssh key [default: ssh_host_ed25519_key.pub in its directory].
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
}

impl Rekey {
    fn run(&self) -> Result<(), Failure> {
        let directory = self.place.repository.join(&self.place.hosts).join(&self.name);
        let default = directory.join(round::PUBLIC_KEY);
        let public_key = report::read(self.public_key.as_ref().unwrap_or(&default))?;
        let recipient = ssh::recipient(&public_key)?;
        let done = Round::new(&self.place, &self.name, recipient, Vec::new())?.run()?;
        tell(&done)
    }
}

/// The name of a host, which is one of a directory too (T16).
pub fn host_name(text: &str) -> Result<String, String> {
    let wrong = |wrong: Wrong| format!("{}; {}", wrong.message, wrong.help);
    rules::host_name(text).map(|()| text.to_owned()).map_err(wrong)
}

/// Says what was done; what was not is a failure.
pub fn tell(done: &Done) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    for line in &done.lines {
        writeln!(out, "{line}")?;
    }
    done.finish().map_err(Failure::from)
}

/// Reads a key file into memory that is cleared.
pub fn read_secret(path: &std::path::Path) -> io::Result<Secret> {
    Ok(Secret::new(std::fs::read(path)?))
}
