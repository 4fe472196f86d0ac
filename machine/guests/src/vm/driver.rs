//! Virtual machines as a kind of guest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bedplate_engine::StepReporter;
use bedplate_model::host::{GuestSection as _, HostFile, State, Vm, VmNic};
use bedplate_resources::compared::{Prepared, prepare};
use bedplate_resources::context::Context;
use bedplate_resources::kind::Kind as _;

use super::accelerator::Accelerator;
use super::engine::VirtualMachines;
use super::model::plain_id;
use super::{diff, domain, hold, inspect, standing};
use crate::copies::{Copies, Copy, Known, PlanCopy, Wanted};
use crate::driver::{GuestDriver, GuestError, Want};
use crate::hold::HoldError;

/// Looks after USB devices of guests.
const TEND: &str = "bedplate-vm-tend.service";
/// Rules of udev, below `/etc`.
const PLUG_RULES: &str = "udev/rules.d/71-bedplate-guests.rules";

impl GuestDriver for VirtualMachines {
    fn kind(&self) -> &'static str {
        Self::NAME
    }

    fn section(&self) -> &'static str {
        Vm::SECTION
    }

    fn look(&self, context: &Context) -> Box<dyn Prepared> {
        prepare(self.clone(), context)
    }

    fn tend(
        &self,
        context: &Context,
        of_step: &StepReporter<'_>,
        done: &mut dyn FnMut(String),
    ) -> Result<(), GuestError> {
        let mut told = |action: &diff::Action| done(action.to_string());
        Ok(VirtualMachines::tend(self, context, of_step, &mut told)?)
    }

    fn judge(&self, want: &str) -> Want {
        match (diff::is_restart(want), standing::is_urgent(want)) {
            (true, _) => Want::HasTime,
            (false, false) => Want::Soon,
            (false, true) => Want::Urgent,
        }
    }

    /// As before there were other kinds: a guest that an older version held is let go by this one.
    fn notes(&self) -> String {
        "held".to_owned()
    }

    fn running(&self, names: Vec<String>) -> Result<Vec<String>, HoldError> {
        hold::running(&self.virsh, names)
    }

    fn hold(&self, name: &str, note: &Path) -> Result<(), HoldError> {
        hold::hold(&self.virsh, name, note)
    }

    fn let_go(&self, name: &str, note: &Path) -> Result<(), HoldError> {
        hold::let_go(&self.virsh, name, note)
    }

    fn free_by_hand(&self, name: &str) -> String {
        hold::free_by_hand(name)
    }

    fn copies(&self) -> Option<&dyn Copies> {
        Some(self)
    }

    fn services(&self) -> &'static [&'static str] {
        &["libvirtd.service", "libvirt-guests.service"]
    }

    fn files(&self, host: &HostFile, programs: &str, pools: &str) -> Vec<(PathBuf, String)> {
        let rules = plug_rules(host);
        if rules.is_empty() {
            return Vec::new();
        }
        let unit = Path::new("systemd/system").join(TEND);
        vec![(unit, tend_unit(programs, pools)), (PLUG_RULES.into(), rules)]
    }
}

/// At once when a USB device that a guest gets is plugged in, again or for the first time.
fn plug_rules(host: &HostFile) -> String {
    let vms = host.vms.values().filter(|vm| vm.state == State::Present);
    let kinds: BTreeSet<_> = vms
        .flat_map(|vm| &vm.usb_devices)
        .map(|device| (plain_id(&device.vendor_id), plain_id(&device.product_id)))
        .collect();
    let rule = |(vendor, product): &(String, String)| {
        format!(
            "ACTION==\"add\", SUBSYSTEM==\"usb\", ENV{{DEVTYPE}}==\"usb_device\", \
             ATTR{{idVendor}}==\"{vendor}\", ATTR{{idProduct}}==\"{product}\", \
             RUN+=\"/usr/bin/systemctl --no-block start {TEND}\"\n"
        )
    };
    kinds.iter().map(rule).collect()
}

/// Whoever changes things just then is waited for. What fails is tried again, and is told as anything else
/// that is not as host.toml says.
fn tend_unit(programs: &str, pools: &str) -> String {
    format!(
        "[Unit]\nDescription=Bedplate: USB devices of guests\nAfter=libvirtd.service {pools}\n\
         StartLimitIntervalSec=0\n\
         \n[Service]\nType=oneshot\nExecStart={programs}/bin/bedplate-host vm tend\n\
         Restart=on-failure\nRestartSec=60\nTimeoutStartSec=infinity\nLimitCORE=0\n"
    )
}

impl Copies for VirtualMachines {
    fn disk(&self, host: &HostFile, guest: &str) -> Option<PathBuf> {
        let (name, vm) = host.vms.get_key_value(guest)?;
        let directory = vm.guest(name, &host.pools).owns.into_iter().next()?;
        Some(domain::disk_path(&directory, vm))
    }

    fn known(&self) -> Result<BTreeMap<String, Known>, GuestError> {
        let mut known = BTreeMap::new();
        for one in bedplate_libvirt::domains(self.virsh.uri())? {
            // One whose definition cannot be understood does not carry our tag.
            let intent = one.persistent.as_deref().map(inspect::intent);
            let ours = matches!(intent, Some(Ok(Some(_))));
            known.insert(one.name, Known { ours, running: one.running });
        }
        Ok(known)
    }

    fn planner(&self, context: &Context) -> Result<PlanCopy, GuestError> {
        let accelerator = Accelerator::of_this_boot(&context.runtime, &context.state)?;
        Ok(Box::new(move |host, wanted| plan_copy(host, wanted, accelerator)))
    }

    fn define(&self, definition: &str) -> Result<(), GuestError> {
        Ok(self.virsh.define(definition)?)
    }

    fn stop(&self, copy: &str) -> Result<(), GuestError> {
        Ok(self.virsh.destroy(copy)?)
    }

    fn remove(&self, copy: &str) -> Result<(), GuestError> {
        Ok(self.virsh.undefine(copy)?)
    }
}

/// How a copy is made where `accelerator` runs guests.
pub fn plan_copy(host: &HostFile, wanted: &Wanted<'_>, accelerator: Accelerator) -> Option<Copy> {
    let vm = host.vms.get(wanted.guest).filter(|vm| vm.state == State::Present)?;
    let alone = alone(vm, wanted.bridge);
    let disk = domain::disk_path(wanted.directory, &alone);
    let defined = domain::define(host, wanted.copy, &alone, wanted.directory, accelerator);
    // A writer into memory does not fail.
    Some(Copy { disk, definition: defined.map(|defined| defined.xml).unwrap_or_default() })
}

/// A machine that reaches nothing of its model (T42). Without a MAC of its own it gets one from its name.
fn alone(vm: &Vm, bridge: &str) -> Vm {
    let elsewhere = VmNic { bridge: bridge.to_owned(), mac_address: None, vlan: None };
    Vm {
        mac_address: None,
        bridge: bridge.to_owned(),
        // Of the bridge it leaves; libvirt refuses it on one that keeps no VLANs apart.
        vlan: None,
        autostart: false,
        nics: vm.nics.iter().map(|_| elsewhere.clone()).collect(),
        usb_devices: Vec::new(),
        disk_image: None,
        iso_image: None,
        existing_disk: None,
        // Its seed was read at the first start, and stands beside the disk of the original alone.
        cloud_init: None,
        ..vm.clone()
    }
}
