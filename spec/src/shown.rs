//! Text of devices and of the network, as it may be shown to a person.

/// More of a serial, a label or a name is not shown: a screen has room for no more, and a format
/// cannot pad what is longer than 65,535 characters.
const MOST: usize = 128;

/// Text that a device or the network gave, fit for a screen: nothing in it moves the cursor or
/// begins a line, and it ends after 128 characters (T18, T59).
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn t59_text_of_a_device_is_escaped_and_bounded() {
        assert_eq!(shown("a\u{1b}[2J\nb\u{202e}"), "a\\u{1b}[2J\\nb\\u{202e}");
        assert_eq!(shown(&"x".repeat(65_536)).chars().count(), 129);
        assert_eq!(shown("ata-ACME_HDD_S1"), "ata-ACME_HDD_S1");
    }
}
