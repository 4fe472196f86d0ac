//! `ssh` and `ssh-keyscan`: commands on another machine whose host key is known beforehand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use crate::command::{CommandError, CommandExt as _};

/// Longer names of users and machines are not taken, in bytes.
const LONGEST: usize = 255;

/// The name that the host key is looked up by: whatever the address is, there is one key.
const ALIAS: &str = "bedplate-target";

/// A user on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    user: String,
    host: String,
}

/// What is no `user@host`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no user@host; write for example root@192.168.1.20", .0.escape_debug())]
pub struct TargetError(String);

impl Target {
    /// The name or address of the machine.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Nothing that ssh would take for an option, or for more than one word, gets through.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError(text.to_owned());
        let (user, host) = text.rsplit_once('@').ok_or_else(wrong)?;
        let fits = |word: &str, more: &str| {
            let fine = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            !word.is_empty()
                && word.len() <= LONGEST
                && !word.starts_with('-')
                && word.chars().all(fine)
        };
        if fits(user, "._-") && fits(host, "._-:%") {
            Ok(Self { user: user.to_owned(), host: host.to_owned() })
        } else {
            Err(wrong())
        }
    }
}

/// The host keys that a machine offers, each as kind and key. Nothing says yet that it is the
/// right machine.
pub fn scan(target: &Target, port: u16) -> Result<Vec<String>, CommandError> {
    let mut command = Command::new("ssh-keyscan");
    command.args(["-T", "10", "-t", "ed25519", "-p", &port.to_string(), "--", &target.host]);
    Ok(keys(&command.read()?))
}

/// Kind and key of every line of `ssh-keyscan`, without the name before them.
fn keys(scanned: &str) -> Vec<String> {
    let lines = scanned.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(_, key)| key.to_owned()).collect()
}

/// A login; one connection serves all commands.
#[derive(Debug)]
pub struct Ssh {
    target: Target,
    port: u16,
    identity: Option<PathBuf>,
    directory: PathBuf,
}

impl Ssh {
    /// A login to the machine that holds the private half of `host_key` (kind and key) and to no
    /// other. `directory` is the caller's own, empty, and stays as long as the value does;
    /// nothing is connected yet.
    pub fn new(
        target: Target,
        port: u16,
        identity: Option<PathBuf>,
        host_key: &str,
        directory: &Path,
    ) -> io::Result<Self> {
        std::fs::write(directory.join("known_hosts"), format!("{ALIAS} {host_key}\n"))?;
        Ok(Self { target, port, identity, directory: directory.to_owned() })
    }

    /// The command that runs argv on the other side.
    pub fn command(&self, argv: &[&str]) -> Command {
        let mut command = self.options();
        if let Some(identity) = &self.identity {
            command.arg("-i").arg(identity).args(["-o", "IdentitiesOnly=yes"]);
        }
        let words: Vec<String> = argv.iter().map(|word| quote(word)).collect();
        command.args(["-T", "-p", &self.port.to_string(), "-l", &self.target.user, "--"]);
        command.args([&self.target.host, &words.join(" ")]);
        command
    }

    /// Keys and nothing else, in both directions.
    fn options(&self) -> Command {
        let mut command = Command::new("ssh");
        let known = self.directory.join("known_hosts");
        for option in [
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            "UpdateHostKeys=no",
            "HostKeyAlgorithms=ssh-ed25519",
            "PreferredAuthentications=publickey",
            "PasswordAuthentication=no",
            "KbdInteractiveAuthentication=no",
            "ForwardAgent=no",
            "ForwardX11=no",
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "LogLevel=ERROR",
            "ConnectTimeout=20",
            "ServerAliveInterval=10",
            "ServerAliveCountMax=6",
            "ControlMaster=auto",
            "ControlPersist=60",
        ] {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("HostKeyAlias={ALIAS}")]);
        command.args(["-o", &format!("UserKnownHostsFile=\"{}\"", known.display())]);
        command.args(["-o", &format!("ControlPath=\"{}\"", self.control().display())]);
        command
    }

    fn control(&self) -> PathBuf {
        self.directory.join("c")
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        if self.control().exists() {
            // The machine may be gone, and with it the connection.
            self.options().args(["-O", "exit", "--", &self.target.host]).finish().ok();
        }
    }
}

/// ssh joins its words for the login shell of the other side: each is quoted for it.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_what_ssh_would_take_for_an_option_is_no_target() {
        for good in ["root@192.168.1.20", "root@fe80::1%eth0", "a.b@bedplate-3c4d5e.local"] {
            assert!(good.parse::<Target>().is_ok(), "{good}");
        }
        let hostile = [
            "192.168.1.20",
            "@host",
            "root@",
            "root@-oProxyCommand=x",
            "-oProxyCommand=x@host",
            "root@a b",
            "root@a\nb",
            "root@$(id)",
            "root@a\u{1b}[2J",
            "root@h/../x",
        ];
        for bad in hostile {
            let error = bad.parse::<Target>().unwrap_err();
            assert!(!error.to_string().contains(['\n', '\u{1b}']), "{error:?}");
        }
        assert!(format!("root@{}", "a".repeat(300)).parse::<Target>().is_err());
    }

    #[test]
    fn t17_words_reach_the_other_side_whole() {
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
        let line = format!("printf %s {}", quote("a'b $c`id`"));
        assert_eq!(Command::new("sh").args(["-c", &line]).read().unwrap(), "a'b $c`id`");
    }

    #[test]
    fn the_command_checks_the_host_key_and_offers_no_password() {
        let directory = tempfile::tempdir().unwrap();
        let target = "root@host".parse().unwrap();
        let key = "ssh-ed25519 AAAA";
        let ssh = Ssh::new(target, 2222, Some("/k/id".into()), key, directory.path()).unwrap();
        let command = ssh.command(&["bedplate-installer", "it's"]);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        for needed in ["StrictHostKeyChecking=yes", "PasswordAuthentication=no", "2222", "/k/id"] {
            assert!(words.iter().any(|word| word == needed), "{needed}: {words:?}");
        }
        assert_eq!(words.last().unwrap(), r"'bedplate-installer' 'it'\''s'");
        let known = std::fs::read_to_string(directory.path().join("known_hosts")).unwrap();
        assert_eq!(known, "bedplate-target ssh-ed25519 AAAA\n");
    }

    #[test]
    fn what_a_scan_says_is_read_without_names_and_comments() {
        let scanned = "# h:22 SSH-2.0-x\n[h]:2222 ssh-ed25519 AAAA\nodd\n";
        assert_eq!(keys(scanned), ["ssh-ed25519 AAAA"]);
    }
}
