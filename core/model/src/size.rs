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

/// Sizes that are the same up to here are told in bytes.
const MOST_DIGITS: u32 = 4;

/// Bytes of a size such as `500GB`, `1.5 TiB` or `4096`.
pub fn parse(text: &str) -> Option<u64> {
    let (whole, part, scale) = parts(text)?;
    (part % scale == 0).then_some(())?;
    whole.checked_add(part / scale)
}

/// What to write for a size with a fraction that is no whole number of bytes: the size that the
/// label of such a disk has, `2TB` for `1.8TiB`. None for any other text.
pub fn on_label(text: &str) -> Option<String> {
    let (whole, part, scale) = parts(text)?;
    (part % scale != 0).then_some(())?;
    let bytes = whole.checked_add(part / scale)?;
    let (name, unit) = unit_of(bytes);
    Some(format!("{}{name}", bytes / unit + u64::from(bytes % unit >= unit / 2)))
}

/// The bytes in front of the point, and those behind it with what they are to be divided by.
fn parts(text: &str) -> Option<(u64, u64, u64)> {
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
    Some((whole.parse::<u64>().ok()?.checked_mul(unit)?, part, scale))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A size for people: `500 GB`, `1.5 GB`, decimal as on the disk's label.
pub fn show(bytes: u64) -> String {
    let (name, unit) = unit_of(bytes);
    let tenths = if unit == 1 { bytes * 10 } else { bytes / (unit / 10) };
    if tenths.is_multiple_of(10) || tenths >= 1000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// Two sizes for people, told apart when they differ: `1 TB` and `1.02 TB`.
pub fn show_apart(one: u64, other: u64) -> (String, String) {
    let places = |digits| (exactly(one, digits), exactly(other, digits));
    let shown = (show(one), show(other));
    if shown.0 != shown.1 || one == other {
        return shown;
    }
    let more = (2..=MOST_DIGITS).map(places).find(|(one, other)| one != other);
    more.unwrap_or_else(|| (format!("{one} B"), format!("{other} B")))
}

/// A size with so many digits behind the point, zeros at its end left off.
fn exactly(bytes: u64, digits: u32) -> String {
    let (name, unit) = unit_of(bytes);
    let scale = 10_u64.pow(digits).min(unit);
    let part = bytes % unit / (unit / scale);
    let width = scale.ilog10() as usize;
    let number = format!("{}.{part:0width$}", bytes / unit);
    format!("{} {name}", number.trim_end_matches('0').trim_end_matches('.'))
}

fn unit_of(bytes: u64) -> (&'static str, u64) {
    let unit = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    unit.into_iter().find(|(_, unit)| bytes >= *unit).unwrap_or(("B", 1))
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
        let labels = ["1.8TiB", "465.76 GiB", "1.5TiB", "931.5G", "1GB"].map(on_label);
        assert_eq!(labels, [Some("2TB".into()), Some("500GB".into()), None, None, None]);
    }

    #[test]
    fn sizes_are_shown() {
        assert_eq!(show(500_107_862_016), "500 GB");
        assert_eq!(show(1_500_000_000), "1.5 GB");
        assert_eq!(show(12), "12 B");
        let apart = show_apart(1_024_209_543_168, 1_000_000_000_000);
        assert_eq!(apart, ("1.02 TB".into(), "1 TB".into()));
        assert_eq!(show_apart(1000, 1000), ("1 kB".into(), "1 kB".into()));
        let apart = show_apart(4_000_787_030_016, 4_000_787_030_017);
        assert_eq!(apart, ("4000787030016 B".into(), "4000787030017 B".into()));
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
