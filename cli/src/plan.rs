//! `bedplate plan`: what would an installation do?

use std::path::PathBuf;

use crate::report::{self, Failure};

/// Show what an installation would do to a machine.
#[derive(clap::Args)]
pub struct Plan {
    /// The document.
    host: PathBuf,
    /// Facts of the machine, as `bedplate-installer inventory --json` prints them.
    #[arg(long)]
    inventory: PathBuf,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let _host = report::read_host(&self.host)?;
        let _facts = report::read(&self.inventory)?;
        let _ = self.json;
        Ok(())
    }
}
