//! Telling somebody who does not look: a message when a pool is no longer whole, and when it is
//! again.
//!
//! What was told is kept, and only once it was taken: a message that could not be sent is tried
//! again, and nothing is said twice.

mod post;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_spec::host::HostFile;
use serde::{Deserialize, Serialize};

use crate::atomic::{self, WriteError};
use crate::pool::{self, Health, MemberState, PoolError, Status};
use crate::secret::Repository;

pub use post::{Message, PostError, post};

/// Somebody who could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// host.toml names nobody.
    #[error("host.toml has no section `[notify]`: nobody is told of anything")]
    Nobody,
    /// The pools.
    #[error("it could not be found out how the pools stand")]
    Pools(#[from] PoolError),
    /// The address.
    #[error("nobody could be told that {title}")]
    Post {
        /// What should have been told.
        title: String,
        /// Why.
        #[source]
        source: PostError,
    },
    /// What is kept.
    #[error("could not read what was told before, {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is kept.
    #[error("it could not be kept what was told, it will be told again")]
    Write(#[from] WriteError),
}

/// How the pools stood when somebody was told last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    pools: BTreeMap<String, Standing>,
}

/// What is worth a message when it changes. Numbers of errors are not in it: they grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Standing {
    health: Health,
    /// Members that are not as they should be.
    members: BTreeMap<String, MemberState>,
    /// How many things are to be done.
    wants: usize,
}

impl Standing {
    fn of(status: &Status) -> Self {
        let members = status.members.iter().filter(|member| member.state != MemberState::InPool);
        Self {
            health: status.health,
            members: members.map(|member| (member.role.clone(), member.state)).collect(),
            wants: status.next.len(),
        }
    }
}

impl Told {
    /// What was told before; nothing when nothing was.
    pub fn read(path: &Path) -> Result<Self, NotifyError> {
        let failed = |source| NotifyError::Read { path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error)),
            // A damaged record costs one message more.
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
        }
    }

    fn write(&self, path: &Path) -> Result<(), WriteError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| WriteError { path: path.to_owned(), source: error.into() })?;
        atomic::write(path, &text, 0o600)
    }

    /// The message about a pool, when there is one. A pool that was whole whenever it was looked
    /// at is nothing to tell.
    fn news(&self, machine: &str, status: &Status) -> Option<Message> {
        let whole = status.health == Health::Whole;
        match self.pools.get(&status.name) {
            Some(before) if *before == Standing::of(status) => return None,
            None if whole => return None,
            _ => {}
        }
        let how = match status.health {
            Health::Whole => "is whole again",
            Health::Degraded => "is DEGRADED",
            Health::Down => "is NOT MOUNTED",
        };
        Some(Message {
            title: format!("{machine}: pool {} {how}", status.name),
            text: status.to_string(),
            urgent: !whole,
        })
    }
}

/// Tells what has changed, by `tell`; what it took is kept at `path`. Returns the titles. One
/// pool that cannot be told of does not keep the others from being told.
fn tell_news(
    machine: &str,
    found: &[Status],
    path: &Path,
    tell: &mut dyn FnMut(&Message) -> Result<(), PostError>,
) -> Result<Vec<String>, NotifyError> {
    let mut told = Told::read(path)?;
    told.pools.retain(|name, _| found.iter().any(|status| status.name == *name));
    let mut titles = Vec::new();
    let mut failure = None;
    for status in found {
        let standing = Standing::of(status);
        if let Some(message) = told.news(machine, status) {
            let title = message.title.clone();
            if let Err(source) = tell(&message) {
                failure = Some(NotifyError::Post { title, source });
                continue;
            }
            titles.push(title);
        }
        if told.pools.insert(status.name.clone(), standing.clone()) != Some(standing) {
            told.write(path)?;
        }
    }
    failure.map_or(Ok(titles), Err)
}

/// Looks at the pools and tells whom host.toml names what has changed since the last time.
pub fn news(host: &HostFile, path: &Path) -> Result<Vec<String>, NotifyError> {
    let notify = host.notify.as_ref().ok_or(NotifyError::Nobody)?;
    let found = pool::status(host)?;
    let repository = Repository::of(host);
    tell_news(&host.host.name, &found, path, &mut |message| post(notify, &repository, message))
}

/// Sends a message that says nothing but that messages arrive.
pub fn test(host: &HostFile) -> Result<String, NotifyError> {
    let notify = host.notify.as_ref().ok_or(NotifyError::Nobody)?;
    let title = format!("{}: a test", host.host.name);
    let text = "Messages of this machine arrive here.".to_owned();
    let message = Message { title: title.clone(), text, urgent: false };
    match post(notify, &Repository::of(host), &message) {
        Ok(()) => Ok(title),
        Err(source) => Err(NotifyError::Post { title, source }),
    }
}

#[cfg(test)]
mod tests;
