//! The story of the hypervisor: medium, installation, boot, hand-off, claims.
//!
//! Every stage leaves in its directory what the next needs, so that a story can be resumed.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bedplate_events::Event;
use bedplate_qemu_harness::disk_image::{self, sha256_of};
use bedplate_qemu_harness::guest_agent::GuestAgent;
use bedplate_qemu_harness::guest_disk::{self, Errand, GuestDisk};
use bedplate_qemu_harness::http::Server;
use bedplate_qemu_harness::machine::{Disk, FIRST_LEASE, Format, HOST_ADDRESS};
use bedplate_qemu_harness::qmp::Counters;
use bedplate_qemu_harness::running::{Listener, Running};
use bedplate_qemu_harness::ssh::Key;
use bedplate_qemu_harness::{HarnessError, canary};
use serde::{Deserialize, Serialize};
use toml_edit::{DocumentMut, TomlError};

use crate::answers::{self, IMAGE_PATH, Substitutions};
use crate::failure::{Failure, file};
use crate::medium::{Workspace, put_answers};
use crate::phase::Phase;
use crate::seed::{self, CANARY, HOST, Sizes};

/// Where the events of the installation are kept.
const EVENTS: &str = "install.events.jsonl";
/// How long an installation may take.
const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Memory of the machine while it is installed.
const INSTALL_MEMORY_MIB: u32 = 2048;
/// What the console shows when an installation will not go on.
const STOPPED: [&str; 3] =
    ["Nothing further will be written", "Kernel panic", "You are in emergency mode"];

/// Called with every line of progress.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Called with every phase that begins.
pub type OnPhase = Arc<dyn Fn(Phase) + Send + Sync>;

/// A story in a directory.
pub struct Story {
    /// Where everything stands.
    pub directory: PathBuf,
    /// The repository.
    pub workspace: Workspace,
    /// How large the disks are.
    pub sizes: Sizes,
    /// Shows somebody how far the story is, a line of text at a time.
    pub tell: Tell,
    /// The HTTP server.
    pub server: Arc<Server>,
    /// root's key.
    pub key: Key,
    /// What is kept between runs.
    pub record: Record,
    on_phase: Option<OnPhase>,
    /// Held while the disks are differences to those of an installation that is kept.
    _borrowed: Option<File>,
}

/// What is kept between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whether the disks are small.
    pub small: bool,
    /// Port of the HTTP server: the installed machine and its guest know it.
    pub http_port: u16,
    /// Port forwarded to the machine's ssh.
    pub ssh_port: u16,
    /// The installation, once it is done.
    pub installed: Option<Installed>,
}

/// What was seen of a finished installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Why the machine went down.
    pub end: String,
    /// Seconds from power-on to power-off.
    pub seconds: u64,
    /// SHA-256 of the canary before.
    pub canary: String,
    /// What QEMU counted for the canary.
    pub counters: Counters,
}

impl Story {
    /// Begins a story in `directory`, or takes up the one that stands there.
    pub fn begin(
        directory: &Path,
        sizes: Sizes,
        resume: bool,
        tell: Tell,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(directory).map_err(file("make", directory))?;
        let kept = if resume { Record::read(directory)? } else { None };
        let record = match kept {
            Some(record) => record,
            None => {
                let (http_port, ssh_port) = (lasting_port()?, free_port()?);
                Record { small: sizes == Sizes::Small, http_port, ssh_port, installed: None }
            }
        };
        let server = Server::start(record.http_port);
        let server = server.map_err(file("serve HTTP for", directory))?;
        let story = Self {
            directory: directory.to_owned(),
            workspace: Workspace::own(),
            sizes: if record.small { Sizes::Small } else { Sizes::True },
            tell,
            server: Arc::new(server),
            key: Key::in_directory(directory)?,
            record,
            on_phase: None,
            _borrowed: None,
        };
        story.record.write(directory)?;
        Ok(story)
    }

    /// A story in `directory`, where the disks of the installation that `record` tells of stand
    /// as differences, together with its key and its VM's image.
    pub(crate) fn borrow(
        directory: &Path,
        record: &Record,
        borrowed: File,
        tell: Tell,
    ) -> Result<Self, Failure> {
        let record = Record { ssh_port: free_port()?, ..record.clone() };
        record.write(directory)?;
        let story = Self::begin(directory, Sizes::Small, true, tell)?;
        story.server.offer(IMAGE_PATH, story.guest()?.file);
        Ok(Self { _borrowed: Some(borrowed), ..story })
    }

    /// As this story in another directory; both speak to one HTTP server.
    pub(crate) fn of_fork(directory: &Path, base: &Self) -> Result<Self, Failure> {
        let record = Record { ssh_port: free_port()?, ..base.record.clone() };
        record.write(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            workspace: base.workspace.clone(),
            sizes: base.sizes,
            tell: Arc::clone(&base.tell),
            server: Arc::clone(&base.server),
            key: Key::in_directory(directory)?,
            record,
            on_phase: None,
            _borrowed: None,
        })
    }

    /// The `host.toml` that was installed, to be changed.
    pub fn document(&self) -> Result<DocumentMut, Failure> {
        let path = self.path("host.toml");
        let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        text.parse().map_err(|error: TomlError| Failure::Unfit(error.to_string()))
    }

    /// A file of the story.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn say(&self, text: &str) {
        (self.tell)(text);
    }

    /// Has somebody told of every phase from now on.
    pub fn on_phase(&mut self, told: OnPhase) {
        self.on_phase = Some(told);
    }

    pub(crate) fn begins(&self, phase: Phase) {
        if let Some(told) = &self.on_phase {
            told(phase);
        }
    }

    /// A listener that shows the console with `name` before each line.
    pub fn console(&self, name: &'static str) -> Listener {
        let tell = Arc::clone(&self.tell);
        Arc::new(move |line| {
            let line = plain(line);
            if !line.is_empty() {
                tell(&format!("{name} | {line}"));
            }
        })
    }

    /// The medium, made when it is not there or `fresh` is wanted.
    pub fn medium(&self, fresh: bool) -> Result<PathBuf, Failure> {
        self.begins(Phase::Medium);
        let path = self.path("bedplate.iso");
        let sound = bedplate_image_builder::personalize::flake_of(&path).is_ok();
        if sound && !fresh {
            self.say("using the medium that is there");
            return Ok(path);
        }
        let report = self.workspace.build_medium(&path, &mut |stage| {
            self.say(&format!("medium: {stage}"));
        })?;
        for (stage, duration) in &report.stages {
            self.say(&format!("medium: {:6.1} s  {stage}", duration.as_secs_f64()));
        }
        self.say(&format!("medium: {} MB", report.size / 1_000_000));
        Ok(path)
    }

    /// The guest's disk for this story's ports.
    pub fn guest(&self) -> Result<GuestDisk, Failure> {
        let file = self.path("guest.qcow2.xz");
        if self.record.installed.is_some() && file.exists() {
            let sha256 = sha256_of(&file)?;
            return Ok(GuestDisk { file, sha256 });
        }
        Ok(guest_disk::build(&self.workspace.tree()?, &self.directory, &self.errand(), None)?)
    }

    /// The disk of another guest for this story's ports, with QEMU's agent in it.
    pub fn guest_with_agent(&self) -> Result<GuestDisk, Failure> {
        let directory = self.path("with-agent");
        std::fs::create_dir_all(&directory).map_err(file("make", &directory))?;
        let agent = GuestAgent::installed_here(&directory)?;
        let tree = self.workspace.tree()?;
        Ok(guest_disk::build(&tree, &directory, &self.errand(), Some(&agent))?)
    }

    fn errand(&self) -> Errand {
        Errand {
            report: format!("http://{HOST_ADDRESS}:{}", self.record.http_port),
            nfs: format!("{FIRST_LEASE}:/mnt/bulk/apps-vm"),
        }
    }

    /// All disks but the medium.
    pub fn disks(&self) -> Vec<Disk> {
        let mut disks = seed::installed_disks(&self.directory, self.sizes);
        disks.push(seed::key_stick(&self.directory));
        disks.push(seed::second_key_stick(&self.directory));
        disks.push(seed::canary(&self.directory));
        disks
    }

    /// All disks but the medium and those with the given roles, as for a machine that lost them:
    /// `disks_without(&["vm2"])`, `disks_without(&[seed::KEY])`.
    pub fn disks_without(&self, roles: &[&str]) -> Vec<Disk> {
        self.disks().into_iter().filter(|disk| !roles.contains(&disk.role.as_str())).collect()
    }

    /// A blank disk as a replacement for the one of `role`: of its kind and size, with the serial
    /// number `serial` and an image of its own.
    pub fn fresh_disk(&self, role: &str, serial: &str) -> Result<Disk, Failure> {
        let old = self.disks().into_iter().find(|disk| disk.role == role);
        let old = old.ok_or_else(|| Failure::Unfit(format!("there is no disk `{role}`")))?;
        let role = serial.to_lowercase();
        let file = self.path(&format!("{role}.qcow2"));
        let disk = Disk { role, serial: serial.to_owned(), file, format: Format::Qcow2, ..old };
        remove(&disk.file)?;
        disk_image::create(&disk)?;
        Ok(disk)
    }

    /// The text of `host.toml` for this story.
    pub fn host_toml(&self, guest: &GuestDisk) -> Result<String, Failure> {
        let disks: Vec<Disk> =
            self.disks().into_iter().filter(|disk| disk.role != CANARY).collect();
        let with = Substitutions {
            disks: &disks,
            ssh_key: &self.key.public,
            http_port: self.record.http_port,
            guest,
        };
        answers::host_toml(&self.workspace.profile()?, &with)
    }

    /// Makes every disk anew; returns the digest of the canary.
    pub fn make_disks(&self) -> Result<String, Failure> {
        for disk in self.disks() {
            remove(&disk.file)?;
            if disk.role != CANARY {
                disk_image::create(&disk)?;
            }
        }
        remove(&self.path(&format!("{HOST}.vars.fd")))?;
        Ok(canary::create(&seed::canary(&self.directory).file)?)
    }

    /// Starts the machine with the medium in it.
    pub fn start_medium(&self, medium: &Path) -> Result<Running, Failure> {
        let size = medium.metadata().map_err(file("look at", medium))?.len();
        let mut disks = self.disks();
        disks.push(seed::medium(medium, size));
        let mut machine = seed::machine(HOST, disks, INSTALL_MEMORY_MIB, self.record.ssh_port);
        // One nobody listens to: what the installed machine is reached by stays free.
        machine.networks.iter_mut().for_each(|lan| lan.forwards.clear());
        let running = machine.start(&self.directory, Some(self.console("install")))?;
        Ok(running)
    }

    /// Installs, unless that is done.
    pub fn install(&mut self, medium: &Path) -> Result<Installed, Failure> {
        self.begins(Phase::Install);
        let guest = self.guest()?;
        self.server.offer(IMAGE_PATH, guest.file.clone());
        if let Some(installed) = &self.record.installed {
            self.say("using the installed disks that are there");
            return Ok(installed.clone());
        }
        let canary = self.make_disks()?;
        let host = self.host_toml(&guest)?;
        answers::parse(&host)?;
        let path = self.path("host.toml");
        std::fs::write(&path, &host).map_err(file("write", &path))?;
        put_answers(medium, &host)?;

        let begun = Instant::now();
        let running = self.start_medium(medium)?;
        wait_for_power_off(&running)?;
        let reason = running.wait_for_end(Duration::from_secs(60))?;
        let counters = running.qmp().counters(CANARY)?;
        self.keep_log(&running, "install.serial.log")?;
        self.keep_events(&running.events())?;
        let installed = Installed {
            end: reason.unwrap_or_else(|| "QEMU gave no reason".to_owned()),
            seconds: begun.elapsed().as_secs(),
            canary,
            counters,
        };
        self.say(&format!("installed in {} s, ended by {}", installed.seconds, installed.end));
        self.record.installed = Some(installed.clone());
        self.record.write(&self.directory)?;
        Ok(installed)
    }

    fn keep_events(&self, events: &[Event]) -> Result<(), Failure> {
        let path = self.path(EVENTS);
        let lines: Result<Vec<String>, _> = events.iter().map(serde_json::to_string).collect();
        let lines = lines.map_err(|error| Failure::Unfit(error.to_string()))?;
        std::fs::write(&path, lines.join("\n")).map_err(file("write", &path))
    }

    /// The events of the installation.
    pub fn events(&self) -> Result<Vec<Event>, Failure> {
        let path = self.path(EVENTS);
        let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        let events: Result<_, _> = text.lines().map(serde_json::from_str).collect();
        events.map_err(|error| Failure::Unfit(format!("{}: {error}", path.display())))
    }

    pub(crate) fn keep_log(&self, running: &Running, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        std::fs::copy(running.log(), &path).map_err(file("write", &path)).map(drop)
    }
}

/// A console line without what moves the cursor or paints: firmware and boot loader draw.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => {
                // A control sequence ends with a letter.
                characters.by_ref().skip_while(|next| *next == '[').find(char::is_ascii_alphabetic);
            }
            '\u{fffd}' => {}
            other if other.is_control() => text.push(' '),
            other => text.push(other),
        }
    }
    text.trim().to_owned()
}

/// Waits for the end, or for the console to show that there will be none.
fn wait_for_power_off(running: &Running) -> Result<(), Failure> {
    match running.wait_for_text(&STOPPED, INSTALL_LIMIT) {
        Err(HarnessError::Ended { .. }) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::Unfit(format!(
            "the installation stopped; the end of the serial log:\n{}",
            running.tail()
        ))),
    }
}

impl Record {
    const FILE: &str = "story.json";

    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, Failure> {
        let path = directory.join(Self::FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(file("read", &path))?;
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| Failure::Unfit(format!("{}: {error}", path.display())))
    }

    fn write(&self, directory: &Path) -> Result<(), Failure> {
        let path = directory.join(Self::FILE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::Unfit(format!("{}: {error}", path.display())))?;
        std::fs::write(&path, text).map_err(file("write", &path))
    }
}

/// A port that is free now and that the kernel gives to nobody who asks for any.
fn lasting_port() -> Result<u16, Failure> {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap_or(0);
    (first..32_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| Failure::Unfit("every port from 20000 to 32000 is taken".to_owned()))
}

fn free_port() -> Result<u16, Failure> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(file("find a port for", Path::new("127.0.0.1")))
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn t18_a_console_line_carries_no_control_characters() {
        assert_eq!(plain("\u{1b}[0m\u{1b}[02;35HGNU GRUB\u{7}\r"), "GNU GRUB");
        assert_eq!(plain("\u{1b}[2J\u{1b}[01;01H"), "");
    }
}
