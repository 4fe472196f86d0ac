//! What a key stick is written to, and whether it may be.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_disks::{Claim, Fault, Identity};
use bedplate_events::shown::shown;
use bedplate_facts::roots::Roots;
use bedplate_facts::{disks, machine, probe};
use bedplate_keystick::layout::{LABEL, SECRET_LIMIT};
use bedplate_keystick::{self as keystick, StickError, Volume};
use bedplate_model::facts::{DiskFacts, Facts};
use bedplate_model::host::{HostFile, Stick};
use bedplate_planner::stick_fault;
use bedplate_tools::secret::Secret;
use bedplate_tools::sync;

/// Where udev keeps stable names.
const BY_ID: &str = "/dev/disk/by-id";

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a stable name.
    #[error("{path} is no whole device named under {BY_ID}; `bedplate inventory` lists them")]
    Name {
        /// What was given.
        path: String,
    },
    /// In use, or something that a stick can never be.
    #[error("{name} is not written to: {why}")]
    Never {
        /// Device by its name below `/dev/disk/by-id`, or path of an image.
        name: String,
        /// What rules it out whoever consents, such as that it is in use.
        why: String,
    },
    /// It could be a mistake.
    #[error("{name} is not written to: {why}. To overwrite it all the same: --overwrite {name}")]
    Consent {
        /// Device or image.
        name: String,
        /// Everything that makes one doubt that it is meant, joined by `; `.
        why: String,
    },
    /// It is in use, or another device by now.
    #[error("{name} was not written to")]
    Claim {
        /// The device as it was named on the command line.
        name: String,
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
    /// It cannot be opened.
    #[error("could not {action} {name}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// Device or image.
        name: String,
        /// What the kernel said when the device or image was found, made or named.
        #[source]
        source: io::Error,
    },
}

/// A device or image that may be written.
pub struct Target {
    /// As the person knows it.
    pub name: String,
    medium: Medium,
    /// Bytes of a logical sector.
    sector_size: u32,
    /// Where an image belongs once it is whole, and where it stands until then.
    rename: Option<(PathBuf, PathBuf)>,
}

/// What is open for reading and writing.
enum Medium {
    Device(Claim),
    Image(File),
}

impl Target {
    /// A device by its stable name.
    pub fn device(
        path: &Path,
        host: &HostFile,
        stick: &Stick,
        consent: Option<&str>,
    ) -> Result<Self, TargetError> {
        let not_stable = || TargetError::Name { path: path.display().to_string() };
        let name = path
            .strip_prefix(BY_ID)
            .ok()
            .and_then(Path::to_str)
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .ok_or_else(not_stable)?;
        let failed = |action, source| TargetError::File { action, name: name.to_owned(), source };
        let node = fs::canonicalize(path).map_err(|source| failed("find", source))?;
        let kernel = node.file_name().and_then(|kernel| kernel.to_str()).unwrap_or_default();
        let found = disks::read_one(&Roots::looking(probe::by_wipefs), kernel);
        let facts = found.filter(|facts| facts.has_id(name)).ok_or_else(not_stable)?;
        let machine = machine::read(&Roots::identity());
        if let Some(why) = never(&facts, host).or_else(|| unclear(name, &machine)) {
            return Err(TargetError::Never { name: name.to_owned(), why });
        }
        let claim = Claim::disk(&Identity::seen(name, &facts));
        let mut claim =
            claim.map_err(|error| TargetError::Claim { name: error.disk, source: error.fault })?;
        let doubts = doubts(&facts, stick, has_keyfile(claim.file(), host));
        ask(name, &doubts, consent)?;
        let (name, medium) = (name.to_owned(), Medium::Device(claim));
        Ok(Self { name, medium, sector_size: facts.sector_size, rename: None })
    }

    /// An image; it takes its name when it is whole.
    pub fn image(
        path: &Path,
        size: u64,
        host: &HostFile,
        consent: Option<&str>,
    ) -> Result<Self, TargetError> {
        let name = path.display().to_string();
        let failed = |action| {
            let name = name.clone();
            move |source| TargetError::File { action, name, source }
        };
        let mut doubts = Vec::new();
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => {
                let why = "it is there and no plain file; a device is named with --device".into();
                return Err(TargetError::Never { name, why });
            }
            Ok(_) => {
                let holds = File::open(path).is_ok_and(|mut file| has_keyfile(&mut file, host));
                doubts.push(if holds { "it holds a keyfile" } else { "it is there" }.to_owned());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at")(error)),
        }
        ask(&name, &doubts, consent)?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&temporary).map_err(failed("make"))?;
        file.set_len(size).map_err(failed("make"))?;
        let rename = Some((temporary, path.to_owned()));
        Ok(Self { name, medium: Medium::Image(file), sector_size: 512, rename })
    }

    /// Makes the volume of a stick with these files, and reads it back.
    pub fn make(&mut self, volume_id: &str, files: &[(String, Secret)]) -> Result<(), StickError> {
        let volume = Volume { id: volume_id, label: LABEL, sector_size: self.sector_size };
        match &mut self.medium {
            Medium::Device(claim) => claim.make_vfat(&volume, files),
            Medium::Image(file) => keystick::make(file, &volume, files),
        }
    }

    /// Gives an image its name.
    pub fn finish(self) -> Result<(), TargetError> {
        let Some((temporary, path)) = self.rename else { return Ok(()) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::rename(&temporary, &path)
            .and_then(|()| sync::directory(directory.unwrap_or(Path::new("."))))
            .map_err(|source| TargetError::File { action: "name", name: self.name, source })
    }
}

/// What no consent outweighs.
fn never(facts: &DiskFacts, host: &HostFile) -> Option<String> {
    let role = host.disks.iter().find(|(_, disk)| facts.has_id(&disk.id));
    if let Some((role, _)) = role {
        return Some(format!("it is `disks.{role}` of host.toml"));
    }
    if !facts.holders.is_empty() {
        let holders: Vec<String> = facts.holders.iter().map(|holder| shown(holder)).collect();
        return Some(format!("it is in use: {}", holders.join(", ")));
    }
    facts.read_only.then(|| "it refuses writes".to_owned())
}

/// Two sticks under one name: which of them it stands for is chance.
fn unclear(name: &str, machine: &Facts) -> Option<String> {
    stick_fault(name, machine).map(|(why, help)| format!("{why}; {help}"))
}

/// What makes one wonder whether this stick is meant.
fn doubts(facts: &DiskFacts, stick: &Stick, has_keyfile: bool) -> Vec<String> {
    let mut found = Vec::new();
    if !facts.removable && facts.transport != "usb" {
        found.push(format!("it is no removable device ({})", facts.transport));
    }
    if let Some(id) = stick.id.as_ref().filter(|id| !facts.has_id(id)) {
        found.push(format!("host.toml says that {} is {id}", stick.volume_id));
    }
    if has_keyfile {
        found.push("it holds a keyfile".to_owned());
    } else if facts.signatures.iter().any(|one| !one.is_unfinished(&stick.volume_id)) {
        let kind = |one: &bedplate_model::facts::Signature| match &one.label {
            Some(label) => format!("{} \"{}\"", shown(&one.kind), shown(label)),
            None => shown(&one.kind),
        };
        let kinds: Vec<String> = facts.signatures.iter().map(kind).collect();
        found.push(format!("it is not blank ({})", kinds.join(", ")));
    }
    found
}

fn ask(name: &str, doubts: &[String], consent: Option<&str>) -> Result<(), TargetError> {
    if doubts.is_empty() || consent == Some(name) {
        return Ok(());
    }
    Err(TargetError::Consent { name: name.to_owned(), why: doubts.join("; ") })
}

fn has_keyfile(device: &mut File, host: &HostFile) -> bool {
    keystick::read_volume(device, &[&host.unlock.keyfile], SECRET_LIMIT)
        .is_ok_and(|contents| !contents.files.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostFile {
        let text = include_str!("../../../profiles/hypervisor/host.toml");
        bedplate_document::parse(text, "host.toml").unwrap_or_else(|e| panic!("{e}"))
    }

    fn stick() -> Stick {
        Stick { volume_id: "1A2B-3C4D".into(), id: None }
    }

    fn facts() -> DiskFacts {
        serde_json::from_value(serde_json::json!({
            "kernel_name": "sda", "number": "8:0", "by_id": ["usb-Stick_1"], "size": 1u64 << 30,
            "sector_size": 512, "rotational": false, "transport": "usb", "removable": true,
        }))
        .unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_blank_stick_that_nobody_uses_needs_no_consent() {
        assert_eq!(never(&facts(), &host()), None);
        assert_eq!(doubts(&facts(), &stick(), false), [] as [String; 0]);
    }

    #[test]
    fn t05_a_device_in_use_or_of_the_machine_is_never_written() {
        let held = DiskFacts { holders: vec!["mounted at /home".into()], ..facts() };
        assert_eq!(never(&held, &host()).as_deref(), Some("it is in use: mounted at /home"));
        let host = host();
        let os = DiskFacts { by_id: vec![host.disks["os"].id.to_string()], ..facts() };
        assert_eq!(never(&os, &host).as_deref(), Some("it is `disks.os` of host.toml"));
    }

    #[test]
    fn t56_a_name_that_two_sticks_share_is_never_written_to() {
        let machine = |serials: [&str; 2]| {
            let mut machine = machine::read(&Roots::below(Path::new("/nowhere"), None));
            let stick = |(number, serial): (usize, &str)| DiskFacts {
                kernel_name: format!("sd{number}"),
                number: format!("8:{number}"),
                serial: Some(serial.to_owned()),
                ..facts()
            };
            machine.disks = serials.into_iter().enumerate().map(stick).collect();
            machine
        };
        let shared = unclear("usb-Stick_1", &machine(["0042", "0042"]));
        assert!(shared.is_some_and(|why| why.contains("2 sticks share this name")));
        let mut apart = machine(["0042", "0043"]);
        apart.disks[1].by_id = vec!["usb-Stick_2".into()];
        assert_eq!(unclear("usb-Stick_1", &apart), None);
    }

    #[test]
    fn t06_content_and_fixed_disks_need_consent_that_names_them() {
        let signature = serde_json::json!({"kind": "ext4", "label": "photos", "size": 1});
        let full = DiskFacts {
            signatures: vec![serde_json::from_value(signature).unwrap_or_else(|e| panic!("{e}"))],
            transport: "nvme".into(),
            removable: false,
            ..facts()
        };
        let found = doubts(&full, &stick(), false);
        assert_eq!(
            found,
            ["it is no removable device (nvme)", "it is not blank (ext4 \"photos\")"]
        );
        let error = ask("nvme-X", &found, Some("yes")).unwrap_err().to_string();
        assert!(error.ends_with("To overwrite it all the same: --overwrite nvme-X"), "{error}");
        assert!(ask("nvme-X", &found, None).is_err());
        assert!(ask("nvme-X", &found, Some("nvme-X")).is_ok());
    }

    #[test]
    fn t22_a_keyfile_and_another_stick_than_the_named_one_are_told() {
        let named = Stick { id: "usb-Other".parse().ok(), ..stick() };
        let found = doubts(&facts(), &named, true);
        assert_eq!(found, ["host.toml says that 1A2B-3C4D is usb-Other", "it holds a keyfile"]);
    }
}
