//! What else of a repository a flake is read with: texts of Nix files, names in directories.

use std::collections::BTreeMap;

/// What stands in a directory under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which is not followed.
    Link,
    /// Something else.
    Other,
}

impl Kind {
    /// As Nix calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "regular",
            Self::Directory => "directory",
            Self::Link => "symlink",
            Self::Other => "unknown",
        }
    }
}

/// The names in a directory.
pub type Names = BTreeMap<String, Kind>;

/// Files and directories by their path from the repository's root, which is the empty path. What is
/// not there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Texts of files.
    pub files: BTreeMap<String, Option<String>>,
    /// Names in directories.
    pub directories: BTreeMap<String, Option<Names>>,
}

/// Something that a flake is read with and that was not among the sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A file's text.
    File(String),
    /// A directory's names.
    Directory(String),
}

/// The directory a path stands in, and its name there.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path below a directory.
pub(crate) fn below(directory: &str, path: &str) -> String {
    let separator = if directory.is_empty() || path.is_empty() { "" } else { "/" };
    format!("{directory}{separator}{path}")
}

/// A path without `.`, `..` and empty parts; none when it leaves the repository.
pub(crate) fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_repository() {
        assert_eq!(normal("a/./b//c/.."), Some("a/b".to_owned()));
        assert_eq!(normal("a/../.."), None);
        assert_eq!(
            (below("", "x"), below("a", "x"), below("a", "")),
            ("x".into(), "a/x".into(), "a".into())
        );
        assert_eq!((split("a/b/c"), split("a")), (("a/b", "c"), ("", "a")));
    }
}
