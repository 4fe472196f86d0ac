//! The ssh keys of whoever is to log in, put into a document that begins without any.

use std::path::{Path, PathBuf};

use bedplate_document::rules;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use crate::report::{self, Failure};

/// The account that is made where a document has none.
const ACCOUNT: &str = "admin";

/// A key that is none.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    /// A file without a key.
    #[error("{} holds no public ssh key: give the `.pub` file, or the key itself", .0.display())]
    NoKey(PathBuf),
    /// The half that stays at home.
    #[error("{} is a private key, which goes nowhere: give the `.pub` file beside it", .0.display())]
    Private(PathBuf),
    /// A text that begins as a key does.
    #[error("{:?} is no public ssh key", .0)]
    Wrong(String),
}

/// Public keys of what was given: each a key, or a file of keys.
pub fn keys(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for one in given {
        if one.contains(' ') && is_key(one) {
            found.push(one.trim().to_owned());
            continue;
        }
        if one.starts_with("ssh-") || one.starts_with("ecdsa-") {
            return Err(KeyError::Wrong(one.chars().take(40).collect()).into());
        }
        let path = Path::new(one);
        let text = report::read(path)?;
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private(path.to_owned()).into());
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
        if lines.is_empty() || !lines.iter().all(|line| is_key(line)) {
            return Err(KeyError::NoKey(path.to_owned()).into());
        }
        found.extend(lines.into_iter().map(str::to_owned));
    }
    Ok(found)
}

fn is_key(text: &str) -> bool {
    rules::ssh_key(text.trim()).is_ok()
}

/// The document with these keys for each of its users that has none; where it has no user, for one that is made.
/// Everything else of the text stays as it is.
pub fn with_keys(text: &str, keys: &[String]) -> Result<String, Failure> {
    if keys.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document: DocumentMut = text.parse()?;
    let host = document.entry("host").or_insert(Item::Table(Table::new()));
    let users = host.as_table_like_mut().map(|host| {
        let mut users = Table::new();
        users.set_implicit(true);
        host.entry("users").or_insert(Item::Table(users))
    });
    let Some(users) = users.and_then(Item::as_table_like_mut) else { return Ok(text.to_owned()) };
    if users.is_empty() {
        let mut account = Table::new();
        account.insert("groups", value(Array::from_iter(["sudo"])));
        users.insert(ACCOUNT, Item::Table(account));
    }
    for (_, user) in users.iter_mut() {
        let Some(user) = user.as_table_like_mut() else { continue };
        let has_keys =
            user.get("ssh_keys").and_then(Item::as_array).is_some_and(|it| !it.is_empty());
        if !has_keys {
            user.insert("ssh_keys", value(Array::from_iter(keys)));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me@laptop";

    #[test]
    fn whoever_is_given_can_log_in_and_the_rest_stays_as_it_is() {
        let profile = include_str!("../../profiles/hypervisor/host.toml");
        let text = with_keys(profile, &[KEY.to_owned()]).unwrap();
        let host = bedplate_document::parse(&text, "host.toml").unwrap();
        assert!(host.host.users.values().all(|user| user.ssh_keys == [KEY]), "{text}");
        let changed = profile.lines().zip(text.lines()).filter(|(one, other)| one != other);
        assert!(changed.map(|(one, _)| one).all(|line| line.starts_with("ssh_keys")), "{text}");
        // Keys that are there stay the only ones.
        let other = KEY.replace("me@laptop", "you");
        assert_eq!(with_keys(&text, &[other]).unwrap(), text);
        assert_eq!(with_keys(profile, &[]).unwrap(), profile);
        let made = with_keys("schema = 1\n[host]\nname = \"x\"\n", &[KEY.to_owned()]).unwrap();
        assert!(made.contains("[host.users.admin]"), "{made}");
    }

    #[test]
    fn a_key_is_given_as_text_or_file_and_a_private_one_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("id.pub");
        let path = file.to_str().unwrap().to_owned();
        std::fs::write(&file, format!("# mine\n{KEY}\n\n")).unwrap();
        assert_eq!(keys(&[KEY.to_owned(), path.clone()]).unwrap(), [KEY, KEY]);
        for (content, why) in [
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n", "private key"),
            ("", "no public ssh key"),
            ("hello\n", "no public ssh key"),
        ] {
            std::fs::write(&file, content).unwrap();
            let told = keys(std::slice::from_ref(&path)).unwrap_err().told();
            assert!(told.contains(why), "{told}");
        }
        assert!(
            keys(&["ssh-ed25519 nonsense".to_owned()]).unwrap_err().told().contains("is no public")
        );
    }
}
