//! How things stand, as lines: a word, what it is said of, and what there is to say beside it.

use std::io::{self, Write};

use bedplate_events::shown::{shown_line, shown_lines};

/// The column at which titles begin.
const TITLE: usize = 8;
/// The column at which the lines below a title begin.
const BELOW: usize = 10;

/// Something and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How it stands, in a word.
    pub word: &'static str,
    /// What it is.
    pub title: String,
    /// What there is to say, each line indented below the title.
    pub lines: Vec<String>,
}

/// Writes entries, one after the other.
pub fn write(out: &mut dyn Write, entries: &[Entry]) -> io::Result<()> {
    for Entry { word, title, lines } in entries {
        writeln!(out, "{word:TITLE$}{}", shown_line(title))?;
        for line in lines {
            writeln!(out, "{:BELOW$}{}", "", shown_lines(line))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t18_an_entry_is_its_title_and_no_line_of_it_passes_for_another() {
        let entry = Entry {
            word: "ok",
            title: "vm a\u{1b}[2J".into(),
            lines: vec!["one\nok      vm b".into()],
        };
        let mut out = Vec::new();
        write(&mut out, &[entry]).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("\nok"), "{text}");
        assert_eq!(text, "ok      vm a\\u{1b}[2J\n          one\n  ok      vm b\n");
    }
}
