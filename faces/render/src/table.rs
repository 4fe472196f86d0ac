//! Rows below each other, and text that ends where the terminal does.

use bedplate_events::shown::shown_line;
use console::Term;
use unicode_width::UnicodeWidthStr as _;

/// The columns of what is no terminal.
const COLUMNS: usize = 80;
/// Narrower ones say nothing of themselves: a serial line has none.
const NARROWEST: usize = 20;
/// A cell that is wider makes its column no wider.
const WIDEST: usize = 200;
/// The columns before a row.
const INDENT: usize = 2;
/// The columns before what did not fit into the line of its row.
const BELOW: usize = 6;
/// What stands between two cells.
const GAP: &str = "  ";

/// One row, with the lines that stand below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// What stands in its columns.
    pub cells: Vec<String>,
    /// What there is to say beside them.
    pub below: Vec<String>,
}

impl<const N: usize> From<[String; N]> for Row {
    fn from(cells: [String; N]) -> Self {
        Self { cells: cells.into(), below: Vec::new() }
    }
}

/// How many columns standard output has.
pub fn columns() -> usize {
    let columns = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
    columns.filter(|columns| *columns >= NARROWEST).unwrap_or(COLUMNS)
}

/// Rows with their cells below each other. Columns that do not fit into `columns` stand below the others, those of
/// every row alike; no name and no path is cut or broken.
pub fn table(rows: &[Row], columns: usize) -> String {
    let rows: Vec<Row> = rows.iter().map(shown).collect();
    let count = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let widest = |column: usize| {
        let widths = rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| cell.width());
        widths.max().unwrap_or(0).min(WIDEST)
    };
    let widths: Vec<usize> = (0..count).map(widest).collect();
    let beside = fitting(&widths, columns);
    rows.iter().map(|row| row.text(&widths[..beside], columns)).collect()
}

/// How many columns stand beside each other; the first always does.
fn fitting(widths: &[usize], columns: usize) -> usize {
    let mut end = INDENT;
    let fits = |width: &&usize| {
        end += **width + GAP.len();
        end - GAP.len() <= columns
    };
    widths.iter().take_while(fits).count().max(1).min(widths.len())
}

impl Row {
    fn text(&self, widths: &[usize], columns: usize) -> String {
        let beside = self.cells.iter().zip(widths).map(|(cell, width)| padded(cell, *width));
        let line = beside.collect::<Vec<_>>().join(GAP);
        let mut text = format!("{:INDENT$}{}\n", "", line.trim_end());
        let rest = self.cells.iter().skip(widths.len()).filter(|cell| !cell.is_empty());
        for part in rest.chain(&self.below) {
            for line in wrapped(part, columns.saturating_sub(BELOW)) {
                text += &format!("{:BELOW$}{line}\n", "");
            }
        }
        text
    }
}

/// Nothing in it moves the cursor (T18).
fn shown(row: &Row) -> Row {
    let lines = |lines: &[String]| lines.iter().map(|line| shown_line(line)).collect();
    Row { cells: lines(&row.cells), below: lines(&row.below) }
}

fn padded(cell: &str, width: usize) -> String {
    format!("{cell}{:1$}", "", width.saturating_sub(cell.width()))
}

/// A text in lines of at most so many columns. It is broken between words, but not between those of a command in
/// backticks; a word that is longer stays whole, so that it can be copied and found.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut width) = (None::<String>, 0);
    for word in words(text) {
        let more = word.width();
        match &mut line {
            Some(line) if width + 1 + more <= columns => {
                line.push(' ');
                line.push_str(word);
                width += 1 + more;
            }
            full => {
                lines.extend(full.replace(word.to_owned()));
                width = more;
            }
        }
    }
    lines.extend(line);
    lines
}

fn words(text: &str) -> Vec<&str> {
    let is_quoting = text.matches('`').count().is_multiple_of(2);
    let mut quoted = false;
    let ends = |letter: char| {
        quoted ^= is_quoting && letter == '`';
        letter == ' ' && !quoted
    };
    text.split(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[[&str; 3]]) -> Vec<Row> {
        cells.iter().map(|cells| Row::from(cells.map(str::to_owned))).collect()
    }

    #[test]
    fn columns_stand_below_each_other_by_what_is_seen_of_them() {
        let both = rows(&[["os", "a", "x"], ["箱", "bb", ""]]);
        let text = table(&both, 80);
        assert_ne!(text, "  os  a   x\n  箱   bb\n", "a wide character has two columns");
        assert_eq!(text, "  os  a   x\n  箱  bb\n");
    }

    #[test]
    fn what_does_not_fit_stands_below_and_is_not_broken_for_any_row() {
        let store = "/nix/store/0123456789-a-system-of-some-length";
        let mut both = rows(&[["1", "runs, boots next", store], ["2", "", "short"]]);
        both[1].below.push("broken: the kernel is gone from the partition".into());
        let text = table(&both, 30);
        assert_eq!(
            text,
            format!(
                "  1  runs, boots next\n      {store}\n  2\n      short\n      broken: the kernel is\n      gone from the partition\n"
            )
        );
        assert_eq!(
            table(&both, 80).lines().next(),
            Some(&*format!("  1  runs, boots next  {store}"))
        );
    }

    #[test]
    fn t18_t59_a_cell_neither_moves_the_cursor_nor_takes_all_memory() {
        let text = table(&rows(&[["a\u{1b}[2J\n  b", "", ""]]), 80);
        assert_eq!(text, "  a\\u{1b}[2J\\n  b\n");
        let long = "x".repeat(70_000);
        let lines = rows(&[[&long, "", "y"], ["z", "", "y"]]);
        assert!(table(&lines, 80).len() < 80_000);
    }

    #[test]
    fn text_is_broken_between_words_and_a_command_stays_whole() {
        assert_eq!(wrapped("one two three", 9), ["one two", "three"]);
        let command = "then give `bedplate-host network try-again` once";
        assert_eq!(
            wrapped(command, 20),
            ["then give", "`bedplate-host network try-again`", "once"]
        );
        assert_eq!(wrapped("an odd ` in it", 6), ["an odd", "` in", "it"]);
        assert_eq!(wrapped("intent:  x", 80), ["intent:  x"]);
        assert_eq!(wrapped("名前 名前 名前", 9), ["名前 名前", "名前"]);
    }
}
