//! What stands on the disks, and whether it may be destroyed (T06, T07).

use std::collections::BTreeSet;

use uuid::Uuid;

use super::choose::{Choice, Part, shown};
use super::refusal::Refusal;
use super::{date, kept, missing, sections};
use bedplate_model::facts::{DiskFacts, Facts, Signature, TokenFacts, kind};
use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::name::Role;
use bedplate_model::plan::Destroyed;
use bedplate_model::size;

/// What the plan may do with the content of the disks.
#[derive(Debug, Default)]
pub(super) struct Verdict<'a> {
    /// What is destroyed.
    pub(super) destroys: Vec<Destroyed>,
    /// Roles whose unfinished installation is finished.
    pub(super) resume: BTreeSet<&'a Role>,
}

/// What stands on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Blank: no signature was found on it.
    Blank,
    /// The work of an installation that was interrupted, once a header was made.
    Unfinished(Option<&'a TokenFacts>),
    /// A finished installation.
    Finished(&'a TokenFacts),
    /// Anything else.
    Foreign,
}

impl Content<'_> {
    /// Whether it is the work of the plan of this hash, cut off.
    pub(super) fn is_begun_as(&self, hash: Option<&str>) -> bool {
        matches!(self, Content::Unfinished(Some(found)) if Some(found.plan.as_str()) == hash)
    }
}

/// What stands on `disk`, when its role is `role` of host `host`.
pub(super) fn content<'a>(disk: &'a DiskFacts, host: Uuid, role: &Role, part: Part) -> Content<'a> {
    let partitions = part.luks().or(part.esp()).unwrap_or(0);
    let within =
        |signature: &Signature| signature.partition.is_none_or(|number| number <= partitions);
    match &disk.bedplate {
        // The boot entry is written after the seal: a cut between the two left nothing finished.
        Some(found) if found.sealed && !(part == Part::Os && found.boots == Some(false)) => {
            Content::Finished(found)
        }
        Some(found) if disk.signatures.iter().all(within) => Content::Unfinished(Some(found)),
        Some(_) => Content::Foreign,
        None if disk.signatures.is_empty() => Content::Blank,
        None if is_torn(&disk.signatures, host, role, part) => Content::Unfinished(None),
        None => Content::Foreign,
    }
}

/// Whether the signatures are those of an installation cut off before its header was complete:
/// the table is one that only this host and role can have, and beside it stands nothing but what
/// such a run leaves. A header counts only where it was seen that no key opens it.
fn is_torn(signatures: &[Signature], host: Uuid, role: &Role, part: Part) -> bool {
    let carries = |signature: &Signature, purpose| {
        let wanted = derive(host, purpose, role, 0).to_string();
        signature.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(&wanted))
    };
    let is_label = |found: &Signature| {
        found.partition.is_none()
            && matches!(found.kind.as_str(), "gpt" | kind::UNFINISHED)
            && carries(found, Purpose::GptDisk)
    };
    let is_volume = |found: &Signature| found.partition.is_some() && found.partition == part.luks();
    let is_esp = |found: &Signature| found.partition.is_some() && found.partition == part.esp();
    let torn = signatures.iter().any(|found| is_volume(found) && found.kind == kind::TORN_HEADER);
    signatures.iter().any(is_label)
        && signatures.iter().all(|found| match found.kind.as_str() {
            "gpt" => is_label(found),
            kind::UNFINISHED => is_label(found) || is_esp(found),
            "PMBR" | "dos" | kind::UNSEEN_TABLE => found.partition.is_none(),
            "vfat" => is_esp(found),
            LUKS => torn && is_volume(found) && carries(found, Purpose::Luks),
            kind::TORN_HEADER => is_volume(found),
            // One copy is written after the other.
            one if kind::is_broken_copy(one) => torn && is_volume(found),
            // Random bytes come before the header, and tables before the first sector.
            kind::UNKNOWN => is_volume(found) || is_esp(found),
            _ => false,
        })
}

/// What libblkid calls a LUKS volume.
const LUKS: &str = "crypto_LUKS";

/// Whether what may have been a volume stands on a disk: whoever has it formatted is told.
pub(super) fn holds_volume(disk: &DiskFacts) -> bool {
    let volumes = [LUKS, kind::TORN_HEADER, kind::UNKNOWN];
    disk.signatures.iter().any(|found| volumes.contains(&found.kind.as_str()))
}

/// Judges every disk by its `wipe`. Without a hash (a disk is missing) unfinished work is passed over.
pub(super) fn judge<'a>(
    chosen: &[Choice<'a>],
    host: &HostFile,
    facts: &Facts,
    hash: Option<&str>,
    refusals: &mut Vec<Refusal>,
) -> Verdict<'a> {
    let contents: Vec<Content<'a>> = chosen
        .iter()
        .map(|choice| content(choice.facts, host.host.id, choice.role, choice.part))
        .collect();
    // Sealing goes disk by disk: beside an unfinished disk of the same plan, a sealed one is unfinished too.
    let sealing = contents.iter().any(|content| content.is_begun_as(hash));
    let lacking = |choice: &Choice<'_>, content| match content {
        Content::Finished(_) => None,
        _ => kept::finished_pool(host, facts, choice.role),
    };
    let mut verdict = Verdict::default();
    for (choice, content) in chosen.iter().zip(contents) {
        let ours = match content {
            Content::Unfinished(found) => found.is_none() || content.is_begun_as(hash),
            Content::Finished(found) => sealing && Some(found.plan.as_str()) == hash,
            Content::Blank | Content::Foreign => false,
        };
        match choice.disk.wipe {
            Wipe::Never if kept::volume(host, choice.role, choice.facts).is_some() => {}
            Wipe::Never | Wipe::Blank | Wipe::Ours
                if !ours && let Some(pool) = lacking(choice, content) =>
            {
                refusals.push(pool_lacks(choice, content, pool, host, facts));
            }
            Wipe::Never => refusals.push(not_kept(choice, content, host, facts)),
            _ if content == Content::Blank => {}
            Wipe::Blank | Wipe::Ours
                if content == Content::Unfinished(None)
                    && let Some(other) = sealed_beside(choice, chosen, host) =>
            {
                refusals.push(lost_header(choice, other));
            }
            Wipe::Ours | Wipe::Any if ours => {
                verdict.resume.insert(choice.role);
                if content == Content::Unfinished(None) && holds_volume(choice.facts) {
                    verdict.destroys.push(destroyed(choice));
                }
            }
            Wipe::Any => verdict.destroys.push(destroyed(choice)),
            Wipe::Blank | Wipe::Ours if hash.is_none() && content != Content::Foreign => {}
            Wipe::Blank | Wipe::Ours => refusals.push(refusal(host, choice, content, ours)),
        }
    }
    verdict
}

fn destroyed(choice: &Choice<'_>) -> Destroyed {
    Destroyed {
        role: choice.role.to_owned(),
        id: choice.disk.id.clone(),
        content: lines(choice.facts),
    }
}

/// Another disk with the finished volume of its role, which the document does not give up. Headers
/// are whole and open long before the first of them is sealed: what is torn beside it was lost, and
/// was never unfinished.
fn sealed_beside<'c, 'a>(
    choice: &Choice<'_>,
    chosen: &'c [Choice<'a>],
    host: &HostFile,
) -> Option<&'c Choice<'a>> {
    chosen.iter().find(|other| {
        other.role != choice.role
            && !matches!(other.disk.wipe, Wipe::Never | Wipe::Any)
            && kept::volume(host, other.role, other.facts).is_some()
    })
}

fn lost_header(choice: &Choice<'_>, other: &Choice<'_>) -> Refusal {
    let found = lines(choice.facts).join("; ");
    choice.refuse(
        format!(
            "no whole LUKS header stands on it, beside the finished volume of {} ({}): {found}",
            other.role, other.disk.id
        ),
        restore(choice.role),
    )
}

/// What to do about a header of which no copy is whole. Where the key stick keeps its copy is said by
/// `bedplate_keystick::layout`, too.
fn restore(role: &Role) -> String {
    format!(
        "put the header back with `cryptsetup luksHeaderRestore`: a copy is on the key stick, \
         bedplate/headers/{role}.img.zst; only `wipe = \"any\"` formats it"
    )
}

/// A finished pool is never completed by an installation: its data would be gone.
fn pool_lacks(
    choice: &Choice<'_>,
    content: Content<'_>,
    pool: &str,
    host: &HostFile,
    facts: &Facts,
) -> Refusal {
    let found = found_on(choice, content);
    let help = if of_other_sectors(choice.facts) {
        AS_BEFORE.to_owned()
    } else if let Some((message, help)) = missing::renamed(choice.role, host, facts) {
        format!("{message}; {help}")
    } else {
        format!(
            "boot the installed system; `bedplate-host pool replace` gives `{pool}` a new member"
        )
    };
    choice.refuse(format!("the finished pool `{pool}` lacks this member: {found}"), help)
}

fn not_kept(choice: &Choice<'_>, content: Content<'_>, host: &HostFile, facts: &Facts) -> Refusal {
    let found = found_on(choice, content);
    let others = host.disks.keys().filter(|role| *role != choice.role);
    let mut of_others = others.filter(|role| kept::volume(host, role, choice.facts).is_some());
    let whose = match of_others.next() {
        Some(other) => format!("the finished volume of `{other}` stands on it"),
        None => "there is nothing to keep: no finished volume of this host and role".to_owned(),
    };
    let help = if of_other_sectors(choice.facts) {
        AS_BEFORE.to_owned()
    } else if let Some((message, help)) = missing::renamed(choice.role, host, facts) {
        format!("{message}; {help}")
    } else {
        "correct `host.id` or the disk's `id`; only another `wipe` writes to the disk".to_owned()
    };
    choice.refuse(format!("{whose}: {found}"), help)
}

/// What to do with a disk whose table cannot be read the way it is connected now.
const AS_BEFORE: &str = "connect the disk as it was before (without the enclosure or adapter, or \
                         with the one it had): what is on it can be read there, and only there";

/// Whether a partition table was written for sectors of another size: only the first sector, with
/// the MBR that protects it, lies where it is looked for (T08).
fn of_other_sectors(disk: &DiskFacts) -> bool {
    let whole = |kind: &str| {
        disk.signatures.iter().any(|found| found.partition.is_none() && found.kind == kind)
    };
    whole("PMBR") && !whole("gpt")
}

fn found_on(choice: &Choice<'_>, content: Content<'_>) -> String {
    let lines = lines(choice.facts).join("; ");
    match content {
        Content::Blank => "it is blank".to_owned(),
        _ if of_other_sectors(choice.facts) => {
            let size = choice.facts.sector_size;
            format!(
                "{lines}; a partition table was written for other sectors than those of {size} \
                 bytes that the disk shows now"
            )
        }
        _ => lines,
    }
}

fn refusal(host: &HostFile, choice: &Choice<'_>, content: Content<'_>, ours: bool) -> Refusal {
    let found = found_on(choice, content);
    match content {
        Content::Finished(_) if !ours => choice.refuse(
            format!("a finished installation stands on it: {found}"),
            "boot it; only `wipe = \"any\"` destroys it",
        ),
        Content::Finished(_) | Content::Unfinished(_) if ours => choice.refuse(
            format!("an unfinished installation of this same plan stands on it: {found}"),
            "write `wipe = \"ours\"` to finish it",
        ),
        // A disk of the machine is not there, or not finished: then its own entry is no help.
        Content::Unfinished(Some(begun)) if begun.sealed => choice.refuse(
            format!("a finished installation that does not boot stands on it: {found}"),
            "use the host.toml it was made with, and connect every disk of it: then its boot entry \
             is repaired, and nothing else is written; only `wipe = \"any\"` destroys it",
        ),
        Content::Unfinished(begun) => choice.refuse(
            format!(
                "an unfinished installation of another plan ({}) stands on it: {found}{}",
                begun.map_or_else(|| "unknown".to_owned(), |begun| short(&begun.plan)),
                begun.map_or_else(String::new, |begun| difference(host, begun))
            ),
            "use the host.toml it was begun with; only `wipe = \"any\"` begins anew",
        ),
        Content::Blank | Content::Foreign | Content::Finished(_) => {
            choice.refuse(format!("the disk is not blank: {found}"), clear(host, choice))
        }
    }
}

/// What to do about content that nobody has agreed to lose.
fn clear(host: &HostFile, choice: &Choice<'_>) -> String {
    let has = |kinds: &[&str]| {
        choice.facts.signatures.iter().any(|found| kinds.contains(&found.kind.as_str()))
    };
    let label = derive(host.host.id, Purpose::GptDisk, choice.role, 0).to_string();
    let is_ours = choice
        .facts
        .signatures
        .iter()
        .any(|found| found.uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(&label)));
    if has(&[kind::UNREADABLE]) {
        "what cannot be read may be data: look at its cable and at its health (`smartctl -a`), and \
         save what is on it; only `wipe = \"any\"` destroys it"
            .to_owned()
    } else if is_ours && has(&[kind::TORN_HEADER, kind::BOOT_ENTRY]) {
        restore(choice.role)
    } else if has(&[kind::UNKNOWN]) {
        "it may be encrypted without a header, or a file system that is not known here: save what is \
         on it; only `wipe = \"any\"` destroys it"
            .to_owned()
    } else {
        "save what is on it and erase it with `wipefs`; only `wipe = \"any\"` destroys it"
            .to_owned()
    }
}

/// In what the document differs from the one an installation was begun with.
fn difference(host: &HostFile, begun: &TokenFacts) -> String {
    if begun.sections.is_empty() {
        return String::new();
    }
    let differing = sections::differing(&sections::of(host), &begun.sections);
    if differing.is_empty() {
        "; host.toml is the same, the disks or what stands on them are not".into()
    } else {
        format!("; host.toml has changed since in: {}", differing.join(", "))
    }
}

/// The content of a disk, one line each.
pub(super) fn lines(disk: &DiskFacts) -> Vec<String> {
    let mut signatures: Vec<&Signature> = disk.signatures.iter().collect();
    signatures.sort_unstable();
    let ours = disk.bedplate.as_ref().map(|found| {
        let plan = short(&found.plan);
        match (found.sealed, found.sealed_at) {
            (false, _) => format!("unfinished installation of plan {plan}"),
            (true, None) => format!("finished installation of plan {plan}"),
            (true, Some(at)) => {
                format!("finished installation of plan {plan}, sealed on {}", date::of(at))
            }
        }
    });
    let more = signatures.len().saturating_sub(MOST_LINES);
    let more = (more > 0).then(|| format!("and {more} more"));
    let found = signatures.into_iter().take(MOST_LINES).map(line);
    ours.into_iter().chain(found).chain(more).collect()
}

/// So much of what stands on one disk is told.
const MOST_LINES: usize = 40;

pub(super) fn line(signature: &Signature) -> String {
    let label = signature.label.as_ref().map(|label| format!(" \"{}\"", shown(label)));
    let place = match signature.partition {
        Some(number) => format!("partition {number}"),
        None => "the whole disk".to_owned(),
    };
    let kind = shown(&signature.kind);
    format!("{kind}{} on {place}, {}", label.unwrap_or_default(), size::show(signature.size))
}

fn short(hash: &str) -> String {
    shown(&hash.chars().take(12).collect::<String>())
}
