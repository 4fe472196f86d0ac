//! The repository from where the document says, into memory, before anything is written to a disk.
//!
//! What was fetched lies as answers do: a bundle, and what the host's commit is to write as the
//! platform's description. Enrolment then takes it as if it had come with the medium.

mod examined;
mod volume;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bedplate_events::Outcome;
use bedplate_formats::answers::{BUNDLE_FILE, PLATFORM_FILE};
use bedplate_formats::platform::DESCRIPTION;
use bedplate_model::host::{HostFile, HttpsSource, Platform, SshSource};
use bedplate_model::plan::RepositoryPlace;
use bedplate_tools::git::{Git, HttpsAccess, Reader, Transport};

use self::examined::Expected;
use super::directory::remove;
use super::patience::persist;
use super::ssh::{Identity, key, private_place};
use crate::access::write_private;
use crate::answers::{self, Answers, Repository};
use crate::context::Context;
use crate::error::{During as _, StepError};

/// Where what was fetched lies, in memory.
const FETCHED: &str = "/run/bedplate/fetched";

/// Between tries: this early in a boot, a lease may not be there yet.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// What is fetched, and what is at hand for it.
pub struct Fetch<'a> {
    /// The branch.
    pub branch: &'a str,
    /// Where it is.
    pub from: &'a RepositoryPlace,
    /// The key sticks, mounted.
    pub sticks: &'a [&'a Path],
    /// The ssh program.
    pub ssh: &'a str,
    /// Pauses between tries.
    pub pauses: &'a [Duration],
    /// Where it is put; what is there is removed.
    pub directory: &'a Path,
    /// What it must be to be enrolled into.
    pub expected: Expected<'a>,
}

/// Fetches for the host of the context.
pub fn fetch(
    context: &Context<'_>,
    branch: &str,
    from: &RepositoryPlace,
) -> Result<Outcome, StepError> {
    let sticks: Vec<&Path> = context.sticks().collect();
    let host = context.host;
    let place = format!("{}/{}", host.flake.hosts, host.host.name);
    let platform = platform(host, context.answers)?;
    let expected = Expected { host: &place, platform: platform.as_deref() };
    let directory = Path::new(FETCHED);
    Fetch { branch, from, sticks: &sticks, ssh: "ssh", pauses: &PAUSES, directory, expected }.run()
}

/// What the plan fetched, when it fetched something.
pub fn fetched(context: &Context<'_>) -> Result<Option<Repository>, StepError> {
    if context.plan.fetches().is_none() {
        return Ok(None);
    }
    answers::repository(Path::new(FETCHED)).during("could not read what was fetched")
}

/// Refuses a repository in the answers beside another in the document.
pub fn agree(answers: &Answers, host: &HostFile) -> Result<(), StepError> {
    match (&answers.repository, &host.flake.source) {
        (Some(Repository::Bundle { .. }), Some(_)) => Err(StepError::new(
            "the answers bring a repository, and `flake.source` names another",
        )
        .next("nothing was written; write the answers again without `--flake`, or remove `flake.source`")),
        _ => Ok(()),
    }
}

/// The description of the medium's platform, where the host is built from it.
fn platform(host: &HostFile, answers: &Answers) -> Result<Option<Vec<u8>>, StepError> {
    match (host.host.platform, &answers.repository) {
        (Platform::Nixos, _) => Ok(None),
        (Platform::Embedded, Some(Repository::Files(files))) => {
            let read = fs::read(files.join(DESCRIPTION));
            read.map(Some).during("the medium's own repository describes no platform")
        }
        (Platform::Embedded, _) => Err(StepError::new("the answers bring no platform")
            .next("this run wrote to no disk; write the answers again: `bedplate personalize`")),
    }
}

impl Fetch<'_> {
    /// Fetches, looks through what came, and leaves it as a bundle.
    pub fn run(&self) -> Result<Outcome, StepError> {
        let what = format!("could not fetch the branch {} from {}", self.branch, self.from);
        let put = self.put(|git| self.take(git));
        // What is of no use takes no memory; that it stays would be no further harm.
        let put = put.inspect_err(|_| drop(remove(self.directory)));
        put.during(what).map_err(|error| error.next(self.advice()))
    }

    /// Leaves what `take` brings into a repository as a bundle.
    fn put(&self, take: impl FnOnce(&Git) -> Result<(), StepError>) -> Result<Outcome, StepError> {
        let here = "could not make room for the repository in memory";
        remove(self.directory).during(here)?;
        let bundle = self.directory.join(BUNDLE_FILE);
        self.in_a_repository(|git, reader| {
            take(git)?;
            // git takes nothing from a shallow clone, and does not say so.
            if reader.commit("HEAD").is_none() {
                return Err(StepError::new("its history is cut off: it is a shallow clone"));
            }
            reader.bundle(&bundle, self.branch).during(here)
        })?;
        // As enrolment will: a server that hands out files has had its objects checked by nobody.
        let description = self.in_a_repository(|git, reader| {
            git.fetch(bundle.as_os_str(), self.branch, &Transport::File)
                .during("its objects are refused")?;
            self.expected.examine(reader)
        })?;
        if let Some(description) = description {
            fs::write(self.directory.join(PLATFORM_FILE), description).during(here)?;
        }
        Ok(Outcome::Done)
    }

    /// Works in an empty repository in memory, which is gone afterwards.
    fn in_a_repository<T>(
        &self,
        work: impl FnOnce(&Git, &Reader) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let here = "could not make room for the repository in memory";
        let repository = self.directory.join("repository");
        fs::create_dir_all(&repository).during(here)?;
        let git = Git::new(&repository, "bedplate", "bedplate@localhost");
        git.init(self.branch).during(here)?;
        let done = work(&git, &Reader::new(&repository))?;
        remove(&repository).during(here)?;
        Ok(done)
    }

    fn take(&self, git: &Git) -> Result<(), StepError> {
        match self.from {
            RepositoryPlace::Ssh(ssh) => self.over_ssh(git, ssh),
            RepositoryPlace::Https(https) => self.over_https(git, https),
            RepositoryPlace::Volume(found) => {
                // Beside it: what is removed there must never be what is mounted.
                let at = self.directory.with_extension("volume");
                volume::with(found, &at, |root| self.off_volume(git, root, found.path.as_deref()))
            }
        }
    }

    fn over_ssh(&self, git: &Git, ssh: &SshSource) -> Result<(), StepError> {
        let key = key(&ssh.key, self.sticks)?;
        let what = "could not prepare the key for ssh";
        let identity = Identity::prepare(&key, &ssh.host_key).during(what)?;
        self.patiently(git, &ssh.url, &Transport::Ssh(identity.access(self.ssh)))
    }

    fn over_https(&self, git: &Git, https: &HttpsSource) -> Result<(), StepError> {
        let what = "could not prepare the certificate for https";
        let place = private_place().during(what)?;
        let file = place.path().join("certificate.pem");
        if let Some(certificate) = &https.certificate {
            write_private(&file, certificate.as_bytes()).during(what)?;
        }
        let certificate = https.certificate.as_ref().map(|_| file.as_path());
        let access = HttpsAccess { pinned_key: &https.pinned_key, certificate };
        self.patiently(git, &https.url, &Transport::Https(access))
    }

    fn patiently(&self, git: &Git, url: &str, transport: &Transport<'_>) -> Result<(), StepError> {
        let attempt = || git.fetch(OsStr::new(url), self.branch, transport);
        persist(self.pauses, attempt).during("git could not fetch it")
    }

    /// From the volume that is mounted at `root`.
    fn off_volume(&self, git: &Git, root: &Path, path: Option<&str>) -> Result<(), StepError> {
        let place = volume::repository(root, path)?;
        git.fetch(place.as_os_str(), self.branch, &Transport::File).during("git could not fetch it")
    }

    fn advice(&self) -> &'static str {
        match self.from {
            RepositoryPlace::Volume(_) => {
                "this run wrote to no disk; correct `[flake.source]` or what is on the volume, and \
                 boot the medium again"
            }
            RepositoryPlace::Ssh(_) | RepositoryPlace::Https(_) => {
                "this run wrote to no disk; look at the network and the server, correct \
                 `[flake.source]` if it is wrong, and boot the medium again"
            }
        }
    }
}

#[cfg(test)]
mod tests;
