//! What must not travel in a store: everybody reads there, on the medium and on the machine.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bedplate_model::host::{HostFile, SecretReference};
use bedplate_tools::nix::Workstation;
use bedplate_tools::nix::registration::StorePath;
use serde_json::Value;

use crate::error::{Error, file, unfit};

/// How much of a file is looked at for a key, in bytes.
const HEAD: u64 = 4096;

/// Refuses inputs that stand on the workstation alone: all of their files would travel, and the
/// machine could fetch none of them.
pub fn refuse_local_inputs(repository: &Path) -> Result<(), Error> {
    let path = repository.join("flake.lock");
    let text = fs::read(&path).map_err(file("read", &path))?;
    let lock: Value = serde_json::from_slice(&text)
        .map_err(|error| unfit("the lock", &path, format!("is no JSON: {error}")))?;
    let nodes = lock.get("nodes").and_then(Value::as_object);
    match nodes.into_iter().flatten().find(|(_, node)| is_local(node)) {
        None => Ok(()),
        Some((name, _)) => {
            let why = format!(
                "its input `{}` stands on this machine alone: the installed machine cannot fetch \
                 it, and whatever lies there would go onto the medium; name it by a URL, or make \
                 it a directory of the repository",
                name.escape_debug()
            );
            Err(unfit("the repository", &path, why))
        }
    }
}

fn is_local(node: &Value) -> bool {
    let text = |key: &str| node.pointer(&format!("/locked/{key}")).and_then(Value::as_str);
    match text("type") {
        Some("path") => text("path").is_some_and(|path| path.starts_with('/')),
        Some("git" | "hg" | "tarball" | "file") => {
            text("url").is_some_and(|url| url.starts_with("file:") || url.starts_with('/'))
        }
        _ => false,
    }
}

/// Refuses a secret of the document that lies in the repository in the clear.
pub fn refuse_plain(host: &HostFile, repository: &Path) -> Result<(), Error> {
    let directory = repository.join(&host.flake.hosts).join(&host.host.name);
    for (key, reference) in host.repository_secrets() {
        let (name, encrypted): (_, fn(&[u8]) -> bool) = match reference {
            SecretReference::Sops { file, .. } => (file, is_sops),
            SecretReference::Age(file) => (file, is_age),
            SecretReference::Stick(_) | SecretReference::Prompt(_) | SecretReference::File(_) => {
                continue;
            }
        };
        let path = directory.join(name);
        let content = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(file("read", &path))?,
        };
        if !encrypted(&content) {
            let why = format!(
                "{key} of host.toml lies there in the clear; encrypt it, take it out of the \
                 history, and make another secret"
            );
            return Err(unfit("the file", Path::new(name), why));
        }
    }
    Ok(())
}

fn is_age(content: &[u8]) -> bool {
    // C2SP age, "Header", and its armor.
    content.starts_with(b"age-encryption.org/v1\n")
        || content.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

fn is_sops(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.starts_with("sops:") || text.contains("\nsops:")
}

/// Refuses private keys that evaluation took out of the repository: sources, and what is one file.
/// What a package builds may hold examples of keys.
pub fn refuse_keys<'a>(
    paths: impl IntoIterator<Item = &'a StorePath>,
    workstation: &Workstation,
) -> Result<(), Error> {
    for path in paths {
        let place = workstation.place(&path.path);
        if !path.deriver.is_empty() && !place.is_file() {
            continue;
        }
        if let Some(found) = key_below(&place).map_err(file("read", &place))? {
            let below = found.strip_prefix(&place).unwrap_or(&found).display().to_string();
            let named = [path.path.as_str(), below.as_str()].join("/");
            let why = "holds a private key, and everybody reads in a store; refer to it as a \
                secret of the repository (docs/secrets.md)";
            return Err(unfit("the file", Path::new(named.trim_end_matches('/')), why));
        }
    }
    Ok(())
}

fn key_below(path: &Path) -> io::Result<Option<PathBuf>> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            let found = key_below(&entry?.path())?;
            if found.is_some() {
                return Ok(found);
            }
        }
        return Ok(None);
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    let is_key = String::from_utf8_lossy(&head).lines().any(|line| {
        let line = line.trim();
        line.starts_with("AGE-SECRET-KEY-1")
            || (line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----"))
    });
    Ok(is_key.then(|| path.to_owned()))
}

#[cfg(test)]
mod tests {
    use bedplate_document as document;

    use super::*;

    fn stored(deriver: &str) -> StorePath {
        StorePath {
            path: "/nix/store/a-x".into(),
            hash: String::new(),
            size: 0,
            deriver: deriver.into(),
            references: Vec::new(),
        }
    }

    #[test]
    fn t19_private_keys_among_sources_are_refused_by_name_and_examples_in_packages_are_not() {
        let root = tempfile::tempdir().unwrap();
        let nix = Workstation::at(root.path(), root.path());
        let place = root.path().join("nix/store/a-x");
        fs::create_dir_all(place.join("ssh")).unwrap();
        fs::write(place.join("ssh/id.pub"), "ssh-ed25519 AAAA\n").unwrap();
        refuse_keys([&stored("")], &nix).unwrap();
        let keys = [
            "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n",
            "-----BEGIN PRIVATE KEY-----\n",
            "# created: today\nAGE-SECRET-KEY-1QQ\n",
        ];
        for key in keys {
            fs::write(place.join("ssh/id"), key).unwrap();
            let said = refuse_keys([&stored("")], &nix).unwrap_err().to_string();
            assert!(said.contains("/nix/store/a-x/ssh/id:"), "{said}");
            refuse_keys([&stored("/nix/store/d.drv")], &nix).unwrap();
        }
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, keys[0]).unwrap();
        let said = refuse_keys([&stored("/nix/store/d.drv")], &nix).unwrap_err().to_string();
        assert!(said.contains("/nix/store/a-x: holds a private key"), "{said}");
    }

    #[test]
    fn t19_a_secret_of_the_document_in_the_clear_is_refused_by_its_key() {
        let text = include_str!("../../../profiles/hypervisor/host.toml").to_owned()
            + "\n[secrets.one]\nage = \"one.age\"\n[secrets.two]\nsops = \"two.yaml\"\nkey = \"a\"\n";
        let host = document::parse(&text, "host.toml").unwrap_or_else(|error| panic!("{error}"));
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("nix/hosts").join(&host.host.name);
        fs::create_dir_all(&place).unwrap();
        refuse_plain(&host, root.path()).unwrap();
        fs::write(place.join("one.age"), "age-encryption.org/v1\n-> X25519 x\n").unwrap();
        fs::write(place.join("two.yaml"), "a: ENC[x]\nsops:\n  mac: x\n").unwrap();
        refuse_plain(&host, root.path()).unwrap();
        fs::write(place.join("two.yaml"), "a: hunter2\n").unwrap();
        let said = refuse_plain(&host, root.path()).unwrap_err().to_string();
        assert!(said.contains("secrets.two") && !said.contains("hunter2"), "{said}");
        fs::write(place.join("one.age"), "hunter2").unwrap();
        let said = refuse_plain(&host, root.path()).unwrap_err().to_string();
        assert!(said.contains("secrets.one") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn t19_inputs_of_the_workstation_alone_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let lock = |locked: &str| {
            let text =
                format!("{{\"nodes\": {{\"mine\": {{\"locked\": {locked}}}, \"root\": {{}}}}}}");
            fs::write(root.path().join("flake.lock"), text).unwrap();
            refuse_local_inputs(root.path()).map_err(|error| error.to_string())
        };
        assert_eq!(lock(r#"{"type": "path", "path": "./bedplate"}"#), Ok(()));
        assert_eq!(lock(r#"{"type": "github", "owner": "a", "repo": "b"}"#), Ok(()));
        assert_eq!(lock(r#"{"type": "git", "url": "ssh://git@example.org/x"}"#), Ok(()));
        for bad in [
            r#"{"type": "path", "path": "/home/me/secrets"}"#,
            r#"{"type": "git", "url": "file:///home/me/secrets"}"#,
        ] {
            assert!(lock(bad).unwrap_err().contains("its input `mine` stands on this machine"));
        }
    }
}
