//! Downloads: hashed while they stream, complete or not there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::http;
use bedplate_tools::digest;

/// The largest file that is fetched.
const LIMIT: u64 = 64 << 30;
/// How long a server may be silent, before its answer and at any moment of it.
const SILENCE: Duration = Duration::from_secs(60);

/// A file that could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The server could not be asked.
    #[error("could not fetch {url}")]
    Request {
        /// Address that nothing was fetched from.
        url: String,
        /// What the HTTP client found, such as no connection, no TLS or no answer in time.
        #[source]
        source: reqwest::Error,
    },
    /// The server did not send it.
    #[error("{url}: the server answered {status}")]
    Status {
        /// Address that was answered, but not with success.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The connection broke, or the disk is full.
    #[error("the download of {url} broke off after {done} bytes")]
    Stream {
        /// Address of the download that broke off.
        url: String,
        /// Bytes that came.
        done: u64,
        /// What broke it off: the network when it was read, or the disk when it was written.
        #[source]
        source: io::Error,
    },
    /// It is not what was asked for.
    #[error("{url} has the SHA-256 {found}, not {expected}")]
    Hash {
        /// Address that has other content than `host.toml` says.
        url: String,
        /// What host.toml says.
        expected: String,
        /// What came.
        found: String,
    },
    /// It does not end.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// Address that sent more than is accepted.
        url: String,
        /// The most that is accepted.
        limit: u64,
    },
    /// No file to write to.
    #[error("could not make a temporary file in {}", .directory.display())]
    Temporary {
        /// Directory that the download was to be kept in.
        directory: PathBuf,
        /// What the kernel said when the file was made.
        #[source]
        source: io::Error,
    },
}

/// Told how many bytes came, of how many.
pub type Progress<'a> = dyn FnMut(u64, Option<u64>) + 'a;

/// Fetches `url` into a temporary file in `directory`. The file is on disk when this
/// returns; it goes when the value is dropped without being persisted.
pub fn fetch(
    url: &str,
    expected: &str,
    directory: &Path,
    progress: &mut Progress<'_>,
) -> Result<NamedTempFile, DownloadError> {
    fetch_limited(url, expected, directory, LIMIT, progress)
}

fn fetch_limited(
    url: &str,
    expected: &str,
    directory: &Path,
    limit: u64,
    progress: &mut Progress<'_>,
) -> Result<NamedTempFile, DownloadError> {
    let request = |source| DownloadError::Request { url: url.to_owned(), source };
    let client = http::builder(SILENCE).build().map_err(request)?;
    let mut answer = client.get(url).send().map_err(request)?;
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(DownloadError::Status { url: url.to_owned(), status });
    }
    let total = answer.content_length();
    let mut file = temporary(directory)
        .map_err(|source| DownloadError::Temporary { directory: directory.to_owned(), source })?;
    let mut done = 0;
    let streamed = stream(&mut answer, file.as_file_mut(), limit, &mut |bytes| {
        done = bytes;
        progress(bytes, total);
    });
    let found = match streamed {
        Ok(Some(found)) => found,
        Ok(None) => return Err(DownloadError::TooLarge { url: url.to_owned(), limit }),
        Err(source) => return Err(DownloadError::Stream { url: url.to_owned(), done, source }),
    };
    if !found.eq_ignore_ascii_case(expected) {
        let (url, expected) = (url.to_owned(), expected.to_owned());
        return Err(DownloadError::Hash { url, expected, found });
    }
    Ok(file)
}

fn temporary(directory: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".bedplate-download-").tempfile_in(directory)
}

/// Copies and hashes; none when the limit is passed.
fn stream(
    from: &mut impl Read,
    to: &mut File,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Option<String>> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut done = 0_u64;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        done += u64::try_from(count).unwrap_or(u64::MAX);
        if done > limit {
            return Ok(None);
        }
        hash.update(bytes);
        to.write_all(bytes)?;
        progress(done);
    }
    to.sync_all()?;
    Ok(Some(digest::hexadecimal(&hash.finalize())))
}

#[cfg(test)]
mod tests;
