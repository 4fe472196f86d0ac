//! Pools: unlocking the members that are there and mounting what they make.
//!
//! Pools stand in no fstab: systemd would wait for every member of a btrfs file system, and a
//! lost disk would hang the boot.

mod key;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bedplate_luks as luks;
use bedplate_luks::{KEYFILE_SLOT, LuksError, PASSPHRASE_SLOT};
use bedplate_spec::document;
use bedplate_spec::host::{HostFile, Media, Pool};
use bedplate_spec::identity::{Purpose, derive, mapper_name};
use bedplate_tools::block::{self, Block};
use bedplate_tools::btrfs;
use bedplate_tools::command::CommandError;
use bedplate_tools::mount::{Access, Mount, MountError};
use bedplate_tools::signature::Signature;
use serde::Serialize;

use key::Keys;

/// A pool that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// A file.
    #[error("could not {action} {}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `host.toml`.
    #[error("{} has mistakes:\n{problems}", .path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// All of them.
        problems: String,
    },
    /// Not in `host.toml`.
    #[error("there is no pool `{name}` in host.toml")]
    Unknown {
        /// Which.
        name: String,
    },
    /// One header on several devices.
    #[error("{devices} carry the same LUKS header as member `{role}`: unplug the copy")]
    Cloned {
        /// Whose.
        role: String,
        /// The devices.
        devices: String,
    },
    /// Members are there but locked.
    #[error(
        "no key opens {roles} of pool `{pool}`: plug in the key stick, then run `bedplate-host pool open {pool}`"
    )]
    Locked {
        /// Which pool.
        pool: String,
        /// Which members.
        roles: String,
    },
    /// No member at all, or too few.
    #[error("only {present} of {wanted} members of pool `{pool}` are there; RAID1 can lose one")]
    TooFew {
        /// Which pool.
        pool: String,
        /// How many are there.
        present: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// A volume.
    #[error("a member could not be unlocked")]
    Luks(#[from] LuksError),
    /// A mount.
    #[error("a mount failed")]
    Mount(#[from] MountError),
    /// A command.
    #[error("members could not be announced to btrfs")]
    Command(#[from] CommandError),
}

pub(crate) fn file<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PoolError + 'a {
    move |source| PoolError::File { action, path: path.to_owned(), source }
}

/// How a pool stands after it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub mount: String,
    /// Whether it was mounted before.
    pub already: bool,
    /// Roles of members that are not there; then it is mounted degraded.
    pub missing: Vec<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its role.
    pub role: String,
    /// UUID of its LUKS header.
    pub luks_uuid: String,
    /// Name under `/dev/mapper`.
    pub mapper: String,
    /// Whether discards pass through.
    pub discard: bool,
}

/// One line of `pool status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Name of the pool.
    pub name: String,
    /// Where it belongs.
    pub mount: String,
    /// Whether it is mounted there.
    pub mounted: bool,
    /// Roles of members that are there and unlocked.
    pub open: Vec<String>,
    /// Roles of members that are there and locked.
    pub locked: Vec<String>,
    /// Roles of members that are not there.
    pub missing: Vec<String>,
}

impl fmt::Display for Opened {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, mount, already, missing } = self;
        let how = if *already { "was mounted already" } else { "is mounted" };
        write!(formatter, "pool {name}: {how} at {mount}")?;
        if missing.is_empty() {
            Ok(())
        } else {
            write!(formatter, ", DEGRADED without {}", missing.join(", "))
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mounted = if self.mounted { "mounted at" } else { "NOT mounted at" };
        write!(
            formatter,
            "pool {}: {mounted} {}, open: {}",
            self.name,
            self.mount,
            self.open.join(", ")
        )?;
        for (word, roles) in [("locked", &self.locked), ("MISSING", &self.missing)] {
            if !roles.is_empty() {
                write!(formatter, ", {word}: {}", roles.join(", "))?;
            }
        }
        Ok(())
    }
}

/// The command `pool open`.
pub fn open_command(host_file: &Path, name: &str) -> Result<Opened, Box<dyn Error>> {
    let host = read_host(host_file)?;
    let opened = open(&host, name)?;
    forget_passphrase(&host)?;
    Ok(opened)
}

/// The command `pool status`.
pub fn status_command(host_file: &Path) -> Result<Vec<Status>, Box<dyn Error>> {
    Ok(status(&read_host(host_file)?)?)
}

fn read_host(path: &Path) -> Result<HostFile, PoolError> {
    let text = fs::read_to_string(path).map_err(file("read", path))?;
    document::parse(&text, "host.toml").map_err(|problems| PoolError::Document {
        path: path.to_owned(),
        problems: problems.to_string(),
    })
}

/// The members of a pool, in the order of the document.
pub fn members(host: &HostFile, pool: &Pool) -> Vec<Member> {
    let member = |role: &String| Member {
        role: role.clone(),
        luks_uuid: derive(host.host.id, Purpose::Luks, role, 0).to_string(),
        mapper: mapper_name(role),
        discard: host.disks.get(role).is_some_and(|disk| disk.media == Media::Ssd),
    };
    pool.disks.iter().map(member).collect()
}

/// Unlocks and mounts a pool.
pub fn open(host: &HostFile, name: &str) -> Result<Opened, PoolError> {
    let pool = host.pools.get(name).ok_or_else(|| PoolError::Unknown { name: name.to_owned() })?;
    let (name, mount) = (name.to_owned(), pool.mount.clone());
    if is_mounted(&mount)? {
        return Ok(Opened { name, mount, already: true, missing: Vec::new() });
    }
    let members = members(host, pool);
    let (missing, locked) = unlock_members(host, &members)?;
    if !locked.is_empty() {
        return Err(PoolError::Locked { pool: name, roles: locked.join(", ") });
    }
    let present: Vec<_> = members.iter().filter(|member| !missing.contains(&member.role)).collect();
    if present.is_empty() || missing.len() > 1 {
        let (present, wanted) = (present.len(), members.len());
        return Err(PoolError::TooFew { pool: name, present, wanted });
    }
    btrfs::scan()?;
    let target = Path::new(&mount);
    fs::create_dir_all(target).map_err(file("make", target))?;
    let nodes: Vec<_> =
        present.iter().map(|member| format!("/dev/mapper/{}", member.mapper)).collect();
    let options = mount_options(&nodes, !missing.is_empty());
    let source = nodes.first().map(String::as_str).unwrap_or_default();
    Mount { source, target, kind: "btrfs", access: Access::ReadWrite, options: &options }
        .mount()?;
    Ok(Opened { name, mount, already: false, missing })
}

fn mount_options(nodes: &[String], degraded: bool) -> String {
    let mut words: Vec<_> = nodes.iter().map(|node| format!("device={node}")).collect();
    words.extend(degraded.then(|| "degraded".to_owned()));
    words.join(",")
}

/// Waits for members and keys; returns the roles that are missing and those that stay locked.
fn unlock_members(
    host: &HostFile,
    members: &[Member],
) -> Result<(Vec<String>, Vec<String>), PoolError> {
    let deadline = Instant::now() + Duration::from_secs(host.unlock.timeout_seconds.into());
    let mut keys = Keys::new(&host.unlock);
    loop {
        let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
        let devices = find_members(members, &blocks)?;
        let (mut missing, mut locked) = (Vec::new(), Vec::new());
        for member in members.iter().filter(|member| !luks::is_open(&member.mapper)) {
            match devices.get(&member.role) {
                None => missing.push(member.role.clone()),
                Some(device) if !unlock(member, device, &mut keys, &blocks)? => {
                    locked.push(member.role.clone());
                }
                Some(_) => {}
            }
        }
        if (missing.is_empty() && locked.is_empty()) || Instant::now() >= deadline {
            return Ok((missing, locked));
        }
        sleep(Duration::from_millis(500));
    }
}

fn unlock(
    member: &Member,
    device: &Path,
    keys: &mut Keys<'_>,
    blocks: &[Block],
) -> Result<bool, PoolError> {
    let attempt = |slot: u32, key: &[u8]| match luks::open(
        device,
        &member.mapper,
        Some(slot),
        key,
        member.discard,
    ) {
        Ok(()) => Ok(true),
        Err(LuksError::WrongKey { .. }) => Ok(false),
        Err(error) => Err(PoolError::from(error)),
    };
    for keyfile in keys.keyfiles(blocks)? {
        if attempt(KEYFILE_SLOT, keyfile.expose())? {
            return Ok(true);
        }
    }
    match keys.passphrase()? {
        Some(passphrase) => attempt(PASSPHRASE_SLOT, passphrase.expose()),
        None => Ok(false),
    }
}

/// Role to device. A header that stands on two devices is refused: neither can be trusted.
fn find_members(
    members: &[Member],
    blocks: &[Block],
) -> Result<BTreeMap<String, PathBuf>, PoolError> {
    let headers: Vec<(String, &Path)> = blocks
        .iter()
        .filter_map(|block| match block.signature() {
            Some(Signature::Luks2 { uuid }) => Some((uuid, block.node.as_path())),
            _ => None,
        })
        .collect();
    choose(members, &headers)
}

fn choose(
    members: &[Member],
    headers: &[(String, &Path)],
) -> Result<BTreeMap<String, PathBuf>, PoolError> {
    let mut devices = BTreeMap::new();
    for member in members {
        let found: Vec<_> = headers
            .iter()
            .filter(|(uuid, _)| *uuid == member.luks_uuid)
            .map(|(_, node)| node)
            .collect();
        if found.len() > 1 {
            let names: Vec<_> = found.iter().map(|node| node.display().to_string()).collect();
            return Err(PoolError::Cloned {
                role: member.role.clone(),
                devices: names.join(" and "),
            });
        }
        devices.extend(found.first().map(|node| (member.role.clone(), node.to_path_buf())));
    }
    Ok(devices)
}

/// How all pools stand.
pub fn status(host: &HostFile) -> Result<Vec<Status>, PoolError> {
    let blocks = block::disks().map_err(file("list", Path::new("/sys/class/block")))?;
    let one = |(name, pool): (&String, &Pool)| {
        let members = members(host, pool);
        let devices = find_members(&members, &blocks)?;
        let (mut open, mut locked, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for Member { role, mapper, .. } in members {
            let there = devices.contains_key(&role);
            let list = match (there, luks::is_open(&mapper)) {
                (true, true) => &mut open,
                (true, false) => &mut locked,
                (false, _) => &mut missing,
            };
            list.push(role);
        }
        let (name, mount) = (name.clone(), pool.mount.clone());
        let mounted = is_mounted(&mount)?;
        Ok(Status { name, mount, mounted, open, locked, missing })
    };
    host.pools.iter().map(one).collect()
}

fn is_mounted(target: &str) -> Result<bool, PoolError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(file("read", table))?;
    Ok(mounted_in(&text, target))
}

fn mounted_in(mountinfo: &str, target: &str) -> bool {
    let escaped = target.replace('\\', "\\134").replace(' ', "\\040");
    // The last one is on top; what is not btrfs is not the pool.
    let on_top = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some(&escaped));
    on_top
        .and_then(|line| line.split_once(" - "))
        .is_some_and(|(_, rest)| rest.starts_with("btrfs "))
}

/// A passphrase typed in stage 1 lives until the last pool is open.
fn forget_passphrase(host: &HostFile) -> Result<(), PoolError> {
    for pool in host.pools.values() {
        if !is_mounted(&pool.mount)? {
            return Ok(());
        }
    }
    let path = Path::new(key::PASSPHRASE);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
