//! What a converge costs that has nothing to do, and what Ansible takes for the same.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bedplate_engine::Reporter;
use bedplate_events::Event;
use bedplate_events::progress::Progress;
use bedplate_guests::vm::VirtualMachines;
use bedplate_guests::vm::accelerator::Accelerator;
use bedplate_guests::vm::domain;
use bedplate_platform::intent;
use bedplate_resources::compared;
use bedplate_resources::context::Context;
use bedplate_resources::kind::Kind as _;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mounts::Mounts;
use bedplate_tools::qemu_img;

use crate::failure::{Failure, file};
use crate::libvirt_daemon::LibvirtDaemon;

/// The document around the machines.
const PROFILE: &str = include_str!("../../profiles/hypervisor/host.toml");
/// Size of each disk.
const DISK: u64 = 1 << 30;

/// A host whose machines are all as intended.
pub struct SettledHost {
    directory: PathBuf,
    uri: String,
    names: Vec<String>,
}

impl SettledHost {
    /// Makes files and domains of so many machines.
    pub fn make(
        directory: &Path,
        daemon: &LibvirtDaemon,
        machines: usize,
    ) -> Result<Self, Failure> {
        let names = (0..machines).map(|number| format!("vm{number:03}")).collect();
        let host = Self { directory: directory.to_owned(), uri: daemon.uri(), names };
        let document = host.document();
        fs::write(host.host_file(), document).map_err(file("write", &host.host_file()))?;
        host.make_disks()?;
        host.define_all()?;
        // The first run notes what was started.
        host.converge()?;
        Ok(host)
    }

    fn host_file(&self) -> PathBuf {
        self.directory.join("host.toml")
    }

    fn pool(&self) -> PathBuf {
        self.directory.join("pool")
    }

    /// The profile's pools and bridges, with its machines replaced.
    fn document(&self) -> String {
        let before = PROFILE.split("# [vms.").next().unwrap_or_default();
        let mount = format!("mount = \"{}\"", self.pool().display());
        let mut text = before.replace("mount = \"/mnt/vmstore\"", &mount);
        for name in &self.names {
            let sum = "0".repeat(64);
            let _ = write!(
                text,
                "[vms.{name}]\nfirmware = \"bios\"\ndisk_gb = 1\n\
                 [vms.{name}.disk_image]\nurl = \"https://example.org/a.qcow2\"\nsha256 = \"{sum}\"\n"
            );
        }
        text
    }

    fn make_disks(&self) -> Result<(), Failure> {
        let unfit = |error: qemu_img::QemuImageError| Failure::Unfit(error.to_string());
        let first = self.directory.join("first.qcow2");
        qemu_img::create(&first, DISK).map_err(unfit)?;
        for name in &self.names {
            let place = self.pool().join(name);
            fs::create_dir_all(&place).map_err(file("make", &place))?;
            let disk = place.join(format!("{name}.qcow2"));
            fs::copy(&first, &disk).map_err(file("write", &disk))?;
        }
        Ok(())
    }

    /// As converge defines them, but for the type: the test driver knows only its own.
    fn define_all(&self) -> Result<(), Failure> {
        let context = self.context()?;
        let accelerator = Accelerator::of_this_boot(&context.runtime, &context.state)
            .map_err(file("look at", &context.runtime))?;
        let mut script = String::new();
        for name in &self.names {
            let vm = &context.intent.vms[name.as_str()];
            let place = self.pool().join(name);
            let wanted = domain::define(&context.intent, name, vm, &place, accelerator)
                .map_err(file("define", &place))?;
            let own = format!("type=\"{}\"", accelerator.domain_type());
            let xml = wanted.xml.replacen(&own, "type=\"test\"", 1);
            let path = place.join("domain.xml");
            fs::write(&path, xml).map_err(file("write", &path))?;
            let path = path.display();
            let _ = write!(script, "define {path};autostart {name};start {name};");
        }
        for some in self.names.chunks(20) {
            let has = |line: &&str| some.iter().any(|name| line.contains(name.as_str()));
            let part: Vec<_> = script.split(';').filter(has).collect();
            let mut virsh = Command::new("virsh");
            virsh.args(["--quiet", "--connect", &self.uri, &part.join(";")]);
            virsh.run().map_err(|error| Failure::Unfit(error.to_string()))?;
        }
        Ok(())
    }

    fn context(&self) -> Result<Context, Failure> {
        let intent =
            intent::read(&self.host_file()).map_err(|error| Failure::Unfit(error.to_string()))?;
        let mounted = format!("1 1 0:1 / {} rw - btrfs a rw\n", self.pool().display());
        Ok(Context {
            intent,
            mounts: Mounts::parse(&mounted),
            configuration: self.directory.join("etc"),
            runtime: self.directory.join("run"),
            state: self.directory.join("state"),
        })
    }

    /// Reads the document and converges; how long that took, and how many steps it had.
    pub fn converge(&self) -> Result<(Duration, usize), Failure> {
        let began = Instant::now();
        let context = self.context()?;
        let mut progress = Progress::default();
        let mut sink = |event: &Event| progress.follow(event);
        let kind = VirtualMachines::of(&self.uri);
        compared::prepare(kind, &context).perform(&context, &Reporter::to(&mut sink));
        match progress.failures().first() {
            Some(first) => {
                let causes = first.causes.join(": ");
                Err(Failure::Unfit(format!("{}: {causes}", first.message)))
            }
            None => {
                let steps =
                    progress.ended().iter().filter(|(_, ended)| ended.how.is_done()).count();
                Ok((began.elapsed(), steps))
            }
        }
    }

    /// Where the time of a converge goes: reading the document, looking at the machine, deciding.
    pub fn split(&self) -> Result<[Duration; 3], Failure> {
        let began = Instant::now();
        let context = self.context()?;
        let read = began.elapsed();
        let kind = VirtualMachines::of(&self.uri);
        let observed = kind.observe(&context).map_err(|error| Failure::Unfit(error.to_string()))?;
        let looked = began.elapsed();
        let _ = VirtualMachines::diff(&context.intent, &observed);
        Ok([read, looked - read, began.elapsed() - looked])
    }

    /// What converge would do with more memory for one machine.
    pub fn steps_of_one_change(&self) -> Result<Vec<String>, Failure> {
        let mut context = self.context()?;
        if let Some(vm) = context.intent.vms.values_mut().next() {
            vm.ram_mb += 1024;
        }
        let kind = VirtualMachines::of(&self.uri);
        let observed = kind.observe(&context).map_err(|error| Failure::Unfit(error.to_string()))?;
        let resources = VirtualMachines::diff(&context.intent, &observed);
        Ok(resources.iter().flat_map(|one| &one.actions).map(ToString::to_string).collect())
    }

    /// Where a process of its own finds this host again.
    pub fn arguments(&self) -> [String; 3] {
        let directory = self.directory.display().to_string();
        [directory, self.uri.clone(), self.names.len().to_string()]
    }

    /// The host of [`SettledHost::arguments`].
    pub fn again(directory: &str, uri: &str, machines: usize) -> Self {
        let names = (0..machines).map(|number| format!("vm{number:03}")).collect();
        Self { directory: directory.into(), uri: uri.to_owned(), names }
    }
}

/// How much memory this process had at most, in bytes (proc_pid_status(5), `VmHWM`).
pub fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Ansible in a directory of its own: `venv` with the package `ansible`, `python-libvirt` with
/// libvirt's binding.
pub struct Ansible {
    directory: PathBuf,
}

impl Ansible {
    /// The one in the target directory; without one it is fetched from the package registries.
    pub fn obtain() -> Result<Self, Failure> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ansible");
        let found = Self { directory };
        if !found.directory.join("complete").is_file() {
            found.fetch()?;
        }
        Ok(found)
    }

    /// The binding is in the registry as source alone; Debian has it built for its own Python.
    fn fetch(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.directory).map_err(file("make", &self.directory))?;
        let here = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let done = command.args(arguments).current_dir(&self.directory).run();
            done.map_err(|error| Failure::Unfit(format!("Ansible could not be fetched: {error}")))
        };
        here("python3", &["-m", "venv", "venv"])?;
        here("venv/bin/pip", &["install", "--quiet", "ansible", "lxml"])?;
        here("apt-get", &["download", "--quiet", "python3-libvirt"])?;
        let entries = fs::read_dir(&self.directory).map_err(file("list", &self.directory))?;
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        for package in names.filter(|name| name.ends_with(".deb")) {
            here("dpkg", &["-x", &package, "python-libvirt"])?;
        }
        let complete = self.directory.join("complete");
        fs::write(&complete, "").map_err(file("write", &complete))
    }

    /// Runs a playbook twice over so many machines of the host, all defined, started and marked
    /// for autostart; how long the second run took, which has nothing to do.
    pub fn second_run(&self, host: &SettledHost, machines: usize) -> Result<Duration, Failure> {
        let names: Vec<_> = host.names.iter().take(machines).collect();
        let playbook = host.directory.join("playbook.yml");
        fs::write(&playbook, playbook_text(host, &names)).map_err(file("write", &playbook))?;
        self.run(&playbook)?;
        let began = Instant::now();
        self.run(&playbook)?;
        Ok(began.elapsed())
    }

    fn run(&self, playbook: &Path) -> Result<(), Failure> {
        let bin = self.directory.join("venv/bin");
        let mut command = Command::new(bin.join("ansible-playbook"));
        let python = bin.join("python");
        command.args(["-i", "localhost,", "-c", "local", "-e"]);
        command.arg(format!("ansible_python_interpreter={}", python.display())).arg(playbook);
        let binding = self.directory.join("python-libvirt/usr/lib/python3/dist-packages");
        command.env("PYTHONPATH", binding).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        let done = command.output().map_err(file("start", playbook))?;
        match done.status.success() {
            true => Ok(()),
            false => {
                let told = String::from_utf8_lossy(&done.stdout);
                let end: Vec<_> = told.lines().rev().take(12).collect();
                let end: Vec<_> = end.into_iter().rev().collect();
                Err(Failure::Unfit(format!("ansible-playbook failed: {}", end.join("\n"))))
            }
        }
    }
}

/// What the role that Bedplate takes over from does for each machine, by the collection's modules.
fn playbook_text(host: &SettledHost, names: &[&String]) -> String {
    let uri = serde_json::json!(host.uri);
    let pool = host.pool();
    let all = serde_json::json!(names);
    format!(
        "- hosts: all\n  gather_facts: false\n  tasks:\n\
         \x20   - community.libvirt.virt:\n        uri: {uri}\n        command: define\n\
         \x20       xml: \"{{{{ lookup('file', '{}/' + item + '/domain.xml') }}}}\"\n      loop: {all}\n\
         \x20   - community.libvirt.virt:\n        uri: {uri}\n        name: \"{{{{ item }}}}\"\n\
         \x20       autostart: true\n        state: running\n      loop: {all}\n",
        pool.display()
    )
}
