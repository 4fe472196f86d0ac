//! `bedplate import`: machines that another tool looked after so far.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use bedplate_import::ansible;

use crate::report::{self, Failure};

/// Written, but for lines to add by hand.
const LINES_TO_ADD: u8 = 4;

/// Machines as another tool describes them, as text of host.toml.
#[derive(clap::Subcommand)]
pub enum Import {
    Ansible(Ansible),
}

/// The list `libvirt_vms` of Ansible's variables.
///
/// The text goes to standard output, to be put into host.toml; what could not be carried over is
/// named on standard error, and the exit code is then 4.
#[derive(clap::Args)]
pub struct Ansible {
    /// The file with the variables, such as host_vars/hypervisor/vars.yml.
    variables: PathBuf,
}

impl Import {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        let Self::Ansible(Ansible { variables }) = self;
        let imported = ansible::import(&report::read(variables)?)?;
        io::stdout().lock().write_all(imported.text.as_bytes())?;
        let file = variables.display();
        for note in &imported.notes {
            writeln!(io::stderr(), "{file}:{note}")?;
        }
        match imported.notes.iter().any(|note| note.is_open) {
            true => Ok(ExitCode::from(LINES_TO_ADD)),
            false => Ok(ExitCode::SUCCESS),
        }
    }
}
