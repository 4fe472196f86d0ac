//! The repository at its place: the medium's own files, or a clone of the owner's.

use std::fs;
use std::path::Path;

use bedplate_formats::platform::DESCRIPTION;
use bedplate_formats::repository_tree::{self, Entry};
use bedplate_tools::git::{Git, Reader, Transport};
use bedplate_tools::sync;

use super::directory::{copy_tree, remove};
use super::{BASE, Enrolment};
use crate::answers::Repository;
use crate::error::{During as _, StepError};
use crate::steps::host_key::RULES;

/// What to do about answers that cannot be used.
const WRITE_AGAIN: &str = "write the answers again: `bedplate personalize --flake`";

/// What [`clone`] fails with before anything is taken out of the bundle.
const UNUSABLE: &str = "the repository of the answers (flake.bundle) cannot be used";

/// Puts the repository into place, unless it is there. It moves in whole: half a one could not
/// be finished. An owner who brings another commit than an earlier run was given has corrected
/// the repository; of that run nothing but its own commits is lost, and a repository that has more
/// than those is not replaced.
pub fn repository(enrolment: &Enrolment<'_>) -> Result<(), StepError> {
    let place = enrolment.repository;
    if place.join(".git").exists() {
        let Some(Repository::Bundle { file, .. }) = enrolment.source else { return Ok(()) };
        let (_, commit) = branch_of(file)?;
        if Reader::new(place).commit(BASE) == Some(commit) {
            return Ok(());
        }
        has_nothing_of_its_own(enrolment)?;
    }
    let staging = place.with_extension("bedplate-new");
    remove(&staging).during("could not remove what an earlier run left")?;
    fs::create_dir_all(&staging).during("could not make the repository")?;
    let git = Git::new(&staging, "bedplate", &format!("bedplate-template@{}", enrolment.name));
    match enrolment.source {
        Some(Repository::Bundle { file, .. }) => clone(&git, file, &staging)?,
        Some(Repository::Files(files)) => start(&git, &[place, files], &staging)?,
        None => start(&git, &[place], &staging)?,
    }
    if let Some(commit) = Reader::new(&staging).commit("HEAD") {
        git.set_reference(BASE, &commit).during("could not keep the name of the first commit")?;
    }
    sync::file_system(&staging).during("could not flush the repository")?;
    remove(place).during("could not remove what an earlier run left")?;
    fs::rename(&staging, place).during("could not put the repository into place")
}

/// Refuses a repository that somebody has worked in since an earlier run enrolled the host.
fn has_nothing_of_its_own(enrolment: &Enrolment<'_>) -> Result<(), StepError> {
    let read = Reader::new(enrolment.repository);
    let next = || {
        format!(
            "it was left as it is; take what is in it into your repository, with the target mounted: \
             `git fetch {} HEAD`, and write the answers again",
            enrolment.repository.display()
        )
    };
    let what = "could not read the repository that is there already";
    let base = read.commit(BASE);
    let beyond = read.commits_beyond(base.as_deref()).during(what);
    let beyond = beyond.map_err(|error| error.next(next()))?;
    let (ours, subject) = (enrolment.email(), enrolment.message.lines().next().unwrap_or_default());
    let theirs = beyond.iter().filter(|(author, text)| (author, text.as_str()) != (&ours, subject));
    let changed = read.uncommitted().during(what).map_err(|error| error.next(next()))?;
    let own =
        [format!("{}/{}/", enrolment.hosts, enrolment.name), RULES.into(), DESCRIPTION.into()];
    // Two letters and a blank stand before the name.
    let is_own =
        |line: &str| own.iter().any(|own| line.get(3..).is_some_and(|it| it.starts_with(own)));
    let changed = changed.iter().filter(|line| !is_own(line));
    match (theirs.count(), changed.count()) {
        (0, 0) => Ok(()),
        (commits, files) => Err(StepError::new(format!(
            "the repository that is there already has {commits} commits and {files} changed files \
             beyond what was enrolled, and the answers bring another one"
        ))
        .next(next())),
    }
}

/// The files of `sources` with their first commit.
fn start(git: &Git, sources: &[&Path], staging: &Path) -> Result<(), StepError> {
    for source in sources.iter().filter(|source| source.is_dir()) {
        copy_tree(source, staging).during("could not copy the repository")?;
    }
    has_flake(staging)?;
    if !staging.join(".git").exists() {
        git.init("main").during("could not make the repository")?;
        git.add(".").during("could not stage the repository")?;
        git.commit("Start from the profile's template\n")
            .during("could not make the first commit")?;
    }
    Ok(())
}

/// The one branch of a bundle. Its files are looked through before any of them is written.
fn clone(git: &Git, bundle: &Path, staging: &Path) -> Result<(), StepError> {
    let (branch, _) = branch_of(bundle)?;
    git.init(&branch).during(UNUSABLE)?;
    git.fetch(bundle.as_os_str(), &branch, &Transport::File)
        .during("could not take the repository out of its bundle")
        .map_err(|error| error.next(WRITE_AGAIN))?;
    look_through(&Reader::new(staging))
        .during("the repository of the answers is not checked out")
        .map_err(|error| error.next("correct it, commit, and write the answers again"))?;
    git.check_out().during("could not check the repository out")?;
    has_flake(staging)
}

/// Name and newest commit of the one branch of a bundle.
fn branch_of(bundle: &Path) -> Result<(String, String), StepError> {
    let branches = Reader::branches_of_bundle(bundle)
        .during(UNUSABLE)
        .map_err(|error| error.next(WRITE_AGAIN))?;
    let count = branches.len();
    let mut branches = branches.into_iter();
    match (branches.next(), branches.next()) {
        (Some(branch), None) => Ok(branch),
        _ => Err(StepError::new(format!("{UNUSABLE}: it holds {count} branches, not one"))
            .next(WRITE_AGAIN)),
    }
}

/// The commit that a repository with a history comes with.
pub fn commit_of(repository: &Repository) -> Result<Option<String>, StepError> {
    match repository {
        Repository::Bundle { file, .. } => Ok(Some(branch_of(file)?.1)),
        Repository::Files(_) => Ok(None),
    }
}

/// The files of the newest commit; refuses those that could lead out of the work tree.
pub fn look_through(git: &Reader) -> Result<Vec<Entry>, Box<dyn std::error::Error + Send + Sync>> {
    let files = repository_tree::parse(&git.listing("HEAD")?)?;
    for entry in files.iter().filter(|entry| entry.link) {
        repository_tree::check_link(&entry.path, &git.blob(&entry.object)?)?;
    }
    Ok(files)
}

fn has_flake(repository: &Path) -> Result<(), StepError> {
    if repository.join("flake.nix").is_file() {
        return Ok(());
    }
    Err(StepError::new("the answers bring no flake (`flake.nix`)")
        .next("write the answers again with a repository: `bedplate personalize`"))
}

/// Refuses a path below the repository that is git's own, or passes through a link.
pub fn stays_inside(repository: &Path, path: &str) -> Result<(), StepError> {
    let mut place = repository.to_owned();
    for part in path.split('/') {
        place.push(part);
        let link = fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink());
        if link || part.eq_ignore_ascii_case(".git") {
            let what = format!("{path} of the repository cannot be written to: ");
            let why = if link { format!("{part} is a link") } else { "it is git's own".into() };
            return Err(StepError::new(what + &why)
                .next("name another directory in `[flake].hosts`, or make it a directory"));
        }
    }
    Ok(())
}
