//! What nobody may overlook, in a frame of characters that every console and every serial line has.

use bedplate_events::shown::shown_line;
use unicode_width::UnicodeWidthStr as _;

use crate::table::wrapped;

/// The columns that a frame takes beside its text.
const SIDES: usize = 4;
/// How far what belongs to a line above is indented.
const INDENT: &str = "    ";
/// A frame around less would be all frame.
const NARROWEST: usize = 20;

/// One thing in a frame: a line, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// Its own line.
    pub line: String,
    /// What stands below it, indented.
    pub below: Vec<String>,
}

impl From<(String, Vec<String>)> for Framed {
    fn from((line, below): (String, Vec<String>)) -> Self {
        Self { line, below }
    }
}

/// `rows` in a frame with `title` in its upper and `end` in its lower edge: whoever sees its last lines alone
/// has read what it comes to.
pub fn frame(title: &str, rows: &[Framed], end: &str, columns: usize) -> String {
    let inner = columns.saturating_sub(SIDES).max(NARROWEST);
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(wrapped(&shown_line(&row.line), inner));
        for text in &row.below {
            let parts = wrapped(&shown_line(text), inner - INDENT.len());
            lines.extend(parts.iter().map(|part| format!("{INDENT}{part}")));
        }
    }
    let edges = [title, end].map(|text| shown_line(text).to_string());
    let widths = lines.iter().map(|line| line.width()).chain(edges.iter().map(|it| it.width() + 2));
    let width = widths.max().unwrap_or(inner);
    let edge = |text: &str| {
        let rest = "-".repeat((width + 2).saturating_sub(text.width() + 3));
        format!("+- {text} {rest}+\n")
    };
    let mut out = edge(&edges[0]);
    for line in lines {
        let room = " ".repeat(width - line.width());
        out.push_str(&format!("| {line}{room} |\n"));
    }
    out.push_str(&edge(&edges[1]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str, below: &[&str]) -> Framed {
        Framed { line: line.into(), below: below.iter().map(|it| (*it).to_owned()).collect() }
    }

    #[test]
    fn every_line_of_a_frame_is_as_long_as_the_others_and_fits() {
        let rows = [
            row(
                "os  500 GB  nvme-a",
                &["ext4 \"root\"", "a text that is far too long for one line of it"],
            ),
            row("\u{1b}[2J", &[]),
            row("磁盘", &[]),
        ];
        for columns in [40, 80] {
            let shown = frame("ERASED: 3 disks", &rows, "3 disks erased", columns);
            let widths: Vec<_> = shown.lines().map(|line| line.width()).collect();
            assert!(widths.iter().all(|width| *width == widths[0] && *width <= columns), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown:?}");
            assert!(shown.starts_with("+- ERASED: 3 disks -"), "{shown}");
            assert!(shown.lines().last().unwrap().starts_with("+- 3 disks erased -"), "{shown}");
        }
    }

    #[test]
    fn what_is_longer_than_the_terminal_is_wide_stays_whole() {
        let id = "ata-".to_owned() + &"x".repeat(60);
        let shown = frame("E", &[row(&id, &[])], "end", 40);
        assert!(shown.contains(&id), "{shown}");
    }
}
