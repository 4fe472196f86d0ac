//! Building the system and activating it for the first time.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use bedplate_events::Outcome;
use bedplate_model::host::Platform;
use bedplate_model::plan::BuildInputs;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mount::{Access, Mount, bind, bind_recursive};
use bedplate_tools::nix::{Nix, Reach};
use bedplate_tools::sync;
use rustix::mount::MountPropagationFlags;

use super::flake::REPOSITORY;
use crate::context::{Context, TARGET};
use crate::error::{During as _, StepError};
use crate::nix_meter::NixMeter;

/// The system profile, below the target.
const PROFILE: &str = "nix/var/nix/profiles/system";

/// Builds the attribute of the enrolled flake and makes it the system profile.
pub fn build(
    context: &Context<'_>,
    step: &str,
    attribute: &str,
    inputs: BuildInputs,
) -> Result<Outcome, StepError> {
    let target = Path::new(TARGET);
    let repository = target.join(REPOSITORY);
    let reference = format!("git+file://{}#{attribute}", repository.display());
    clear_interrupted_builds(&target.join("nix/store"))
        .during("could not clear what a build that was cut off left in the store")?;
    let nix = Nix::new(target);
    let reach = match inputs {
        BuildInputs::Medium => Reach::Store,
        BuildInputs::Network => Reach::Network,
    };
    let mut meter = NixMeter::new(context.reporter, step);
    let mut valid = true;
    let toplevel = nix
        .build(&reference, reach, &mut |progress| {
            valid &= progress.is_nothing();
            meter.tell(progress);
        })
        .during(format!("could not build {attribute} from the flake"))?;
    if !toplevel.starts_with("/nix/store/") || toplevel.contains('\n') {
        return Err(StepError::new(format!("the build gave no single store path: {toplevel}")));
    }
    let profile = target.join(PROFILE);
    if let Some(parent) = profile.parent() {
        fs::create_dir_all(parent).during("could not make the directory of profiles")?;
    }
    nix.set_profile(&profile, &toplevel).during("could not set the system profile")?;
    sync::file_system(target).during("could not flush the target")?;
    let _ = context.toplevel.set(toplevel);
    // By the medium, or by an earlier run.
    Ok(if valid { Outcome::AlreadyDone } else { Outcome::Done })
}

/// Takes the installed system of the target, which its profile names, for the one that is to boot.
pub fn find(context: &Context<'_>) -> Result<Outcome, StepError> {
    let _ = context.toplevel.set(installed(Path::new(TARGET))?);
    Ok(Outcome::Done)
}

/// The store path that the system profile leads to, as the installed system sees it.
fn installed(target: &Path) -> Result<String, StepError> {
    let mut link = target.join(PROFILE);
    // The profile names a generation, and the generation a path of the store.
    for _ in 0..2 {
        let to = fs::read_link(&link)
            .during(format!("could not read which system is installed ({})", link.display()))?;
        if to.starts_with("/nix/store") {
            let there = target.join(to.strip_prefix("/").unwrap_or(&to));
            return match to.to_str() {
                Some(path) if there.join("init").exists() => Ok(path.to_owned()),
                _ => Err(StepError::new(format!("the installed system {} is gone", to.display()))),
            };
        }
        link = match to.strip_prefix("/") {
            Ok(below) => target.join(below),
            Err(_) => link.with_file_name(&to),
        };
    }
    Err(StepError::new(format!("{} leads to no system", target.join(PROFILE).display())))
}

/// Removes locks and sandboxes of builds that did not come to their end. Nix does so itself when it
/// builds the same again; where the power went between the registration of a system and the end of
/// its build, it does not, and they stayed until the owner collects garbage. Nobody else builds there.
fn clear_interrupted_builds(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let found = fs::symlink_metadata(&path)?;
        // A store path may be called `Cargo.lock`; nobody may write to one.
        let is_written = found.mode() & 0o200 != 0;
        match path.extension().and_then(OsStr::to_str) {
            Some("lock") if is_written && found.is_file() => fs::remove_file(&path)?,
            Some("chroot") if is_written && found.is_dir() => fs::remove_dir_all(&path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Runs the activation of the built system inside the target.
pub fn activate(context: &Context<'_>) -> Result<Outcome, StepError> {
    let target = Path::new(TARGET);
    if context.host.host.platform == Platform::Nixos {
        fs::create_dir_all(target.join("etc"))
            .and_then(|()| File::create(target.join("etc/NIXOS")))
            .during("could not mark the target as NixOS")?;
    }
    bind_live(target)?;
    let toplevel = context.toplevel()?;
    in_target(&format!("{toplevel}/activate"), &[])
        .during("the activation of the built system failed")?;
    Ok(Outcome::Done)
}

/// What [`activate`] shows inside the target.
pub const LIVE: [&str; 4] = ["run", "sys", "proc", "dev"];

/// Shows devices, processes and the kernel inside the target.
fn bind_live(target: &Path) -> Result<(), StepError> {
    for name in ["dev", "proc", "sys", "run", "tmp"] {
        let place = target.join(name);
        fs::create_dir_all(&place).during(format!("could not make {}", place.display()))?;
    }
    for name in ["dev", "proc", "sys"] {
        let place = target.join(name);
        bind_recursive(&Path::new("/").join(name), &place)
            .during(format!("could not show /{name} inside the target"))?;
        // What is unmounted here later must not vanish from the live system too.
        rustix::mount::mount_change(
            &place,
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .during(format!("could not keep /{name} of the target apart"))?;
    }
    let run = target.join("run");
    // Its own: an activation must not change the live system.
    Mount {
        source: "tmpfs",
        target: &run,
        kind: "tmpfs",
        access: Access::ReadWrite,
        options: "mode=0755",
    }
    .mount()
    .during("could not make /run inside the target")?;
    let udev = run.join("udev");
    fs::create_dir_all(&udev).during("could not make /run/udev inside the target")?;
    bind(Path::new("/run/udev"), &udev).during("could not show udev's records inside the target")
}

/// Runs a program of the built system inside the target.
pub fn in_target(
    program: &str,
    arguments: &[&str],
) -> Result<(), bedplate_tools::command::CommandError> {
    Command::new("chroot")
        .args([TARGET, program])
        .args(arguments)
        .env("NIXOS_INSTALL_BOOTLOADER", "1")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .run()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn t45_the_system_that_boots_again_is_the_one_that_its_profile_names() {
        use std::os::unix::fs::symlink;
        let target = tempfile::tempdir().unwrap();
        let profiles = target.path().join("nix/var/nix/profiles");
        fs::create_dir_all(&profiles).unwrap();
        assert!(installed(target.path()).is_err());
        let (first, second) = ("/nix/store/a-system", "/nix/store/b-system");
        symlink(first, profiles.join("system-1-link")).unwrap();
        symlink(second, profiles.join("system-2-link")).unwrap();
        symlink("system-2-link", profiles.join("system")).unwrap();
        let missing = installed(target.path()).unwrap_err();
        assert!(missing.what.contains("b-system is gone"), "{}", missing.what);
        for system in [first, second] {
            let place = target.path().join(&system[1..]);
            fs::create_dir_all(&place).unwrap();
            fs::write(place.join("init"), "").unwrap();
        }
        assert_eq!(installed(target.path()).unwrap(), second);
        fs::remove_file(profiles.join("system")).unwrap();
        symlink("/nix/var/nix/profiles/system-1-link", profiles.join("system")).unwrap();
        assert_eq!(installed(target.path()).unwrap(), first);
    }

    #[test]
    fn f1_what_an_interrupted_build_left_goes_and_store_paths_stay() {
        let place = tempfile::tempdir().unwrap();
        let (store, mode) = (place.path(), fs::Permissions::from_mode);
        for (name, mode_of) in
            [("a-system", 0o444), ("a-system.lock", 0o600), ("b-Cargo.lock", 0o444)]
        {
            fs::write(store.join(name), "").unwrap();
            fs::set_permissions(store.join(name), mode(mode_of)).unwrap();
        }
        fs::create_dir_all(store.join("c-system.drv.chroot/root/nix/store/x")).unwrap();
        fs::create_dir(store.join("d-x.chroot")).unwrap();
        fs::set_permissions(store.join("d-x.chroot"), mode(0o555)).unwrap();
        // Of a link, everybody may do everything.
        std::os::unix::fs::symlink("a-system", store.join("e-flake.lock")).unwrap();
        clear_interrupted_builds(store).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["a-system", "b-Cargo.lock", "d-x.chroot", "e-flake.lock"]);
    }
}
