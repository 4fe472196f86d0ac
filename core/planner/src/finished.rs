//! Whether a machine is installed already.

use super::choose::{self, Choice, Part};
use super::{kept, sections, warnings};
use bedplate_model::facts::{Facts, TokenFacts, kind};
use bedplate_model::host::{HostFile, Wipe};

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
    is_sealed(host, &chosen) && found.boots != Some(false) && is_meant(host, found)
}

/// What whoever looks after a finished machine should know of its disks.
pub fn warnings_of_finished(host: &HostFile, facts: &Facts) -> Vec<String> {
    let chosen = choose::disks(host, facts, &mut Vec::new());
    warnings::broken_headers(chosen.iter().map(|choice| (choice.role, choice.facts)))
}

/// Whether every disk of the document is there, with the sealed volume of its role where the kernel
/// sees it.
pub(super) fn is_sealed(host: &HostFile, chosen: &[Choice<'_>]) -> bool {
    let seen = chosen
        .iter()
        .all(|choice| choice.facts.signatures.iter().all(|found| found.kind != kind::UNSEEN_TABLE));
    let sealed = chosen.iter().all(|choice| {
        choice.part == Part::Mirror || kept::volume(host, choice.role, choice.facts).is_some()
    });
    chosen.len() == host.disks.len() && seen && sealed
}

/// Whether the installation that was found is the one that the document means, and not one that it
/// says to replace.
pub(super) fn is_meant(host: &HostFile, found: &TokenFacts) -> bool {
    let any = host.disks.values().any(|disk| disk.wipe == Wipe::Any);
    !any || found.sections == sections::of(host)
}
