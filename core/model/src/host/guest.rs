//! What all kinds of guest share.
//!
//! A kind is a section of `host.toml` with a type that is a [`GuestSection`]; [`HostFile::guests`] and
//! [`HostFile::retain_guests`] have a line for each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{HostFile, Pool, Vm};
use crate::name::{GuestName, Mac, PoolName};

/// Whether something declared should exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It exists and agrees with the document.
    Present,
    /// It is stopped, undefined and its directory deleted.
    Absent,
}

/// A guest of `host.toml`, whatever its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest<'a> {
    /// The section that declares guests of its kind, such as `vms`.
    pub section: &'static str,
    /// Its name in that section.
    pub name: &'a GuestName,
    /// Present or absent.
    pub state: State,
    /// Name of the pool that its files are on; it must be mounted before the guest starts.
    pub pool: &'a PoolName,
    /// Its NICs, in the order in which it has them; none for a guest without one of its own.
    pub nics: Vec<GuestNic<'a>>,
    /// The directories that are its own, and that go with it. None while its pool is not known.
    pub owns: Vec<PathBuf>,
}

/// A NIC of a guest, whatever the kind of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNic<'a> {
    /// What stands before its keys in the guest's section: nothing, or such as `nics[0].`.
    pub place: String,
    /// Bridge that it stands on.
    pub bridge: &'a str,
    /// The MAC address that is written down for it.
    pub mac_address: Option<&'a Mac>,
    /// The VLAN that it is in; without one, that of untagged frames.
    pub vlan: Option<u32>,
}

impl Guest<'_> {
    /// Where it stands in `host.toml`, such as `vms.haos`.
    pub fn place(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Whether it has files in or around one of `paths`.
    pub fn touches<P: AsRef<Path>>(&self, paths: &[P]) -> bool {
        let meets = |own: &PathBuf, path: &Path| own.starts_with(path) || path.starts_with(own);
        paths.iter().any(|path| self.owns.iter().any(|own| meets(own, path.as_ref())))
    }
}

/// A section that declares a guest of some kind.
pub trait GuestSection {
    /// Name of the section, such as `vms`.
    const SECTION: &'static str;

    /// What it shares with guests of other kinds.
    fn guest<'a>(&'a self, name: &'a GuestName, pools: &BTreeMap<PoolName, Pool>) -> Guest<'a>;
}

fn of_kind<'a, K: GuestSection>(
    all: &'a BTreeMap<GuestName, K>,
    pools: &'a BTreeMap<PoolName, Pool>,
) -> impl Iterator<Item = Guest<'a>> {
    all.iter().map(|(name, one)| one.guest(name, pools))
}

fn retain<K: GuestSection>(
    all: &mut BTreeMap<GuestName, K>,
    pools: &BTreeMap<PoolName, Pool>,
    keep: &mut dyn FnMut(&Guest<'_>) -> bool,
) {
    all.retain(|name, one| keep(&one.guest(name, pools)));
}

impl HostFile {
    /// The guests of every kind.
    pub fn guests(&self) -> impl Iterator<Item = Guest<'_>> {
        of_kind::<Vm>(&self.vms, &self.pools)
    }

    /// Takes out every guest that is not to be kept, whatever its kind.
    pub fn retain_guests(&mut self, mut keep: impl FnMut(&Guest<'_>) -> bool) {
        retain::<Vm>(&mut self.vms, &self.pools, &mut keep);
    }
}

/// The directory of a guest called `name` on its pool: none while the pool is not known.
pub(super) fn directory(
    pool: &PoolName,
    name: &GuestName,
    pools: &BTreeMap<PoolName, Pool>,
) -> Vec<PathBuf> {
    let pool = pools.get(pool).filter(|pool| !pool.mount.is_empty());
    pool.map(|pool| Path::new(&pool.mount).join(name.as_str())).into_iter().collect()
}
