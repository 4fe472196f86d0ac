//! A small machine: an OS disk, one pool of three, a key stick, a disk that nobody names. What is
//! installed on it is small too: the kernel, the boot loader, our programs and one that looks at
//! what was installed, says so and powers off.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bedplate_image_builder::build::IsoReport;
use bedplate_qemu_harness::disk_image::sha256_of;
use bedplate_qemu_harness::machine::{Disk, DiskKind, Firmware, Format, Kernel, Machine};

use crate::failure::{Failure, file};
use crate::medium::Workspace;
use crate::seed::{self, CANARY, KEY, MEDIUM};

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
pools=$($box sed -n 's/^\[pools\.\(.*\)\]$/\1/p' /etc/nixos/nix/hosts/small/host.toml)
[ -n "$pools" ] || wrong 'no pool is enrolled'
for pool in $pools; do
	"$top/programs/bin/bedplate-host" pool open "$pool" || wrong "$pool does not open"
	$box grep -q " /mnt/$pool btrfs " /proc/mounts || wrong "$pool is not mounted"
	$box grep " /mnt/$pool btrfs " /proc/mounts | $box grep -q degraded && wrong "$pool is degraded"
	echo kept > "/mnt/$pool/written" && $box sync || wrong "$pool cannot be written to"
done
echo "BOOT COMPLETE $top"
$box poweroff -f
"#;

/// The consoles of the medium's own menu.
const CONSOLE: &str = "console=tty0 console=ttyS0 quiet";
/// Without a second page table: under emulation its switches are a fifth of all the work.
/// And a timer that comes late on a busy machine is no broken one.
const EMULATED: &str = "mitigations=off no_timer_check";

/// Where the installed tree has what starts the installer quickly.
const INSTALLING: &str = "usr/lib/bedplate/installing";

/// The first process of the live system: udev and the installer, called as its unit calls it.
/// Stage 1 has loaded every module, and only disks and the events' port need names. systemd and
/// its units, which other stories start, took half the time up to the first write.
const LIVE_INIT: &str = r#"#!/usr/bin/busybox sh
box=/usr/bin/busybox
export PATH=${0%/*}/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
$box mkdir -p /dev/pts /dev/shm
$box mount -t devpts devpts /dev/pts
$box mount -t tmpfs tmpfs /dev/shm
$box mount -t tmpfs tmpfs /tmp
$box mount -t cgroup2 cgroup2 /sys/fs/cgroup
$box mount -t efivarfs efivarfs /sys/firmware/efi/efivars
$box mount --make-rshared /
/usr/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=block --subsystem-match=virtio-ports
udevadm settle
$($box sed -n 's/^ExecStart=//p' /etc/systemd/system/bedplate-installer.service)
# A machine whose installation failed stays as it is.
exec $box sleep 86400
"#;

/// What the installer calls when it is done: a power cut, a moment later so that its last events
/// arrive.
const SYSTEMCTL: &str = r#"#!/usr/bin/busybox sh
box=/usr/bin/busybox
$box sleep 1
for verb; do :; done
exec $box "$verb" -f -n
"#;

/// What opening a pool calls beside: stage 1 has loaded every module there is, and the mount names
/// every member, so that there is nothing to announce.
const NOTHING_TO_DO: &str = "#!/usr/bin/busybox sh\nexit 0\n";

/// What programs of the Debian tree are linked with that a small system can have.
const LIBRARIES: [&str; 10] = [
    "usr/lib64/ld-linux-x86-64.so.2",
    "usr/lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib/x86_64-linux-gnu/libblkid.so.1",
    "usr/lib/x86_64-linux-gnu/libcap.so.2",
    "usr/lib/x86_64-linux-gnu/liblzo2.so.2",
    "usr/lib/x86_64-linux-gnu/libsmartcols.so.1",
    "usr/lib/x86_64-linux-gnu/libudev.so.1",
    "usr/lib/x86_64-linux-gnu/libuuid.so.1",
    "usr/lib/x86_64-linux-gnu/libz.so.1",
    "usr/lib/x86_64-linux-gnu/libzstd.so.1",
];

/// What a small system does after stage 1, and with what.
#[derive(Clone, Copy)]
pub struct System<'a> {
    /// The text of its first process.
    pub init: &'a str,
    /// Programs of the Debian tree that it has beside busybox; what is called and not among them does
    /// nothing, and well.
    pub programs: &'a [&'a str],
}

/// The one that looks at everything, says so and powers off.
const LOOKS: System<'static> = System { init: INIT, programs: &[] };

/// Puts the tree that is installed together below `directory`, out of the Debian tree.
pub fn tree(workspace: &Workspace, directory: &Path) -> Result<PathBuf, Failure> {
    tree_of(workspace, directory, LOOKS)
}

/// As [`tree`], of another system.
pub fn tree_of(
    workspace: &Workspace,
    directory: &Path,
    system: System<'_>,
) -> Result<PathBuf, Failure> {
    let from = workspace.tree()?;
    let to = directory.join("tree");
    if to.exists() {
        fs::remove_dir_all(&to).map_err(file("remove", &to))?;
    }
    let mut names: Vec<String> = FILES.map(str::to_owned).into();
    if !system.programs.is_empty() {
        names.extend(system.programs.iter().copied().chain(LIBRARIES).map(str::to_owned));
    }
    names.push(kernel_of(&from)?);
    let mut digests = String::new();
    for name in &names {
        let target = to.join(name);
        make_parent(&target)?;
        fs::copy(from.join(name), &target).map_err(file("copy", &target))?;
        digests += &format!("{}  {name}\n", sha256_of(&target)?);
    }
    put(&to, "usr/lib/systemd/systemd", system.init, 0o755)?;
    put(&to, &format!("{INSTALLING}/init"), LIVE_INIT, 0o755)?;
    put(&to, &format!("{INSTALLING}/bin/systemctl"), SYSTEMCTL, 0o755)?;
    for name in ["usr/sbin/modprobe", "usr/bin/btrfs", "usr/bin/udevadm"] {
        if !system.programs.contains(&name) {
            put(&to, name, NOTHING_TO_DO, 0o755)?;
        }
    }
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
    /// A command line for it that starts the installer without systemd.
    pub quick: String,
}

/// Makes the medium in `directory`; `workspace` must have made one before. Returns its build too.
pub fn medium(workspace: &Workspace, directory: &Path) -> Result<(Medium, String), Failure> {
    medium_of(workspace, directory, LOOKS)
}

/// As [`medium`], of another system.
pub fn medium_of(
    workspace: &Workspace,
    directory: &Path,
    system: System<'_>,
) -> Result<(Medium, String), Failure> {
    let tree = tree_of(workspace, directory, system)?;
    let iso = directory.join("small.iso");
    let report = workspace.build_medium_with(&iso, &tree)?;
    Ok((opened(&report, directory)?, report.build))
}

/// A medium that was made, with its kernel in `directory`.
pub fn opened(report: &IsoReport, directory: &Path) -> Result<Medium, Failure> {
    let iso = &report.path;
    let kernel = Kernel {
        image: directory.join("vmlinuz"),
        initrd: directory.join("initrd"),
        command_line: format!(
            "{CONSOLE} systemd.ssh_auto=no systemd.unit=bedplate-installer.service"
        ),
    };
    bedplate_image_builder::extract(iso, "live/vmlinuz", &kernel.image)?;
    bedplate_image_builder::extract(iso, "live/initrd", &kernel.initrd)?;
    let quick = format!("{CONSOLE} {EMULATED} init={}/{INSTALLING}/init", report.tree);
    Ok(Medium { file: iso.clone(), kernel, quick })
}

/// The machine as it is started from a medium.
pub fn installing(medium: &Medium, mut disks: Vec<Disk>) -> Machine {
    let mut disk = seed::medium(&medium.file, 0);
    // The firmware starts the medium's kernel at once; what it would read itself is quicker to
    // read as virtio than as USB.
    (disk.kind, disk.boot_index) = (DiskKind::VirtioBlk, None);
    debug_assert_eq!(disk.role, MEDIUM);
    disks.push(disk);
    let mut machine = machine("installing", disks);
    machine.kernel = Some(medium.kernel.clone());
    machine
}

/// The disks but the medium. Each is `<role>.img` in `directory`.
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
        disk("os", DiskKind::Nvme, 6 * GIB),
        disk("one", DiskKind::Nvme, GIB),
        disk("two", DiskKind::Nvme, GIB),
        disk("three", DiskKind::SataHdd { model: "WDC_WD10EFRX".into() }, GIB),
        disk(KEY, DiskKind::UsbStick, 256 << 20),
        disk(CANARY, DiskKind::VirtioBlk, bedplate_qemu_harness::canary::SIZE),
    ]
}

/// The machine around some disks; without a network, the firmware has nothing else to wait for.
/// Emulation makes little of a second processor here, and QEMU 7.2 loses a race while the kernel
/// changes its own code with two of them: one of twenty boots on a busy machine ended in
/// `Oops: int3` before any disk was known.
pub fn machine(name: &str, disks: Vec<Disk>) -> Machine {
    Machine {
        name: name.to_owned(),
        memory_mib: 1536,
        cpus: 1,
        firmware: Firmware::ovmf(),
        kernel: None,
        disks,
        networks: Vec::new(),
        cable: None,
    }
}

/// The text of its `host.toml`.
pub fn host_toml(disks: &[Disk]) -> String {
    host_toml_with(disks, &[("data", &["one", "two", "three"])], &[(KEY, "5A11-0001")])
}

/// The text for an OS disk `os`, pools with their members, and key sticks with their volume ids.
pub fn host_toml_with(
    disks: &[Disk],
    pools: &[(&str, &[&str])],
    sticks: &[(&str, &str)],
) -> String {
    let mut text =
        "schema = 1\n\n[host]\nid = \"8a1f5a0e-6f0b-4c6b-9a55-0c1d5f2a7b31\"\nname = \"small\"\n\
         platform = \"embedded\"\nstate_version = \"26.05\"\n\n[os]\ndisk = \"os\"\n\
         esp_size = \"128MiB\"\n\n[unlock]\ntimeout_seconds = 10\nderivation = \"minimal\"\n\n\
         [install]\nunattended = true\nthen = \"poweroff\"\n"
            .to_owned();
    for (name, members) in pools {
        text += &format!("\n[pools.{name}]\nmount = \"/mnt/{name}\"\ndisks = {members:?}\n");
    }
    for disk in disks {
        let (role, id) = (disk.role.as_str(), disk.by_id());
        if let Some((_, volume)) = sticks.iter().find(|(stick, _)| *stick == role) {
            text += &format!("\n[[unlock.sticks]]\nvolume_id = \"{volume}\"\nid = \"{id}\"\n");
        } else if role != CANARY {
            let quick = matches!(disk.kind, DiskKind::Nvme | DiskKind::VirtioBlk);
            let (serial, media) = (&disk.serial, if quick { "ssd" } else { "hdd" });
            text += &format!(
                "\n[disks.{role}]\nid = \"{id}\"\nexpect_serial = \"{serial}\"\n\
                 media = \"{media}\"\nwipe = \"ours\"\n"
            );
        }
    }
    text
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
