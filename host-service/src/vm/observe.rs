//! What is found of virtual machines.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_libvirt::Domain;
use bedplate_spec::host::Vm;
use bedplate_tools::qcow2;
use bedplate_tools::virsh::Virsh;

use super::accelerator::Accelerator;
use super::domain;
use super::engine::VmError;
use super::inspect;
use super::seed;
use super::stick;
use crate::context::Context;
use crate::mounts::Mounts;

/// Directory under the runtime directory: a file per machine started since boot.
const STARTED: &str = "vms-started";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Mounts.
    pub mounts: Mounts,
    /// What runs guests.
    pub accelerator: Accelerator,
    /// All domains of libvirt, by name.
    pub domains: BTreeMap<String, DomainFound>,
    /// Files of the machines of `host.toml`, by name.
    pub files: BTreeMap<String, FilesFound>,
    /// Vendor and product of the key sticks, plugged in or not.
    pub stick_devices: Vec<(String, String)>,
}

/// A domain of libvirt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DomainFound {
    /// Our hash in its metadata; none when it is not ours.
    pub intent: Option<String>,
    /// Our hash in the definition it runs with.
    pub running: Option<Option<String>>,
    /// Whether libvirt starts it at boot.
    pub autostart: bool,
}

/// The files of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilesFound {
    /// Whether its directory is there.
    pub directory: bool,
    /// Virtual size of its disk, when it has one.
    pub disk_bytes: Option<u64>,
    /// Why its disk cannot be used.
    pub trouble: Option<String>,
    /// Whether its installer is there.
    pub iso: bool,
    /// Content of its cloud-init seed, where it is to have one.
    pub seed: Option<Vec<u8>>,
    /// Whether it was started since boot.
    pub started: bool,
}

/// Looks at libvirt and at the pools that are mounted.
pub fn observe(virsh: &Virsh, context: &Context) -> Result<Observed, VmError> {
    let mut observed = Observed { mounts: context.mounts.clone(), ..Observed::default() };
    let sticks = context.intent.unlock.sticks.iter().map(|stick| stick.volume_id.as_str());
    observed.stick_devices = stick::known(&context.state, sticks)?;
    if context.intent.vms.is_empty() {
        return Ok(observed);
    }
    observed.accelerator = Accelerator::of_this_boot(&context.runtime).map_err(VmError::Probe)?;
    let domains = bedplate_libvirt::domains(virsh.uri())?;
    observed.domains = domains.iter().map(|one| (one.name.clone(), domain(one))).collect();
    for (name, vm) in &context.intent.vms {
        observed.files.insert(name.clone(), files(context, name, vm));
    }
    Ok(observed)
}

/// A definition that cannot be read is nobody's, and so never touched.
fn domain(domain: &Domain) -> DomainFound {
    let tag = |xml: &Option<String>| inspect::intent(xml.as_deref()?).ok().flatten();
    DomainFound {
        intent: tag(&domain.persistent),
        running: domain.running.then(|| tag(&domain.live)),
        autostart: domain.autostart,
    }
}

/// What cannot be looked at is told of this machine alone.
fn files(context: &Context, name: &str, vm: &Vm) -> FilesFound {
    let Ok(mount) = context.pool_mount(&vm.pool) else { return FilesFound::default() };
    let directory = Path::new(mount).join(name);
    let disk = domain::disk_path(&directory, vm);
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let (disk_bytes, trouble) = match is_file(&disk).then(|| qcow2::virtual_size(&disk)) {
        None => (None, None),
        Some(Ok(size)) => (Some(size), None),
        Some(Err(error)) => (None, Some(format!("{} cannot be used: {error}", disk.display()))),
    };
    FilesFound {
        directory: fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()),
        disk_bytes,
        trouble,
        iso: vm.iso_image.as_ref().is_some_and(|iso| is_file(Path::new(&iso.dest))),
        seed: vm.cloud_init.as_ref().and_then(|_| fs::read(seed::path(&directory)).ok()),
        started: started_file(context, name).exists(),
    }
}

/// The file that says that a machine was started since boot.
pub fn started_file(context: &Context, name: &str) -> PathBuf {
    context.runtime.join(STARTED).join(name)
}
