//! How things stand, as lines: a word, what it is said of, and what there is to say beside it.

use std::io::{self, Write};

use anstyle::Style;
use bedplate_events::shown::shown_line;

use super::style::{BAD, ODD, WELL, paint};
use super::table::wrapped;

/// The column at which titles begin.
const TITLE: usize = 8;
/// The column at which the lines below a title begin.
const BELOW: usize = 10;
/// The column at which what does not fit into such a line goes on.
const ON: usize = 12;

/// How far something is from how it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    Well,
    /// It can be mended without a person.
    Odd,
    /// A person has to see to it.
    Bad,
}

/// Something and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How it stands, in a word.
    pub word: &'static str,
    /// What the word means.
    pub tone: Tone,
    /// What it is.
    pub title: String,
    /// What there is to say, each line indented below the title.
    pub lines: Vec<String>,
}

/// Writes entries, one after the other, in lines of at most so many columns and in colour.
pub fn write(out: &mut dyn Write, entries: &[Entry], columns: usize) -> io::Result<()> {
    for Entry { word, tone, title, lines } in entries {
        let space = TITLE.saturating_sub(word.len());
        writeln!(out, "{}{:space$}{}", paint(tone.style(), word), "", shown_line(title))?;
        for line in lines.iter().flat_map(|line| below(line, columns)) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// A line below a title. What follows its first is indented further, so that it cannot be taken for another one.
fn below(text: &str, columns: usize) -> Vec<String> {
    let lines = text.lines().map(shown_line);
    let lines = lines.flat_map(|line| wrapped(&line, columns.saturating_sub(ON)));
    let column = |index| if index == 0 { BELOW } else { ON };
    lines.enumerate().map(|(index, line)| format!("{:1$}{line}", "", column(index))).collect()
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Well => WELL,
            Self::Odd => ODD,
            Self::Bad => BAD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(entry: Entry) -> String {
        let mut out = Vec::new();
        write(&mut out, &[entry], 40).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn t18_an_entry_is_its_title_and_no_line_of_it_passes_for_another() {
        let text = shown(Entry {
            word: "ok",
            tone: Tone::Well,
            title: "vm a\u{1b}[2J".into(),
            lines: vec!["one\nok      vm b".into(), "two".into()],
        });
        assert!(!text.contains("\nok") && !text.contains("\u{1b}[2J"), "{text}");
        let plain = anstream::adapter::strip_str(&text).to_string();
        let lines = "          one\n            ok      vm b\n          two\n";
        assert_eq!(plain, format!("ok      vm a\\u{{1b}}[2J\n{lines}"));
        assert_ne!(plain, text, "the word has a colour");
    }

    #[test]
    fn a_long_line_goes_on_below_itself() {
        let lines = vec!["would do what takes more than one line".into()];
        let text = shown(Entry { word: "DIFFERS", tone: Tone::Odd, title: "x".into(), lines });
        let below: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(below, ["          would do what takes more", "            than one line"]);
    }
}
