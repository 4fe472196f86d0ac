//! The Nix of the tree, run from where the tree lies: the build machine needs no Nix, no
//! namespace and no rights, and the tree is only read.

use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_tools::command::CommandExt as _;
use bedplate_tools::nix::{archive, registration};
use serde::{Deserialize, Serialize};

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

    /// What `nix-store --load-db` wants to know.
    pub(crate) fn registration(&self) -> String {
        registration::text(&[registration::StorePath {
            path: self.path.clone(),
            hash: self.nar_hash.clone(),
            size: self.nar_size,
            deriver: String::new(),
            references: Vec::new(),
        }])
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
        let found = archive::content(path).map_err(file("read", path))?;
        let (nar_hash, nar_size) = (found.hash, found.size);
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
}
