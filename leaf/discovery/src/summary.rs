//! What a machine says of itself to everybody, as TXT records (RFC 6763, section 6).

use serde::Serialize;

/// Version of the records.
const VERSION: &str = "1";

/// Disks that are announced; more are counted.
const MOST_DISKS: usize = 12;

/// A record is one byte of length, then key, `=` and value (RFC 6763, section 6.1); a longer
/// value is not read.
const LONGEST_VALUE: usize = 250;

/// The longest word for a kind of disk.
const LONGEST_WORD: usize = 12;

/// Labels of DNS are no longer (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// What the installer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It waits to be told what to install.
    Waiting,
    /// It is at something.
    Busy,
    /// It has installed something, or failed to, since it was booted.
    Ended,
    /// It does not say, or says what is not known here.
    Unknown,
}

/// A disk, without what would name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// `nvme`, `sata`, ….
    pub transport: String,
    /// Size in bytes.
    pub size: u64,
}

/// What a machine says of itself to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What its installer is at.
    pub activity: Activity,
    /// Memory in bytes, when it says so.
    pub memory_bytes: Option<u64>,
    /// Its disks, at most so many as are announced.
    pub disks: Vec<Disk>,
    /// How many more disks it has.
    pub more_disks: u64,
}

impl Summary {
    /// As keys and values.
    pub(crate) fn properties(&self) -> Vec<(String, String)> {
        let activity = match self.activity {
            Activity::Waiting => "waiting",
            Activity::Busy => "busy",
            Activity::Ended => "ended",
            Activity::Unknown => "",
        };
        let disk = |disk: &Disk| format!("{}:{}", disk.transport, disk.size);
        let (told, more) = self.disks.split_at(self.disks.len().min(MOST_DISKS));
        let disks: Vec<String> = told.iter().map(disk).collect();
        let more = self.more_disks.saturating_add(more.len() as u64);
        let mut properties = vec![("v", VERSION.to_owned()), ("state", activity.to_owned())];
        properties.extend(self.memory_bytes.map(|bytes| ("mem", bytes.to_string())));
        properties.extend([("disks", disks.join(",")), ("more", more.to_string())]);
        properties.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Reads what `value` gives for each key. What cannot be read is left out: nothing is decided
    /// by it.
    pub fn read<'a>(value: impl Fn(&str) -> Option<&'a [u8]>) -> Self {
        let text = |key: &str| {
            let bytes = value(key).filter(|bytes| bytes.len() <= LONGEST_VALUE)?;
            std::str::from_utf8(bytes).ok()
        };
        let known = text("v") == Some(VERSION);
        let text = |key: &str| text(key).filter(|_| known);
        let number = |key: &str| text(key).and_then(|digits| digits.parse().ok());
        Self {
            activity: match text("state") {
                Some("waiting") => Activity::Waiting,
                Some("busy") => Activity::Busy,
                Some("ended") => Activity::Ended,
                _ => Activity::Unknown,
            },
            memory_bytes: number("mem"),
            disks: text("disks")
                .unwrap_or_default()
                .split(',')
                .filter_map(disk)
                .take(MOST_DISKS)
                .collect(),
            more_disks: number("more").unwrap_or_default(),
        }
    }
}

fn disk(text: &str) -> Option<Disk> {
    let (transport, size) = text.split_once(':')?;
    let word = !transport.is_empty()
        && transport.len() <= LONGEST_WORD
        && transport.bytes().all(|byte| byte.is_ascii_alphanumeric());
    Some(Disk { transport: transport.to_owned(), size: size.parse().ok()? }).filter(|_| word)
}

/// The name of a machine without the dot at its end; none where it could be anything but a name.
pub(crate) fn host_name(host: &str) -> Option<String> {
    let label = host.strip_suffix(".local.")?;
    let fits = !label.is_empty()
        && label.len() <= LONGEST_LABEL
        && !label.starts_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| format!("{label}.local"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn read(records: &[(&str, &[u8])]) -> Summary {
        let records: BTreeMap<&str, &[u8]> = records.iter().copied().collect();
        Summary::read(|key| records.get(key).copied())
    }

    fn summary(disks: usize) -> Summary {
        let disk = Disk { transport: "nvme".into(), size: 4_000_787_030_016 };
        let disks = vec![disk; disks];
        Summary { activity: Activity::Waiting, memory_bytes: Some(16 << 30), disks, more_disks: 0 }
    }

    fn again(summary: &Summary) -> Summary {
        let properties: BTreeMap<String, String> = summary.properties().into_iter().collect();
        Summary::read(|key| properties.get(key).map(String::as_bytes))
    }

    #[test]
    fn a_summary_survives_the_round_trip_and_fits_into_records() {
        assert_eq!(again(&summary(7)), summary(7));
        let many = summary(40);
        let found = again(&many);
        assert_eq!((found.disks.len(), found.more_disks), (MOST_DISKS, 28));
        for (key, value) in many.properties() {
            assert!(key.len() + 1 + value.len() <= 255, "{key}={value}");
        }
    }

    #[test]
    fn t13_t18_hostile_records_are_read_as_nothing() {
        let nothing = Summary {
            activity: Activity::Unknown,
            memory_bytes: None,
            disks: Vec::new(),
            more_disks: 0,
        };
        let long = vec![b'9'; 60_000];
        let many = "a:1,".repeat(10_000);
        assert_eq!(read(&[]), nothing);
        assert_eq!(read(&[("v", b"2"), ("state", b"waiting"), ("mem", b"1")]), nothing);
        let hostile: [(&str, &[u8]); 4] = [
            ("state", b"\x1b[2Jwaiting"),
            ("mem", &long),
            ("disks", many.as_bytes()),
            ("more", b"99999999999999999999999"),
        ];
        for (key, value) in hostile {
            assert_eq!(read(&[("v", b"1"), (key, value)]), nothing, "{key}");
        }
        let disks = b"nvme:5,\x1b[2J:1,nv me:1,:1,sata,sata:-1,averyverylongword:1,sata:6";
        let sizes: Vec<u64> =
            read(&[("v", b"1"), ("disks", disks)]).disks.iter().map(|disk| disk.size).collect();
        assert_eq!(sizes, [5, 6]);
    }

    #[test]
    fn t16_only_names_are_names() {
        assert_eq!(host_name("bedplate-3c4d5e.local.").unwrap(), "bedplate-3c4d5e.local");
        let long = format!("{}.local.", "a".repeat(64));
        let no_label =
            ["", ".local.", "a", "-x.local.", "a b.local.", "a\u{1b}.local.", "a.b.local."];
        // `bedplate discover --inventory` names files by them.
        let paths =
            ["../x.local.", "/x.local.", "a/b.local.", "a\\b.local.", "..local.", "a\0.local."];
        for bad in no_label.into_iter().chain(paths).chain([long.as_str()]) {
            assert!(host_name(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn t18_whatever_is_announced_only_plain_words_come_out(
            records in proptest::collection::vec((any::<prop::sample::Index>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..6),
        ) {
            let keys = ["state", "mem", "disks", "more"];
            let mut told: BTreeMap<&str, Vec<u8>> = [("v", b"1".to_vec())].into();
            told.extend(records.into_iter().map(|(index, value)| (*index.get(&keys), value)));
            let summary = Summary::read(|key| told.get(key).map(Vec::as_slice));
            prop_assert!(summary.disks.len() <= MOST_DISKS);
            for disk in &summary.disks {
                prop_assert!(disk.transport.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }
}
