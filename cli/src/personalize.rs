//! `bedplate personalize`: writes a host.toml into a finished medium, or takes it out again.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_image_builder::answers::{Answers, Flake, Repository};
use bedplate_image_builder::{identity, owned, personalize};

use crate::report::{self, Failure};

/// Write a host.toml into a medium, in place.
#[derive(clap::Args)]
pub struct Personalize {
    /// The medium: an image or a stick.
    medium: PathBuf,
    /// The document.
    #[arg(long, required_unless_present_any = ["undo", "authorized_keys"])]
    host: Option<PathBuf>,
    #[command(flatten)]
    owned: Owned,
    /// Write these public ssh keys and no document: the machine waits for `bedplate install`.
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    authorized_keys: Option<PathBuf>,
    /// Take the answers out: the medium is again byte for byte what it was.
    #[arg(long, conflicts_with_all = ["host", "authorized_keys"])]
    undo: bool,
}

/// The owner's repository.
#[derive(clap::Args)]
pub struct Owned {
    /// Enrol into this git repository: the branch that is checked out, with its history. Only
    /// what is committed travels [default: the medium's own repository].
    #[arg(long, value_name = "DIR", requires = "host")]
    flake: Option<PathBuf>,
    /// Let the machine's commit replace the repository's bedplate/platform.json by the medium's.
    #[arg(long, requires = "flake")]
    take_platform: bool,
}

impl Owned {
    /// What is asked for, when something is.
    pub fn request(&self) -> Option<owned::Request> {
        let directory = self.flake.clone()?;
        Some(owned::Request { directory, take_platform: self.take_platform })
    }

    /// The repository that travels with `document`: the owner's, or `flake`, the medium's own.
    pub fn repository(&self, document: &str, flake: Flake) -> Result<Repository, Failure> {
        let Some(asked) = self.request() else { return Ok(Repository::Files(flake)) };
        let state = owned::look(&asked.directory)?;
        state.has_room_for(document)?;
        let description = state.description(&flake, asked.take_platform)?;
        Ok(Repository::Owned(state.bundle(description)?))
    }
}

impl Personalize {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        if let Some(keys) = &self.authorized_keys {
            personalize::let_in(&self.medium, &report::read(keys)?)?;
            let medium = self.medium.display();
            writeln!(
                io::stdout(),
                "{medium} waits for `bedplate install`, and lets these keys in"
            )?;
            return Ok(());
        }
        let Some(host) = &self.host else {
            personalize::undo(&self.medium)?;
            writeln!(io::stdout(), "{} holds no answers", self.medium.display())?;
            return Ok(());
        };
        let flake = personalize::flake_of(&self.medium)?;
        let repository = self.owned.repository(&report::read(host)?, flake)?;
        let host = report::read(&own_host(host, &self.medium)?)?;
        let written = personalize::personalize(&self.medium, &Answers { host, repository })?;
        writeln!(
            io::stdout(),
            "{} holds {} bytes of answers, written and read back",
            self.medium.display(),
            written.length
        )?;
        Ok(())
    }
}

/// The document to put on `medium`: `host` itself, or, when its id marks an example, a copy
/// beside the medium with an id of its own.
pub fn own_host(host: &Path, medium: &Path) -> Result<PathBuf, Failure> {
    report::read_host(host)?;
    let Some((text, id)) = identity::with_own_id(&report::read(host)?)? else {
        return Ok(host.to_owned());
    };
    let copy = medium.with_extension("host.toml");
    std::fs::write(&copy, text)?;
    writeln!(
        io::stdout(),
        "note: {} carries an example's id; the machine gets {id}. Keep {}, it is the machine's now",
        host.display(),
        copy.display()
    )?;
    Ok(copy)
}
