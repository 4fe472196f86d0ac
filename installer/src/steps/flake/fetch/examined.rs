//! What a repository must be before a disk is written to for it.

use bedplate_formats::platform::DESCRIPTION;
use bedplate_formats::repository_tree::{self, Entry, PLATFORM};
use bedplate_model::host::Platform;
use bedplate_repository::flake::known::Sought;
use bedplate_tools::git::Reader;

use super::super::place::look_through;
use crate::error::{During as _, StepError};

/// What a repository is enrolled into for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The host's directory in it.
    pub host: &'a str,
    /// The medium's description of the platform; none for a host that is built without it.
    pub platform: Option<&'a [u8]>,
}

impl Expected<'_> {
    /// Refuses a repository that could not be checked out, or could not be enrolled into. Returns
    /// what the host's commit is to write as the description of the platform.
    pub fn examine(&self, git: &Reader) -> Result<Option<Vec<u8>>, StepError> {
        let files = look_through(git).during("its files are refused")?;
        if let Some(entry) = repository_tree::in_the_way(&files, self.host) {
            let name = entry.path.escape_debug();
            let what = format!("{name} is no directory, so {} cannot be made", self.host);
            return Err(StepError::new(what));
        }
        let platform: &[&str] = if self.platform.is_some() { &PLATFORM } else { &[] };
        for needed in ["flake.nix"].iter().chain(platform) {
            if !files.iter().any(|entry| entry.path == **needed) {
                return Err(StepError::new(format!("{needed} is not committed in it")));
            }
        }
        self.is_known(git, &files)?;
        self.platform.map_or(Ok(None), |wanted| description(git, &files, wanted))
    }

    /// Refuses a flake of which no system could be built for the host.
    fn is_known(&self, git: &Reader, files: &[Entry]) -> Result<(), StepError> {
        let flake = files.iter().find(|entry| entry.path == "flake.nix" && !entry.link);
        let Some(flake) = flake else { return Ok(()) };
        let text = git.blob(&flake.object).during("could not read its flake.nix")?;
        let (hosts, name) = self.host.rsplit_once('/').unwrap_or(("", self.host));
        let platform = self.platform.map_or(Platform::Nixos, |_| Platform::Embedded);
        match (Sought { name, hosts, platform }).missing(&text) {
            None => Ok(()),
            Some(why) => Err(StepError::new(why)),
        }
    }
}

/// As `bedplate personalize` decides it (decision 0014).
fn description(git: &Reader, files: &[Entry], wanted: &[u8]) -> Result<Option<Vec<u8>>, StepError> {
    let Some(entry) = files.iter().find(|entry| entry.path == DESCRIPTION) else {
        return Ok(Some(wanted.to_vec()));
    };
    if entry.link {
        return Err(StepError::new("bedplate/platform.json is a link; make it a file"));
    }
    let found = git.blob(&entry.object).during("could not read its bedplate/platform.json")?;
    if repository_tree::same_description(&found, wanted) {
        return Ok(None);
    }
    Err(StepError::new(
        "its bedplate/platform.json describes another platform than the medium carries; use the \
         medium it came from, or commit the medium's (`bedplate init --medium` shows it)",
    ))
}
