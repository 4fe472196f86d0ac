//! `bedplate check`: is this host.toml right?

use std::io::{self, Write as _};
use std::path::PathBuf;

use bedplate_spec::identity;

use crate::report::{self, Failure};

/// Check a host.toml: every mistake at once.
#[derive(clap::Args)]
pub struct Check {
    /// The document.
    host: PathBuf,
    /// Print the normalised document, with every default written out.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        let host = report::read_host(&self.host)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", host.to_json()?)?;
            return Ok(());
        }
        writeln!(
            out,
            "{} is valid: {}, {} disks, {} pools, {} bridges, {} VMs, {} exports, {} backups",
            self.host.display(),
            host.host.name,
            host.disks.len(),
            host.pools.len(),
            host.network.bridges.len(),
            host.vms.len(),
            host.nfs.exports.len(),
            host.backups.len(),
        )?;
        if identity::is_example(host.host.id) {
            writeln!(
                out,
                "note: host.id marks an example; a fresh one is written when the medium is made"
            )?;
        }
        Ok(())
    }
}
