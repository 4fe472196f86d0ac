//! What a passphrase, or another secret that somebody types, must be.

/// Shorter passphrases are not taken, in characters.
const LEAST: usize = 12;

/// What is wrong with a recovery passphrase that somebody typed; none when it may be used.
pub fn fault(typed: &str) -> Option<String> {
    if typed.chars().count() < LEAST {
        return Some(format!("it takes at least {LEAST} characters"));
    }
    // Stage 1 reads keys by the US layout, and ends a passphrase with the line.
    let strange = typed.chars().find(|char| !matches!(char, ' '..='~'))?;
    Some(format!("{strange:?} cannot be typed at the prompt of the boot"))
}

/// What is wrong with a secret that somebody else chose; none when it may be used.
pub fn line_fault(typed: &str) -> Option<String> {
    if typed.trim().is_empty() {
        return Some("nothing was typed".into());
    }
    let strange = typed.chars().find(|char| char.is_control())?;
    Some(format!("{strange:?} is no part of it"))
}

#[cfg(test)]
mod tests {
    use super::{fault, line_fault};

    #[test]
    fn a_secret_is_a_line_of_any_language() {
        assert_eq!(line_fault("gr\u{fc}\u{df}e"), None);
        for wrong in ["", " ", "two\nlines", "\u{1b}[A"] {
            assert!(line_fault(wrong).is_some(), "{wrong:?}");
        }
    }

    #[test]
    fn what_cannot_be_typed_at_boot_is_refused() {
        assert_eq!(fault("correct horse battery"), None);
        assert!(fault("short").is_some());
        assert!(fault("gr\u{fc}\u{df}e aus K\u{f6}ln").is_some());
        assert!(fault("two lines\nof words").is_some());
    }
}
