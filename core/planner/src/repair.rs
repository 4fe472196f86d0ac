//! A finished machine whose EFI system partition or boot entry alone is broken: these are made
//! anew from the installed system, and nothing else is written.

use std::iter;

use super::choose::{Choice, Part};
use super::refusal::Refusal;
use super::{content, finished, kept, steps};
use bedplate_model::facts::{Signature, kind};
use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::identity::{
    Purpose, derive, epoch_of, esp_volume_id, mapper_name, shown_volume_id,
};
use bedplate_model::plan::{Destroyed, Mount, MountSource, Step};

/// What a repair writes to.
pub(super) struct Repair<'c, 'a> {
    /// The OS disk, then the one with the copy of its EFI system partition.
    pub(super) disks: Vec<&'c Choice<'a>>,
    /// What goes on their EFI system partitions.
    pub(super) destroys: Vec<Destroyed>,
}

/// The repair that this machine needs; none when its installation is not finished, or boots, or is
/// to be replaced.
pub(super) fn needed<'c, 'a>(
    host: &HostFile,
    chosen: &'c [Choice<'a>],
    refusals: &mut Vec<Refusal>,
) -> Option<Repair<'c, 'a>> {
    let os = chosen.iter().find(|choice| choice.part == Part::Os)?;
    let found = os.facts.bedplate.as_ref()?;
    let broken = found.boots == Some(false) && finished::is_sealed(host, chosen);
    if !broken || !finished::is_meant(host, found) {
        return None;
    }
    let copy = chosen.iter().filter(|choice| has_copy(host, choice));
    let disks: Vec<_> = iter::once(os).chain(copy).collect();
    if os.disk.wipe == Wipe::Blank {
        refusals.push(os.refuse(
            format!("the finished installation on it does not boot: {}", lines(os)),
            "write `wipe = \"ours\"` to have its EFI system partition and boot entry repaired; \
             nothing else is written then",
        ));
    }
    for choice in &disks {
        if let Some(other) = on_esp(choice).find(|it| !is_remains(it)) {
            refusals.push(choice.refuse(
                format!(
                    "its EFI system partition carries something else: {}",
                    content::line(other)
                ),
                "save what is on it and erase that partition with `wipefs`",
            ));
        }
    }
    let gone = |choice: &&Choice<'a>| on_esp(choice).any(|found| found.kind == kind::UNKNOWN);
    let destroys = disks.iter().copied().filter(gone).map(|choice| Destroyed {
        role: choice.role.to_owned(),
        id: choice.disk.id.clone(),
        content: on_esp(choice).map(content::line).collect(),
    });
    let destroys = destroys.collect();
    Some(Repair { disks, destroys })
}

/// Whether a copy of the EFI system partition is on the disk, as this host made it.
fn has_copy(host: &HostFile, choice: &Choice<'_>) -> bool {
    let is_ours = |found: &Signature| {
        let uuid = found.uuid.as_deref().unwrap_or_default();
        found.kind == "gpt" && epoch_of(host.host.id, Purpose::GptDisk, choice.role, uuid).is_some()
    };
    matches!(choice.part, Part::Mirror | Part::MirrorMember)
        && choice.facts.signatures.iter().any(is_ours)
}

fn on_esp<'c>(choice: &'c Choice<'_>) -> impl Iterator<Item = &'c Signature> {
    let esp = choice.part.esp();
    choice
        .facts
        .signatures
        .iter()
        .filter(move |found| found.partition.is_some() && found.partition == esp)
}

/// Whether it is an EFI system partition, or what may be left of one.
fn is_remains(found: &Signature) -> bool {
    ["vfat", kind::UNKNOWN, kind::UNFINISHED].contains(&found.kind.as_str())
}

fn lines(choice: &Choice<'_>) -> String {
    content::lines(choice.facts).join("; ")
}

/// The steps, in order.
pub(super) fn steps(host: &HostFile, chosen: &[Choice<'_>], repair: &Repair<'_, '_>) -> Vec<Step> {
    let roles = repair.disks.iter().map(|choice| choice.role.to_owned()).collect();
    let mut steps = vec![Step::CheckDisks { roles }];
    steps.extend(steps::stick(host, true));
    steps.extend(
        repair
            .disks
            .iter()
            .filter(|choice| may_be_made(host, choice))
            .filter_map(|choice| steps::esp(host, choice)),
    );
    steps.extend(repair.disks.iter().find_map(|choice| open(host, choice)));
    let (esp, mirror) = steps::boot_partitions(host, chosen);
    let mirror = mirror.filter(|mirror| repair.disks.iter().any(|it| *it.role == mirror.role));
    let is_pool = |mount: &Mount| matches!(mount.source, MountSource::Pool { .. });
    let mut mounts = steps::mounts(host, &esp, mirror.as_ref());
    mounts.retain(|mount| !is_pool(mount));
    steps.push(Step::Mount { mounts });
    steps.extend([Step::FindSystem, Step::Activate]);
    steps.push(Step::WriteBootEntry { esp, mirror });
    steps.push(Step::Finish);
    steps
}

/// Whether the file system is made where none can be read. One that its owner made is taken as it is.
fn may_be_made(host: &HostFile, choice: &Choice<'_>) -> bool {
    let id = shown_volume_id(esp_volume_id(derive(host.host.id, Purpose::GptEsp, choice.role, 0)));
    let is_ours =
        |found: &Signature| found.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(&id));
    on_esp(choice).filter(|found| found.kind == "vfat").all(is_ours)
}

fn open(host: &HostFile, choice: &Choice<'_>) -> Option<Step> {
    let (partition, uuid) = kept::volume(host, choice.role, choice.facts)?;
    let mapper = mapper_name(choice.role);
    (choice.part == Part::Os).then(|| Step::OpenSystem {
        role: choice.role.to_owned(),
        partition,
        uuid,
        mapper,
    })
}
