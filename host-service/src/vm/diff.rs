//! What it takes to make virtual machines as intended.

use std::fmt;
use std::path::Path;

use bedplate_spec::host::{HostFile, State, Vm};
use serde::Serialize;

use super::domain;
use super::observe::{DomainFound, FilesFound, Observed};
use super::seed;
use crate::context::pool_mount;
use crate::kind::{Description, Resource};

/// Size of a disk for which `disk_gb` says nothing, in GiB.
const EMPTY_DISK_GB: u32 = 32;
/// Bytes of a GiB.
const GIB: u64 = 1 << 30;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Make the directory of a machine.
    MakeDirectory {
        /// Name.
        vm: String,
    },
    /// Fetch, check and extract its disk.
    FetchDisk {
        /// Name.
        vm: String,
    },
    /// Fetch its installer.
    FetchInstaller {
        /// Name.
        vm: String,
    },
    /// Make an empty disk.
    MakeDisk {
        /// Name.
        vm: String,
        /// Size.
        bytes: u64,
    },
    /// Enlarge its disk when it is smaller.
    Enlarge {
        /// Name.
        vm: String,
        /// Size.
        bytes: u64,
    },
    /// Write what cloud-init is told.
    WriteSeed {
        /// Name.
        vm: String,
    },
    /// Define the domain.
    Define {
        /// Name.
        vm: String,
        /// Hash of the intent.
        intent: String,
    },
    /// Say whether libvirt starts it at boot.
    Autostart {
        /// Name.
        vm: String,
        /// Whether.
        wanted: bool,
    },
    /// Start it.
    Start {
        /// Name.
        vm: String,
    },
    /// Remember that it was started since boot.
    Remember {
        /// Name.
        vm: String,
    },
    /// Turn it off.
    Destroy {
        /// Name.
        vm: String,
    },
    /// Remove its definition.
    Undefine {
        /// Name.
        vm: String,
    },
    /// Delete its directory and everything in it.
    DeleteDirectory {
        /// Name.
        vm: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { vm } => write!(formatter, "make the directory of {vm}"),
            Self::FetchDisk { vm } => write!(formatter, "fetch and check the disk of {vm}"),
            Self::FetchInstaller { vm } => write!(formatter, "fetch the installer of {vm}"),
            Self::MakeDisk { vm, bytes } => {
                write!(formatter, "make an empty disk of {} GiB for {vm}", bytes / GIB)
            }
            Self::Enlarge { vm, bytes } => {
                write!(formatter, "enlarge the disk of {vm} to {} GiB", bytes / GIB)
            }
            Self::WriteSeed { vm } => write!(formatter, "write the cloud-init seed of {vm}"),
            Self::Define { vm, intent } => {
                write!(formatter, "define {vm} ({})", intent.get(..12).unwrap_or(intent))
            }
            Self::Autostart { vm, wanted: true } => write!(formatter, "autostart {vm}"),
            Self::Autostart { vm, wanted: false } => write!(formatter, "no longer autostart {vm}"),
            Self::Start { vm } => write!(formatter, "start {vm}"),
            Self::Remember { vm } => write!(formatter, "note that {vm} runs"),
            Self::Destroy { vm } => write!(formatter, "turn {vm} off"),
            Self::Undefine { vm } => write!(formatter, "undefine {vm}"),
            Self::DeleteDirectory { vm } => write!(formatter, "delete the directory of {vm}"),
        }
    }
}

/// What is to be done, machine by machine.
pub fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
    let mut vms: Vec<_> = intent.vms.iter().collect();
    // Those of one place, and those without one, by name.
    vms.sort_by_key(|(_, vm)| vm.start_order.unwrap_or(u32::MAX));
    let declared = vms.into_iter().map(|(name, vm)| machine(intent, observed, name, vm));
    let foreign = observed
        .domains
        .iter()
        .filter(|(name, found)| found.intent.is_some() && !intent.vms.contains_key(*name));
    let foreign = foreign.map(|(name, _)| Resource {
        notes: vec![format!(
            "{name} was made by Bedplate and is no longer declared; it is left alone \
             (`state = \"absent\"` removes it)"
        )],
        ..Resource::new(name, Vec::new())
    });
    declared.chain(foreign).collect()
}

fn machine(intent: &HostFile, observed: &Observed, name: &str, vm: &Vm) -> Resource<Action> {
    let domain = observed.domains.get(name);
    if domain.is_some_and(|domain| domain.intent.is_none()) {
        return Resource::refused(name, "libvirt has a domain of this name that is not ours");
    }
    let mount = match pool_mount(intent, &observed.mounts, &vm.pool) {
        Ok(mount) => mount,
        Err(why) => return Resource::refused(name, why),
    };
    let files = observed.files.get(name).cloned().unwrap_or_default();
    if vm.state == State::Absent {
        return Resource::new(name, absent(name, domain, &files));
    }
    if let Some(why) = refusal(intent, observed, name, vm) {
        return Resource::refused(name, why);
    }
    if let Some(why) = &files.trouble {
        return Resource::refused(name, why);
    }
    let directory = Path::new(mount).join(name);
    if let Some(why) = lost_disk(name, domain, &files, &domain::disk_path(&directory, vm)) {
        return Resource::refused(name, why);
    }
    let seed = match wanted_seed(intent, name, vm) {
        Ok(seed) => seed,
        Err(error) => return Resource::refused(name, format!("its seed cannot be made: {error}")),
    };
    let stale_seed = seed.is_some() && files.seed != seed;
    match domain::define(intent, name, vm, &directory, observed.accelerator) {
        Ok(wanted) => present(name, vm, domain, &files, stale_seed, &wanted.intent),
        Err(error) => Resource::refused(name, format!("its XML cannot be written: {error}")),
    }
}

/// A machine is defined after its disk is made: one that is defined and has none had one, with data
/// on it. A new one in its place would be taken for the machine itself.
fn lost_disk(
    name: &str,
    domain: Option<&DomainFound>,
    files: &FilesFound,
    disk: &Path,
) -> Option<String> {
    let domain = domain.filter(|_| files.disk_bytes.is_none())?;
    let running = match domain.running {
        Some(_) => "; it still runs from its old file, so save its data before you turn it off",
        None => "",
    };
    Some(format!(
        "it is defined, and its disk {} is not there; no new one is made in its place{running}: put \
         the file there, or write `pool` and `dest` as they were; where its data may go, \
         `virsh undefine --nvram --managed-save {name}` lets `converge` begin anew",
        disk.display()
    ))
}

/// The volume that the machine's cloud-init is to find.
pub(super) fn wanted_seed(
    intent: &HostFile,
    name: &str,
    vm: &Vm,
) -> std::io::Result<Option<Vec<u8>>> {
    let instance = domain::uuid(intent, name).to_string();
    vm.cloud_init.as_ref().map(|seed| seed::image(&instance, seed)).transpose()
}

/// A disk shared with another machine, or a key stick handed to a guest.
fn refusal(intent: &HostFile, observed: &Observed, name: &str, vm: &Vm) -> Option<String> {
    let destination = |vm: &Vm| vm.disk_image.as_ref().map(|image| image.dest.clone());
    let mine = destination(vm);
    let shared = intent
        .vms
        .iter()
        .find(|(other, found)| *other != name && mine.is_some() && destination(found) == mine);
    if let Some((other, _)) = shared {
        return Some(format!("{other} has the same disk"));
    }
    let is_stick = |vendor: &str, product: &str| {
        let plain = |id: &str| id.trim_start_matches("0x").to_ascii_lowercase();
        observed.stick_devices.contains(&(plain(vendor), plain(product)))
    };
    let stick =
        vm.usb_devices.iter().find(|device| is_stick(&device.vendor_id, &device.product_id));
    stick.map(|device| {
        format!("{}:{} is the key stick of this machine", device.vendor_id, device.product_id)
    })
}

fn absent(name: &str, domain: Option<&DomainFound>, files: &FilesFound) -> Vec<Action> {
    let vm = || name.to_owned();
    let mut actions = Vec::new();
    if let Some(domain) = domain {
        if domain.running.is_some() {
            actions.push(Action::Destroy { vm: vm() });
        }
        actions.push(Action::Undefine { vm: vm() });
    }
    if files.directory {
        actions.push(Action::DeleteDirectory { vm: vm() });
    }
    actions
}

fn present(
    name: &str,
    vm: &Vm,
    domain: Option<&DomainFound>,
    files: &FilesFound,
    stale_seed: bool,
    wanted: &str,
) -> Resource<Action> {
    let mut actions = file_actions(name, vm, files);
    if stale_seed {
        actions.push(Action::WriteSeed { vm: name.to_owned() });
    }
    let name_of = || name.to_owned();
    let known = domain.and_then(|domain| domain.intent.as_deref());
    if known != Some(wanted) {
        actions.push(Action::Define { vm: name_of(), intent: wanted.to_owned() });
    }
    // libvirt starts machines in no order: those that have one are left to this program.
    let by_libvirt = vm.autostart && vm.start_order.is_none();
    if domain.is_some_and(|domain| domain.autostart) != by_libvirt {
        actions.push(Action::Autostart { vm: name_of(), wanted: by_libvirt });
    }
    let running = domain.and_then(|domain| domain.running.as_ref());
    // A note of one that was undefined since says nothing of the one that is defined now.
    match (running, files.started && domain.is_some()) {
        (None, false) if vm.autostart => actions.push(Action::Start { vm: name_of() }),
        (Some(_), false) => actions.push(Action::Remember { vm: name_of() }),
        _ => {}
    }
    let pending = running.is_some_and(|live| live.as_deref() != Some(wanted));
    let restart = pending.then(|| {
        format!(
            "restart pending: {name} runs with an older definition until \
             `bedplate-host vm restart {name}`"
        )
    });
    Resource { wants: restart.into_iter().collect(), ..Resource::new(name, actions) }
}

fn file_actions(name: &str, vm: &Vm, files: &FilesFound) -> Vec<Action> {
    let name_of = || name.to_owned();
    let mut actions = Vec::new();
    if !files.directory {
        actions.push(Action::MakeDirectory { vm: name_of() });
    }
    if vm.iso_image.is_some() && !files.iso {
        actions.push(Action::FetchInstaller { vm: name_of() });
    }
    let wanted = vm.disk_gb.map(|size| u64::from(size) * GIB);
    match (files.disk_bytes, &vm.disk_image) {
        (None, Some(_)) => actions.push(Action::FetchDisk { vm: name_of() }),
        (None, None) => {
            let bytes = wanted.unwrap_or(u64::from(EMPTY_DISK_GB) * GIB);
            actions.push(Action::MakeDisk { vm: name_of(), bytes });
            return actions;
        }
        (Some(_), _) => {}
    }
    if let Some(bytes) = wanted.filter(|bytes| files.disk_bytes.is_none_or(|now| now < *bytes)) {
        actions.push(Action::Enlarge { vm: name_of(), bytes });
    }
    actions
}

/// What a machine should be and is, in a line each.
pub fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
    let vm = intent.vms.get(name)?;
    let wanted = match (vm.state, vm.autostart) {
        (State::Absent, _) => "absent".to_owned(),
        (State::Present, autostart) => {
            let start = if autostart { "started at boot" } else { "started by hand" };
            format!("{} vcpu, {} MiB, on {}, {start}", vm.vcpu, vm.ram_mb, vm.bridge)
        }
    };
    let mut reality = match observed.domains.get(name) {
        None => "not defined".to_owned(),
        Some(DomainFound { intent: None, .. }) => "somebody else's".to_owned(),
        Some(DomainFound { running: None, .. }) => "shut off".to_owned(),
        Some(DomainFound { running: Some(live), intent, .. }) if live == intent => {
            "running".to_owned()
        }
        Some(_) => "running with an older definition".to_owned(),
    };
    if let Some(bytes) = observed.files.get(name).and_then(|files| files.disk_bytes) {
        reality += &format!(", disk of {} GiB", bytes / GIB);
    }
    Some(Description { intent: wanted, reality })
}

#[cfg(test)]
mod tests;
