//! The disk of a small guest for VMs inside the machine under test: it boots by BIOS and by UEFI
//! from boot loaders of its own, takes a lease, reports over HTTP and writes a file over NFS.

use std::fs::File;
use std::io::{self, Cursor, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_tools::command::CommandExt as _;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

use crate::disk_image::{self, sha256_of};
use crate::error::{HarnessError, file_error};
use crate::guest_agent::{self, GuestAgent};
use crate::guest_modules::Kernel;
use bedplate_tools::cpio::Archive;

/// Size of the disk.
const DISK_BYTES: u64 = 48 << 20;
/// Where the partition it boots from starts, in bytes.
pub const PARTITION_START: u64 = 1 << 20;
/// Where the volume of [`GuestAgent`] starts, in bytes: behind everything else.
pub const VOLUME_START: u64 = DISK_BYTES;
/// Boot code for the master boot record, from syslinux-common.
const BOOT_CODE: &str = "/usr/lib/SYSLINUX/mbr.bin";
/// Boot code for UEFI, in the tree.
const UEFI_LOADER: &str = "usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed";
/// What the guest loads, needs included by [`Kernel::load`].
const MODULES: [&str; 5] = ["virtio_pci", "virtio_net", "e1000", "nfs", "nfsv4"];

/// What the guest is told on its kernel command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// Where it reports, such as `http://192.168.1.2:8080`.
    pub report: String,
    /// What it mounts, such as `192.168.1.15:/mnt/bulk/apps-vm`.
    pub nfs: String,
}

/// The finished image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestDisk {
    /// The `.qcow2.xz`.
    pub file: PathBuf,
    /// SHA-256 of that file, hexadecimal.
    pub sha256: String,
}

/// Builds `guest.qcow2.xz` (and the uncompressed `guest.qcow2`) in `directory` out of `tree`.
pub fn build(
    tree: &Path,
    directory: &Path,
    errand: &Errand,
    agent: Option<&GuestAgent>,
) -> Result<GuestDisk, HarnessError> {
    let kernel = Kernel::find(tree)?;
    let initramfs = initramfs(tree, &kernel, agent)?;
    let read = |path: &Path| std::fs::read(path).map_err(file_error("could not read", path));
    let loader = Loaded {
        kernel: read(&kernel.image)?,
        initramfs,
        record: read(Path::new(BOOT_CODE))?,
        uefi: read(&tree.join(UEFI_LOADER))?,
    };
    let raw = directory.join("guest.raw");
    let volume = agent.map_or(&[][..], |agent| &agent.volume);
    loader.write_disk(&raw, errand, volume).map_err(file_error("could not write", &raw))?;
    let offset = PARTITION_START.to_string();
    Command::new("syslinux").args(["--install", "--offset", &offset]).arg(&raw).run()?;
    let qcow2 = directory.join("guest.qcow2");
    disk_image::convert_to_qcow2(&raw, &qcow2)?;
    std::fs::remove_file(&raw).map_err(file_error("could not remove", &raw))?;
    Command::new("xz").args(["--keep", "--force", "-1", "--threads=0"]).arg(&qcow2).run()?;
    let file = directory.join("guest.qcow2.xz");
    Ok(GuestDisk { sha256: sha256_of(&file)?, file })
}

fn initramfs(
    tree: &Path,
    kernel: &Kernel,
    agent: Option<&GuestAgent>,
) -> Result<Vec<u8>, HarnessError> {
    let busybox = tree.join("usr/bin/busybox");
    let busybox = std::fs::read(&busybox).map_err(file_error("could not read", &busybox))?;
    let more = agent.map_or(&[][..], |_| &guest_agent::MODULES);
    let modules = kernel.load(&[&MODULES, more].concat())?;
    let order: String = modules.iter().map(|(name, _)| format!("{name}.ko\n")).collect();
    let pack = || -> io::Result<Vec<u8>> {
        let mut archive = Archive::new(zstd::Encoder::new(Vec::new(), 12)?);
        for directory in ["bin", "dev", "modules"] {
            archive.directory(directory)?;
        }
        archive.device("dev/console", 5, 1)?;
        archive.file("init", 0o755, include_bytes!("guest_init"))?;
        archive.file("lease", 0o755, include_bytes!("guest_lease"))?;
        archive.file("bin/busybox", 0o755, &busybox)?;
        for (name, content) in &modules {
            archive.file(&format!("modules/{name}.ko"), 0o644, content)?;
        }
        archive.file("modules/order", 0o644, order.as_bytes())?;
        if let Some(agent) = agent {
            archive.file("agent", 0o755, include_bytes!("guest_agent_start"))?;
            archive.file("agent-hook", 0o755, include_bytes!("guest_agent_hook"))?;
            for directory in agent.directories() {
                archive.directory(&directory)?;
            }
            for (path, content) in &agent.files {
                archive.file(path, 0o755, content)?;
            }
        }
        archive.finish()?.finish()
    };
    pack().map_err(file_error("could not pack", Path::new("the guest's initramfs")))
}

/// What a machine loads to start.
struct Loaded {
    kernel: Vec<u8>,
    initramfs: Vec<u8>,
    record: Vec<u8>,
    uefi: Vec<u8>,
}

impl Loaded {
    /// Partition table, file system and files; the boot loader of BIOS is put in by `syslinux`.
    fn write_disk(&self, path: &Path, errand: &Errand, volume: &[u8]) -> io::Result<()> {
        let (bios, uefi) = (configuration(errand), entry(errand));
        let partition = partition(&[
            ("syslinux.cfg", bios.as_bytes()),
            ("vmlinuz", &self.kernel),
            ("initrd", &self.initramfs),
            ("EFI/BOOT/BOOTX64.EFI", &self.uefi),
            ("loader/loader.conf", b"timeout 0\n"),
            ("loader/entries/guest.conf", uefi.as_bytes()),
        ])?;
        let mut disk = File::create(path)?;
        disk.set_len(DISK_BYTES + volume.len() as u64)?;
        disk.write_all(&boot_record(&self.record, volume.len() as u64))?;
        disk.seek(SeekFrom::Start(PARTITION_START))?;
        disk.write_all(&partition)?;
        disk.write_all(volume)
    }
}

/// What the guest's kernel leaves out of its start: a test of its random numbers and its ciphers, the
/// names of trace events, keys for signatures of modules, drivers of televisions. Each took an emulated
/// guest seconds, and together a third of its way to the first process.
const LEFT_OUT: [&str; 7] = [
    "jent_mod_init",
    "crypto_kdf108_init",
    "trace_eval_init",
    "init_kprobe_trace",
    "bpf_tcp_ca_kfunc_init",
    "load_system_certificate_list",
    "cec_init",
];

fn parameters(errand: &Errand) -> String {
    format!(
        "console=ttyS0 panic=-1 quiet mitigations=off cryptomgr.notests=1 initcall_blacklist={} \
         report={} nfs={}",
        LEFT_OUT.join(","),
        errand.report,
        errand.nfs
    )
}

/// For syslinux.
fn configuration(errand: &Errand) -> String {
    format!(
        "SERIAL 0 115200\nDEFAULT guest\nPROMPT 0\nLABEL guest\n KERNEL vmlinuz\n \
         APPEND initrd=initrd {}\n",
        parameters(errand)
    )
}

/// For systemd-boot (Boot Loader Specification, type 1).
fn entry(errand: &Errand) -> String {
    format!("title guest\nlinux /vmlinuz\ninitrd /initrd\noptions {}\n", parameters(errand))
}

fn partition(files: &[(&str, &[u8])]) -> io::Result<Vec<u8>> {
    let size = usize::try_from(DISK_BYTES - PARTITION_START).map_err(io::Error::other)?;
    let mut bytes = Cursor::new(vec![0; size]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat16)
        .volume_id(0x6755_6573)
        .volume_label(*b"GUEST      ");
    fatfs::format_volume(&mut bytes, options)?;
    let volume = FileSystem::new(&mut bytes, FsOptions::new())?;
    for (name, content) in files {
        for (end, _) in name.match_indices('/') {
            volume.root_dir().create_dir(name.get(..end).unwrap_or_default())?;
        }
        let mut file = volume.root_dir().create_file(name)?;
        file.write_all(content)?;
        file.flush()?;
    }
    volume.unmount()?;
    let mut bytes = bytes.into_inner();
    // The BIOS parameter block says how many sectors lie before the partition.
    let sectors = u32::try_from(PARTITION_START / 512).map_err(io::Error::other)?;
    bytes[0x1c..0x20].copy_from_slice(&sectors.to_le_bytes());
    Ok(bytes)
}

/// A master boot record with one active FAT16 partition, and behind it one for Linux where there
/// is a volume of so many bytes.
fn boot_record(code: &[u8], volume: u64) -> [u8; 512] {
    let mut record = [0; 512];
    let length = code.len().min(440);
    record[..length].copy_from_slice(&code[..length]);
    let boot = record_entry(true, 0x0e, PARTITION_START, DISK_BYTES - PARTITION_START);
    record[446..462].copy_from_slice(&boot);
    if volume > 0 {
        record[462..478].copy_from_slice(&record_entry(false, 0x83, VOLUME_START, volume));
    }
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    record
}

/// An entry of the boot record: a partition of this type, addressed by LBA.
fn record_entry(active: bool, kind: u8, start: u64, bytes: u64) -> [u8; 16] {
    let mut entry = [0; 16];
    entry[0] = if active { 0x80 } else { 0 };
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[4] = kind;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&((start / 512) as u32).to_le_bytes());
    entry[12..16].copy_from_slice(&((bytes / 512) as u32).to_le_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_boot_record_names_one_active_partition_inside_the_disk() {
        let record = boot_record(&[0x90; 440], 0);
        assert_eq!(record[446], 0x80);
        let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from(word(454)) * 512, PARTITION_START);
        assert_eq!(u64::from(word(454) + word(458)) * 512, DISK_BYTES);
        assert_eq!(record[439], 0x90);
        assert_eq!(record[462..], [&[0; 48][..], &[0x55, 0xaa]].concat());
    }

    #[test]
    fn a_volume_is_the_second_partition_behind_the_first() {
        let record = boot_record(&[], 8 << 20);
        let word = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().unwrap());
        assert_eq!((record[462], record[466]), (0, 0x83));
        assert_eq!(word(470), word(454) + word(458));
        assert_eq!(u64::from(word(474)) * 512, 8 << 20);
    }

    #[test]
    fn the_partition_holds_its_files_and_knows_its_place() {
        let files: [(&str, &[u8]); 3] =
            [("initrd", b"initramfs"), ("loader/entries/a.conf", b"a"), ("loader/b", b"b")];
        let mut bytes = partition(&files).unwrap();
        assert_eq!(bytes[0x1c..0x20], 2048_u32.to_le_bytes());
        let volume = FileSystem::new(Cursor::new(&mut bytes), FsOptions::new()).unwrap();
        assert_eq!(volume.fat_type(), FatType::Fat16);
        let mut text = String::new();
        volume.root_dir().open_file("initrd").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "initramfs");
        assert!(volume.root_dir().open_file("loader/entries/a.conf").is_ok());
    }

    #[test]
    fn the_errand_stands_on_the_command_line() {
        let errand = Errand { report: "http://h:1".into(), nfs: "s:/p".into() };
        for told in [configuration(&errand), entry(&errand)] {
            assert!(told.contains(" report=http://h:1 nfs=s:/p\n"));
        }
    }
}
