//! Media of Bedplate that are plugged in, as a person tells them apart.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use bedplate_events::shown::shown;
use bedplate_formats::boot::MEDIUM_LABEL;
use bedplate_model::facts::DiskFacts;
use bedplate_model::size;
use bedplate_tools::block::{self, Block};
use bedplate_tools::signature::Signature;

use super::disks;
use super::roots::Roots;

/// A medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Medium {
    /// The whole disk, and its partitions that begin as it does.
    pub nodes: Vec<PathBuf>,
    /// Where it is plugged in, and what it is: `/dev/sdb (ACME Stick, serial 1234, 31 GB)`.
    pub about: String,
}

impl Medium {
    /// Whether it is the device of this number.
    pub fn is(&self, number: u64) -> bool {
        self.nodes.iter().any(|node| fs::metadata(node).is_ok_and(|it| it.rdev() == number))
    }
}

/// Every medium of ours, of any version.
pub fn plugged_in() -> io::Result<Vec<Medium>> {
    let label = Signature::Iso9660 { volume_id: MEDIUM_LABEL.to_owned() };
    let mut found = block::disks()?;
    found.retain(|block| block.signature().as_ref() == Some(&label));
    let roots = Roots::identity();
    let medium = |(disk, blocks): (String, Vec<Block>)| {
        let facts = disks::read_one(&roots, &disk);
        Medium {
            about: about(&disk, facts.as_ref()),
            nodes: blocks.into_iter().map(|block| block.node).collect(),
        }
    };
    Ok(by_disk(found).into_iter().map(medium).collect())
}

/// An image that also boots from a stick carries its label on the disk and on the first partition.
fn by_disk(blocks: Vec<Block>) -> Vec<(String, Vec<Block>)> {
    let mut disks: Vec<(String, Vec<Block>)> = Vec::new();
    for block in blocks {
        let disk = disk_of(&block).to_owned();
        match disks.iter_mut().find(|(name, _)| *name == disk) {
            Some((_, blocks)) => blocks.push(block),
            None => disks.push((disk, vec![block])),
        }
    }
    disks
}

/// The kernel's name of the disk that a partition is on: `sdb1`, `nvme0n1p1`.
fn disk_of(block: &Block) -> &str {
    let Some(number) = block.partition else { return &block.name };
    let base = block.name.strip_suffix(&number.to_string()).unwrap_or(&block.name);
    let stem = base.strip_suffix('p').filter(|stem| stem.ends_with(|it: char| it.is_ascii_digit()));
    stem.unwrap_or(base)
}

fn about(disk: &str, facts: Option<&DiskFacts>) -> String {
    let node = format!("/dev/{}", shown(&disk.replace('!', "/")));
    let Some(facts) = facts else { return node };
    let serial = facts.serial.as_ref().map(|serial| format!("serial {}", shown(serial)));
    let parts = [facts.model.as_deref().map(shown), serial, Some(size::show(facts.size))];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{node} ({})", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, partition: Option<u32>) -> Block {
        let node = PathBuf::from("/dev").join(name);
        Block { name: name.to_owned(), node, size: 1 << 30, partition, sequence: 7 }
    }

    #[test]
    fn t47_a_medium_is_counted_once_though_its_first_partition_begins_as_it_does() {
        let all = [
            ("mmcblk0", None),
            ("mmcblk0p1", Some(1)),
            ("sda", None),
            ("sda1", Some(1)),
            ("sdb", None),
            ("sdp12", Some(12)),
            ("sr0", None),
        ];
        let blocks = all.map(|(name, partition)| block(name, partition)).into();
        let found: Vec<(String, usize)> =
            by_disk(blocks).into_iter().map(|(disk, blocks)| (disk, blocks.len())).collect();
        let wanted = [("mmcblk0", 2), ("sda", 2), ("sdb", 1), ("sdp", 1), ("sr0", 1)];
        assert_eq!(found, wanted.map(|(disk, count)| (disk.to_owned(), count)));
    }

    #[test]
    fn t47_t59_a_medium_is_told_by_what_stands_on_its_case() {
        let facts: DiskFacts = serde_json::from_str(
            r#"{"kernel_name": "sdb", "number": "8:16", "by_id": [], "serial": "12\u001b4",
                "model": "ACME Stick", "size": 31000000000, "sector_size": 512, "rotational": false, "transport": "usb"}"#,
        )
        .unwrap();
        assert_eq!(
            about("sdb", Some(&facts)),
            format!("/dev/sdb (ACME Stick, serial 12\\u{{1b}}4, {})", size::show(31_000_000_000))
        );
        assert_eq!(about("sdb", None), "/dev/sdb");
    }
}
