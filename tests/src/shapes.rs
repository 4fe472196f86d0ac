//! Virtual machines of the shapes that `host.toml` knows, in the `host.toml` of a story.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_qemu_harness::disk_image::sha256_of;
use bedplate_qemu_harness::guest_disk::PARTITION_START;
use bedplate_qemu_harness::machine::HOST_ADDRESS;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::xorriso;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value, value};

use crate::answers::{self, IMAGE_PATH};
use crate::failure::{Failure, file};
use crate::story::Story;

/// UEFI, as Home Assistant OS, which cannot be had here: the small guest stands in for it.
pub const STAND_IN: &str = "haos-stand-in";
/// UEFI with Secure Boot and a TPM, its disk on SATA.
pub const SECURE: &str = "secure";
/// BIOS, from a raw disk, told who it is by cloud-init.
pub const RAW: &str = "raw";
/// UEFI, an empty disk and an ISO.
pub const INSTALLER: &str = "installer";

/// Path of the raw disk on the story's HTTP server, and that of the ISO.
const RAW_PATH: &str = "/guest.raw";
const ISO_PATH: &str = "/guest.iso";

/// Makes the files of the machines, offers them, and returns the story's `host.toml` with them.
/// None starts by itself.
pub fn with_machines(story: &Story) -> Result<DocumentMut, Failure> {
    let raw = raw_disk(story)?;
    let iso = iso(story, &raw)?;
    story.server.offer(RAW_PATH, raw.clone());
    story.server.offer(ISO_PATH, iso.clone());
    let download = |path: &str, sha256: String| {
        let mut table = Table::new();
        table["url"] = value(format!("http://{HOST_ADDRESS}:{}{path}", story.record.http_port));
        table["sha256"] = value(sha256);
        Item::Table(table)
    };
    let packed = || story.guest().map(|guest| download(IMAGE_PATH, guest.sha256));

    let mut stand_in = machine("uefi");
    stand_in["kind"] = value("haos");
    stand_in["disk_image"] = packed()?;
    let mut secure = machine("uefi-secure-boot");
    secure["disk_bus"] = value("sata");
    secure["tpm"] = value(true);
    secure["disk_image"] = packed()?;
    let mut cloud = machine("bios");
    let mut told = InlineTable::new();
    told.insert("ssh_keys", Value::from(Array::from_iter([story.key.public.trim()])));
    cloud["cloud_init"] = value(told);
    cloud["disk_image"] = download(RAW_PATH, sha256_of(&raw)?);
    let mut installer = machine("uefi");
    installer["disk_gb"] = value(1);
    installer["iso_image"] = download(ISO_PATH, sha256_of(&iso)?);

    let mut document = story.document()?;
    for (name, machine) in
        [(STAND_IN, stand_in), (SECURE, secure), (RAW, cloud), (INSTALLER, installer)]
    {
        document["vms"][name] = Item::Table(machine);
    }
    answers::parse(&document.to_string())?;
    Ok(document)
}

fn machine(firmware: &str) -> Table {
    let mut machine = Table::new();
    machine["vcpu"] = value(1);
    machine["ram_mb"] = value(384);
    machine["firmware"] = value(firmware);
    machine["autostart"] = value(false);
    machine
}

/// The guest's disk as it is before it is packed.
fn raw_disk(story: &Story) -> Result<PathBuf, Failure> {
    let tool = |error: bedplate_tools::command::CommandError| Failure::Unfit(error.to_string());
    let (qcow2, raw) = (story.path("shapes.qcow2"), story.path("shapes.raw"));
    let packed = story.guest()?.file;
    let unpacked = Command::new("xz").args(["--decompress", "--stdout"]).arg(&packed).read_bytes();
    std::fs::write(&qcow2, unpacked.map_err(tool)?).map_err(file("write", &qcow2))?;
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "qcow2", "-O", "raw"]).args([&qcow2, &raw]);
    convert.run().map_err(tool)?;
    Ok(raw)
}

/// An ISO whose EFI system partition is the guest's.
fn iso(story: &Story, raw: &Path) -> Result<PathBuf, Failure> {
    let (partition, iso) = (story.path("shapes.esp"), story.path("shapes.iso"));
    let cut = || {
        let mut from = File::open(raw)?;
        from.seek(SeekFrom::Start(PARTITION_START))?;
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        File::create(&partition)?.write_all(&bytes)
    };
    cut().map_err(file("write", &partition))?;
    let request =
        xorriso::Image { output: &iso, volume: "GUEST", esp: &partition, bios: None, files: &[] };
    xorriso::make(&request).map_err(|error| Failure::Unfit(error.to_string()))?;
    Ok(iso)
}
