//! Carrying an update out: no choices, each step can be done again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_engine::{Announced, Reporter, StepFailure, StepReporter, in_turn};
use bedplate_events::{Outcome, StepSummary};
use bedplate_formats::platform::{DESCRIPTION, Part};
use bedplate_tools::command::CommandError;
use bedplate_tools::git::Git;

use super::plan::{Plan, Step};
use crate::generation::RebuildError;
use bedplate_tools::atomic::{self, WriteError};

/// What to do after a failure.
const NEXT: &str = "what boots next is what it was; run `bedplate-host update` again";

/// The store that paths are added to.
pub trait Store {
    /// Whether it has the path, whole.
    fn is_valid(&self, path: &str) -> bool;
    /// Adds what stands at `from` by its content; the path it got.
    fn add(&self, name: &str, from: &Path) -> Result<String, CommandError>;
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Not on the medium.
    #[error("the medium has no {0}, though its platform.json names it")]
    Missing(String),
    /// The store.
    #[error("{path} could not be copied into the store")]
    Add {
        /// Store path that was to be made valid.
        path: String,
        /// How Nix ended, with the tail of what it said.
        #[source]
        source: CommandError,
    },
    /// Damaged, or changed.
    #[error("the medium is damaged: what it has as {wanted} is {found}, which nothing will use")]
    Hash {
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// The repository.
    #[error("the description of the platform could not be written")]
    Write(#[from] WriteError),
    /// Not text.
    #[error("the description of the platform is no text")]
    Text(#[source] std::str::Utf8Error),
    /// git did not stage or commit the description.
    #[error("the description of the platform could not be committed")]
    Commit(#[source] CommandError),
    /// The system could not be built of what was copied, or not be made the one that boots next.
    #[error("the system was not built")]
    Rebuild(#[from] RebuildError),
}

impl StepFailure for StepError {}

/// Where things stand.
pub struct Engine<'a> {
    /// The owner's repository on this machine.
    pub repository: &'a Path,
    /// Name of the host.
    pub host: &'a str,
    /// Roots of the medium's images, each with `nix/store`.
    pub images: &'a [PathBuf],
    /// The store.
    pub store: &'a dyn Store,
}

impl Engine<'_> {
    /// Carries out the plan; true when all of it was done.
    pub fn run(
        &self,
        plan: &Plan,
        reporter: &Reporter<'_>,
        rebuild: &mut dyn FnMut() -> Result<u64, RebuildError>,
    ) -> bool {
        let summary = |step: &Step| StepSummary { id: step.id(), title: step.to_string() };
        let announced = Announced {
            title: format!("update {}", self.host),
            steps: plan.steps.iter().map(summary).collect(),
            ..Announced::default()
        };
        let steps = plan.steps.iter().map(|step| (step.id(), step));
        let mut perform =
            |step: &Step, _: &StepReporter<'_>| self.perform(step, rebuild).map(|()| Outcome::Done);
        announced.carry_out(reporter, || in_turn(steps, reporter, NEXT, &mut perform))
    }

    fn perform(
        &self,
        step: &Step,
        rebuild: &mut dyn FnMut() -> Result<u64, RebuildError>,
    ) -> Result<(), StepError> {
        match step {
            Step::Add(part) => self.add(part),
            Step::Write(description) => {
                let text = std::str::from_utf8(description).map_err(StepError::Text)?;
                Ok(atomic::write(&self.repository.join(DESCRIPTION), text, 0o644)?)
            }
            Step::Commit(message) => self.commit(message).map_err(StepError::Commit),
            Step::Rebuild => rebuild().map(drop).map_err(StepError::from),
        }
    }

    /// The path follows from name and content: another one means other content.
    fn add(&self, part: &Part) -> Result<(), StepError> {
        let places = self.images.iter().map(|image| image.join("nix/store").join(part.base()));
        let is_there = |path: &PathBuf| match fs::symlink_metadata(path) {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(_) => true,
        };
        let from = places.into_iter().find(is_there);
        let from = from.ok_or_else(|| StepError::Missing(part.base().to_owned()))?;
        let found = self.store.add(&part.name, &from);
        let found = found.map_err(|source| StepError::Add { path: part.path.clone(), source })?;
        if found == part.path {
            Ok(())
        } else {
            Err(StepError::Hash { wanted: part.path.clone(), found })
        }
    }

    fn commit(&self, message: &str) -> Result<(), CommandError> {
        let name = format!("bedplate@{}", self.host);
        let git = Git::new(self.repository, &name, &name);
        git.add(DESCRIPTION)?;
        if git.nothing_is_staged()? {
            return Ok(());
        }
        git.commit(message)
    }
}
