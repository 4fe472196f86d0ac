//! What restic is told besides what to do: who may come in, what is kept, which path is meant.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::Keep;

/// What a repository's server wants besides the password. Everything is in files: a secret in an
/// argument or a variable can be read by others, or ends up in a core dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Nothing besides the password, as a repository in a directory of this machine.
    Open,
    /// A file that holds the repository's address with name and password of a rest-server.
    AddressFile(PathBuf),
    /// A file of AWS credentials.
    CloudFile(PathBuf),
    /// A private ssh key, and the machine's own key.
    Ssh {
        /// Private key.
        identity: PathBuf,
        /// As ssh's `UserKnownHostsFile`.
        known_hosts: PathBuf,
    },
}

/// What restic would take in the place of what it is told.
pub(super) const VARIABLES: [&str; 11] = [
    "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_COMMAND",
    "RESTIC_PASSWORD_FILE",
    "RESTIC_REPOSITORY",
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_REST_USERNAME",
    "RESTIC_REST_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
];

/// Nobody is asked, no key is trusted at first sight, no other key is tried. A machine that is gone is
/// given up after ten minutes: it says nothing by itself, and restic waits for what it would say.
pub(super) fn ssh_options(identity: &Path, known_hosts: &Path) -> String {
    format!(
        "-i {} -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=60 \
         -o ServerAliveInterval=60 -o ServerAliveCountMax=10 -F /dev/null",
        identity.display(),
        known_hosts.display()
    )
}

/// Whether `repository` is a path on this machine.
pub fn is_local(repository: &str) -> bool {
    Path::new(repository).is_absolute()
}

/// The rules of what is kept, as `forget` takes them.
pub(super) fn keep_arguments(keep: Keep) -> Vec<String> {
    let rules = [("daily", keep.daily), ("weekly", keep.weekly), ("monthly", keep.monthly)];
    rules
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .flat_map(|(period, count)| [format!("--keep-{period}"), count.to_string()])
        .collect()
}

/// A path as a pattern that fits nothing else. restic matches by the rules of Go's `filepath.Match`,
/// in which a backslash takes their meaning from the characters that follow it.
pub(super) fn literal(path: &Path) -> OsString {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if br"\*?[]".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    OsString::from_vec(escaped)
}
