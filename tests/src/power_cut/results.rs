//! What came of the cuts, kept from run to run: one line of JSON each.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cases::Case;
use crate::failure::{Failure, file};

/// What came of one cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the cut, and where it was made; both stand among the other fields of the line.
    #[serde(flatten)]
    pub case: Case,
    /// The build of the medium.
    pub build: String,
    /// What the disks did after the cut.
    pub after_cut: String,
    /// What the installer did.
    pub again: String,
    /// Seconds from the cut to the boot of the result.
    pub seconds: f64,
    /// What was wrong; none when all was well.
    pub failure: Option<String>,
}

/// A file of outcomes.
pub struct Results(PathBuf);

impl Results {
    /// The file, which need not be there.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Adds one.
    pub fn add(&self, outcome: &Outcome) -> Result<(), Failure> {
        let line = serde_json::to_string(outcome);
        let line = line.map_err(|error| Failure::Unfit(format!("an outcome: {error}")))?;
        let file_of = OpenOptions::new().append(true).create(true).open(&self.0);
        file_of.and_then(|mut open| writeln!(open, "{line}")).map_err(file("write", &self.0))
    }

    /// Names of the cases that went well with this build.
    pub fn passed(&self, build: &str) -> Result<BTreeSet<String>, Failure> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(file("read", &self.0))?,
        };
        // The last line may have been cut off: it does not count then.
        let outcomes = text.lines().filter_map(|line| serde_json::from_str::<Outcome>(line).ok());
        let good = outcomes.filter(|one| one.build == build && one.failure.is_none());
        Ok(good.map(|outcome| outcome.case.name).collect())
    }
}

#[cfg(test)]
mod tests {
    use bedplate_qemu_harness::nbd::cut::{Cut, Unflushed};

    use super::*;

    #[test]
    fn what_went_well_with_this_build_is_not_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let results = Results::at(&directory.path().join("results.jsonl"));
        assert!(results.passed("b").unwrap().is_empty());
        for (name, build, failure) in
            [("good", "b", None), ("bad", "b", Some("it hung")), ("old", "a", None)]
        {
            let cut = Cut { position: 3, unflushed: Unflushed::Random(7) };
            results
                .add(&Outcome {
                    case: Case { name: name.to_owned(), cut },
                    build: build.to_owned(),
                    after_cut: String::new(),
                    again: String::new(),
                    seconds: 1.5,
                    failure: failure.map(str::to_owned),
                })
                .unwrap();
        }
        let mut torn = OpenOptions::new().append(true).open(&results.0).unwrap();
        torn.write_all(b"{\"name\": \"torn\", \"cu").unwrap();
        assert_eq!(results.passed("b").unwrap(), BTreeSet::from(["good".to_owned()]));
    }
}
