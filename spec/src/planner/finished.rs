//! Whether a machine is installed already.

use super::choose::{self, Part};
use super::{kept, sections};
use crate::facts::{Facts, kind};
use crate::host::{HostFile, Wipe};

/// Whether the machine carries a finished installation of this host, so that nothing is to be
/// done: every disk has the sealed volume of its role where the kernel sees it, and the OS disk boots.
///
/// Under `wipe = "any"` an installation from another document is no reason to stop: it is what
/// was meant to be replaced. The one from this very document is, or a medium left in the machine
/// would install it again and again.
pub fn is_finished(host: &HostFile, facts: &Facts) -> bool {
    let chosen = choose::disks(host, facts, &mut Vec::new());
    let os = chosen.iter().find(|choice| choice.part == Part::Os);
    let Some(found) = os.and_then(|os| os.facts.bedplate.as_ref()) else { return false };
    let sealed = chosen.iter().all(|choice| {
        choice.part == Part::Mirror || kept::volume(host, choice.role, choice.facts).is_some()
    });
    let meant = || {
        let any = host.disks.values().any(|disk| disk.wipe == Wipe::Any);
        !any || found.sections == sections::of(host)
    };
    let seen = chosen
        .iter()
        .all(|choice| choice.facts.signatures.iter().all(|found| found.kind != kind::UNSEEN_TABLE));
    chosen.len() == host.disks.len() && sealed && seen && found.boots != Some(false) && meant()
}
