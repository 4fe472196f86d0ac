//! `bedplate key create`: makes a key stick, or an image of one.

mod target;

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use bedplate_formats::passphrase;
use bedplate_keystick::layout::{HEADER_LIMIT, HOST_KEY, LEAST_KEYFILE_BYTES, header};
use bedplate_keystick::{self as keystick, Contents, StickError};
use bedplate_model::host::{HostFile, Recovery, Stick};
use bedplate_tools::secret::Secret;

use crate::report::{self, Failure};
use target::Target;

/// Key sticks.
#[derive(clap::Subcommand)]
pub enum Key {
    Create(Create),
}

impl Key {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(),
        }
    }
}

/// Make a key stick: VFAT with keyfile, recovery passphrase and the secrets of the backups.
///
/// It is written so that a power cut leaves no stick or a whole one, and read back.
#[derive(clap::Args)]
pub struct Create {
    /// The document; volume ids and paths come from it.
    #[arg(long)]
    host: PathBuf,
    /// Write to this stick: its name under /dev/disk/by-id.
    #[arg(long, required_unless_present = "image", conflicts_with = "image")]
    device: Option<PathBuf>,
    /// Write to this file, for a stick or a virtual machine.
    #[arg(long)]
    image: Option<PathBuf>,
    /// Size of the image.
    #[arg(long, default_value = "64MiB", requires = "image", value_parser = size)]
    size: u64,
    /// Volume id of the stick to make [default: the first of the document; with --from the next].
    #[arg(long, value_name = "VOLUME_ID")]
    stick: Option<String>,
    /// Copy the keys of this stick: an image, a device, or the directory where it is mounted.
    #[arg(long, value_name = "FIRST")]
    from: Option<PathBuf>,
    /// Overwrite what stands there; repeats the name of the device or image.
    #[arg(long, value_name = "NAME")]
    overwrite: Option<String>,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// Why no stick was made. Nothing was written then.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    /// `--stick` names none of the sticks in `host.toml`.
    #[error("{path} names no key stick {stick}; it names {known}")]
    NoSuchStick { path: String, stick: String, known: String },
    /// `--from` without a second stick.
    #[error(
        "{path} names no stick but {first}: add `[[unlock.sticks]]` with a volume id of its own"
    )]
    NoSecondStick { path: String, first: String },
    /// `--from`, several others.
    #[error("which stick is this to be? Choose with --stick: {known}")]
    WhichStick { known: String },
    /// A copy would take the place of its original.
    #[error("{from} is the stick {stick} itself: choose another with --stick")]
    SameStick { from: String, stick: String },
    /// The stick that `--from` names, or a file on it, could not be read.
    #[error("{from} cannot be copied")]
    From {
        from: String,
        #[source]
        source: StickError,
    },
    /// The device or image that `--from` names could not be opened.
    #[error("{from} cannot be opened")]
    Open {
        from: String,
        #[source]
        source: io::Error,
    },
    /// A secret that is typed, and no terminal to type at.
    #[error(
        "nobody can be asked for the {what}, which `{path}` on the stick is to hold: run this at a terminal"
    )]
    NotAsked { path: String, what: String },
    /// The stick that `--from` names lacks the keyfile or the recovery passphrase.
    #[error("{from} lacks `{path}`: it is no whole key stick of this host.toml")]
    NotWhole { from: String, path: String },
}

impl Create {
    fn run(&self) -> Result<(), Failure> {
        let host = report::read_host(&self.host)?;
        let first = self.from.as_deref().map(|from| read_first(from, &host)).transpose()?;
        let stick = self.choose(&host, first.as_ref())?;
        // Asked before anything is opened for writing.
        let typed = if first.is_none() { ask(&host)? } else { Vec::new() };
        let mut target = match (&self.device, &self.image) {
            (Some(device), _) => Target::device(device, &host, stick, self.overwrite.as_deref())?,
            (None, image) => {
                let path = image.as_deref().unwrap_or(Path::new(""));
                Target::image(path, self.size, &host, self.overwrite.as_deref())?
            }
        };
        let files = match first {
            Some(first) => first.files,
            None => fresh(&host, typed)?,
        };
        target.make(&stick.volume_id, &files)?;
        let name = target.name.clone();
        target.finish()?;
        self.tell(&name, stick, &host, &files)
    }

    /// Which stick of the document is made.
    fn choose<'a>(
        &self,
        host: &'a HostFile,
        first: Option<&Contents>,
    ) -> Result<&'a Stick, KeyError> {
        let path = self.host.display().to_string();
        let taken = first.map(|first| first.volume_id.as_str()).unwrap_or_default();
        let sticks = &host.unlock.sticks;
        let known = || {
            let names: Vec<&str> = sticks.iter().map(|stick| stick.volume_id.as_str()).collect();
            names.join(", ")
        };
        if let Some(wanted) = &self.stick {
            let found = sticks.iter().find(|one| one.volume_id.eq_ignore_ascii_case(wanted));
            return match found {
                Some(stick) if stick.volume_id == taken => {
                    let from = self.from.as_deref().unwrap_or(Path::new("")).display().to_string();
                    Err(KeyError::SameStick { from, stick: taken.to_owned() })
                }
                Some(stick) => Ok(stick),
                None => Err(KeyError::NoSuchStick { path, stick: wanted.clone(), known: known() }),
            };
        }
        let mut others = sticks.iter().filter(|stick| stick.volume_id != taken);
        match (others.next(), others.next(), first) {
            (Some(only), None, _) | (Some(only), Some(_), None) => Ok(only),
            (Some(_), Some(_), Some(_)) => Err(KeyError::WhichStick { known: known() }),
            (None, ..) => Err(KeyError::NoSecondStick { path, first: taken.to_owned() }),
        }
    }

    fn tell(
        &self,
        name: &str,
        stick: &Stick,
        host: &HostFile,
        files: &[(String, Secret)],
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        let id = stick.volume_id.as_str();
        if self.json {
            let copied = self.from.as_ref().map(|from| from.display().to_string());
            let made = serde_json::json!({
                "target": name, "volume_id": id, "files": paths, "copied_from": copied,
            });
            writeln!(out, "{made}")?;
            return Ok(());
        }
        let paths = paths.join(", ");
        writeln!(out, "{name} is the key stick {id}, written and read back: {paths}")?;
        if let Recovery::Stick(path) = &host.unlock.recovery
            && self.from.is_none()
        {
            writeln!(
                out,
                "note: the recovery passphrase stands in `{path}`; keep it on paper, away from the stick"
            )?;
        }
        Ok(())
    }
}

/// Everything that the document wants on a stick; the keyfile last.
fn fresh(host: &HostFile, typed: Vec<(String, Secret)>) -> keystick::Result<Vec<(String, Secret)>> {
    let mut files = Vec::new();
    for path in host.stick_secrets() {
        files.push((path, keystick::passphrase()?));
    }
    files.extend(typed);
    if let Recovery::Stick(path) = &host.unlock.recovery {
        files.push((path.clone(), keystick::passphrase()?));
    }
    files.push((host.unlock.keyfile.clone(), keystick::keyfile()?));
    Ok(files)
}

/// The secrets that somebody types.
fn ask(host: &HostFile) -> Result<Vec<(String, Secret)>, Failure> {
    let ask_for = |(path, what): (String, String)| {
        if !io::stdin().is_terminal() {
            return Err(KeyError::NotAsked { path, what }.into());
        }
        let fault = |typed: &String| passphrase::line_fault(typed).map_or(Ok(()), Err);
        let typed = dialoguer::Password::new()
            .with_prompt(format!("The {what}, for `{path}` on the stick"))
            .with_confirmation("The same again", "the two differ, type both again")
            .validate_with(fault)
            .interact()?;
        Ok((path, Secret::new(typed.into_bytes())))
    };
    host.typed_secrets().into_iter().map(ask_for).collect()
}

/// What the first stick carries: the secrets, and header backups where there are some.
fn read_first(from: &Path, host: &HostFile) -> Result<Contents, KeyError> {
    let name = from.display().to_string();
    let failed = |source| KeyError::From { from: name.clone(), source };
    let mut paths = host.stick_secrets();
    paths.extend(host.typed_secrets().into_keys());
    paths.extend(host.disks.keys().map(|role| header(role)));
    if let Recovery::Stick(path) = &host.unlock.recovery {
        paths.push(path.clone());
    }
    paths.push(HOST_KEY.to_owned());
    paths.push(host.unlock.keyfile.clone());
    let contents = if from.is_dir() {
        let mut files = Vec::new();
        for path in paths {
            let found = keystick::read_if_there(from, &path, HEADER_LIMIT).map_err(failed)?;
            files.extend(found.map(|secret| (path, secret)));
        }
        Contents { volume_id: String::new(), files }
    } else {
        let opened = File::open(from);
        let mut device = opened.map_err(|source| KeyError::Open { from: name.clone(), source })?;
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        keystick::read_volume(&mut device, &paths, HEADER_LIMIT).map_err(failed)?
    };
    let recovery = match &host.unlock.recovery {
        Recovery::Stick(path) => Some(path),
        Recovery::Prompt => None,
    };
    let has = |path: &str, least: usize| {
        contents.files.iter().any(|(name, secret)| name == path && secret.expose().len() >= least)
    };
    let keyfile = &host.unlock.keyfile;
    match recovery.filter(|path| !has(path, 1)) {
        Some(path) => Err(KeyError::NotWhole { from: name, path: path.clone() }),
        None if !has(keyfile, LEAST_KEYFILE_BYTES) => {
            Err(KeyError::NotWhole { from: name, path: keyfile.clone() })
        }
        None => Ok(contents),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let least = 1 << 20;
    bedplate_model::size::parse(text)
        .or_else(|| text.parse().ok())
        .filter(|size| *size >= least)
        .ok_or_else(|| "write a size such as 64MiB; 1MiB is the least".to_owned())
}
