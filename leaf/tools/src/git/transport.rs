//! How git reaches another repository: one way is open to it, and no other.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::command::CommandError;

/// What the environment may say of https; it outweighs git's configuration, or adds to it.
const SURROUNDING: [&str; 9] = [
    "GIT_SSL_NO_VERIFY",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_ASKPASS",
    "SSH_ASKPASS",
    "GIT_CURL_VERBOSE",
    "GIT_TRACE_CURL",
];

/// What serves a repository of this machine. Whose it is does not matter: what runs there takes
/// no program from its configuration (git-upload-pack(1), SECURITY). git hands this to a shell.
const UPLOAD_PACK: &str = "git -c 'safe.directory=*' -c core.hooksPath=/dev/null upload-pack";

/// The one way that is open.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    /// A directory or a bundle on this machine.
    File,
    /// An ssh server.
    Ssh(SshAccess<'a>),
    /// An https server.
    Https(HttpsAccess<'a>),
}

/// How git reaches a remote over ssh: with this configuration and no other.
#[derive(Debug, Clone, Copy)]
pub struct SshAccess<'a> {
    /// The client, `ssh` or its path: of the letters that `config` may have, or it is refused.
    pub program: &'a str,
    /// Its configuration. git hands both to a shell: a path of letters, digits, `/`, `-`, `_` and
    /// `.`, or it is refused.
    pub config: &'a Path,
}

/// How git reaches a remote over https: this public key and no other, and no redirection.
#[derive(Debug, Clone, Copy)]
pub struct HttpsAccess<'a> {
    /// The server's public key as `http.pinnedPubkey` takes it (git-config(1)).
    pub pinned_key: &'a str,
    /// A file, in a directory of its own, with the certificate that may have signed the server's;
    /// without one the public authorities of this machine. The key is looked at beside the certificate, not instead.
    pub certificate: Option<&'a Path>,
}

impl SshAccess<'_> {
    /// The value of `core.sshCommand` (git-config(1)).
    fn command(&self) -> io::Result<String> {
        let config = self.config.to_str().unwrap_or_default();
        let plain = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c))
        };
        if plain(config) && plain(self.program) {
            Ok(format!("{} -F {config}", self.program))
        } else {
            Err(io::Error::other(format!("{config:?} cannot be handed to a shell")))
        }
    }
}

impl HttpsAccess<'_> {
    fn settings(&self) -> Vec<String> {
        let mut settings = vec![
            "http.sslVerify=true".to_owned(),
            format!("http.pinnedPubkey={}", self.pinned_key),
            "http.followRedirects=false".to_owned(),
            // Nobody is there to answer, and no helper of this machine has an answer.
            "credential.helper=".to_owned(),
            "core.askPass=".to_owned(),
            // Less than a kilobyte a second for half a minute is no transfer.
            "http.lowSpeedLimit=1000".to_owned(),
            "http.lowSpeedTime=30".to_owned(),
        ];
        if let Some(file) = self.certificate {
            settings.push(format!("http.sslCAInfo={}", file.display()));
            // GnuTLS adds what a directory holds: by default, the public authorities.
            let directory = file.parent().unwrap_or(file);
            settings.push(format!("http.sslCAPath={}", directory.display()));
        }
        settings
    }
}

impl Transport<'_> {
    /// Opens it to a git that is otherwise allowed none: before the subcommand.
    pub(super) fn open(&self, command: &mut Command) -> Result<(), CommandError> {
        let (protocol, settings) = match self {
            Self::File => ("file", Vec::new()),
            Self::Ssh(access) => {
                let failed =
                    |source| CommandError::Start { program: "git over ssh".to_owned(), source };
                let ssh = access.command().map_err(failed)?;
                ("ssh", vec![format!("core.sshCommand={ssh}"), "ssh.variant=ssh".to_owned()])
            }
            Self::Https(access) => ("https", access.settings()),
        };
        command.args(["-c", &format!("protocol.{protocol}.allow=always")]);
        for setting in settings {
            command.args(["-c", &setting]);
        }
        for name in SURROUNDING {
            command.env_remove(name);
        }
        // What a repository lacks is not fetched by what it says.
        command.env("GIT_NO_LAZY_FETCH", "1");
        Ok(())
    }

    /// Options of `git fetch`.
    pub(super) fn options(&self) -> &'static [&'static str] {
        match self {
            Self::File => &["--upload-pack", UPLOAD_PACK],
            Self::Ssh(_) | Self::Https(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(transport: &Transport<'_>) -> Vec<String> {
        let mut command = Command::new("git");
        transport.open(&mut command).unwrap();
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn t11_https_has_the_pinned_key_beside_the_authorities_and_goes_nowhere_else() {
        let certificate = Some(Path::new("/run/x/certificate.pem"));
        let access = HttpsAccess { pinned_key: "sha256//AAAA", certificate };
        let words = words(&Transport::Https(access));
        for needed in [
            "protocol.https.allow=always",
            "http.sslVerify=true",
            "http.pinnedPubkey=sha256//AAAA",
            "http.sslCAInfo=/run/x/certificate.pem",
            "http.sslCAPath=/run/x",
            "http.followRedirects=false",
        ] {
            assert!(words.iter().any(|word| word == needed), "{needed}: {words:?}");
        }
        assert!(!words.iter().any(|word| word.contains("protocol.http.") || word.contains("file")));
        let mut command = Command::new("git");
        Transport::Https(access).open(&mut command).unwrap();
        let removed = command.get_envs().filter(|(_, value)| value.is_none());
        let removed: Vec<_> = removed.map(|(name, _)| name.to_string_lossy()).collect();
        assert!(removed.iter().any(|name| name == "GIT_SSL_NO_VERIFY"), "{removed:?}");
    }

    #[test]
    fn t17_what_a_shell_would_misread_is_no_way_to_ssh() {
        let open = |program, config: &str| {
            let access = SshAccess { program, config: Path::new(config) };
            Transport::Ssh(access).open(&mut Command::new("git"))
        };
        assert!(open("ssh", "/run/x/config").is_ok());
        for (program, config) in [("ssh", "/run/$(id)"), ("ssh -v", "/run/x"), ("", "/run/x")] {
            assert!(open(program, config).is_err(), "{program} {config}");
        }
    }
}
