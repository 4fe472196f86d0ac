//! Reading a repository without changing it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::command_in;
use crate::command::{CommandError, CommandExt as _};

/// How many lines are kept of what git says is dirty.
const TOLD: usize = 10;

/// A repository that is only read.
#[derive(Debug, Clone)]
pub struct Reader {
    directory: PathBuf,
}

impl Reader {
    /// The repository at `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn command(&self) -> Command {
        command_in(&self.directory)
    }

    /// The name of the branch that is checked out; none when a commit is.
    pub fn branch(&self) -> Result<Option<String>, CommandError> {
        match self.command().args(["symbolic-ref", "--quiet", "HEAD"]).read() {
            Ok(name) => Ok(name.trim_end().strip_prefix("refs/heads/").map(str::to_owned)),
            Err(error) if error.exit_code() == Some(1) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The commit that `revision` names; none when there is none.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let revision = format!("{revision}^{{commit}}");
        let verify = ["rev-parse", "--verify", "--quiet", "--end-of-options", &revision];
        Some(self.command().args(verify).read().ok()?.trim_end().to_owned())
    }

    /// Whether the history was cut off when it was cloned.
    pub fn is_shallow(&self) -> Result<bool, CommandError> {
        let text = self.command().args(["rev-parse", "--is-shallow-repository"]).read()?;
        Ok(text.trim_end() == "true")
    }

    /// What was changed or added and not committed, as `git status` names it, escaped.
    pub fn uncommitted(&self) -> Result<Vec<String>, CommandError> {
        let status = ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"];
        let bytes = self.command().args(status).read_bytes()?;
        let lines = bytes.split(|byte| *byte == 0).filter(|line| !line.is_empty());
        let mut told: Vec<String> = lines.map(|line| line.escape_ascii().to_string()).collect();
        if told.len() > TOLD {
            let more = told.len() - TOLD;
            told.truncate(TOLD);
            told.push(format!("and {more} more"));
        }
        Ok(told)
    }

    /// Who wrote each commit that some name leads to and `base` does not have, and its subject: the
    /// author's address and a line of text. Without a base, of all commits.
    pub fn commits_beyond(
        &self,
        base: Option<&str>,
    ) -> Result<Vec<(String, String)>, CommandError> {
        let mut log = self.command();
        log.args(["log", "--all", "-z", "--format=%ae%n%s"]);
        log.args(base.map(|base| format!("^{base}")));
        let bytes = log.arg("--").read_bytes()?;
        let commits = bytes.split(|byte| *byte == 0).filter(|commit| !commit.is_empty());
        let commit = |commit: &[u8]| {
            let text = String::from_utf8_lossy(commit);
            let (author, subject) = text.split_once('\n').unwrap_or((&text, ""));
            (author.to_owned(), subject.trim_end().to_owned())
        };
        Ok(commits.map(commit).collect())
    }

    /// The files of `commit`, as `git ls-tree -z` lists them.
    pub fn listing(&self, commit: &str) -> Result<Vec<u8>, CommandError> {
        let list = ["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit];
        self.command().args(list).read_bytes()
    }

    /// The content of the file with this object name.
    pub fn blob(&self, object: &str) -> Result<Vec<u8>, CommandError> {
        self.command().args(["cat-file", "blob", object]).read_bytes()
    }

    /// Writes the branch with its whole history into the new file `bundle`, an absolute path.
    pub fn bundle(&self, bundle: &Path, branch: &str) -> Result<(), CommandError> {
        let reference = format!("refs/heads/{branch}");
        self.command().args(["bundle", "create", "-q"]).arg(bundle).arg(reference).run()
    }

    /// Writes what `HEAD` has and the reference `base` has not into the new file `bundle`, an
    /// absolute path. It can be fetched, as `HEAD`, by who has `base`.
    pub fn bundle_since(&self, bundle: &Path, base: &str) -> Result<(), CommandError> {
        let range = format!("{base}..HEAD");
        self.command().args(["bundle", "create", "-q"]).arg(bundle).arg(range).run()
    }

    /// The branches in a bundle: name and newest commit of each.
    pub fn branches_of_bundle(bundle: &Path) -> Result<Vec<(String, String)>, CommandError> {
        let directory = bundle.parent().unwrap_or(Path::new("/"));
        let text = command_in(directory).args(["bundle", "list-heads"]).arg(bundle).read()?;
        let branch = |line: &str| {
            let (commit, name) = line.split_once(' ')?;
            Some((name.strip_prefix("refs/heads/")?.to_owned(), commit.to_owned()))
        };
        Ok(text.lines().filter_map(branch).collect())
    }
}
