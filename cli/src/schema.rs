//! `bedplate schema`: what host.toml may say, for editors.

use std::io::{self, Write as _};

use bedplate_document::keys;

use crate::report::{self, Failure};

/// Print the JSON Schema of host.toml, by which editors complete and check it.
#[derive(clap::Args)]
pub struct Schema;

impl Schema {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{}", report::json(&keys::schema())?)?)
    }
}
