//! What is found of virtual machines.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_events::shown::shown;
use bedplate_libvirt::{Domain, Off, State as Standing};
use bedplate_model::host::{Firmware, State, Vm};
use bedplate_model::name::GuestName;
use bedplate_tools::qcow2;
use bedplate_tools::virsh::Virsh;

use super::accelerator::Accelerator;
use super::compare;
use super::disk;
use super::domain;
use super::engine::VmError;
use super::inspect;
use super::memory;
use super::model::Model;
use super::seed;
use super::stick;
use super::usb::{self, Plugged};
use super::users;
use super::variables;
use bedplate_resources::context::Context;
use bedplate_tools::mounts::Mounts;

/// Directory under the runtime directory: a file per machine started since boot.
const STARTED: &str = "vms-started";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// What is mounted: the files of a machine are on its pool.
    pub mounts: Mounts,
    /// What runs guests.
    pub accelerator: Accelerator,
    /// Whether KVM ran guests on this machine once, and does no longer.
    pub kvm_is_gone: bool,
    /// All domains of libvirt, by name.
    pub domains: BTreeMap<String, DomainFound>,
    /// Files of the machines of `host.toml`, by name.
    pub files: BTreeMap<String, FilesFound>,
    /// USB devices that are plugged in.
    pub plugged: Vec<Plugged>,
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
    /// How it stands, and why.
    pub standing: Standing,
    /// Whether libvirt keeps its memory for its next start.
    pub managed_save: bool,
    /// Whether it was to go on from its memory and could not.
    pub unresumed: bool,
    /// The definition that libvirt holds for its next start; none when it cannot be read.
    pub held: Option<Model>,
    /// The definition it runs with.
    pub live: Option<Model>,
    /// Whether one of the two is there and cannot be read: nobody knows which disks it has.
    pub is_unread: bool,
    /// What is seen of the disks that it has and host.toml does not name. What is not in here is not
    /// known.
    pub layers: BTreeMap<PathBuf, Layer>,
    /// Every file it has to do with. Looked for when a directory is to be deleted.
    pub files: users::Files,
}

impl DomainFound {
    /// Whether its memory is kept, by libvirt or in a file of its owner's.
    pub fn is_saved(&self) -> bool {
        let is_in_file = self.standing == Standing::Off(Off::Saved);
        self.running.is_none() && (self.managed_save || is_in_file)
    }
}

/// A disk that libvirt has and host.toml does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// It is not there any more, although the place where it was is.
    Gone,
    /// It is there, and based on these.
    Based(Vec<PathBuf>),
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
    /// SHA-256 of the download that the installer came from, where that is known.
    pub iso_of: Option<String>,
    /// Whether its firmware has variables, and they carry no key.
    pub without_key: bool,
    /// How many bytes its pool has left.
    pub room: Option<u64>,
    /// Its directory by its true name.
    pub real: Option<PathBuf>,
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
    observed.plugged = usb::plugged(Path::new(usb::DEVICES));
    observed.accelerator =
        Accelerator::of_this_boot(&context.runtime, &context.state).map_err(VmError::Probe)?;
    observed.kvm_is_gone = observed.accelerator.replaces_kvm(&context.state);
    let domains = bedplate_libvirt::domains(virsh.uri())?;
    let logs = Path::new(memory::LOGS);
    observed.domains = domains.iter().map(|one| (one.name.clone(), domain(one, logs))).collect();
    for (name, vm) in &context.intent.vms {
        let found = observed.domains.get_mut(name.as_str());
        let files = files(context, name, vm, found.as_deref());
        if let Some(found) = found.filter(|found| found.intent.is_some()) {
            layers(context, name, vm, found);
        }
        observed.files.insert(name.to_string(), files);
    }
    let is_removal = |(name, vm): (&GuestName, &Vm)| {
        vm.state == State::Absent
            && observed.files.get(name.as_str()).is_some_and(|found| found.directory)
    };
    if context.intent.vms.iter().any(is_removal) {
        for one in &domains {
            if let Some(found) = observed.domains.get_mut(&one.name) {
                found.files = users::files(virsh, one, &|path| is_gone(context, path));
            }
        }
    }
    Ok(observed)
}

/// A definition whose tag cannot be read is nobody's, and so never touched.
fn domain(domain: &Domain, logs: &Path) -> DomainFound {
    let tag = |xml: &Option<String>| inspect::intent(xml.as_deref()?).ok().flatten();
    let model = |xml: &Option<String>| Model::parse(xml.as_deref()?).ok();
    let (held, live) = (model(&domain.persistent), model(&domain.live));
    let off = memory::off(logs, domain);
    let is_saved = domain.managed_save || off == Some(Off::Saved);
    DomainFound {
        is_unread: held.is_none() || domain.running && live.is_none(),
        intent: tag(&domain.persistent),
        running: domain.running.then(|| tag(&domain.live)),
        autostart: domain.autostart,
        standing: off.map_or(domain.state, Standing::Off),
        managed_save: domain.managed_save,
        unresumed: is_saved && domain.state == Standing::Off(Off::Failed),
        held,
        live,
        ..DomainFound::default()
    }
}

/// Looks at the disks of a machine of ours that host.toml does not name.
fn layers(context: &Context, name: &str, vm: &Vm, found: &mut DomainFound) {
    let Ok(mount) = context.pool_mount(&vm.pool) else { return };
    let disk = domain::disk_path(&Path::new(mount).join(name), vm);
    let models = [found.held.as_ref(), found.live.as_ref()];
    for path in compare::unknown_files(models.into_iter().flatten(), &disk) {
        if let Some(layer) = layer(context, &path) {
            found.layers.insert(path, layer);
        }
    }
}

/// None when it cannot be said: the pool that it is on is not mounted, for example.
fn layer(context: &Context, path: &Path) -> Option<Layer> {
    match fs::symlink_metadata(path) {
        Ok(_) => qcow2::bases(path).ok().map(Layer::Based),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            is_gone(context, path).then_some(Layer::Gone)
        }
        Err(_) => None,
    }
}

/// Whether the place of a path where nothing is is there: its pool is mounted, or its directory is there.
pub fn is_gone(context: &Context, path: &Path) -> bool {
    let pools = context.intent.pools.iter();
    let mut around = pools.filter(|(_, pool)| path.starts_with(&pool.mount));
    match around.next() {
        Some((pool, _)) => context.pool_mount(pool).is_ok(),
        None => path.parent().is_some_and(Path::is_dir),
    }
}

/// What cannot be looked at is told of this machine alone.
fn files(context: &Context, name: &str, vm: &Vm, found: Option<&DomainFound>) -> FilesFound {
    let Ok(mount) = context.pool_mount(&vm.pool) else { return FilesFound::default() };
    let directory = Path::new(mount).join(name);
    let disk = domain::disk_path(&directory, vm);
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let (disk_bytes, trouble) = match is_file(&disk).then(|| qcow2::virtual_size(&disk)) {
        None => (None, None),
        Some(Ok(size)) => (Some(size), None),
        Some(Err(error)) => (None, Some(format!("{} cannot be used: {error}", disk.display()))),
    };
    // Only where it is new to us: an image over another one reads the host's files.
    let is_new = vm.existing_disk.is_some() && found.is_none_or(|found| found.intent.is_none());
    let trouble = trouble.or_else(|| disk_bytes.filter(|_| is_new).and_then(|_| based(&disk)));
    let models = found.map_or([None, None], |found| [found.held.as_ref(), found.live.as_ref()]);
    let without_key = vm.firmware == Firmware::UefiSecureBoot
        && variables::are_without_key(&variables::place(name, models)).unwrap_or(false);
    FilesFound {
        directory: fs::symlink_metadata(&directory).is_ok_and(|found| found.is_dir()),
        disk_bytes,
        trouble,
        iso: vm.iso_image.as_ref().is_some_and(|iso| is_file(Path::new(&iso.dest))),
        iso_of: vm.iso_image.as_ref().and_then(|_| disk::installer_of(&directory)),
        without_key,
        room: rustix::fs::statvfs(mount).ok().map(|found| found.f_bavail * found.f_frsize),
        real: fs::canonicalize(&directory).ok(),
        seed: vm.cloud_init.as_ref().and_then(|_| fs::read(seed::path(&directory)).ok()),
        started: started_file(context, name).exists(),
    }
}

/// Why a disk that was put there cannot be taken: it does not stand for itself.
fn based(disk: &Path) -> Option<String> {
    let other = qcow2::needs(disk).files.into_iter().next()?;
    Some(format!(
        "{} needs another file, {}, which a guest's disk may not; `qemu-img convert -O qcow2 OLD NEW` \
         makes one that stands for itself",
        disk.display(),
        shown(&other.display().to_string())
    ))
}

/// The file that says that a machine was started since boot.
pub fn started_file(context: &Context, name: &str) -> PathBuf {
    context.runtime.join(STARTED).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t33_a_disk_that_was_put_there_stands_for_itself() {
        use bedplate_tools::command::CommandExt as _;
        use bedplate_tools::qemu_img;
        let place = tempfile::tempdir().unwrap();
        let [own, over] = ["own.qcow2", "over.qcow2"].map(|name| place.path().join(name));
        let create = |arguments: &[&str], path: &Path| {
            let mut command = std::process::Command::new("qemu-img");
            command.args(["create", "-q", "-f", "qcow2"]).args(arguments).arg(path);
            command.run().unwrap();
        };
        qemu_img::create(&own, 1 << 20).unwrap();
        create(&["-F", "qcow2", "-b", own.to_str().unwrap()], &over);
        assert_eq!(based(&own), None);
        let why = based(&over).unwrap();
        assert!(why.contains("own.qcow2") && why.contains("stands for itself"), "{why}");
    }

    /// A machine of ours after so many external snapshots.
    fn snapshots(count: usize) -> Option<String> {
        let tag = "<metadata><b:vm xmlns:b='urn:bedplate:vm:1' intent='ab'/></metadata>";
        let chain = "<backingStore>".repeat(count) + &"</backingStore>".repeat(count);
        let disk = format!("<disk><source file='/mnt/vmstore/haos/{count}'/>{chain}</disk>");
        Some(format!("<domain>{tag}<devices>{disk}</devices></domain>"))
    }

    #[test]
    fn t49_a_long_chain_of_snapshots_is_read_and_one_that_is_not_is_known_as_unread() {
        let of = |persistent, live: Option<String>| {
            let running = live.is_some();
            let one = Domain { persistent, live, running, ..Domain::default() };
            domain(&one, Path::new("/no/logs"))
        };
        // libvirt follows 200.
        let long = of(snapshots(200), snapshots(200));
        assert!(!long.is_unread && long.held.is_some() && long.live.is_some());
        let (longer, live) = (of(snapshots(1000), None), of(snapshots(1), snapshots(1000)));
        for found in [longer, live] {
            assert!(found.intent.is_some(), "it is ours");
            assert!(found.is_unread, "{found:?}");
        }
    }
}
