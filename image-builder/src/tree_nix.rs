//! The Nix of the tree, run from where the tree lies: the build machine needs no Nix, no
//! namespace and no rights, and the tree is only read.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bedplate_tools::command::{CommandError, CommandExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, file, tool, unfit};
use crate::toplevel::Supplied;

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Programs of a tree.
#[derive(Debug, Clone)]
pub struct TreePrograms {
    root: PathBuf,
}

/// A fixed-output store path: recursive SHA-256 of its content, no references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StorePath {
    pub(crate) name: String,
    pub(crate) path: String,
    /// SRI hash of the NAR.
    pub(crate) hash: String,
    /// The same, hexadecimal.
    #[serde(rename = "narHash")]
    pub(crate) nar_hash: String,
    #[serde(rename = "narSize")]
    pub(crate) nar_size: u64,
}

impl StorePath {
    /// The path relative to a root, `nix/store/…`.
    pub(crate) fn relative(&self) -> &str {
        self.path.trim_start_matches('/')
    }

    /// As what a medium carries, with its content at `place`.
    pub(crate) fn supplied(&self, place: PathBuf) -> Supplied {
        Supplied { name: self.name.clone(), path: self.path.clone(), place }
    }

    /// What `nix-store --load-db` wants to know: path, hash, size, deriver, references.
    pub(crate) fn registration(&self) -> String {
        format!("{}\n{}\n{}\n\n0\n", self.path, self.nar_hash, self.nar_size)
    }
}

impl TreePrograms {
    /// The programs of the tree at `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A program of the tree, started by the tree's own loader with the tree's libraries.
    pub fn command(&self, program: &str, argv0: &str) -> Command {
        let libraries = self.root.join(LIBRARIES);
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(&libraries).args(["--argv0", argv0]);
        command.arg(self.root.join(program));
        // No store is opened, and no configuration of the build machine is read.
        command.env("NIX_REMOTE", "dummy://").env("NIX_CONF_DIR", "/nonexistent");
        command
    }

    /// Hash, size and store path of the content of `path` under `name`.
    pub(crate) fn describe(&self, name: &str, path: &Path) -> Result<StorePath, Error> {
        let (digest, nar_size) = self.nar(path)?;
        let nar_hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = self.nix_line("nix-hash", &["--type", "sha256", "--to-sri", &nar_hash])?;
        let fixed = ["--print-fixed-path", "--recursive", "sha256", &nar_hash, name];
        let store_path = self.nix_line("nix-store", &fixed)?;
        if !store_path.starts_with("/nix/store/") || !hash.starts_with("sha256-") {
            return Err(unfit("Nix's answer for", path, format!("{store_path} {hash}")));
        }
        Ok(StorePath { name: name.to_owned(), path: store_path, hash, nar_hash, nar_size })
    }

    fn nix_line(&self, argv0: &str, arguments: &[&str]) -> Result<String, Error> {
        let output = self.command("usr/bin/nix", argv0).args(arguments).read();
        Ok(output.map_err(tool("compute a store path"))?.trim().to_owned())
    }

    fn nar(&self, path: &Path) -> Result<([u8; 32], u64), Error> {
        let mut command = self.command("usr/bin/nix", "nix-store");
        command.arg("--dump").arg(path).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(file("run the tree's nix on", path))?;
        let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
        if let Some(mut pipe) = child.stdout.take() {
            loop {
                let count = pipe.read(&mut buffer).map_err(file("read the archive of", path))?;
                if count == 0 {
                    break;
                }
                hasher.update(buffer.get(..count).unwrap_or_default());
                size += count as u64;
            }
        }
        let status = child.wait().map_err(file("run the tree's nix on", path))?;
        if !status.success() {
            let line = format!("nix-store --dump {}", path.display());
            let source = CommandError::Failed { line, status, stderr: String::new() };
            return Err(Error::Tool { action: "hash a store path", source });
        }
        Ok((hasher.finalize().into(), size))
    }
}
