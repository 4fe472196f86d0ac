//! Text of devices and of the network, as it may be shown to a person.

/// More of a serial, a label or a name is not shown: a screen has room for no more, and a format
/// cannot pad what is longer than 65,535 characters.
const MOST: usize = 128;

/// So many names stand in one list.
const LISTED: usize = 20;

/// Text that a device or the network gave, fit for a screen: nothing in it moves the cursor or
/// begins a line, and it ends after 128 characters (T18, T59).
pub fn shown(text: &str) -> String {
    bounded(text, MOST)
}

/// As [`shown`], for text of which there may be more: an answer, an error. It ends after `most`
/// characters.
pub fn bounded(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Of a text for people that holds text of others, more is not shown.
const MOST_OF_A_TEXT: usize = 1 << 16;

/// A line for people in which text of devices, documents or commands stands: nothing in it moves the
/// cursor, begins a line or turns the direction of reading (T18, T59).
pub fn shown_line(line: &str) -> String {
    let mut shown = String::with_capacity(line.len().min(MOST_OF_A_TEXT));
    for (index, letter) in line.chars().enumerate() {
        if index == MOST_OF_A_TEXT {
            shown.push('…');
            break;
        }
        // Quotes and backslashes are escaped for programmers; what else is, cannot be seen.
        let seen = matches!(letter, '"' | '\'' | '\\') || letter.escape_debug().len() == 1;
        if seen { shown.push(letter) } else { shown.extend(letter.escape_debug()) }
    }
    shown
}

/// As [`shown_line`], for a text that may have several lines: what follows the first is indented, so
/// that no line of it can be taken for one of ours.
pub fn shown_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(shown_line).collect();
    lines.join("\n  ")
}

/// Names one after another; of many the first, and how many more.
pub fn listed(names: impl ExactSizeIterator<Item = impl AsRef<str>>, between: &str) -> String {
    let more = names.len().saturating_sub(LISTED);
    let first: Vec<String> = names.take(LISTED).map(|name| name.as_ref().to_owned()).collect();
    let first = first.join(between);
    if more == 0 { first } else { format!("{first} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::{shown, shown_line, shown_lines};

    #[test]
    fn t18_t59_a_text_of_several_lines_cannot_pass_for_lines_of_ours() {
        assert_eq!(shown_lines("a\nFAILED b\u{1b}[2J"), "a\n  FAILED b\\u{1b}[2J");
        assert_eq!(shown_line("a\nb\u{202e}c\u{2028}"), "a\\nb\\u{202e}c\\u{2028}");
        assert_eq!(
            shown_line("ext4 \"Fotos für Zoë\" isn't \\"),
            "ext4 \"Fotos für Zoë\" isn't \\"
        );
        assert_eq!(shown_line(&"x".repeat(1 << 17)).chars().count(), (1 << 16) + 1);
    }

    #[test]
    fn t59_text_of_a_device_is_escaped_and_bounded() {
        assert_eq!(shown("a\u{1b}[2J\nb\u{202e}"), "a\\u{1b}[2J\\nb\\u{202e}");
        assert_eq!(shown(&"x".repeat(65_536)).chars().count(), 129);
        assert_eq!(shown("ata-ACME_HDD_S1"), "ata-ACME_HDD_S1");
    }
}
