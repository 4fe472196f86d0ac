//! Why nothing, or not everything, was written.

use std::io;
use std::path::{Path, PathBuf};

use bedplate_document::Problems;
use uuid::Uuid;

use crate::flake::hosts::Place;

/// A repository could not be started, or a host not added.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name or directory that may not stand in a repository.
    #[error("{message}\n  help: {help}\nnothing was written")]
    Name {
        /// What is wrong.
        message: String,
        /// What to write instead.
        help: String,
    },
    /// No profile of that name.
    #[error("there is no profile {name:?}; there is {known}\nnothing was written")]
    NoProfile {
        /// The name.
        name: String,
        /// The profiles that are there.
        known: String,
    },
    /// The document is wrong.
    #[error("the host's document has mistakes; nothing was written\n{0}")]
    Document(Problems),
    /// The document could not be read as TOML.
    #[error("the host's document is no TOML: {0}; nothing was written")]
    Toml(String),
    /// Nobody said where this project's flake is.
    #[error(
        "the host is one of NixOS (platform = \"nixos\"), whose module comes from Bedplate's own flake, and where that is was not said; nothing was written\n  help: --bedplate git+https://…, or --bedplate path:/… for a clone on this machine"
    )]
    NoAddress,
    /// No flake reference, or one that depends on where it is read.
    #[error(
        "--bedplate wants a flake reference with a scheme and an absolute place, not {address:?}; nothing was written\n  help: git+https://…, git+ssh://…, or path:/… for a clone on this machine"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// The embedded platform comes with this program.
    #[error(
        "--bedplate is for hosts of NixOS, and the host is of the embedded platform, which is put beside the flake; nothing was written\n  help: leave --bedplate out, or write --platform nixos"
    )]
    AddressOfEmbedded,
    /// A medium's platform is not for hosts of NixOS.
    #[error(
        "--medium brings the embedded platform, and the host is one of NixOS (platform = \"nixos\"); nothing was written\n  help: leave --medium out"
    )]
    Medium,
    /// The flake has the embedded platform under our name.
    #[error(
        "the flake's input `bedplate` is the embedded platform beside it ({address:?}), which builds no NixOS; nothing was written\n  help: hosts of NixOS want a repository of their own, `bedplate init --platform nixos`; or write platform = \"embedded\""
    )]
    Vendored {
        /// The input's address.
        address: &'static str,
    },
    /// A directory that is not empty.
    #[error(
        "{} is not empty; nothing was written\n  help: name a new directory, or add a host to the repository there: `bedplate host add`",
        path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// No flake.
    #[error(
        "{} has no flake.nix; nothing was written\n  help: start a repository with `bedplate init`, or name one with --repository",
        path.display()
    )]
    NoFlake {
        /// The directory.
        path: PathBuf,
    },
    /// A Nix file that cannot be read.
    #[error("flake.nix:{line}:{column}: {message}; nothing was written")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A flake that gives nothing.
    #[error(
        "flake.nix has no outputs, so nothing in it could be a host; nothing was written\n  help: write outputs = {{ self, ... }}@inputs: {{ }}; into it, or start a repository with `bedplate init`"
    )]
    NoOutputs,
    /// The host is in the flake.
    #[error(
        "{place}: the flake has a host {name} already; nothing was written\n  help: choose another name{help}"
    )]
    InFlake {
        /// Where it stands.
        place: Place,
        /// The host.
        name: String,
        /// What else can be done.
        help: String,
    },
    /// The host's directory or file is there.
    #[error("{path} is there already; nothing was written\n  help: choose another name{help}")]
    Occupied {
        /// The directory or file.
        path: String,
        /// What else can be done.
        help: String,
    },
    /// Nobody can say whether the flake has the host.
    #[error(
        "{place}: whether the flake has a host {name} already cannot be known: {why}; nothing was written\n  help: where it has none, add these by hand and run the command again, which then writes the host's directory\n{lines}"
    )]
    Unknowable {
        /// Where that ends.
        place: Place,
        /// The host.
        name: String,
        /// Why it ends there.
        why: String,
        /// What to add.
        lines: String,
    },
    /// What a framework is told of its directory is not understood.
    #[error(
        "{place}: {why}, so where its hosts are is not known; nothing was written\n  help: write it out there, as a string or a path"
    )]
    Unplaced {
        /// Where it is told that.
        place: Place,
        /// What is not understood.
        why: String,
    },
    /// Nobody can say where hosts live.
    #[error(
        "where this repository keeps its hosts is not sure: {candidates}; nothing was written\n  help: say it with --hosts DIR"
    )]
    Where {
        /// The directories.
        candidates: String,
    },
    /// A directory of which the flake makes hosts by itself.
    #[error(
        "{framework} takes everything in {directory} for its own, and a host of Bedplate's is made otherwise; nothing was written\n  help: name another directory with --hosts DIR"
    )]
    Taken {
        /// Who lists it.
        framework: &'static str,
        /// The directory.
        directory: String,
    },
    /// A directory that belongs to another repository.
    #[error(
        "{path} is a submodule: what is written there belongs to another repository, and Nix does not see it; nothing was written\n  help: name another directory with --hosts DIR, or add the host in that repository"
    )]
    Submodule {
        /// The directory.
        path: String,
    },
    /// Nothing is there to be taken over.
    #[error(
        "there is no {path} to take over; nothing was written\n  help: leave --adopt out for a host that is new, say with --hosts DIR where it is, or move a host that is one file into a directory first (NAME.nix to NAME/default.nix)"
    )]
    NothingToAdopt {
        /// The directory.
        path: String,
    },
    /// The host has a document.
    #[error("{path}/host.toml is there already; nothing was written\n  help: edit it")]
    Adopted {
        /// The host's directory.
        path: String,
    },
    /// A host of NixOS stays one.
    #[error(
        "--adopt takes over a host of NixOS as it is, and the embedded platform would build another system; nothing was written\n  help: leave --platform out, or add a host of another name"
    )]
    AdoptEmbedded,
    /// The flake would not see the host.
    #[error(
        "the flake lists the hosts in {listed:?}, not in {asked:?}; nothing was written\n  help: leave --hosts out"
    )]
    NotListed {
        /// Where it looks for hosts.
        listed: String,
        /// Where the host was asked for.
        asked: String,
    },
    /// Another host has the id: the two would take each other's disks for their own.
    #[error(
        "host {other:?} has the id {id} already; nothing was written\n  help: write id = \"00000000-0000-4000-8000-000000000000\", the id of an example, and a fresh one takes its place"
    )]
    IdTaken {
        /// The id.
        id: Uuid,
        /// Its host.
        other: String,
    },
    /// The id marks an example: two people's machines would take each other's disks for their own.
    #[error("host.id marks an example; nothing was written")]
    Example,
    /// `bedplate` is something else.
    #[error(
        "{path} is there and is not Bedplate's platform (it has no lib.nix and flake.nix); nothing was written\n  help: move it away"
    )]
    Foreign {
        /// The directory.
        path: &'static str,
    },
    /// The flake's platform is another than the one that `host add` writes for.
    #[error(
        "the flake's input `bedplate` is not the embedded platform beside it ({address:?}), which alone builds a host with platform = \"embedded\"; nothing was written\n  help: write inputs.bedplate.url = {address:?}; where the input is this project's own flake, add hosts of NixOS (--platform nixos), and start a repository of their own for embedded ones: `bedplate init`"
    )]
    NotVendored {
        /// What the input would have to be.
        address: &'static str,
    },
    /// A file could not be read or written.
    #[error("could not {action} {}", path.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Something changed between reading and writing.
    #[error("{} was changed by somebody else meanwhile and was left alone; run the command again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A link in the place of a file.
    #[error(
        "{} is a link and was left alone; nothing was written to it\n  help: edit what it points to by hand; where it is a directory of hosts, name the real one with --hosts DIR",
        path.display()
    )]
    Link {
        /// The file.
        path: PathBuf,
    },
    /// Writing stopped half way.
    #[error(
        "not everything was written; written so far: {written}\n  help: `host add` can be run again and goes on; `init` wants an empty directory: remove these first"
    )]
    Partly {
        /// The paths that are complete.
        written: String,
        /// Why it stopped.
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    /// A refusal of one of the document's rules.
    pub(crate) fn rule(wrong: bedplate_document::rules::Wrong) -> Self {
        Self::Name { message: wrong.message, help: wrong.help }
    }
}

/// For `map_err` on operations on files.
pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { action, path: path.to_owned(), source }
}
