//! Sizes as people write them: `"500GB"`, `"1GiB"`, or a number of bytes.

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// Bytes of a size such as `500GB`, `1.5 TiB` or `4096`.
pub fn parse(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1));
    let number = number.trim_end_matches(' ');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
    if part % scale != 0 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(part / scale)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A size for people: `500 GB`, `1.5 GB`, decimal as on the disk's label.
pub fn show(bytes: u64) -> String {
    let unit = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match unit.into_iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((name, unit)) => {
            let tenths = bytes / (unit / 10);
            if tenths.is_multiple_of(10) || tenths >= 1000 {
                format!("{} {name}", tenths / 10)
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            }
        }
    }
}

/// A size as it may be written in a document: `64MiB`, exact.
pub fn write(bytes: u64) -> String {
    let unit = UNITS.into_iter().filter(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.max_by_key(|(_, unit)| *unit)
        .map_or_else(|| format!("{bytes}B"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// Whether `found` is the size a document asks for.
///
/// A size in whole gigabytes (GB or GiB) is the size on the disk's label and allows 1 %;
/// any other number of bytes is meant exactly.
pub fn matches(expected: u64, found: u64) -> bool {
    let rounded = expected.is_multiple_of(1_000_000_000) || expected.is_multiple_of(1 << 30);
    let tolerance = if rounded { expected / 100 } else { 0 };
    expected.abs_diff(found) <= tolerance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(parse("500GB"), Some(500_000_000_000));
        assert_eq!(parse("1GiB"), Some(1 << 30));
        assert_eq!(parse("1.5 TiB"), Some(3 << 39));
        assert_eq!(parse("4096"), Some(4096));
        assert_eq!(parse("12B"), Some(12));
        for wrong in
            ["", "GB", "1gb", "-1GB", "1.GB", "1.2345GB", "99999999TB", "0.5B", "1e3", " 1GB"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show(500_107_862_016), "500 GB");
        assert_eq!(show(1_500_000_000), "1.5 GB");
        assert_eq!(show(12), "12 B");
        let written = [64 << 20, 500_000_000_000, 12].map(write);
        assert_eq!(written, ["64MiB", "500GB", "12B"]);
    }

    #[test]
    fn rounded_sizes_allow_one_percent() {
        assert!(matches(500_000_000_000, 500_107_862_016));
        assert!(!matches(500_000_000_000, 480_103_981_056));
        assert!(matches(500_107_862_016, 500_107_862_016));
        assert!(!matches(500_107_862_016, 500_107_862_528));
    }
}
