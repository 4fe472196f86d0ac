//! Secrets as a kind of resource: whether each opens, and whether its file holds it.

use std::collections::BTreeSet;
use std::fmt;

use bedplate_events::Outcome;
use bedplate_model::host::{HostFile, SecretFile, SecretReference};
use serde::Serialize;

use super::Repository;
use super::file::{self, Access, FileError};
use bedplate_engine::StepReporter;
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Description, Kind, Resource};

/// Every secret of the repository.
pub struct Secrets;

/// What is done about a file in memory. Whether a secret opens nobody can change here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The secret is written to its file.
    Write {
        /// Name of the secret and of its file.
        name: String,
        /// Where it comes from and who may read it.
        file: SecretFile,
    },
    /// The file of a secret that `host.toml` no longer names is removed.
    Remove {
        /// Name of the file.
        name: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { name, file } => {
                write!(formatter, "write the secret {name} into memory, for {}", file.owner)?;
                file.group.iter().try_for_each(|group| write!(formatter, " and the group {group}"))
            }
            Self::Remove { name } => write!(formatter, "remove the secret {name} from memory"),
        }
    }
}

/// How a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It opens, and its file holds it when it has one.
    Sound,
    /// It opens, and its file does not hold it.
    NoFile,
    /// Why it does not open, or cannot be given to its owner.
    Refused(String),
}

/// The secrets by their keys in `host.toml`, and files of others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    secrets: Vec<(String, State)>,
    leftover: BTreeSet<String>,
    /// Passwords of backups that this machine alone can open.
    lost_with_the_machine: BTreeSet<String>,
}

/// What its owner has to see to before the machine is lost.
const LOST: &str = "this machine's key alone opens the password: with the machine, its backups are \
    lost; encrypt it for a key of yours too, commit, and pull in /etc/nixos";

/// Whether a key of `host.toml` is that of a backup's password.
fn is_password(key: &str) -> bool {
    key.starts_with("backups.") && key.ends_with(".password")
}

/// The key of a secret that has a file.
fn name_of(key: &str) -> Option<&str> {
    key.strip_prefix("secrets.")
}

impl Kind for Secrets {
    type Observed = Observed;
    type Action = Action;
    type Error = FileError;

    const NAME: &'static str = "secret";
    const ADVICE: &'static str = "what uses it is not set up; on a workstation with an admin's key run `bedplate secrets rekey`, push, pull in /etc/nixos, then run `bedplate-host converge`";

    fn observe(&self, context: &Context) -> Result<Observed, FileError> {
        let references = context.intent.repository_secrets();
        let lost_with_the_machine = references
            .iter()
            .filter(|(key, _)| is_password(key))
            // What cannot be read is told with the secret itself.
            .filter(|(_, reference)| repository(context).is_for_one(reference).unwrap_or(false))
            .map(|(key, _)| key.clone())
            .collect();
        let secrets = references.into_iter().map(|(key, reference)| {
            let state = look(context, &key, reference);
            (key, state.unwrap_or_else(|error| State::Refused(in_line(&error))))
        });
        let files = bedplate_facts::roots::names(&file::directory(&context.runtime));
        let leftover = files.into_iter().filter(|name| !context.intent.secrets.contains_key(name));
        let (secrets, leftover) = (secrets.collect(), leftover.collect());
        Ok(Observed { secrets, leftover, lost_with_the_machine })
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        let resource = |(key, state): &(String, State)| match state {
            State::Sound => Resource::new(key, Vec::new()),
            State::NoFile => {
                let wanted = name_of(key).and_then(|name| intent.secrets.get_key_value(name));
                let write = wanted
                    .map(|(name, file)| Action::Write { name: name.clone(), file: file.clone() });
                Resource::new(key, write.into_iter().collect())
            }
            State::Refused(why) => Resource::refused(key, why),
        };
        let leftover = |name: &String| {
            Resource::new(&format!("secrets.{name}"), vec![Action::Remove { name: name.clone() }])
        };
        let declared = observed.secrets.iter().map(resource).map(|resource| {
            let lost = observed.lost_with_the_machine.contains(&resource.name);
            Resource { wants: lost.then(|| LOST.to_owned()).into_iter().collect(), ..resource }
        });
        declared.chain(observed.leftover.iter().map(leftover)).collect()
    }

    fn describe(_: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        let (_, state) = observed.secrets.iter().find(|(one, _)| one == name)?;
        let reality = match state {
            State::Sound => "opens",
            State::NoFile => "opens, and its file does not hold it",
            State::Refused(_) => "does not open",
        };
        let intent = "opens with the host's ssh key".to_owned();
        Some(Description { intent, reality: reality.to_owned() })
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        _of_step: &StepReporter<'_>,
    ) -> Result<Outcome, FileError> {
        let directory = file::directory(&context.runtime);
        match action {
            Action::Write { name, file } => {
                let access = Access::of(file, &context.configuration)?;
                let secret = repository(context).open(&file.source)?;
                file::write(&directory.join(name), &secret, access)?;
            }
            Action::Remove { name } => file::remove(&directory.join(name))?,
        }
        Ok(Outcome::Done)
    }
}

fn repository(context: &Context) -> Repository {
    Repository::below(&context.configuration, &context.intent)
}

fn look(context: &Context, key: &str, reference: &SecretReference) -> Result<State, FileError> {
    let secret = repository(context).open(reference)?;
    let Some((name, wanted)) =
        name_of(key).and_then(|name| context.intent.secrets.get_key_value(name))
    else {
        return Ok(State::Sound);
    };
    let access = Access::of(wanted, &context.configuration)?;
    let path = file::directory(&context.runtime).join(name);
    Ok(if file::agrees(&path, &secret, access) { State::Sound } else { State::NoFile })
}
