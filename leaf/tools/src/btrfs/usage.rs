//! What `btrfs filesystem usage -b` says, in bytes (btrfs-filesystem(8)).

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of files.
    pub data: Filled,
    /// Bytes of everything else: names, checksums, small files.
    pub metadata: Filled,
    /// What can still be allocated for either, in two copies on two devices.
    pub unallocated: u64,
}

/// How full the chunks of one kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled {
    /// Allocated bytes, counted once whatever the copies.
    pub size: u64,
    /// Of them, used.
    pub used: u64,
}

/// None when it is not what btrfs-progs write.
pub(super) fn parsed(text: &str) -> Option<Usage> {
    let mut usage = Usage::default();
    let (mut seen, mut is_unallocated, mut devices, mut reserve) = (false, false, Vec::new(), 0);
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(rest) = line.trim().strip_prefix("Global reserve:") {
            reserve = rest.split_whitespace().next()?.parse().ok()?;
        }
        if let Some((kind, filled)) = chunks(line) {
            seen = true;
            let (data, metadata) = (&mut usage.data, &mut usage.metadata);
            let sums = match kind {
                "Data" => vec![data],
                "Metadata" => vec![metadata],
                // Small file systems mix the two.
                "Data+Metadata" => vec![data, metadata],
                _ => Vec::new(),
            };
            for sum in sums {
                sum.size = sum.size.saturating_add(filled.size);
                sum.used = sum.used.saturating_add(filled.used);
            }
        }
        if line.trim_end() == "Unallocated:" {
            is_unallocated = true;
        } else if is_unallocated
            // One that is missing takes nothing.
            && let [device, bytes] = words[..]
            && device.starts_with('/')
        {
            devices.push(bytes.parse().ok()?);
        }
    }
    // It is kept for what must not fail: nobody else gets it.
    usage.metadata.used = usage.metadata.used.saturating_add(reserve).min(usage.metadata.size);
    usage.unallocated = in_two_copies(&devices);
    seen.then_some(usage)
}

/// `Data,RAID1: Size:1073741824, Used:786432 (0.07%)`.
fn chunks(line: &str) -> Option<(&str, Filled)> {
    let (head, rest) = line.split_once(": Size:")?;
    let (size, rest) = rest.split_once(", Used:")?;
    let used = rest.split_whitespace().next()?;
    let (kind, _) = head.split_once(',')?;
    Some((kind, Filled { size: size.trim().parse().ok()?, used: used.parse().ok()? }))
}

/// What two copies on two different devices can have: half of it all, and no more than all but the
/// largest hold.
fn in_two_copies(devices: &[u64]) -> u64 {
    let all = devices.iter().copied().fold(0, u64::saturating_add);
    let largest = devices.iter().copied().max().unwrap_or(0);
    (all / 2).min(all - largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of btrfs-progs 6.2, two devices of different size.
    const TEXT: &str = "Overall:
    Device size:\t\t        4294967296
    Device allocated:\t\t        2726297600
    Device unallocated:\t\t        1568669696
    Device missing:\t\t                 0
    Device slack:\t\t                 0
    Used:\t\t\t           1835008
    Free (estimated):\t\t        1856831488\t(min: 1856831488)
    Free (statfs, df):\t\t         782237696
    Data ratio:\t\t\t              2.00
    Metadata ratio:\t\t              2.00
    Global reserve:\t\t           5767168\t(used: 0)
    Multiple profiles:\t\t                no

Data,RAID1: Size:1073741824, Used:786432 (0.07%)
   /dev/mapper/bedplate-a\t1073741824
   /dev/mapper/bedplate-b\t1073741824

Metadata,RAID1: Size:268435456, Used:114688 (0.04%)
   /dev/mapper/bedplate-a\t 268435456
   /dev/mapper/bedplate-b\t 268435456

System,RAID1: Size:8388608, Used:16384 (0.20%)
   /dev/mapper/bedplate-a\t   8388608
   /dev/mapper/bedplate-b\t   8388608

Unallocated:
   /dev/mapper/bedplate-a\t 796917760
   /dev/mapper/bedplate-b\t  20000000
";

    #[test]
    fn t40_what_can_be_allocated_needs_two_devices() {
        let found = parsed(TEXT).unwrap();
        assert_eq!(found.data, Filled { size: 1 << 30, used: 786_432 });
        let metadata = Filled { size: 268_435_456, used: 114_688 + 5_767_168 };
        assert_eq!(found.metadata, metadata);
        assert_eq!(found.unallocated, 20_000_000, "the large one alone takes nothing");
        assert_eq!(in_two_copies(&[4, 4, 4]), 6);
        assert_eq!(in_two_copies(&[10, 3, 2]), 5);
        assert_eq!(in_two_copies(&[]), 0);
        assert_eq!(parsed("ERROR: not a btrfs filesystem"), None);
    }
}
