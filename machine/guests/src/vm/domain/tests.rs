use super::super::inspect;
use super::*;
use bedplate_model::host::VmNic;
use bedplate_sample as sample;

fn defined(change: impl FnOnce(&mut Vm)) -> Definition {
    defined_on(Accelerator::Software, change)
}

fn defined_on(accelerator: Accelerator, change: impl FnOnce(&mut Vm)) -> Definition {
    let mut intent = sample::intent();
    change(intent.vms.get_mut("haos").unwrap());
    let vm = &intent.vms["haos"];
    define(&intent, "haos", vm, Path::new("/mnt/vmstore/haos"), accelerator).unwrap()
}

#[test]
fn the_hash_is_read_back_from_the_metadata() {
    let definition = defined(|_| ());
    assert_eq!(inspect::intent(&definition.xml).unwrap(), Some(definition.intent));
}

#[test]
fn t34_no_string_leaves_its_attribute_or_element() {
    let attack = "x'/><evil a=\"&]]>";
    let xml = defined(|vm| {
        vm.bridge = attack.into();
        vm.disk_image.as_mut().unwrap().dest = attack.into();
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

#[test]
fn a_device_that_is_one_of_several_is_not_in_the_definition() {
    let plain = defined(|vm| vm.usb_devices.clear());
    let serial = |vm: &mut Vm| vm.usb_devices[0].serial = Some("A".into());
    assert_eq!(defined(serial), plain);
    assert_ne!(defined(|_| ()), plain);
}

/// Every shape that host.toml can ask for, by name.
pub fn shapes() -> Vec<(&'static str, Definition)> {
    let installer = |vm: &mut Vm| {
        vm.usb_devices.clear();
        vm.iso_image = vm.disk_image.take().map(|mut image| {
            image.dest = "/mnt/vmstore/haos/installer.iso".into();
            image
        });
    };
    let seed = bedplate_model::host::CloudInit {
        hostname: "apps".into(),
        user: "admin".into(),
        ssh_keys: vec!["ssh-ed25519 AAAA".into()],
        packages: Vec::new(),
    };
    vec![
        ("bios", defined(|vm| vm.firmware = Firmware::Bios)),
        ("uefi", defined(|vm| vm.firmware = Firmware::Uefi)),
        (
            "secure_boot_with_tpm",
            defined(|vm| {
                vm.firmware = Firmware::UefiSecureBoot;
                vm.tpm = true;
                vm.disk_bus = DiskBus::Sata;
                installer(vm);
            }),
        ),
        ("installer", defined(installer)),
        (
            "home_assistant",
            defined(|vm| {
                vm.kind = bedplate_model::host::VmKind::Haos;
                vm.disk_bus = DiskBus::Scsi;
            }),
        ),
        (
            "cloud_image",
            defined(|vm| {
                vm.usb_devices.clear();
                vm.cloud_init = Some(seed);
                vm.vlan = Some(20);
                vm.guest_agent = false;
            }),
        ),
        (
            "two_networks_and_its_own_disk",
            defined(|vm| {
                vm.disk_image = None;
                vm.existing_disk = Some("web.qcow2".into());
                vm.usb_devices.clear();
                let written = Some("52:54:00:00:00:11".parse().unwrap());
                vm.nics = vec![
                    VmNic { bridge: "br1".into(), mac_address: written, vlan: Some(30) },
                    VmNic { bridge: "br1".into(), mac_address: None, vlan: None },
                ];
            }),
        ),
        ("emulated_twice", defined_on(Accelerator::SoftwareTwice, |_| ())),
    ]
}

#[test]
fn every_shape() {
    for (name, definition) in shapes() {
        insta::assert_snapshot!(name, definition.xml);
    }
}

/// libvirt's own schema, which `define --validate` asks.
#[test]
fn libvirt_takes_every_shape() {
    let virsh = |arguments: &[&str], xml: &str| {
        use bedplate_tools::command::CommandExt as _;
        let mut command = std::process::Command::new("virsh");
        command.args(["--quiet", "--connect", "test:///default"]).args(arguments);
        command.read_with_input(xml.as_bytes())
    };
    for (name, definition) in shapes() {
        let xml = definition.xml.replace("domain type=\"qemu\"", "domain type=\"test\"");
        let taken = virsh(&["define", "--validate", "/dev/stdin"], &xml);
        assert!(taken.is_ok(), "{name}: {taken:?}");
    }
    let wrong = shapes().remove(0).1.xml.replace("<vcpu>2</vcpu>", "<vcpus>2</vcpus>");
    assert!(virsh(&["define", "--validate", "/dev/stdin"], &wrong).is_err());
}
