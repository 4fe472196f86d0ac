//! Activation: what a toplevel makes of the root it is started in.
//!
//! Runs in the installer's chroot and at every boot before systemd. `/usr` is bound by `init`,
//! so nothing here needs a program of the tree.

pub mod accounts;
pub mod copy;
pub mod kept;
pub mod manifest;
pub mod memberships;
pub mod variable;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_model::host::HostFile;

use accounts::Databases;

use crate::intent::{self, IntentError};

/// An activation that failed.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// A file.
    #[error("could not {action} {}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said when it was found, read, made, replaced or removed.
        #[source]
        source: io::Error,
    },
    /// The toplevel's `host.toml`.
    #[error(transparent)]
    Intent(#[from] IntentError),
}

pub(crate) fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ActivationError + 'a {
    move |source| ActivationError::File { action, path: path.to_owned(), source }
}

/// What an activation found that its owner should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files under `/etc` that were changed by hand and left alone.
    pub kept: Vec<PathBuf>,
    /// Everything else.
    pub notes: Vec<String>,
}

/// Directories of a root and their modes.
const DIRECTORIES: &[(&str, u32)] = &[
    ("boot", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
];

/// The running system's toplevel.
const RUNNING: &str = "run/current-system";

/// What stands here is never collected; a link to a link is followed (Nix manual, "Garbage Collector
/// Roots").
const COLLECTION_ROOTS: &str = "nix/var/nix/gcroots";

/// Links of a root into `/usr`.
const LINKS: &[&str] = &["bin", "sbin", "lib", "lib64"];

/// Makes `root` what `toplevel` (a path as seen from this process) describes.
pub fn activate(root: &Path, toplevel: &Path) -> Result<Report, ActivationError> {
    let host = intent::read(&toplevel.join("host.toml"))?;
    let tree = toplevel.join("tree");
    make_skeleton(root)?;
    let etc = root.join("etc");
    let state = root.join("var/lib/bedplate");
    make_directory(&state, 0o755)?;
    let sources = [tree.join("etc"), toplevel.join("etc")];
    let kept = manifest::apply(&etc, &sources, &state.join("etc-manifest.json"))?;
    copy::directories(&tree.join("etc"), &etc)?;
    let record = state.join("memberships.json");
    let (databases, mut notes) = merge_accounts(&etc, &tree.join("etc"), &host, &record)?;
    make_homes(root, &databases, &host)?;
    variable::populate(root, &tree, &databases)?;
    ensure_machine_id(&etc)?;
    replace_link(&root.join(RUNNING), toplevel)?;
    notes.extend(
        keep_from_collection(root)
            .err()
            .map(|error| format!("Nix's garbage collection may take the running system: {error}")),
    );
    Ok(Report { kept, notes })
}

/// The profile names what boots next, which may be another system than the one that runs: without
/// a root of its own a collection takes that one's `/usr` away, and what a failed boot goes back to.
fn keep_from_collection(root: &Path) -> Result<(), ActivationError> {
    let roots = root.join(COLLECTION_ROOTS);
    make_directory(&roots, 0o755)?;
    replace_link(&roots.join("current-system"), &Path::new("/").join(RUNNING))
}

fn make_skeleton(root: &Path) -> Result<(), ActivationError> {
    for (name, mode) in DIRECTORIES {
        let path = root.join(name);
        if !path.is_dir() {
            make_directory(&path, *mode)?;
        }
    }
    for name in LINKS {
        let path = root.join(name);
        if fs::symlink_metadata(&path).is_err() {
            symlink(Path::new("usr").join(name), &path).map_err(file("link", &path))?;
        }
    }
    Ok(())
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), ActivationError> {
    fs::create_dir_all(path).map_err(file("make", path))?;
    set_mode(path, mode)
}

pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), ActivationError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(file("set the mode of", path))
}

/// Makes `path` a link to `target` without a moment at which there is none.
pub(crate) fn replace_link(path: &Path, target: &Path) -> Result<(), ActivationError> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(".bedplate-new");
    let staged = PathBuf::from(staged);
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(file("remove", &staged)(error));
        }
        _ => {}
    }
    symlink(target, &staged).map_err(file("link", &staged))?;
    fs::rename(&staged, path).map_err(file("replace", path))
}

/// Replaces `path` by `content` as a whole.
pub(crate) fn replace_file(path: &Path, content: &[u8], mode: u32) -> Result<(), ActivationError> {
    let write = || -> io::Result<()> {
        let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut staged = tempfile::NamedTempFile::new_in(directory)?;
        io::Write::write_all(&mut staged, content)?;
        staged.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        staged.as_file().sync_all()?;
        staged.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(file("write", path))
}

fn merge_accounts(
    etc: &Path,
    tree: &Path,
    host: &HostFile,
    record: &Path,
) -> Result<(Databases, Vec<String>), ActivationError> {
    let (current, tree) = (Databases::read(etc)?, Databases::read(tree)?);
    let (given, wanted) = (memberships::read(record)?, memberships::wanted(&host.host.users));
    let mut left = current.clone();
    memberships::take_back(&mut left, &tree, &given, &wanted);
    let (merged, notes) = accounts::merge(&left, &tree, &host.host.users);
    let now = memberships::given(&wanted, &given, &left, &merged);
    if given != now {
        memberships::write(record, &memberships::union(&given, &now))?;
    }
    if merged != current {
        merged.write(etc)?;
    }
    if given != now {
        memberships::write(record, &now)?;
    }
    Ok((merged, notes))
}

fn make_homes(root: &Path, databases: &Databases, host: &HostFile) -> Result<(), ActivationError> {
    for name in host.host.users.keys().filter(|name| *name != "root") {
        let home = root.join("home").join(name);
        if home.exists() {
            continue;
        }
        make_directory(&home, 0o700)?;
        if let Some((user, group)) = databases.user(name) {
            variable::change_owner(&home, user, group)?;
        }
    }
    Ok(())
}

/// An empty one is filled by systemd; an existing one is never touched.
fn ensure_machine_id(etc: &Path) -> Result<(), ActivationError> {
    let path = etc.join("machine-id");
    if path.exists() {
        return Ok(());
    }
    replace_file(&path, b"", 0o444)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(groups: &[&str]) -> HostFile {
        let mut host = bedplate_sample::intent();
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let user = bedplate_model::host::User { ssh_keys: Vec::new(), groups };
        host.host.users = [("admin".to_owned(), user)].into();
        host
    }

    #[test]
    fn a_group_that_host_toml_no_longer_gives_is_taken_back_and_one_given_by_hand_stays() {
        let place = tempfile::tempdir().unwrap();
        let (etc, tree) = (place.path().join("etc"), place.path().join("tree"));
        let record = place.path().join("memberships.json");
        [&etc, &tree].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        fs::write(tree.join("group"), "kvm:x:993:\nlibvirt:x:990:\nvideo:x:44:admin\n").unwrap();
        let merge = |groups: &[&str]| {
            merge_accounts(&etc, &tree, &saying(groups), &record).unwrap();
            fs::read_to_string(etc.join("group")).unwrap()
        };
        assert_eq!(
            merge(&["kvm", "libvirt", "video"]),
            "kvm:x:993:admin\nlibvirt:x:990:admin\nvideo:x:44:admin\nadmin:x:1000:\n"
        );
        // What the tree has is its own; what was there by hand before it was asked for stays.
        let record_says = || memberships::read(&record).unwrap();
        assert_eq!(record_says()["admin"], ["kvm", "libvirt", "video"].map(str::to_owned).into());
        // By hand, as usermod writes it.
        for name in ["group", "gshadow"] {
            let text = fs::read_to_string(etc.join(name)).unwrap();
            fs::write(etc.join(name), format!("{text}render:*::admin\n")).unwrap();
        }
        let after = merge(&["kvm"]);
        assert_eq!(
            after,
            "kvm:x:993:admin\nlibvirt:x:990:\nvideo:x:44:admin\nadmin:x:1000:\nrender:*::admin\n"
        );
        let hidden = fs::read_to_string(etc.join("gshadow")).unwrap();
        assert!(hidden.contains("libvirt:*::\n") && hidden.contains("kvm:*::admin\n"), "{hidden}");
        assert!(merge(&["kvm", "render"]).contains("render:*::admin\n"));
        assert_eq!(record_says()["admin"], ["kvm".to_owned()].into());
        assert!(merge(&["kvm"]).contains("render:*::admin\n"), "it was there by hand");
        // A user that is gone from host.toml keeps the account, for its files, and no group.
        let mut nobody = saying(&[]);
        nobody.host.users.clear();
        merge_accounts(&etc, &tree, &nobody, &record).unwrap();
        let groups = fs::read_to_string(etc.join("group")).unwrap();
        assert!(
            groups.contains("kvm:x:993:\n") && groups.contains("render:*::admin\n"),
            "{groups}"
        );
        assert!(fs::read_to_string(etc.join("passwd")).unwrap().contains("admin:x:1000"));
    }

    #[test]
    fn f1_a_group_is_taken_back_whichever_file_a_power_cut_has_left() {
        let place = tempfile::tempdir().unwrap();
        let (etc, tree) = (place.path().join("etc"), place.path().join("tree"));
        let record = place.path().join("memberships.json");
        [&etc, &tree].into_iter().for_each(|path| fs::create_dir(path).unwrap());
        fs::write(tree.join("group"), "kvm:x:993:\n").unwrap();
        // Cut off between the databases and the record of them.
        let wanted = memberships::wanted(&saying(&["kvm"]).host.users);
        memberships::write(&record, &memberships::union(&memberships::Memberships::new(), &wanted))
            .unwrap();
        let (merged, _) = accounts::merge(
            &Databases::default(),
            &Databases::read(&tree).unwrap(),
            &saying(&["kvm"]).host.users,
        );
        merged.write(&etc).unwrap();
        merge_accounts(&etc, &tree, &saying(&[]), &record).unwrap();
        let groups = fs::read_to_string(etc.join("group")).unwrap();
        assert!(groups.starts_with("kvm:x:993:\n"), "{groups}");
        // What is not understood names nobody and stops no boot.
        fs::write(&record, "{").unwrap();
        merge_accounts(&etc, &tree, &saying(&["kvm"]), &record).unwrap();
    }

    #[test]
    fn the_running_system_is_a_root_of_the_collector_though_the_profile_names_another() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            keep_from_collection(root.path()).unwrap();
        }
        let link = root.path().join("nix/var/nix/gcroots/current-system");
        assert_eq!(fs::read_link(link).unwrap(), Path::new("/run/current-system"));
    }
}
