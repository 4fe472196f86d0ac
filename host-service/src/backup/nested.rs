//! Subvolumes inside what is backed up: a snapshot holds an empty directory in the place of each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::source::{Source, SourceError, Wanted};

/// Ours, at the top of a pool: snapshots, labs, drills.
const OURS: &str = ".bedplate-";
/// More are counted and not named.
const NAMED: usize = 10;

/// Nothing may be left out of a backup: every subvolume below its paths is one of its paths.
pub fn expect_none(wanted: &[Wanted], sources: &[Source]) -> Result<(), SourceError> {
    let mut asked = BTreeSet::new();
    let mut found = Vec::new();
    for (one, source) in wanted.iter().zip(sources) {
        if asked.insert(&source.subvolume) {
            let listed = one.pool_fs().nested(&source.subvolume).map_err(SourceError::List)?;
            found.extend(left_out(&source.subvolume, &one.mount, wanted, &listed));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(SourceError::Nested(named(&found))) }
}

/// Those of `listed`, which are directly inside `subvolume`, that the backup of `wanted` leaves out.
/// Those inside them are not looked for: they are left out with them.
fn left_out(subvolume: &Path, mount: &Path, wanted: &[Wanted], listed: &[PathBuf]) -> Vec<PathBuf> {
    let from_top = subvolume.strip_prefix(mount).unwrap_or(Path::new(""));
    let is_left_out = |path: &Path| {
        let inside = path.strip_prefix(mount).unwrap_or(path).to_string_lossy();
        !inside.starts_with(OURS)
            && wanted.iter().any(|one| path.starts_with(&one.path))
            && !wanted.iter().any(|one| one.path == path)
    };
    let place = |one: &PathBuf| match one.strip_prefix(from_top) {
        Ok(inside) => Some(subvolume.join(inside)).filter(|path| is_left_out(path)),
        // Nobody knows where it is: it is named as it was listed.
        Err(_) => Some(one.clone()),
    };
    listed.iter().filter_map(place).collect()
}

/// Quoted: a name may hold anything (T18).
fn named(paths: &[PathBuf]) -> String {
    let first: Vec<_> = paths.iter().take(NAMED).map(|path| format!("{path:?}")).collect();
    let more = paths.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(subvolume: &str, wanted: &[&str], listed: &[&str]) -> Vec<PathBuf> {
        let mount = PathBuf::from("/mnt/bulk");
        let want = |path: &&str| Wanted {
            path: path.into(),
            mount: mount.clone(),
            file_system: Default::default(),
        };
        let wanted: Vec<_> = wanted.iter().map(want).collect();
        let listed: Vec<PathBuf> = listed.iter().map(PathBuf::from).collect();
        left_out(Path::new(subvolume), &mount, &wanted, &listed)
    }

    #[test]
    fn a_subvolume_that_a_snapshot_leaves_out_is_found_and_ours_are_not() {
        let listed = [
            "photos",
            "apps/db",
            ".bedplate-snapshots/apps/0",
            ".bedplate-lab",
            ".bedplate-drill-a",
        ];
        let at = |found: Vec<PathBuf>| {
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let top = |wanted: &[&str]| at(found("/mnt/bulk", wanted, &listed));
        assert_eq!(top(&["/mnt/bulk"]), "/mnt/bulk/photos /mnt/bulk/apps/db");
        assert_eq!(top(&["/mnt/bulk/apps"]), "/mnt/bulk/apps/db");
        assert_eq!(top(&["/mnt/bulk/other", "/mnt/bulk/app"]), "");
        // Named as paths of their own they are read, and looked into themselves.
        assert_eq!(top(&["/mnt/bulk", "/mnt/bulk/photos", "/mnt/bulk/apps/db/"]), "");
        assert_eq!(top(&["/mnt/bulk/photos"]), "");
        // A directory in one is not all of it.
        let part = ["/mnt/bulk", "/mnt/bulk/photos/2024", "/mnt/bulk/apps/db"];
        assert_eq!(top(&part), "/mnt/bulk/photos");
        let inner = |wanted: &[&str]| {
            at(found("/mnt/bulk/photos", wanted, &["photos/in", "photos/.bedplate-in"]))
        };
        let all = "/mnt/bulk/photos/in /mnt/bulk/photos/.bedplate-in";
        assert_eq!(inner(&["/mnt/bulk/photos"]), all, "ours are at the top of a pool alone");
        // A pool that is not mounted by its top: it is not passed over.
        assert_eq!(at(found("/mnt/bulk/photos", &["/mnt/bulk/photos"], &["sub/in"])), "sub/in");
    }

    #[test]
    fn t18_names_are_quoted_and_not_without_end() {
        let many: Vec<PathBuf> = (0..12).map(|one| format!("/a/{one}\u{1b}").into()).collect();
        let text = named(&many);
        assert!(text.starts_with(r#""/a/0\u{1b}", "#) && text.ends_with(" and 2 more"), "{text}");
    }
}
