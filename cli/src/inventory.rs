//! `bedplate inventory`: what is this machine?

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_facts::disks::UNREADABLE;
use bedplate_facts::roots::Roots;
use bedplate_facts::{machine, probe, sections, table};
use bedplate_model::facts::Facts;
use bedplate_tools::ssh::Target;

use crate::connection::Login;
use crate::report::{self, Failure};

/// Show what this machine, or a booted medium (`--target`), is: disks, firmware, memory, network interfaces.
///
/// Nothing is written to any device. What stands on the disks can only be read by root.
#[derive(clap::Args)]
pub struct Inventory {
    /// One JSON document, as `bedplate plan --inventory` reads it.
    #[arg(long)]
    json: bool,
    /// Sections of host.toml for the disks, for whoever begins one.
    #[arg(long, conflicts_with = "json")]
    toml: bool,
    /// Read the machine that this directory shows, with its sys, proc, dev and run/udev.
    #[arg(long, default_value = "/", conflicts_with = "target")]
    root: PathBuf,
    /// Ask a booted medium over ssh, for example root@192.168.1.20.
    #[arg(long, value_name = "USER@HOST")]
    target: Option<Target>,
    #[command(flatten)]
    login: Login,
}

impl Inventory {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        if let Some(target) = &self.target {
            let machine = self.login.open(target)?;
            return self.show(&machine.inventory()?);
        }
        let facts = of_machine(&self.root)?;
        self.show(&facts)
    }

    fn show(&self, facts: &Facts) -> Result<(), Failure> {
        let text = match self {
            Self { json: true, .. } => document(facts)?,
            Self { toml: true, .. } => sections::sections(facts),
            _ => table::table(facts),
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        Ok(())
    }
}

/// What this machine is.
pub fn of_this_machine() -> Result<Facts, Failure> {
    of_machine(Path::new("/"))
}

/// What the machine is that a directory shows.
fn of_machine(root: &Path) -> Result<Facts, Failure> {
    let roots = Roots::below(root, Some(probe::by_wipefs));
    if !roots.sys.join("block").is_dir() {
        return Err(NoMachine { path: root.to_owned() }.into());
    }
    let facts = machine::read(&roots);
    let unread = |disk: &&bedplate_model::facts::DiskFacts| {
        disk.signatures.iter().any(|signature| signature.kind == UNREADABLE)
    };
    let unread: Vec<&str> =
        facts.disks.iter().filter(unread).map(|disk| disk.kernel_name.as_str()).collect();
    if !unread.is_empty() {
        writeln!(
            io::stderr(),
            "warning: could not read {}: what stands there is not known and counts as not blank; only root may look",
            unread.join(", ")
        )?;
    }
    Ok(facts)
}

/// An inventory as `bedplate plan --inventory` reads it.
pub fn document(facts: &Facts) -> Result<String, serde_json::Error> {
    Ok(format!("{}\n", report::json(facts)?))
}

/// A directory that shows no machine.
#[derive(Debug, thiserror::Error)]
#[error("{} shows no machine: it holds no sys/block", Path::display(path))]
struct NoMachine {
    path: PathBuf,
}
