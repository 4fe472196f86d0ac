use super::*;

const UEFI: &str = include_str!("../recorded/uefi.xml");
/// With a second disk, a second network card, more memory, more processors and a description.
const BY_HAND: &str = include_str!("../recorded/by_hand.xml");
/// After `virsh snapshot-create-as haos before-update --disk-only`.
const OVERLAY: &str = include_str!("../recorded/overlay.xml");

fn model(xml: &str) -> Model {
    Model::parse(xml).unwrap()
}

fn base() -> &'static Path {
    Path::new("/mnt/vmstore/haos/haos.qcow2")
}

#[test]
fn t49_everything_that_was_added_by_hand_is_named_before_it_goes() {
    let lines = changes(&model(BY_HAND), &model(UEFI)).lines();
    assert_eq!(
        lines,
        [
            "takes away the disk vdb (/mnt/vmstore/haos/data.qcow2)",
            "takes away 2 processors at first",
            "takes away description by hand",
            "takes away network card 52:54:00:aa:bb:cc on bridge br1 (virtio)",
            "memory of 6144 MiB becomes 4096 MiB",
            "processors: 4 becomes 2",
        ]
    );
    assert!(changes(&model(UEFI), &model(UEFI)).is_empty());
    // What was taken out by hand comes back.
    let back = changes(&model(UEFI), &model(BY_HAND)).lines();
    assert!(
        back.contains(&"adds the disk vdb (/mnt/vmstore/haos/data.qcow2)".to_owned()),
        "{back:?}"
    );
}

#[test]
fn t49_settings_of_devices_and_of_the_whole_are_seen() {
    let with = |from: &str, to: &str| {
        let xml = UEFI.replacen(from, to, 1);
        assert_ne!(xml, UEFI, "{from}");
        changes(&model(&xml), &model(UEFI)).lines().join("; ")
    };
    let device = |xml: &str| with("</devices>", &format!("{xml}</devices>"));
    let pci = "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0x0000' \
               bus='0x01' slot='0x00' function='0x0'/></source></hostdev>";
    for (told, wanted) in [
        (with("discard='unmap'", "discard='unmap' cache='none'"), "cache=none of the disk vda"),
        (with("<boot order='1'/>", "<serial>ABC</serial>"), "serial ABC of the disk vda"),
        (device(pci), "device of the host: pci"),
        (
            device("<filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>"),
            "/srv",
        ),
        (
            device(
                "<hostdev type='usb'><source><vendor id='0x0403'/><product id='0x6001'/></source></hostdev>",
            ),
            "the USB device 0403:6001",
        ),
        (
            device("<memory model='dimm'><target><size unit='KiB'>524288</size></target></memory>"),
            "memory module dimm",
        ),
        (
            device("<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
            "tpm emulator 2.0",
        ),
        (
            with("<features>", "<cputune><vcpupin vcpu='0' cpuset='1'/></cputune><features>"),
            "cputune",
        ),
        (with("<features>", "<memoryBacking><hugepages/></memoryBacking><features>"), "hugepages"),
        (with("<acpi/>", "<acpi/><hyperv><relaxed state='on'/></hyperv>"), "hyperv"),
        (with("offset='utc'", "offset='localtime'"), "clock localtime"),
        (with(">Nehalem<", ">Skylake-Client<"), "Skylake-Client"),
        (
            with(
                "</domain>",
                "<qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>",
            ),
            "-x",
        ),
        (
            with(
                "name='secure-boot'/>",
                "name='secure-boot'/></firmware><bootmenu enable='yes'/><firmware>",
            ),
            "bootmenu",
        ),
    ] {
        assert!(told.starts_with("takes away ") && told.contains(wanted), "{wanted}: {told}");
    }
    assert_eq!(with("bus='virtio'/>", "bus='sata'/>").matches("becomes").count(), 1);
    // An installer that was ejected is no change.
    let installer = include_str!("../recorded/installer.xml");
    let ejected = installer.replacen("<source file='/mnt/vmstore/haos/installer.iso'/>", "", 1);
    assert_ne!(ejected, installer);
    assert!(changes(&model(&ejected), &model(installer)).is_empty());
}

#[test]
fn t59_what_a_definition_says_is_escaped_and_bounded() {
    let long = format!("<description>{}\u{1b}[2J</description>", "x".repeat(100_000));
    let many: String = (0..100).map(|n| format!("<disk><source file='/{n}'/></disk>")).collect();
    let xml = format!("<domain>{long}<devices>{many}</devices></domain>");
    let lines = changes(&model(&xml), &model("<domain/>")).lines();
    assert!(lines.len() == MOST + 1 && lines[MOST].ends_with(" more"), "{}", lines.len());
    assert!(lines.iter().all(|line| line.len() < 300 && !line.contains('\u{1b}')));
}

#[test]
fn two_empty_drives_are_not_taken_for_one() {
    let drive = |name: &str| {
        format!("<disk type='file' device='cdrom'><target dev='{name}' bus='sata'/></disk>")
    };
    let two = format!("{}{}</devices>", drive("sdx"), drive("sdy"));
    let held = model(&UEFI.replacen("</devices>", &two, 1));
    assert!(changes(&held, &held).is_empty(), "{:?}", changes(&held, &held));
}

#[test]
fn the_machine_stays_as_it_was_first_defined() {
    assert_eq!(kept_machine(&model(UEFI)), Some("pc-q35-7.2"));
    let other = model(&UEFI.replace("pc-q35-7.2", "pc-i440fx-7.2"));
    assert_eq!(kept_machine(&other), None);
    let lines = changes(&other, &model(&UEFI.replace("pc-q35-7.2", "q35"))).lines();
    assert_eq!(lines, ["machine pc-i440fx-7.2 becomes q35"]);
}

fn found(held: &str, layer: Option<Layer>) -> DomainFound {
    let layers = layer.map(|layer| ("/mnt/vmstore/haos/haos.before-update".into(), layer));
    let layers = layers.into_iter().collect();
    DomainFound { held: Some(model(held)), layers, ..DomainFound::default() }
}

#[test]
fn t49_a_disk_is_not_put_back_beneath_its_overlay() {
    assert_eq!(other_disk("haos", &found(UEFI, None), base()), None);
    let based = |on: &str| Some(Layer::Based(vec![on.into()]));
    let mut overlaid = found(OVERLAY, based("/mnt/vmstore/haos/haos.qcow2"));
    let why = other_disk("haos", &overlaid, base()).unwrap();
    for part in ["haos.before-update", "`virsh start haos`", "virsh blockcommit haos vda --active"]
    {
        assert!(why.contains(part), "{part}: {why}");
    }
    overlaid.running = Some(None);
    assert!(!other_disk("haos", &overlaid, base()).unwrap().contains("virsh start"));
    // Whatever stands before it.
    let before =
        "<disk type='file' device='disk'><source file='/srv/x'/><target dev='hda'/></disk><disk";
    let mut second =
        found(&OVERLAY.replacen("<disk", before, 1), based("/mnt/vmstore/haos/haos.qcow2"));
    second.layers.insert("/srv/x".into(), Layer::Based(Vec::new()));
    assert!(other_disk("haos", &second, base()).unwrap().contains("blockcommit haos vda"));
    // Only what it runs with has it: a copy of blocks, or a snapshot that is not written down.
    let live =
        DomainFound { live: overlaid.held.take(), held: Some(model(UEFI)), ..overlaid.clone() };
    assert!(other_disk("haos", &live, base()).unwrap().contains("blockcommit"));
}

#[test]
fn t49_another_disk_than_ours_is_refused_unless_it_was_moved() {
    // It is there and based on nothing of ours; or nobody can say what it is.
    for layer in [Some(Layer::Based(Vec::new())), None] {
        let why = other_disk("haos", &found(OVERLAY, layer), base()).unwrap();
        assert!(why.contains("virsh domblklist haos") && !why.contains("blockcommit"), "{why}");
    }
    assert_eq!(other_disk("haos", &found(OVERLAY, Some(Layer::Gone)), base()), None);
    let volume = UEFI.replace("file='/mnt/vmstore/haos/haos.qcow2'", "pool='p' volume='v'");
    let why = other_disk("haos", &found(&volume, None), base()).unwrap();
    assert!(why.contains("volume v of p"), "{why}");
}
