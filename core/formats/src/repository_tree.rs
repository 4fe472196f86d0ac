//! What the tree of somebody's repository may hold before root checks it out.
//!
//! Bytes in, decisions out: the listing is that of `git ls-tree -r -z --full-tree`.

/// What a repository must hold besides, to build hosts of the embedded platform.
pub const PLATFORM: [&str; 4] =
    ["flake.nix", "flake.lock", "bedplate/flake.nix", "bedplate/lib.nix"];

/// A file or a symbolic link of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path from the tree's root.
    pub path: String,
    /// Name of the object with the content, or with the link's target.
    pub object: String,
    /// Whether it is a symbolic link.
    pub link: bool,
}

/// A tree that is not checked out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Not what git writes.
    #[error("the listing of the repository's files cannot be read")]
    Listing,
    /// A name that is not UTF-8, is none, or is git's own.
    #[error("the repository holds a file named \"{path}\", which is refused: {why}")]
    Name {
        /// The path, escaped.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A commit of another repository in the place of a directory.
    #[error("\"{path}\" is a submodule; submodules do not travel with the repository")]
    Submodule {
        /// The path, escaped.
        path: String,
    },
    /// A link whose target is not surely a file of the same tree.
    #[error("the symbolic link \"{path}\" leads to \"{target}\", out of the repository's files")]
    Link {
        /// The path, escaped.
        path: String,
        /// Where it leads, escaped.
        target: String,
    },
}

/// Reads a listing. Submodules and names that could leave the work tree are refused.
pub fn parse(listing: &[u8]) -> Result<Vec<Entry>, TreeError> {
    let records = listing.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.map(entry).collect()
}

fn entry(record: &[u8]) -> Result<Entry, TreeError> {
    let tab = record.iter().position(|byte| *byte == b'\t').ok_or(TreeError::Listing)?;
    let (head, path) = record.split_at_checked(tab).ok_or(TreeError::Listing)?;
    let path = path.get(1..).ok_or(TreeError::Listing)?;
    let head = std::str::from_utf8(head).map_err(|_| TreeError::Listing)?;
    let mut words = head.split(' ');
    let (Some(mode), Some(_), Some(object), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(TreeError::Listing);
    };
    if object.is_empty() || !object.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(TreeError::Listing);
    }
    let path = name(path)?;
    match mode {
        "160000" => Err(TreeError::Submodule { path: path.escape_debug().to_string() }),
        "100644" | "100664" | "100755" | "120000" => {
            Ok(Entry { path: path.to_owned(), object: object.to_owned(), link: mode == "120000" })
        }
        _ => Err(TreeError::Listing),
    }
}

fn name(path: &[u8]) -> Result<&str, TreeError> {
    let refused = |why| TreeError::Name { path: path.escape_ascii().to_string(), why };
    let text = std::str::from_utf8(path).map_err(|_| refused("it is not UTF-8"))?;
    for part in text.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(refused("it leaves its directory"));
        }
        if is_of_git(part) {
            return Err(refused("that name is git's own"));
        }
    }
    Ok(text)
}

fn is_of_git(part: &str) -> bool {
    part.eq_ignore_ascii_case(".git")
}

/// Refuses the link at `path` to `target` unless it stays among the tree's files.
///
/// `..` may only stand first: behind the name of another link it would lead anywhere.
pub fn check_link(path: &str, target: &[u8]) -> Result<(), TreeError> {
    let refused = || TreeError::Link {
        path: path.escape_debug().to_string(),
        target: target.escape_ascii().to_string(),
    };
    let text = std::str::from_utf8(target).map_err(|_| refused())?;
    let depth = path.split('/').count() - 1;
    let parts: Vec<&str> = text.split('/').filter(|part| *part != ".").collect();
    let ups = parts.iter().take_while(|part| **part == "..").count();
    let mut rest = parts.iter().skip(ups);
    let plain = rest.all(|part| *part != ".." && !is_of_git(part));
    if text.is_empty() || text.starts_with('/') || text.contains('\0') || ups > depth || !plain {
        return Err(refused());
    }
    Ok(())
}

/// Whether two descriptions of a platform say the same: layout of the text is nobody's business.
pub fn same_description(one: &[u8], other: &[u8]) -> bool {
    let parse = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    one == other || parse(one).is_some_and(|value| Some(value) == parse(other))
}

/// The file or link that keeps `path` from being a directory, or from being reached as one.
pub fn in_the_way<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| {
        path.strip_prefix(&entry.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

    fn listed(mode: &str, path: &[u8]) -> Result<Vec<Entry>, TreeError> {
        let mut record = format!("{mode} blob {OBJECT}\t").into_bytes();
        record.extend_from_slice(path);
        record.push(0);
        parse(&record)
    }

    #[test]
    fn files_and_links_are_read_whatever_their_names() {
        for path in ["flake.nix", "-rf", "a b/\u{1b}[2J\n\"c", ".gitignore", ".github/x"] {
            let found = listed("100644", path.as_bytes()).unwrap();
            assert_eq!((found[0].path.as_str(), found[0].link), (path, false));
        }
        assert!(listed("120000", b"a").unwrap()[0].link);
        assert_eq!(parse(b"").unwrap(), []);
    }

    #[test]
    fn t15_names_that_leave_or_are_gits_own_are_refused_and_submodules_too() {
        for path in ["../x", "a/../x", "/etc/x", "a//b", ".git/config", "a/.GIT/hooks/x", "."] {
            let error = listed("100644", path.as_bytes()).unwrap_err();
            assert!(matches!(error, TreeError::Name { .. }), "{path}: {error}");
        }
        assert!(matches!(listed("100644", b"\xff").unwrap_err(), TreeError::Name { .. }));
        let error = listed("160000", b"vendor/\x1bx").unwrap_err().to_string();
        assert!(error.contains("submodule") && !error.contains('\x1b'), "{error}");
    }

    #[test]
    fn t15_links_stay_among_the_files() {
        for (path, target) in
            [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b/./c"), ("a/b", "..")]
        {
            assert_eq!(check_link(path, target.as_bytes()), Ok(()), "{path} -> {target}");
        }
        for (path, target) in [
            ("a", ".."),
            ("a", "../x"),
            ("a/b", "../../x"),
            ("a", "/etc/passwd"),
            ("a", ".git/hooks"),
            ("nix/hosts", "../.Git/hooks"),
            // `b` may itself lead to another directory.
            ("a", "b/../c"),
            ("a", ""),
        ] {
            assert!(check_link(path, target.as_bytes()).is_err(), "{path} -> {target}");
        }
    }

    #[test]
    fn what_stands_where_a_directory_goes_is_found() {
        let entries = listed("120000", b"nix/hosts").unwrap();
        for (path, found) in [
            ("nix/hosts/box", true),
            ("nix/hosts", true),
            ("nix/hosts2/box", false),
            ("nix", false),
        ] {
            assert_eq!(in_the_way(&entries, path).is_some(), found, "{path}");
        }
    }

    #[test]
    fn t13_any_listing_is_read_or_refused() {
        let good = format!("100644 blob {OBJECT}\ta/b\0120000 blob {OBJECT}\tc\0");
        for position in 0..good.len() {
            let mut bad = good.clone().into_bytes();
            bad[position] ^= 0xff;
            drop(parse(&bad));
            drop(parse(&good.as_bytes()[..position]));
        }
    }
}
