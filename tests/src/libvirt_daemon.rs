//! A libvirt of its own with the test driver, reached through a daemon as on a host.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use bedplate_qemu_harness::pace;

use crate::failure::{Failure, file};

/// The account that is nobody. Started by root, the daemon would want accounts of its package.
const NOBODY: u32 = 65534;
/// How long the daemon may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon, and a connection that keeps what the test driver knows.
pub struct LibvirtDaemon {
    daemon: Child,
    keeper: Child,
    _open: Option<ChildStdin>,
    socket: PathBuf,
}

impl LibvirtDaemon {
    /// Starts one whose files are in `directory`; none where libvirt is not installed.
    pub fn start(directory: &Path) -> Result<Option<Self>, Failure> {
        if ["libvirtd", "virsh"].iter().any(|name| bedplate_tools::programs::find(name).is_none()) {
            return Ok(None);
        }
        let runtime = directory.join("libvirt");
        fs::create_dir(&runtime).map_err(file("make", &runtime))?;
        let is_root = fs::metadata("/proc/self").is_ok_and(|found| uid(&found) == 0);
        if is_root {
            chown(&runtime, Some(NOBODY), Some(NOBODY)).map_err(file("give away", &runtime))?;
        }
        let socket = runtime.join("libvirt-sock");
        let settings = directory.join("libvirtd.conf");
        let shown = runtime.display();
        let text = format!(
            "unix_sock_dir = \"{shown}\"\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n"
        );
        fs::write(&settings, text).map_err(file("write", &settings))?;
        let mut command = Command::new(if is_root { "setpriv" } else { "libvirtd" });
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "libvirtd"]);
        }
        command.arg("-f").arg(&settings).arg("-p").arg(runtime.join("pid"));
        command.env("HOME", &runtime).env("XDG_RUNTIME_DIR", &runtime);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = command.spawn().map_err(file("start", Path::new("libvirtd")))?;
        // One that does not listen in time is told of by whoever connects.
        let listens = || socket.exists().then_some(());
        pace::ask(PATIENCE, Duration::from_millis(50), listens).ok();
        Self::keep(daemon, socket).map(Some)
    }

    /// The test driver forgets everything with its last connection.
    fn keep(daemon: Child, socket: PathBuf) -> Result<Self, Failure> {
        let mut command = Command::new("virsh");
        command.args(["--quiet", "--connect", &uri(&socket)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().map_err(file("start", Path::new("virsh")))?;
        let open = keeper.stdin.take();
        // It connects before it asks for a command: until then nothing would be kept.
        let asked = keeper.stdout.as_mut().map(|prompt| prompt.read_exact(&mut [0]));
        let kept = Self { daemon, keeper, _open: open, socket };
        asked.transpose().map_err(file("hear", Path::new("virsh")))?;
        Ok(kept)
    }

    /// How to reach it.
    pub fn uri(&self) -> String {
        uri(&self.socket)
    }
}

impl Drop for LibvirtDaemon {
    fn drop(&mut self) {
        for child in [&mut self.keeper, &mut self.daemon] {
            // It is over whether or not they have gone by themselves.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn uri(socket: &Path) -> String {
    format!("test+unix:///default?socket={}", socket.display())
}

fn uid(found: &fs::Metadata) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    found.uid()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bedplate_libvirt::{Off, Paused, State};
    use bedplate_tools::command::CommandExt as _;

    use super::*;

    fn xml(name: &str, memory: u32) -> String {
        // A definition takes the place of the one with its name and UUID.
        let uuid = format!("00000000-0000-0000-0000-{:012}", name.len());
        format!(
            "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid>\
             <memory>{memory}</memory><os><type>hvm</type></os></domain>"
        )
    }

    fn virsh(uri: &str, script: &str) -> String {
        let mut command = Command::new("virsh");
        command.args(["--quiet", "--connect", uri, script]).read().unwrap()
    }

    /// The same through virsh, one call a domain.
    fn as_virsh_says(uri: &str) -> BTreeMap<String, (bool, bool, String, Option<String>)> {
        let names = |list: &str| -> Vec<String> {
            let lines = virsh(uri, list);
            lines.split_whitespace().map(str::to_owned).collect()
        };
        let (running, autostarted) = (names("list --name"), names("list --all --autostart --name"));
        let one = |name: String| {
            let runs = running.contains(&name);
            let live = runs.then(|| virsh(uri, &format!("dumpxml {name}")));
            let persistent = virsh(uri, &format!("dumpxml --inactive {name}"));
            (name.clone(), (runs, autostarted.contains(&name), persistent, live))
        };
        names("list --all --name").into_iter().map(one).collect()
    }

    #[test]
    fn what_is_read_from_the_socket_is_what_virsh_says() {
        let directory = tempfile::tempdir().unwrap();
        let mut permissions = fs::metadata(directory.path()).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(directory.path(), permissions).unwrap();
        let daemon = LibvirtDaemon::start(directory.path()).unwrap();
        let daemon = daemon.expect("install libvirt-daemon and libvirt-clients");
        let uri = daemon.uri();
        for (name, memory, script) in [
            ("off", 65536, "define"),
            ("changed", 65536, "define; autostart changed; start changed"),
            ("changed", 131_072, "define"),
            ("halted", 65536, "define; start halted; destroy halted"),
            ("paused-now", 65536, "define; start paused-now; suspend paused-now"),
        ] {
            let path = directory.path().join(name);
            fs::write(&path, xml(name, memory)).unwrap();
            let define = format!("define {}", path.display());
            virsh(&uri, &script.replacen("define", &define, 1));
        }

        let wanted = as_virsh_says(&uri);
        let found = bedplate_libvirt::domains(&uri).unwrap();
        let trimmed = |text: &Option<String>| text.as_deref().map(|text| text.trim().to_owned());
        assert_eq!(found.len(), wanted.len());
        for one in &found {
            let (running, autostart, persistent, live) = &wanted[&one.name];
            assert_eq!((one.running, one.autostart), (*running, *autostart), "{}", one.name);
            assert_eq!(trimmed(&one.persistent).as_deref(), Some(persistent.trim()));
            assert_eq!(trimmed(&one.live), trimmed(live));
        }
        let changed = found.iter().find(|one| one.name == "changed").unwrap();
        assert!(changed.running && changed.autostart && changed.live != changed.persistent);
        let state = |name: &str| found.iter().find(|one| one.name == name).unwrap().state;
        assert_eq!(state("changed"), State::Running);
        assert_eq!(state("halted"), State::Off(Off::Destroyed));
        assert_eq!(state("paused-now"), State::Paused(Paused::Told));
        assert!(found.iter().all(|one| !one.managed_save));
        assert!(found.iter().any(|one| one.name == "off" && !one.running && one.live.is_none()));
    }
}
