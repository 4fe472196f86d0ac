//! The owner's repository on a medium: looked at, decided about, and bundled.
//!
//! Only what is committed travels, so a work tree with anything else is refused: the machine
//! would be installed from another repository than the one its owner looks at.

use std::path::{Path, PathBuf};

use bedplate_formats::repository_tree::{self, Entry};
use bedplate_repository::flake::known::Sought;
use bedplate_tools::git::Reader;

use crate::answers::{DESCRIPTION, Flake};
use crate::error::{Error, file, tool, unfit};

/// The owner's repository as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// A git bundle of one branch with its history.
    pub bundle: Vec<u8>,
    /// What the machine's commit writes to `bedplate/platform.json`; none leaves it as it is.
    pub description: Option<Vec<u8>>,
}

/// Which repository is asked for.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its directory.
    pub directory: PathBuf,
    /// Whether the medium's description of the platform may replace another one.
    pub take_platform: bool,
}

/// What was found of a repository.
#[derive(Debug, Clone)]
pub struct State {
    directory: PathBuf,
    branch: String,
    files: Vec<Entry>,
    flake: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
}

/// Looks at the repository and refuses one that cannot travel. Nothing is written.
pub fn look(directory: &Path) -> Result<State, Error> {
    let git = Reader::new(directory);
    let refused = |why: String| unfit("the repository", directory, why);
    let branch = git.branch().map_err(tool("look at the repository (`--flake`)"))?;
    let branch = branch.ok_or_else(|| refused("no branch is checked out; check one out".into()))?;
    let commit = git.commit("HEAD");
    let commit = commit.ok_or_else(|| refused("it has no commit; commit first".into()))?;
    let uncommitted = git.uncommitted().map_err(tool("read the state of the repository"))?;
    if !uncommitted.is_empty() {
        return Err(refused(format!(
            "only what is committed travels, and this is not: {}; commit, stash or ignore it",
            uncommitted.join(", ")
        )));
    }
    if git.is_shallow().map_err(tool("read the state of the repository"))? {
        let why = "its history is cut off (a shallow clone); `git fetch --unshallow` first";
        return Err(refused(why.into()));
    }
    let listing = git.listing(&commit).map_err(tool("list the repository's files"))?;
    let files = repository_tree::parse(&listing).map_err(|error| refused(error.to_string()))?;
    for link in files.iter().filter(|entry| entry.link) {
        let target = git.blob(&link.object).map_err(tool("read a link of the repository"))?;
        repository_tree::check_link(&link.path, &target)
            .map_err(|error| refused(error.to_string()))?;
    }
    let content = |path: &str| {
        let found = files.iter().find(|entry| entry.path == path && !entry.link);
        found.map(|entry| git.blob(&entry.object)).transpose()
    };
    let flake = content("flake.nix").map_err(tool("read the repository's flake.nix"))?;
    let description = content(DESCRIPTION).map_err(tool("read the repository's platform"))?;
    Ok(State { directory: directory.to_owned(), branch, files, flake, description })
}

impl State {
    /// Refuses a repository in which the directory of the host that `document` (the text of a
    /// `host.toml`) describes could not be made, or whose flake would not know the host.
    pub fn has_room_for(&self, document: &str) -> Result<(), Error> {
        let host = bedplate_document::parse(document, "host.toml");
        let host = host.map_err(|problems| {
            unfit("the document for", &self.directory, format!("it is not valid\n{problems}"))
        })?;
        if host.flake.source.is_some() {
            let why = "its `flake.source` names another; leave one of the two out";
            return Err(unfit("the document does not go with", &self.directory, why));
        }
        let (name, hosts) = (&host.host.name, &host.flake.hosts);
        let path = format!("{hosts}/{name}");
        let sought = Sought { name, hosts, platform: host.host.platform };
        match repository_tree::in_the_way(&self.files, &path) {
            None => match self.flake.as_ref().and_then(|flake| sought.missing(flake)) {
                None => Ok(()),
                Some(why) => Err(unfit("the repository", &self.directory, why)),
            },
            Some(entry) => {
                let name = entry.path.escape_debug();
                let why = format!(
                    "{name} is no directory, so {path} cannot be made; name another \
                    in `[flake].hosts`"
                );
                Err(unfit("the repository", &self.directory, why))
            }
        }
    }

    /// What the machine's commit writes as the description of the platform, from what the
    /// repository and the medium say (decision 0014).
    pub fn description(
        &self,
        medium: &Flake,
        take_platform: bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let refused = |why: &str| unfit("the repository", &self.directory, why.to_owned());
        for needed in repository_tree::PLATFORM {
            if !self.files.iter().any(|entry| entry.path == needed) {
                return Err(refused(&format!(
                    "{needed} is not committed in it; `bedplate host add` brings the platform, \
                     `nix flake lock` the lock"
                )));
            }
        }
        if self.files.iter().any(|entry| entry.path == DESCRIPTION && entry.link) {
            return Err(refused("bedplate/platform.json is a link; make it a file"));
        }
        let wanted = medium.get(DESCRIPTION);
        let wanted = wanted.ok_or_else(|| refused("the medium describes no platform"))?;
        match &self.description {
            Some(found) if repository_tree::same_description(found, wanted) => Ok(None),
            Some(_) if !take_platform => Err(refused(
                "its bedplate/platform.json describes another platform than the medium carries, \
                 so its hosts cannot be built from this medium; use the medium it came from, or \
                 let the machine's commit replace it (`--take-platform`)",
            )),
            _ => Ok(Some(wanted.clone())),
        }
    }

    /// Bundles the branch.
    pub fn bundle(&self, description: Option<Vec<u8>>) -> Result<Owned, Error> {
        let place =
            tempfile::tempdir().map_err(file("make a directory in", &std::env::temp_dir()))?;
        let path = place.path().join("flake.bundle");
        let git = Reader::new(&self.directory);
        git.bundle(&path, &self.branch).map_err(tool("bundle the repository"))?;
        let bundle = std::fs::read(&path).map_err(file("read", &path))?;
        Ok(Owned { bundle, description })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use bedplate_tools::command::CommandExt as _;
    use tempfile::TempDir;

    use super::*;

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Owner", "-c", "user.email=owner@example.org"]);
        git.arg("-C").arg(directory).args(arguments).read().unwrap()
    }

    fn commit(directory: &Path) {
        git(directory, &["add", "--all"]);
        git(directory, &["commit", "-q", "-m", "Change"]);
    }

    fn repository() -> TempDir {
        let place = tempfile::tempdir().unwrap();
        git(place.path(), &["init", "-q", "-b", "trunk"]);
        fs::create_dir(place.path().join("bedplate")).unwrap();
        for path in ["flake.nix", "flake.lock", "bedplate/flake.nix", "bedplate/lib.nix"] {
            fs::write(place.path().join(path), "{ }\n").unwrap();
        }
        commit(place.path());
        place
    }

    fn medium(description: &str) -> Flake {
        [(DESCRIPTION.to_owned(), description.as_bytes().to_vec())].into()
    }

    fn refusal(place: &TempDir) -> String {
        look(place.path()).unwrap_err().to_string()
    }

    #[test]
    fn the_branch_that_is_checked_out_travels_with_its_history_and_nothing_else() {
        let place = repository();
        git(place.path(), &["branch", "secret-work"]);
        fs::write(place.path().join("README"), "second\n").unwrap();
        commit(place.path());
        let owned = look(place.path()).unwrap().bundle(None).unwrap();
        let clone = tempfile::tempdir().unwrap();
        let file = clone.path().join("x.bundle");
        fs::write(&file, &owned.bundle).unwrap();
        let head = git(place.path(), &["rev-parse", "trunk"]).trim_end().to_owned();
        assert_eq!(Reader::branches_of_bundle(&file).unwrap(), [("trunk".to_owned(), head)]);
        git(clone.path(), &["clone", "-q", "--branch", "trunk", "x.bundle", "clone"]);
        let log = git(&clone.path().join("clone"), &["log", "--format=%H"]);
        assert_eq!(log, git(place.path(), &["log", "--format=%H"]));
        assert_eq!(log.lines().count(), 2);
    }

    #[test]
    fn what_is_not_committed_is_named_and_refused() {
        let place = repository();
        fs::write(place.path().join("flake.nix"), "{ changed = 1; }\n").unwrap();
        fs::write(place.path().join("new\u{1b}[2J"), "").unwrap();
        let said = refusal(&place);
        assert!(said.contains(" M flake.nix") && said.contains("?? new"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }

    #[test]
    fn a_repository_that_cannot_travel_is_refused_with_what_to_do() {
        let place = repository();
        git(place.path(), &["checkout", "-q", "--detach"]);
        assert!(refusal(&place).contains("check one out"));

        let empty = tempfile::tempdir().unwrap();
        git(empty.path(), &["init", "-q"]);
        assert!(refusal(&empty).contains("no commit"));
        assert!(look(Path::new("/nonexistent")).is_err());

        let origin = repository();
        commit_file(origin.path(), "x");
        let shallow = tempfile::tempdir().unwrap();
        let url = format!("file://{}", origin.path().display());
        git(shallow.path(), &["clone", "-q", "--depth", "1", &url, "."]);
        assert!(refusal(&shallow).contains("--unshallow"));
    }

    fn commit_file(directory: &Path, name: &str) {
        fs::write(directory.join(name), "").unwrap();
        commit(directory);
    }

    #[test]
    fn t15_links_that_leave_and_submodules_are_refused_on_the_workstation_already() {
        let place = repository();
        symlink("../../etc/passwd", place.path().join("bedplate/x")).unwrap();
        commit(place.path());
        assert!(refusal(&place).contains("bedplate/x"));

        let place = repository();
        let head = git(place.path(), &["rev-parse", "HEAD"]);
        let entry = format!("160000,{},vendor", head.trim());
        git(place.path(), &["update-index", "--add", "--cacheinfo", &entry]);
        fs::create_dir(place.path().join("vendor")).unwrap();
        git(place.path(), &["commit", "-q", "-m", "Submodule"]);
        assert!(refusal(&place).contains("submodule"));
    }

    #[test]
    fn t15_a_link_in_the_place_of_the_hosts_is_refused_on_the_workstation() {
        let document = include_str!("../../profiles/hypervisor/host.toml");
        let place = repository();
        look(place.path()).unwrap().has_room_for(document).unwrap();
        fs::create_dir(place.path().join("nix")).unwrap();
        symlink("../bedplate", place.path().join("nix/hosts")).unwrap();
        commit(place.path());
        let error = look(place.path()).unwrap().has_room_for(document).unwrap_err();
        assert!(error.to_string().contains("nix/hosts is no directory"), "{error}");
    }

    #[test]
    fn a_host_that_the_flake_was_not_told_of_is_refused_before_a_medium_is_made() {
        let document = include_str!("../../profiles/hypervisor/host.toml");
        let place = repository();
        let flake = |hosts: &str| {
            let text = format!("{{ outputs = _: {{ nixosConfigurations = {hosts}; }}; }}\n");
            fs::write(place.path().join("flake.nix"), text).unwrap();
            commit(place.path());
            look(place.path()).unwrap().has_room_for(document)
        };
        let error = flake("{ oracle = 1; }").unwrap_err().to_string();
        assert!(error.contains("bedplate host add hypervisor"), "{error}");
        flake("{ oracle = 1; hypervisor = 2; }").unwrap();
        flake("f ./nix/hosts").unwrap();
    }

    #[test]
    fn a_document_that_takes_its_repository_from_elsewhere_brings_none() {
        let document = include_str!("../../core/document/tests/hosts/good_source_ssh.toml");
        let place = repository();
        let error = look(place.path()).unwrap().has_room_for(document).unwrap_err();
        assert!(error.to_string().contains("`flake.source` names another"), "{error}");
    }

    #[test]
    fn the_platform_of_the_medium_is_added_but_replaces_another_only_when_told_to() {
        let place = repository();
        let decide = |text, take| look(place.path()).unwrap().description(&medium(text), take);
        assert_eq!(decide("{\"a\": 1}", false).unwrap().unwrap(), b"{\"a\": 1}");
        fs::write(place.path().join(DESCRIPTION), "{ \"a\":\n1 }\n").unwrap();
        commit(place.path());
        assert_eq!(decide("{\"a\": 1}", false).unwrap(), None);
        assert_eq!(decide("{\"a\": 1}", true).unwrap(), None);
        let said = decide("{\"a\": 2}", false).unwrap_err().to_string();
        assert!(said.contains("--take-platform"), "{said}");
        assert_eq!(decide("{\"a\": 2}", true).unwrap().unwrap(), b"{\"a\": 2}");
        fs::remove_file(place.path().join("flake.lock")).unwrap();
        commit(place.path());
        assert!(decide("{\"a\": 1}", true).unwrap_err().to_string().contains("flake.lock"));
    }
}
