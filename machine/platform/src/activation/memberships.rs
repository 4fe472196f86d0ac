//! Who is in which group because `host.toml` says so: taken back when it no longer does. What an owner
//! gave by hand is not in the record and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use bedplate_model::host::User;

use super::accounts::Databases;
use super::{ActivationError, file, replace_file};

/// Groups by user.
pub type Memberships = BTreeMap<String, BTreeSet<String>>;

/// Those of `wanted` that are there because of it: given before, or not there `before` it was asked for.
pub fn given(
    wanted: &Memberships,
    given: &Memberships,
    before: &Databases,
    after: &Databases,
) -> Memberships {
    let is_ours = |user: &str, group: &str| {
        let was_given = given.get(user).is_some_and(|groups| groups.contains(group));
        after.is_member(group, user) && (was_given || !before.is_member(group, user))
    };
    let of = |(user, groups): (&String, &BTreeSet<String>)| {
        let groups: BTreeSet<String> =
            groups.iter().filter(|group| is_ours(user, group)).cloned().collect();
        (!groups.is_empty()).then(|| (user.clone(), groups))
    };
    wanted.iter().filter_map(of).collect()
}

/// Those that `users` asks for.
pub fn wanted(users: &BTreeMap<String, User>) -> Memberships {
    let of = |(name, user): (&String, &User)| (name.clone(), user.groups.iter().cloned().collect());
    users.iter().map(of).collect()
}

/// Removes what was given and is wanted no longer; `tree` keeps the members that it has.
pub fn take_back(
    databases: &mut Databases,
    tree: &Databases,
    given: &Memberships,
    wanted: &Memberships,
) {
    for (user, groups) in given {
        let kept = wanted.get(user);
        for group in groups.iter().filter(|group| !kept.is_some_and(|kept| kept.contains(*group))) {
            if !tree.is_member(group, user) {
                databases.remove_member(group, user);
            }
        }
    }
}

/// The record; one that is not there, or not understood, names nobody.
pub fn read(record: &Path) -> Result<Memberships, ActivationError> {
    match fs::read(record) {
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memberships::new()),
        Err(error) => Err(file("read", record)(error)),
    }
}

/// Replaces the record.
pub fn write(record: &Path, memberships: &Memberships) -> Result<(), ActivationError> {
    let text = serde_json::to_vec_pretty(memberships).map_err(io::Error::from);
    replace_file(record, &text.map_err(file("write", record))?, 0o644)
}

/// Both: what a record says while the databases are written. Whichever of them a power cut leaves,
/// nobody keeps a group unseen.
pub fn union(one: &Memberships, other: &Memberships) -> Memberships {
    let mut both = one.clone();
    for (user, groups) in other {
        both.entry(user.clone()).or_default().extend(groups.iter().cloned());
    }
    both
}
