//! What a key stick is written to, and whether it may be.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_disks::Claim;
use bedplate_keystick::layout::{LABEL, SECRET_LIMIT};
use bedplate_keystick::{self as keystick, StickError, Volume};
use bedplate_model::facts::DiskFacts;
use bedplate_model::host::{HostFile, Stick};
use bedplate_tools::secret::Secret;
use bedplate_tools::sync;

use crate::device::{self, Chosen, TargetError};

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
        let Chosen { name, facts, mut claim } = device::choose(path, |facts| is_role(facts, host))?;
        let doubts = doubts(&facts, stick, has_keyfile(claim.file(), host));
        device::ask(&name, &doubts, consent)?;
        let sector_size = facts.sector_size;
        Ok(Self { name, medium: Medium::Device(claim), sector_size, rename: None })
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
        device::ask(&name, &doubts, consent)?;
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

/// Whether the document names it for something else.
fn is_role(facts: &DiskFacts, host: &HostFile) -> Option<String> {
    let role = host.disks.iter().find(|(_, disk)| facts.has_id(&disk.id));
    role.map(|(role, _)| format!("it is `disks.{role}` of host.toml"))
}

/// What makes one wonder whether this stick is meant.
fn doubts(facts: &DiskFacts, stick: &Stick, has_keyfile: bool) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(device::is_fixed(facts));
    if let Some(id) = stick.id.as_ref().filter(|id| !facts.has_id(id)) {
        found.push(format!("host.toml says that {} is {id}", stick.volume_id));
    }
    if has_keyfile {
        found.push("it holds a keyfile".to_owned());
    } else if facts.signatures.iter().any(|one| !one.is_unfinished(&stick.volume_id)) {
        found.extend(device::is_not_blank(facts));
    }
    found
}

fn has_keyfile(device: &mut File, host: &HostFile) -> bool {
    keystick::read_volume(device, &[&host.unlock.keyfile], SECRET_LIMIT)
        .is_ok_and(|contents| !contents.files.is_empty())
}

#[cfg(test)]
mod tests {
    use bedplate_facts::machine;
    use bedplate_facts::roots::Roots;

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
        assert_eq!(is_role(&facts(), &host()), None);
        assert_eq!(device::is_used(&facts()), None);
        assert_eq!(doubts(&facts(), &stick(), false), [] as [String; 0]);
    }

    #[test]
    fn t05_a_device_in_use_or_of_the_machine_is_never_written() {
        let held = DiskFacts { holders: vec!["mounted at /home".into()], ..facts() };
        assert_eq!(device::is_used(&held).as_deref(), Some("it is in use: mounted at /home"));
        let host = host();
        let os = DiskFacts { by_id: vec![host.disks["os"].id.to_string()], ..facts() };
        assert_eq!(is_role(&os, &host).as_deref(), Some("it is `disks.os` of host.toml"));
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
        let shared = device::is_unclear("usb-Stick_1", &machine(["0042", "0042"]));
        assert!(shared.is_some_and(|why| why.contains("2 sticks share this name")));
        let mut apart = machine(["0042", "0043"]);
        apart.disks[1].by_id = vec!["usb-Stick_2".into()];
        assert_eq!(device::is_unclear("usb-Stick_1", &apart), None);
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
        let error = device::ask("nvme-X", &found, Some("yes")).unwrap_err().to_string();
        assert!(error.ends_with("To overwrite it all the same: --overwrite nvme-X"), "{error}");
        assert!(device::ask("nvme-X", &found, None).is_err());
        assert!(device::ask("nvme-X", &found, Some("nvme-X")).is_ok());
    }

    #[test]
    fn t22_a_keyfile_and_another_stick_than_the_named_one_are_told() {
        let named = Stick { id: "usb-Other".parse().ok(), ..stick() };
        let found = doubts(&facts(), &named, true);
        assert_eq!(found, ["host.toml says that 1A2B-3C4D is usb-Other", "it holds a keyfile"]);
    }
}
