//! A new generation from the repository, or an earlier one again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bedplate_model::identity::{Purpose, derive};
use bedplate_tools::command::{CommandError, CommandExt as _};
use uuid::Uuid;

use super::{GenerationError, PROFILES, generations};
use crate::intent::{self, IntentError};

/// The repository on the machine.
pub const REPOSITORY: &str = "/etc/nixos";

/// The toplevel of the running system.
const RUNNING: &str = "/run/current-system";

/// Where a toplevel of the embedded platform, and one of NixOS, holds the document it is made of.
const DOCUMENTS: [&str; 2] = ["host.toml", "etc/bedplate/host.toml"];

/// No other generation boots next. What boots next is what it was, unless that is said.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Nix could not be started.
    #[error("could not run `nix`")]
    Nix(#[source] io::Error),
    /// Nix said why.
    #[error(
        "Nix could not build {attribute} ({status}); what it said stands above. Nothing was changed"
    )]
    Build {
        /// What was to be built.
        attribute: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// No path, or several.
    #[error("Nix named no store path for {attribute} but {said:?}. Nothing was changed")]
    NoPath {
        /// What was built.
        attribute: String,
        /// What it printed.
        said: String,
    },
    /// Its stage 1 would look for another volume, for ever.
    #[error(
        "{} is built for the volume {built}, and this system stands on {own}: it would not boot. `host.id` and `[os].disk` stay what they were when the machine was installed. Nothing was changed",
        .toplevel.display()
    )]
    OtherVolume {
        /// The toplevel.
        toplevel: PathBuf,
        /// The LUKS volume of the OS disk that it is built for.
        built: Uuid,
        /// The one of the running system.
        own: Uuid,
    },
    /// A document.
    #[error("could not compare the new system with the running one. Nothing was changed")]
    Compare(#[from] IntentError),
    /// The profile or the boot entry.
    #[error("the generation was built and does not boot next yet: run the command again")]
    Switch(#[source] CommandError),
    /// What is there.
    #[error("the generations of the system could not be looked at")]
    Look(#[from] GenerationError),
    /// The link of the profile.
    #[error("{} names no generation", .path.display())]
    NoProfile {
        /// The link.
        path: PathBuf,
    },
    /// Nowhere to go back to.
    #[error("there is no generation before {current}; `bedplate-host generation list` shows them")]
    NoEarlier {
        /// The one that boots next.
        current: u64,
    },
    /// Not one of them.
    #[error("there is no generation {wanted}; `bedplate-host generation list` shows them")]
    NoSuch {
        /// What was asked for.
        wanted: u64,
    },
}

/// What boots next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Next {
    /// Its number.
    pub generation: u64,
    /// Store path of its toplevel.
    pub toplevel: PathBuf,
}

/// Builds what the repository describes for `host`, a name that the document allows, and makes it
/// boot next. Nix writes its progress to standard error. `offline`: everything is there already.
pub fn rebuild(host: &str, offline: bool) -> Result<Next, RebuildError> {
    let attribute =
        format!("{REPOSITORY}#nixosConfigurations.\"{host}\".config.system.build.toplevel");
    let mut build = build(&attribute, offline);
    let built = build.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let built = built.map_err(RebuildError::Nix)?;
    if !built.status.success() {
        return Err(RebuildError::Build { attribute, status: built.status });
    }
    let said = String::from_utf8_lossy(&built.stdout).trim().to_owned();
    let toplevel = PathBuf::from(&said);
    if !toplevel.starts_with("/nix/store") || !toplevel.is_dir() {
        return Err(RebuildError::NoPath { attribute, said });
    }
    require_own_volume(&toplevel, Path::new(RUNNING))?;
    nix_env(&["--set", &said])?;
    boot_next(&toplevel)?;
    Ok(Next { generation: current(Path::new(PROFILES))?, toplevel })
}

/// Whether `toplevel` boots on the disk of the running system: NixOS asks before it switches to it.
pub fn fits(toplevel: &Path) -> Result<(), RebuildError> {
    require_own_volume(toplevel, Path::new(RUNNING))
}

/// What is built is what the lock says: a flake whose inputs say something else is refused.
fn build(attribute: &str, offline: bool) -> Command {
    let mut build = Command::new("nix");
    build.args(["build", "--no-update-lock-file", "--no-link", "--print-out-paths"]);
    build.args(offline.then_some("--offline")).arg(attribute);
    build
}

/// Stage 1 waits for its volume without an end, and a machine that waits does not fall back to the
/// generation before.
fn require_own_volume(toplevel: &Path, running: &Path) -> Result<(), RebuildError> {
    let (Some(built), Some(own)) = (os_volume(toplevel)?, os_volume(running)?) else {
        return Ok(());
    };
    if built == own {
        return Ok(());
    }
    Err(RebuildError::OtherVolume { toplevel: toplevel.to_owned(), built, own })
}

/// The LUKS volume that a toplevel's stage 1 opens; none where it holds no document.
fn os_volume(toplevel: &Path) -> Result<Option<Uuid>, RebuildError> {
    let Some(path) = DOCUMENTS.map(|name| toplevel.join(name)).into_iter().find(|it| it.exists())
    else {
        return Ok(None);
    };
    let (id, disk) = match intent::read(&path) {
        Ok(host) => (host.host.id, host.os.disk),
        // Another version may have written it, which this one need not understand to see that.
        Err(error) => intent::os_volume(&path).ok_or(error)?,
    };
    Ok(Some(derive(id, Purpose::Luks, &disk, 0)))
}

/// Makes the generation before the current one boot next.
pub fn rollback() -> Result<Next, RebuildError> {
    let profiles = Path::new(PROFILES);
    go_to(earlier(profiles, current(profiles)?)?)
}

/// Makes a generation boot next that is there. Its boot entry comes first: cut off before the
/// profile follows, the same command goes to the same generation again.
pub fn go_to(generation: u64) -> Result<Next, RebuildError> {
    let all = generations(Path::new(PROFILES))?;
    let found = all.into_iter().find(|(number, _)| *number == generation);
    let (_, toplevel) = found.ok_or(RebuildError::NoSuch { wanted: generation })?;
    boot_next(&toplevel)?;
    nix_env(&["--switch-generation", &generation.to_string()])?;
    Ok(Next { generation, toplevel })
}

fn nix_env(words: &[&str]) -> Result<(), RebuildError> {
    let profile = format!("{PROFILES}/system");
    let mut command = Command::new("nix-env");
    command.args(["-p", &profile]).args(words).run().map_err(RebuildError::Switch)
}

fn boot_next(toplevel: &Path) -> Result<(), RebuildError> {
    let switch = toplevel.join("bin/switch-to-configuration");
    Command::new(switch).arg("boot").run().map_err(RebuildError::Switch)
}

/// The generation that the profile names.
fn current(profiles: &Path) -> Result<u64, RebuildError> {
    let path = profiles.join("system");
    let link = fs::read_link(&path).ok();
    let number = link.as_deref().and_then(Path::file_name).and_then(|name| {
        name.to_str()?.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
    });
    number.ok_or(RebuildError::NoProfile { path })
}

fn earlier(profiles: &Path, current: u64) -> Result<u64, RebuildError> {
    let all = generations(profiles)?;
    let before = all.into_iter().map(|(number, _)| number).filter(|number| *number < current);
    before.max().ok_or(RebuildError::NoEarlier { current })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_one_before_the_current_is_gone_back_to() {
        let directory = tempfile::tempdir().unwrap();
        let profiles = directory.path();
        for number in [1, 4, 5] {
            let toplevel = profiles.join(format!("top-{number}"));
            fs::create_dir(&toplevel).unwrap();
            symlink(&toplevel, profiles.join(format!("system-{number}-link"))).unwrap();
        }
        assert!(matches!(current(profiles), Err(RebuildError::NoProfile { .. })));
        symlink("system-4-link", profiles.join("system")).unwrap();
        assert_eq!(current(profiles).unwrap(), 4);
        assert_eq!(earlier(profiles, 4).unwrap(), 1);
        assert!(matches!(earlier(profiles, 1), Err(RebuildError::NoEarlier { current: 1 })));
    }

    #[test]
    fn t28_a_flake_that_drifted_from_its_lock_is_not_built() {
        for offline in [true, false] {
            let command = build("/etc/nixos#x", offline);
            let words: Vec<_> = command.get_args().filter_map(|word| word.to_str()).collect();
            assert!(words.contains(&"--no-update-lock-file"), "{words:?}");
            assert_eq!(words.contains(&"--offline"), offline);
            assert!(
                !words.iter().any(|word| word.contains("recreate") || word.contains("override"))
            );
            assert_eq!(words.last(), Some(&"/etc/nixos#x"));
        }
    }

    #[test]
    fn a_system_for_another_volume_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let profile = include_str!("../../../../profiles/hypervisor/host.toml");
        let toplevel = |name: &str, document: Option<(&str, String)>| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            if let Some((place, document)) = document {
                fs::create_dir_all(path.join(place).parent().unwrap()).unwrap();
                fs::write(path.join(place), document).unwrap();
            }
            path
        };
        let id = "00000000-0000-4000-8000-000000000004";
        assert!(profile.contains(id));
        let of = |digit: char| {
            profile.replace(id, &format!("6ba7b810-9dad-41d1-80b4-00c04fd430c{digit}"))
        };
        let lisbon = of('8').replace("Europe/Brussels", "Europe/Lisbon");
        // A toplevel that says nothing of itself is left to whoever made it.
        let silent = toplevel("silent", None);
        for place in DOCUMENTS {
            let named = |name: &str| format!("{name}-{}", place.replace('/', "-"));
            let running = toplevel(&named("running"), Some((place, of('8'))));
            let same = toplevel(&named("same"), Some((place, lisbon.clone())));
            let other = toplevel(&named("other"), Some((place, of('9'))));
            let newer = |digit| format!("{}\n[from_the_future]\nx = 1\n", of(digit));
            let new = toplevel(&named("newer"), Some((place, newer('8'))));
            let new_other = toplevel(&named("newer-other"), Some((place, newer('9'))));
            assert!(require_own_volume(&new, &running).is_ok());
            assert!(require_own_volume(&running, &new).is_ok());
            let error = require_own_volume(&new_other, &running).unwrap_err();
            assert!(matches!(error, RebuildError::OtherVolume { .. }), "{error}");
            assert!(require_own_volume(&same, &running).is_ok());
            assert!(require_own_volume(&silent, &running).is_ok());
            assert!(require_own_volume(&other, &silent).is_ok());
            let error = require_own_volume(&other, &running).unwrap_err();
            assert!(matches!(error, RebuildError::OtherVolume { .. }), "{error}");
        }
    }
}
