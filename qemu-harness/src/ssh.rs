//! Running commands in a guest over ssh, with a key made for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bedplate_tools::command::CommandExt as _;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::{HarnessError, file_error};
use crate::pace::{Pace, Patience};
use crate::running::Running;

/// Between two attempts to log in.
const RETRY: Duration = Duration::from_secs(2);
/// How long a guest may be silent, asked every so many seconds, before its connection counts as lost.
const SILENCE: Duration = Duration::from_secs(120);
const ASKED: u64 = 15;
/// How long a connection may take.
const CONNECTION: Duration = Duration::from_secs(30);

/// A key pair made for one story.
#[derive(Debug, Clone)]
pub struct Key {
    /// The private key's file.
    pub file: PathBuf,
    /// The public key as a line of `authorized_keys`.
    pub public: String,
}

impl Key {
    /// The key in `directory`, made when it is not there.
    pub fn in_directory(directory: &Path) -> Result<Self, HarnessError> {
        let file = directory.join("ssh-key");
        if !file.exists() {
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "story", "-f"])
                .arg(&file)
                .run()?;
        }
        let public = directory.join("ssh-key.pub");
        let text =
            std::fs::read_to_string(&public).map_err(file_error("could not read", &public))?;
        Ok(Self { file, public: text.trim().to_owned() })
    }
}

/// What a command in the guest answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Exit status; 255 when ssh itself failed.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// root's login on a guest whose port 22 is forwarded; one connection serves all commands.
#[derive(Debug)]
pub struct Ssh {
    key: PathBuf,
    port: u16,
    control: TempDir,
}

impl Ssh {
    /// Nothing is connected yet.
    pub fn new(key: &Key, port: u16) -> Result<Self, HarnessError> {
        let control = tempfile::Builder::new()
            .prefix("bedplate-ssh-")
            .tempdir_in("/tmp")
            .map_err(file_error("could not make a directory in", Path::new("/tmp")))?;
        Ok(Self { key: key.file.clone(), port, control })
    }

    /// Runs argv in the guest, whatever its status.
    pub fn run(&self, argv: &[&str]) -> Result<Answer, HarnessError> {
        let output = self.command(argv).finish()?;
        Ok(answer(&output))
    }

    /// Tries until the guest lets us in, or has ended. `limit` is as on the machine that limits are
    /// written for.
    pub fn wait(&self, limit: Duration, guest: &Running) -> Result<(), HarnessError> {
        let mut patience = Patience::new(limit);
        loop {
            let answer = self.run(&["true"])?;
            if answer.status == 0 {
                return Ok(());
            }
            if guest.has_ended() || !patience.goes_on(guest.progress()) {
                let seen = format!("{}; {}", answer.stderr.trim(), guest.tail());
                let (port, spent) = (self.port, patience.spent());
                return Err(HarnessError::NoLogin { port, spent, seen });
            }
            // The forwarded port always accepts; only trying tells whether the guest is there.
            std::thread::sleep(RETRY);
        }
    }

    fn command(&self, argv: &[&str]) -> Command {
        let control = self.control.path().join("c");
        let mut command = Command::new("ssh");
        command.arg("-i").arg(&self.key).args(["-p", &self.port.to_string()]);
        let pace = Pace::known();
        let unanswered = pace.scale(SILENCE).as_secs() / ASKED;
        let options = [
            "BatchMode=yes".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            "StrictHostKeyChecking=no".to_owned(),
            "UserKnownHostsFile=/dev/null".to_owned(),
            "LogLevel=ERROR".to_owned(),
            format!("ConnectTimeout={}", pace.seconds(CONNECTION)),
            format!("ServerAliveInterval={ASKED}"),
            format!("ServerAliveCountMax={unanswered}"),
            "ControlMaster=auto".to_owned(),
            "ControlPersist=120".to_owned(),
        ];
        for option in &options {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("ControlPath={}", control.display())]);
        let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
        command.args(["root@127.0.0.1", "--", &words.join(" ")]);
        command
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let control = self.control.path().join("c");
        if control.exists() {
            let mut command = Command::new("ssh");
            let path = format!("ControlPath={}", control.display());
            // The guest may be gone, and with it the connection.
            command.args(["-o", &path, "-O", "exit", "root@127.0.0.1"]).finish().ok();
        }
    }
}

/// ssh joins its words for the login shell of the other side: each is quoted for it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn answer(output: &Output) -> Answer {
    Answer {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_other_side_whole() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        let line = format!("printf %s {}", quote("a'b $c"));
        assert_eq!(Command::new("sh").args(["-c", &line]).read().unwrap(), "a'b $c");
    }
}
