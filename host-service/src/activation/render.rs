//! What a toplevel derives from `host.toml`: `/etc` and what stage 1 is told.
//!
//! Runs while the toplevel is built, so that Nix stays small and this stays tested.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bedplate_spec::boot::{BOOT_FILE, Boot, Unlock};
use bedplate_spec::host::{HostFile, Media};
use bedplate_spec::identity::{Purpose, derive, mapper_name};

use super::{ActivationError, file, make_directory, read_host, units};
use crate::bridge;

/// A file or a link below `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file with its content.
    Text(String),
    /// A link to somewhere.
    Link(String),
}

/// Path below `/etc` to what stands there.
pub type Entries = BTreeMap<String, Entry>;

/// The command `render`: writes `etc/` and `initrd/` below `out`.
pub fn command(document: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let host = read_host(document)?;
    let text = fs::read_to_string(document)?;
    let mut entries = entries(&host);
    entries.insert("bedplate/host.toml".to_owned(), Entry::Text(text));
    for (path, entry) in entries {
        write(&out.join("etc").join(path), &entry)?;
    }
    let boot = serde_json::to_string_pretty(&boot(&host))?;
    let path = out.join("initrd").join(BOOT_FILE.trim_start_matches('/'));
    write(&path, &Entry::Text(boot + "\n"))?;
    Ok(())
}

fn write(path: &Path, entry: &Entry) -> Result<(), ActivationError> {
    if let Some(parent) = path.parent() {
        make_directory(parent, 0o755)?;
    }
    match entry {
        Entry::Text(text) => fs::write(path, text).map_err(file("write", path)),
        Entry::Link(target) => symlink(target, path).map_err(file("link", path)),
    }
}

/// What stage 1 is told.
pub fn boot(host: &HostFile) -> Boot {
    let role = &host.os.disk;
    let discard = host.disks.get(role).is_some_and(|disk| disk.media == Media::Ssd);
    Boot::Unlock(Unlock {
        luks_uuid: derive(host.host.id, Purpose::Luks, role, 0),
        mapper: mapper_name(role),
        discard,
        sticks: host.unlock.sticks.iter().map(|stick| stick.volume_id.clone()).collect(),
        keyfile: host.unlock.keyfile.clone(),
        timeout_seconds: host.unlock.timeout_seconds,
        subvolumes: host.os.subvolumes.clone(),
    })
}

/// Everything below `/etc` but `bedplate/host.toml`.
pub fn entries(host: &HostFile) -> Entries {
    let mut entries = Entries::new();
    let mut text = |path: &str, content: String| {
        entries.insert(path.to_owned(), Entry::Text(content));
    };
    let name = &host.host.name;
    text("hostname", format!("{name}\n"));
    text("hosts", format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n"));
    text("locale.conf", format!("LANG={}\n", host.host.locale));
    text("default/locale", format!("LANG={}\n", host.host.locale));
    text("environment", ENVIRONMENT.to_owned());
    text("nix/nix.conf", NIX.to_owned());
    text("fstab", fstab(host));
    text("ssh/sshd_config.d/10-bedplate.conf", SSHD.to_owned());
    for (user, account) in &host.host.users {
        let keys = account.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
        text(&format!("ssh/authorized_keys.d/{user}"), keys);
    }
    for (path, content) in bridge::files(host) {
        text(&path, content);
    }
    let zone = format!("/usr/share/zoneinfo/{}", host.host.timezone);
    entries.insert("localtime".to_owned(), Entry::Link(zone));
    units::add(host, &mut entries);
    entries
}

const ENVIRONMENT: &str = "PATH=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/programs/bin\"\n";

const NIX: &str = "experimental-features = nix-command flakes\nbuild-users-group =\nsandbox = true\nsandbox-fallback = false\nsubstituters =\nwarn-dirty = false\n";

const SSHD: &str = "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u\n";

/// Only the ESP: stage 1 mounts the OS disk, pools stand in no fstab.
fn fstab(host: &HostFile) -> String {
    let esp = derive(host.host.id, Purpose::GptEsp, &host.os.disk, 0);
    format!("PARTUUID={esp} /boot vfat umask=0077,nofail 0 2\n")
}

#[cfg(test)]
mod tests;
