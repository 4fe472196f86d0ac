//! `bedplate iso`: makes the medium.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_image_builder::Error;
use bedplate_image_builder::build::{IsoReport, IsoRequest, build_iso};
use bedplate_image_builder::toplevel::{self, Built, Hardware};
use bedplate_model::hardware;
use bedplate_planner as planner;
use bedplate_tools::nix::Workstation;

use crate::personalize::{Owned, own_host};
use crate::plan::read_facts;
use crate::report::{self, Failure};

/// Exit code when Nix is wanted and is not there.
const NO_NIX: u8 = 6;

/// Make a bootable medium, for CD or USB stick.
#[derive(clap::Args)]
pub struct Iso {
    /// Personalise it with this document.
    #[arg(long)]
    host: Option<PathBuf>,
    #[command(flatten)]
    owned: Owned,
    /// Build the system here, by this machine's Nix, and put its closure onto the medium: the
    /// installed machine needs no network for it.
    #[arg(long, requires = "host")]
    with_closure: bool,
    /// Build it for the machine that this inventory describes (`bedplate inventory --json`): its
    /// hardware.json is made in advance [default: the hardware.json of the repository, if it has one].
    #[arg(long, value_name = "FILE", requires = "with_closure")]
    inventory: Option<PathBuf>,
    /// Where to write it.
    #[arg(short, long, default_value = "bedplate.iso")]
    output: PathBuf,
    /// Mirror of the Debian packages [default: as the machine's own apt is configured].
    #[arg(long)]
    mirror: Option<String>,
    /// Directory with bedplate-init, bedplate-installer and bedplate-host [default: beside this program].
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Sources of the embedded platform [default: nix/embedded, else `embedded` beside this program].
    #[arg(long)]
    platform: Option<PathBuf>,
    /// Directory for what is kept between builds.
    #[arg(long, default_value = "target/bedplate-cache")]
    cache: PathBuf,
}

impl Iso {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        let host = self.host.as_deref().map(|host| own_host(host, &self.output)).transpose()?;
        let toplevel = host.as_deref().filter(|_| self.with_closure);
        let toplevel = toplevel.map(|host| self.toplevel(host)).transpose()?;
        let request = IsoRequest {
            workspace_binaries: self.binaries.clone().map_or_else(beside_this_program, Ok)?,
            cache: self.cache.clone(),
            platform_nix: self.platform.clone().map_or_else(platform_sources, Ok)?,
            host,
            repository: self.owned.request(),
            toplevel,
            output: self.output.clone(),
            mirror: self.mirror.clone(),
            installed_tree: None,
        };
        let mut out = io::stdout().lock();
        let made = build_iso(&request, &mut |stage| {
            // Progress that cannot be shown is no reason to stop.
            drop(writeln!(out, "{stage} …").and_then(|()| out.flush()));
        });
        match made {
            Ok(report) => out.write_all(told(&report).as_bytes())?,
            Err(error @ Error::NoNix { .. }) => {
                Failure::from(error).show();
                return Ok(ExitCode::from(NO_NIX));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The system to build for the document `host`.
    fn toplevel(&self, host: &Path) -> Result<toplevel::InAdvance, Failure> {
        let described = |inventory: &PathBuf| -> Result<String, Failure> {
            let facts = read_facts(inventory)?;
            let plan =
                planner::plan(&report::read_host(host)?, &facts).map_err(Failure::Refused)?;
            Ok(hardware::text(&plan, &facts)?)
        };
        let hardware = self.inventory.as_ref().map(described).transpose()?;
        Ok(toplevel::InAdvance { workstation: Workstation::own(), hardware })
    }
}

/// A medium that was made, for people.
fn told(report: &IsoReport) -> String {
    let mut text = String::new();
    for (stage, duration) in &report.stages {
        text.push_str(&format!("{:>7.1} s  {stage}\n", duration.as_secs_f64()));
    }
    if let Some(built) = &report.toplevel {
        text.push_str(&built_told(built));
    }
    let (path, megabytes) = (report.path.display(), report.size / 1_000_000);
    text.push_str(&format!("{path}: {megabytes} MB, build {}\n", report.build));
    text
}

fn built_told(built: &Built) -> String {
    let (toplevel, count, bytes) = (&built.toplevel, built.carried.len(), built.bytes());
    let mut text = format!(
        "{toplevel}: on the medium with {count} store paths beside the platform's, {} MB\n",
        bytes.div_ceil(1_000_000)
    );
    let hardware = match built.hardware {
        Hardware::Inventory => "",
        Hardware::Repository => {
            "note: built with the repository's hardware.json; what differs on the machine is built \
             there (`--inventory FILE` makes that of the machine)\n"
        }
        Hardware::Absent => {
            "note: built without a hardware.json; if the configuration reads it, what follows from \
             it is built on the machine (`--inventory FILE` makes it in advance)\n"
        }
    };
    text.push_str(hardware);
    if !built.left_out.is_empty() {
        text.push_str(&format!(
            "note: {} store paths refer to the repository as a whole and stay off the medium; the \
             machine builds them anew:\n  {}\n",
            built.left_out.len(),
            built.left_out.join("\n  ")
        ));
    }
    text
}

fn beside_this_program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().unwrap_or(Path::new(".")).to_owned())
}

/// A checkout has them where one works on them; an installed `bedplate` beside itself.
fn platform_sources() -> io::Result<PathBuf> {
    let here = Path::new("nix/embedded");
    Ok(if here.is_dir() { here.to_owned() } else { beside_this_program()?.join("embedded") })
}
