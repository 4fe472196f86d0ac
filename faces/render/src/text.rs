//! Quantities and foreign text for people.

use bedplate_events::Unit;

/// Seconds with one decimal, minutes above 90 seconds.
pub fn duration(milliseconds: u64) -> String {
    let tenths = milliseconds.div_ceil(100);
    if tenths <= 900 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        let seconds = tenths / 10;
        format!("{} min {} s", seconds / 60, seconds % 60)
    }
}

/// Decimal multiples, as disks are sold.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (size, name) in UNITS {
        if count >= size {
            let tenths = count / (size / 10);
            return if tenths >= 1000 || tenths.is_multiple_of(10) {
                format!("{} {name}", tenths / 10)
            } else {
                format!("{}.{} {name}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{count} B")
}

/// `12 MB of 645 MB` or `3 of 7`.
pub fn amount(done: u64, total: Option<u64>, unit: Unit) -> String {
    let show = |count| match unit {
        Unit::Bytes => bytes(count),
        Unit::Items => count.to_string(),
    };
    match total {
        Some(total) => format!("{} of {}", show(done), show(total)),
        None => show(done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(duration(660), "0.7 s");
        assert_eq!(duration(125_000), "2 min 5 s");
        assert_eq!(bytes(645_000_000), "645 MB");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(amount(3, Some(7), Unit::Items), "3 of 7");
    }
}
