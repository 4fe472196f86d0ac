//! What `init` and `host add` have in common: where the document comes from, writing, telling.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_events::shown::shown_line;
use bedplate_image_builder::{identity, personalize};
use bedplate_model::host::Platform;
use bedplate_repository::change::{Left, Line, Proposal};
use bedplate_repository::shipped::{self, DESCRIPTION, PLATFORM};
use bedplate_repository::write;
use bedplate_tools::nix;

use crate::login;
use crate::report::{self, Failure};

/// Exit code: everything was written, `flake.lock` is left to Nix.
const LOCK_LEFT: u8 = 3;
/// Exit code: everything was written but for lines that were printed.
const LINES_LEFT: u8 = 4;

/// Where a host comes from, and how it is told.
#[derive(clap::Args)]
pub struct Source {
    /// Start from the host.toml of this profile.
    #[arg(long, default_value = "hypervisor")]
    profile: String,
    /// Start from this host.toml; an example's id is replaced by a fresh one.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    from: Option<PathBuf>,
    /// Who may log in: a public ssh key, or a file of such (~/.ssh/id_ed25519.pub), for the users that have none.
    #[arg(long, value_name = "KEY")]
    ssh_key: Vec<String>,
    /// The platform that builds the host [default: what its host.toml says].
    #[arg(long, value_enum, value_name = "PLATFORM")]
    platform: Option<PlatformName>,
    /// For NixOS: where Bedplate's own flake is, as a flake reference (git+https://…, path:/…).
    #[arg(long, value_name = "FLAKE")]
    bedplate: Option<String>,
    /// Take the description of the embedded platform from this medium (`bedplate iso`), so that
    /// the system can be built, too.
    #[arg(long, value_name = "FILE")]
    medium: Option<PathBuf>,
    /// Show what would be written and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

/// A platform by its name in host.toml.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PlatformName {
    /// Bedplate's own, which needs no network.
    Embedded,
    /// NixOS, from nixpkgs.
    Nixos,
}

/// A medium of another kind.
#[derive(Debug, thiserror::Error)]
#[error("{} carries no description of the embedded platform; nothing was written", path.display())]
struct NoDescription {
    path: PathBuf,
}

impl Source {
    /// The name of the profile.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// Whether the host comes from a file.
    pub fn from(&self) -> Option<&Path> {
        self.from.as_deref()
    }

    /// The platform that was asked for.
    pub fn platform(&self) -> Option<Platform> {
        self.platform.map(|name| match name {
            PlatformName::Embedded => Platform::Embedded,
            PlatformName::Nixos => Platform::Nixos,
        })
    }

    /// Where this project's flake is said to be.
    pub fn address(&self) -> Option<&str> {
        self.bedplate.as_deref()
    }

    /// The document, with an id of its own.
    pub fn document(&self) -> Result<String, Failure> {
        let text = match &self.from {
            Some(path) => {
                report::read_host(path)?;
                report::read(path)?
            }
            None => shipped::profile(&self.profile)?.to_owned(),
        };
        let own = identity::with_own_id(&text)?.map_or(text, |(own, _)| own);
        login::with_keys(&own, &login::keys(&self.ssh_key)?)
    }

    /// The description of the medium's platform.
    pub fn description(&self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(path) = &self.medium else { return Ok(None) };
        let mut flake = personalize::flake_of(path)?;
        let found = flake.remove(&format!("{PLATFORM}/{DESCRIPTION}"));
        Ok(Some(found.ok_or_else(|| NoDescription { path: path.clone() })?))
    }

    /// Writes what was decided and says what was changed and what is left.
    pub fn finish(&self, root: &Path, mut proposal: Proposal) -> Result<ExitCode, Failure> {
        let mut changes: Vec<Line> =
            proposal.changes.iter().flat_map(|change| change.lines()).collect();
        if !self.dry_run {
            write::write(root, &proposal.changes)?;
            changes.extend(lock(root, &mut proposal.left));
        }
        if self.json {
            let told = serde_json::json!({
                "schema": 1, "repository": root.display().to_string(), "written": !self.dry_run,
                "host": proposal.host, "changes": changes, "left": proposal.left,
            });
            writeln!(io::stdout(), "{}", report::json(&told)?)?;
        } else {
            self.tell(root, &proposal, &changes)?;
        }
        Ok(code(if self.dry_run { &[] } else { &proposal.left }))
    }

    fn tell(&self, root: &Path, proposal: &Proposal, changes: &[Line]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for Line { action, path, added } in changes {
            writeln!(out, "{action:<6}  {path}")?;
            added.iter().try_for_each(|text| writeln!(out, "        + {text}"))?;
        }
        let host = &proposal.host;
        writeln!(out, "host {}, id {}, in {}", host.name, host.id, host.directory)?;
        if self.dry_run {
            writeln!(out, "nothing was written (--dry-run)")?;
        }
        for left in &proposal.left {
            write!(out, "note: {left}")?;
        }
        if self.dry_run {
            return Ok(());
        }
        if is_in_git(root) {
            writeln!(out, "next: {}; Nix sees what git knows", git_add(root, changes))?;
        }
        let document = root.join(&host.directory).join("host.toml");
        let document = document.display();
        writeln!(out, "next: name disks, key stick and network in {document}")?;
        writeln!(out, "next: bedplate check {document}")
    }
}

/// Whether a directory lies in a work tree of git: at its root, or further down.
fn is_in_git(directory: &Path) -> bool {
    // A work tree of its own, or a submodule, has a file of that name.
    let whole = directory.canonicalize();
    whole.is_ok_and(|whole| whole.ancestors().any(|path| path.join(".git").exists()))
}

/// What tells git of the changes, run where the command was.
fn git_add(root: &Path, changes: &[Line]) -> String {
    let mut paths: Vec<&str> =
        changes.iter().filter_map(|line| line.path.split('/').next()).collect();
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(*path));
    let paths = paths.join(" ");
    if root != Path::new(".") {
        let root = root.display().to_string();
        format!("git -C {} add {paths}", quoted(&root))
    } else {
        format!("git add {paths}")
    }
}

/// A word for a shell, without a character that a terminal would act on.
fn quoted(word: &str) -> String {
    let plain = word.chars().all(|one| one.is_ascii_alphanumeric() || "/._-+@".contains(one));
    if plain { word.to_owned() } else { format!("'{}'", shown_line(word).replace('\'', "'\\''")) }
}

/// What Nix says first is what went wrong; the lines behind it say where it was looking.
fn first_error(said: &str) -> String {
    // The first line begins with the command that said it.
    let mut lines =
        said.lines().filter_map(|line| line.find("error: ").and_then(|at| line.get(at..)));
    let error = lines.next();
    let last = || said.lines().map(str::trim).rfind(|line| !line.is_empty());
    shown_line(error.or_else(last).unwrap_or_default())
}

/// Lets Nix complete the lock where it is there and can; a hash is never made up.
fn lock(root: &Path, left: &mut Vec<Left>) -> Option<Line> {
    if left.iter().any(|left| matches!(left, Left::Lines { .. })) {
        return None;
    }
    let index = left.iter().position(|left| matches!(left, Left::Lock { .. }))?;
    eprintln!("locking the inputs of flake.nix with Nix, which fetches what they name ...");
    match nix::lock_flake(root) {
        Ok(()) => {
            left.remove(index);
            let added = vec!["by nix flake lock".to_owned()];
            Some(Line { action: "edit", path: "flake.lock".to_owned(), added })
        }
        Err(error) => {
            if let Some(Left::Lock { why, .. }) = left.get_mut(index) {
                // What Nix says quotes files and may hold any character.
                let said = first_error(&error.to_string());
                why.push_str(&format!(", and Nix could not make it here ({said})"));
            }
            None
        }
    }
}

fn code(left: &[Left]) -> ExitCode {
    if left.iter().any(|left| matches!(left, Left::Lines { .. })) {
        ExitCode::from(LINES_LEFT)
    } else if left.iter().any(|left| matches!(left, Left::Lock { .. })) {
        ExitCode::from(LOCK_LEFT)
    } else {
        ExitCode::SUCCESS
    }
}
