//! The machine's ssh key, for a repository whose secrets are encrypted for it.
//!
//! Only where the repository has a `.sops.yaml`; anywhere else the key is made at the first boot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_secrets::sops_config::{self, Edit};
use bedplate_secrets::ssh;
use bedplate_tools::secret::Secret;
use bedplate_tools::{ssh_keygen, sync};

use crate::error::{During as _, StepError};

/// The public half, in the host's directory of the repository.
pub const PUBLIC_KEY: &str = "ssh_host_ed25519_key.pub";

/// Who may read what, at the root of a repository.
pub const RULES: &str = ".sops.yaml";

/// Where the key goes and whom to tell.
pub struct HostKey<'a> {
    /// The target's `/etc`.
    pub configuration: &'a Path,
    /// Whether a key stick has a sealed key that the first boot would take.
    pub sealed: bool,
    /// What a person should know.
    pub warn: &'a dyn Fn(String),
}

impl HostKey<'_> {
    /// The line of the public key; made once, also when an earlier run was cut off. None where
    /// the repository has no rules.
    pub fn public(&self, repository: &Path, name: &str) -> Result<Option<String>, StepError> {
        if !repository.join(RULES).is_file() {
            return Ok(None);
        }
        let path = self.configuration.join("ssh/ssh_host_ed25519_key");
        if !path.exists() {
            make(&path, name).during("could not make the host's ssh key")?;
        }
        let key = fs::read(&path).map(Secret::new).during("could not read the host's ssh key")?;
        let line = ssh::public_line(&key).during("the host's ssh key is not usable")?;
        Ok(Some(line))
    }

    /// Adds the recipient of `public` to the rules for `directory`; the files themselves are
    /// re-encrypted where an admin's key is.
    pub fn add_to_rules(
        &self,
        repository: &Path,
        directory: &str,
        name: &str,
        public: &str,
    ) -> Result<(), StepError> {
        let path = repository.join(RULES);
        let what = || format!("could not add the host to {}", path.display());
        let recipient = ssh::recipient(public).during(what())?;
        let text = fs::read_to_string(&path).during(what())?;
        match sops_config::add(&text, &format!("{directory}/secrets.yaml"), &recipient, name) {
            Edit::AlreadyThere => return Ok(()),
            Edit::Changed(changed) => {
                let staging = repository.join(".git/bedplate-rules");
                fs::write(&staging, changed).during(what())?;
                sync::file_system(repository).during(what())?;
                fs::rename(&staging, &path).during(what())?;
            }
            Edit::ByHand { why, add } => {
                (self.warn)(format!("{RULES} was left as it is ({why}): add `{add}`"));
            }
        }
        (self.warn)(format!(
            "{name} opens its secrets once they are encrypted for it: run `bedplate secrets rekey {name}` on a machine with an admin's key"
        ));
        Ok(())
    }
}

/// Makes a key; the private half gets its name last, so that a cut leaves all of it or none.
fn make(path: &Path, name: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let beside = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let (new, new_public) = (beside(".new"), beside(".new.pub"));
    fs::create_dir_all(directory)?;
    for leftover in [&new, &new_public] {
        match fs::remove_file(leftover) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    ssh_keygen::make(&new, &format!("root@{name}")).map_err(io::Error::other)?;
    sync::file_system(directory)?;
    fs::rename(&new_public, beside(".pub"))?;
    fs::rename(&new, path)?;
    sync::directory(directory)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ADMIN: &str = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";

    #[test]
    fn t26_a_key_is_made_once_and_only_for_a_repository_with_rules() {
        let place = tempfile::tempdir().unwrap();
        let (repository, etc) = (place.path().join("nixos"), place.path().join("etc"));
        fs::create_dir_all(repository.join(".git")).unwrap();
        let key = HostKey { configuration: &etc, sealed: false, warn: &|_| {} };
        assert_eq!(key.public(&repository, "box").unwrap(), None);
        assert!(!etc.exists());
        fs::write(repository.join(RULES), "creation_rules: []\n").unwrap();
        // Cut off while the key was made.
        fs::create_dir_all(etc.join("ssh")).unwrap();
        fs::write(etc.join("ssh/ssh_host_ed25519_key.new"), "half").unwrap();
        let line = key.public(&repository, "box").unwrap().unwrap();
        assert!(line.starts_with("ssh-ed25519 ") && line.ends_with(" root@box\n"), "{line}");
        assert_eq!(key.public(&repository, "box").unwrap().unwrap(), line);
        let names = bedplate_facts::roots::names(&etc.join("ssh"));
        assert_eq!(names, ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]);
        let private = fs::metadata(etc.join("ssh/ssh_host_ed25519_key")).unwrap();
        assert_eq!(private.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_host_is_added_to_the_rules_once_or_the_line_is_told() {
        let place = tempfile::tempdir().unwrap();
        let (repository, etc) = (place.path().join("nixos"), place.path().join("etc"));
        fs::create_dir_all(repository.join(".git")).unwrap();
        let rules = format!("creation_rules:\n  - age: {ADMIN}\n");
        fs::write(repository.join(RULES), &rules).unwrap();
        let told = RefCell::new(Vec::new());
        let key = HostKey {
            configuration: &etc,
            sealed: false,
            warn: &|line| told.borrow_mut().push(line),
        };
        let line = key.public(&repository, "box").unwrap().unwrap();
        let recipient = ssh::recipient(&line).unwrap();
        for _ in 0..2 {
            key.add_to_rules(&repository, "nix/hosts/box", "box", &line).unwrap();
            let text = fs::read_to_string(repository.join(RULES)).unwrap();
            assert_eq!(text, rules.replace(ADMIN, &format!("{ADMIN},{recipient}")));
        }
        assert_eq!(told.borrow().len(), 1, "{told:?}");
        let odd = format!("creation_rules:\n  - key_groups: [{{age: [{ADMIN}]}}]\n");
        fs::write(repository.join(RULES), &odd).unwrap();
        key.add_to_rules(&repository, "nix/hosts/box", "box", &line).unwrap();
        assert_eq!(fs::read_to_string(repository.join(RULES)).unwrap(), odd);
        assert!(told.borrow()[1].contains(&format!("add `- {recipient} # box`")), "{told:?}");
    }
}
