//! Running external commands: argv only, output captured, the tail of stderr in the error.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

mod limited;

use crate::secret::Secret;

/// How often those that work for hours let others be looked after. A look may wake a disk that sleeps.
pub const LOOK: Duration = Duration::from_secs(300);

/// How much of stderr an error keeps, in bytes.
const TAIL: usize = 2000;

/// A command that could not be run or did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started, or its pipes broke.
    #[error("could not run `{program}`")]
    Start {
        /// The program.
        program: String,
        /// What the kernel said when it was started, or a pipe of it was read or written.
        #[source]
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("`{line}` ended with {status}: {stderr}")]
    Failed {
        /// The program and its arguments (never a secret: those travel on standard input).
        line: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// It did not end.
    #[error("`{line}` did not end within {} s, and was killed", .limit.as_secs())]
    TooLong {
        /// The program and its arguments.
        line: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It wrote something that is not UTF-8.
    #[error("`{program}` wrote something that is not UTF-8")]
    NotText {
        /// The program.
        program: String,
    },
    /// It wrote a text that is not of the form it is known for.
    #[error("what `{program}` wrote was not understood")]
    NotUnderstood {
        /// The program.
        program: String,
    },
    /// It wrote something else than what it is known to write.
    #[error("`{program}` wrote something unexpected")]
    Unexpected {
        /// The program.
        program: String,
        /// Where its output is not the JSON that is known of it.
        #[source]
        source: serde_json::Error,
    },
}

impl CommandError {
    /// The exit code, when the command ran and ended by itself.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Failed { status, .. } => status.code(),
            Self::Start { .. }
            | Self::TooLong { .. }
            | Self::NotText { .. }
            | Self::NotUnderstood { .. }
            | Self::Unexpected { .. } => None,
        }
    }
}

impl CommandError {
    /// Whether the command did not end in time.
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::TooLong { .. })
    }
}

/// What `Command` lacks.
pub trait CommandExt {
    /// Runs to the end with no standard input; an exit status other than 0 is an error.
    fn run(&mut self) -> Result<(), CommandError>;
    /// As [`CommandExt::run`], and returns what was written to stdout.
    fn read(&mut self) -> Result<String, CommandError>;
    /// As [`CommandExt::read`], whatever the bytes are.
    fn read_bytes(&mut self) -> Result<Vec<u8>, CommandError>;
    /// Runs to the end with `input` on standard input; returns stdout.
    fn read_with_input(&mut self, input: &[u8]) -> Result<String, CommandError>;
    /// As [`CommandExt::read_with_input`] with a secret.
    fn read_with_secret(&mut self, secret: &Secret) -> Result<String, CommandError>;
    /// As [`CommandExt::read`]; `said` gets what is written to stderr as it comes, and `tail`
    /// is asked afterwards what of it an error should keep.
    fn read_listening<T>(
        &mut self,
        listener: &mut T,
        said: fn(&mut T, &[u8]),
        tail: fn(&T) -> String,
    ) -> Result<String, CommandError>;
    /// As [`CommandExt::read_with_input`] with a limit: what has not ended by then is killed.
    fn read_within(&mut self, limit: Duration, input: &[u8]) -> Result<String, CommandError>;
    /// As [`CommandExt::run`], for hours: `meanwhile` is called each time so much time has passed.
    fn run_meanwhile(
        &mut self,
        every: Duration,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(), CommandError>;
    /// As [`CommandExt::finish`] with a limit.
    fn finish_within(&mut self, limit: Duration) -> Result<Output, CommandError>;
    /// Runs to the end and returns status, stdout and stderr, whatever the status.
    fn finish(&mut self) -> Result<Output, CommandError>;
    /// As [`CommandExt::finish`] with a secret on standard input.
    fn finish_with_secret(&mut self, secret: &Secret) -> Result<Output, CommandError>;
    /// As [`CommandExt::finish_with_secret`]; `line` gets each line of stderr as it comes, without its
    /// end, and only the last of it is kept.
    fn finish_hearing(
        &mut self,
        secret: &Secret,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<Output, CommandError>;
    /// As [`CommandExt::read_with_secret`]; `line` gets each line of stdout as it comes, without its
    /// end, and nothing of it is kept.
    fn read_lines_with_secret(
        &mut self,
        secret: &Secret,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CommandError>;
    /// What an `output` means that is none of those a caller knows: its status and its stderr.
    fn failure(&self, output: &Output) -> CommandError;
}

impl CommandExt for Command {
    fn run(&mut self) -> Result<(), CommandError> {
        let output = self.finish()?;
        check(self, &output)
    }

    fn read(&mut self) -> Result<String, CommandError> {
        let output = self.finish()?;
        check(self, &output)?;
        text(self, output.stdout)
    }

    fn read_bytes(&mut self) -> Result<Vec<u8>, CommandError> {
        let output = self.finish()?;
        check(self, &output)?;
        Ok(output.stdout)
    }

    fn read_with_input(&mut self, input: &[u8]) -> Result<String, CommandError> {
        let output = finish_with_input(self, input)?;
        check(self, &output)?;
        text(self, output.stdout)
    }

    fn read_with_secret(&mut self, secret: &Secret) -> Result<String, CommandError> {
        self.read_with_input(secret.expose())
    }

    fn read_listening<T>(
        &mut self,
        listener: &mut T,
        said: fn(&mut T, &[u8]),
        tail: fn(&T) -> String,
    ) -> Result<String, CommandError> {
        let started =
            self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.map_err(|source| start_error(self, source))?;
        let stderr = child.stderr.take();
        let output = std::thread::scope(|scope| {
            // A pipe that nobody empties stops the child: both are read at once.
            let waiting = scope.spawn(move || child.wait_with_output());
            let mut buffer = vec![0; 64 << 10];
            if let Some(mut pipe) = stderr {
                while let Some(bytes) = read_some(&mut pipe, &mut buffer) {
                    said(listener, bytes);
                }
            }
            waiting.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        });
        let mut output = output.map_err(|source| start_error(self, source))?;
        output.stderr = tail(listener).into_bytes();
        check(self, &output)?;
        text(self, output.stdout)
    }

    fn read_within(&mut self, limit: Duration, input: &[u8]) -> Result<String, CommandError> {
        let output = limited::output(self, limit, input)?;
        check(self, &output)?;
        text(self, output.stdout)
    }

    fn run_meanwhile(
        &mut self,
        every: Duration,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<(), CommandError> {
        let output = limited::meanwhile(self, every, meanwhile)?;
        check(self, &output)
    }

    fn finish_within(&mut self, limit: Duration) -> Result<Output, CommandError> {
        limited::output(self, limit, &[])
    }

    fn finish(&mut self) -> Result<Output, CommandError> {
        self.stdin(Stdio::null()).output().map_err(|source| start_error(self, source))
    }

    fn finish_with_secret(&mut self, secret: &Secret) -> Result<Output, CommandError> {
        finish_with_input(self, secret.expose())
    }

    fn finish_hearing(
        &mut self,
        secret: &Secret,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<Output, CommandError> {
        let mut child = spawn(self)?;
        let (input, stderr) = (child.stdin.take(), child.stderr.take());
        let mut tail = Vec::new();
        let mut hear = |bytes: &[u8]| {
            line(bytes);
            tail.extend_from_slice(bytes);
            tail.push(b'\n');
            tail.drain(..tail.len().saturating_sub(TAIL));
        };
        let (heard, output) = std::thread::scope(|scope| {
            scope.spawn(move || input.map(|mut pipe| pipe.write_all(secret.expose())));
            // A pipe that nobody empties stops the child: both are read at once.
            let waiting = scope.spawn(move || child.wait_with_output());
            let heard = stderr.map_or(Ok(()), |pipe| each_line(pipe, &mut hear));
            (heard, waiting.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        });
        let output = output.map_err(|source| start_error(self, source))?;
        heard.map_err(|source| start_error(self, source))?;
        Ok(Output { stderr: tail, ..output })
    }

    fn read_lines_with_secret(
        &mut self,
        secret: &Secret,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<(), CommandError> {
        let mut child = spawn(self)?;
        let (input, stdout) = (child.stdin.take(), child.stdout.take());
        let (heard, output) = std::thread::scope(|scope| {
            scope.spawn(move || input.map(|mut pipe| pipe.write_all(secret.expose())));
            // It reads stderr, and reaps the child; what comes on stdout is read here meanwhile.
            let waiting = scope.spawn(move || child.wait_with_output());
            let heard = stdout.map_or(Ok(()), |pipe| each_line(pipe, line));
            (heard, waiting.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        });
        let output = output.map_err(|source| start_error(self, source))?;
        check(self, &output)?;
        heard.map_err(|source| start_error(self, source))
    }

    fn failure(&self, output: &Output) -> CommandError {
        failed(self, output)
    }
}

fn spawn(command: &mut Command) -> Result<Child, CommandError> {
    let started =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    started.map_err(|source| start_error(command, source))
}

fn finish_with_input(command: &mut Command, input: &[u8]) -> Result<Output, CommandError> {
    let mut child = spawn(command)?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // A child that never reads its input must not block us: write from a thread.
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(input)));
        child.wait_with_output()
    });
    output.map_err(|source| start_error(command, source))
}

fn each_line(pipe: impl Read, line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let (mut reader, mut bytes) = (BufReader::new(pipe), Vec::new());
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        line(bytes.strip_suffix(b"\n").unwrap_or(&bytes));
        bytes.clear();
    }
    Ok(())
}

/// The next bytes; none at the end, and when the pipe breaks.
fn read_some<'a>(pipe: &mut impl Read, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match pipe.read(buffer) {
            Ok(0) => return None,
            Ok(count) => return buffer.get(..count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn start_error(command: &Command, source: io::Error) -> CommandError {
    CommandError::Start { program: lossy(command.get_program()), source }
}

fn check(command: &Command, output: &Output) -> Result<(), CommandError> {
    if output.status.success() { Ok(()) } else { Err(failed(command, output)) }
}

fn failed(command: &Command, output: &Output) -> CommandError {
    let cut = output.stderr.len().saturating_sub(TAIL);
    CommandError::Failed {
        line: line(command),
        status: output.status,
        stderr: String::from_utf8_lossy(output.stderr.get(cut..).unwrap_or_default())
            .trim()
            .to_owned(),
    }
}

fn text(command: &Command, bytes: Vec<u8>) -> Result<String, CommandError> {
    String::from_utf8(bytes)
        .map_err(|_| CommandError::NotText { program: lossy(command.get_program()) })
}

fn line(command: &Command) -> String {
    let mut words = vec![lossy(command.get_program())];
    words.extend(command.get_args().map(lossy));
    words.join(" ")
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_its_exit_code_and_the_end_of_stderr() {
        let error = Command::new("sh").args(["-c", "echo no >&2; exit 3"]).run().unwrap_err();
        assert_eq!(error.exit_code(), Some(3));
        assert!(error.to_string().ends_with("no"), "{error}");
    }

    #[test]
    fn stderr_is_heard_as_it_comes_and_its_listener_says_what_an_error_keeps() {
        let mut heard: Vec<u8> = Vec::new();
        let said = |heard: &mut Vec<u8>, bytes: &[u8]| heard.extend(bytes);
        let tail = |heard: &Vec<u8>| format!("{} bytes", heard.len());
        let script = "head -c 200000 /dev/zero >&2; head -c 200000 /dev/zero | tr '\\0' x";
        let mut command = Command::new("sh");
        let read = command.args(["-c", script]).read_listening(&mut heard, said, tail).unwrap();
        assert_eq!((read.len(), heard.len()), (200_000, 200_000));
        let mut command = Command::new("sh");
        let failed = command.args(["-c", "exit 3"]).read_listening(&mut heard, said, tail);
        assert!(failed.unwrap_err().to_string().ends_with(": 200000 bytes"));
    }

    #[test]
    fn t51_a_child_that_does_not_end_is_killed_and_with_it_whom_it_left_its_pipes() {
        let limit = Duration::from_millis(300);
        for script in ["sleep 60", "sleep 60 & exit 0", "exec >&-; sleep 60", "cat; sleep 60"] {
            let began = std::time::Instant::now();
            let mut command = Command::new("sh");
            let error = command.args(["-c", script]).read_within(limit, b"x").unwrap_err();
            assert!(error.is_too_long(), "{script}: {error}");
            assert!(error.to_string().contains("did not end within"), "{error}");
            assert!(began.elapsed() < Duration::from_secs(20), "{script}");
        }
        let mut command = Command::new("cat");
        let long = vec![b'x'; 1 << 20];
        let read = command.read_within(Duration::from_secs(60), &long).unwrap();
        assert_eq!(read.len(), long.len());
        let mut command = Command::new("sh");
        let failed = command.args(["-c", "echo no >&2; exit 3"]);
        let failed = failed.read_within(Duration::from_secs(60), b"").unwrap_err();
        assert_eq!(failed.exit_code(), Some(3));
        assert!(failed.to_string().ends_with("no"), "{failed}");
    }

    #[test]
    fn t44_what_takes_hours_lets_others_be_looked_after() {
        let place = tempfile::tempdir().unwrap();
        let go_on = place.path().join("go-on");
        let mut command = Command::new("sh");
        // It ends only because of what is done meanwhile.
        let script = "while [ ! -e \"$1\" ]; do sleep 0.05; done; echo no >&2; exit 3";
        command.args(["-c", script, "sh"]).arg(&go_on);
        let mut calls = 0;
        let failed = command.run_meanwhile(Duration::from_millis(20), &mut || {
            calls += 1;
            if calls == 3 {
                std::fs::write(&go_on, "").unwrap();
            }
        });
        let failed = failed.unwrap_err();
        assert_eq!((failed.exit_code(), failed.to_string().ends_with("no")), (Some(3), true));
        assert!(calls >= 3);
    }

    #[test]
    fn a_child_that_ignores_its_input_does_not_block() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(Command::new("true").read_with_input(&input).unwrap(), "");
    }

    #[test]
    fn lines_are_heard_as_they_come_while_stderr_and_input_are_served() {
        let script = "cat; head -c 200000 /dev/zero >&2; echo; echo two; exit $1";
        let secret = Secret::new(b"one".to_vec());
        let heard = |code: &str| {
            let mut lines = Vec::new();
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh", code]);
            let result =
                command.read_lines_with_secret(&secret, &mut |line| lines.push(line.to_vec()));
            (lines, result.map_err(|error| error.exit_code()))
        };
        let both = vec![b"one".to_vec(), b"two".to_vec()];
        assert_eq!(heard("0"), (both.clone(), Ok(())));
        assert_eq!(heard("3"), (both, Err(Some(3))));
    }

    #[test]
    fn t59_of_a_million_complaints_each_is_heard_and_the_last_are_kept() {
        let script = "cat; yes 'a file cannot be read' | head -n 200000 >&2; echo last >&2; exit 3";
        let secret = Secret::new(b"one".to_vec());
        let mut count = 0;
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]);
        let output = command.finish_hearing(&secret, &mut |_| count += 1).unwrap();
        assert_eq!((count, output.status.code()), (200_001, Some(3)));
        assert_eq!(output.stdout, b"one");
        assert!(output.stderr.len() <= TAIL && output.stderr.ends_with(b"read\nlast\n"));
        assert!(command.failure(&output).to_string().ends_with("last"));
    }

    #[test]
    fn t19_a_secret_is_not_printed() {
        let secret = Secret::new(b"canary".to_vec());
        assert!(!format!("{secret:?}").contains("canary"));
        assert_eq!(Command::new("cat").read_with_secret(&secret).unwrap(), "canary");
    }
}
