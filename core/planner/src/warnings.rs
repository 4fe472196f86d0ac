//! What is no reason to refuse, and what whoever agrees to a plan should know.

use super::choose::{Choice, Part};
use super::fitness;
use super::kept;
use super::naming::described;
use super::twins::{one_device, same};
use bedplate_model::facts::{DiskFacts, kind};
use bedplate_model::host::{HostFile, Pool};
use bedplate_model::name::Role;
use bedplate_model::size;

/// So much of a pool may lack a second place without a word: members of one size differ by less.
const TOLERATED: u64 = 100;

pub(super) fn of(host: &HostFile, chosen: &[Choice<'_>]) -> Vec<String> {
    let made = host.pools.iter().filter(|(_, pool)| !kept::is_kept(host, pool));
    let of_pools = made.flat_map(|(name, pool)| {
        let members: Vec<&Choice<'_>> = members(pool, chosen);
        unequal(name, &members).into_iter().chain(one_place(&format!("pool `{name}`"), &members))
    });
    let copies = |choice: &&Choice<'_>| choice.part != Part::Member;
    let esps: Vec<&Choice<'_>> = chosen.iter().filter(copies).collect();
    let broken = broken_headers(chosen.iter().map(|choice| (choice.role, choice.facts)));
    of_pools
        .chain(one_place("copies of the ESP", &esps))
        .chain(networked(chosen))
        .chain(broken)
        .collect()
}

/// What whoever changes a pool of the running machine should know of it as it will be.
pub(super) fn of_pool(name: &str, members: &[Choice<'_>]) -> Vec<String> {
    let all: Vec<&Choice<'_>> = members.iter().collect();
    unequal(name, &all)
        .into_iter()
        .chain(one_place(&format!("pool `{name}`"), &all))
        .chain(networked(members))
        .collect()
}

/// Headers of finished volumes that have one copy left. They are not mended in silence: the first
/// broken sector of a disk is seldom the last.
pub(super) fn broken_headers<'a>(
    disks: impl Iterator<Item = (&'a Role, &'a DiskFacts)>,
) -> Vec<String> {
    let told = |(role, disk): (&Role, &DiskFacts)| {
        let is_sealed = disk.bedplate.as_ref().is_some_and(|found| found.sealed);
        let which = ["primary", "secondary"].into_iter().find(|which| {
            let wanted = kind::broken_copy(which);
            is_sealed && disk.signatures.iter().any(|found| found.kind == wanted)
        })?;
        Some(format!(
            "{role}: the {which} copy of its LUKS header is broken, the other one is whole. Look \
             at the disk's health; `cryptsetup repair` writes the broken copy anew from the whole \
             one, as opening the volume does"
        ))
    };
    disks.filter_map(told).collect()
}

fn members<'c, 'a>(pool: &Pool, chosen: &'c [Choice<'a>]) -> Vec<&'c Choice<'a>> {
    chosen.iter().filter(|choice| pool.disks.iter().any(|role| role == choice.role)).collect()
}

/// What the largest member has beyond all others together gets no second copy.
fn unequal(name: &str, members: &[&Choice<'_>]) -> Option<String> {
    let largest = members.iter().max_by_key(|member| member.facts.size)?;
    let sizes = members.iter().map(|member| member.facts.size);
    let all = sizes.fold(0_u64, u64::saturating_add);
    let others = all.saturating_sub(largest.facts.size);
    let lost = largest.facts.size.saturating_sub(others);
    (lost > largest.facts.size / TOLERATED).then(|| {
        format!(
            "pool `{name}`: {} of {} ({}) are never used: the other disks have no room for the copy",
            size::show(lost),
            largest.role,
            largest.disk.id
        )
    })
}

/// Two copies on one device are lost together.
fn one_place(what: &str, parts: &[&Choice<'_>]) -> Option<String> {
    let pairs = parts
        .iter()
        .enumerate()
        .flat_map(|(index, second)| parts[..index].iter().map(move |first| (first, second)));
    let mut shared = pairs.filter(|(first, second)| {
        one_device(first.facts, second.facts) && !same(first.facts, second.facts)
    });
    shared.next().map(|(first, second)| {
        format!(
            "{what}: {} and {} are parts of one device and are lost together: {}, {}",
            first.role,
            second.role,
            described(first.facts),
            described(second.facts)
        )
    })
}

/// Nothing in the installed system looks for disks on the network by itself.
fn networked(chosen: &[Choice<'_>]) -> impl Iterator<Item = String> {
    chosen.iter().filter(|choice| choice.part == Part::Member).filter_map(|choice| {
        let network = fitness::network(choice.facts)?;
        Some(format!(
            "{} ({}) is reached over the network ({network}): the pool opens only once it is there",
            choice.role, choice.disk.id
        ))
    })
}
