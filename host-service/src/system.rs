//! What a toplevel of the embedded platform contains, derived from `host.toml`.
//!
//! `bedplate-host system` is the builder of the toplevel's derivation: Nix hands it the store
//! paths in its environment and it writes `$out`. Everything but the writing is pure.

mod etc;
mod scripts;
mod units;

pub(crate) use units::{MIRROR_UNIT, partition_unit, patience};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_formats::boot::{BOOT_FILE, Boot, Unlock};
use bedplate_model::host::{HostFile, Media};
use bedplate_model::identity::{Purpose, derive, mapper_name};
use bedplate_tools::cpio::Archive;

use crate::firewall;
use crate::intent::{self, IntentError};

/// A toplevel could not be built.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The builder's environment lacks something.
    #[error("the builder's environment has no `{0}`")]
    Missing(&'static str),
    /// The document.
    #[error(transparent)]
    Document(#[from] IntentError),
    /// A file could not be read or written.
    #[error("could not write or read {}", .path.display())]
    File {
        /// The file or directory of the toplevel, or one that it is made from.
        path: PathBuf,
        /// What the kernel said when it was read, made or written.
        #[source]
        source: io::Error,
    },
    /// A document could not be written as JSON.
    #[error("could not write a document as JSON")]
    Json(#[from] serde_json::Error),
}

/// The store paths a toplevel is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The Debian tree.
    pub tree: String,
    /// Our programs.
    pub programs: String,
    /// Their loader and libraries.
    pub runtime: String,
    /// Archive with kernel modules.
    pub initrd_modules: String,
    /// Archive with PID 1.
    pub initrd_program: String,
    /// Version of the tree's kernel.
    pub kernel_version: String,
    /// Where the toplevel will stand.
    pub out: String,
}

impl Parts {
    /// Reads the parts from the environment of a Nix builder.
    pub fn from_environment() -> Result<Self, SystemError> {
        let read = |name: &'static str| std::env::var(name).map_err(|_| SystemError::Missing(name));
        Ok(Self {
            tree: read("tree")?,
            programs: read("programs")?,
            runtime: read("runtime")?,
            initrd_modules: read("initrdModules")?,
            initrd_program: read("initrdProgram")?,
            kernel_version: read("kernelVersion")?,
            out: read("out")?,
        })
    }
}

/// Something in a toplevel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A plain file.
    File(String),
    /// A file that is executed.
    Program(String),
    /// A symbolic link and its target.
    Link(String),
}

/// The builder: reads `$document` and the parts, writes `$out`.
pub fn build() -> Result<(), SystemError> {
    let parts = Parts::from_environment()?;
    let path =
        PathBuf::from(std::env::var("document").map_err(|_| SystemError::Missing("document"))?);
    let (host, text) = intent::read_with_text(&path)?;
    let out = Path::new(&parts.out);
    for (name, entry) in entries(&host, &text, &parts)? {
        write(&out.join(name), &entry)?;
    }
    let initrd = out.join("initrd");
    fs::write(&initrd, initrd_of(&host, &parts)?).map_err(file(&initrd))
}

/// What the NixOS module leaves to this program, by path under `/etc`. A document with mistakes
/// stops the build of the system here.
pub fn render(document: &Path, out: &Path) -> Result<(), SystemError> {
    let host = intent::read(document)?;
    for (path, content) in etc::network(&host) {
        write(&out.join(path), &Entry::File(content))?;
    }
    write(&out.join(firewall::FILE), &Entry::File(firewall::rules(&host)))
}

/// Everything in the toplevel but the initrd, by path.
pub fn entries(
    host: &HostFile,
    document: &str,
    parts: &Parts,
) -> Result<BTreeMap<String, Entry>, SystemError> {
    let parameters = kernel_parameters(parts);
    let mut all = BTreeMap::from([
        ("tree".into(), Entry::Link(parts.tree.clone())),
        ("programs".into(), Entry::Link(parts.programs.clone())),
        // Fixed-output paths carry no references: what the next build needs is kept alive by name.
        ("runtime".into(), Entry::Link(parts.runtime.clone())),
        ("initrd-modules".into(), Entry::Link(parts.initrd_modules.clone())),
        ("initrd-program".into(), Entry::Link(parts.initrd_program.clone())),
        (
            "kernel".into(),
            Entry::Link(format!("{}/boot/vmlinuz-{}", parts.tree, parts.kernel_version)),
        ),
        ("kernel-params".into(), Entry::File(parameters.join(" "))),
        ("boot.json".into(), Entry::File(bootspec(host, parts, &parameters)?)),
        ("nixos-version".into(), Entry::File(format!("{}.bedplate", host.host.state_version))),
        ("system".into(), Entry::File("x86_64-linux".into())),
        ("host.toml".into(), Entry::File(document.to_owned())),
        ("init".into(), Entry::Program(scripts::init(parts))),
        ("activate".into(), Entry::Program(scripts::activate(parts))),
        ("bin/switch-to-configuration".into(), Entry::Program(scripts::switch(parts))),
    ]);
    for (path, entry) in etc::entries(host, document, parts) {
        all.insert(format!("etc/{path}"), entry);
    }
    Ok(all)
}

fn kernel_parameters(parts: &Parts) -> Vec<String> {
    let fixed = ["console=tty0", "console=ttyS0,115200", "panic=30", "loglevel=4"];
    let init = format!("init={}/init", parts.out);
    std::iter::once(init).chain(fixed.map(str::to_owned)).collect()
}

/// The boot specification, version 1 (NixOS RFC 125).
fn bootspec(host: &HostFile, parts: &Parts, parameters: &[String]) -> Result<String, SystemError> {
    let specification = serde_json::json!({
        "org.nixos.bootspec.v1": {
            "system": "x86_64-linux",
            "init": format!("{}/init", parts.out),
            "initrd": format!("{}/initrd", parts.out),
            "kernel": format!("{}/kernel", parts.out),
            "kernelParams": &parameters[1..],
            "label": format!("Bedplate {} ({}, Linux {})", host.host.state_version, host.host.name, parts.kernel_version),
            "toplevel": parts.out,
        }
    });
    Ok(serde_json::to_string_pretty(&specification)? + "\n")
}

/// What stage 1 is told.
pub fn stage1(host: &HostFile) -> Boot {
    let role = &host.os.disk;
    Boot::Unlock(Unlock {
        luks_uuid: derive(host.host.id, Purpose::Luks, role, 0),
        mapper: mapper_name(role),
        discard: host.disks.get(role).is_some_and(|disk| disk.media == Media::Ssd),
        sticks: host.unlock.sticks.iter().map(|stick| stick.volume_id.clone()).collect(),
        keyfile: host.unlock.keyfile.clone(),
        timeout_seconds: host.unlock.timeout_seconds,
        subvolumes: host.os.subvolumes.clone(),
    })
}

/// The initrd: the prebuilt archives, then one of a single document.
fn initrd_of(host: &HostFile, parts: &Parts) -> Result<Vec<u8>, SystemError> {
    let mut initrd = Vec::new();
    for part in [&parts.initrd_modules, &parts.initrd_program] {
        let path = Path::new(part);
        initrd.extend(fs::read(path).map_err(file(path))?);
        // The kernel wants every archive to start at a multiple of four.
        initrd.resize(initrd.len().next_multiple_of(4), 0);
    }
    let mut archive = Archive::new(initrd);
    let document = serde_json::to_vec_pretty(&stage1(host))?;
    let name = BOOT_FILE.trim_start_matches('/');
    archive.file(name, 0o400, &document).map_err(file(Path::new(BOOT_FILE)))?;
    archive.finish().map_err(file(Path::new(BOOT_FILE)))
}

fn write(path: &Path, entry: &Entry) -> Result<(), SystemError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(file(parent))?;
    }
    match entry {
        Entry::Link(target) => symlink(target, path).map_err(file(path)),
        Entry::File(content) => fs::write(path, content).map_err(file(path)),
        Entry::Program(content) => {
            fs::write(path, content).map_err(file(path))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(file(path))
        }
    }
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> SystemError {
    let path = path.to_owned();
    move |source| SystemError::File { path, source }
}

#[cfg(test)]
mod tests {
    use bedplate_document as document;

    use super::*;

    const DOCUMENT: &str = include_str!("../../profiles/hypervisor/host.toml");

    fn parts() -> Parts {
        Parts {
            tree: "/nix/store/t-bedplate-tree".into(),
            programs: "/nix/store/p-bedplate-programs".into(),
            runtime: "/nix/store/r-bedplate-runtime".into(),
            initrd_modules: "/nix/store/m-bedplate-initrd-modules".into(),
            initrd_program: "/nix/store/i-bedplate-initrd-program".into(),
            kernel_version: "6.12".into(),
            out: "/nix/store/s-bedplate-system-hypervisor".into(),
        }
    }

    #[test]
    fn the_toplevel_of_the_profile() {
        let host = document::parse(DOCUMENT, "host.toml").unwrap();
        let all = entries(&host, DOCUMENT, &parts()).unwrap();
        let mut text = String::new();
        for (path, entry) in all.iter().filter(|(path, _)| !path.ends_with("host.toml")) {
            match entry {
                Entry::Link(target) => text += &format!("== {path} -> {target}\n"),
                Entry::File(content) => text += &format!("== {path}\n{}\n", content.trim_end()),
                Entry::Program(content) => {
                    text += &format!("== {path} (executable)\n{}\n", content.trim_end())
                }
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn f9_an_entry_of_the_mirror_is_blessed_like_one_of_the_first_esp() {
        let mut host = document::parse(DOCUMENT, "host.toml").unwrap();
        let path = "etc/systemd/system/systemd-bless-boot.service.d/10-bedplate.conf";
        assert!(!entries(&host, DOCUMENT, &parts()).unwrap().contains_key(path));
        host.os.esp_mirror = Some("bulk1".into());
        let all = entries(&host, DOCUMENT, &parts()).unwrap();
        let Some(Entry::File(content)) = all.get(path) else { panic!("no {path}") };
        assert!(content.contains("--path=/boot --path=/boot-mirror good"), "{content}");
    }

    #[test]
    fn t19_a_pool_that_is_killed_while_it_opens_keeps_no_passphrase_in_memory() {
        let host = document::parse(DOCUMENT, "host.toml").unwrap();
        let all = entries(&host, DOCUMENT, &parts()).unwrap();
        let unit = all.get("etc/systemd/system/bedplate-pool@.service");
        let Some(Entry::File(content)) = unit else { panic!("no unit") };
        let line = content.lines().find_map(|line| line.strip_prefix("ExecStopPost=-"));
        assert!(line.is_some_and(|line| line.ends_with("/bedplate-host pool settled %i")));
    }

    #[test]
    fn pools_are_looked_after_when_somebody_is_to_be_told() {
        let text = format!("{DOCUMENT}\n[notify]\nurl = \"https://ntfy.example.org/hv\"\n");
        let entry = |text: &str, path: &str| {
            let host = document::parse(text, "host.toml").unwrap();
            entries(&host, text, &parts()).unwrap().remove(path)
        };
        let unit = "etc/systemd/system/bedplate-notify.service";
        let Some(Entry::File(content)) = entry(&text, unit) else { panic!("no unit") };
        assert!(content.contains("bedplate-pool@bulk.service bedplate-pool@vmstore.service\n"));
        let timer = "etc/systemd/system/timers.target.wants/bedplate-notify.timer";
        assert!(entry(&text, timer).is_some());
        assert!(entry(DOCUMENT, unit).is_none());
    }

    #[test]
    fn f9_what_looks_after_disks_and_tells_does_not_go_by_the_clock() {
        let text = format!("{DOCUMENT}\n[notify]\nurl = \"https://ntfy.example.org/hv\"\n");
        let host = document::parse(&text, "host.toml").unwrap();
        let all = entries(&host, &text, &parts()).unwrap();
        for name in ["bedplate-notify.timer", "bedplate-pool-tend.timer"] {
            let entry = all.get(&format!("etc/systemd/system/{name}"));
            let Some(Entry::File(timer)) = entry else { panic!("no {name}") };
            assert!(
                timer.contains("OnBootSec=") && timer.contains("OnUnitInactiveSec="),
                "{timer}"
            );
            assert!(!timer.contains("OnCalendar"), "{timer}");
        }
    }

    #[test]
    fn a_usb_device_of_a_guest_is_looked_after_when_it_is_plugged_in() {
        let mut host = bedplate_sample::intent();
        let entry = |host: &HostFile, path: &str| match entries(host, DOCUMENT, &parts())
            .unwrap()
            .remove(path)
        {
            Some(Entry::File(content)) => Some(content),
            _ => None,
        };
        let unit = "etc/systemd/system/bedplate-vm-tend.service";
        insta::assert_snapshot!(entry(&host, unit).unwrap());
        let rules = entry(&host, "etc/udev/rules.d/71-bedplate-guests.rules").unwrap();
        assert!(rules.contains("ATTR{idVendor}==\"1a86\", ATTR{idProduct}==\"7523\""), "{rules}");
        assert!(rules.contains("start bedplate-vm-tend.service"), "{rules}");
        host.vms.values_mut().for_each(|vm| vm.usb_devices.clear());
        assert_eq!(entry(&host, unit), None);
    }

    #[test]
    fn a_prepared_key_comes_before_one_is_made_where_the_repository_has_secrets() {
        let stick = "password = { stick = \"bedplate/restic-apps\" }";
        let text = DOCUMENT.replace(stick, "password = { age = \"restic.age\" }");
        assert_ne!(text, DOCUMENT);
        let entry = |text: &str, name: &str| {
            let host = document::parse(text, "host.toml").unwrap();
            let all = entries(&host, text, &parts()).unwrap();
            match all.get(&format!("etc/systemd/system/{name}")) {
                Some(Entry::File(content)) => Some(content.clone()),
                _ => None,
            }
        };
        insta::assert_snapshot!(entry(&text, "bedplate-host-key.service").unwrap());
        let converge = |text| entry(text, "bedplate-converge.service").unwrap();
        assert!(converge(&text).contains(" sshd-keygen.service\n"), "{}", converge(&text));
        assert!(!converge(DOCUMENT).contains("sshd-keygen"));
        assert_eq!(entry(DOCUMENT, "bedplate-host-key.service"), None);
    }

    #[test]
    fn stage_1_passes_discards_to_flash_and_not_to_a_rotating_disk() {
        let of = |media: &str| {
            let section = "[disks.os]\n";
            assert!(DOCUMENT.contains(section));
            let text = DOCUMENT.replacen(section, &format!("{section}media = \"{media}\"\n"), 1);
            let Boot::Unlock(told) = stage1(&document::parse(&text, "host.toml").unwrap()) else {
                panic!("no stage 1");
            };
            told.discard
        };
        assert!(of("ssd") && !of("hdd"));
    }

    #[test]
    fn what_is_rendered_for_nixos_is_what_the_embedded_platform_has() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("host.toml");
        let text = include_str!("../../nix/nixos/tests/host.toml");
        fs::write(&path, text).unwrap();
        let out = place.path().join("out");
        render(&path, &out).unwrap();
        let host = document::parse(text, "host.toml").unwrap();
        let all = entries(&host, text, &parts()).unwrap();
        // The names that nix/nixos/network.nix looks for.
        let names = ["br0.link", "br0.netdev", "br0.network", "br0-port.network"];
        let names = names.into_iter().chain(["lab0.link", "lab0.netdev", "lab0.network"]);
        let mut names: Vec<_> = names.map(|name| format!("10-bedplate-{name}")).collect();
        names.push("80-bedplate-other.network".into());
        let mut found = bedplate_facts::roots::names(&out.join("systemd/network"));
        for list in [&mut names, &mut found] {
            list.sort();
        }
        assert_eq!(found, names);
        for name in found {
            let path = format!("systemd/network/{name}");
            let rendered = fs::read_to_string(out.join(&path)).unwrap();
            assert_eq!(all.get(&format!("etc/{path}")), Some(&Entry::File(rendered)), "{path}");
        }
        let rules = fs::read_to_string(out.join(firewall::FILE)).unwrap();
        let path = format!("etc/{}", firewall::FILE);
        assert_eq!(all.get(&path), Some(&Entry::File(rules)), "{path}");
    }

    #[test]
    fn a_document_with_mistakes_is_not_rendered() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("host.toml");
        fs::write(&path, DOCUMENT.replace("[pools.bulk]", "[pools.os]")).unwrap();
        let told = render(&path, &place.path().join("out")).unwrap_err().to_string();
        assert!(told.contains("host.toml:"), "{told}");
        assert!(!place.path().join("out").exists());
    }

    #[test]
    fn t20_no_key_stands_in_the_initrd() {
        let host = document::parse(DOCUMENT, "host.toml").unwrap();
        let told = serde_json::to_string(&stage1(&host)).unwrap();
        assert!(told.contains("1A2B-3C4D") && told.contains("bedplate/keyfile"), "{told}");
        assert!(!told.contains("recovery"), "{told}");
    }
}
