//! The guest that writes: a kernel, busybox, vfat and one program.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bedplate_qemu_harness::disk_image;
use bedplate_qemu_harness::guest_modules;
use bedplate_qemu_harness::machine::{Disk, DiskKind, Firmware, Format, Kernel, Machine};
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::cpio::Archive;
use bedplate_tools::ldd;
use fatfs::{FatType, FormatVolumeOptions};

use super::DONE;
use crate::failure::{Failure, file};

/// The disks, in order: where each is mounted; the last one has the marks.
pub const DISKS: [(&str, &str); 5] = [
    ("esp", "/boot"),
    ("mirror", "/boot-mirror"),
    ("fresh", "/fresh"),
    ("control", "/control"),
    ("marks", ""),
];
/// Small, and FAT32 all the same: more than 65,525 clusters.
const SIZE: u64 = 36 << 20;
/// What the volumes are made with.
const CLUSTER: u32 = 512;
/// How long the guest may take.
const LIMIT: Duration = Duration::from_secs(300);
/// What the guest loads. Names are in code page 437 and ASCII by Debian's defaults.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "vfat", "nls_cp437", "nls_ascii"];

const INIT: &str = r#"#!/bin/busybox sh
box=/bin/busybox
$box mkdir -p /proc /sys /dev /tmp /boot /boot-mirror /fresh /control
$box mount -t proc proc /proc
$box mount -t sysfs sysfs /sys
$box mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
while read -r module; do $box insmod "/modules/$module" || echo "no $module"; done </modules/order
$box ln -s vde /dev/marks
options=umask=0077,dirsync,errors=continue
$box mount -t vfat -o $options /dev/vda /boot
$box mount -t vfat -o $options /dev/vdb /boot-mirror
$box mount -t vfat -o $options /dev/vdc /fresh
$box mount -t vfat -o umask=0077,errors=continue /dev/vdd /control
export RUST_BACKTRACE=0
words=$($box sed -n 's/.*writer=\([a-z]*\).*/\1/p' /proc/cmdline)
/writer $words
$box poweroff -f
"#;

/// The guest's kernel and what it starts with, in `directory`.
pub fn kernel(tree: &Path, writer: &Path, directory: &Path) -> Result<Kernel, Failure> {
    let found = guest_modules::Kernel::find(tree)?;
    let modules = found.load(&MODULES)?;
    let stripped = directory.join("writer");
    fs::copy(writer, &stripped).map_err(file("copy", writer))?;
    let strip = Command::new("objcopy").arg("--strip-all").arg(&stripped).run();
    strip.map_err(|error| Failure::Unfit(error.to_string()))?;
    let libraries = ldd::libraries(&stripped).map_err(|error| Failure::Unfit(error.to_string()))?;
    let libraries = libraries.map_err(|name| Failure::Unfit(format!("there is no {name}")))?;
    let initrd = directory.join("writer.initrd");
    let pack = || -> io::Result<()> {
        let mut archive = Archive::new(File::create(&initrd)?);
        for directory in ["bin", "dev", "modules", "proc", "sys"] {
            archive.directory(directory)?;
        }
        archive.device("dev/console", 5, 1)?;
        archive.file("init", 0o755, INIT.as_bytes())?;
        archive.file("bin/busybox", 0o755, &fs::read(tree.join("usr/bin/busybox"))?)?;
        archive.file("writer", 0o755, &fs::read(&stripped)?)?;
        for library in &libraries {
            let name = library.to_string_lossy();
            archive.file(name.trim_start_matches('/'), 0o755, &fs::read(library)?)?;
        }
        for (name, content) in &modules {
            archive.file(&format!("modules/{name}.ko"), 0o644, content)?;
        }
        let order: String = modules.iter().map(|(name, _)| format!("{name}.ko\n")).collect();
        archive.file("modules/order", 0o644, order.as_bytes())?;
        archive.finish().map(drop)
    };
    pack().map_err(file("write", &initrd))?;
    let command_line = "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check".to_owned();
    Ok(Kernel { image: found.image, initrd, command_line })
}

/// The disks, as raw images in `directory`.
pub fn disks(directory: &Path) -> Vec<Disk> {
    let disk = |(role, _): &(&str, &str)| Disk {
        role: (*role).to_owned(),
        // Its cache is lost with the power, as the one of a real disk is.
        kind: DiskKind::VirtioBlk,
        serial: format!("EC{}", role.to_uppercase()),
        size: SIZE,
        file: directory.join(format!("{role}.img")),
        format: Format::Raw,
        read_only: false,
        boot_index: None,
    };
    DISKS.iter().map(disk).collect()
}

/// Makes the disks as they are before anything is written to them.
pub fn blank(disks: &[Disk]) -> Result<(), Failure> {
    for disk in disks {
        disk_image::create(disk)?;
        if disk.role == "marks" {
            continue;
        }
        let options =
            FormatVolumeOptions::new().fat_type(FatType::Fat32).bytes_per_cluster(CLUSTER);
        let made = File::options().read(true).write(true).open(&disk.file);
        let made = made.and_then(|mut image| fatfs::format_volume(&mut image, options));
        made.map_err(file("format", &disk.file))?;
    }
    Ok(())
}

/// Lets the guest write; returns what it said.
pub fn run(
    kernel: &Kernel,
    disks: Vec<Disk>,
    words: &str,
    directory: &Path,
) -> Result<String, Failure> {
    let mut kernel = kernel.clone();
    kernel.command_line += &format!(" writer={words}");
    let machine = Machine {
        name: format!("writer-{words}"),
        memory_mib: 512,
        cpus: 1,
        firmware: Firmware::Bios,
        kernel: Some(kernel),
        disks,
        networks: Vec::new(),
        cable: None,
    };
    let running = machine.start(directory, None)?;
    let index = running.wait_for_text(&[DONE, "WRITER FAILED", "Kernel panic"], LIMIT)?;
    running.wait_for_end(LIMIT).ok();
    let console = running.console();
    match index {
        0 => Ok(console),
        _ => Err(Failure::Unfit(format!("the guest did not write:\n{}", running.tail()))),
    }
}

/// Where the images of cuts stand: in memory, where there is room.
pub fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
