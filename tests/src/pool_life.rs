//! A small machine whose pools live through everything: at each boot it does what stands on a disk of
//! its own, which is written anew before, says what it finds, and powers off.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::machine::{Disk, DiskKind, Format, Machine};
use bedplate_qemu_harness::running::Running;

use crate::failure::{Failure, file};
use crate::medium::{Workspace, put_answers};
use crate::power_cut::recording::blank;
use crate::seed::KEY;
use crate::small::{self, Medium, System};

/// The pools, with their members.
pub const POOLS: [(&str, &[&str]); 2] =
    [("pair", &["one", "two"]), ("trio", &["three", "four", "five"])];
/// What it says last.
pub const OVER: &str = "LIFE IS OVER";
/// What each line that it tells begins with.
pub const TELLS: &str = "LIFE ";

/// Role of the disk that says what is to be done.
const SCRIPT: &str = "script";
/// How a script begins, and how long the disk is.
const BEGINS: &str = "#!life";
const SCRIPT_BYTES: usize = 64 << 10;
const GIB: u64 = 1 << 30;
/// How long an installation, or a boot, may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The first process of the installed system.
const INIT: &str = r#"#!/usr/bin/busybox sh
export box=/usr/bin/busybox PATH=/usr/bin:/usr/sbin DM_DISABLE_UDEV=1
export host="$($box readlink /run/booted-system)/programs/bin/bedplate-host"
$box mkdir -p /dev/disk/by-id
for disk in /dev/vd?; do
	[ "$($box head -c 6 $disk)" = '#!life' ] && $box sh $disk
done
$box sync
echo 'LIFE IS OVER'
$box poweroff -f
"#;

/// What scripts are made of.
const WORDS: &str = r#"#!life
mounted() { $box grep -q " /mnt/$1 btrfs " /proc/mounts; }
open() { if "$host" pool open $1; then echo "LIFE $1 open"; else echo "LIFE $1 refused"; fi; }
sums() {
	mounted $1 || return 0
	$box echo 3 > /proc/sys/vm/drop_caches
	for file in /mnt/$1/*; do echo "LIFE $1 $2 ${file##*/} $($box sha256sum < $file)"; done
}
fill() { $box dd if=/dev/urandom of=$1 bs=64k count=$2 conv=notrunc,fsync 2> /dev/null; }
first() {
	$box mount -o remount,nodatacow /mnt/$1 && fill /mnt/$1/image 64
	$box mount -o remount,datacow,datasum /mnt/$1 && fill /mnt/$1/file 64
	$box sync
}
names() {
	$box rm -f /dev/disk/by-id/nvme-*
	for disk in /sys/block/nvme*; do
		name=${disk##*/}
		$box ln -sf ../../$name "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_$($box cat $disk/device/serial | $box tr -d ' ')"
	done
}
write() { mounted $1 || return 0; fill /mnt/$1/image 64; fill /mnt/$1/file-$2 48; $box sync; }
"#;

/// The machine, its disks and its medium.
pub struct LifeMachine {
    directory: PathBuf,
    /// Disks that are plugged in when nothing is said of them; those that were replaced are gone.
    pub disks: Vec<Disk>,
    medium: Medium,
}

impl LifeMachine {
    /// Installs it in `directory`.
    pub fn install(directory: &Path) -> Result<Self, Failure> {
        let workspace = Workspace::own();
        if workspace.tree().is_err() {
            // What is installed is taken out of the tree that any medium is made of.
            workspace.build_medium(&directory.join("small.iso"), &mut |_| ())?;
        }
        let system = System { init: INIT, programs: &["usr/bin/btrfs", "usr/sbin/wipefs"] };
        let (mut medium, _) = small::medium_of(&workspace, directory, system)?;
        medium.kernel.command_line.clone_from(&medium.quick);
        let disks = disks(directory);
        let named: Vec<Disk> = disks.iter().filter(|disk| disk.role != SCRIPT).cloned().collect();
        put_answers(&medium.file, &small::host_toml_with(&named, &POOLS, &[(KEY, "5A11-0001")]))?;
        blank(&disks)?;
        let machine = Self { directory: directory.to_owned(), disks, medium };
        let running = machine.start(&small::installing(&machine.medium, machine.disks.clone()))?;
        running.wait_for_text(&["Finished in "], LIMIT)?;
        running.wait_for_end(LIMIT)?;
        Ok(machine)
    }

    fn start(&self, machine: &Machine) -> Result<Running, Failure> {
        let tell = |line: &str| println!("{line}");
        Ok(machine.start(&self.directory, Some(Arc::new(tell)))?)
    }

    /// Another disk for a role, blank.
    pub fn fresh_disk(&self, role: &str, number: usize) -> Result<Disk, Failure> {
        let mut disk = pool_disk(&self.directory, role);
        disk.serial = format!("LF{}{number:04}", role.to_uppercase());
        disk.file = self.directory.join(format!("{role}-{number}.img"));
        blank(std::slice::from_ref(&disk))?;
        Ok(disk)
    }

    /// Starts it without some roles, to do what `lines` say.
    pub fn begin(&self, without: &[&str], lines: &str) -> Result<Running, Failure> {
        let mut script = format!("{WORDS}names\n{lines}\nexit 0\n").into_bytes();
        script.resize(SCRIPT_BYTES, b'\n');
        let mut disks = self.disks.clone();
        disks.retain(|disk| !without.contains(&disk.role.as_str()));
        let place = disks.iter().find(|disk| disk.role == SCRIPT).map(|disk| disk.file.clone());
        let place = place.ok_or_else(|| Failure::Unfit("no disk for the script".into()))?;
        debug_assert!(WORDS.starts_with(BEGINS));
        fs::write(&place, script).map_err(file("write", &place))?;
        self.start(&small::machine("life", disks))
    }

    /// As [`LifeMachine::begin`], to the end; what it told.
    pub fn boot(&self, without: &[&str], lines: &str) -> Result<Vec<String>, Failure> {
        let running = self.begin(without, lines)?;
        running.wait_for_text(&[OVER], LIMIT)?;
        let console = running.console();
        running.wait_for_end(LIMIT)?;
        let told = console.lines().filter_map(|line| line.trim().strip_prefix(TELLS));
        Ok(told.map(str::to_owned).collect())
    }
}

fn pool_disk(directory: &Path, role: &str) -> Disk {
    Disk {
        role: role.to_owned(),
        kind: DiskKind::Nvme,
        serial: format!("LF{}0001", role.to_uppercase()),
        size: GIB,
        file: directory.join(format!("{role}.img")),
        format: Format::Raw,
        read_only: false,
        boot_index: None,
    }
}

fn disks(directory: &Path) -> Vec<Disk> {
    let members = POOLS.iter().flat_map(|(_, members)| members.iter());
    let mut disks: Vec<Disk> = members.map(|role| pool_disk(directory, role)).collect();
    let os = Disk { size: 6 * GIB, boot_index: Some(1), ..pool_disk(directory, "os") };
    let key = Disk { kind: DiskKind::UsbStick, size: 256 << 20, ..pool_disk(directory, KEY) };
    let size = SCRIPT_BYTES.try_into().unwrap_or(u64::MAX);
    let script = Disk { kind: DiskKind::VirtioBlk, size, ..pool_disk(directory, SCRIPT) };
    disks.extend([os, key, script]);
    disks
}
