//! One message to one address, as ntfy and most webhooks take it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bedplate_events::shown::bounded;
use bedplate_model::host::{HostFile, Notify, Receiver, SecretReference};
use bedplate_tools::secret::Secret;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;

use super::fit;
use super::machine::Message;
use crate::secret::{Repository, SecretError};
use bedplate_fetch::http;

/// How long the other side may take for each of connecting and answering.
const PATIENCE: Duration = Duration::from_secs(20);
/// No more of an answer is read, in bytes.
const ANSWER: u64 = 4096;
/// No more of an answer is shown, in characters.
const SHOWN: usize = 300;
/// No token is longer.
const TOKEN_LIMIT: u64 = 4096;

/// A message that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// No connection, or no answer.
    #[error("could not reach {url}")]
    Request {
        /// Address that was not reached.
        url: String,
        /// What the HTTP client found, such as no connection, or no answer in time.
        #[source]
        source: reqwest::Error,
    },
    /// Refused, or sent elsewhere, where a message would be lost.
    #[error("{url} answered {status}{}", said(.answer))]
    Status {
        /// Address that answered, but not with success.
        url: String,
        /// HTTP status.
        status: u16,
        /// The beginning of what it said.
        answer: String,
    },
    /// The token's file.
    #[error("could not read the token in {}", .path.display())]
    Token {
        /// Which file.
        path: PathBuf,
        /// What the kernel said when the token was read.
        #[source]
        source: io::Error,
    },
    /// Not for us alone.
    #[error("{} can be read by others: run `chmod 600` on it, and get another token", .0.display())]
    Exposed(PathBuf),
    /// Not in the flake.
    #[error("the token could not be opened")]
    Secret(#[from] SecretError),
    /// Not one that HTTP could carry.
    #[error("{0} holds no token: one line of letters, digits and signs is wanted")]
    NoToken(String),
}

/// Posts a message. Any answer but success is a failure: nobody has read it.
pub fn post(
    notify: &Notify,
    url: &str,
    host: &HostFile,
    repository: &Repository,
    message: &Message,
) -> Result<(), PostError> {
    let token = notify.token.as_ref().map(|token| bearer(token, repository)).transpose()?;
    let request = client(url)?.post(url);
    let mut request = match notify.receiver {
        Receiver::Ntfy => ntfy(request, message),
        Receiver::Webhook => request
            .header(CONTENT_TYPE, "application/json")
            .body(webhook(&host.host.name, message).to_string()),
    };
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    send(url, request)
}

/// Fetches an address, so that whoever is there knows that somebody is here.
pub fn ping(url: &str) -> Result<(), PostError> {
    send(url, client(url)?.get(url))
}

fn client(url: &str) -> Result<Client, PostError> {
    http::builder(PATIENCE)
        // A redirected POST becomes a GET, which succeeds and tells nobody anything.
        .redirect(Policy::none())
        .build()
        .map_err(|source| PostError::Request { url: url.to_owned(), source })
}

fn send(url: &str, request: RequestBuilder) -> Result<(), PostError> {
    let failed = |source| PostError::Request { url: url.to_owned(), source };
    let answer = request.send().map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status().as_u16();
    let mut said = Vec::new();
    // What cannot be read of it is not missed: the status is what counts.
    let _ = answer.take(ANSWER).read_to_end(&mut said);
    let answer = String::from_utf8_lossy(&said).trim().to_owned();
    Err(PostError::Status { url: url.to_owned(), status, answer })
}

/// What somebody else wrote, as it may be shown.
fn said(answer: &str) -> String {
    if answer.is_empty() { String::new() } else { format!(": {}", bounded(answer, SHOWN)) }
}

fn ntfy(request: RequestBuilder, message: &Message) -> RequestBuilder {
    let (priority, tag) =
        if message.urgent { ("high", "warning") } else { ("default", "white_check_mark") };
    request
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header("Title", fit::header(&message.title))
        .header("Priority", priority)
        .header("Tags", tag)
        .body(fit::text(&message.text, fit::NTFY_TEXT))
}

/// What a webhook gets.
fn webhook(host: &str, message: &Message) -> serde_json::Value {
    serde_json::json!({
        "schema": 1,
        "host": host,
        "condition": message.condition,
        "event": message.event,
        "title": message.title,
        "text": fit::text(&message.text, fit::LONGEST_TEXT),
        "urgent": message.urgent,
        "at": message.at,
    })
}

fn bearer(reference: &SecretReference, repository: &Repository) -> Result<HeaderValue, PostError> {
    let none = || PostError::NoToken(reference.to_string());
    let secret = match reference {
        SecretReference::File(path) => read(Path::new(path))?,
        repository_secret => repository.open(repository_secret)?,
    };
    let token = secret.expose().trim_ascii();
    if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
        return Err(none());
    }
    let line = Secret::new([b"Bearer ", token].concat());
    let mut value = HeaderValue::from_bytes(line.expose()).map_err(|_| none())?;
    // Not shown when a request is printed.
    value.set_sensitive(true);
    Ok(value)
}

fn read(path: &Path) -> Result<Secret, PostError> {
    let failed = |source| PostError::Token { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(PostError::Exposed(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(TOKEN_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Secret::new(bytes))
}
