use super::super::domain::{self, NEWEST};
use super::*;

/// What libvirt 9.0 with QEMU 7.2 made of a definition of ours, by `virsh dumpxml --inactive`.
const RECORDED: [(&str, &str); 7] = [
    ("bios", include_str!("../recorded/bios.xml")),
    ("uefi", include_str!("../recorded/uefi.xml")),
    ("secure_boot", include_str!("../recorded/secure_boot.xml")),
    ("installer", include_str!("../recorded/installer.xml")),
    ("home_assistant", include_str!("../recorded/home_assistant.xml")),
    ("cloud_image", include_str!("../recorded/cloud_image.xml")),
    ("emulated_twice", include_str!("../recorded/emulated_twice.xml")),
];

#[test]
fn t49_what_libvirt_makes_of_a_definition_of_ours_is_the_same() {
    let shapes = domain::tests::shapes();
    for (name, recorded) in RECORDED {
        let shape = shapes.iter().find(|(shape, _)| *shape == name);
        let ours = shape.map(|(_, definition)| definition.xml.clone()).unwrap_or_else(|| {
            // There is no TPM where it was recorded.
            let (_, with) =
                shapes.iter().find(|(shape, _)| *shape == "secure_boot_with_tpm").unwrap();
            let (before, rest) = with.xml.split_once("<tpm").unwrap();
            format!("{before}{}", rest.split_once("</tpm>").unwrap().1)
        });
        let (held, wanted) = (Model::parse(recorded).unwrap(), Model::parse(&ours).unwrap());
        let changes = super::super::compare::changes(&held, &wanted);
        assert!(changes.is_empty(), "{name}: {changes:?}");
        assert_eq!(held.machine, "pc-q35-7.2");
        assert_eq!((wanted.machine.as_str(), held.firmware), (NEWEST, wanted.firmware), "{name}");
    }
}

/// Whatever libvirt is installed here, as far as its driver for tests goes.
#[test]
fn t49_what_this_libvirt_makes_of_a_definition_of_ours_is_the_same() {
    use bedplate_tools::command::CommandExt as _;
    let place = tempfile::tempdir().unwrap();
    for (name, definition) in domain::tests::shapes() {
        let path = place.path().join(name);
        let xml = definition.xml.replace("domain type=\"qemu\"", "domain type=\"test\"");
        std::fs::write(&path, xml).unwrap();
        let script = format!("define {}; dumpxml --inactive haos", path.display());
        let mut virsh = std::process::Command::new("virsh");
        let dumped =
            virsh.args(["--quiet", "--connect", "test:///default", &script]).read().unwrap();
        let (held, wanted) = (Model::parse(&dumped), Model::parse(&definition.xml));
        let changes = super::super::compare::changes(&held.unwrap(), &wanted.unwrap());
        assert!(changes.is_empty(), "{name}: {changes:?}");
    }
}

#[test]
fn units_and_hexadecimal_are_understood() {
    let memory = |text: &str| {
        let xml = format!("<domain>{text}</domain>");
        Model::parse(&xml).unwrap().memory
    };
    assert_eq!(memory("<memory>2048</memory>"), 2048);
    assert_eq!(memory("<memory unit='MiB'>2</memory>"), 2048);
    assert_eq!(memory("<memory unit='GiB'>1</memory>"), 1 << 20);
    assert_eq!(memory("<memory unit='b'>2097152</memory>"), 2048);
    assert_eq!(memory("<memory unit='MB'>1024</memory>"), 1_000_000);
    assert_eq!(memory("<memory>nonsense</memory>"), 0);
    assert_eq!(plain_id("0x1A86"), "1a86");
    assert_eq!(plain_id("83"), "0083");
}

#[test]
fn t13_any_text_is_an_error_or_a_model() {
    for text in ["", "<domain", "<domain><os><type/></os><devices><disk/></devices></domain>"] {
        drop((Model::parse(text), paths(text)));
    }
}
