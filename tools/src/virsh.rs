//! `virsh`: libvirt, one command per call.

use std::process::Command;
use std::thread;

use crate::command::{CommandError, CommandExt as _};

/// What no XML of libvirt holds: `<` begins a name there.
const MARK: &str = "<<<bedplate<<<";
/// So many domains make one argument of about 50 KiB; Linux takes 128.
const MOST_AT_ONCE: usize = 300;
/// For fewer, another call would cost more than it saves.
const FEWEST_AT_ONCE: usize = 25;

/// A domain of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As libvirt writes it.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether libvirt starts it at boot.
    pub autostart: bool,
}

/// XML of a domain; none when it is gone, or has no such definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions {
    /// What counts from the next start on.
    pub persistent: Option<String>,
    /// What it was started with, where it runs.
    pub live: Option<String>,
}

/// A connection, by its URI.
#[derive(Debug, Clone)]
pub struct Virsh {
    uri: String,
}

impl Virsh {
    /// Connects to `uri` with every call, for example `qemu:///system`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into() }
    }

    /// All domains, with one call.
    pub fn list(&self) -> Result<Vec<Listed>, CommandError> {
        let lists = ["list --all --uuid --name", "list --uuid", "list --all --autostart --uuid"];
        let script = lists.join(&format!(";echo {MARK};")) + ";echo";
        Ok(listed(&self.command(&[&script]).read()?))
    }

    /// Names of the domains that run.
    pub fn running(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--name"])
    }

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>, CommandError> {
        let lines = self.command(arguments).read()?;
        let names = lines.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(names.map(str::to_owned).collect())
    }

    /// The definitions of `domains`, in their order, with one call for hundreds of them: starting
    /// virsh for each takes longer than everything else. libvirt answers as many calls at once as
    /// there are processors.
    pub fn definitions(&self, domains: &[Listed]) -> Result<Vec<Definitions>, CommandError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let share = domains.len().div_ceil(processors).clamp(FEWEST_AT_ONCE, MOST_AT_ONCE);
        let answers: Vec<_> = thread::scope(|scope| {
            let asked = |some| scope.spawn(move || self.some_definitions(some));
            let asking: Vec<_> = domains.chunks(share).map(asked).collect();
            let answer = |one: thread::ScopedJoinHandle<'_, _>| {
                one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            asking.into_iter().map(answer).collect()
        });
        let all: Result<Vec<_>, _> = answers.into_iter().collect();
        Ok(all?.concat())
    }

    fn some_definitions(&self, domains: &[Listed]) -> Result<Vec<Definitions>, CommandError> {
        let script: String = domains.iter().map(dumps).collect();
        Ok(definitions(domains, &self.command(&[&format!("{script}echo")]).read()?))
    }

    /// Defines what `xml` describes, once libvirt's schema has found nothing wrong with it.
    pub fn define(&self, xml: &str) -> Result<(), CommandError> {
        self.command(&["define", "--validate", "/dev/stdin"])
            .read_with_input(xml.as_bytes())
            .map(drop)
    }

    /// Starts a domain.
    pub fn start(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["start", "--domain", domain]).run()
    }

    /// Whether libvirt starts the domain at boot.
    pub fn autostart(&self, domain: &str, wanted: bool) -> Result<(), CommandError> {
        let mut command = self.command(&["autostart", "--domain", domain]);
        if !wanted {
            command.arg("--disable");
        }
        command.run()
    }

    /// Asks the guest to shut down; it may take its time, or not listen.
    pub fn shutdown(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["shutdown", "--domain", domain]).run()
    }

    /// Turns a domain off at once.
    pub fn destroy(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["destroy", "--domain", domain]).run()
    }

    /// Removes the definition with the firmware's variables and a saved state.
    pub fn undefine(&self, domain: &str) -> Result<(), CommandError> {
        let flags = ["--nvram", "--managed-save", "--snapshots-metadata"];
        self.command(&["undefine", "--domain", domain]).args(flags).run()
    }

    /// Has the guest's agent flush and hold all its file systems.
    pub fn freeze(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["domfsfreeze", "--domain", domain]).run()
    }

    /// Undoes [`Virsh::freeze`].
    pub fn thaw(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["domfsthaw", "--domain", domain]).run()
    }

    /// Pauses a domain; what it has written is flushed.
    pub fn suspend(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["suspend", "--domain", domain]).run()
    }

    /// Undoes [`Virsh::suspend`].
    pub fn resume(&self, domain: &str) -> Result<(), CommandError> {
        self.command(&["resume", "--domain", domain]).run()
    }

    /// Names of the domains that are paused.
    pub fn paused(&self) -> Result<Vec<String>, CommandError> {
        self.names(&["list", "--state-paused", "--name"])
    }

    /// Enlarges the disk `path` of a running domain to `bytes`.
    pub fn enlarge_disk(&self, domain: &str, path: &str, bytes: u64) -> Result<(), CommandError> {
        let size = format!("{bytes}B");
        self.command(&["blockresize", "--domain", domain, "--path", path, "--size", &size]).run()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("virsh");
        command.args(["--quiet", "--connect", &self.uri]).args(arguments).env("LC_ALL", "C");
        command
    }
}

/// The commands that print what a domain is, each answer behind a mark.
fn dumps(domain: &Listed) -> String {
    let uuid = &domain.uuid;
    let live = if domain.running { format!("dumpxml {uuid};") } else { String::new() };
    format!("echo {MARK};dumpxml --inactive {uuid};echo {MARK};{live}")
}

fn listed(answer: &str) -> Vec<Listed> {
    let mut lists = answer.split(MARK);
    let mut next = || lists.next().unwrap_or_default();
    let (all, running, autostarted) = (next(), next(), next());
    let has = |list: &str, uuid: &str| list.lines().any(|line| line.trim() == uuid);
    let one = |line: &str| {
        let (uuid, name) = line.trim().split_once(char::is_whitespace)?;
        Some(Listed {
            uuid: uuid.to_owned(),
            name: name.trim().to_owned(),
            running: has(running, uuid),
            autostart: has(autostarted, uuid),
        })
    };
    all.lines().filter_map(one).collect()
}

fn definitions(domains: &[Listed], answer: &str) -> Vec<Definitions> {
    let mut parts = answer.split(MARK).skip(1);
    let mut next = || {
        let text = parts.next().map(str::trim).filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
    domains.iter().map(|_| Definitions { persistent: next(), live: next() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "\
 aaaaaaaa-0000-0000-0000-000000000001   haos
 aaaaaaaa-0000-0000-0000-000000000002   a b

<<<bedplate<<<aaaaaaaa-0000-0000-0000-000000000002

<<<bedplate<<<aaaaaaaa-0000-0000-0000-000000000001
";

    #[test]
    fn domains_are_listed_with_what_runs_and_what_is_started() {
        let all = listed(TWO);
        let seen: Vec<_> =
            all.iter().map(|one| (one.name.as_str(), one.running, one.autostart)).collect();
        assert_eq!(seen, [("haos", false, true), ("a b", true, false)]);
        assert!(listed("\n<<<bedplate<<<\n").is_empty());
    }

    #[test]
    fn a_definition_that_is_not_there_leaves_the_others_in_their_places() {
        let answer = "<<<bedplate<<<<<<bedplate<<<<<<bedplate<<<<domain>p</domain>\n\n<<<bedplate<<<<domain id='1'/>\n";
        let found = definitions(&listed(TWO), answer);
        assert_eq!(found[0], Definitions { persistent: None, live: None });
        assert_eq!(found[1].persistent.as_deref(), Some("<domain>p</domain>"));
        assert_eq!(found[1].live.as_deref(), Some("<domain id='1'/>"));
    }
}
