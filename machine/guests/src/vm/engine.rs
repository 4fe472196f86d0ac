//! Does what was decided about virtual machines.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_events::Outcome;
use bedplate_libvirt::LibvirtError;
use bedplate_model::host::{HostFile, Vm};
use bedplate_tools::command::CommandError;
use bedplate_tools::qemu_img::{self, QemuImageError};
use bedplate_tools::virsh::Virsh;

use super::accelerator::Accelerator;
use super::diff::{self, Action};
use super::directory::{self, DirectoryError};
use super::disk::{self, DiskError};
use super::domain;
use super::observe::{self, DomainFound, Observed};
use super::seed;
use super::usb;
use super::users;
use bedplate_engine::{StepFailure, StepReporter};
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Description, Kind, Resource};
use bedplate_tools::atomic::{self, WriteError};

/// What can go wrong with virtual machines.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// libvirt did not say which domains there are.
    #[error("libvirt could not be looked at")]
    Look(#[from] LibvirtError),
    /// `virsh` could not ask or tell a machine something.
    #[error("libvirt could not be told")]
    Libvirt(#[from] CommandError),
    /// The XML of a domain, or the image for cloud-init, could not be put together.
    #[error("the definition could not be written")]
    Definition(#[source] io::Error),
    /// An image of a disk.
    #[error("the disk could not be made ready")]
    Disk(#[from] DiskError),
    /// An image of a disk.
    #[error("the disk could not be looked at or changed")]
    Image(#[from] QemuImageError),
    /// The directory.
    #[error("the directory of the machine is in doubt")]
    Directory(#[from] DirectoryError),
    /// A note of ours.
    #[error("could not note the state of a machine")]
    Note(#[from] WriteError),
    /// The probe of the accelerator.
    #[error("could not note what runs guests")]
    Probe(#[source] io::Error),
    /// The world moved.
    #[error("{0}")]
    Changed(String),
}

impl StepFailure for VmError {}

/// All virtual machines.
#[derive(Debug, Clone)]
pub struct VirtualMachines {
    pub(super) virsh: Virsh,
}

impl Default for VirtualMachines {
    fn default() -> Self {
        Self::of(super::LIBVIRT)
    }
}

impl VirtualMachines {
    /// Those of the libvirt at `uri`.
    pub fn of(uri: &str) -> Self {
        Self { virsh: Virsh::new(uri) }
    }
}

impl Kind for VirtualMachines {
    type Observed = Observed;
    type Action = Action;
    type Error = VmError;

    const NAME: &'static str = "vm";
    const ADVICE: &'static str = "see what it names, then run `bedplate-host converge` again; other machines are not affected";

    fn observe(&self, context: &Context) -> Result<Observed, VmError> {
        observe::observe(&self.virsh, context)
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        diff::diff(intent, observed)
    }

    fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        diff::describe(intent, observed, name)
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        of_step: &StepReporter<'_>,
    ) -> Result<Outcome, VmError> {
        match action {
            Action::MakeDirectory { vm } => {
                directory::make(&Declared::find(context, vm)?.directory)?;
            }
            Action::FetchDisk { vm } => Declared::find(context, vm)?.fetch_disk(of_step)?,
            Action::FetchInstaller { vm } => Declared::find(context, vm)?.fetch_iso(of_step)?,
            Action::MakeDisk { vm, bytes } => {
                disk::make_empty(&Declared::find(context, vm)?.checked_disk()?, *bytes)?;
            }
            Action::Enlarge { vm, bytes } => return self.enlarge(context, vm, *bytes),
            Action::WriteSeed { vm } => write_seed(context, vm)?,
            Action::Define { vm, intent, machine, .. } => {
                self.define(context, vm, intent, machine.as_deref())?;
            }
            Action::Autostart { vm, wanted } => self.virsh.autostart(vm, *wanted)?,
            Action::Start { vm } => {
                self.virsh.start(vm)?;
                remember(context, vm)?;
            }
            Action::Resume { vm } => self.virsh.resume(vm)?,
            Action::AttachUsb { vm, vendor, product, address, gone } => {
                if let Some(gone) = gone {
                    // Where QEMU has let it go by itself there is nothing to take.
                    let _ = self.virsh.detach(vm, &usb::xml(vendor, product, *gone));
                }
                self.virsh.attach(vm, &usb::xml(vendor, product, *address))?;
            }
            Action::Remember { vm } => remember(context, vm)?,
            Action::Destroy { vm } => self.virsh.destroy(vm)?,
            Action::Undefine { vm } => {
                // First: a cut in between leaves what is found and undefined the next time.
                forget(context, vm)?;
                self.virsh.undefine(vm)?;
            }
            Action::DeleteDirectory { vm } => {
                let machine = Declared::find(context, vm)?;
                self.expect_unused(context, vm, &machine.directory)?;
                directory::delete(machine.pool, &machine.directory, &context.mounts)?;
            }
        }
        Ok(Outcome::Done)
    }
}

impl VirtualMachines {
    /// Does what cannot wait for the next converge and changes nothing that host.toml says: a guest that
    /// waits for room goes on. `done` is told what was done.
    pub fn tend(
        &self,
        context: &Context,
        of_step: &StepReporter<'_>,
        done: &mut dyn FnMut(&Action),
    ) -> Result<(), VmError> {
        let observed = self.observe(context)?;
        let resources = diff::diff(&context.intent, &observed);
        let actions = resources.iter().flat_map(|one| &one.actions);
        self.perform_each(context, actions.filter(|one| one.is_tending()), of_step, done)
    }

    /// One that fails keeps none of the others: they are of other machines. The first failure is told.
    fn perform_each<'a>(
        &self,
        context: &Context,
        actions: impl Iterator<Item = &'a Action>,
        of_step: &StepReporter<'_>,
        done: &mut dyn FnMut(&Action),
    ) -> Result<(), VmError> {
        let mut result = Ok(());
        for action in actions {
            match self.perform(context, action, of_step) {
                Ok(_) => done(action),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn define(
        &self,
        context: &Context,
        name: &str,
        decided: &str,
        kept: Option<&str>,
    ) -> Result<(), VmError> {
        let machine = Declared::find(context, name)?;
        machine.checked_disk()?;
        let accelerator = Accelerator::of_this_boot(&context.runtime, &context.state);
        let accelerator = accelerator.map_err(VmError::Probe)?;
        let (intent, vm, kept) = (&context.intent, machine.vm, kept.unwrap_or(domain::NEWEST));
        let wanted = domain::define_as(intent, name, vm, &machine.directory, accelerator, kept);
        let wanted = wanted.map_err(VmError::Definition)?;
        if wanted.intent != decided {
            let what = "what runs guests has changed since it was looked at; nothing was defined";
            return Err(VmError::Changed(what.to_owned()));
        }
        Ok(self.virsh.define(&wanted.xml)?)
    }

    /// Looks again, right before a directory is deleted: every domain counts, that of the machine
    /// itself, too, if it is still there.
    fn expect_unused(
        &self,
        context: &Context,
        name: &str,
        directory: &Path,
    ) -> Result<(), VmError> {
        let real = fs::canonicalize(directory).ok();
        let is_gone = |path: &Path| observe::is_gone(context, path);
        for one in bedplate_libvirt::domains(self.virsh.uri())? {
            let files = users::files(&self.virsh, &one, &is_gone);
            let found = DomainFound { files, ..DomainFound::default() };
            if let Some(why) = users::uses(&one.name, &found, directory, real.as_deref()) {
                return Err(VmError::Changed(format!("of {name}, {why}")));
            }
        }
        Ok(())
    }

    fn enlarge(&self, context: &Context, name: &str, bytes: u64) -> Result<Outcome, VmError> {
        let disk = Declared::find(context, name)?.checked_disk()?;
        if qemu_img::info(&disk, Some("qcow2"))?.virtual_size >= bytes {
            return Ok(Outcome::AlreadyDone);
        }
        if self.virsh.running()?.iter().any(|running| running == name) {
            self.virsh.enlarge_disk(name, &disk.to_string_lossy(), bytes)?;
        } else {
            qemu_img::enlarge(&disk, bytes)?;
        }
        Ok(Outcome::Done)
    }
}

fn write_seed(context: &Context, name: &str) -> Result<(), VmError> {
    let machine = Declared::find(context, name)?;
    let path = seed::path(&machine.directory);
    directory::check_file(&machine.directory, &path)?;
    let bytes = diff::wanted_seed(&context.intent, name, machine.vm);
    let Some(bytes) = bytes.map_err(VmError::Definition)? else { return Ok(()) };
    // For QEMU, which runs as its own user. There is no secret in it.
    Ok(atomic::write_bytes(&path, &bytes, 0o644)?)
}

fn remember(context: &Context, name: &str) -> Result<(), VmError> {
    Ok(atomic::write(&observe::started_file(context, name), "", 0o644)?)
}

/// Declared again within this boot, a machine is a new one, and is started.
fn forget(context: &Context, name: &str) -> Result<(), VmError> {
    let path = observe::started_file(context, name);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(VmError::Note(WriteError { path, source }))
        }
        _ => Ok(()),
    }
}

struct Declared<'a> {
    vm: &'a Vm,
    pool: &'a Path,
    directory: PathBuf,
}

impl<'a> Declared<'a> {
    fn find(context: &'a Context, name: &str) -> Result<Self, VmError> {
        let vm = context.intent.vms.get(name);
        let vm = vm.ok_or_else(|| VmError::Changed(format!("there is no machine `{name}`")))?;
        let pool = Path::new(context.pool_mount(&vm.pool).map_err(VmError::Changed)?);
        Ok(Self { vm, pool, directory: pool.join(name) })
    }

    fn checked_disk(&self) -> Result<PathBuf, VmError> {
        let disk = domain::disk_path(&self.directory, self.vm);
        directory::check_file(&self.directory, &disk)?;
        Ok(disk)
    }

    fn fetch_disk(&self, of_step: &StepReporter<'_>) -> Result<(), VmError> {
        self.checked_disk()?;
        let Some(image) = &self.vm.disk_image else { return Ok(()) };
        Ok(disk::fetch_disk(image, &self.directory, of_step)?)
    }

    fn fetch_iso(&self, of_step: &StepReporter<'_>) -> Result<(), VmError> {
        let Some(image) = &self.vm.iso_image else { return Ok(()) };
        directory::check_file(&self.directory, Path::new(&image.dest))?;
        Ok(disk::fetch_installer(image, &self.directory, of_step)?)
    }
}

#[cfg(test)]
mod tests {
    use bedplate_engine::Reporter;

    use super::*;
    use bedplate_sample as sample;
    use bedplate_tools::mounts::Mounts;

    fn context(place: &Path) -> Context {
        Context {
            intent: sample::intent(),
            mounts: Mounts::default(),
            configuration: place.join("etc"),
            runtime: place.join("run"),
            state: place.join("state"),
        }
    }

    #[test]
    fn t50_what_fails_for_one_machine_keeps_no_other_from_going_on() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("virsh");
        let script = "#!/bin/sh\ncase \"$*\" in *attach-device*) exit 1;; esac\n";
        bedplate_tools::atomic::write(&program, script, 0o700).unwrap();
        let virsh = Virsh::new("qemu:///system").with_program(program);
        let machines = VirtualMachines { virsh };
        let attach = Action::AttachUsb {
            vm: "apps".into(),
            vendor: "1a86".into(),
            product: "7523".into(),
            address: (1, 7),
            gone: None,
        };
        let actions = [attach, Action::Resume { vm: "haos".into() }];
        let nobody = Reporter::new(Vec::new());
        let mut done = Vec::new();
        let result = machines.perform_each(
            &context(place.path()),
            actions.iter(),
            &StepReporter::new(&nobody, "tend"),
            &mut |action| done.push(action.to_string()),
        );
        assert!(matches!(result, Err(VmError::Libvirt(_))), "{result:?}");
        assert_eq!(done, ["resume haos"]);
    }

    #[test]
    fn a_machine_that_is_undefined_is_no_longer_known_as_started() {
        let place = tempfile::tempdir().unwrap();
        let context = context(place.path());
        remember(&context, "haos").unwrap();
        let note = observe::started_file(&context, "haos");
        assert!(note.exists());
        let nobody = Reporter::new(Vec::new());
        let of_step = StepReporter::new(&nobody, "undefine");
        let machines = VirtualMachines::of("test:///nowhere");
        let undefine = Action::Undefine { vm: "haos".into() };
        // No libvirt is there: what matters is that the note is gone before it is asked.
        for _ in 0..2 {
            machines.perform(&context, &undefine, &of_step).unwrap_err();
            assert!(!note.exists());
        }
    }
}
