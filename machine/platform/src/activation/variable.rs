//! `/var`: copied from the tree once; owners by name, there and in `/etc`.

use std::fs;
use std::path::Path;

use rustix::fs::{Gid, Uid};

use super::accounts::Databases;
use super::{ActivationError, copy, file, make_directory, replace_file, set_mode};

/// Which tree `/var` was last completed from.
const RECORD: &str = "var/lib/bedplate/var-from";

/// What Debian's packages own: path, user, group, mode. The store keeps none of it.
const OWNERS: &[(&str, &str, &str, u32)] = &[
    ("etc/credstore", "root", "root", 0o700),
    ("etc/credstore.encrypted", "root", "root", 0o700),
    ("etc/polkit-1/rules.d", "root", "polkitd", 0o750),
    ("etc/ssl/private", "root", "root", 0o700),
    ("var/tmp", "root", "root", 0o1777),
    ("var/cache/apt/archives/partial", "_apt", "root", 0o700),
    ("var/cache/ldconfig", "root", "root", 0o700),
    ("var/lib/apt/lists/partial", "_apt", "root", 0o700),
    ("var/lib/machines", "root", "root", 0o700),
    ("var/lib/portables", "root", "root", 0o700),
    ("var/lib/systemd/network", "systemd-network", "systemd-network", 0o755),
    ("var/log/journal", "root", "systemd-journal", 0o2755),
    ("var/local", "root", "staff", 0o2775),
    ("var/mail", "root", "mail", 0o2775),
    ("var/lib/private", "root", "root", 0o700),
    ("var/cache/private", "root", "root", 0o700),
    ("var/log/private", "root", "root", 0o700),
    ("var/lib/nfs", "root", "root", 0o755),
    ("var/lib/nfs/sm", "statd", "nogroup", 0o700),
    ("var/lib/nfs/sm.bak", "statd", "nogroup", 0o700),
    ("var/lib/nfs/state", "statd", "root", 0o644),
    ("var/lib/libvirt/boot", "root", "root", 0o711),
    ("var/lib/libvirt/images", "root", "root", 0o711),
    ("var/lib/libvirt/qemu", "libvirt-qemu", "libvirt-qemu", 0o750),
    ("var/lib/libvirt/swtpm", "root", "root", 0o711),
    ("var/lib/swtpm-localca", "tss", "root", 0o750),
    ("var/cache/libvirt/qemu", "libvirt-qemu", "libvirt-qemu", 0o750),
    ("var/log/swtpm/libvirt/qemu", "libvirt-qemu", "libvirt-qemu", 0o730),
    ("var/log/btmp", "root", "utmp", 0o660),
    ("var/log/wtmp", "root", "utmp", 0o664),
    ("var/log/lastlog", "root", "utmp", 0o664),
];

/// Completes `/var` when the tree is another one than the last time.
pub fn populate(root: &Path, tree: &Path, accounts: &Databases) -> Result<(), ActivationError> {
    let identity = fs::canonicalize(tree).map_err(file("find", tree))?;
    let record = root.join(RECORD);
    let identity = identity.to_string_lossy();
    if fs::read_to_string(&record).is_ok_and(|found| found == identity) {
        return Ok(());
    }
    copy::missing(&tree.join("var"), &root.join("var"))?;
    for (path, user, group, mode) in OWNERS {
        let path = root.join(path);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_symlink()) {
            let user = accounts.user(user).map_or(0, |(user, _)| user);
            change_owner(&path, user, accounts.group(group).unwrap_or(0))?;
            set_mode(&path, *mode)?;
        }
    }
    make_directory(&root.join("var/lib/bedplate"), 0o755)?;
    replace_file(&record, identity.as_bytes(), 0o644)
}

/// Gives `path` away. What is owned so already is not touched.
pub fn change_owner(path: &Path, user: u32, group: u32) -> Result<(), ActivationError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(path).map_err(file("look at", path))?;
    if (metadata.uid(), metadata.gid()) == (user, group) {
        return Ok(());
    }
    rustix::fs::chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
        .map_err(|errno| file("change the owner of", path)(errno.into()))
}
