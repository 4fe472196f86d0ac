//! One round over the files of one host.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_secrets::age_file::{self, AgeError};
use bedplate_secrets::sops;
use bedplate_secrets::sops_config::{self, Edit};
use bedplate_secrets::ssh::{self, Identity, KeyError, Recipient};
use bedplate_tools::command::CommandError;

use super::files::{self, Files};
use super::{Place, read_secret};
use crate::report::{self, Failure};

/// The host's public key, in its directory.
pub const PUBLIC_KEY: &str = "ssh_host_ed25519_key.pub";

/// The rules of sops, at the root of a repository.
const RULES: &str = ".sops.yaml";

/// Why a round ended early. What the lines before say is done and stays.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// A file.
    #[error("could not {action} {}", .path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// A file of the repository or of an admin's key, or the directory of the host.
        path: PathBuf,
        /// What the kernel said when it was read or written.
        #[source]
        source: io::Error,
    },
    /// The file that `--identity` names holds no private key that age can use.
    #[error("{} is no admin's key", .path.display())]
    Identity {
        /// Path of the file, as it was given.
        path: PathBuf,
        /// What is wrong with the key in it.
        #[source]
        source: KeyError,
    },
    /// `sops updatekeys` failed, for want of an admin's key as a rule.
    #[error(
        "sops did not re-encrypt {file}; it is as before. Is an admin's key at hand (SOPS_AGE_KEY_FILE)?"
    )]
    Sops {
        /// Path of the file of sops in the repository.
        file: String,
        /// How sops ended, with the tail of what it said.
        #[source]
        source: CommandError,
    },
    /// A file of age could not be opened, or not be sealed for the recipients of its rule.
    #[error("{file} was not re-encrypted; it is as before")]
    Age {
        /// Path of the file of age in the repository.
        file: String,
        /// What age said when it was opened or sealed.
        #[source]
        source: AgeError,
    },
    /// Recipients that a file of age cannot be sealed for here.
    #[error(
        "{file} would be lost to {names}: its rule of {RULES} names them, and a file of age is re-encrypted for age's own keys (age1…) alone, not for plugins or ssh keys. Nothing was written. Give {file} a rule that names such keys only, or keep the secret in a file of sops, which re-encrypts for all of them; then run this again"
    )]
    Recipients {
        /// Which file.
        file: String,
        /// The recipients, as the rule names them.
        names: String,
    },
    /// What is left.
    #[error("not everything could be done here:\n{0}")]
    Left(String),
}

/// What a round did.
#[derive(Debug, Default)]
pub struct Done {
    /// For people.
    pub lines: Vec<String>,
    /// What is to be done by hand or elsewhere.
    pub left: Vec<String>,
}

impl Done {
    /// A failure when something is left.
    pub fn finish(&self) -> Result<(), RoundError> {
        if self.left.is_empty() {
            return Ok(());
        }
        let left = self.left.iter().map(|line| format!("  - {line}"));
        Err(RoundError::Left(left.collect::<Vec<_>>().join("\n")))
    }

    fn say(&mut self, line: String) {
        self.lines.push(line);
    }
}

/// A host, its recipient and its files.
pub struct Round<'a> {
    place: &'a Place,
    name: &'a str,
    recipient: Recipient,
    files: Files,
    keys: Vec<Identity>,
    /// Whose rules a first `.sops.yaml` holds.
    admins: Vec<Recipient>,
}

impl<'a> Round<'a> {
    /// Looks at the host's directory; changes nothing.
    pub fn new(
        place: &'a Place,
        name: &'a str,
        recipient: Recipient,
        admins: Vec<Recipient>,
    ) -> Result<Self, Failure> {
        let directory = place.repository.join(&place.hosts).join(name);
        let document = directory.join("host.toml");
        let host = document.exists().then(|| report::read_host(&document)).transpose()?;
        let files = files::find(&directory, host.as_ref()).map_err(failed("read", &directory))?;
        let keys = match &place.identity {
            Some(path) => identities(path)?,
            None => Vec::new(),
        };
        let round = Self { place, name, recipient, files, keys, admins };
        round.check_recipients()?;
        Ok(round)
    }

    /// Refuses rules by which a file of age would lose a recipient, before anything is written.
    fn check_recipients(&self) -> Result<(), RoundError> {
        if self.files.age.is_empty() {
            return Ok(());
        }
        let path = self.place.repository.join(RULES);
        let rules = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed("read", &path))?,
        };
        let files = self.files.age.iter().map(|file| format!("{}/{file}", self.directory()));
        files.into_iter().try_for_each(|file| wanted(&rules, &file).map(drop))
    }

    /// `.sops.yaml`, then the files of sops, then those of age.
    pub fn run(&self) -> Result<Done, RoundError> {
        let mut done = Done::default();
        done.say(format!("{} is {}", self.name, self.recipient));
        if self.files == Files::default() {
            done.say(format!(
                "{} has no file of sops, and its host.toml names none of age",
                self.directory()
            ));
        }
        let rules = self.rules(&mut done)?;
        for file in &self.files.sops {
            self.sops(file, &mut done)?;
        }
        for file in &self.files.age {
            self.age(file, rules.as_deref(), &mut done)?;
        }
        Ok(done)
    }

    fn directory(&self) -> String {
        format!("{}/{}", self.place.hosts, self.name)
    }

    /// Adds the recipient to the rule of each file. The rules as they are then, if there are some.
    fn rules(&self, done: &mut Done) -> Result<Option<String>, RoundError> {
        let path = self.place.repository.join(RULES);
        let before = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.first_rules(&path, done);
            }
            Err(source) => return Err(failed("read", &path)(source)),
        };
        let mut text = before.clone();
        // A host without files yet gets its place for the first one.
        let first = "secrets.yaml".to_owned();
        let named = self.files.sops.iter().chain(&self.files.age);
        let all: Vec<&String> = named.collect();
        let all = if all.is_empty() { vec![&first] } else { all };
        for file in all {
            let file = format!("{}/{file}", self.directory());
            match sops_config::add(&text, &file, &self.recipient, self.name) {
                Edit::AlreadyThere => {}
                Edit::Changed(changed) => text = changed,
                Edit::ByHand { why, add } => {
                    done.left.push(format!("{RULES}, {why}: for {file} add `{add}`"));
                }
            }
        }
        if text != before {
            write(&path, text.as_bytes())?;
            done.say(format!("{RULES} names {} now", self.name));
        }
        self.warn_of_others(&text, done);
        Ok(Some(text))
    }

    /// A repository without rules gets some when an admin is named: files for the host alone could
    /// never be changed.
    fn first_rules(&self, path: &Path, done: &mut Done) -> Result<Option<String>, RoundError> {
        if self.admins.is_empty() {
            done.left.push(format!("there is no {RULES}; write one with an admin's key first"));
            return Ok(None);
        }
        let admins = self.admins.iter().map(|admin| (admin.clone(), "admin".to_owned()));
        let host = (self.recipient.clone(), self.name.to_owned());
        let all: Vec<_> = admins.chain([host]).collect();
        let text = sops_config::new_file(&self.directory(), &all);
        write(path, text.as_bytes())?;
        done.say(format!("{RULES} is new and names {} and the admin", self.name));
        Ok(Some(text))
    }

    /// A rule for all hosts lets each of them read the secrets of the others.
    fn warn_of_others(&self, rules: &str, done: &mut Done) {
        let other = format!("{}/another-host/secrets.yaml", self.place.hosts);
        let others = sops_config::recipients(rules, &other).unwrap_or_default();
        if others.iter().any(|recipient| recipient == self.recipient.as_str()) {
            done.say(format!(
                "note: this rule of {RULES} also applies to other hosts: {} can read what is encrypted under it",
                self.name
            ));
        }
    }

    fn sops(&self, file: &str, done: &mut Done) -> Result<(), RoundError> {
        let file = format!("{}/{file}", self.directory());
        let by_hand = format!("run `sops updatekeys {file}` with an admin's key");
        if self.is_for_host(&file)? {
            done.say(format!("{file} is encrypted for {}", self.name));
            return Ok(());
        }
        if !bedplate_tools::sops::is_there() {
            done.left.push(format!("sops is not installed here: {by_hand}"));
            return Ok(());
        }
        bedplate_tools::sops::update_keys(&self.place.repository, &file)
            .map_err(|source| RoundError::Sops { file: file.clone(), source })?;
        if self.is_for_host(&file)? {
            done.say(format!("{file} is encrypted for {} now", self.name));
        } else {
            done.left.push(format!(
                "sops left {} out of {file}: see to {RULES}, then {by_hand}",
                self.name
            ));
        }
        Ok(())
    }

    /// Whether the host is among the recipients; what is no sops file is for nobody.
    fn is_for_host(&self, file: &str) -> Result<bool, RoundError> {
        let path = self.place.repository.join(file);
        let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
        let names = sops::recipients(&text).unwrap_or_default();
        Ok(names.iter().any(|name| name == self.recipient.as_str()))
    }

    fn age(&self, file: &str, rules: Option<&str>, done: &mut Done) -> Result<(), RoundError> {
        let file = format!("{}/{file}", self.directory());
        let wanted = rules.map(|rules| wanted(rules, &file)).transpose()?.unwrap_or_default();
        if !wanted.contains(&self.recipient) {
            done.left.push(format!("{file}: no rule of {RULES} says for whom it is"));
            return Ok(());
        }
        if self.keys.is_empty() {
            done.left.push(format!("{file} is a file of age: give an admin's key with --identity"));
            return Ok(());
        }
        let path = self.place.repository.join(&file);
        let sealed = fs::read(&path).map_err(failed("read", &path))?;
        let failed = |source| RoundError::Age { file: file.clone(), source };
        let secret = age_file::open(&sealed, &self.keys).map_err(failed)?;
        let sealed = age_file::seal(&secret, &wanted).map_err(failed)?;
        write(&path, &sealed)?;
        done.say(format!("{file} is encrypted for {} and {} more", self.name, wanted.len() - 1));
        Ok(())
    }
}

/// For whom the rules want a file of age; nobody where they have no rule for it. A recipient that
/// cannot be encrypted for is never left out in silence: it would lose the secret.
fn wanted(rules: &str, file: &str) -> Result<Vec<Recipient>, RoundError> {
    let names = sops_config::recipients(rules, file).unwrap_or_default();
    let (mut wanted, mut foreign) = (Vec::new(), Vec::new());
    for name in &names {
        match name.parse::<Recipient>() {
            Ok(recipient) => wanted.push(recipient),
            Err(_) => foreign.push(name.escape_debug().to_string()),
        }
    }
    if foreign.is_empty() {
        return Ok(wanted);
    }
    Err(RoundError::Recipients { file: file.to_owned(), names: foreign.join(", ") })
}

/// The keys in a file of `age-keygen` or `ssh-keygen`.
fn identities(path: &Path) -> Result<Vec<Identity>, RoundError> {
    let file = read_secret(path).map_err(failed("read", path))?;
    let keys = if file.expose().starts_with(b"-----BEGIN OPENSSH") {
        ssh::identity(&file).map(|identity| vec![identity])
    } else {
        ssh::identities(&file)
    };
    keys.map_err(|source| RoundError::Identity { path: path.to_owned(), source })
}

/// Replaces a file: a temporary one beside it, flushed, renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), RoundError> {
    let put = || {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
        let mode = fs::metadata(path).map(|found| found.permissions());
        if let Ok(mode) = mode {
            file.as_file().set_permissions(mode)?;
        } else {
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    put().map_err(failed("write", path))
}

/// An error about a file.
pub fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RoundError {
    let path = path.to_owned();
    move |source| RoundError::File { action, path, source }
}
