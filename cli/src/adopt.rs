//! `bedplate adopt`: a machine that runs, as the host.toml that describes it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_facts::roots::{Roots, names};
use bedplate_facts::{machine, probe, standing};
use bedplate_image_builder::identity;
use bedplate_import::adopt::{self, Disk, FileSystem, Machine};
use bedplate_import::libvirt::Source;
use bedplate_import::{Imported, LIMIT};
use bedplate_libvirt::{Domain, LibvirtError};
use bedplate_model::facts::{DiskFacts, Facts, FirmwareKind};
use bedplate_model::identity::EXAMPLE_ID_PREFIX;
use bedplate_planner as planner;
use bedplate_tools::ip;

use crate::report::Failure;

/// Written, but for lines to add by hand.
const LINES_TO_ADD: u8 = 4;
/// Where a machine of Bedplate's has its own.
const OWN: &str = "/etc/bedplate/host.toml";
/// The libvirt of the machine.
const LIBVIRT: &str = "qemu:///system";

/// Write the host.toml that describes this machine as it runs: disks, pools, bridges, exports, VMs.
///
/// Nothing is changed, and only root sees all of it. The text goes to standard output; what cannot be
/// seen from outside (the key stick, accounts), and what Bedplate makes otherwise, is named on standard
/// error, and the exit code is then 4.
#[derive(clap::Args)]
pub struct Adopt {
    /// The libvirt that is asked for its domains.
    #[arg(long, value_name = "URI", default_value = LIBVIRT)]
    connect: String,
}

/// A machine that has a document.
#[derive(Debug, thiserror::Error)]
#[error(
    "{OWN} describes this machine already; `bedplate-host plan` says what differs. Nothing was written"
)]
struct Described;

/// What is asked of the machine beside its facts.
struct Asked {
    links: String,
    routes: String,
    resolvers: String,
    domains: Vec<Domain>,
    /// What could not be looked at, and why.
    unseen: Vec<(&'static str, String)>,
}

impl Adopt {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        if Path::new(OWN).exists() {
            return Err(Described.into());
        }
        let roots = Roots::looking(probe::by_wipefs);
        let facts = machine::read(&roots);
        let asked = self.ask();
        let imported = adopt::describe(&found(&roots, &facts, &asked), &example());
        let text = match identity::with_own_id(&imported.text)? {
            Some((text, _)) => text,
            None => imported.text.clone(),
        };
        io::stdout().lock().write_all(text.as_bytes())?;
        show(&imported, &asked.unseen)
    }

    fn ask(&self) -> Asked {
        let mut unseen = Vec::new();
        let mut json = |what, found: Result<serde_json::Value, ip::IpError>| {
            let told = |error: ip::IpError| unseen.push((what, error.to_string()));
            found.map_err(told).map(|found| found.to_string()).unwrap_or_default()
        };
        let links = json("network", ip::addresses());
        let routes = json("network", ip::all_default_routes());
        let domains = match bedplate_libvirt::domains(&self.connect) {
            Ok(domains) => domains,
            // A machine without guests needs no libvirt.
            Err(LibvirtError::NobodyThere { .. }) if self.connect == LIBVIRT => Vec::new(),
            Err(error) => {
                unseen.push(("vms", error.to_string()));
                Vec::new()
            }
        };
        let resolvers = read("/etc/resolv.conf");
        Asked { links, routes, resolvers, domains, unseen }
    }
}

/// An id that marks an example, for one of its own to take its place.
fn example() -> String {
    format!("{EXAMPLE_ID_PREFIX}000000000000")
}

fn found<'a>(roots: &Roots, facts: &Facts, asked: &'a Asked) -> Machine<'a> {
    let source = |domain: &'a Domain| -> Option<Source<'a>> {
        let xml = domain.persistent.as_deref().or(domain.live.as_deref())?;
        Some(Source { name: Some(&domain.name), xml, autostart: Some(domain.autostart) })
    };
    let volumes = facts.disks.iter().filter(|disk| disk.transport == "usb");
    let volumes = volumes.flat_map(|disk| &disk.signatures).filter(|it| it.kind == "vfat");
    Machine {
        name: Some(read("/proc/sys/kernel/hostname").trim().to_owned()),
        nixos: nixos(),
        timezone: timezone(),
        locale: locale(),
        is_uefi: facts.firmware == FirmwareKind::Uefi,
        disks: facts.disks.iter().map(|disk| self::disk(disk, facts)).collect(),
        file_systems: standing::file_systems(roots).into_iter().map(file_system).collect(),
        sticks: volumes.filter_map(|volume| volume.uuid.clone()).collect(),
        nics: facts.nics.iter().map(|nic| nic.name.clone()).collect(),
        links: &asked.links,
        routes: &asked.routes,
        resolvers: &asked.resolvers,
        exports: exports(),
        domains: asked.domains.iter().filter_map(source).collect(),
    }
}

fn disk(disk: &DiskFacts, facts: &Facts) -> Disk {
    Disk {
        kernel_name: disk.kernel_name.clone(),
        id: planner::best_name(disk, facts).map(str::to_owned),
        serial: disk.serial.clone(),
        size: disk.size,
        rotates: disk.rotational,
        is_removable: disk.removable || disk.transport == "usb",
        is_sealed: disk.bedplate.as_ref().is_some_and(|token| token.sealed),
    }
}

fn file_system(found: standing::FileSystem) -> FileSystem {
    let standing::FileSystem { kind, disks, is_encrypted, data, metadata, mounts } = found;
    FileSystem { kind, disks, is_encrypted, data, metadata, mounts }
}

/// A file of the system, empty where there is none; no more of it than anybody writes.
fn read(path: impl AsRef<Path>) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(..LIMIT).unwrap_or(&bytes)).into_owned()
}

/// The value of a line `KEY=value`, without quotes.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim().trim_matches('"').to_owned())
}

fn nixos() -> Option<String> {
    let text = read("/etc/os-release");
    let is_nixos = value(&text, "ID").is_some_and(|id| id == "nixos");
    is_nixos.then(|| value(&text, "VERSION_ID").unwrap_or_default())
}

fn timezone() -> Option<String> {
    let link = fs::read_link("/etc/localtime").ok()?;
    let (_, zone) = link.to_str()?.split_once("zoneinfo/")?;
    Some(zone.to_owned())
}

fn locale() -> Option<String> {
    let files = ["/etc/locale.conf", "/etc/default/locale"];
    files.iter().find_map(|file| value(&read(file), "LANG"))
}

/// The files that exportfs reads.
fn exports() -> Vec<(String, String)> {
    let directory = Path::new("/etc/exports.d");
    let more = names(directory).into_iter().filter(|name| name.ends_with(".exports"));
    let more = more.map(|name| directory.join(name));
    let files = std::iter::once(PathBuf::from("/etc/exports")).chain(more);
    let files = files.filter(|file| file.exists());
    files.map(|file| (file.display().to_string(), read(&file))).collect()
}

fn show(imported: &Imported, unseen: &[(&str, String)]) -> Result<ExitCode, Failure> {
    let mut told = io::stderr().lock();
    for (what, why) in unseen {
        writeln!(told, "{what}: could not be looked at, and is not in the text: {why}")?;
    }
    for note in &imported.notes {
        match &note.source {
            Some(name) => writeln!(told, "`virsh dumpxml {name}`:{note}")?,
            None => writeln!(told, "{}", note.told())?,
        }
    }
    match imported.is_open() || !unseen.is_empty() {
        true => Ok(ExitCode::from(LINES_TO_ADD)),
        false => Ok(ExitCode::SUCCESS),
    }
}
