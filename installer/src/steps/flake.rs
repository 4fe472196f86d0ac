//! Enrolment: the host's directory in the repository, and its commit.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use bedplate_keystick::layout::HOST_KEY;
use bedplate_spec::event::Outcome;
use bedplate_spec::facts::Facts;
use bedplate_tools::git::Git;
use bedplate_tools::sync;

use crate::context::{Context, TARGET};
use crate::error::{During as _, StepError};
use crate::steps::host_key::{HostKey, PUBLIC_KEY, RULES};

/// Where the repository stays on the installed machine.
pub const REPOSITORY: &str = "etc/nixos";

/// What hands `host.toml` to the platform; it never changes.
const CONFIGURATION: &str = include_str!("../../../nix/host/configuration.nix");

/// What is enrolled.
pub struct Enrolment<'a> {
    /// The work tree.
    pub repository: &'a Path,
    /// The repository that came with the medium.
    pub source: Option<&'a Path>,
    /// Directory of the hosts inside it.
    pub hosts: &'a str,
    /// Name of the host.
    pub name: &'a str,
    /// `host.toml`, verbatim.
    pub host_toml: &'a str,
    /// What the machine was found to be, as JSON.
    pub hardware: &'a str,
    /// The remote.
    pub remote: Option<&'a str>,
    /// Body of the commit's message.
    pub message: &'a str,
    /// The machine's ssh key; none when it was made in advance.
    pub host_key: Option<&'a HostKey<'a>>,
}

/// Enrols the host of the context.
pub fn enrol(
    context: &Context<'_>,
    facts: &Facts,
    hosts: &str,
    remote: Option<&str>,
    step: &str,
) -> Result<Outcome, StepError> {
    let configuration = Path::new(TARGET).join("etc");
    let warn = |message: String| context.reporter.warn(step, message);
    // One that was made in advance is taken at the first boot, with its passphrase.
    let mut sticks = context.sticks.iter();
    let prepared = sticks.any(|stick| stick.path().join(HOST_KEY).is_file());
    let host_key = HostKey { configuration: &configuration, warn: &warn };
    let hardware = serde_json::to_string_pretty(&hardware_of(context, facts))
        .during("could not describe the hardware")?;
    Enrolment {
        repository: &Path::new(TARGET).join(REPOSITORY),
        source: context.answers.flake.as_deref(),
        hosts,
        name: &context.plan.host_name,
        host_toml: &context.answers.host_toml,
        hardware: &hardware,
        remote,
        message: &message(context),
        host_key: (!prepared).then_some(&host_key),
    }
    .run()
}

/// The facts of the machine without what changes from boot to boot, and only the plan's disks.
fn hardware_of(context: &Context<'_>, facts: &Facts) -> serde_json::Value {
    let disks: Vec<_> = context
        .plan
        .disks
        .iter()
        .map(|disk| {
            serde_json::json!({
                "role": disk.role, "id": disk.id, "serial": disk.serial, "wwn": disk.wwn,
                "size": disk.size, "sector_size": disk.sector_size,
            })
        })
        .collect();
    let nics: Vec<_> = facts
        .nics
        .iter()
        .map(|nic| serde_json::json!({"name": nic.name, "mac": nic.mac, "driver": nic.driver}))
        .collect();
    serde_json::json!({
        "schema": 1, "firmware": facts.firmware, "memory_bytes": facts.memory_bytes,
        "disks": disks, "nics": nics,
    })
}

fn message(context: &Context<'_>) -> String {
    let mut text =
        format!("Enrol {}\n\nPlan {}\n\nDisks:\n", context.plan.host_name, context.plan.hash);
    for disk in &context.plan.disks {
        text.push_str(&format!("- {}: {}, {} bytes\n", disk.role, disk.id, disk.size));
    }
    for (name, pool) in &context.host.pools {
        text.push_str(&format!(
            "Pool {name} at {}: RAID1 over {}\n",
            pool.mount,
            pool.disks.join(", ")
        ));
    }
    text
}

impl Enrolment<'_> {
    /// Writes the host's directory and commits it; a second time changes nothing.
    pub fn run(&self) -> Result<Outcome, StepError> {
        let git = Git::new(self.repository, &format!("bedplate@{}", self.name), &self.email());
        self.place_repository()?;
        git.clear_locks().during("could not remove the locks of an earlier run")?;
        let public = self.host_key.map(|key| key.public(self.repository, self.name)).transpose()?;
        let public = public.flatten();
        let written = self.write_host(public.as_deref())?;
        if let (Some(key), Some(public)) = (self.host_key, &public) {
            let directory = format!("{}/{}", self.hosts, self.name);
            key.add_to_rules(self.repository, &directory, self.name, public)?;
            git.add(RULES).during("could not stage the rules for secrets")?;
        }
        git.set_origin(self.remote).during("could not set the remote")?;
        git.add(&format!("{}/{}", self.hosts, self.name))
            .during("could not stage the host's directory")?;
        if git.is_clean().during("could not read the state of the repository")? {
            return Ok(if written { Outcome::Done } else { Outcome::AlreadyDone });
        }
        let amend = git.newest_author().as_deref() == Some(self.email().as_str());
        git.commit(self.message, amend).during("could not commit the host's directory")?;
        sync::file_system(self.repository).during("could not flush the repository")?;
        Ok(Outcome::Done)
    }

    fn email(&self) -> String {
        format!("bedplate@{}", self.name)
    }

    /// The repository moves in whole, with its first commit: half a one could not be finished.
    fn place_repository(&self) -> Result<(), StepError> {
        if self.repository.join(".git").exists() {
            return Ok(());
        }
        let staging = self.repository.with_extension("bedplate-new");
        remove(&staging).during("could not remove what an earlier run left")?;
        fs::create_dir_all(&staging).during("could not make the repository")?;
        for source in [Some(self.repository), self.source].into_iter().flatten() {
            if source.is_dir() {
                copy_tree(source, &staging).during("could not copy the repository")?;
            }
        }
        if !staging.join("flake.nix").is_file() {
            return Err(StepError::new("the answers bring no flake (`flake/flake.nix`)")
                .next("write the answers again with a repository: `bedplate personalize`"));
        }
        if !staging.join(".git").exists() {
            let name = format!("bedplate-template@{}", self.name);
            let git = Git::new(&staging, "bedplate", &name);
            git.init().during("could not make the repository")?;
            git.add(".").during("could not stage the repository")?;
            git.commit("Start from the profile's template\n", false)
                .during("could not make the first commit")?;
        }
        sync::file_system(&staging).during("could not flush the repository")?;
        remove(self.repository).during("could not remove what an earlier run left")?;
        fs::rename(&staging, self.repository).during("could not put the repository into place")
    }

    /// The directory moves in whole: half a host breaks every host of a flake that lists them.
    fn write_host(&self, public: Option<&str>) -> Result<bool, StepError> {
        let hosts = self.repository.join(self.hosts);
        let place = hosts.join(self.name);
        let mut files = vec![
            ("configuration.nix", CONFIGURATION.to_owned()),
            ("hardware.json", format!("{}\n", self.hardware)),
            ("host.toml", self.host_toml.to_owned()),
        ];
        files.extend(public.map(|public| (PUBLIC_KEY, public.to_owned())));
        let same = |(name, content): &(&str, String)| {
            fs::read_to_string(place.join(name)).is_ok_and(|found| found == *content)
        };
        if files.iter().all(same) {
            return Ok(false);
        }
        let what = || format!("could not write {}", place.display());
        fs::create_dir_all(&hosts).during(what())?;
        let staging = self.repository.join(format!(".git/bedplate-{}", self.name));
        let old = self.repository.join(format!(".git/bedplate-{}-old", self.name));
        for leftover in [&staging, &old] {
            remove(leftover).during(what())?;
        }
        if place.is_dir() {
            // Files of the owner beside ours stay.
            copy_tree(&place, &staging).during(what())?;
        }
        fs::create_dir_all(&staging).during(what())?;
        for (name, content) in &files {
            fs::write(staging.join(name), content).during(what())?;
        }
        sync::file_system(&staging).during(what())?;
        if place.exists() {
            fs::rename(&place, &old).during(what())?;
        }
        fs::rename(&staging, &place).during(what())?;
        remove(&old).during(what())?;
        Ok(true)
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            if fs::symlink_metadata(&target).is_err() {
                symlink(fs::read_link(&source)?, &target)?;
            }
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bedplate_tools::command::CommandExt as _;

    use super::*;

    fn log(repository: &Path) -> Vec<String> {
        let mut git = std::process::Command::new("git");
        let text = git.arg("-C").arg(repository).args(["log", "--format=%an %s"]).read().unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn f1_what_a_power_cut_leaves_of_the_repository_does_not_stop_the_next_run() {
        let place = tempfile::tempdir().unwrap();
        let (source, repository) = (place.path().join("flake"), place.path().join("nixos"));
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("flake.nix"), "{ }\n").unwrap();
        // Cut off before the repository was moved into place.
        let staging = place.path().join("nixos.bedplate-new");
        fs::create_dir_all(staging.join(".git")).unwrap();
        let run = |hardware| {
            Enrolment {
                repository: &repository,
                source: Some(&source),
                hosts: "nix/hosts",
                name: "box",
                host_toml: "schema = 1\n",
                hardware,
                remote: None,
                message: "Enrol box\n",
                host_key: None,
            }
            .run()
        };
        assert_eq!(run("{}").unwrap(), Outcome::Done);
        assert_eq!(log(&repository).len(), 2);
        assert!(!staging.exists());
        // Cut off while git held its locks.
        for lock in ["index.lock", "refs/heads/main.lock"] {
            fs::write(repository.join(".git").join(lock), "").unwrap();
        }
        assert_eq!(run("{\"memory\": 1}").unwrap(), Outcome::Done);
        assert_eq!(log(&repository).len(), 2);
    }

    #[test]
    fn a_host_is_enrolled_once_and_a_second_run_amends_and_duplicates_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (source, repository) = (place.path().join("flake"), place.path().join("nixos"));
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("flake.nix"), "{ }\n").unwrap();
        let enrolment = |hardware| {
            Enrolment {
                repository: &repository,
                source: Some(&source),
                hosts: "nix/hosts",
                name: "hypervisor",
                host_toml: "schema = 1 # verbatim\n",
                hardware,
                remote: None,
                message: "Enrol hypervisor\n",
                host_key: None,
            }
            .run()
            .unwrap()
        };
        let expected =
            ["bedplate@hypervisor Enrol hypervisor", "bedplate Start from the profile's template"];
        assert_eq!(enrolment("{}"), Outcome::Done);
        assert_eq!(log(&repository), expected);
        assert_eq!(enrolment("{}"), Outcome::AlreadyDone);
        assert_eq!(enrolment("{\"memory\": 1}"), Outcome::Done);
        assert_eq!(log(&repository), expected);
        let host = repository.join("nix/hosts/hypervisor");
        assert_eq!(
            bedplate_facts::roots::names(&host),
            ["configuration.nix", "hardware.json", "host.toml"]
        );
        assert_eq!(fs::read_to_string(host.join("host.toml")).unwrap(), "schema = 1 # verbatim\n");
    }

    #[test]
    fn a_repository_with_rules_gets_the_hosts_public_key_and_recipient_in_one_commit() {
        let place = tempfile::tempdir().unwrap();
        let (source, repository) = (place.path().join("flake"), place.path().join("nixos"));
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("flake.nix"), "{ }\n").unwrap();
        let admin = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";
        fs::write(source.join(RULES), format!("creation_rules:\n  - age: {admin}\n")).unwrap();
        let etc = place.path().join("etc");
        let host_key = HostKey { configuration: &etc, warn: &|_| {} };
        let run = || {
            Enrolment {
                repository: &repository,
                source: Some(&source),
                hosts: "nix/hosts",
                name: "box",
                host_toml: "schema = 1\n",
                hardware: "{}",
                remote: None,
                message: "Enrol box\n",
                host_key: Some(&host_key),
            }
            .run()
            .unwrap()
        };
        assert_eq!(run(), Outcome::Done);
        assert_eq!(run(), Outcome::AlreadyDone);
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(&repository).args(["show", "--format=", "--name-only"]);
        assert_eq!(
            git.read().unwrap().lines().collect::<Vec<_>>(),
            [
                ".sops.yaml",
                "nix/hosts/box/configuration.nix",
                "nix/hosts/box/hardware.json",
                "nix/hosts/box/host.toml",
                "nix/hosts/box/ssh_host_ed25519_key.pub"
            ]
        );
        let public = fs::read_to_string(repository.join("nix/hosts/box").join(PUBLIC_KEY)).unwrap();
        assert_eq!(public, fs::read_to_string(etc.join("ssh").join(PUBLIC_KEY)).unwrap());
    }
}
