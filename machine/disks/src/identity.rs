//! Which disk is meant.

use bedplate_events::shown::shown;
use bedplate_model::facts::DiskFacts;
use bedplate_model::plan::DiskTarget;

/// What tells a disk from every other, as it was when somebody decided to write to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The disk as its owner knows it, such as `vm1 (nvme-WD_Black_123)`.
    pub owner_name: String,
    /// Its name under `/dev/disk/by-id`.
    pub id: String,
    /// Serial number.
    pub serial: Option<String>,
    /// World Wide Name.
    pub wwn: Option<String>,
    /// Size of the whole disk, in bytes.
    pub size: u64,
    /// Bytes of a logical sector.
    pub sector_size: u32,
    /// Raised by the kernel whenever a medium comes; not known where the decision was made
    /// elsewhere, or in another boot.
    pub diskseq: Option<u64>,
}

impl From<&DiskTarget> for Identity {
    fn from(target: &DiskTarget) -> Self {
        Self {
            owner_name: format!("{} ({})", target.role, target.id),
            id: target.id.to_string(),
            serial: target.serial.clone(),
            wwn: target.wwn.clone(),
            size: target.size,
            sector_size: target.sector_size,
            diskseq: target.diskseq,
        }
    }
}

impl Identity {
    /// The disk that was looked at a moment ago under one of its names.
    pub fn seen(id: &str, facts: &DiskFacts) -> Self {
        Self {
            owner_name: id.to_owned(),
            id: id.to_owned(),
            serial: facts.serial.clone(),
            wwn: facts.wwn.clone(),
            size: facts.size,
            sector_size: facts.sector_size,
            diskseq: facts.diskseq,
        }
    }

    /// In what a disk is another one than this, or not to be written to; one line each.
    pub fn differences(&self, facts: &DiskFacts) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, meant: String, now: String| {
            if meant != now {
                found.push(format!("{what} was {}, is {}", shown(&meant), shown(&now)));
            }
        };
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        compare("serial", show(&self.serial), show(&facts.serial));
        compare("WWN", show(&self.wwn), show(&facts.wwn));
        compare("size", self.size.to_string(), facts.size.to_string());
        if let Some(meant) = self.diskseq {
            let now = facts.diskseq.map_or("unknown".to_owned(), |now| now.to_string());
            compare("sequence number", meant.to_string(), now);
        }
        compare("sector size", self.sector_size.to_string(), facts.sector_size.to_string());
        if !facts.holders.is_empty() {
            let holders: Vec<String> = facts.holders.iter().map(|holder| shown(holder)).collect();
            found.push(format!("it is in use: {}", holders.join(", ")));
        }
        if facts.read_only {
            found.push("it refuses writes".to_owned());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> DiskFacts {
        serde_json::from_value(serde_json::json!({
            "kernel_name": "nvme0n1", "number": "259:0", "by_id": ["nvme-VM1"], "serial": "VM1",
            "size": 1u64 << 40, "sector_size": 512, "rotational": false, "transport": "nvme", "diskseq": 7,
        }))
        .unwrap()
    }

    #[test]
    fn t03_a_disk_of_another_serial_size_or_use_is_told() {
        let meant = Identity::seen("nvme-VM1", &facts());
        assert!(meant.differences(&facts()).is_empty());
        let other = DiskFacts {
            serial: Some("X".into()),
            size: 1,
            holders: vec!["dm-0 (x)".into()],
            ..facts()
        };
        let found = meant.differences(&other);
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0], "serial was VM1, is X");
    }

    #[test]
    fn t03_another_disk_under_the_same_name_is_told_by_its_sequence_number() {
        let meant = Identity::seen("nvme-VM1", &facts());
        let replugged = DiskFacts { diskseq: Some(8), ..facts() };
        assert_eq!(meant.differences(&replugged), ["sequence number was 7, is 8"]);
        let unknown = DiskFacts { diskseq: None, ..facts() };
        assert_eq!(meant.differences(&unknown), ["sequence number was 7, is unknown"]);
        let of_another_boot = Identity { diskseq: None, ..meant };
        assert!(of_another_boot.differences(&replugged).is_empty());
    }
}
