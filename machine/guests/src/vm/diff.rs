//! What it takes to make virtual machines as intended.

mod definition;

use std::fmt;
use std::path::Path;

use bedplate_events::shown::{listed, shown};
use bedplate_model::host::{HostFile, State, Vm};
use serde::Serialize;

use self::definition::{Definition, definition};
use super::domain;
use super::model::Source;
use super::observe::{DomainFound, FilesFound, Observed};
use super::seed;
use super::standing;
use super::usb::{self, Plugged};
use super::users;
use bedplate_resources::context::pool_mount;
use bedplate_resources::kind::{Description, Resource};

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
        /// Name of the machine in host.toml, and of its directory.
        vm: String,
    },
    /// Fetch, check and extract its disk.
    FetchDisk {
        /// Name of the machine whose `disk_image` is fetched.
        vm: String,
    },
    /// Fetch its installer.
    FetchInstaller {
        /// Name of the machine whose `iso_image` is fetched.
        vm: String,
    },
    /// Make an empty disk.
    MakeDisk {
        /// Name of the machine whose disk begins empty.
        vm: String,
        /// Size that the guest sees, in bytes.
        bytes: u64,
    },
    /// Enlarge its disk when it is smaller.
    Enlarge {
        /// Name of the machine whose disk may be too small.
        vm: String,
        /// Size that the guest is to see at least, in bytes.
        bytes: u64,
    },
    /// Write what cloud-init is told.
    WriteSeed {
        /// Name of the machine with `cloud_init` in host.toml.
        vm: String,
    },
    /// Define the domain.
    Define {
        /// Name of the machine in host.toml, and of its domain.
        vm: String,
        /// Hash of the intent.
        intent: String,
        /// The machine that is built for it, with its version; the newest where it is new.
        #[serde(skip_serializing_if = "Option::is_none")]
        machine: Option<String>,
        /// What it changes in the definition that libvirt holds.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        changes: Vec<String>,
    },
    /// Say whether libvirt starts it at boot.
    Autostart {
        /// Name of the machine, and of its domain.
        vm: String,
        /// Whether libvirt is to start it; with a `start_order` this program does.
        wanted: bool,
    },
    /// Start it.
    Start {
        /// Name of the machine that is off.
        vm: String,
    },
    /// Let it go on.
    Resume {
        /// Name of the machine in host.toml.
        vm: String,
    },
    /// Give it a USB device of the host while it runs.
    AttachUsb {
        /// Name of the machine in host.toml.
        vm: String,
        /// Vendor, in four digits.
        vendor: String,
        /// Product id of the USB device, as host.toml writes it.
        product: String,
        /// Bus and number.
        address: (u32, u32),
        /// Where it still has one on record that is not there any more.
        #[serde(skip_serializing_if = "Option::is_none")]
        gone: Option<(u32, u32)>,
    },
    /// Remember that it was started since boot.
    Remember {
        /// Name of the machine, and of the file that notes it.
        vm: String,
    },
    /// Turn it off.
    Destroy {
        /// Name of the machine that runs and is to go.
        vm: String,
    },
    /// Remove its definition.
    Undefine {
        /// Name of the machine, and of the domain that goes.
        vm: String,
    },
    /// Delete its directory and everything in it.
    DeleteDirectory {
        /// Name of the machine that is gone from libvirt by then.
        vm: String,
    },
}

impl Action {
    /// Whether it lets a guest go on as it was, and so needs nobody who asks for it.
    pub fn is_tending(&self) -> bool {
        matches!(self, Self::Resume { .. } | Self::AttachUsb { .. })
    }
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
            Self::Define { vm, intent, changes, .. } => {
                write!(formatter, "define {vm} ({})", intent.get(..12).unwrap_or(intent))?;
                let line = changes.join("; ");
                if line.is_empty() { Ok(()) } else { write!(formatter, ": {line}") }
            }
            Self::Autostart { vm, wanted: true } => write!(formatter, "autostart {vm}"),
            Self::Autostart { vm, wanted: false } => write!(formatter, "no longer autostart {vm}"),
            Self::Start { vm } => write!(formatter, "start {vm}"),
            Self::Resume { vm } => write!(formatter, "resume {vm}"),
            Self::AttachUsb { vm, vendor, product, address: (bus, device), .. } => write!(
                formatter,
                "attach the USB device {vendor}:{product} (bus {bus}, device {device}) to {vm}"
            ),
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
        .filter(|(name, found)| found.intent.is_some() && !intent.vms.contains_key(name.as_str()));
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
    let directory = Path::new(mount).join(name);
    if vm.state == State::Absent {
        let used = users::of(observed, name, &directory).filter(|_| files.directory);
        let actions = absent(name, domain, &files);
        return used.map_or_else(
            || Resource { notes: left(domain, &directory), ..Resource::new(name, actions) },
            |why| Resource::refused(name, why),
        );
    }
    if let Some(why) = refusal(intent, observed, name, vm) {
        return Resource::refused(name, why);
    }
    if let Some(why) = &files.trouble {
        return Resource::refused(name, why);
    }
    let disk = domain::disk_path(&directory, vm);
    if let Some(why) = lost_disk(name, domain, &files, &disk) {
        return Resource::refused(name, why);
    }
    if let Some(why) = missing_disk(vm, &files, &disk).or_else(|| lent(vm, observed, name, &disk)) {
        return Resource::refused(name, why);
    }
    let seed = match wanted_seed(intent, name, vm) {
        Ok(seed) => seed,
        Err(error) => return Resource::refused(name, format!("its seed cannot be made: {error}")),
    };
    let stale_seed = seed.is_some() && files.seed != seed;
    let wanted = domain::define(intent, name, vm, &directory, observed.accelerator);
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(error) => {
            return Resource::refused(name, format!("its XML cannot be written: {error}"));
        }
    };
    let definition = definition(name, domain, &files, &disk, &wanted);
    let (kvm_is_gone, plugged) = (observed.kvm_is_gone, observed.plugged.as_slice());
    Present { name, vm, domain, files: &files, stale_seed, kvm_is_gone, plugged }
        .resource(&wanted, definition)
}

/// What is said of a restart that is pending begins so.
const RESTART: &str = "restart pending";

/// Whether it has time what a machine wants: whoever changed it was told.
pub fn is_restart(want: &str) -> bool {
    want.starts_with(RESTART)
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
         `virsh undefine --nvram --tpm --managed-save --snapshots-metadata \
         --checkpoints-metadata {name}` lets `converge` begin anew",
        disk.display()
    ))
}

/// A disk that `host.toml` says is there, and is not: an empty one in its place would be taken for the
/// machine itself.
fn missing_disk(vm: &Vm, files: &FilesFound, disk: &Path) -> Option<String> {
    if vm.existing_disk.is_none() || files.disk_bytes.is_some() {
        return None;
    }
    let make = match (files.directory, disk.parent()) {
        (false, Some(directory)) => format!("make {} and ", directory.display()),
        _ => String::new(),
    };
    Some(format!(
        "host.toml says by `existing_disk` that its disk {} is there, and it is not (a link \
         to it does not count); nothing is made in its place: {make}put the file there (`qemu-img convert -O qcow2 OLD NEW` from another place or \
         form, while nothing runs from it), or write `disk_image` for one that is fetched",
        disk.display()
    ))
}

/// A disk that is there may be that of another machine: two that write to one disk destroy it.
fn lent(vm: &Vm, observed: &Observed, name: &str, disk: &Path) -> Option<String> {
    vm.existing_disk.as_ref()?;
    let has = |found: &DomainFound| {
        let models = [found.held.as_ref(), found.live.as_ref()];
        models.into_iter().flatten().any(|model| model.disk_of(disk).is_some())
    };
    let others = observed.domains.iter().filter(|(other, _)| *other != name);
    let (other, _) = others.into_iter().find(|(_, found)| has(found))?;
    Some(format!(
        "its disk {} is that of the machine {} of libvirt, too; take it away from there first \
         (`virsh undefine` leaves disks alone)",
        disk.display(),
        shown(other)
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

/// Disks that are not in its directory stay.
fn left(domain: Option<&DomainFound>, directory: &Path) -> Vec<String> {
    let held = domain.and_then(|domain| domain.held.as_ref());
    let disks = held.map(|held| held.disks.as_slice()).unwrap_or_default();
    let outside = disks.iter().filter(|disk| match &disk.source {
        Some(Source::File(path)) => !path.starts_with(directory),
        Some(Source::Volume { .. } | Source::Other(_)) => true,
        None => false,
    });
    outside
        .map(|disk| format!("{} is not in its directory, and stays", shown(&disk.to_string())))
        .collect()
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

struct Present<'a> {
    name: &'a str,
    vm: &'a Vm,
    domain: Option<&'a DomainFound>,
    files: &'a FilesFound,
    stale_seed: bool,
    kvm_is_gone: bool,
    plugged: &'a [Plugged],
}

impl Present<'_> {
    fn resource(&self, wanted: &domain::Definition, definition: Definition) -> Resource<Action> {
        let Self { name, vm, domain, files, .. } = *self;
        let name_of = || name.to_owned();
        let standing = standing::decide(name, vm, domain, files, self.kvm_is_gone);
        let mut wants = standing.wants;
        let mut actions = match definition {
            Definition::Becomes(define) => {
                let mut actions = self.prepare();
                actions.push(define);
                actions
            }
            Definition::Stays(why) => {
                wants.extend(why);
                self.prepare()
            }
            Definition::InDoubt(why) => {
                wants.push(why);
                Vec::new()
            }
            Definition::Kept(why) => {
                // It is as it was, and goes on as it was.
                let refused = Some(why);
                let (actions, notes) = (standing.actions, standing.notes);
                return Resource {
                    actions,
                    refused,
                    notes,
                    wants,
                    ..Resource::new(name, Vec::new())
                };
            }
        };
        // libvirt starts machines in no order: those that have one are left to this program.
        let by_libvirt = vm.autostart && vm.start_order.is_none();
        if domain.is_some_and(|domain| domain.autostart) != by_libvirt {
            actions.push(Action::Autostart { vm: name_of(), wanted: by_libvirt });
        }
        actions.extend(standing.actions);
        if let Some(found) = domain.filter(|found| found.running.is_some()) {
            let (attach, unclear) = usb::decide(name, vm, found, self.plugged);
            actions.extend(attach);
            wants.extend(unclear);
        }
        let mut notes = standing.notes;
        // Nothing waits for an installer that only has become another.
        if files.iso && files.iso_of.as_ref() != vm.iso_image.as_ref().map(|image| &image.sha256) {
            if self.is_saved() {
                // Its memory knows what is in its drive, and would go on with another disc there.
                notes.push(format!(
                    "{name} is saved: the new `iso_image` is fetched once it has gone on"
                ));
            } else {
                actions.push(Action::FetchInstaller { vm: name_of() });
            }
        }
        let running = domain.and_then(|domain| domain.running.as_ref());
        if running.is_some_and(|live| live.as_ref() != Some(&wanted.intent)) {
            wants.push(format!(
                "{RESTART}: {name} runs with an older definition until \
                 `bedplate-host vm restart {name}`"
            ));
        }
        Resource { wants, notes, ..Resource::new(name, actions) }
    }

    fn is_saved(&self) -> bool {
        self.domain.is_some_and(DomainFound::is_saved)
    }

    /// Its files.
    fn prepare(&self) -> Vec<Action> {
        let mut actions = file_actions(self.name, self.vm, self.files);
        // What is in its memory knows the disk as it was; it grows once the guest runs.
        if self.is_saved() {
            actions.retain(|action| !matches!(action, Action::Enlarge { .. }));
        }
        if self.stale_seed {
            actions.push(Action::WriteSeed { vm: self.name.to_owned() });
        }
        actions
    }
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
            let bridges: Vec<_> = vm.all_nics().iter().map(|nic| nic.bridge).collect();
            let bridges = listed(bridges.iter(), " and ");
            format!("{} vcpu, {} MiB, on {bridges}, {start}", vm.vcpu, vm.ram_mb)
        }
    };
    let mut reality = match observed.domains.get(name) {
        None => "not defined".to_owned(),
        Some(DomainFound { intent: None, .. }) => "somebody else's".to_owned(),
        Some(found) => {
            let older = found.running.as_ref().is_some_and(|live| *live != found.intent);
            let definition = if older { " with an older definition" } else { "" };
            format!("{}{definition}", standing::words(found))
        }
    };
    if let Some(bytes) = observed.files.get(name).and_then(|files| files.disk_bytes) {
        reality += &format!(", disk of {} GiB", bytes / GIB);
    }
    Some(Description { intent: wanted, reality })
}

#[cfg(test)]
mod tests;
