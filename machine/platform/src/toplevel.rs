//! What a toplevel of the embedded platform contains, derived from `host.toml`.
//!
//! `bedplate-host system` is the builder of the toplevel's derivation: Nix hands it the store
//! paths in its environment and it writes `$out`. Everything but the writing is pure. What lies in `/etc` is
//! up to what runs on the host, and is handed in.

mod scripts;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_formats::boot::{BOOT_FILE, Boot, Unlock};
use bedplate_model::host::{HostFile, Media};
use bedplate_model::identity::{Purpose, derive, mapper_name};
use bedplate_tools::cpio::Archive;

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

/// What lies in `/etc` of a host, by path below it.
pub type Etc = BTreeMap<String, Entry>;

/// The builder: reads `$document` and the parts, writes `$out`. `etc` makes what lies in `/etc` of a host, from
/// the document and its text.
pub fn build(etc: impl Fn(&HostFile, &str, &Parts) -> Etc) -> Result<(), SystemError> {
    let parts = Parts::from_environment()?;
    let path =
        PathBuf::from(std::env::var("document").map_err(|_| SystemError::Missing("document"))?);
    let (host, text) = intent::read_with_text(&path)?;
    let out = Path::new(&parts.out);
    for (name, entry) in entries(&host, &text, &parts, etc(&host, &text, &parts))? {
        write(&out.join(name), &entry)?;
    }
    let initrd = out.join("initrd");
    fs::write(&initrd, initrd_of(&host, &parts)?).map_err(file(&initrd))
}

/// Everything in the toplevel but the initrd, by path.
pub fn entries(
    host: &HostFile,
    document: &str,
    parts: &Parts,
    etc: Etc,
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
    all.extend(etc.into_iter().map(|(path, entry)| (format!("etc/{path}"), entry)));
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

/// Writes one entry of a toplevel.
pub fn write(path: &Path, entry: &Entry) -> Result<(), SystemError> {
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

    const DOCUMENT: &str = include_str!("../../../profiles/hypervisor/host.toml");

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
    fn t20_no_key_stands_in_the_initrd() {
        let host = document::parse(DOCUMENT, "host.toml").unwrap();
        let told = serde_json::to_string(&stage1(&host)).unwrap();
        assert!(told.contains("1A2B-3C4D") && told.contains("bedplate/keyfile"), "{told}");
        assert!(!told.contains("recovery"), "{told}");
    }
}
