//! References between sections: what one section names must stand in another.
//!
//! Empty strings stand for values already reported, and are passed over.

mod bridges;
mod disks;
mod machines;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::problem::quote;
use super::section::{Decoder, nearest};
use bedplate_events::shown::listed;
use bedplate_model::host::{Backup, Derivation, HostFile, Pool, Recovery, SecretReference};
use bedplate_model::name::PoolName;

/// Directories that are never the mount of a pool, nor hold one.
const RESERVED: [&str; 13] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/nix", "/proc", "/run", "/sbin", "/sys",
    "/tmp", "/usr",
];

/// Checks every reference and fills in what follows from them.
pub(super) fn resolve(decoder: &Decoder<'_>, host: &mut HostFile) {
    let report = Report { decoder, reported: decoder.reported(), guesses: Cell::new(GUESSES) };
    report.disks(host);
    report.subvolumes(host);
    report.mounts(host);
    report.unlock(host);
    report.bridges(host);
    report.guests(host);
    let pools = host.pools.clone();
    for (name, vm) in &mut host.vms {
        report.vm(name, vm, &pools);
    }
    report.mac_addresses(host);
    report.exports(host);
    report.backups(host);
    report.machine_directories(host);
    report.restore(host);
    report.notify(host);
    report.push(host);
}

/// The pools by their mounts.
struct Mounts<'p> {
    pools: BTreeMap<&'p str, &'p PoolName>,
    /// Whether the mount of one is reported, and may be anywhere.
    is_one_unknown: bool,
}

impl<'p> Mounts<'p> {
    fn of(pools: &'p BTreeMap<PoolName, Pool>) -> Self {
        let known = pools.iter().filter(|(_, pool)| !pool.mount.is_empty());
        let known: BTreeMap<_, _> = known.map(|(name, pool)| (pool.mount.as_str(), name)).collect();
        Self { pools: known, is_one_unknown: pools.values().any(|pool| pool.mount.is_empty()) }
    }

    /// The pool whose mount holds `path`.
    fn pool_of(&self, path: &str) -> Option<&'p PoolName> {
        around_directory(path).find_map(|directory| self.pools.get(directory).copied())
    }
}

/// The directory itself, and every one that it lies in, but for `/`.
fn around_directory(path: &str) -> impl Iterator<Item = &str> {
    let outer = |path: &&'_ str| path.rfind('/').filter(|end| *end > 0);
    std::iter::successors(Some(path), move |path| outer(path).map(|end| &path[..end]))
}

/// Whether `path` is `directory` or lies below it.
fn within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The key itself, and every section around it, from the inside out.
fn around(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|end| &path[..end]))
}

struct Report<'d> {
    decoder: &'d Decoder<'d>,
    /// What could not be decoded: nothing more is said about it.
    reported: BTreeSet<String>,
    /// How many more names are compared with mistyped ones.
    guesses: Cell<usize>,
}

/// So many names are compared with mistyped ones in a document, which would otherwise take long
/// when many are named and many are mistyped.
const GUESSES: usize = 100_000;

impl Report<'_> {
    fn wrong(&self, path: &str, message: String, help: impl Into<String>) {
        if !around(path).any(|section| self.reported.contains(section)) {
            self.decoder.report(path, format!("`{path}`: {message}"), help.into());
        }
    }

    /// Whether something at or below `path` could not be decoded.
    fn incomplete(&self, path: &str) -> bool {
        let below = |sign: char| {
            let start = format!("{path}{sign}");
            let next = self.reported.range(start.clone()..).next();
            next.is_some_and(|reported| reported.starts_with(&start))
        };
        self.reported.contains(path) || below('.') || below('[')
    }

    /// What a mistyped name may have meant, or what there is.
    fn known<'n, N: AsRef<str> + Display + 'n>(
        &self,
        names: impl ExactSizeIterator<Item = &'n N> + Clone,
        wanted: &str,
    ) -> String {
        let left = self.guesses.get().checked_sub(names.len());
        let near = left.and_then(|left| {
            self.guesses.set(left);
            let names: Vec<&str> = names.clone().map(AsRef::as_ref).collect();
            nearest(wanted, &names)
        });
        match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if names.len() == 0 => "there is none".into(),
            None => format!("there are: {}", listed(names, ", ")),
        }
    }

    fn subvolumes(&self, host: &HostFile) {
        let mut mounts: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, mount) in &host.os.subvolumes {
            let path = format!("os.subvolumes.{name}");
            if let Some(first) = mounts.insert(mount, name) {
                self.wrong(
                    &path,
                    format!("\"{first}\" is mounted at {mount} too"),
                    "give each a mount point of its own",
                );
            }
            let system =
                RESERVED.iter().any(|reserved| *reserved != "/nix" && within(mount, reserved));
            if system || (mount != "/nix" && within(mount, "/nix")) {
                self.wrong(
                    &path,
                    format!("{mount} belongs to the system"),
                    "choose another mount point",
                );
            }
        }
        for wanted in ["/", "/nix"].iter().filter(|wanted| !mounts.contains_key(*wanted)) {
            let help = "write { root = \"/\", home = \"/home\", nix = \"/nix\" }";
            self.wrong("os.subvolumes", format!("no subvolume is mounted at {wanted}"), help);
        }
    }

    fn mounts(&self, host: &HostFile) {
        let pools: Vec<_> = host.pools.iter().filter(|(_, pool)| !pool.mount.is_empty()).collect();
        let mut by_mount: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, (_, pool)) in pools.iter().enumerate() {
            by_mount.entry(&pool.mount).or_insert(index);
        }
        for (index, (name, pool)) in pools.iter().enumerate() {
            let path = format!("pools.{name}.mount");
            let of_system = RESERVED.iter().any(|reserved| within(&pool.mount, reserved))
                || host.os.subvolumes.values().any(|mount| mount == &pool.mount)
                || matches!(
                    pool.mount.as_str(),
                    "/mnt" | "/var" | "/var/lib" | "/root" | "/opt" | "/srv" | "/home"
                );
            if of_system {
                let help = format!("write \"/mnt/{name}\"");
                self.wrong(&path, format!("{} belongs to the system", pool.mount), help);
            }
            let nested = around_directory(&pool.mount).filter_map(|outer| by_mount.get(outer));
            for other in nested.filter(|other| **other != index) {
                let (inner, other) = (index.max(*other), index.min(*other));
                let (name, pool) = pools[inner];
                let message = format!(
                    "{} and the mount of `pools.{}` lie in each other",
                    pool.mount, pools[other].0
                );
                let path = format!("pools.{name}.mount");
                self.wrong(&path, message, format!("write \"/mnt/{name}\""));
            }
        }
    }

    fn unlock(&self, host: &HostFile) {
        let unlock = &host.unlock;
        if unlock.sticks.is_empty() {
            let help = "write `[[unlock.sticks]]` with `volume_id = \"1A2B-3C4D\"`";
            self.wrong("unlock.sticks", "no key stick is named".into(), help);
        }
        for (index, stick) in unlock.sticks.iter().enumerate() {
            let path = format!("unlock.sticks[{index}]");
            let earlier = &unlock.sticks[..index];
            if !stick.volume_id.is_empty()
                && earlier.iter().any(|other| other.volume_id == stick.volume_id)
            {
                let message = format!("{} is another stick's already", stick.volume_id);
                self.wrong(
                    &format!("{path}.volume_id"),
                    message,
                    "each stick has its own volume id",
                );
            }
            let Some(id) = &stick.id else { continue };
            if earlier.iter().any(|other| other.id.as_ref() == Some(id)) {
                let message = format!("{} is another stick's already", quote(id));
                let help = "each stick has a name of its own under /dev/disk/by-id";
                self.wrong(&format!("{path}.id"), message, help);
            }
            if let Some((role, _)) = host.disks.iter().find(|(_, disk)| &disk.id == id) {
                let message = format!("{} is the id of `disks.{role}`", quote(id));
                self.wrong(&format!("{path}.id"), message, "a key stick is no disk of the machine");
            }
        }
        if unlock.recovery == Recovery::Prompt && host.install.unattended {
            let help = "write `recovery = { stick = \"bedplate/recovery\" }`, or `install.unattended = false`";
            self.wrong(
                "unlock.recovery",
                "nobody answers a prompt in an unattended installation".into(),
                help,
            );
        }
        if unlock.recovery == Recovery::Prompt && unlock.derivation == Derivation::Minimal {
            self.wrong(
                "unlock.derivation",
                "a passphrase that somebody types is no generated one".into(),
                "leave `derivation` out, or write `recovery = { stick = \"bedplate/recovery\" }`",
            );
        }
        if unlock.recovery == Recovery::Stick(unlock.keyfile.clone()) {
            self.wrong(
                "unlock.recovery",
                "this is the path of the keyfile".into(),
                "choose another path",
            );
        }
    }

    /// Over anything but ssh there is no key to push with, and none to know the remote by.
    fn push(&self, host: &HostFile) {
        if host.flake.push.is_none() || self.incomplete("flake") {
            return;
        }
        let help = "write `flake.remote` as `git@host:path` or `ssh://…`";
        match &host.flake.remote {
            None => self.wrong("flake.push", "there is no remote to push to".into(), help),
            Some(remote) if remote.contains("://") && !remote.starts_with("ssh://") => {
                self.wrong(
                    "flake.push",
                    format!("{} is not reached over ssh", quote(remote)),
                    help,
                );
            }
            Some(_) => {}
        }
    }

    fn exports(&self, host: &mut HostFile) {
        let lan = host.network.lan_cidr;
        let mounts = Mounts::of(&host.pools);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for (index, export) in host.nfs.exports.iter_mut().enumerate() {
            let path = format!("nfs.exports[{index}].path");
            if export.clients.is_empty() {
                export.clients.push(lan);
            }
            if export.path.is_empty() {
                continue;
            }
            match mounts.pool_of(&export.path) {
                Some(pool) => export.pool = pool.clone(),
                None => self.outside(&path, &export.path, &mounts),
            }
            if seen.contains(&export.path) {
                self.wrong(
                    &path,
                    format!("{} is exported already", export.path),
                    "put all clients into one export",
                );
            }
            seen.insert(export.path.clone());
        }
    }

    fn outside(&self, key: &str, path: &str, mounts: &Mounts<'_>) {
        if mounts.is_one_unknown {
            return; // That pool's mount is reported; the path may well be in it.
        }
        let help = if mounts.pools.is_empty() {
            "declare a pool first: `[pools.<name>]`".to_owned()
        } else {
            format!("choose a directory below {}", listed(mounts.pools.keys(), " or "))
        };
        self.wrong(key, format!("{path} is in no pool"), help);
    }

    fn backups(&self, host: &mut HostFile) {
        let taken = match &host.unlock.recovery {
            Recovery::Stick(path) => vec![host.unlock.keyfile.clone(), path.clone()],
            Recovery::Prompt => vec![host.unlock.keyfile.clone()],
        };
        let generated = host.stick_secrets();
        let mounts = Mounts::of(&host.pools);
        for (name, backup) in &mut host.backups {
            let key = format!("backups.{name}");
            if backup.repository.starts_with('/') {
                backup.repository_pool = mounts.pool_of(&backup.repository).cloned();
                if backup.repository_pool.is_none() {
                    self.outside(&format!("{key}.repository"), &backup.repository, &mounts);
                }
            }
            if backup.paths.is_empty() {
                self.wrong(
                    &format!("{key}.paths"),
                    "nothing is backed up".into(),
                    "name a directory of a pool",
                );
            }
            for (index, path) in
                backup.paths.iter().enumerate().filter(|(_, path)| !path.is_empty())
            {
                let place = format!("{key}.paths[{index}]");
                if mounts.pool_of(path).is_none() {
                    self.outside(&place, path, &mounts);
                }
                if within(&backup.repository, path) || within(path, &backup.repository) {
                    let help = "put the repository elsewhere, best on the other pool";
                    self.wrong(
                        &place,
                        format!("{path} and the repository lie in each other"),
                        help,
                    );
                }
            }
            let keep = &backup.keep;
            if keep.daily == 0 && keep.weekly == 0 && keep.monthly == 0 {
                self.wrong(
                    &format!("{key}.keep"),
                    "no snapshot is kept".into(),
                    "write `daily = 7`",
                );
            }
            self.server(&key, backup);
            self.file_on_the_stick(&key, name, backup, &taken, &generated);
        }
    }

    /// A file of the key stick is one thing only.
    fn file_on_the_stick(
        &self,
        key: &str,
        name: &str,
        backup: &Backup,
        taken: &[String],
        generated: &[String],
    ) {
        for (what, reference) in backup.secrets() {
            let (place, path, is_typed) = match reference {
                SecretReference::Stick(path) => ("stick", path, false),
                SecretReference::Prompt(path) => ("prompt", path, true),
                _ => continue,
            };
            let at = format!("{key}.{what}.{place}");
            let file = if what == "password" { "restic" } else { "server" };
            let help = format!("write \"bedplate/{file}-{name}\"");
            if taken.contains(path) {
                let message = "this file is the keyfile or the recovery passphrase";
                self.wrong(&at, message.into(), help);
            } else if is_typed && generated.contains(path) {
                let message = "this file is a password that is generated";
                self.wrong(&at, message.into(), help);
            }
        }
    }

    /// What the server of a repository wants, and what belongs to another kind of server.
    fn server(&self, key: &str, backup: &Backup) {
        let is_sftp = backup.repository.starts_with("sftp:");
        let is_local = backup.repository.starts_with('/') || backup.repository.is_empty();
        if is_sftp && (backup.credentials.is_none() || backup.host_key.is_none()) {
            let help = "add `credentials = { age = \"sftp.age\" }` (a private key) and `host_key = \"ssh-ed25519 …\"`";
            let message = "nobody is there to type a password or look at a fingerprint".into();
            self.wrong(&format!("{key}.repository"), message, help);
        }
        if !is_sftp && backup.host_key.is_some() {
            let message = "only `sftp:` has an ssh key".into();
            self.wrong(&format!("{key}.host_key"), message, "leave it out");
        }
        if is_local && !backup.repository.is_empty() && backup.credentials.is_some() {
            let message = "a directory wants no credentials".into();
            self.wrong(&format!("{key}.credentials"), message, "leave them out");
        }
        if backup.repository.starts_with("s3:") && backup.credentials.is_none() {
            let help = "add `credentials = { age = \"s3.age\" }`, which holds `id:secret`";
            self.wrong(&format!("{key}.repository"), "S3 wants credentials".into(), help);
        }
    }

    fn restore(&self, host: &HostFile) {
        let Some(restore) = &host.restore else { return };
        if restore.backups.is_empty() {
            self.wrong("restore.backups", "nothing is named".into(), "name a backup");
        }
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, name) in restore.backups.iter().enumerate() {
            let path = format!("restore.backups[{index}]");
            if !name.is_empty() && !host.backups.contains_key(name) {
                let help = self.known(host.backups.keys(), name);
                self.wrong(&path, format!("there is no `[backups.{name}]`"), help);
            }
            if !seen.insert(name) {
                self.wrong(&path, format!("\"{name}\" is named already"), "name it once");
            }
        }
        if restore.snapshot.is_some() && restore.backups.len() > 1 {
            let message = "a snapshot belongs to one backup".into();
            self.wrong("restore.snapshot", message, "name one backup, or leave it out");
        }
    }

    fn notify(&self, host: &HostFile) {
        let Some(notify) = &host.notify else { return };
        let unread = self.incomplete("notify.url") || self.incomplete("notify.mail");
        if notify.url.is_none() && notify.mail.is_none() && !unread {
            let help =
                "write `url = \"https://ntfy.sh/my-hypervisor\"`, or `mail = \"me@example.org\"`";
            self.wrong("notify", "nobody is named".into(), help);
        }
        if notify.url.is_none() && notify.token.is_some() && !self.incomplete("notify.url") {
            self.wrong("notify.token", "no `url` takes it".into(), "add `url`, or leave it out");
        }
    }
}
