//! Signatures on block devices, through libblkid.

use std::path::{Path, PathBuf};

use libblkid_rs::{BlkidErr, BlkidProbe, BlkidProbeRet, BlkidSublks, BlkidSublksFlags};

/// More signatures than any real device carries; ends a probe that would not end.
const LIMIT: usize = 64;

/// A signature that stands on a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Type as libblkid names it: `btrfs`, `crypto_LUKS`, `vfat`, `gpt`, `dos`, ….
    pub kind: String,
    /// Label of the file system.
    pub label: Option<String>,
    /// UUID of the file system or identifier of the partition table.
    pub uuid: Option<String>,
}

/// A device that could not be probed.
#[derive(Debug, thiserror::Error)]
#[error("could not probe {path} for signatures")]
pub struct ProbeError {
    /// The device.
    pub path: PathBuf,
    /// What libblkid says.
    #[source]
    pub source: BlkidErr,
}

/// Every signature on the device or image at `path`, in the order libblkid knows them.
///
/// All of them are returned, not only the one a mount would choose: a disk with two
/// signatures is a disk with data on it.
pub fn probe(path: &Path) -> Result<Vec<Finding>, ProbeError> {
    collect(path).map_err(|source| ProbeError { path: path.to_owned(), source })
}

fn collect(path: &Path) -> Result<Vec<Finding>, BlkidErr> {
    let mut probe = BlkidProbe::new_from_filename(path)?;
    probe.enable_superblocks(true)?;
    probe.set_superblock_flags(BlkidSublksFlags::new(vec![
        BlkidSublks::Label,
        BlkidSublks::Uuid,
        BlkidSublks::Type,
    ]))?;
    probe.enable_partitions(true)?;
    let mut findings: Vec<Finding> = Vec::new();
    for _ in 0..LIMIT {
        match probe.do_probe()? {
            BlkidProbeRet::Done => break,
            BlkidProbeRet::Success => findings.extend(current(&probe)),
        }
    }
    // A protective MBR is part of GPT; LUKS2 and GPT are found once per copy of their header.
    let has_gpt = findings.iter().any(|finding| finding.kind == "gpt");
    findings.retain(|finding| !(has_gpt && finding.kind == "PMBR"));
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let fresh = !seen.contains(finding);
        seen.push(finding.clone());
        fresh
    });
    Ok(findings)
}

fn current(probe: &BlkidProbe) -> Option<Finding> {
    let value = |name: &str| probe.lookup_value(name).ok().map(|text| text.trim().to_owned());
    if let Some(kind) = value("TYPE") {
        return Some(Finding { kind, label: value("LABEL"), uuid: value("UUID") });
    }
    value("PTTYPE").map(|kind| Finding { kind, label: None, uuid: value("PTUUID") })
}
