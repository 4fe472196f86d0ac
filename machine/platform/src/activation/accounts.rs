//! Accounts: merged by name, never renumbered (Debian's system ids differ from tree to tree).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use bedplate_model::host::User;

use super::{ActivationError, file, replace_file};

/// Lines of passwd, group, shadow and gshadow, split at the colons.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Databases {
    passwd: Vec<Vec<String>>,
    group: Vec<Vec<String>>,
    shadow: Vec<Vec<String>>,
    gshadow: Vec<Vec<String>>,
}

impl Databases {
    /// Reads them from a directory; one that is missing is empty.
    pub fn read(etc: &Path) -> Result<Self, ActivationError> {
        let lines = |name: &str| match fs::read_to_string(etc.join(name)) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(file("read", &etc.join(name))(error)),
        };
        Ok(Self {
            passwd: lines("passwd")?,
            group: lines("group")?,
            shadow: lines("shadow")?,
            gshadow: lines("gshadow")?,
        })
    }

    /// Writes them; shadow and gshadow can be read by root alone.
    pub fn write(&self, etc: &Path) -> Result<(), ActivationError> {
        for (name, lines, mode) in [
            ("group", &self.group, 0o644),
            ("gshadow", &self.gshadow, 0o600),
            ("shadow", &self.shadow, 0o600),
            ("passwd", &self.passwd, 0o644),
        ] {
            replace_file(&etc.join(name), format(lines).as_bytes(), mode)?;
        }
        Ok(())
    }

    /// User and group id of an account.
    pub fn user(&self, name: &str) -> Option<(u32, u32)> {
        let line = find(&self.passwd, name)?;
        Some((number(line, 2)?, number(line, 3)?))
    }

    /// Whether the group has the member.
    pub fn is_member(&self, group: &str, member: &str) -> bool {
        let members = find(&self.group, group).and_then(|line| line.get(3));
        members.is_some_and(|members| members.split(',').any(|found| found == member))
    }

    /// Takes a member out of a group.
    pub fn remove_member(&mut self, group: &str, member: &str) {
        for lines in [&mut self.group, &mut self.gshadow] {
            let is_it = |line: &&mut Vec<String>| line.first().is_some_and(|name| name == group);
            let members = lines.iter_mut().find(is_it).and_then(|line| line.get_mut(3));
            if let Some(members) = members {
                let left: Vec<&str> = members.split(',').filter(|one| *one != member).collect();
                *members = left.join(",");
            }
        }
    }

    /// Id of a group.
    pub fn group(&self, name: &str) -> Option<u32> {
        number(find(&self.group, name)?, 2)
    }
}

fn parse(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| line.split(':').map(str::to_owned).collect()).collect()
}

fn format(lines: &[Vec<String>]) -> String {
    lines.iter().map(|line| line.join(":") + "\n").collect()
}

fn find<'a>(lines: &'a [Vec<String>], name: &str) -> Option<&'a Vec<String>> {
    lines.iter().find(|line| line.first().is_some_and(|found| found == name))
}

fn number(line: &[String], field: usize) -> Option<u32> {
    line.get(field)?.parse().ok()
}

fn taken(lines: &[Vec<String>]) -> BTreeSet<u32> {
    lines.iter().filter_map(|line| number(line, 2)).collect()
}

/// `wanted` when it is free, else the highest free system id.
fn free_system_id(wanted: Option<u32>, taken: &BTreeSet<u32>) -> u32 {
    let wanted = wanted.filter(|id| !taken.contains(id));
    wanted.or_else(|| (100..1000).rev().find(|id| !taken.contains(id))).unwrap_or(65533)
}

/// Adds what the tree and `host.users` have and `current` lacks. Ids in `current` never change.
pub fn merge(
    current: &Databases,
    tree: &Databases,
    users: &BTreeMap<String, User>,
) -> (Databases, Vec<String>) {
    let mut merged = current.clone();
    let mut notes = Vec::new();
    add_tree_groups(&mut merged, tree);
    add_tree_users(&mut merged, tree);
    for (name, user) in users {
        if name != "root" {
            if is_of_the_system(&merged, name) {
                notes.push(format!("`{name}` is a name of the system: no account is made for it"));
                continue;
            }
            add_user(&mut merged, name);
        }
        for group in &user.groups {
            if !add_member(&mut merged.group, group, name) {
                notes.push(format!("there is no group `{group}` for the user `{name}`"));
            }
        }
    }
    complete_shadow(&mut merged);
    (merged, notes)
}

fn add_tree_groups(merged: &mut Databases, tree: &Databases) {
    for line in &tree.group {
        let Some(name) = line.first() else { continue };
        if find(&merged.group, name).is_none() {
            let mut line = line.clone();
            let id = free_system_id(number(&line, 2), &taken(&merged.group));
            set(&mut line, 2, id.to_string());
            merged.group.push(line);
        } else {
            for member in line.get(3).into_iter().flat_map(|all| all.split(',')) {
                add_member(&mut merged.group, name, member);
            }
        }
    }
}

fn add_tree_users(merged: &mut Databases, tree: &Databases) {
    for line in &tree.passwd {
        let Some(name) = line.first() else { continue };
        if find(&merged.passwd, name).is_some() {
            continue;
        }
        let mut line = line.clone();
        let id = free_system_id(number(&line, 2), &taken(&merged.passwd));
        let group = tree.group.iter().find(|group| group.get(2) == line.get(3));
        let group = group.and_then(|group| merged.group(group.first()?));
        set(&mut line, 2, id.to_string());
        if let Some(group) = group {
            set(&mut line, 3, group.to_string());
        }
        set(&mut line, 1, "x".to_owned());
        merged.passwd.push(line);
    }
}

/// A person must not get the account or the group of a service by its name.
fn is_of_the_system(merged: &Databases, name: &str) -> bool {
    let ids = [merged.user(name).map(|(user, _)| user), merged.group(name)];
    ids.into_iter().flatten().any(|id| !(1000..65000).contains(&id))
}

fn add_user(merged: &mut Databases, name: &str) {
    if find(&merged.passwd, name).is_some() {
        return;
    }
    let (users, groups) = (taken(&merged.passwd), taken(&merged.group));
    let is_free = |id: &u32| !users.contains(id) && !groups.contains(id);
    let id = (1000..60000).find(is_free).unwrap_or(60000);
    let group = match merged.group(name) {
        Some(group) => group,
        None => {
            merged.group.push(parse_line(&format!("{name}:x:{id}:")));
            id
        }
    };
    merged.passwd.push(parse_line(&format!("{name}:x:{id}:{group}:{name}:/home/{name}:/bin/bash")));
}

/// Whether the group is there.
fn add_member(groups: &mut [Vec<String>], group: &str, member: &str) -> bool {
    let Some(line) =
        groups.iter_mut().find(|line| line.first().is_some_and(|found| found == group))
    else {
        return false;
    };
    let members = line.get(3).cloned().unwrap_or_default();
    if !member.is_empty() && !members.split(',').any(|found| found == member) {
        let joined =
            if members.is_empty() { member.to_owned() } else { format!("{members},{member}") };
        set(line, 3, joined);
    }
    true
}

/// `*`: no password fits, ssh keys do.
fn complete_shadow(merged: &mut Databases) {
    for line in &merged.passwd {
        if let Some(name) = line.first().filter(|name| find(&merged.shadow, name).is_none()) {
            merged.shadow.push(parse_line(&format!("{name}:*:::::::")));
        }
    }
    for line in &merged.group {
        if let Some(name) = line.first().filter(|name| find(&merged.gshadow, name).is_none()) {
            merged.gshadow.push(parse_line(&format!("{name}:*::")));
        }
        let (Some(name), Some(members)) = (line.first(), line.get(3)) else { continue };
        for member in members.split(',') {
            add_member(&mut merged.gshadow, name, member);
        }
    }
}

fn parse_line(line: &str) -> Vec<String> {
    line.split(':').map(str::to_owned).collect()
}

fn set(line: &mut Vec<String>, field: usize, value: String) {
    if line.len() <= field {
        line.resize(field + 1, String::new());
    }
    if let Some(place) = line.get_mut(field) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn databases(passwd: &str, group: &str) -> Databases {
        Databases { passwd: parse(passwd), group: parse(group), ..Databases::default() }
    }

    fn admin() -> BTreeMap<String, User> {
        let user = User { ssh_keys: Vec::new(), groups: vec!["kvm".into(), "nothing".into()] };
        [("admin".to_owned(), user)].into()
    }

    #[test]
    fn ids_that_are_there_are_never_changed_and_new_ones_move_out_of_the_way() {
        let current = databases("root:x:0:0:::\nsshd:x:989:65534:::\n", "root:x:0:\nkvm:x:988:\n");
        let tree = databases(
            "root:x:0:0:::\nsshd:x:990:65534:::\nstatd:x:989:993:::\n",
            "root:x:0:\nkvm:x:993:statd\nlibvirt:x:988:\nstatd:x:500:\n",
        );
        let (merged, _) = merge(&current, &tree, &BTreeMap::new());
        assert_eq!(merged.user("sshd"), Some((989, 65534)));
        assert_eq!(merged.group("kvm"), Some(988));
        assert_eq!(merged.group("libvirt"), Some(999));
        // Group 993 of the tree is kvm, which is 988 here.
        assert_eq!(merged.user("statd"), Some((999, 988)));
    }

    #[test]
    fn t16_a_user_named_like_a_service_gets_neither_its_account_nor_its_group() {
        let tree = databases("admin:x:33:33:::\n", "kvm:x:993:\nadmin:x:42:\n");
        for tree in [tree.clone(), Databases { passwd: Vec::new(), ..tree }] {
            let (merged, notes) = merge(&Databases::default(), &tree, &admin());
            assert_ne!(merged.user("admin").map(|(_, group)| group), Some(42));
            assert!(format(&merged.group).contains("kvm:x:993:\n"));
            assert_eq!(notes.len(), 1);
        }
    }

    #[test]
    fn a_second_merge_changes_nothing() {
        let tree = databases("root:x:0:0:::\n", "root:x:0:\nkvm:x:993:\n");
        let (once, notes) = merge(&Databases::default(), &tree, &admin());
        let (twice, _) = merge(&once, &tree, &admin());
        assert_eq!(once, twice);
        assert_eq!(once.user("admin"), Some((1000, 1000)));
        assert!(format(&once.group).contains("kvm:x:993:admin\n"));
        assert!(format(&once.gshadow).contains("kvm:*::admin\n"));
        assert_eq!(notes, ["there is no group `nothing` for the user `admin`"]);
    }

    #[test]
    fn no_account_has_a_password_but_one_that_was_set_stays() {
        let mut current = databases("root:x:0:0:::\n", "root:x:0:\n");
        current.shadow = parse("root:$y$secret:1::::::\n");
        let (merged, _) = merge(&current, &current.clone(), &admin());
        assert_eq!(format(&merged.shadow), "root:$y$secret:1::::::\nadmin:*:::::::\n");
    }
}
