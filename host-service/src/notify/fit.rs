//! Messages that fit what receives them. What is cut says so: all of it is on the machine.

/// ntfy keeps a text of less than 4,096 bytes; one of just so many or more becomes an attachment, or is
/// refused where the server takes none, as it does by itself (`message-size-limit` of its server.yml, and
/// `LimitReached` of its `util/peek.go`).
pub(super) const NTFY_TEXT: usize = 4095;
/// More is no title on any screen, and a line of mail has 998 bytes at most.
pub(super) const TITLE: usize = 250;
/// A line of mail has 998 bytes at most without its end (RFC 5322, section 2.1.1).
pub(super) const MAIL_LINE: usize = 998;
/// More is not read by anybody, and refused by some.
pub(super) const LONGEST_TEXT: usize = 64 << 10;

/// At the end of what was cut.
const CUT: &str = "\n… (cut: `bedplate-host status` shows all of it)";

/// A text of at most `most` bytes.
pub(super) fn text(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most.saturating_sub(CUT.len()));
    format!("{}{CUT}", text.get(..end).unwrap_or_default().trim_end())
}

/// One line of ASCII, as a header is: what is not is no part of a name of ours.
pub(super) fn header(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut line: String = text.chars().take(TITLE).map(plain).collect();
    if text.chars().nth(TITLE).is_some() {
        line.replace_range(TITLE - 3.., "...");
    }
    line
}

/// Lines that a mail may have: a longer one goes on in the next.
pub(super) fn lines(text: &str) -> String {
    let mut fit = String::new();
    for line in text.split_inclusive('\n') {
        let mut rest = line;
        while rest.trim_end_matches('\n').len() > MAIL_LINE {
            let (head, tail) = rest.split_at(rest.floor_char_boundary(MAIL_LINE));
            fit.push_str(head);
            fit.push('\n');
            rest = tail;
        }
        fit.push_str(rest);
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t43_a_text_that_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(text("as it is", NTFY_TEXT), "as it is");
        let whole = "ö".repeat(NTFY_TEXT / 2);
        assert_eq!(text(&whole, NTFY_TEXT), whole);
        assert!(text(&"x".repeat(5000), NTFY_TEXT).len() < 4096, "just so many are too many");
        let cut = text(&format!("{whole}ö"), NTFY_TEXT);
        assert!(cut.len() <= NTFY_TEXT && cut.len() > NTFY_TEXT - 4, "{}", cut.len());
        assert!(cut.ends_with("`bedplate-host status` shows all of it)"), "{cut}");
    }

    #[test]
    fn t43_a_title_is_one_line_whatever_is_in_it() {
        assert_eq!(header("hv: a\r\nX: ö"), "hv: a??X: ?");
        let long = header(&"x".repeat(5000));
        assert!(long.len() == TITLE && long.ends_with("x..."), "{long}");
    }

    #[test]
    fn t43_no_line_of_a_mail_is_longer_than_mail_has_them() {
        let long = format!("short\n{}\nend\n", "ö".repeat(1200));
        let fit = lines(&long);
        assert!(fit.lines().all(|line| line.len() <= MAIL_LINE), "{fit}");
        assert_eq!(fit.replace('\n', ""), long.replace('\n', ""));
        assert!(fit.starts_with("short\n") && fit.ends_with("\nend\n"));
        assert_eq!(lines("a\n\nb"), "a\n\nb");
    }
}
