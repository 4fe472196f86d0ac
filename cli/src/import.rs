//! `bedplate import`: machines that another tool looked after so far.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_document as document;
use bedplate_import::libvirt::Source;
use bedplate_import::{
    Base, ImportError, Imported, LIMIT, ansible, compose, disko, libvirt, proxmox,
};
use bedplate_libvirt::Domain;

use crate::report::{self, Failure, ReadError};

/// Written, but for lines to add by hand.
const LINES_TO_ADD: u8 = 4;

/// Machines as another tool describes them, as text of host.toml.
#[derive(clap::Subcommand)]
pub enum Import {
    Ansible(Ansible),
    Libvirt(Libvirt),
    Proxmox(Proxmox),
    Disko(Disko),
    Compose(Compose),
}

/// The list `libvirt_vms` of Ansible's variables, or of a playbook.
///
/// The text goes to standard output, to be put into host.toml; what could not be carried over is
/// named on standard error, and the exit code is then 4.
#[derive(clap::Args)]
pub struct Ansible {
    /// The file with the variables, such as host_vars/hypervisor/vars.yml; `-` is standard input.
    variables: PathBuf,
    #[command(flatten)]
    into: Into_,
}

/// Domains of libvirt: what `virsh dumpxml` prints, or all that a running libvirt has.
///
/// The text goes to standard output, to be put into host.toml; what could not be carried over is
/// named on standard error, and the exit code is then 4.
#[derive(clap::Args)]
pub struct Libvirt {
    /// The file with one definition or several; `-` is standard input.
    #[arg(required_unless_present = "connect", conflicts_with = "connect")]
    file: Option<PathBuf>,
    /// The libvirt of this machine that is asked instead, such as qemu:///system.
    #[arg(long, value_name = "URI")]
    connect: Option<String>,
    /// Of those that it has, only this domain; can be given several times.
    #[arg(long, value_name = "NAME", requires = "connect", conflicts_with = "file")]
    domain: Vec<String>,
    #[command(flatten)]
    into: Into_,
}

/// A machine of Proxmox VE: what `qm config` prints, or a file of /etc/pve/qemu-server.
///
/// The text goes to standard output, to be put into host.toml; what could not be carried over is
/// named on standard error, and the exit code is then 4.
#[derive(clap::Args)]
pub struct Proxmox {
    /// The file, such as 101.conf; `-` is standard input.
    file: PathBuf,
    #[command(flatten)]
    into: Into_,
}

/// Disks as disko describes them: its evaluated devices as JSON.
///
/// `nix eval --json .#nixosConfigurations.NAME.config.disko.devices` prints them. The text goes to
/// standard output; what could not be carried over is named on standard error, and the exit code is
/// then 4.
#[derive(clap::Args)]
pub struct Disko {
    /// The file; `-` is standard input.
    file: PathBuf,
}

/// Services of Docker Compose: told one by one, because host.toml has no containers.
///
/// Nothing goes to standard output. What a machine for the services needs is named on standard error,
/// and the exit code is 4.
#[derive(clap::Args)]
pub struct Compose {
    /// The file, such as docker-compose.yml; `-` is standard input.
    file: PathBuf,
}

#[derive(clap::Args)]
struct Into_ {
    /// The host.toml that the text is for: what it lacks and what is in it already is told.
    #[arg(long, value_name = "FILE")]
    host: Option<PathBuf>,
}

/// A file that is no description of machines.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{error}")]
struct Unfit {
    file: String,
    error: ImportError,
}

/// A libvirt without what was asked for.
#[derive(Debug, thiserror::Error)]
enum Asked {
    #[error("{uri} has no domain `{name}`; it has: {found}")]
    NoDomain { uri: String, name: String, found: String },
    #[error("{0} has no domains")]
    Empty(String),
}

impl Import {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Ansible(Ansible { variables, into }) => {
                into.with(|base| read(variables, |text| ansible::import(text, base)))
            }
            Self::Libvirt(libvirt) => libvirt.run(),
            Self::Proxmox(Proxmox { file, into }) => {
                let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                let stem = stem.filter(|stem| stem != "-").unwrap_or_default();
                into.with(|base| read(file, |text| proxmox::import(text, &stem, base)))
            }
            Self::Disko(Disko { file }) => read(file, disko::import),
            Self::Compose(Compose { file }) => read(file, compose::import),
        }
    }
}

impl Into_ {
    /// Imports into the `host.toml` that was named, which has to be right by itself.
    fn with(
        &self,
        import: impl Fn(Base<'_>) -> Result<ExitCode, Failure>,
    ) -> Result<ExitCode, Failure> {
        let Some(path) = &self.host else { return import(Base::Fresh) };
        report::read_host(path)?;
        let text = report::read_text(path)?;
        import(Base::Own(&text))
    }
}

impl Libvirt {
    fn run(&self) -> Result<ExitCode, Failure> {
        let (Some(uri), None) = (&self.connect, &self.file) else {
            let file = self.file.as_deref().unwrap_or(Path::new("-"));
            return self.into.with(|base| {
                read(file, |xml| {
                    libvirt::import(&[Source { name: None, xml, autostart: None }], base)
                })
            });
        };
        let domains = self.chosen(uri)?;
        let source = |domain: &'_ Domain| -> Option<(String, String, bool)> {
            let xml = domain.persistent.clone().or(domain.live.clone())?;
            Some((domain.name.clone(), xml, domain.autostart))
        };
        let found: Vec<_> = domains.iter().filter_map(source).collect();
        let sources: Vec<_> = found
            .iter()
            .map(|(name, xml, starts)| Source { name: Some(name), xml, autostart: Some(*starts) })
            .collect();
        self.into.with(|base| {
            let imported = libvirt::import(&sources, base)
                .map_err(|error| Unfit { file: uri.clone(), error })?;
            show(&imported, uri)
        })
    }

    fn chosen(&self, uri: &str) -> Result<Vec<Domain>, Failure> {
        let mut all = bedplate_libvirt::domains(uri)?;
        let names: Vec<String> = all.iter().map(|domain| domain.name.clone()).collect();
        if let Some(name) = self.domain.iter().find(|name| !names.contains(name)) {
            let (uri, name, found) = (uri.to_owned(), name.clone(), names.join(", "));
            return Err(Asked::NoDomain { uri, name, found }.into());
        }
        if all.is_empty() {
            return Err(Asked::Empty(uri.to_owned()).into());
        }
        all.retain(|domain| self.domain.is_empty() || self.domain.contains(&domain.name));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }
}

/// Reads a file that is no longer than what is imported, and shows what becomes of it.
fn read(
    path: &Path,
    import: impl Fn(&str) -> Result<Imported, ImportError>,
) -> Result<ExitCode, Failure> {
    let is_input = path == Path::new("-");
    let file = if is_input { "standard input".to_owned() } else { path.display().to_string() };
    let unread = |source| ReadError::new(file.clone(), source);
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = match is_input {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(unread)?),
    };
    source.take(LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
    let text = document::text(&bytes, &file).map_err(|problems| Failure::Document {
        problems,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let imported = import(text).map_err(|error| Unfit { file: file.clone(), error })?;
    show(&imported, &file)
}

/// The text to standard output, and what its reader should know to standard error.
fn show(imported: &Imported, file: &str) -> Result<ExitCode, Failure> {
    io::stdout().lock().write_all(imported.text.as_bytes())?;
    let mut told = io::stderr().lock();
    for note in &imported.notes {
        match &note.source {
            Some(name) => writeln!(told, "{file}: {name}:{note}")?,
            None => writeln!(told, "{file}:{note}")?,
        }
    }
    match imported.is_open() {
        true => Ok(ExitCode::from(LINES_TO_ADD)),
        false => Ok(ExitCode::SUCCESS),
    }
}
