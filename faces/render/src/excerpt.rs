//! What is wrong in a file, with the line where it stands.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use bedplate_events::shown::shown_line;

/// Wider lines are cut around the place that is meant.
const WIDEST: usize = 160;
/// Of a line that goes on for longer before that place, nothing is shown.
const LONGEST: usize = 1 << 12;

/// A place in a file, and what is to be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excerpt<'e> {
    /// The file, as whoever asks named it.
    pub file: &'e str,
    /// The text of the line.
    pub text: &'e str,
    /// Its number, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
    /// What is wrong.
    pub message: &'e str,
    /// What to write instead.
    pub help: &'e str,
}

impl Excerpt<'_> {
    /// As rustc shows it: message, place, the line with what is meant underlined, and help; in colour.
    pub fn render(&self) -> String {
        let Self { file, line, column, .. } = *self;
        let (file, message) = (shown_line(file), shown_line(self.message));
        let help: Vec<String> = self.help.lines().map(shown_line).collect();
        let group = Group::with_title(Level::ERROR.primary_title(message));
        let before = column.saturating_sub(1);
        let group = if before < LONGEST {
            let source: String = self.text.chars().take(LONGEST).map(visible).collect();
            let start = bytes(&source, before);
            let end = bytes(&source, before.saturating_add(self.width.max(1)));
            let place = AnnotationKind::Primary.span(start..end);
            let snippet = Snippet::source(source).path(file).line_start(line).fold(false);
            group.element(snippet.annotation(place))
        } else {
            group.element(Origin::path(file).line(line).char_column(column))
        };
        let group = group.element(Level::HELP.message(help.join("\n")));
        format!("{}\n", Renderer::styled().term_width(WIDEST).render(&[group]))
    }
}

/// How many bytes so many characters have; all when there are fewer.
fn bytes(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

/// What moves the cursor or turns the direction of reading, and is not drawn as a symbol of its own anyway, is
/// drawn as one that stands for what cannot be shown (T18). It takes one place as before.
fn visible(letter: char) -> char {
    match letter {
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        '\u{61c}' | '\u{200b}'..='\u{200f}' => char::REPLACEMENT_CHARACTER,
        // Nothing is drawn for these: two lines that differ would look the same.
        '\u{ad}' | '\u{180e}' | '\u{2060}'..='\u{206f}' => char::REPLACEMENT_CHARACTER,
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => char::REPLACEMENT_CHARACTER,
        '\n' | '\r' => ' ',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, column: usize, width: usize) -> String {
        let (message, help) = ("unknown key `nmae`", "did you mean `name`?");
        let excerpt = Excerpt { file: "host.toml", text, line: 115, column, width, message, help };
        anstream::adapter::strip_str(&excerpt.render()).to_string()
    }

    /// The line and what is below it, without what stands before them.
    fn lines(shown: &str) -> (String, String) {
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines.iter().position(|line| line.starts_with("115 |")).unwrap();
        let text = |at: usize| lines[at].get(6..).unwrap_or_default().to_owned();
        (text(at), text(at + 1))
    }

    #[test]
    fn a_mistake_is_shown_as_rustc_shows_it() {
        insta::assert_snapshot!(shown("nmae = \"box\"", 1, 4));
    }

    #[test]
    fn what_is_meant_is_underlined_where_it_is_seen() {
        let (line, below) = lines(&shown("\tnmae = 1", 2, 4));
        assert_eq!((line.as_str(), below.as_str()), ("    nmae = 1", "    ^^^^"));
        let (line, below) = lines(&shown("箱 = 名前", 5, 2));
        assert_ne!(below, "    ^^", "characters that are wide are counted as such");
        assert_eq!((line.as_str(), below.as_str()), ("箱 = 名前", "     ^^^^"));
        let (line, below) = lines(&shown("a = 1\r", 1, 1));
        assert_eq!((line.trim_end(), below.as_str()), ("a = 1", "^"));
        // The end of a line, and of the text.
        assert_eq!(lines(&shown("abc", 4, 1)).1, "   ^");
        assert_eq!(lines(&shown("", 1, 1)).1, "^");
        assert!(shown("abc", 9, 3).contains("115"), "what cannot be is shown somewhere");
    }

    #[test]
    fn t18_control_characters_are_drawn_and_take_their_place() {
        let text = "a\u{1b}[2J\u{9b}1m\u{7}\u{202e}\u{2028}\u{200f} nmae";
        let told = shown(text, 14, 4);
        let is_evil = |letter: char| letter.is_control() && letter != '\n';
        assert!(
            !told.contains(|letter| is_evil(letter) || "\u{202e}\u{2028}\u{200f}".contains(letter))
        );
        let (line, below) = lines(&told);
        assert_eq!(
            (line.as_str(), below.as_str()),
            ("a␛[2J\u{fffd}1m␇\u{fffd}\u{fffd}\u{fffd} nmae", "             ^^^^")
        );
        let excerpt = Excerpt {
            file: "a\u{1b}[2J.toml",
            text: "x",
            line: 1,
            column: 1,
            width: 1,
            message: "m\u{9b}1m\nerror: other",
            help: "h\u{1b}[2J\nmore",
        };
        let styled = excerpt.render();
        assert!(!styled.contains("\u{1b}[2J") && !styled.contains('\u{9b}'), "{styled:?}");
        assert!(!styled.contains("\nerror"), "{styled}");
    }

    #[test]
    fn t18_what_is_never_drawn_takes_its_place() {
        for hidden in ['\u{ad}', '\u{180e}', '\u{2060}', '\u{fff9}', '\u{e0041}', '\u{e0100}'] {
            let told = shown(&format!("a{hidden} nmae"), 4, 4);
            assert!(!told.contains(hidden), "{hidden:?}");
            assert_eq!(lines(&told), ("a\u{fffd} nmae".into(), "   ^^^^".into()), "{hidden:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_place_and_very_long_ones_name_it_alone() {
        let long = format!("a = \"{}\"", "x".repeat(1 << 20));
        for (column, width) in [(1, 1), (200, 10), (1, 1 << 20), (4000, 1 << 20)] {
            let told = shown(&long, column, width);
            assert!(told.contains(&format!("host.toml:115:{column}\n")), "{told}");
            assert!(told.lines().all(|line| line.len() < 200), "{told}");
            assert!(lines(&told).1.contains('^'), "{told}");
        }
        let told = shown(&long, 100_000, 5);
        assert!(told.contains("host.toml:115:100000\n") && !told.contains("xxx"), "{told}");
        assert!(told.contains("did you mean"), "{told}");
    }
}
