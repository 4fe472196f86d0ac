//! Running a command that may hang.
//!
//! A process in an uninterruptible wait of the kernel does not even die when it is killed, and one that
//! it started may hold its pipes. So nothing here waits for more than the limit: threads read the pipes
//! and are left behind when they do not end.

use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{CommandError, line, start_error};

/// How often it is looked whether a child has ended.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long a killed child has to be gone. One that waits in the kernel may never be.
const GRACE: Duration = Duration::from_secs(2);

/// Runs `command` with `input`, for no longer than `limit`.
pub(super) fn output(
    command: &mut Command,
    limit: Duration,
    input: &[u8],
) -> Result<Output, CommandError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: what it starts is killed with it.
    command.process_group(0);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_vec();
        // A child that does not read its input says what is wrong by its status.
        thread::spawn(move || pipe.write_all(&input));
    }
    let ended = loop {
        match child.try_wait().map_err(|source| start_error(command, source))? {
            Some(status) => break Some(status),
            None if began.elapsed() >= limit => break None,
            None => thread::sleep(INTERVAL),
        }
    };
    let left = || limit.saturating_sub(began.elapsed()).max(INTERVAL);
    // It has ended, and one that it started may still hold the pipes.
    let all = ended.and_then(|status| {
        let stdout = stdout.recv_timeout(left()).ok()?;
        let stderr = stderr.recv_timeout(left()).ok()?;
        Some(Output { status, stdout, stderr })
    });
    all.ok_or_else(|| {
        kill(&mut child);
        CommandError::TooLong { line: line(command), limit }
    })
}

/// Runs `command` to its end, and calls `meanwhile` each time so much time has passed.
pub(super) fn meanwhile(
    command: &mut Command,
    every: Duration,
    meanwhile: &mut dyn FnMut(),
) -> Result<Output, CommandError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    let (stdout, stderr) = (read(child.stdout.take()), read(child.stderr.take()));
    let mut last = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|source| start_error(command, source))? {
            break status;
        }
        if last.elapsed() >= every {
            meanwhile();
            last = Instant::now();
        }
        thread::sleep(INTERVAL);
    };
    let said = |pipe: Receiver<Vec<u8>>| pipe.recv_timeout(GRACE).unwrap_or_default();
    Ok(Output { status, stdout: said(stdout), stderr: said(stderr) })
}

/// Everything from a pipe, once it is closed.
fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What a broken pipe gave is what there is.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        sender.send(bytes)
    });
    receiver
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended, and those it started not.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let began = Instant::now();
    while began.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(INTERVAL);
    }
}
