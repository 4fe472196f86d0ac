//! `bedplate host prepare`: a host's ssh key is made on the workstation, before the host is.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_keystick as keystick;
use bedplate_secrets::age_file::{self, AgeError, Cost};
use bedplate_secrets::ssh::{self, Recipient};
use bedplate_tools::secret::Secret;
use bedplate_tools::ssh_keygen;

use crate::report::{self, Failure};
use crate::secrets::round::{self, Round};
use crate::secrets::{self, Place};

/// Make a host's ssh key in advance, so that its first boot can open its secrets.
///
/// The key is made in memory, sealed with age, and written to the key stick or a file; its public
/// half goes into the repository and its secrets are encrypted for it. Nothing is committed.
#[derive(clap::Args)]
pub struct Prepare {
    /// The host; its directory is in the repository.
    #[arg(value_parser = secrets::host_name)]
    name: String,
    #[command(flatten)]
    place: Place,
    /// Write the sealed key to the key stick that is mounted here.
    #[arg(long, value_name = "DIRECTORY", required_unless_present = "output")]
    stick: Option<PathBuf>,
    /// Write the sealed key to this file.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Seal it for this age recipient or ssh-ed25519 key, instead of with a passphrase.
    #[arg(long, value_name = "RECIPIENT", conflicts_with = "passphrase_file")]
    admin: Vec<String>,
    /// Read the passphrase from this file instead of asking for it.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Why no key was made. Nothing was written then.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    /// No such host.
    #[error("{0} is no directory: write the host there first")]
    NoHost(String),
    /// A key is made once.
    #[error("{0} is there: {1} has its key. To encrypt for it run `bedplate secrets rekey {1}`")]
    HasKey(String, String),
    /// The output.
    #[error("{0} is there and is not overwritten")]
    Exists(String),
    /// The passphrase.
    #[error("the passphrase has less than {LEAST} characters")]
    Short,
    /// Where secrets may stand.
    #[error("{MEMORY} is needed to make a key in memory")]
    NoMemory(#[source] io::Error),
    /// age did not encrypt the private key with the passphrase.
    #[error("the key could not be sealed")]
    Seal(#[from] AgeError),
}

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// A passphrase that is shorter can be guessed by whoever finds the stick.
const LEAST: usize = 12;

impl Prepare {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let directory = self.place.repository.join(&self.place.hosts).join(&self.name);
        let public = directory.join(round::PUBLIC_KEY);
        self.check(&directory, &public)?;
        let seal = self.seal()?;
        let (private, line) = make(&self.name)?;
        let recipient = ssh::recipient(&line)?;
        // What was just made opens what is encrypted for it, or it is not given out.
        ssh::identity(&private)?;
        let sealed = seal.apply(&private)?;
        drop(private);
        let round = Round::new(&self.place, &self.name, recipient, seal.admins())?;
        for place in self.write(&sealed)? {
            writeln!(io::stdout(), "the sealed key is in {place}")?;
        }
        round::write(&public, line.as_bytes())?;
        writeln!(io::stdout(), "the public key is in {}", public.display())?;
        secrets::tell(&round.run()?)
    }

    fn check(&self, directory: &Path, public: &Path) -> Result<(), PrepareError> {
        if !directory.is_dir() {
            return Err(PrepareError::NoHost(directory.display().to_string()));
        }
        if public.exists() {
            return Err(PrepareError::HasKey(public.display().to_string(), self.name.clone()));
        }
        let stick = self.stick.as_ref().map(|stick| stick.join(keystick::layout::HOST_KEY));
        match self.output.iter().chain(&stick).find(|place| place.exists()) {
            Some(place) => Err(PrepareError::Exists(place.display().to_string())),
            None => Ok(()),
        }
    }

    /// How the key will be sealed; asks before anything is made.
    fn seal(&self) -> Result<Seal, Failure> {
        if !self.admin.is_empty() {
            let keys = self.admin.iter().map(|key| match key.parse::<Recipient>() {
                Ok(recipient) => Ok(recipient),
                Err(_) => ssh::recipient(key),
            });
            return Ok(Seal::For(keys.collect::<Result<_, _>>()?));
        }
        let words = match &self.passphrase_file {
            Some(path) => secrets::read_secret(path)?,
            None => {
                let instead = ", or comes from `--passphrase-file FILE`";
                report::expect_terminal("the passphrase for the key", instead)?;
                Secret::new(
                    dialoguer::Password::new()
                        .with_prompt(format!("Passphrase for the key of {}", self.name))
                        .with_confirmation("Once more", "They differ")
                        .interact()?
                        .into_bytes(),
                )
            }
        };
        let words = Secret::new(words.expose().trim_ascii_end().to_vec());
        if words.expose().len() < LEAST {
            return Err(PrepareError::Short.into());
        }
        Ok(Seal::With(words))
    }

    /// Writes the sealed key and reads it back; where it stands now.
    fn write(&self, sealed: &[u8]) -> Result<Vec<String>, Failure> {
        let mut places = Vec::new();
        if let Some(stick) = &self.stick {
            keystick::write(stick, keystick::layout::HOST_KEY, sealed)?;
            places.push(stick.join(keystick::layout::HOST_KEY).display().to_string());
        }
        if let Some(output) = &self.output {
            round::write(output, sealed)?;
            places.push(output.display().to_string());
        }
        Ok(places)
    }
}

enum Seal {
    For(Vec<Recipient>),
    With(Secret),
}

impl Seal {
    fn admins(&self) -> Vec<Recipient> {
        match self {
            Self::For(recipients) => recipients.clone(),
            Self::With(_) => Vec::new(),
        }
    }

    fn apply(&self, private: &Secret) -> Result<Vec<u8>, PrepareError> {
        Ok(match self {
            Self::For(recipients) => age_file::seal(private, recipients)?,
            Self::With(words) => age_file::seal_with_passphrase(private, words, Cost::Usual)?,
        })
    }
}

/// A new key: its private half and the line of its public one. It never touches a disk.
fn make(name: &str) -> Result<(Secret, String), Failure> {
    let directory = tempfile::Builder::new().prefix("bedplate-").tempdir_in(MEMORY);
    let directory = directory.map_err(PrepareError::NoMemory)?;
    let path = directory.path().join("key");
    ssh_keygen::make(&path, &format!("root@{name}"))?;
    let private = secrets::read_secret(&path)?;
    let public = fs::read_to_string(path.with_extension("pub"))?;
    Ok((private, public))
}
