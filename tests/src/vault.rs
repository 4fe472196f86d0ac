//! The machine that keeps the backups when the one they are of is lost: restic's own server, of Debian.
//!
//! It is no part of the platform: its package makes an account and starts a server.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bedplate_qemu_harness::pace;
use bedplate_tools::command::CommandExt as _;

use crate::failure::{Failure, file};
use crate::medium::Workspace;

const PACKAGE: &str = "restic-rest-server";
const SUITE: &str = "trixie";
const LIMIT: Duration = Duration::from_secs(30);

/// A server that ends when it is dropped.
pub struct Vault {
    server: Child,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl Vault {
    /// Starts a server that keeps what it is given in `directory`. `users` is a file as htpasswd
    /// makes it; without one everybody is let in.
    pub fn start(directory: &Path, users: Option<&Path>) -> Result<Self, Failure> {
        let program = program(&Workspace::own())?;
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
        let port = free.map_err(file("find a port for", &program))?.port();
        let mut command = Command::new(&program);
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--path"]).arg(directory);
        match users {
            Some(users) => command.arg("--htpasswd-file").arg(users),
            None => command.arg("--no-auth"),
        };
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let vault = Self { server: server.map_err(file("run", &program))?, port };
        let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
        match pace::ask(LIMIT, Duration::from_millis(100), connect) {
            Ok(_) => Ok(vault),
            Err(spent) => {
                Err(Failure::Unfit(format!("{spent}, {} does not listen", program.display())))
            }
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // It ends with the story, however that ends.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The server, fetched once and kept beside the platform.
pub fn program(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let directory = workspace.cache().join("vault");
    let program = directory.join("usr/bin").join(PACKAGE);
    if program.is_file() {
        return Ok(program);
    }
    let fresh = workspace.cache().join("vault.new");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).map_err(file("remove", &fresh))?;
    }
    std::fs::create_dir_all(workspace.cache()).map_err(file("make", &fresh))?;
    let mut command = Command::new("mmdebstrap");
    // Nothing of it is configured or run.
    command.args(["--variant=extract", "--architectures=amd64"]);
    command.arg(format!("--include={PACKAGE}")).arg(SUITE).arg(&fresh);
    command.run().map_err(|error| Failure::Unfit(format!("{PACKAGE}: {error}")))?;
    std::fs::rename(&fresh, &directory).map_err(file("rename", &fresh))?;
    Ok(program)
}
