//! One message to one address, as ntfy and most webhooks take it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bedplate_spec::host::{Notify, SecretReference};
use bedplate_tools::secret::Secret;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;

use crate::secret::{Repository, SecretError};

/// How long the other side may take for each of connecting and answering.
const PATIENCE: Duration = Duration::from_secs(20);
/// No token is longer.
const TOKEN_LIMIT: u64 = 4096;

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    /// All of it.
    pub text: String,
    /// Whether somebody should come.
    pub urgent: bool,
}

/// A message that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// No connection, or no answer.
    #[error("could not reach {url}")]
    Request {
        /// Address.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Refused, or sent elsewhere, where a message would be lost.
    #[error("{url} answered {status}")]
    Status {
        /// Address.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The token's file.
    #[error("could not read the token in {}", .path.display())]
    Token {
        /// Which file.
        path: PathBuf,
        /// Why.
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
pub fn post(notify: &Notify, repository: &Repository, message: &Message) -> Result<(), PostError> {
    let token = notify.token.as_ref().map(|token| bearer(token, repository)).transpose()?;
    let failed = |source| PostError::Request { url: notify.url.clone(), source };
    let client = reqwest::blocking::Client::builder()
        // A redirected POST becomes a GET, which succeeds and tells nobody anything.
        .redirect(Policy::none())
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .build()
        .map_err(failed)?;
    let (priority, tag) =
        if message.urgent { ("high", "warning") } else { ("default", "white_check_mark") };
    let mut request = client
        .post(&notify.url)
        .header(CONTENT_TYPE, "text/plain; charset=utf-8")
        .header("Title", &message.title)
        .header("Priority", priority)
        .header("Tags", tag)
        .body(message.text.clone());
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token);
    }
    let answer = request.send().map_err(failed)?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(PostError::Status { url: notify.url.clone(), status: answer.status().as_u16() })
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
