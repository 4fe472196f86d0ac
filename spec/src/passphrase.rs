//! What a recovery passphrase must be.

/// Shorter passphrases are not taken, in characters.
const LEAST: usize = 12;

/// What is wrong with a passphrase that somebody typed; none when it may be used.
pub fn fault(typed: &str) -> Option<String> {
    if typed.chars().count() < LEAST {
        return Some(format!("it takes at least {LEAST} characters"));
    }
    // Stage 1 reads keys by the US layout, and ends a passphrase with the line.
    let strange = typed.chars().find(|char| !matches!(char, ' '..='~'))?;
    Some(format!("{strange:?} cannot be typed at the prompt of the boot"))
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_cannot_be_typed_at_boot_is_refused() {
        assert_eq!(fault("correct horse battery"), None);
        assert!(fault("short").is_some());
        assert!(fault("gr\u{fc}\u{df}e aus K\u{f6}ln").is_some());
        assert!(fault("two lines\nof words").is_some());
    }
}
