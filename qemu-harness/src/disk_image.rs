//! Disk images through `qemu-img`, and their digests.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use bedplate_tools::command::CommandExt as _;
use sha2::{Digest as _, Sha256};

use crate::error::{HarnessError, file_error};
use crate::machine::{Disk, Format};

/// Creates the empty image of a disk; sparse, so that true sizes cost nothing.
pub fn create(disk: &Disk) -> Result<(), HarnessError> {
    let size = disk.size.to_string();
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", disk.format.name()]).arg(&disk.file).arg(size);
    Ok(command.run()?)
}

/// Creates the image of a disk at `file` as a difference to `base`, which is never written to.
pub fn create_difference(base: &Disk, file: &Path) -> Result<(), HarnessError> {
    let below =
        std::fs::canonicalize(&base.file).map_err(file_error("could not find", &base.file))?;
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", Format::Qcow2.name(), "-F", base.format.name(), "-b"]);
    Ok(command.arg(below).arg(file).run()?)
}

/// Copies the image of a disk, leaving holes where it has nothing.
pub fn copy_sparse(base: &Disk, file: &Path) -> Result<(), HarnessError> {
    let format = base.format.name();
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-q", "-f", format, "-O", format]).arg(&base.file).arg(file);
    Ok(command.run()?)
}

/// Converts a raw image.
pub fn convert_to_qcow2(raw: &Path, qcow2: &Path) -> Result<(), HarnessError> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-q", "-f", "raw", "-O", Format::Qcow2.name()]).arg(raw).arg(qcow2);
    Ok(command.run()?)
}

/// Makes a part of a disk read as zeros.
pub fn zero(disk: &Disk, start: u64, length: u64) -> Result<(), HarnessError> {
    let line = format!("write -q -z {start} {length}");
    let mut command = Command::new("qemu-io");
    Ok(command.args(["-f", disk.format.name(), "-c", &line]).arg(&disk.file).run()?)
}

/// How many bytes of an image hold data that is not zero, as `qemu-img map` sees it.
pub fn bytes_with_data(disk: &Disk) -> Result<u64, HarnessError> {
    let mut command = Command::new("qemu-img");
    command.args(["map", "--output=json", "--force-share", "-f", disk.format.name()]);
    let text = command.arg(&disk.file).read()?;
    count_data(&text)
        .ok_or_else(|| HarnessError::Unfit(format!("`qemu-img map` answered {text:?}")))
}

fn count_data(map: &str) -> Option<u64> {
    let extents: Vec<serde_json::Value> = serde_json::from_str(map).ok()?;
    extents.iter().try_fold(0_u64, |sum, extent| {
        let data = extent.get("data")?.as_bool()? && !extent.get("zero")?.as_bool()?;
        Some(sum + if data { extent.get("length")?.as_u64()? } else { 0 })
    })
}

/// SHA-256 of a file, hexadecimal.
pub fn sha256_of(path: &Path) -> Result<String, HarnessError> {
    let mut file = File::open(path).map_err(file_error("could not open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(file_error("could not read", path))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::DiskKind;

    #[test]
    fn a_part_of_a_disk_becomes_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        std::fs::write(&file, [1; 8192]).unwrap();
        let disk = Disk {
            role: "a".into(),
            kind: DiskKind::Nvme,
            serial: "A".into(),
            size: 8192,
            file,
            format: Format::Raw,
            read_only: false,
            boot_index: None,
        };
        zero(&disk, 1024, 2048).unwrap();
        let bytes = std::fs::read(&disk.file).unwrap();
        assert!(bytes[..1024].iter().chain(&bytes[3072..]).all(|byte| *byte == 1));
        assert!(bytes[1024..3072].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn only_extents_with_data_count() {
        let map = r#"[{"start":0,"length":4096,"depth":0,"present":true,"zero":false,"data":true},
                      {"start":4096,"length":8192,"depth":0,"present":false,"zero":true,"data":false}]"#;
        assert_eq!(count_data(map), Some(4096));
        assert_eq!(count_data("{}"), None);
    }

    #[test]
    fn the_digest_is_the_known_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        let digest = sha256_of(file.path()).unwrap();
        assert_eq!(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
