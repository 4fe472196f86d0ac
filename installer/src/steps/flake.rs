//! Enrolment: the host's directory in the repository, and its commit.

mod directory;
pub mod fetch;
mod handover;
mod message;
mod patience;
mod place;
mod push;
mod ssh;
#[cfg(test)]
mod stand_in;

use std::fs;
use std::path::Path;

use bedplate_events::Outcome;
use bedplate_formats::platform::DESCRIPTION;
use bedplate_formats::repository_tree;
use bedplate_keystick::layout::HOST_KEY;
use bedplate_model::facts::Facts;
use bedplate_model::hardware::{self, Needs};
use bedplate_model::host::{HostFile, Push};
use bedplate_tools::git::{Git, Reader};
use bedplate_tools::sync;

use self::handover::Handover;
use crate::answers::Repository;
use crate::context::{Context, TARGET};
use crate::error::{During as _, StepError};
use crate::steps::host_key::{HostKey, PUBLIC_KEY, RULES};

/// Where the repository stays on the installed machine.
pub const REPOSITORY: &str = "etc/nixos";

/// What hands `host.toml` to the platform; it never changes.
const CONFIGURATION: &str = include_str!("../../../nix/host/configuration.nix");

/// The commit that the host's commit stands on: what came with the medium.
const BASE: &str = "refs/bedplate/base";

/// What is enrolled.
pub struct Enrolment<'a> {
    /// The work tree.
    pub repository: &'a Path,
    /// The repository that came with the medium.
    pub source: Option<&'a Repository>,
    /// Directory of the hosts inside it.
    pub hosts: &'a str,
    /// Name of the host.
    pub name: &'a str,
    /// `host.toml`, verbatim.
    pub host_toml: &'a str,
    /// The text of `hardware.json`.
    pub hardware: &'a str,
    /// The remote.
    pub remote: Option<&'a str>,
    /// Body of the commit's message.
    pub message: &'a str,
    /// The machine's ssh key; none makes none.
    pub host_key: Option<&'a HostKey<'a>>,
}

/// What the step says of the repository.
pub struct Target<'a> {
    /// Directory of the hosts inside it.
    pub hosts: &'a str,
    /// The remote.
    pub remote: Option<&'a str>,
    /// With what the commit is pushed there.
    pub push: Option<&'a Push>,
}

/// Enrols the host of the context.
pub fn enrol(
    context: &Context<'_>,
    facts: &Facts,
    step: &str,
    target: &Target<'_>,
) -> Result<Outcome, StepError> {
    let configuration = Path::new(TARGET).join("etc");
    let warn = |message: String| context.reporter.warn(Some(step), message);
    let sealed = has_sealed_key(context.host, context.sticks());
    let host_key = HostKey { configuration: &configuration, sealed, warn: &warn };
    let unknown = "could not describe the hardware";
    let needs = Needs::of(context.plan, facts).during(unknown)?;
    let hardware = hardware::text(context.plan, facts).during(unknown)?;
    let fetched = fetch::fetched(context)?;
    let commit = fetched.as_ref().map(place::commit_of).transpose()?.flatten();
    let enrolment = Enrolment {
        repository: &Path::new(TARGET).join(REPOSITORY),
        source: fetched.as_ref().or(context.answers.repository.as_ref()),
        hosts: target.hosts,
        name: &context.plan.host_name,
        host_toml: &context.answers.host_toml,
        hardware: &hardware,
        remote: target.remote,
        message: &message::of(context.plan, context.host, facts, &needs, commit.as_deref()),
        host_key: Some(&host_key),
    };
    let outcome = enrolment.run()?;
    let sticks: Vec<&Path> = context.sticks().collect();
    if let (Some(with), Some(remote)) = (target.push, target.remote) {
        let way = push::Way { remote, with, sticks: &sticks, ssh: "ssh", pauses: &push::PAUSES };
        match way.push(&enrolment) {
            Ok(words) => {
                drop(context.parting.set(words));
                return Ok(outcome);
            }
            // A remote that is not reached is no reason to stop: the bundle is left instead.
            Err(error) => context.reporter.warn(Some(step), told(&error)),
        }
    }
    match handover::leave(&enrolment, &sticks) {
        Handover::Nothing => {}
        // Said when everything is done: it is for the person who takes the stick out.
        Handover::Left(words) => drop(context.parting.set(words)),
        Handover::Failed(words) => context.reporter.warn(Some(step), words),
    }
    Ok(outcome)
}

/// Whether a stick has a sealed key that the first boot would take: only a host whose document
/// names secrets of the repository does.
fn has_sealed_key<'a>(host: &HostFile, mut sticks: impl Iterator<Item = &'a Path>) -> bool {
    !host.repository_secrets().is_empty() && sticks.any(|stick| stick.join(HOST_KEY).is_file())
}

/// A failure in one line.
fn told(error: &StepError) -> String {
    format!("{error} ({})", error.causes().join(": "))
}

impl Enrolment<'_> {
    /// Writes the host's directory and commits it; a second time changes nothing, and what has changed
    /// since is a commit of its own.
    pub fn run(&self) -> Result<Outcome, StepError> {
        let git = Git::new(self.repository, &format!("bedplate@{}", self.name), &self.email());
        place::repository(self)?;
        git.clear_locks().during("could not remove the locks of an earlier run")?;
        place::stays_inside(self.repository, &format!("{}/{}", self.hosts, self.name))?;
        place::stays_inside(self.repository, RULES)?;
        let public = self.public_key()?;
        let mut written = self.write_host(public.as_deref())?;
        if let (Some(key), Some(public)) = (self.host_key, &public) {
            let directory = format!("{}/{}", self.hosts, self.name);
            key.add_to_rules(self.repository, &directory, self.name, public)?;
            git.add(RULES).during("could not stage the rules for secrets")?;
        }
        git.set_origin(self.remote).during("could not set the remote")?;
        git.add(&format!("{}/{}", self.hosts, self.name))
            .during("could not stage the host's directory")?;
        if let Some(Repository::Bundle { platform: Some(platform), .. }) = self.source {
            written |= self.write_platform(&git, platform)?;
        }
        if git.nothing_is_staged().during("could not read the state of the repository")? {
            return Ok(if written { Outcome::Done } else { Outcome::AlreadyDone });
        }
        // On top of what an earlier run committed, which may be pushed or fetched from the stick by now.
        git.commit(self.message).during("could not commit the host's directory")?;
        sync::file_system(self.repository).during("could not flush the repository")?;
        Ok(Outcome::Done)
    }

    /// The public half of the key that is made here. One that was made in advance is taken at the
    /// first boot, with its passphrase.
    fn public_key(&self) -> Result<Option<String>, StepError> {
        let Some(key) = self.host_key else { return Ok(None) };
        if key.sealed && self.came_with_public_key()? {
            return Ok(None);
        }
        key.public(self.repository, self.name)
    }

    /// Whether the repository came with a public key of this host, as one does for which a key was
    /// made in advance. Without it what is sealed on a stick is another host's, or an old one.
    fn came_with_public_key(&self) -> Result<bool, StepError> {
        let read = Reader::new(self.repository);
        // Not the work tree: an earlier run may have written one there.
        let Some(base) = read.commit(BASE) else { return Ok(false) };
        let what = "could not list the repository's files";
        let files = repository_tree::parse(&read.listing(&base).during(what)?).during(what)?;
        let path = format!("{}/{}/{PUBLIC_KEY}", self.hosts, self.name);
        Ok(files.iter().any(|entry| entry.path == path))
    }

    fn email(&self) -> String {
        format!("bedplate@{}", self.name)
    }

    /// The medium's platform, where the repository describes none or another.
    fn write_platform(&self, git: &Git, platform: &[u8]) -> Result<bool, StepError> {
        let what = "could not write bedplate/platform.json";
        place::stays_inside(self.repository, DESCRIPTION)?;
        let path = self.repository.join(DESCRIPTION);
        let written = fs::read(&path).ok().as_deref() != Some(platform);
        if written {
            let staging = self.repository.join(".git/bedplate-platform");
            fs::write(&staging, platform).during(what)?;
            sync::file_system(&staging).during(what)?;
            fs::rename(&staging, &path).during(what)?;
        }
        git.add(DESCRIPTION).during("could not stage bedplate/platform.json")?;
        Ok(written)
    }

    /// The directory moves in whole: half a host breaks every host of a flake that lists them.
    fn write_host(&self, public: Option<&str>) -> Result<bool, StepError> {
        let hosts = self.repository.join(self.hosts);
        let place = hosts.join(self.name);
        let what = || format!("could not write {}", place.display());
        let staging = self.repository.join(format!(".git/bedplate-{}", self.name));
        let old = self.repository.join(format!(".git/bedplate-{}-old", self.name));
        if old.is_dir() && fs::symlink_metadata(&place).is_err() {
            // Cut off between the two renames: the owner's files are in there alone.
            fs::create_dir_all(&hosts).during(what())?;
            fs::rename(&old, &place).during(what())?;
        }
        let mut files = vec![
            (hardware::FILE, self.hardware.to_owned()),
            ("host.toml", self.host_toml.to_owned()),
        ];
        // The owner's may say more than ours.
        if fs::symlink_metadata(place.join("configuration.nix")).is_err() {
            files.push(("configuration.nix", CONFIGURATION.to_owned()));
        }
        files.extend(public.map(|public| (PUBLIC_KEY, public.to_owned())));
        let same = |(name, content): &(&str, String)| {
            let path = place.join(name);
            let plain = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
            plain && fs::read_to_string(path).is_ok_and(|found| found == *content)
        };
        if files.iter().all(same) {
            return Ok(false);
        }
        directory::replace(&place, &staging, &old, &files).during(what())?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
