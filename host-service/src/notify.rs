//! Telling somebody who does not look: that a pool is not whole, that a backup is too old, that a unit of
//! ours failed, that the machine is not as host.toml says; and when each is over.
//!
//! What is to be told is decided by a machine of states ([`machine`]); it is kept before it is sent, and
//! until it has arrived. A message that could not be sent is tried again, and nothing is said twice.

mod fit;
pub mod machine;
mod mail;
mod observe;
mod post;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_model::host::{HostFile, Notify};

use crate::backup::record::now;
use crate::secret::Repository;
use bedplate_engine::in_time::Asked;
use bedplate_events::cause::in_line;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status;
use bedplate_tools::atomic::{self, WriteError};

pub use machine::{Event, Message, State};
pub use mail::MailError;
pub use observe::{Held, LookError};
pub use post::PostError;

use machine::{Observation, Setting, Waiting};

/// Under the state directory.
const FILE: &str = "told.json";
/// Name of the address of `notify.url`.
const URL: &str = "url";
/// Name of the address of `notify.mail`.
const MAIL: &str = "mail";

/// Somebody who could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// host.toml names nobody.
    #[error("host.toml has no section `[notify]`: nobody is told of anything")]
    Nobody,
    /// Not everything could be looked at.
    #[error("not everything could be looked at")]
    Look(#[from] LookError),
    /// An address.
    #[error("nobody could be told that {title}; it is kept, and tried again")]
    Send {
        /// What should have been told.
        title: String,
        /// Why it was not sent: by HTTP, or by mail.
        #[source]
        source: SendError,
    },
    /// The service that notices silence.
    #[error("everybody was told, and `notify.ping` could not be fetched")]
    Ping(#[source] PostError),
    /// What is kept.
    #[error("could not read what was told before, {}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the kernel said when the file was read, or why its text is not what is kept.
        #[source]
        source: io::Error,
    },
    /// What is kept.
    #[error("it could not be kept what was told, it will be told again")]
    Write(#[from] WriteError),
}

/// A message that an address did not take.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server at `notify.url` was not reached, or did not take the message.
    #[error(transparent)]
    Post(#[from] PostError),
    /// The machine's `sendmail` did not take the message to `notify.mail`.
    #[error(transparent)]
    Mail(#[from] MailError),
}

impl SendError {
    /// Whether nobody answered. What else waits for this address would only wait as long.
    fn is_silence(&self) -> bool {
        match self {
            Self::Post(PostError::Request { .. }) => true,
            Self::Post(_) => false,
            Self::Mail(error) => error.is_silence(),
        }
    }
}

/// Looks at everything and tells whom host.toml names what has changed. Returns the titles of what
/// arrived. `held` lets go what a backup left held.
pub fn news(context: &Context, held: Asked<Held>) -> Result<Vec<String>, NotifyError> {
    let notify = context.intent.notify.as_ref().ok_or(NotifyError::Nobody)?;
    let (found, mut failures) = observe::observe(context, held, now());
    let repository = Repository::of(&context.intent);
    let mut send = |channel: &str, message: &Message| {
        send(notify, &context.intent, &repository, channel, message)
    };
    let kept = Kept::of(context);
    let told = tell(&context.intent, notify, &found, now(), &kept, &mut send)?;
    if let Some(failure) = failures.pop() {
        return Err(failure.into());
    }
    if let Some(url) = &notify.ping {
        post::ping(url).map_err(NotifyError::Ping)?;
    }
    Ok(told)
}

/// As [`news`], of what was found at `now`. What is to be told is kept before it is sent. One
/// message that does not arrive does not keep the others from being sent; an address that does not answer
/// is not tried again before the next look, so that the others are told in time.
fn tell(
    host: &HostFile,
    notify: &Notify,
    found: &Observation,
    now: u64,
    kept: &Kept,
    send: &mut dyn FnMut(&str, &Message) -> Result<(), SendError>,
) -> Result<Vec<String>, NotifyError> {
    let channels = channels(notify);
    let remind = notify.remind_hours.map(|hours| u64::from(hours) * 3600);
    let setting = Setting { machine: &host.host.name, channels: &channels, remind };
    let mut state = kept.read()?.after(found, now, setting);
    // A disk that is full or broken must not keep anybody from hearing of it.
    let written = kept.write(&state);
    let (mut titles, mut failure) = (Vec::new(), None);
    let mut silent: BTreeMap<String, String> = BTreeMap::new();
    for waiting in std::mem::take(&mut state.waiting) {
        if let Some(why) = silent.get(&waiting.channel) {
            state.waiting.push(Waiting { failure: Some(why.clone()), ..waiting });
            continue;
        }
        let title = waiting.message.title.clone();
        match send(&waiting.channel, &waiting.message) {
            Ok(()) => titles.push(title),
            Err(source) => {
                let (attempts, why) = (waiting.attempts.saturating_add(1), in_line(&source));
                if source.is_silence() {
                    silent.insert(waiting.channel.clone(), why.clone());
                }
                state.waiting.push(Waiting { attempts, failure: Some(why), ..waiting });
                failure = Some(NotifyError::Send { title, source });
            }
        }
    }
    kept.write(&state)?;
    written?;
    titles.dedup();
    failure.map_or(Ok(titles), Err)
}

/// Sends a message that says nothing but that messages arrive, to every address.
pub fn test(host: &HostFile) -> Result<String, NotifyError> {
    let notify = host.notify.as_ref().ok_or(NotifyError::Nobody)?;
    let title = format!("{}: a test", host.host.name);
    let message = Message {
        condition: "test".into(),
        event: Event::Test,
        title: title.clone(),
        text: "Messages of this machine arrive here.".into(),
        urgent: false,
        at: now(),
    };
    for channel in channels(notify) {
        send(notify, host, &Repository::of(host), &channel, &message)
            .map_err(|source| NotifyError::Send { title: title.clone(), source })?;
    }
    Ok(title)
}

/// Whether what is to be told arrives: an address for which messages wait is not as intended (T43).
pub fn compared(context: &Context) -> Vec<Status> {
    let Some(notify) = &context.intent.notify else { return Vec::new() };
    let state = Kept::of(context).read();
    let line = |channel: String| {
        let refused = match &state {
            Ok(state) => undelivered(state, &channel),
            Err(error) => Some(error.to_string()),
        };
        let agrees = refused.is_none();
        let (actions, notes, wants) = (Vec::new(), Vec::new(), Vec::new());
        let (intent, reality) = (Some("every message arrives".to_owned()), None);
        let name = Some(channel);
        Status { kind: "notify", name, agrees, intent, reality, actions, refused, notes, wants }
    };
    channels(notify).into_iter().map(line).collect()
}

fn undelivered(state: &State, channel: &str) -> Option<String> {
    let waiting: Vec<_> = state.waiting.iter().filter(|one| one.channel == channel).collect();
    let newest = waiting.last()?;
    let dropped = state.dropped.get(channel).map(|count| format!(", {count} older ones were lost"));
    Some(format!(
        "{} messages have not arrived{}; the newest, \"{}\": {}",
        waiting.len(),
        dropped.unwrap_or_default(),
        newest.message.title,
        newest.failure.as_deref().unwrap_or("not tried yet")
    ))
}

fn channels(notify: &Notify) -> Vec<String> {
    let url = notify.url.as_ref().map(|_| URL.to_owned());
    url.into_iter().chain(notify.mail.as_ref().map(|_| MAIL.to_owned())).collect()
}

fn send(
    notify: &Notify,
    host: &HostFile,
    repository: &Repository,
    channel: &str,
    message: &Message,
) -> Result<(), SendError> {
    match (channel, &notify.url, &notify.mail) {
        (URL, Some(url), _) => Ok(post::post(notify, url, host, repository, message)?),
        (MAIL, _, Some(address)) => {
            Ok(mail::send(Path::new(mail::PROGRAM), address, message, mail::PATIENCE)?)
        }
        // Messages for addresses that are gone do not wait.
        _ => Ok(()),
    }
}

/// Where it is kept what was told and what waits.
struct Kept {
    path: PathBuf,
    /// In memory, while nothing can be written to the disk: nobody would be told of that otherwise, or
    /// every time anew.
    spare: PathBuf,
}

impl Kept {
    fn of(context: &Context) -> Self {
        Self { path: context.state.join(FILE), spare: context.runtime.join(FILE) }
    }

    /// The spare one is newer where it is there: it goes when the other could be written.
    fn read(&self) -> Result<State, NotifyError> {
        match read(&self.spare) {
            Ok(Some(state)) => Ok(state),
            _ => Ok(read(&self.path)?.unwrap_or_default()),
        }
    }

    fn write(&self, state: &State) -> Result<(), WriteError> {
        match write(&self.path, state) {
            Ok(()) => {
                // None is there as a rule.
                let _ = fs::remove_file(&self.spare);
                Ok(())
            }
            Err(error) => {
                write(&self.spare, state)?;
                Err(error)
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<State>, NotifyError> {
    let failed = |source| NotifyError::Read { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
        // A damaged record costs one message more.
        Ok(text) => Ok(Some(serde_json::from_str(&text).unwrap_or_default())),
    }
}

fn write(path: &Path, state: &State) -> Result<(), WriteError> {
    let text = serde_json::to_string_pretty(state)
        .map_err(|error| WriteError { path: path.to_owned(), source: error.into() })?;
    atomic::write(path, &text, 0o600)
}

#[cfg(test)]
mod tests;
