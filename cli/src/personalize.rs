//! `bedplate personalize`: writes a host.toml into a finished medium, or takes it out again.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bedplate_image_builder::answers::{Answers, Flake, Repository};
use bedplate_image_builder::{identity, owned, personalize};
use bedplate_model::identity::is_example;

use crate::report::{self, Failure};

/// Write a host.toml into a medium, in place.
#[derive(clap::Args)]
pub struct Personalize {
    /// The medium: an image or a stick.
    medium: PathBuf,
    /// The document.
    #[arg(long, required_unless_present_any = ["undo", "authorized_keys"])]
    host: Option<PathBuf>,
    #[command(flatten)]
    owned: Owned,
    /// Write these public ssh keys and no document: the machine waits for `bedplate install`.
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    authorized_keys: Option<PathBuf>,
    /// Take the answers out: the medium is again byte for byte what it was.
    #[arg(long, conflicts_with_all = ["host", "authorized_keys"])]
    undo: bool,
}

/// The owner's repository.
#[derive(clap::Args)]
pub struct Owned {
    /// Enrol into this git repository: the branch that is checked out, with its history. Only
    /// what is committed travels [default: the medium's own repository].
    #[arg(long, value_name = "DIR", requires = "host")]
    flake: Option<PathBuf>,
    /// Let the machine's commit replace the repository's bedplate/platform.json by the medium's.
    #[arg(long, requires = "flake")]
    take_platform: bool,
}

impl Owned {
    /// What is asked for, when something is.
    pub fn request(&self) -> Option<owned::Repository> {
        let directory = self.flake.clone()?;
        Some(owned::Repository { directory, take_platform: self.take_platform })
    }

    /// The repository that travels with `document`: the owner's, or `flake`, the medium's own.
    pub fn repository(&self, document: &str, flake: Flake) -> Result<Repository, Failure> {
        let Some(asked) = self.request() else { return Ok(Repository::Files(flake)) };
        let state = owned::look(&asked.directory)?;
        state.has_room_for(document)?;
        let description = state.description(&flake, asked.take_platform)?;
        Ok(Repository::Owned(state.bundle(description)?))
    }
}

impl Personalize {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        if let Some(keys) = &self.authorized_keys {
            personalize::let_in(&self.medium, &report::read(keys)?)?;
            let medium = self.medium.display();
            writeln!(
                io::stdout(),
                "{medium} waits for `bedplate install`, and lets these keys in"
            )?;
            return Ok(());
        }
        let Some(host) = &self.host else {
            personalize::undo(&self.medium)?;
            writeln!(io::stdout(), "{} holds no answers", self.medium.display())?;
            return Ok(());
        };
        let flake = personalize::flake_of(&self.medium)?;
        let repository = self.owned.repository(&report::read(host)?, flake)?;
        let host = report::read(&own_host(host, &self.medium)?)?;
        let written = personalize::personalize(&self.medium, &Answers { host, repository })?;
        writeln!(
            io::stdout(),
            "{} holds {} bytes of answers, written and read back",
            self.medium.display(),
            written.length
        )?;
        Ok(())
    }
}

/// The document to put on `medium`: `host` itself, or, when its id marks an example, a copy
/// beside the medium with an id of its own. A copy that is there is the machine's: its id is used
/// again, and nothing is ever written over it.
pub fn own_host(host: &Path, medium: &Path) -> Result<PathBuf, Failure> {
    let read = report::read_host(host)?;
    report::expect_login(&read)?;
    let name = read.host.name;
    let document = report::read(host)?;
    let Some((text, id)) = identity::with_own_id(&document)? else {
        return Ok(host.to_owned());
    };
    let copy = beside(medium, &name);
    match File::create_new(&copy) {
        Ok(mut file) => file.write_all(text.as_bytes())?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let kept = report::read_host(&copy)?.host.id;
            if is_example(kept) {
                return Err(ExampleKept { copy }.into());
            }
            if identity::with_id(&document, kept) != Some(report::read(&copy)?) {
                return Err(KeptDocument { host: host.to_owned(), copy }.into());
            }
            writeln!(io::stdout(), "note: the machine keeps the id of {}", copy.display())?;
            return Ok(copy);
        }
        Err(source) => return Err(CopyError { copy, source }.into()),
    }
    writeln!(
        io::stdout(),
        "note: {} carries an example's id; the machine gets {id}. Keep {}, it is the machine's now",
        host.display(),
        copy.display()
    )?;
    Ok(copy)
}

/// Where a document with an id of its own is put: beside an image; for a stick, in the directory that
/// one works in, because what is put beside its node is gone with the next start.
fn beside(medium: &Path, name: &str) -> PathBuf {
    if std::fs::metadata(medium).is_ok_and(|found| !found.is_file()) {
        return PathBuf::from(format!("{name}.host.toml"));
    }
    medium.with_extension("host.toml")
}

/// An example was changed after a machine had got an id from it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} carries an example's id, and {} is there with another text: it belongs to a machine and is left \
     as it is. For that machine, change it and give it with --host; for another machine, choose another \
     name for the medium, or move it away",
    host.display(),
    copy.display()
)]
struct KeptDocument {
    host: PathBuf,
    copy: PathBuf,
}

/// What stands where a machine's own document is kept is an example itself: two machines with its id
/// would take each other's disks for their own.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} carries an example's id, and stands where the document with an id of the machine's own is \
     kept: rename it, or write an id of its own into it (`uuidgen -r`)",
    copy.display()
)]
struct ExampleKept {
    copy: PathBuf,
}

/// The copy could not be written.
#[derive(Debug, thiserror::Error)]
#[error("could not write {}", copy.display())]
struct CopyError {
    copy: PathBuf,
    #[source]
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn t26_a_document_that_a_machine_has_is_never_written_over() {
        let place = tempfile::tempdir().unwrap();
        let (example, medium) = (place.path().join("example.toml"), place.path().join("a.iso"));
        let text = include_str!("../../profiles/hypervisor/host.toml");
        fs::write(&example, text).unwrap();
        let Err(Failure::Other(error)) = own_host(&example, &medium) else { panic!() };
        assert!(error.to_string().contains("nobody could ever log in"), "{error}");
        let key =
            format!("ssh_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}\"]", "A".repeat(43));
        let text = &text.replace("ssh_keys = []", &key);
        fs::write(&example, text).unwrap();
        let first = own_host(&example, &medium).unwrap();
        let kept = fs::read_to_string(&first).unwrap();
        assert_eq!(first, place.path().join("a.host.toml"));
        // The same example again: the machine is the same.
        assert_eq!(own_host(&example, &medium).unwrap(), first);
        assert_eq!(fs::read_to_string(&first).unwrap(), kept);
        // One that was changed since: somebody has to say which is meant.
        fs::write(&example, format!("{text}# changed\n")).unwrap();
        let Err(Failure::Other(error)) = own_host(&example, &medium) else { panic!() };
        assert!(error.to_string().contains("left as it is"), "{error}");
        assert_eq!(fs::read_to_string(&first).unwrap(), kept);
        // What its owner has changed in the copy, too.
        fs::write(&example, text).unwrap();
        fs::write(&first, format!("{kept}# mine\n")).unwrap();
        assert!(own_host(&example, &medium).is_err());
        assert!(fs::read_to_string(&first).unwrap().ends_with("# mine\n"));
        // An example where the machine's document would be, the one that was named or another.
        fs::write(&first, text).unwrap();
        for named in [&first, &example] {
            let Err(Failure::Other(error)) = own_host(named, &medium) else { panic!() };
            assert!(error.to_string().contains("an id of its own"), "{error}");
            assert_eq!(fs::read_to_string(&first).unwrap(), *text);
        }
    }

    #[test]
    fn a_document_for_a_stick_is_kept_where_one_works() {
        assert_eq!(beside(Path::new("/dev/null"), "attic"), Path::new("attic.host.toml"));
        assert_eq!(beside(Path::new("/no/x.iso"), "attic"), Path::new("/no/x.host.toml"));
    }
}
