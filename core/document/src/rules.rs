//! Which strings may stand in a document (T16, T17, T18).
//!
//! Every string ends up in a path, an argv, a unit file, XML, Nix or on a terminal. The
//! rules list what is allowed, so that nothing has to be quoted correctly later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::quote;

/// What is wrong with a string and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Wrong {
    fn new(text: &str, what: &str, help: &str) -> Self {
        Self { message: format!("{} is not {what}", quote(text)), help: help.to_owned() }
    }

    /// The same, saying which key it is about.
    pub(super) fn about(self, path: &str) -> Self {
        Self { message: format!("`{path}`: {}", self.message), help: self.help }
    }
}

/// A check of one string.
pub type Rule = fn(&str) -> Result<(), Wrong>;

pub(super) fn require(holds: bool, text: &str, what: &str, help: &str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong::new(text, what, help)) }
}

pub(super) fn only(text: &str, extra: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

pub(super) fn starts_with(text: &str, allowed: fn(&char) -> bool) -> bool {
    text.chars().next().as_ref().is_some_and(allowed)
}

pub(super) fn starts_plainly(text: &str) -> bool {
    starts_with(text, char::is_ascii_alphanumeric)
}

fn hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Anything: for words that are compared with a list elsewhere.
pub fn any(_: &str) -> Result<(), Wrong> {
    Ok(())
}

/// Names that every machine has for itself, as the hosts files of distributions have them.
const OWN_NAMES: [&str; 7] = [
    "localhost",
    "localhost4",
    "localhost6",
    "localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "loopback",
];

/// Host name: an RFC 1123 label in lower case, which is not every machine's name for itself.
pub fn host_name(text: &str) -> Result<(), Wrong> {
    let first = text.split('.').next().unwrap_or_default();
    if OWN_NAMES.contains(&first.to_ascii_lowercase().as_str()) || text.ends_with(".localhost") {
        let message = format!("{} is every machine's name for itself", quote(text));
        return Err(Wrong { message, help: "write one that no other machine has".into() });
    }
    let label = !text.chars().any(|c| c.is_ascii_uppercase())
        && only(text, "-")
        && (1..=63).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-');
    require(label, text, "a host name", "use a-z, 0-9 and inner `-`, at most 63 characters")
}

/// Names of disks, pools and backups: they become GPT names, mapper names and units.
pub fn role(text: &str) -> Result<(), Wrong> {
    let fits = starts_with(text, char::is_ascii_lowercase)
        && only(text, "_-")
        && !text.chars().any(|c| c.is_ascii_uppercase())
        && text.len() <= 24;
    require(
        fits,
        text,
        "a name that can stand here",
        "use a-z, 0-9, `_` and `-`, a letter first, at most 24 characters",
    )
}

/// Names of pools: as roles, and never `os`.
pub fn pool(text: &str) -> Result<(), Wrong> {
    require(
        text != "os",
        text,
        "a name that can stand here",
        "`os` is the OS disk's; choose another",
    )?;
    role(text)
}

/// Names of virtual machines.
pub fn vm(text: &str) -> Result<(), Wrong> {
    let fits = starts_plainly(text) && only(text, "_-") && text.len() <= 48;
    require(fits, text, "a name for a VM", "use letters, 0-9, `_` and `-`, at most 48 characters")
}

/// Names of users and groups.
pub fn user(text: &str) -> Result<(), Wrong> {
    let fits = (starts_with(text, char::is_ascii_lowercase) || text.starts_with('_'))
        && only(text, "_-")
        && !text.chars().any(|c| c.is_ascii_uppercase())
        && text.len() <= 31;
    require(
        fits,
        text,
        "a user or group name",
        "use a-z, 0-9, `_` and `-`, a letter first, at most 31 characters",
    )
}

/// A name under `/dev/disk/by-id` of a whole disk.
pub fn by_id(text: &str) -> Result<(), Wrong> {
    let bare = text.strip_prefix("/dev/disk/by-id/");
    if let Some(bare) = bare {
        let help = format!("write only the name: {}", quote(bare));
        return Err(Wrong { message: format!("{} is a path", quote(text)), help });
    }
    let fits = starts_plainly(text) && only(text, "#+-.:=@_,") && text.len() <= 200;
    require(
        fits,
        text,
        "a name under /dev/disk/by-id",
        "write it as `ls /dev/disk/by-id` shows it, without the directory",
    )?;
    let is_partition = text.rsplit_once("-part").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    });
    require(
        !is_partition,
        text,
        "a whole disk but a partition",
        "leave `-part…` off: whole disks only",
    )
}

/// Serial numbers.
pub fn serial(text: &str) -> Result<(), Wrong> {
    let fits =
        starts_plainly(text) && only(text, " ._:-+#") && !text.ends_with(' ') && text.len() <= 100;
    require(fits, text, "a serial number", "write it as `bedplate inventory` shows it")
}

fn components_are_safe(path: &str) -> bool {
    path.split('/').all(|component| {
        !matches!(component, "" | "." | "..")
            && !component.starts_with('-')
            && only(component, "._+@-")
    }) && path.len() <= 255
}

/// An absolute path below `/`.
pub fn absolute_path(text: &str) -> Result<(), Wrong> {
    require(
        text.strip_prefix('/').is_some_and(components_are_safe),
        text,
        "an absolute path that can stand here",
        "start with `/`; use letters, 0-9, `.`, `_`, `+`, `@`, `-` between single `/`; no `..`, no `/` at the end",
    )
}

/// An absolute path of a secret: never one that everybody can read (T19).
pub fn secret_file(text: &str) -> Result<(), Wrong> {
    absolute_path(text)?;
    require(
        !text.starts_with("/nix/"),
        text,
        "a place for a secret",
        "everybody can read what stands in the store; write \"/var/lib/bedplate/notify-token\"",
    )
}

/// A mount point of a subvolume: `/` or an absolute path.
pub fn mount_point(text: &str) -> Result<(), Wrong> {
    if text == "/" { Ok(()) } else { absolute_path(text) }
}

/// A relative path inside a stick or a repository.
pub fn relative_path(text: &str) -> Result<(), Wrong> {
    require(
        components_are_safe(text),
        text,
        "a relative path that can stand here",
        "use letters, 0-9, `.`, `_`, `+`, `@`, `-` between single `/`; no `/` first, no `..`",
    )
}

/// A directory of a git work tree.
pub fn repository_path(text: &str) -> Result<(), Wrong> {
    relative_path(text)?;
    let fits = text.split('/').all(|component| !component.eq_ignore_ascii_case(".git"));
    require(fits, text, "a directory of a repository", "`.git` is git's own; name another")
}

/// A sops file that the host can read.
pub fn sops_file(text: &str) -> Result<(), Wrong> {
    relative_path(text)?;
    require(
        text.ends_with(".yaml") || text.ends_with(".yml"),
        text,
        "a sops file in YAML",
        "only YAML is read on the machine; write \"secrets.yaml\"",
    )
}

/// A place in a sops file.
pub fn sops_key(text: &str) -> Result<(), Wrong> {
    require(
        components_are_safe(text) && text != "sops" && !text.starts_with("sops/"),
        text,
        "a place in a sops file",
        "write names between single `/`, such as \"restic/apps\"",
    )
}

/// VFAT volume id.
pub fn volume_id(text: &str) -> Result<(), Wrong> {
    let fits = text.split_once('-').is_some_and(|(high, low)| {
        [high, low].iter().all(|half| half.len() == 4 && hexadecimal(&half.to_ascii_lowercase()))
    });
    require(fits, text, "a VFAT volume id", "write it as `blkid` shows it: \"1A2B-3C4D\"")
}

/// A version of NixOS such as `26.05`.
pub fn state_version(text: &str) -> Result<(), Wrong> {
    let fits = text.split_once('.').is_some_and(|(year, month)| {
        year.len() == 2 && year.bytes().all(|b| b.is_ascii_digit()) && matches!(month, "05" | "11")
    });
    require(fits, text, "a NixOS release", "write it as \"26.05\"")
}

/// Files beside the zones that are none, and zones that stand for no time.
const NO_ZONES: [&str; 6] =
    ["leapseconds", "posixrules", "localtime", "Factory", "SECURITY", "tzdata"];

/// IANA time zone.
pub fn timezone(text: &str) -> Result<(), Wrong> {
    let parts: Vec<&str> = text.split('/').collect();
    let fits = parts.len() <= 3
        && parts
            .iter()
            .all(|part| starts_with(part, char::is_ascii_alphabetic) && only(part, "_+-"))
        && !NO_ZONES.contains(&text)
        && text.len() <= 64;
    require(fits, text, "a time zone", "write an IANA name such as \"Europe/Brussels\" or \"UTC\"")
}

/// UTF-8 locale.
pub fn locale(text: &str) -> Result<(), Wrong> {
    let language = text.strip_suffix(".UTF-8").unwrap_or("");
    let fits = language == "C"
        || language.split_once('_').is_some_and(|(tongue, country)| {
            (2..=3).contains(&tongue.len())
                && tongue.bytes().all(|b| b.is_ascii_lowercase())
                && country.len() == 2
                && country.bytes().all(|b| b.is_ascii_uppercase())
        });
    require(fits, text, "a UTF-8 locale", "write \"C.UTF-8\" or one such as \"en_US.UTF-8\"")
}

/// One OpenSSH public key, whole: half a key would be noticed on the machine only, by whoever cannot
/// log in.
pub fn ssh_key(text: &str) -> Result<(), Wrong> {
    const KINDS: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let mut words = text.splitn(3, ' ');
    let kind = words.next().unwrap_or_default();
    let blob = words.next().unwrap_or_default();
    let comment = words.next().unwrap_or_default();
    let fits = KINDS.contains(&kind)
        && blob.starts_with("AAAA")
        && only(blob, "+/=")
        && blob.len() >= 64
        && only(comment, " ._@:+-")
        && text.len() <= 8192;
    require(
        fits,
        text,
        "an OpenSSH public key",
        "write one line of a `.pub` file: kind, key, and a comment without special characters",
    )?;
    require(
        is_whole_ssh_key(kind, blob),
        text,
        "a whole public key",
        "write it as the `.pub` file or `ssh-keyscan` has it: kind and key",
    )
}

/// Whether the content is of the kind that stands before it (RFC 4253, section 6.6).
fn is_whole_ssh_key(kind: &str, base64: &str) -> bool {
    let blob = STANDARD.decode(base64).ok();
    let fields = blob.as_deref().and_then(ssh_fields);
    fields.is_some_and(|fields| fields.len() > 1 && fields.first() == Some(&kind.as_bytes()))
}

/// The strings of an ssh key, each behind its length (RFC 4251, section 5); none when one is cut.
fn ssh_fields(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        fields.push(field);
        blob = rest;
    }
    Some(fields)
}

/// Name of a network interface.
pub fn interface(text: &str) -> Result<(), Wrong> {
    let fits = starts_plainly(text) && only(text, "_.-") && text.len() <= 15;
    require(
        fits,
        text,
        "the name of an interface",
        "write it as `ip link` shows it, at most 15 characters",
    )
}

/// A package of a Linux distribution.
pub fn package(text: &str) -> Result<(), Wrong> {
    let fits = starts_plainly(text) && only(text, ".+-") && text.len() <= 64;
    require(fits, text, "the name of a package", "write it as the guest's package manager does")
}

/// Unicast MAC address.
pub fn mac(text: &str) -> Result<(), Wrong> {
    let octets: Vec<&str> = text.split(':').collect();
    let well_formed = octets.len() == 6
        && octets.iter().all(|octet| octet.len() == 2 && hexadecimal(&octet.to_ascii_lowercase()));
    let is_zero = octets.iter().all(|octet| *octet == "00");
    let help = "write it as \"52:54:00:12:34:56\"";
    require(well_formed && !is_zero, text, "a MAC address", help)?;
    let first = u8::from_str_radix(octets.first().copied().unwrap_or_default(), 16).unwrap_or(1);
    require(
        first & 1 == 0,
        text,
        "the address of one interface",
        "the first octet of a unicast address is even",
    )
}

/// USB vendor or product id.
pub fn usb_id(text: &str) -> Result<(), Wrong> {
    let fits = text
        .strip_prefix("0x")
        .is_some_and(|id| id.len() == 4 && hexadecimal(&id.to_ascii_lowercase()));
    require(fits, text, "a USB id", "write it as `lsusb` shows it, with `0x` in front: \"0x1a86\"")
}

/// Bus and ports on the way to a USB device.
pub fn usb_port(text: &str) -> Result<(), Wrong> {
    let number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit())
    };
    let fits = text.split_once('-').is_some_and(|(bus, ports)| {
        number(bus) && ports.split('.').all(number) && ports.split('.').count() <= 7
    });
    let help = "write it as `ls /sys/bus/usb/devices` shows it: \"1-1.4\"";
    require(fits, text, "a place of a USB device", help)
}

/// SHA-256 or plan hash.
pub fn sha256(text: &str) -> Result<(), Wrong> {
    require(
        text.len() == 64 && hexadecimal(text),
        text,
        "a SHA-256",
        "write 64 hexadecimal digits in lower case",
    )
}

/// restic's id of a snapshot, or `latest`.
pub fn snapshot(text: &str) -> Result<(), Wrong> {
    require(
        text == "latest" || (hexadecimal(text) && (8..=64).contains(&text.len())),
        text,
        "a snapshot",
        "write \"latest\", or the id that `bedplate-host backup list` shows",
    )
}

/// A password of a backup in a file on the machine, which is lost with it (T41).
pub fn lost_with_the_machine(text: &str) -> Result<(), Wrong> {
    let message = format!("{} is on the machine only, and is lost with it", quote(text));
    let help = "write `stick = \"bedplate/restic\"`, or keep it in the repository with sops or age";
    Err(Wrong { message, help: help.into() })
}

/// systemd calendar expression.
pub fn calendar(text: &str) -> Result<(), Wrong> {
    let fits = starts_with(text, |c| c.is_ascii_alphanumeric() || *c == '*')
        && only(text, " *:,./~-")
        && text.len() <= 100;
    require(
        fits,
        text,
        "a systemd calendar expression",
        "write \"daily\", or one such as \"Mon..Fri 03:30\"",
    )
}

/// One option of exports(5).
pub fn export_option(text: &str) -> Result<(), Wrong> {
    const WORDS: [&str; 17] = [
        "rw",
        "ro",
        "sync",
        "async",
        "wdelay",
        "no_wdelay",
        "subtree_check",
        "no_subtree_check",
        "root_squash",
        "no_root_squash",
        "all_squash",
        "no_all_squash",
        "secure",
        "insecure",
        "crossmnt",
        "nohide",
        "no_acl",
    ];
    let number = text
        .strip_prefix("anonuid=")
        .or_else(|| text.strip_prefix("anongid="))
        .or_else(|| text.strip_prefix("fsid="))
        .is_some_and(|number| {
            (1..=10).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit())
        });
    let security = text.strip_prefix("sec=").is_some_and(|list| {
        list.split(':').all(|word| matches!(word, "sys" | "krb5" | "krb5i" | "krb5p"))
    });
    require(
        WORDS.contains(&text) || number || security,
        text,
        "an option of exports(5)",
        "write options such as \"rw\", \"ro\", \"sync\", \"no_subtree_check\", \"no_root_squash\", \"fsid=1\"",
    )
}

#[cfg(test)]
pub(super) mod tests {
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
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZvb2JhcmZv me@home";
        assert_eq!(ssh_key(key), Ok(()));
        assert!(ssh_key(&key[..76]).is_err());
        assert!(ssh_key(&key.replace("ssh-ed25519", "ssh-rsa")).is_err());
    }
}
