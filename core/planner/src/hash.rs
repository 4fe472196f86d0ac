//! The plan hash: what must be the same for two plans to be one.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::choose::Choice;
use super::content::{Content, content};
use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::name::PlanHash;

/// What of a disk the hash covers; never its kernel name, sequence number or place in the facts.
#[derive(Serialize)]
struct Identity<'a> {
    role: &'a str,
    id: &'a str,
    serial: Option<&'a str>,
    wwn: Option<&'a str>,
    size: u64,
    sector_size: u32,
    /// Kinds of content that is not ours. Work of an interrupted installation counts as
    /// none, so that a second run has the hash of the first.
    content: Vec<&'a str>,
}

#[derive(Serialize)]
struct Hashed<'a> {
    host: HostFile,
    disks: Vec<Identity<'a>>,
}

/// Lower-case hexadecimal SHA-256 over the normalised document and the disks' identities.
///
/// Left out are `install.expect_plan`, which holds the hash, and `wipe` but for `never`: it permits
/// and does not change the plan, so that an interrupted run can be finished by allowing it.
pub(super) fn of(host: &HostFile, chosen: &[Choice<'_>]) -> PlanHash {
    let contents: Vec<Content<'_>> = chosen
        .iter()
        .map(|choice| content(choice.facts, host.host.id, choice.role, choice.part))
        .collect();
    let before_sealing = digest(host, chosen, |content| match content {
        Content::Foreign => Counted::Signatures,
        Content::Blank | Content::Unfinished(_) | Content::Finished(_) => Counted::Nothing,
    });
    if contents.iter().any(|content| content.is_begun_as(Some(&before_sealing))) {
        return before_sealing;
    }
    digest(host, chosen, |content| match content {
        Content::Foreign => Counted::Signatures,
        Content::Finished(_) => Counted::Finished,
        Content::Blank | Content::Unfinished(_) => Counted::Nothing,
    })
}

/// How the content of a disk enters the hash.
enum Counted {
    Nothing,
    Finished,
    Signatures,
}

fn digest(host: &HostFile, chosen: &[Choice<'_>], counted: fn(Content<'_>) -> Counted) -> PlanHash {
    let mut document = host.clone();
    document.install.expect_plan = None;
    // To keep a disk is another plan; the other policies only permit.
    for disk in document.disks.values_mut().filter(|disk| disk.wipe != Wipe::Never) {
        disk.wipe = Wipe::Blank;
    }
    let identity = |choice| identity(host, choice, counted);
    let mut disks: Vec<Identity<'_>> = chosen.iter().map(identity).collect();
    disks.sort_unstable_by_key(|disk| disk.role);
    // Serialising these types cannot fail: every map has string keys.
    let bytes = serde_json::to_vec(&Hashed { host: document, disks }).unwrap_or_default();
    PlanHash::of(Sha256::digest(&bytes).into())
}

fn identity<'a>(
    host: &HostFile,
    choice: &Choice<'a>,
    counted: fn(Content<'_>) -> Counted,
) -> Identity<'a> {
    let facts = choice.facts;
    let mut kinds: Vec<&str> = match counted(content(facts, host.host.id, choice.role, choice.part))
    {
        _ if choice.kept() => Vec::new(),
        Counted::Nothing => Vec::new(),
        Counted::Finished => vec!["finished installation"],
        Counted::Signatures => {
            facts.signatures.iter().map(|signature| signature.kind.as_str()).collect()
        }
    };
    kinds.sort_unstable();
    kinds.dedup();
    Identity {
        role: choice.role,
        id: &choice.disk.id,
        serial: facts.serial.as_deref(),
        wwn: facts.wwn.as_deref(),
        size: facts.size,
        sector_size: facts.sector_size,
        content: kinds,
    }
}
