use super::super::inspect;
use super::*;
use crate::sample;

fn defined(change: impl FnOnce(&mut Vm)) -> Definition {
    let mut intent = sample::intent();
    change(intent.vms.get_mut("haos").unwrap());
    let vm = &intent.vms["haos"];
    define(&intent, "haos", vm, Path::new("/mnt/vmstore/haos"), Accelerator::Software).unwrap()
}

#[test]
fn an_appliance() {
    let definition = defined(|vm| vm.firmware = Firmware::Bios);
    insta::assert_snapshot!(definition.xml);
    assert_eq!(inspect::intent(&definition.xml).unwrap(), Some(definition.intent));
}

#[test]
fn uefi_with_an_installer() {
    let xml = defined(|vm| {
        vm.firmware = Firmware::Uefi;
        vm.usb_devices.clear();
        vm.iso_image = vm.disk_image.take().map(|mut image| {
            image.dest = "/mnt/vmstore/haos/installer.iso".into();
            image
        });
    });
    insta::assert_snapshot!(xml.xml);
}

#[test]
fn t34_no_string_leaves_its_attribute_or_element() {
    let attack = "x'/><evil a=\"&]]>";
    let xml = defined(|vm| {
        vm.bridge = attack.into();
        vm.disk_image.as_mut().unwrap().dest = attack.into();
        vm.mac_address = Some(attack.into());
        vm.usb_devices[0].vendor_id = attack.into();
    })
    .xml;
    assert!(!xml.contains("<evil"), "{xml}");
    assert!(inspect::intent(&xml).unwrap().is_some());
}

#[test]
fn the_hash_follows_the_intent() {
    let one = defined(|_| ());
    assert_eq!(one, defined(|_| ()));
    assert_ne!(one.intent, defined(|vm| vm.vcpu = 3).intent);
}
