use super::*;

/// What git, ssh, a shell, a path or a terminal would misread in an address.
pub(crate) const MISREAD: [&str; 15] = [
    "",
    "-x",
    "a b",
    "a\nb",
    "$(id)",
    "`id`",
    "a;b",
    "a\"b",
    "a'b",
    "a\\b",
    "a\u{1b}[2J",
    "é",
    "../x",
    "a/../b",
    "ext::sh",
];

/// A rule with its name, and what it refuses beside what all do.
type Refusing<'a> = (&'a str, Rule, &'a [&'a str]);

/// Each rule refuses what all do and what is its own, and says so in one line.
pub(crate) fn refuse(all: &[&str], rules: &[Refusing<'_>]) {
    for (name, rule, more) in rules {
        for text in all.iter().chain(*more) {
            let wrong = rule(text).err().unwrap_or_else(|| panic!("{name} accepts {text:?}"));
            assert!(!wrong.message.contains(['\n', '\u{1b}']), "{name}: {wrong:?}");
        }
    }
}

/// Each rule takes what people write.
pub(crate) fn accept(rules: &[(Rule, &[&str])]) {
    for (rule, texts) in rules {
        for text in *texts {
            assert_eq!(rule(text), Ok(()), "{text}");
        }
    }
}

const HOSTILE: [&str; 14] = [
    "",
    "a b\nc",
    "../x",
    "-x",
    "a/../b",
    "${x}",
    "`id`",
    "$(id)",
    "a\"b",
    "a'b",
    "<x>",
    "a&b;c",
    "a\u{1b}[0m",
    "é",
];

#[test]
fn t16_t17_t18_hostile_strings_are_refused_everywhere() {
    let rules: [(&str, Rule); 21] = [
        ("host_name", host_name),
        ("role", role),
        ("pool", pool),
        ("vm", vm),
        ("user", user),
        ("by_id", by_id),
        ("serial", serial),
        ("absolute_path", absolute_path),
        ("mount_point", mount_point),
        ("relative_path", relative_path),
        ("volume_id", volume_id),
        ("state_version", state_version),
        ("timezone", timezone),
        ("locale", locale),
        ("ssh_key", ssh_key),
        ("interface", interface),
        ("mac", mac),
        ("usb_id", usb_id),
        ("usb_port", usb_port),
        ("package", package),
        ("export_option", export_option),
    ];
    refuse(&HOSTILE, &rules.map(|(name, rule)| (name, rule, [].as_slice())));
}

#[test]
fn t08_partitions_are_refused() {
    assert!(by_id("nvme-X_1-part1").is_err());
    assert!(by_id("nvme-X_1-parting").is_ok());
    assert!(by_id("wwn-0x5000c500a1b2c3d4").is_ok());
}

#[test]
fn a_key_that_was_cut_or_is_of_another_kind_lets_nobody_in() {
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZv me@home";
    assert_eq!(ssh_key(key), Ok(()));
    assert!(ssh_key(&key[..76]).is_err());
    assert!(ssh_key(&key.replace("ssh-ed25519", "ssh-rsa")).is_err());
}

#[test]
fn t56_a_path_of_a_disk_is_told_with_a_name_that_is_accepted() {
    for (path, name) in [("ata-A_1", "ata-A_1"), ("ata-A_1-part2", "ata-A_1")] {
        let wrong = by_id(&format!("/dev/disk/by-id/{path}")).unwrap_err();
        assert_eq!(wrong.help, format!("write only the name: `{name}`"));
    }
    let nameless = by_id("/dev/disk/by-id/").unwrap_err();
    assert!(!nameless.help.contains("``"), "{nameless:?}");
    assert!(by_id("ata-A_1-part2").is_err() && by_id("ata-A_1-part").is_ok());
}
