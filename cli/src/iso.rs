//! `bedplate iso`: makes the medium.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_image_builder::build::{IsoRequest, build_iso};

use crate::personalize::{Owned, own_host};
use crate::report::Failure;

/// Make a bootable medium, for CD or USB stick.
#[derive(clap::Args)]
pub struct Iso {
    /// Personalise it with this document.
    #[arg(long)]
    host: Option<PathBuf>,
    #[command(flatten)]
    owned: Owned,
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
    pub fn run(&self) -> Result<(), Failure> {
        let host = self.host.as_deref().map(|host| own_host(host, &self.output)).transpose()?;
        let request = IsoRequest {
            workspace_binaries: self.binaries.clone().map_or_else(beside_this_program, Ok)?,
            cache: self.cache.clone(),
            platform_nix: self.platform.clone().map_or_else(platform_sources, Ok)?,
            host,
            repository: self.owned.request(),
            output: self.output.clone(),
            mirror: self.mirror.clone(),
            installed_tree: None,
        };
        let mut out = io::stdout().lock();
        let report = build_iso(&request, &mut |stage| {
            // Progress that cannot be shown is no reason to stop.
            drop(writeln!(out, "{stage} …").and_then(|()| out.flush()));
        })?;
        let mut out = io::stdout().lock();
        for (stage, duration) in &report.stages {
            writeln!(out, "{:>7.1} s  {stage}", duration.as_secs_f64())?;
        }
        let megabytes = report.size / 1_000_000;
        writeln!(out, "{}: {megabytes} MB, build {}", report.path.display(), report.build)?;
        Ok(())
    }
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
