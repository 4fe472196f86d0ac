//! `bedplate host add`: adds a host to a repository. `bedplate host prepare` stands in `prepare`.

use std::path::PathBuf;
use std::process::ExitCode;

use bedplate_repository::adopt;
use bedplate_repository::host::{self, NewHost};
use bedplate_repository::read;

use crate::prepare::Prepare;
use crate::report::Failure;
use crate::repository::Source;

/// Hosts of a repository.
#[derive(clap::Subcommand)]
pub enum Host {
    Add(Add),
    Prepare(Prepare),
}

impl Host {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Add(add) => add.run(),
            Self::Prepare(prepare) => prepare.run().map(|()| ExitCode::SUCCESS),
        }
    }
}

/// Add a host to a repository that is there.
///
/// Hosts may be written out, listed by directory, or made by a framework (blueprint, flake-parts,
/// snowfall and others). Nothing that is there is rewritten: what flake.nix needs is put in where it
/// belongs, or printed. A host that is there is never replaced, and where that cannot be known, or
/// where hosts live is not sure, nothing is written.
#[derive(clap::Args)]
pub struct Add {
    /// Name of the host.
    name: String,
    /// The repository, where flake.nix stands.
    #[arg(long, default_value = ".", value_name = "DIR")]
    repository: PathBuf,
    /// Directory of the hosts inside the repository [default: where its hosts are, else nix/hosts].
    #[arg(long, value_name = "DIR")]
    hosts: Option<String>,
    /// Take over a host of NixOS that is there: its directory gets a host.toml, and the lines that
    /// its configuration needs are printed.
    #[arg(long, conflicts_with = "medium")]
    adopt: bool,
    #[command(flatten)]
    source: Source,
}

impl Add {
    fn run(&self) -> Result<ExitCode, Failure> {
        let facts = read::facts(&self.repository, self.hosts.as_deref())?;
        let (document, description) = (self.source.document()?, self.source.description()?);
        let (description, platform) = (description.as_deref(), self.source.platform());
        let address = self.source.address();
        let request =
            NewHost { name: &self.name, document: &document, description, platform, address };
        let proposal = if self.adopt {
            adopt::decide(&facts, &request)?
        } else {
            host::decide(&facts, &request)?
        };
        self.source.finish(&self.repository, proposal)
    }
}
