//! `mmdebstrap`: a Debian root file system as a stream of tar.

use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};

use crate::command::CommandError;

const PROGRAM: &str = "mmdebstrap";

/// What to make.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    /// Suite, for example `trixie`.
    pub suite: &'a str,
    /// Mirror; without one `mmdebstrap` chooses from the machine's configuration.
    pub mirror: Option<&'a str>,
    /// Packages beside apt and what is essential.
    pub packages: &'a [&'a str],
    /// Whether to use root's rights instead of a user namespace.
    pub as_root: bool,
}

/// Runs `mmdebstrap` and hands its tar to `consume`, whose own failure comes first.
pub fn stream<T, E>(
    request: &Tree<'_>,
    consume: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> Result<Result<T, E>, CommandError> {
    let mut log = tempfile::tempfile().map_err(start)?;
    let mut child = command(request)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log.try_clone().map_err(start)?)
        .spawn()
        .map_err(start)?;
    let consumed = child.stdout.take().map(|mut pipe| {
        let result = consume(&mut pipe);
        if result.is_ok() {
            // What follows the end mark of the archive; without this the writer would fail.
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        result
    });
    let status = child.wait().map_err(start)?;
    match consumed {
        Some(Err(error)) => Ok(Err(error)),
        Some(Ok(value)) if status.success() => Ok(Ok(value)),
        _ => Err(CommandError::Failed { line: line(request), status, stderr: tail(&mut log) }),
    }
}

fn command(request: &Tree<'_>) -> Command {
    let mode = if request.as_root { "root" } else { "unshare" };
    let mut command = Command::new(PROGRAM);
    command.args(["--variant=apt", "--format=tar", "--architectures=amd64"]);
    command.arg(format!("--mode={mode}"));
    command.arg(format!("--include={}", request.packages.join(",")));
    command.arg(request.suite).arg("-");
    command.args(request.mirror);
    command
}

fn line(request: &Tree<'_>) -> String {
    let command = command(request);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn tail(log: &mut std::fs::File) -> String {
    let mut text = Vec::new();
    let length = log.seek(SeekFrom::End(0)).unwrap_or(0);
    let _ = log.seek(SeekFrom::Start(length.saturating_sub(2000)));
    let _ = log.read_to_end(&mut text);
    String::from_utf8_lossy(&text).trim().to_owned()
}

fn start(source: std::io::Error) -> CommandError {
    CommandError::Start { program: PROGRAM.to_owned(), source }
}
