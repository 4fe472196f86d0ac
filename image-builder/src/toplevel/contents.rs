//! Which paths of a closure go onto the medium.

use std::collections::BTreeSet;

use bedplate_tools::nix::registration::StorePath;

/// What was decided of a closure.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    /// Goes onto the medium. What it refers to is there too, or held by the platform's images.
    pub carried: Vec<StorePath>,
    /// Stays behind.
    pub left_out: Vec<String>,
}

/// Leaves out what the medium has (`held`), and the repository itself (`own`) with everything
/// that refers to it: all files of the repository would stand in a store that everybody reads,
/// and the machine's repository is another one, because its commit adds to it.
pub fn decide(closure: Vec<StorePath>, own: &str, held: &BTreeSet<&str>) -> Contents {
    let mut out: BTreeSet<String> = [own.to_owned()].into();
    loop {
        let before = out.len();
        for path in &closure {
            if path.references.iter().any(|reference| out.contains(reference)) {
                out.insert(path.path.clone());
            }
        }
        if out.len() == before {
            break;
        }
    }
    let (left_out, kept): (Vec<_>, Vec<_>) =
        closure.into_iter().partition(|path| out.contains(&path.path));
    let mut carried: Vec<StorePath> =
        kept.into_iter().filter(|path| !held.contains(path.path.as_str())).collect();
    carried.sort_by(|one, other| one.path.cmp(&other.path));
    Contents { carried, left_out: left_out.into_iter().map(|path| path.path).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str, references: &[&str]) -> StorePath {
        let of = |name: &str| format!("/nix/store/{name}");
        StorePath {
            path: of(name),
            hash: "00".into(),
            size: 1,
            deriver: String::new(),
            references: references.iter().map(|name| of(name)).collect(),
        }
    }

    fn names(paths: &[StorePath]) -> Vec<&str> {
        paths.iter().map(|path| path.path.trim_start_matches("/nix/store/")).collect()
    }

    #[test]
    fn what_the_medium_has_is_not_carried_twice() {
        let closure = vec![
            path("t-system", &["d-host.toml", "p-tree"]),
            path("p-tree", &[]),
            path("d-host.toml", &[]),
        ];
        let contents = decide(closure, "/nix/store/s-source", &["/nix/store/p-tree"].into());
        assert_eq!(names(&contents.carried), ["d-host.toml", "t-system"]);
        assert_eq!(contents.left_out, Vec::<String>::new());
    }

    #[test]
    fn t19_the_repository_itself_and_all_that_refers_to_it_stays_behind() {
        let closure = vec![
            path("t-system", &["e-etc", "k-kernel"]),
            path("e-etc", &["e-etc", "r-registry"]),
            path("r-registry", &["s-source"]),
            path("s-source", &[]),
            path("k-kernel", &["l-lib"]),
            path("l-lib", &[]),
        ];
        let contents = decide(closure, "/nix/store/s-source", &BTreeSet::new());
        assert_eq!(names(&contents.carried), ["k-kernel", "l-lib"]);
        assert_eq!(contents.left_out.len(), 4);
        let carried: BTreeSet<_> = contents.carried.iter().map(|path| &path.path).collect();
        let references = contents.carried.iter().flat_map(|path| &path.references);
        assert!(references.into_iter().all(|one| carried.contains(one)), "nothing refers outwards");
    }
}
