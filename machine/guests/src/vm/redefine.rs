//! `vm redefine`: a definition as host.toml says, whatever was changed by hand in the one that libvirt
//! holds; with the newest machine, or with new variables of its firmware, when its owner says so.

use std::io;
use std::path::{Path, PathBuf};

use bedplate_events::shown::shown;
use bedplate_model::host::State;
use bedplate_tools::command::CommandError;
use bedplate_tools::virsh::Virsh;

use super::compare;
use super::domain;
use super::engine::VmError;
use super::model::Model;
use super::observe::{self, DomainFound};
use super::variables;
use bedplate_resources::context::Context;

/// A machine that was not defined anew.
#[derive(Debug, thiserror::Error)]
pub enum RedefineError {
    /// Not declared, not to be there, or not ours.
    #[error("host.toml and libvirt have no machine `{0}` that is ours; nothing was done")]
    Unknown(String),
    /// It must not be touched.
    #[error("`{vm}` was not defined anew: {why}")]
    Kept {
        /// Name of the machine in host.toml.
        vm: String,
        /// What stands against it, for people.
        why: String,
    },
    /// Libvirt or the disks could not be looked at.
    #[error("it could not be found out how the machine stands; nothing was done")]
    Look(#[from] VmError),
    /// The XML.
    #[error("its definition could not be written; nothing was done")]
    Definition(#[source] io::Error),
    /// The variables.
    #[error(
        "it is defined as host.toml says, and the variables of its firmware, {}, could not be put away: it \
         has the old ones until this is run again",
        .path.display()
    )]
    Variables {
        /// Where they are.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// `virsh define` failed, or did not end in time.
    #[error("libvirt did not take the definition; it holds the one of before")]
    Libvirt(#[from] CommandError),
}

/// What its owner asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// The newest machine that QEMU knows.
    pub newest_machine: bool,
    /// New variables of its firmware, from the template.
    pub new_variables: bool,
}

/// Defines the machine `name` anew. Returns what changed, in lines.
pub fn redefine(
    context: &Context,
    virsh: &Virsh,
    name: &str,
    wish: Wish,
) -> Result<Vec<String>, RedefineError> {
    let unknown = || RedefineError::Unknown(name.to_owned());
    let vm = context.intent.vms.get(name).filter(|vm| vm.state == State::Present);
    let vm = vm.ok_or_else(unknown)?;
    let observed = observe::observe(virsh, context)?;
    let found = observed.domains.get(name).filter(|found| found.intent.is_some());
    let found = found.ok_or_else(unknown)?;
    let kept = |why: String| RedefineError::Kept { vm: name.to_owned(), why };
    let mount = context.pool_mount(&vm.pool).map_err(kept)?;
    let directory = Path::new(mount).join(name);
    let disk = domain::disk_path(&directory, vm);
    let without_key = observed.files.get(name).is_some_and(|files| files.without_key);
    if let Some(why) = refusal(name, found, &disk, without_key, wish) {
        return Err(kept(why));
    }
    let machine = found.held.as_ref().and_then(compare::kept_machine);
    let machine = machine.filter(|_| !wish.newest_machine).unwrap_or(domain::NEWEST);
    let accelerator = observed.accelerator;
    let wanted = domain::define_as(&context.intent, name, vm, &directory, accelerator, machine)
        .map_err(RedefineError::Definition)?;
    let mut lines = Vec::new();
    if let (Some(held), Ok(wanted)) = (&found.held, Model::parse(&wanted.xml)) {
        lines = compare::changes(held, &wanted).lines();
        if wish.newest_machine {
            lines.push(format!("machine {} becomes the newest", shown(&held.machine)));
        }
    }
    let variables = variables::place(name, [found.held.as_ref(), found.live.as_ref()]);
    let variables = wish.new_variables.then_some(variables.as_path());
    let kept = replace(virsh, &wanted.xml, variables, &directory)?;
    lines.extend(kept.map(|kept| format!("the old variables are kept as {}", kept.display())));
    Ok(lines)
}

/// Defines it, and then takes `variables` away: a definition that libvirt refuses leaves everything as it
/// was. Returns where they are kept in `directory`.
fn replace(
    virsh: &Virsh,
    xml: &str,
    variables: Option<&Path>,
    directory: &Path,
) -> Result<Option<PathBuf>, RedefineError> {
    virsh.define(xml)?;
    let Some(path) = variables else { return Ok(None) };
    variables::put_away(path, directory)
        .map_err(|source| RedefineError::Variables { path: path.to_owned(), source })
}

fn refusal(
    name: &str,
    found: &DomainFound,
    disk: &Path,
    without_key: bool,
    wish: Wish,
) -> Option<String> {
    if let Some(why) = compare::other_disk(name, found, disk) {
        return Some(why);
    }
    let is_on = found.running.is_some() || found.is_saved();
    if wish.new_variables && is_on {
        let how = "it runs, or its memory is saved, with the variables that are there";
        return Some(format!("{how}; shut it down first (`virsh shutdown {name}`)"));
    }
    let keyless = without_key && !wish.new_variables;
    keyless.then(|| {
        "the variables of its firmware carry no keys; `--new-variables` gives it new ones"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_variables_are_for_a_machine_that_is_off_and_keyless_ones_for_none() {
        let disk = Path::new("/mnt/vmstore/haos/haos.qcow2");
        let off = DomainFound::default();
        let on = DomainFound { running: Some(None), ..DomainFound::default() };
        let saved = DomainFound { managed_save: true, ..DomainFound::default() };
        let new = Wish { new_variables: true, ..Wish::default() };
        assert_eq!(refusal("haos", &off, disk, true, new), None);
        for found in [on, saved] {
            let why = refusal("haos", &found, disk, false, new).unwrap();
            assert!(why.contains("virsh shutdown haos"), "{why}");
            assert_eq!(refusal("haos", &found, disk, false, Wish::default()), None);
        }
        let why = refusal("haos", &off, disk, true, Wish::default()).unwrap();
        assert!(why.contains("--new-variables"), "{why}");
    }

    #[test]
    fn a_definition_that_libvirt_refuses_costs_no_variables() {
        let place = tempfile::tempdir().unwrap();
        let (program, variables) = (place.path().join("virsh"), place.path().join("haos_VARS.fd"));
        std::fs::write(&variables, "boots from its disk").unwrap();
        let virsh = Virsh::new("qemu:///system").with_program(&program);
        let replaced = |code: &str| {
            bedplate_tools::atomic::write(&program, &format!("#!/bin/sh\nexit {code}\n"), 0o700)
                .unwrap();
            replace(&virsh, "<domain/>", Some(&variables), place.path())
        };
        assert!(matches!(replaced("1"), Err(RedefineError::Libvirt(_))));
        assert!(variables.exists());
        let kept = replaced("0").unwrap().unwrap();
        assert!(!variables.exists() && kept.exists());
    }
}
