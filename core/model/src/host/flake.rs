//! The repository the host is enrolled into.

use serde::{Deserialize, Serialize};

use super::SecretReference;

/// Section `[flake]` of `host.toml`: the repository, how it is fetched, and how it is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flake {
    /// `origin` of the clone left in `/etc/nixos`.
    pub remote: Option<String>,
    /// Directory of the hosts inside the repository.
    pub hosts: String,
    /// `[flake.source]`: where the repository comes from; with the medium's answers when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// `[flake.push]`: how the installer pushes the host's commit; it does not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
}

/// `[flake.source]`: where the installer takes the repository from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The branch that is cloned: a name that git-check-ref-format(1) accepts.
    pub branch: String,
    /// Where it is.
    pub place: SourcePlace,
}

/// Where a repository is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourcePlace {
    /// On a volume of the machine.
    Volume(VolumeSource),
    /// Behind an ssh server.
    Ssh(SshSource),
    /// Behind an https server.
    Https(HttpsSource),
}

/// `[flake.source.volume]`: a repository or a bundle on a volume with a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSource {
    /// The label; one volume of the machine must have it, and only one.
    pub label: String,
    /// Path on the volume of a git repository or a git bundle; the volume's root when absent.
    pub path: Option<String>,
}

/// `[flake.source.ssh]`: a repository behind an ssh server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshSource {
    /// `user@host:path` or `ssh://user@host/path`, without a password.
    pub url: String,
    /// Private ssh key, a file on a key stick.
    pub key: SecretReference,
    /// The only host key that the server may show, as in a `.pub` file.
    pub host_key: String,
}

/// `[flake.source.https]`: a repository that everybody may read, behind an https server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpsSource {
    /// `https://host/path`, without a name or password.
    pub url: String,
    /// The only public key that the server may show, as `CURLOPT_PINNEDPUBLICKEY(3)` writes it:
    /// `sha256//` and the base64 of the SHA-256 of its DER.
    pub pinned_key: String,
    /// PEM of the one certificate that is trusted to sign the server's (RFC 7468); the public
    /// authorities when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// `[flake.push]`: the branch `bedplate/<name>` of the remote, over ssh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Private ssh key, a file on a key stick: while it is installed the machine opens nothing of
    /// the repository.
    pub key: SecretReference,
    /// The only host key that the remote may show, as in a `.pub` file.
    pub host_key: String,
}
