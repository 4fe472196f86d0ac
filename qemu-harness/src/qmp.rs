//! QEMU's control channel.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::HarnessError;
use crate::pace::Pace;
use crate::watch::Watch;

/// How long QEMU may take for an answer.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection.
#[derive(Debug)]
pub struct Qmp {
    stream: Mutex<UnixStream>,
    inbox: Watch<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    answers: Vec<Value>,
    /// Reason of the event `SHUTDOWN`.
    shutdown: Option<String>,
    closed: bool,
}

/// What QEMU counted for one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Write requests.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Discard requests.
    pub discards: u64,
    /// Bytes read.
    pub read_bytes: u64,
}

impl Qmp {
    /// Connects, waiting for the socket to appear. `on_shutdown` is called when the guest goes down.
    pub fn connect(path: &Path, on_shutdown: impl Fn() + Send + 'static) -> io::Result<Self> {
        let stream = connect(path)?;
        let inbox = Watch::<Inbox>::default();
        let (lines, target) = (BufReader::new(stream.try_clone()?), inbox.clone());
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Ok(message) = serde_json::from_str(&line)
                    && target.change(|inbox| inbox.take(message))
                {
                    on_shutdown();
                }
            }
            target.change(|inbox| inbox.closed = true);
        });
        let qmp = Self { stream: Mutex::new(stream), inbox };
        qmp.execute("qmp_capabilities", Value::Null).map_err(io::Error::other)?;
        Ok(qmp)
    }

    /// Runs a command and returns what it returns.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value, HarnessError> {
        let fail = |answer: String| HarnessError::Qmp { command: command.to_owned(), answer };
        let mut message = json!({ "execute": command });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        // One command at a time, so that answers need no ids.
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(stream, "{message}").map_err(|error| fail(error.to_string()))?;
        let answer = self.inbox.wait(Instant::now() + Pace::known().scale(LIMIT), |inbox| {
            match inbox.answers.pop() {
                Some(answer) => Some(Ok(answer)),
                None if inbox.closed => Some(Err("QEMU has ended".to_owned())),
                None => None,
            }
        });
        match answer {
            Some(Ok(mut answer)) if answer.get("return").is_some() => Ok(answer["return"].take()),
            Some(Ok(answer)) => Err(fail(answer.to_string())),
            Some(Err(reason)) => Err(fail(reason)),
            None => Err(fail("no answer in time".to_owned())),
        }
    }

    /// What QEMU counted for the disk of a role since it started.
    pub fn counters(&self, role: &str) -> Result<Counters, HarnessError> {
        let all = self.execute("query-blockstats", Value::Null)?;
        find_counters(&all, role).ok_or_else(|| HarnessError::Qmp {
            command: "query-blockstats".to_owned(),
            answer: format!("nothing about `{role}`"),
        })
    }

    /// How many requests of any kind all disks of the machine have had since it started.
    pub fn all_requests(&self) -> Result<u64, HarnessError> {
        Ok(count_requests(&self.execute("query-blockstats", Value::Null)?))
    }

    /// `running`, `shutdown`, ….
    pub fn status(&self) -> Result<String, HarnessError> {
        let answer = self.execute("query-status", Value::Null)?;
        Ok(answer["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<(), HarnessError> {
        self.execute("system_reset", Value::Null).map(drop)
    }

    /// Whether a guest that restarts the machine ends it, as it does from the start.
    pub fn end_by_restart(&self, ends: bool) -> Result<(), HarnessError> {
        let action = if ends { "shutdown" } else { "reset" };
        self.execute("set-action", json!({ "reboot": action })).map(drop)
    }

    /// Why the machine went down, once it has: `guest-shutdown`, `guest-reset`, ….
    pub fn shutdown_reason(&self) -> Option<String> {
        self.inbox.look(|inbox| inbox.shutdown.clone())
    }
}

impl Inbox {
    /// Whether the message says that the guest went down.
    fn take(&mut self, mut message: Value) -> bool {
        if message.get("return").is_some() || message.get("error").is_some() {
            self.answers.push(message);
        } else if message["event"] == "SHUTDOWN" {
            self.shutdown = message["data"]["reason"].take().as_str().map(str::to_owned);
            return true;
        }
        false
    }
}

fn count_requests(all: &Value) -> u64 {
    let kinds = ["rd_operations", "wr_operations", "flush_operations", "unmap_operations"];
    let disks = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let counts = disks.iter().flat_map(|disk| kinds.map(|kind| disk["stats"][kind].as_u64()));
    counts.flatten().sum()
}

fn find_counters(all: &Value, role: &str) -> Option<Counters> {
    let device = all.as_array()?.iter().find(|entry| entry["device"] == role)?;
    let stats = device.get("stats")?;
    Some(Counters {
        writes: stats.get("wr_operations")?.as_u64()?,
        written_bytes: stats.get("wr_bytes")?.as_u64()?,
        discards: stats.get("unmap_operations")?.as_u64()?,
        read_bytes: stats.get("rd_bytes")?.as_u64()?,
    })
}

/// Connects to a socket that QEMU is about to make: nothing announces it, so this looks again.
pub(crate) fn connect(path: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + Pace::known().scale(LIMIT);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_those_of_the_role() {
        let all = json!([
            {"device": "os", "stats": {"wr_operations": 9, "wr_bytes": 1, "unmap_operations": 2, "rd_bytes": 3}},
            {"device": "canary", "stats": {"wr_operations": 0, "wr_bytes": 0, "unmap_operations": 0, "rd_bytes": 512}}
        ]);
        assert_eq!(
            find_counters(&all, "canary"),
            Some(Counters { read_bytes: 512, ..Default::default() })
        );
        assert_eq!(find_counters(&all, "can"), None);
        assert_eq!(count_requests(&all), 11);
    }

    #[test]
    fn the_reason_of_a_shutdown_is_kept() {
        let mut inbox = Inbox::default();
        let message =
            json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}});
        assert!(inbox.take(message));
        assert!(!inbox.take(json!({"event": "RESUME"})));
        assert_eq!(inbox.shutdown.as_deref(), Some("guest-reset"));
        assert!(inbox.answers.is_empty());
    }
}
