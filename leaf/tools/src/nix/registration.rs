//! What a store knows of its paths, as `nix-store --dump-db` writes it and `--load-db` reads it:
//! for each path its name, the hash and length of its content, its deriver, the number of its
//! references, and that many references, one a line.

use std::fmt::Write as _;

/// One path of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePath {
    /// The path itself, `/nix/store/HASH-NAME`.
    pub path: String,
    /// SHA-256 of the NAR serialisation, hexadecimal.
    pub hash: String,
    /// Length of the serialisation in bytes.
    pub size: u64,
    /// What it was built by; empty for a source, and for what is supplied.
    pub deriver: String,
    /// What it refers to, perhaps itself.
    pub references: Vec<String>,
}

impl StorePath {
    /// Its name within the store; none for a path that stands elsewhere, or below another.
    pub fn name(&self) -> Option<&str> {
        name(&self.path)
    }
}

/// The name of a path within the store.
pub fn name(path: &str) -> Option<&str> {
    let name = path.strip_prefix("/nix/store/")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    (!name.is_empty() && !name.starts_with('.') && name.chars().all(plain)).then_some(name)
}

/// Reads a registration; none for a text that is not one.
pub fn parse(text: &str) -> Option<Vec<StorePath>> {
    let mut lines = text.lines();
    let mut paths = Vec::new();
    while let Some(path) = lines.next().filter(|path| !path.is_empty()) {
        let hash = lines.next()?;
        let hash = hash.strip_prefix("sha256:").unwrap_or(hash).to_owned();
        let size = lines.next()?.parse().ok()?;
        let deriver = lines.next()?.to_owned();
        let count: usize = lines.next()?.parse().ok()?;
        let references: Vec<String> = lines.by_ref().take(count).map(str::to_owned).collect();
        if references.len() != count {
            return None;
        }
        paths.push(StorePath { path: path.to_owned(), hash, size, deriver, references });
    }
    Some(paths)
}

/// The registration of `paths`.
pub fn text(paths: &[StorePath]) -> String {
    paths.iter().fold(String::new(), |mut text, path| {
        let StorePath { path, hash, size, deriver, references } = path;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{path}\n{hash}\n{size}\n{deriver}\n{}", references.len());
        for reference in references {
            let _ = writeln!(text, "{reference}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "/nix/store/a-x\n11\n700\n\n0\n/nix/store/b-y\n22\n50\n/nix/store/c.drv\n2\n\
        /nix/store/a-x\n/nix/store/b-y\n";

    #[test]
    fn a_registration_survives_the_round_trip() {
        let paths = parse(TEXT).unwrap();
        assert_eq!(paths.iter().map(|path| path.size).sum::<u64>(), 750);
        assert_eq!(paths[1].references, ["/nix/store/a-x", "/nix/store/b-y"]);
        assert_eq!(text(&paths), TEXT);
        assert_eq!(parse(&TEXT.replace("\n11\n", "\nsha256:11\n")), Some(paths));
        assert_eq!(parse(""), Some(Vec::new()));
    }

    #[test]
    fn t13_a_text_that_is_cut_or_crafted_is_none() {
        for cut in 1..TEXT.len() {
            if let Some(paths) = parse(&TEXT[..cut]) {
                assert!(TEXT.starts_with(text(&paths).trim_end()), "{cut}");
            }
        }
        assert_eq!(parse(&TEXT.replace("700", "many")), None);
        assert_eq!(parse(&TEXT.replace("\n2\n", "\n18446744073709551615\n")), None);
    }

    #[test]
    fn t15_a_path_names_something_of_the_store_and_nothing_else() {
        assert_eq!(name("/nix/store/a-x_1.2+b"), Some("a-x_1.2+b"));
        for bad in ["/nix/store/", "/nix/store/../x", "/nix/store/a/b", "/etc/a", "/nix/store/.."] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
