//! The tree: a Debian root file system as a store path may be: regular files, directories
//! and links, everything root's and readable by all, and nothing secret or of one machine.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use crate::error::{Error, file, unfit};

/// Directories that stay, empty.
const EMPTY_DIRECTORIES: &[&str] = &[
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "var/tmp",
    "var/cache",
    "var/log",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "root",
    "boot/grub",
];

/// Files that go: state of one machine, or of no use in a tree that never changes.
const DROPPED: &[&str] = &[
    "etc/.pwd.lock",
    "etc/hostname",
    "etc/passwd-",
    "etc/shadow-",
    "etc/group-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "initrd.img",
    "initrd.img.old",
    "vmlinuz",
    "vmlinuz.old",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/dpkg/lock",
    "var/lib/systemd/credential.secret",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/triggers/Lock",
];

/// Beginnings of the names of further files that go.
const DROPPED_PREFIXES: &[&str] = &["etc/ssh/ssh_host_", "boot/initrd.img", "boot/System.map"];

/// Files that packages hide from other users although they hold nothing secret as delivered.
const HARMLESS: &[&str] = &["etc/shadow", "etc/gshadow", "etc/security/opasswd", "etc/libvirt/"];

/// Directories that are made when the packages did not.
const MADE: &[&str] = &["nix", "mnt"];

#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Empty,
    Drop,
}

/// Unpacks the tar of a root file system into `root`, which must not exist, and cleans it.
pub(crate) fn unpack(stream: &mut dyn Read, root: &Path) -> Result<(), Error> {
    fs::create_dir_all(root).map_err(file("make", root))?;
    let mut archive = tar::Archive::new(io::BufReader::with_capacity(1 << 20, stream));
    let (mut links, mut hidden) = (Vec::new(), Vec::new());
    for entry in archive.entries().map_err(file("read packages into", root))? {
        let mut entry = entry.map_err(file("read packages into", root))?;
        let name = entry.path().map_err(file("read packages into", root))?.into_owned();
        let Some(path) = relative(&name) else {
            return Err(unfit("the tree has a file named", &name, "it leaves the tree"));
        };
        let kind = entry.header().entry_type();
        let fate = fate(&path, kind);
        if fate == Fate::Drop {
            continue;
        }
        let mode = entry.header().mode().unwrap_or(0);
        let target = root.join(&path);
        match kind {
            EntryType::Directory => make_directory(&target)?,
            EntryType::Regular | EntryType::Continuous => {
                if mode & 0o004 == 0 && fate == Fate::Keep && !harmless(&path) {
                    hidden.push(path.display().to_string());
                }
                write(&mut entry, &target, mode, &fate)?;
            }
            EntryType::Symlink => link(&entry, &target)?,
            EntryType::Link => links.push((target, linked(&entry, root)?)),
            other => {
                return Err(unfit("the tree holds", &path, format!("a special file ({other:?})")));
            }
        }
    }
    if !hidden.is_empty() {
        return Err(unfit("the tree at", root, format!("not readable by all: {hidden:?}")));
    }
    for (target, source) in links {
        fs::hard_link(&source, &target).map_err(file("link", &target))?;
    }
    for directory in MADE {
        make_directory(&root.join(directory))?;
    }
    locked_accounts(root)?;
    seal(root)
}

fn relative(name: &Path) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

fn fate(path: &Path, kind: EntryType) -> Fate {
    let text = path.to_string_lossy();
    let below = |directory: &&&str| path.starts_with(directory) && path != Path::new(directory);
    if EMPTY_DIRECTORIES.iter().find(below).is_some()
        || DROPPED.contains(&text.as_ref())
        || DROPPED_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || (text == "etc/resolv.conf" && kind == EntryType::Regular)
    {
        return Fate::Drop;
    }
    if text == "etc/machine-id" { Fate::Empty } else { Fate::Keep }
}

fn harmless(path: &Path) -> bool {
    let text = path.to_string_lossy();
    HARMLESS.iter().any(|known| text == *known || (known.ends_with('/') && text.starts_with(known)))
}

fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(file("make", path))
}

fn write(entry: &mut impl Read, target: &Path, mode: u32, fate: &Fate) -> Result<(), Error> {
    let mut output = File::create_new(target).map_err(file("make", target))?;
    if *fate == Fate::Keep {
        io::copy(entry, &mut output).map_err(file("write", target))?;
    }
    let mode = if mode & 0o100 == 0 { 0o444 } else { 0o555 };
    output.set_permissions(Permissions::from_mode(mode)).map_err(file("write", target))
}

fn link<R: Read>(entry: &tar::Entry<'_, R>, target: &Path) -> Result<(), Error> {
    let destination = entry.link_name().map_err(file("read the link", target))?;
    let destination = destination.ok_or_else(|| unfit("the link", target, "points nowhere"))?;
    symlink(destination, target).map_err(file("make", target))
}

fn linked<R: Read>(entry: &tar::Entry<'_, R>, root: &Path) -> Result<PathBuf, Error> {
    let name = entry.link_name().map_err(file("read a hard link in", root))?;
    let path = name.as_deref().and_then(relative);
    Ok(root.join(path.ok_or_else(|| unfit("a hard link in", root, "leaves the tree"))?))
}

/// Fails when an account can be entered with a password.
fn locked_accounts(root: &Path) -> Result<(), Error> {
    for name in ["etc/shadow", "etc/gshadow"] {
        let path = root.join(name);
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        if let Some(account) = text.lines().find_map(unlocked) {
            return Err(unfit("the accounts in", &path, format!("`{account}` is not locked")));
        }
    }
    Ok(())
}

fn unlocked(line: &str) -> Option<&str> {
    let mut fields = line.split(':');
    let (name, password) = (fields.next()?, fields.next()?);
    (!password.starts_with(['*', '!'])).then_some(name)
}

/// Takes write permission from every directory.
fn seal(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(file("list", directory))? {
        let entry = entry.map_err(file("list", directory))?;
        if entry.file_type().map_err(file("look at", &entry.path()))?.is_dir() {
            seal(&entry.path())?;
        }
    }
    let mode = Permissions::from_mode(0o555);
    fs::set_permissions(directory, mode).map_err(file("seal", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, EntryType, u32, &str)]) -> Result<tempfile::TempDir, Error> {
        let mut builder = tar::Builder::new(Vec::new());
        let shadow = ("./etc/shadow", EntryType::Regular, 0o640, "root:*:1\n");
        let gshadow = ("./etc/gshadow", EntryType::Regular, 0o640, "root:*::\n");
        let etc = ("./etc", EntryType::Directory, 0o755, "");
        for (path, kind, mode, content) in [etc, gshadow].iter().chain(entries).chain([&shadow]) {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            header.set_size(if link { 0 } else { content.len() as u64 });
            if link {
                builder.append_link(&mut header, path, content).unwrap();
            } else {
                builder.append_data(&mut header, path, content.as_bytes()).unwrap();
            }
        }
        let bytes = builder.into_inner().unwrap();
        let directory = tempfile::tempdir().unwrap();
        unpack(&mut bytes.as_slice(), &directory.path().join("root"))?;
        Ok(directory)
    }

    fn mode(path: PathBuf) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn modes_are_those_of_a_store_path() {
        let made = tree(&[
            ("./usr", EntryType::Directory, 0o700, ""),
            ("./usr/su", EntryType::Regular, 0o4755, "x"),
            ("./usr/text", EntryType::Regular, 0o644, "x"),
            ("./usr/sh", EntryType::Symlink, 0o777, "su"),
            ("./usr/same", EntryType::Link, 0o4755, "./usr/su"),
        ])
        .unwrap();
        let root = made.path().join("root");
        assert_eq!(mode(root.join("usr")), 0o555);
        assert_eq!(mode(root.join("usr/su")), 0o555);
        assert_eq!(mode(root.join("usr/text")), 0o444);
        assert_eq!(mode(root.join("etc/shadow")), 0o444);
        assert_eq!(fs::read_link(root.join("usr/sh")).unwrap(), Path::new("su"));
        assert_eq!(fs::read(root.join("usr/same")).unwrap(), b"x");
    }

    #[test]
    fn t26_nothing_of_one_machine_stays() {
        let made = tree(&[
            ("./etc/machine-id", EntryType::Regular, 0o444, "0123456789abcdef\n"),
            ("./etc/ssh", EntryType::Directory, 0o755, ""),
            ("./etc/ssh/ssh_host_rsa_key", EntryType::Regular, 0o600, "secret"),
            ("./dev", EntryType::Directory, 0o755, ""),
            ("./dev/null", EntryType::Char, 0o666, ""),
        ])
        .unwrap();
        let root = made.path().join("root");
        assert_eq!(fs::read(root.join("etc/machine-id")).unwrap(), b"");
        assert!(!root.join("etc/ssh/ssh_host_rsa_key").exists());
        assert_eq!(fs::read_dir(root.join("dev")).unwrap().count(), 0);
    }

    #[test]
    fn t19_a_hidden_file_that_is_not_known_to_be_harmless_fails() {
        let error = tree(&[("./etc/key", EntryType::Regular, 0o600, "x")]).unwrap_err();
        assert!(error.to_string().contains("etc/key"), "{error}");
        assert!(tree(&[("./etc/fifo", EntryType::Fifo, 0o644, "")]).is_err());
    }

    #[test]
    fn t19_an_account_with_a_password_fails() {
        assert_eq!(unlocked("root:$y$hash:1:"), Some("root"));
        assert_eq!(unlocked("root::1:"), Some("root"));
        assert_eq!(unlocked("root:!*:1:"), None);
    }

    #[test]
    fn t32_an_entry_outside_the_tree_is_refused() {
        assert_eq!(relative(Path::new("./usr/../../etc")), None);
        assert_eq!(relative(Path::new("./usr/bin")), Some(PathBuf::from("usr/bin")));
    }
}
