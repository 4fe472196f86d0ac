//! USB devices of the host that guests get: told apart, and given again after they were pulled out.
//!
//! libvirt gives a device to a guest when the guest starts. One that is plugged in later, or again, is
//! another device to it. And of two of one kind it gives neither, unless it is told by bus and number,
//! which change with each plug: so what is named by serial number or port is given while the guest runs.

use std::fs;
use std::path::Path;

use bedplate_events::shown::shown;
use bedplate_model::host::{UsbDevice, Vm};

use super::diff::Action;
use super::model::{Usb, plain_id};
use super::observe::DomainFound;

/// What is plugged in, by the kernel.
pub const DEVICES: &str = "/sys/bus/usb/devices";

/// A device that is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plugged {
    /// Vendor, in four digits.
    pub vendor: String,
    /// Product id of the USB device.
    pub product: String,
    /// What it says of itself.
    pub serial: Option<String>,
    /// Bus and ports on the way to it: `1-1.4`.
    pub port: String,
    /// Bus and number: others after the next plug.
    pub address: (u32, u32),
}

/// Reads what is plugged in. What vanishes meanwhile is not.
pub fn plugged(devices: &Path) -> Vec<Plugged> {
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let one = |entry: fs::DirEntry| {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
        let text = |name: &str| read(name).map(|text| text.trim().to_owned());
        let number = |name: &str| text(name)?.parse().ok();
        Some(Plugged {
            vendor: plain_id(&text("idVendor")?),
            product: plain_id(&text("idProduct")?),
            serial: text("serial"),
            port: entry.file_name().into_string().ok()?,
            address: (number("busnum")?, number("devnum")?),
        })
    };
    let mut found: Vec<_> = entries.filter_map(one).collect();
    found.sort_unstable_by(|one, other| one.port.cmp(&other.port));
    found
}

/// What is to be attached to a machine that runs, and which of its devices cannot be told apart.
pub fn decide(
    name: &str,
    vm: &Vm,
    found: &DomainFound,
    plugged: &[Plugged],
) -> (Vec<Action>, Vec<String>) {
    let (mut actions, mut wants) = (Vec::new(), Vec::new());
    // What it runs with cannot be read: nothing is known of what it has.
    let Some(live) = &found.live else { return (actions, wants) };
    // One that the guest is to get with its newest definition comes with that.
    let is_older = found.running.as_ref() != Some(&found.intent);
    for device in &vm.usb_devices {
        let fitting: Vec<_> = plugged.iter().filter(|one| fits(device, one)).collect();
        match fitting[..] {
            [] => {}
            [one] => {
                let has = live.usb.iter().any(|usb| usb.address == Some(one.address));
                if !has && (device.is_one() || !is_older) {
                    actions.push(attach(name, &live.usb, one, plugged));
                }
            }
            _ => wants.push(ambiguous(device, &fitting)),
        }
    }
    (actions, wants)
}

fn fits(wanted: &UsbDevice, one: &Plugged) -> bool {
    plain_id(&wanted.vendor_id) == one.vendor
        && plain_id(&wanted.product_id) == one.product
        && wanted.serial.as_ref().is_none_or(|serial| one.serial.as_ref() == Some(serial))
        && wanted.port.as_ref().is_none_or(|port| one.port == *port)
}

/// With the one of its kind that the guest still has on record and that is not there any more.
fn attach(name: &str, has: &[Usb], one: &Plugged, plugged: &[Plugged]) -> Action {
    let same_kind = |usb: &&Usb| (&usb.vendor, &usb.product) == (&one.vendor, &one.product);
    let is_gone = |address: &(u32, u32)| plugged.iter().all(|other| other.address != *address);
    let gone = has.iter().filter(same_kind).filter_map(|usb| usb.address).find(is_gone);
    Action::AttachUsb {
        vm: name.to_owned(),
        vendor: one.vendor.clone(),
        product: one.product.clone(),
        address: one.address,
        gone,
    }
}

fn ambiguous(device: &UsbDevice, fitting: &[&Plugged]) -> String {
    let one = |one: &&Plugged| {
        let serial = one.serial.as_deref().map(shown).unwrap_or_else(|| "none".to_owned());
        format!("port \"{}\" (serial number {serial})", shown(&one.port))
    };
    let all: Vec<_> = fitting.iter().take(8).map(one).collect();
    format!(
        "USB devices that cannot be told apart: {} of {}:{} are plugged in, at {}; write `serial` or \
         `port` of the one that is meant into `usb_devices`",
        fitting.len(),
        device.vendor_id,
        device.product_id,
        all.join(", ")
    )
}

/// The device at this place, for a guest that runs. libvirt compares vendor and product with what is
/// there.
pub fn xml(vendor: &str, product: &str, (bus, device): (u32, u32)) -> String {
    format!(
        "<hostdev mode='subsystem' type='usb' managed='yes'><source><vendor id='0x{vendor}'/>\
         <product id='0x{product}'/><address bus='{bus}' device='{device}'/></source></hostdev>"
    )
}

#[cfg(test)]
mod tests {
    use super::super::model::Model;
    use super::*;
    use bedplate_sample as sample;

    fn stick(port: &str, serial: &str, address: (u32, u32)) -> Plugged {
        Plugged {
            vendor: "1a86".into(),
            product: "7523".into(),
            serial: (!serial.is_empty()).then(|| serial.to_owned()),
            port: port.into(),
            address,
        }
    }

    fn running(devices: &str) -> DomainFound {
        let xml = format!("<domain><devices>{devices}</devices></domain>");
        DomainFound {
            intent: Some("ab".into()),
            running: Some(Some("ab".into())),
            live: Model::parse(&xml).ok(),
            ..DomainFound::default()
        }
    }

    fn vm(serial: Option<&str>, port: Option<&str>) -> Vm {
        let mut vm = sample::intent().vms["haos"].clone();
        vm.usb_devices[0].serial = serial.map(str::to_owned);
        vm.usb_devices[0].port = port.map(str::to_owned);
        vm
    }

    fn titles(actions: &[Action]) -> Vec<String> {
        actions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_device_that_is_plugged_in_again_is_attached_again() {
        let has = xml("1a86", "7523", (1, 3));
        let at = |address| [stick("1-1", "", address)];
        let decided =
            |found: &DomainFound, address| decide("haos", &vm(None, None), found, &at(address));
        assert!(decided(&running(&has), (1, 3)).0.is_empty(), "it has it");
        let (again, wants) = decided(&running(&has), (1, 7));
        assert_eq!(titles(&again), ["attach the USB device 1a86:7523 (bus 1, device 7) to haos"]);
        assert!(wants.is_empty());
        let Action::AttachUsb { gone, .. } = &again[0] else { panic!("{again:?}") };
        assert_eq!(*gone, Some((1, 3)), "what it had is taken from it first");
        // Never there before, and not there now.
        assert_eq!(decided(&running(""), (1, 7)).0.len(), 1);
        assert!(decide("haos", &vm(None, None), &running(&has), &[]).0.is_empty());
        // A guest that runs with an older definition gets it with the newer.
        let older = DomainFound { running: Some(Some("older".into())), ..running("") };
        assert!(decided(&older, (1, 7)).0.is_empty());
        let unread = DomainFound { live: None, ..running("") };
        assert!(decided(&unread, (1, 7)).0.is_empty());
    }

    #[test]
    fn two_devices_of_one_kind_are_told_apart_or_told_of() {
        let both = [stick("1-1", "A", (1, 3)), stick("1-2.4", "B", (1, 4))];
        let (actions, wants) = decide("haos", &vm(None, None), &running(""), &both);
        assert!(actions.is_empty(), "{actions:?}");
        for part in ["1-2.4", "serial number B", "`serial` or `port`"] {
            assert!(wants[0].contains(part), "{part}: {wants:?}");
        }
        let of = |vm: &Vm| titles(&decide("haos", vm, &running(""), &both).0).join("");
        assert!(of(&vm(Some("B"), None)).contains("device 4"));
        assert!(of(&vm(None, Some("1-1"))).contains("device 3"));
        assert_eq!(of(&vm(Some("C"), None)), "");
        assert_eq!(of(&vm(Some("B"), Some("1-1"))), "");
    }

    #[test]
    fn what_is_plugged_in_is_read_from_the_kernel() {
        let place = tempfile::tempdir().unwrap();
        for (name, files) in [
            (
                "1-1.4",
                &[
                    ("idVendor", "1a86\n"),
                    ("idProduct", "7523\n"),
                    ("busnum", "1\n"),
                    ("devnum", "12\n"),
                ][..],
            ),
            ("1-1.4:1.0", &[("bInterfaceClass", "ff\n")]),
        ] {
            fs::create_dir(place.path().join(name)).unwrap();
            for (file, text) in files {
                fs::write(place.path().join(name).join(file), text).unwrap();
            }
        }
        assert_eq!(plugged(place.path()), [stick("1-1.4", "", (1, 12))]);
        assert!(plugged(&place.path().join("none")).is_empty());
    }
}
