//! Our own programs, with the loader and libraries of the machine that built them, so that
//! they run whatever libc the tree has.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_tools::{ldd, patchelf};
use serde::Serialize;

use crate::error::{Error, file, tool, unfit};
use crate::platform::{self, Platform};
use crate::toplevel::Supplied;
use crate::tree_nix::{StorePath, TreePrograms};
use crate::verity_image::{self, Verity};
use bedplate_tools::cpio::Archive;

const INIT: &str = "bedplate-init";
const REQUIRED: &[&str] = &[INIT, "bedplate-installer", "bedplate-host"];
const OPTIONAL: &[&str] = &["bedplate"];
/// Libraries that libc opens by name when it looks up hosts and users.
const OPENED_BY_NAME: &[&str] = &["libnss_dns.so.2", "libnss_files.so.2"];

/// Files laid over the live root: path and content; `@programs@` is the programs' store path.
const LIVE: &[(&str, &str)] = &[
    (
        "etc/systemd/system/default.target",
        include_str!("../live/etc/systemd/system/default.target"),
    ),
    (
        "etc/systemd/system/bedplate-installer.service",
        include_str!("../live/etc/systemd/system/bedplate-installer.service.in"),
    ),
    (
        "etc/systemd/system/bedplate-announce.service",
        include_str!("../live/etc/systemd/system/bedplate-announce.service.in"),
    ),
    (
        "etc/systemd/system/bedplate-ssh.service",
        include_str!("../live/etc/systemd/system/bedplate-ssh.service.in"),
    ),
    ("etc/ssh/bedplate_live.conf", include_str!("../live/etc/ssh/bedplate_live.conf")),
    (
        "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf",
        include_str!("../live/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf"),
    ),
    (
        "etc/systemd/system/getty@tty2.service.d/autologin.conf",
        include_str!("../live/etc/systemd/system/getty@tty1.service.d/autologin.conf"),
    ),
    (
        "etc/systemd/system/getty@tty1.service.d/autologin.conf",
        include_str!("../live/etc/systemd/system/getty@tty1.service.d/autologin.conf"),
    ),
    (
        "etc/systemd/network/80-dhcp.network",
        include_str!("../live/etc/systemd/network/80-dhcp.network"),
    ),
    ("etc/nix/nix.conf", include_str!("../live/etc/nix/nix.conf")),
    (
        "etc/modprobe.d/bedplate-live.conf",
        include_str!("../live/etc/modprobe.d/bedplate-live.conf"),
    ),
    (
        "etc/udev/rules.d/54-bedplate-live.rules",
        include_str!("../live/etc/udev/rules.d/54-bedplate-live.rules"),
    ),
    (
        "etc/udev/rules.d/61-bedplate-live.rules",
        include_str!("../live/etc/udev/rules.d/61-bedplate-live.rules"),
    ),
    ("etc/udev/rules.d/99-nfs.rules", include_str!("../live/etc/udev/rules.d/99-nfs.rules")),
    ("etc/hostname", "bedplate-live\n"),
    // Newer than /usr: nothing is to be updated at boot, the linker's cache least of all.
    ("etc/.updated", ""),
    ("var/.updated", ""),
];

/// Units that the live system has no use for: an empty file masks a unit.
const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "logrotate.timer",
    "libvirtd-admin.socket",
    "libvirtd-ro.socket",
    "libvirtd.socket",
    "rpcbind.socket",
    "smartmontools.service",
    "virtlogd-admin.socket",
    "virtlogd.socket",
    "ssh.socket",
    "systemd-networkd-wait-online.service",
];

/// The image with our programs.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) image: PathBuf,
    pub(crate) verity: Verity,
    pub(crate) description: Description,
    /// What the system takes in a store, by the sizes Nix is told, in bytes.
    pub(crate) closure_bytes: u64,
    paths: [StorePath; 3],
    stage: PathBuf,
}

/// `platform.json`: what the embedded platform is made of.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    tree: Reference,
    initrd_modules: Reference,
    runtime: Reference,
    programs: Reference,
    initrd_program: Reference,
    kernel_version: String,
}

#[derive(Debug, Clone, Serialize)]
struct Reference {
    name: String,
    path: String,
    hash: String,
}

impl From<&StorePath> for Reference {
    fn from(path: &StorePath) -> Self {
        let StorePath { name, path, hash, .. } = path.clone();
        Self { name, path, hash }
    }
}

impl Description {
    /// As the text of `platform.json`.
    pub(crate) fn text(&self) -> Result<String, Error> {
        let text = serde_json::to_string_pretty(self);
        let path = Path::new("platform.json");
        text.map(|text| text + "\n").map_err(|error| unfit("the text of", path, error.to_string()))
    }
}

impl Programs {
    /// The archive with PID 1 on this machine.
    pub(crate) fn initrd_program(&self) -> PathBuf {
        self.stage.join(self.description.initrd_program.path.trim_start_matches('/'))
    }

    /// What the image holds.
    pub(crate) fn supplied(&self) -> Vec<Supplied> {
        let all = self.paths.iter();
        all.map(|path| path.supplied(self.stage.join(path.relative()))).collect()
    }

    fn write(&self, path: &str, content: &str) -> Result<(), Error> {
        let path = self.stage.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(file("make", parent))?;
        }
        fs::write(&path, content).map_err(file("write", &path))
    }

    /// Lets people who look into the live system call our programs by name.
    fn link_commands(&self, sources: &[PathBuf], programs: &str) -> Result<(), Error> {
        let directory = self.stage.join("live/usr/local/bin");
        fs::create_dir_all(&directory).map_err(file("make", &directory))?;
        for name in sources.iter().map(|source| file_name(source)).filter(|name| name != INIT) {
            let link = directory.join(&name);
            symlink(format!("{programs}/bin/{name}"), &link).map_err(file("make", &link))?;
        }
        Ok(())
    }

    /// Makes the image.
    pub(crate) fn seal(&mut self) -> Result<(), Error> {
        self.verity = verity_image::make(&self.stage, &self.image)?;
        Ok(())
    }
}

/// Gathers the programs of `binaries` below `work`, for a system whose tree is `tree`; the image
/// is made by [`Programs::seal`].
pub(crate) fn gather(
    binaries: &Path,
    platform: &Platform,
    tree: &StorePath,
    work: &Path,
) -> Result<Programs, Error> {
    let stage = work.join("stage");
    let store = stage.join("nix/store");
    fs::create_dir_all(&store).map_err(file("make", &store))?;
    let nix = TreePrograms::new(&platform.root());
    let sources = sources(binaries)?;
    let runtime = runtime(&sources, &store, &nix)?;
    let programs = programs(&sources, &runtime, &store, &nix)?;
    let initrd_program = initrd_program(&stage, binaries, &runtime, &programs, &nix)?;
    let paths = [runtime, programs, initrd_program];
    let [runtime, programs, initrd_program] = &paths;
    let registration: String = paths.iter().map(|path| path.registration()).collect();
    let closure = paths.iter().chain([tree, &platform.record.initrd_modules]);
    let closure_bytes = closure.map(|path| path.nar_size).sum();
    let description = Description {
        tree: tree.into(),
        initrd_modules: (&platform.record.initrd_modules).into(),
        runtime: runtime.into(),
        programs: programs.into(),
        initrd_program: initrd_program.into(),
        kernel_version: platform.record.kernel_version.clone(),
    };
    let verity = Verity { root_hash: String::new(), hash_offset: 0 };
    let image = work.join("programs.squashfs");
    let commands = programs.path.clone();
    let made = Programs { image, verity, description, closure_bytes, paths, stage };
    made.write("registration", &registration)?;
    made.write("platform.json", &made.description.text()?)?;
    for (path, content) in LIVE {
        made.write(&format!("live/{path}"), &content.replace("@programs@", &commands))?;
    }
    for unit in MASKED {
        made.write(&format!("live/etc/systemd/system/{unit}"), "")?;
    }
    made.link_commands(&sources, &commands)?;
    Ok(made)
}

fn sources(binaries: &Path) -> Result<Vec<PathBuf>, Error> {
    let optional = OPTIONAL.iter().filter(|name| binaries.join(name).exists());
    let names = REQUIRED.iter().chain(optional);
    let paths: Vec<PathBuf> = names.map(|name| binaries.join(name)).collect();
    match paths.iter().find(|path| !path.is_file()) {
        Some(missing) => Err(unfit("the program", missing, "is not there; build it first")),
        None => Ok(paths),
    }
}

fn libraries(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let found = ldd::libraries(program).map_err(tool("list the libraries of a program"))?;
    found.map_err(|missing| unfit("the program", program, format!("its {missing} is not there")))
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_loader(name: &str) -> bool {
    name.starts_with("ld-linux")
}

fn runtime(sources: &[PathBuf], store: &Path, nix: &TreePrograms) -> Result<StorePath, Error> {
    let mut wanted = BTreeSet::new();
    for source in sources {
        wanted.extend(libraries(source)?);
    }
    let libc = wanted.iter().find(|path| file_name(path) == "libc.so.6");
    let beside = libc.and_then(|path| path.parent()).map(Path::to_owned);
    if let Some(directory) = beside {
        let named = OPENED_BY_NAME.iter().map(|name| directory.join(name));
        wanted.extend(named.filter(|path| path.exists()));
    }
    let directory = store.join("runtime");
    for library in &wanted {
        let name = file_name(library);
        let target = copy(library, &directory.join("lib").join(&name), 0o755)?;
        if !is_loader(&name) && name != "libc.so.6" {
            patchelf::set_rpath(&target, "$ORIGIN").map_err(tool("prepare a library"))?;
        }
        let mode = if is_loader(&name) { 0o555 } else { 0o444 };
        set_mode(&target, mode)?;
    }
    seal(&directory, &["lib", ""])?;
    platform::place(nix, "bedplate-runtime", &directory)
}

fn programs(
    sources: &[PathBuf],
    runtime: &StorePath,
    store: &Path,
    nix: &TreePrograms,
) -> Result<StorePath, Error> {
    let directory = store.join("programs");
    let libraries = format!("{}/lib", runtime.path);
    let loader = format!("{libraries}/ld-linux-x86-64.so.2");
    for source in sources {
        let target = copy(source, &directory.join("bin").join(file_name(source)), 0o755)?;
        let patched = patchelf::set_loader(&target, &loader, &libraries);
        patched.map_err(tool("prepare a program"))?;
        set_mode(&target, 0o555)?;
    }
    seal(&directory, &["bin", ""])?;
    platform::place(nix, "bedplate-programs", &directory)
}

/// PID 1 as `/init`, with what it needs of the runtime at its store path.
fn initrd_program(
    stage: &Path,
    binaries: &Path,
    runtime: &StorePath,
    programs: &StorePath,
    nix: &TreePrograms,
) -> Result<StorePath, Error> {
    let target = stage.join("nix/store/initrd-program");
    let read = |path: &Path| fs::read(path).map_err(file("read", path));
    let failed = |source| file("compress", &target)(source);
    let mut archive = Archive::new(zstd::Encoder::new(Vec::new(), 9).map_err(failed)?);
    let init = read(&stage.join(programs.relative()).join("bin").join(INIT))?;
    archive.file("init", 0o555, &init).map_err(failed)?;
    for library in libraries(&binaries.join(INIT))? {
        let path = format!("{}/lib/{}", runtime.relative(), file_name(&library));
        archive.file(&path, 0o555, &read(&stage.join(&path))?).map_err(failed)?;
    }
    let bytes = archive.finish().and_then(zstd::Encoder::finish).map_err(failed)?;
    fs::write(&target, bytes).map_err(file("write", &target))?;
    set_mode(&target, 0o444)?;
    platform::place(nix, "bedplate-initrd-program", &target)
}

fn copy(source: &Path, target: &Path, mode: u32) -> Result<PathBuf, Error> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(file("make", parent))?;
    }
    let content = fs::read(source).map_err(file("read", source))?;
    fs::write(target, content).map_err(file("write", target))?;
    set_mode(target, mode)?;
    Ok(target.to_owned())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(file("set the mode of", path))
}

fn seal(directory: &Path, below: &[&str]) -> Result<(), Error> {
    below.iter().try_for_each(|name| set_mode(&directory.join(name), 0o555))
}
