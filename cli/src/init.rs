//! `bedplate init`: starts a repository of hosts.

use std::path::PathBuf;
use std::process::ExitCode;

use bedplate_repository::error::Error;
use bedplate_repository::host::NewHost;
use bedplate_repository::{init, read};

use crate::report::{self, Failure};
use crate::repository::Source;

/// Start a repository of hosts: a flake with a first host.
///
/// The embedded platform is put beside it, locked. For NixOS the flake names nixpkgs and
/// Bedplate's own flake, and Nix locks them; where it cannot, the command is printed.
///
/// The directory must be new, or hold nothing but `.git`.
#[derive(clap::Args)]
pub struct Init {
    /// The directory.
    directory: PathBuf,
    /// Name of the host [default: the profile's].
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    source: Source,
}

impl Init {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        if !read::is_free(&self.directory)? {
            return Err(Error::NotEmpty { path: self.directory.clone() }.into());
        }
        let (document, description) = (self.source.document()?, self.source.description()?);
        let name = match (&self.name, self.source.from()) {
            (Some(name), _) => name.clone(),
            (None, Some(path)) => report::read_host(path)?.host.name,
            (None, None) => self.source.profile().to_owned(),
        };
        let (description, platform) = (description.as_deref(), self.source.platform());
        let address = self.source.address();
        let proposal = init::decide(&NewHost {
            name: &name,
            document: &document,
            description,
            platform,
            address,
        })?;
        self.source.finish(&self.directory, proposal)
    }
}
