//! The kernel command line.

use std::fs;
use std::path::Path;

use crate::error::Error;

/// What is started when the command line names nothing.
const DEFAULT_INIT: &str = "/sbin/init";

/// The program to start in the new root.
pub(crate) fn init() -> Result<String, Error> {
    let path = Path::new("/proc/cmdline");
    let text = fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
    Ok(value(&text, "init").unwrap_or(DEFAULT_INIT).to_owned())
}

/// The last `key=value` wins, as with the kernel; what follows ` -- ` is not ours.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_ascii_whitespace()
        .take_while(|word| *word != "--")
        .filter_map(|word| word.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_init_wins() {
        let text = "quiet init=/a console=ttyS0 rdinit=/x init=/nix/store/b/init\n";
        assert_eq!(value(text, "init"), Some("/nix/store/b/init"));
    }

    #[test]
    fn nothing_is_found_in_other_words_or_behind_the_dashes() {
        assert_eq!(value("xinit=/a init -- init=/b", "init"), None);
        assert_eq!(value("", "init"), None);
    }
}
