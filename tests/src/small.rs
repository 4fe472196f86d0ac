//! A small machine: an OS disk, one pool of three, a key stick, a disk that nobody names. What is
//! installed on it is small too: the kernel, the boot loader, our programs and one that looks at
//! what was installed, says so and powers off.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_qemu_harness::disk_image::sha256_of;
use bedplate_qemu_harness::machine::{Disk, DiskKind, Firmware, Format, Kernel, Machine};

use crate::failure::{Failure, file};
use crate::medium::Workspace;
use crate::seed::{CANARY, KEY};

/// The machine's name in `host.toml`.
pub const HOST: &str = "small";
/// What the installed system says last when everything is there.
pub const COMPLETE: &str = "BOOT COMPLETE /nix/store/";
/// What it says when something is not.
pub const DAMAGED: &str = "BOOT DAMAGED";

const GIB: u64 = 1 << 30;
/// Files of the Debian tree that are installed.
const FILES: [&str; 5] = [
    "usr/bin/busybox",
    "usr/lib/shim/shimx64.efi.signed",
    "usr/lib/shim/mmx64.efi.signed",
    "usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed",
    "etc/os-release",
];
/// Where the digests of the tree's files stand, inside the tree.
const DIGESTS: &str = "usr/share/bedplate/digests";

/// Looks at everything, the way a complete system would use it. `/usr` is the tree's.
const INIT: &str = r#"#!/usr/bin/busybox sh
box=/usr/bin/busybox
wrong() {
	echo "BOOT DAMAGED $1"
	$box poweroff -f
}
top=$($box readlink /run/booted-system)
cd "$top/tree" || wrong 'the tree is not there'
$box sha256sum -c -s usr/share/bedplate/digests || wrong 'the tree is not what was made'
empty=$($box find /nix/store -type f -size 0 ! -name '.*')
[ -z "$empty" ] || wrong "empty: $empty"
$box find /nix/store /etc -type f -exec $box cat {} + > /dev/null || wrong 'a file cannot be read'
[ -s /etc/nixos/nix/hosts/small/host.toml ] || wrong 'the host is not enrolled'
$box cmp "$top/host.toml" /etc/nixos/nix/hosts/small/host.toml || wrong 'another host is enrolled'
"$top/programs/bin/bedplate-host" pool open data || wrong 'the pool does not open'
$box grep -q ' /mnt/data btrfs ' /proc/mounts || wrong 'the pool is not mounted'
$box grep ' /mnt/data btrfs ' /proc/mounts | $box grep -q degraded && wrong 'the pool is degraded'
echo kept > /mnt/data/written && $box sync || wrong 'the pool cannot be written to'
echo "BOOT COMPLETE $top"
$box poweroff -f
"#;

/// What opening a pool calls beside: stage 1 has loaded every module there is, and the mount names
/// every member, so that there is nothing to announce.
const NOTHING_TO_DO: &str = "#!/usr/bin/busybox sh\nexit 0\n";

/// Puts the tree that is installed together below `directory`, out of the Debian tree.
pub fn tree(workspace: &Workspace, directory: &Path) -> Result<PathBuf, Failure> {
    let from = workspace.tree()?;
    let to = directory.join("tree");
    if to.exists() {
        fs::remove_dir_all(&to).map_err(file("remove", &to))?;
    }
    let mut names: Vec<String> = FILES.map(str::to_owned).into();
    names.push(kernel_of(&from)?);
    let mut digests = String::new();
    for name in &names {
        let target = to.join(name);
        make_parent(&target)?;
        fs::copy(from.join(name), &target).map_err(file("copy", &target))?;
        digests += &format!("{}  {name}\n", sha256_of(&target)?);
    }
    put(&to, "usr/lib/systemd/systemd", INIT, 0o755)?;
    put(&to, "usr/sbin/modprobe", NOTHING_TO_DO, 0o755)?;
    put(&to, "usr/bin/btrfs", NOTHING_TO_DO, 0o755)?;
    put(&to, "etc/passwd", "root:x:0:0:root:/root:/usr/bin/busybox\n", 0o644)?;
    put(&to, "etc/group", "root:x:0:\n", 0o644)?;
    put(&to, "var/lib/README", "Nothing is kept here yet.\n", 0o644)?;
    put(&to, DIGESTS, &digests, 0o644)?;
    Ok(to)
}

fn kernel_of(tree: &Path) -> Result<String, Failure> {
    let boot = tree.join("boot");
    let entries = fs::read_dir(&boot).map_err(file("list", &boot))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("vmlinuz-"))
        .max()
        .map(|name| format!("boot/{name}"))
        .ok_or_else(|| Failure::Unfit(format!("no kernel in {}", boot.display())))
}

fn make_parent(path: &Path) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(file("make", parent))
}

fn put(root: &Path, name: &str, content: &str, mode: u32) -> Result<(), Failure> {
    let path = root.join(name);
    make_parent(&path)?;
    let written = fs::write(&path, content)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
    written.map_err(file("write", &path))
}

/// The medium that installs [`tree`], and its kernel for a start without a boot loader.
pub struct Medium {
    /// The medium.
    pub file: PathBuf,
    /// Its kernel.
    pub kernel: Kernel,
}

/// Makes the medium in `directory`; `workspace` must have made one before. Returns its build too.
pub fn medium(workspace: &Workspace, directory: &Path) -> Result<(Medium, String), Failure> {
    let tree = tree(workspace, directory)?;
    let iso = directory.join("small.iso");
    let report = workspace.build_medium_with(&iso, &tree)?;
    let kernel = Kernel {
        image: directory.join("vmlinuz"),
        initrd: directory.join("initrd"),
        command_line: "console=tty0 console=ttyS0 panic=-1 quiet systemd.ssh_auto=no \
             systemd.unit=bedplate-installer.service"
            .to_owned(),
    };
    bedplate_image_builder::extract(&iso, "live/vmlinuz", &kernel.image)?;
    bedplate_image_builder::extract(&iso, "live/initrd", &kernel.initrd)?;
    Ok((Medium { file: iso, kernel }, report.build))
}

/// The disks but the medium. Each is `<role>.img` in `directory`. The quick ones are virtio: they
/// have a cache that a power cut loses, which QEMU's NVMe has not when it is served over NBD.
pub fn disks(directory: &Path) -> Vec<Disk> {
    let disk = |role: &str, kind: DiskKind, size: u64| Disk {
        role: role.to_owned(),
        kind,
        serial: format!("SM{}0001", role.to_uppercase()),
        size,
        file: directory.join(format!("{role}.img")),
        format: Format::Raw,
        read_only: false,
        boot_index: (role == "os").then_some(1),
    };
    vec![
        disk("os", DiskKind::VirtioBlk, 6 * GIB),
        disk("one", DiskKind::VirtioBlk, GIB),
        disk("two", DiskKind::VirtioBlk, GIB),
        disk("three", DiskKind::SataHdd { model: "WDC_WD10EFRX".into() }, GIB),
        disk(KEY, DiskKind::UsbStick, 256 << 20),
        disk(CANARY, DiskKind::VirtioBlk, bedplate_qemu_harness::canary::SIZE),
    ]
}

/// The machine around some disks; without a network, the firmware has nothing else to wait for.
pub fn machine(name: &str, disks: Vec<Disk>) -> Machine {
    Machine {
        name: name.to_owned(),
        memory_mib: 1536,
        cpus: 2,
        firmware: Firmware::ovmf(),
        kernel: None,
        disks,
        network: None,
    }
}

/// The text of its `host.toml`.
pub fn host_toml(disks: &[Disk]) -> String {
    let mut text =
        "schema = 1\n\n[host]\nid = \"8a1f5a0e-6f0b-4c6b-9a55-0c1d5f2a7b31\"\nname = \"small\"\n\
         platform = \"embedded\"\nstate_version = \"26.05\"\n\n"
            .to_owned();
    let mut stick = String::new();
    for disk in disks {
        match disk.role.as_str() {
            CANARY => {}
            KEY => stick = disk.by_id(),
            role => {
                let media = if disk.kind == DiskKind::VirtioBlk { "ssd" } else { "hdd" };
                text += &format!(
                    "[disks.{role}]\nid = \"{}\"\nexpect_serial = \"{}\"\nmedia = \"{media}\"\nwipe = \"ours\"\n\n",
                    disk.by_id(),
                    disk.serial
                );
            }
        }
    }
    text + &format!(
        "[os]\ndisk = \"os\"\nesp_size = \"128MiB\"\n\n[pools.data]\nmount = \"/mnt/data\"\n\
         disks = [\"one\", \"two\", \"three\"]\n\n\
         [unlock]\ntimeout_seconds = 10\nderivation = \"minimal\"\n\n\
         [[unlock.sticks]]\nvolume_id = \"5A11-0001\"\nid = \"{stick}\"\n\n\
         [install]\nunattended = true\nthen = \"poweroff\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_host_is_valid_and_names_every_disk_but_the_canary() {
        let disks = disks(Path::new("/d"));
        let host = crate::answers::parse(&host_toml(&disks)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(host.disks.len(), 4);
        assert!(!host_toml(&disks).contains("CANARY"));
        assert_eq!(
            host.unlock.sticks[0].id.as_deref(),
            Some("usb-QEMU_QEMU_HARDDISK_SMKEY0001-0:0")
        );
    }
}
