//! Where the installer keeps what one boot needs: on tmpfs, gone with it.

use std::path::{Path, PathBuf};

/// Directory of all of it on the live system.
pub const DIRECTORY: &str = "/run/bedplate";

/// Files and directories of one boot.
#[derive(Debug, Clone)]
pub struct Places {
    directory: PathBuf,
}

impl Places {
    /// Below `directory`.
    pub fn below(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the booted medium is mounted.
    pub fn medium(&self) -> PathBuf {
        self.directory.join("medium")
    }

    /// The repository that the medium brings, packed.
    pub fn flake(&self) -> PathBuf {
        self.medium().join("live/flake.tar")
    }

    /// Events of the newest run, one line of JSON each.
    pub fn events(&self) -> PathBuf {
        self.directory.join("events.jsonl")
    }

    /// Locked by the run that may write to disks.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("install.lock")
    }

    /// Answers of the medium, unpacked.
    pub fn answers(&self) -> PathBuf {
        self.directory.join("answers")
    }

    /// Answers that were sent, unpacked.
    pub fn sent(&self) -> PathBuf {
        self.directory.join("sent")
    }

    /// The recovery passphrase that was sent with them, until it is read.
    pub fn recovery(&self) -> PathBuf {
        self.directory.join("sent-recovery")
    }

    /// What the ssh server reads: host key and authorised keys.
    pub fn ssh(&self) -> PathBuf {
        self.directory.join("ssh")
    }

    /// Fingerprint of this boot's host key.
    pub fn fingerprint(&self) -> PathBuf {
        self.ssh().join("fingerprint")
    }
}
