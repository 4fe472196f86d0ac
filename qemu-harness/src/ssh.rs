//! Running commands in a guest over ssh, with a key made for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use bedplate_tools::command::CommandExt as _;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::error::{HarnessError, file_error};

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

    /// Tries until the guest lets us in, or `ended` says that there is nobody any more.
    pub fn wait(&self, limit: Duration, ended: impl Fn() -> bool) -> Result<(), HarnessError> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = self.run(&["true"])?;
            if answer.status == 0 {
                return Ok(());
            }
            if ended() || Instant::now() > deadline {
                return Err(HarnessError::Unfit(format!(
                    "no ssh on port {} within {}s: {}",
                    self.port,
                    limit.as_secs(),
                    answer.stderr.trim()
                )));
            }
            // The forwarded port always accepts; only trying tells whether the guest is there.
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    fn command(&self, argv: &[&str]) -> Command {
        let control = self.control.path().join("c");
        let mut command = Command::new("ssh");
        command.arg("-i").arg(&self.key).args(["-p", &self.port.to_string()]);
        let options = [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=30",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=8",
            "ControlMaster=auto",
            "ControlPersist=120",
        ];
        for option in options {
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
