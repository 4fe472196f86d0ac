//! NFS exports of directories on mounted pools.
//!
//! A directory that does not exist is made. Where clients may write and root is squashed
//! it is made like `/tmp` (mode 1777), because with AUTH_SYS the owner of a client's file is
//! whoever the client says; elsewhere 0755. A directory that exists keeps its mode.

mod place;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use bedplate_events::Outcome;
use bedplate_model::host::{Export, HostFile};
use bedplate_tools::command::CommandError;
use bedplate_tools::exportfs::{self, Exported};
use bedplate_tools::systemctl;

use bedplate_engine::{StepFailure, StepReporter};
use bedplate_events::cause::in_line;
use bedplate_resources::context::{Context, pool_mount};
use bedplate_resources::kind::{Description, Kind, Resource};
use bedplate_tools::atomic::{self, WriteError};
use bedplate_tools::digest;
use bedplate_tools::mounts::Mounts;

pub use place::{Place, PlaceError};

/// Under `/etc`.
const EXPORTS: &str = "exports.d/bedplate.exports";
/// Under the runtime directory: hash of the text the kernel was last given.
const STAMP: &str = "exports.applied";
/// The server.
const UNIT: &str = "nfs-server.service";
/// First line of the file.
const HEADER: &str = "# Written by bedplate-host from /etc/bedplate/host.toml.\n";

/// The text of the file for the exports whose pool is mounted, and that lie in it.
fn text(intent: &HostFile, observed: &Observed) -> String {
    let allowed =
        intent.nfs.exports.iter().filter(|export| refusal(intent, observed, export).is_none());
    let mut text = HEADER.to_owned();
    for export in allowed {
        let Ok(mount) = pool_mount(intent, &observed.mounts, &export.pool) else { continue };
        text.push_str(&escape(&export.path));
        // The kernel's own guard for the time between boot and the next converge.
        let options = format!("{},mountpoint={}", export.options.join(","), escape(mount));
        for client in &export.clients {
            let _ = write!(text, " {client}({options})");
        }
        text.push('\n');
    }
    text
}

/// Why an export must not be.
fn refusal(intent: &HostFile, observed: &Observed, export: &Export) -> Option<String> {
    if let Some(client) = export.clients.iter().find(|client| client.prefix == 0) {
        return Some(format!("{client} is everyone"));
    }
    let mount = match pool_mount(intent, &observed.mounts, &export.pool) {
        Ok(mount) => mount,
        Err(why) => return Some(why),
    };
    let inside = Path::new(&export.path).strip_prefix(mount).is_ok()
        && !export.path.split('/').any(|part| part == "..");
    if !inside {
        return Some(format!("{} is not inside {mount}", export.path));
    }
    match observed.places.get(&export.path) {
        Some(Place::Wrong(why)) => Some(why.clone()),
        _ => None,
    }
}

/// Octal, as exports(5) wants it, for everything that could end a word.
fn escape(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
        text
    })
}

fn directory_mode(export: &Export) -> u32 {
    let has = |option: &str| export.options.iter().any(|one| one == option);
    if has("rw") && !has("no_root_squash") { 0o1777 } else { 0o755 }
}

/// What was found of exports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// What is mounted: an export waits for its pool.
    pub mounts: Mounts,
    /// Our file, when there is one.
    pub file: Option<String>,
    /// Hash of the text the kernel was last given since boot.
    pub applied: Option<String>,
    /// The kernel's table.
    pub table: Vec<Exported>,
    /// Whether the server runs.
    pub serving: bool,
    /// What is at each exported path whose pool is mounted.
    pub places: BTreeMap<String, Place>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Make a directory to export.
    MakeDirectory {
        /// Absolute path, below the mount of its pool.
        path: String,
        /// Permission bits that it gets: 1777 or 0755 in octal.
        mode: u32,
    },
    /// Write our file.
    Write {
        /// The whole text that the file is to have, as exports(5) describes it.
        text: String,
    },
    /// Start the server.
    Serve,
    /// Give the kernel what the files say.
    Apply {
        /// Content of our file.
        text: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeDirectory { path, mode } => write!(formatter, "make {path} (mode {mode:o})"),
            Self::Write { .. } => write!(formatter, "write /etc/{EXPORTS}"),
            Self::Serve => write!(formatter, "start {UNIT}"),
            Self::Apply { .. } => formatter.write_str("apply the exports"),
        }
    }
}

/// What can go wrong with exports.
#[derive(Debug, thiserror::Error)]
pub enum NfsError {
    /// A command.
    #[error("the NFS server could not be looked at or told")]
    Command(#[from] CommandError),
    /// A file.
    #[error("the exports could not be written down")]
    Write(#[from] WriteError),
    /// A directory.
    #[error("the directory could not be made")]
    Place(#[from] PlaceError),
    /// A path that is not in its pool, or a pool that is not mounted any more.
    #[error("{path} is not in a pool that is mounted")]
    Outside {
        /// Path of the export in `host.toml`.
        path: String,
    },
}

impl StepFailure for NfsError {}

/// All exports.
pub struct Exports;

impl Kind for Exports {
    type Observed = Observed;
    type Action = Action;
    type Error = NfsError;

    const NAME: &'static str = "export";
    const ADVICE: &'static str = "see that the pool is mounted and the NFS server runs, then run `bedplate-host converge` again";

    fn observe(&self, context: &Context) -> Result<Observed, NfsError> {
        let file = fs::read_to_string(context.configuration.join(EXPORTS)).ok();
        let nothing_wanted = context.intent.nfs.exports.is_empty() && file.is_none();
        let serving = !nothing_wanted && systemctl::is_active(UNIT)?;
        let exports = context.intent.nfs.exports.iter();
        let places = exports.filter_map(|one| Some((one.path.clone(), look(context, one)?)));
        Ok(Observed {
            mounts: context.mounts.clone(),
            file,
            applied: fs::read_to_string(context.runtime.join(STAMP)).ok(),
            table: if serving { exportfs::table()? } else { Vec::new() },
            serving,
            places: places.collect(),
        })
    }

    fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        diff(intent, observed)
    }

    fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        describe(intent, observed, name)
    }

    fn perform(
        &self,
        context: &Context,
        action: &Action,
        _: &StepReporter<'_>,
    ) -> Result<Outcome, NfsError> {
        match action {
            Action::MakeDirectory { path, mode } => make_directory(context, path, *mode)?,
            Action::Write { text } => {
                atomic::write(&context.configuration.join(EXPORTS), text, 0o644)?;
            }
            Action::Serve => systemctl::start(UNIT)?,
            Action::Apply { text } => {
                exportfs::refresh()?;
                atomic::write(&context.runtime.join(STAMP), &stamp(text), 0o644)?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn diff(intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
    let mut resources = Vec::new();
    for export in &intent.nfs.exports {
        let exists = observed.places.get(&export.path) == Some(&Place::Directory);
        resources.push(match refusal(intent, observed, export) {
            Some(why) => Resource::refused(&export.path, why),
            None if exists => Resource::new(&export.path, Vec::new()),
            None => {
                let (path, mode) = (export.path.clone(), directory_mode(export));
                Resource::new(&export.path, vec![Action::MakeDirectory { path, mode }])
            }
        });
    }
    if intent.nfs.exports.is_empty() && observed.file.is_none() {
        return resources;
    }
    resources.push(Resource::new("table", table_actions(intent, observed)));
    resources
}

fn table_actions(intent: &HostFile, observed: &Observed) -> Vec<Action> {
    let text = text(intent, observed);
    let exports = text != HEADER;
    let mut actions = Vec::new();
    if observed.file.as_ref() != Some(&text) {
        actions.push(Action::Write { text: text.clone() });
    }
    if exports && !observed.serving {
        actions.push(Action::Serve);
    }
    let in_kernel = intent
        .nfs
        .exports
        .iter()
        .filter(|export| refusal(intent, observed, export).is_none())
        .flat_map(|export| export.clients.iter().map(move |client| (export, client.to_string())))
        .all(|(export, client)| {
            observed.table.contains(&Exported { path: export.path.clone(), client })
        });
    let applied = observed.applied.as_deref() == Some(stamp(&text).as_str());
    if (exports || observed.serving) && !(in_kernel && applied) {
        actions.push(Action::Apply { text });
    }
    actions
}

fn describe(intent: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
    let export = intent.nfs.exports.iter().find(|export| export.path == name)?;
    let wanted: Vec<_> = export.clients.iter().map(ToString::to_string).collect();
    let table = observed.table.iter().filter(|exported| exported.path == name);
    let found: Vec<_> = table.map(|exported| exported.client.as_str()).collect();
    let reality = if found.is_empty() {
        "exported to nobody".to_owned()
    } else {
        format!("exported to {}", found.join(", "))
    };
    Some(Description {
        intent: format!("to {} ({})", wanted.join(", "), export.options.join(",")),
        reality,
    })
}

fn stamp(text: &str) -> String {
    digest::of_parts([text])
}

/// What is at the path of an export; none while its pool is not mounted. What is wrong with one says
/// nothing of the others.
fn look(context: &Context, export: &Export) -> Option<Place> {
    let mount = Path::new(context.pool_mount(&export.pool).ok()?);
    let inside = Path::new(&export.path).strip_prefix(mount).ok()?;
    Some(place::look(mount, inside).unwrap_or_else(|error| {
        Place::Wrong(format!("{} is not exported: {}", export.path, in_line(&error)))
    }))
}

/// Makes the directory and its parents inside the pool. A pool unmounted since is noticed by the
/// device number.
fn make_directory(context: &Context, path: &str, mode: u32) -> Result<(), NfsError> {
    let outside = || NfsError::Outside { path: path.to_owned() };
    let export = context.intent.nfs.exports.iter().find(|one| one.path == path);
    let pool = export.map(|one| one.pool.as_str()).unwrap_or_default();
    let mount = PathBuf::from(context.pool_mount(pool).map_err(|_| outside())?);
    let device = |path: &Path| match fs::metadata(path) {
        Ok(found) => Ok(found.dev()),
        Err(source) => Err(PlaceError::System { path: path.to_owned(), source }),
    };
    if device(&mount)? == device(Path::new("/"))? {
        return Err(outside());
    }
    let inside = Path::new(path).strip_prefix(&mount).map_err(|_| outside())?;
    Ok(place::make(&mount, inside, mode)?)
}

#[cfg(test)]
mod tests;
