//! Planning: a validated document and facts in, a plan or every refusal out.
//!
//! Pure and deterministic: the same machine with its disks enumerated in another order
//! gives the same plan, byte for byte.

mod choose;
mod content;
mod date;
mod finished;
mod fitness;
mod geometry;
mod hash;
mod kept;
mod member;
mod missing;
mod naming;
mod network;
pub mod pool_history;
mod refusal;
mod repair;
mod repository;
mod sections;
mod steps;
mod sticks;
mod twins;
mod warnings;

pub use finished::{is_finished, warnings_of_finished};
pub use member::{
    Leaving, MemberPlan, MemberRequest, MemberStep, MemberTask, Owner, PoolFacts, plan_member,
};
pub use naming::best as best_name;
pub use refusal::{PlanError, Refusal};
pub use sticks::stick_fault;

use bedplate_events::shown::shown;
use bedplate_model::facts::{Facts, FirmwareKind};
use bedplate_model::host::HostFile;
use bedplate_model::plan::{DiskTarget, Plan};

/// The schema of [`Facts`] and [`Plan`] that this version reads and writes.
pub const SCHEMA: u32 = 1;

/// What the medium and the systems on it run on, as Nix names it.
const PLATFORM: &str = "x86_64-linux";

/// Plans the installation of `host` on the machine that `facts` describe.
pub fn plan(host: &HostFile, facts: &Facts) -> Result<Plan, PlanError> {
    let mut refusals = machine(facts);
    let chosen = choose::disks(host, facts, &mut refusals);
    choose::distinct(&chosen, host, facts, &mut refusals);
    fitness::disks(&chosen, host, facts, &mut refusals);
    let hash = (chosen.len() == host.disks.len()).then(|| hash::of(host, &chosen));
    let repair = repair::needed(host, &chosen, &mut refusals);
    let verdict = match &repair {
        Some(repair) => content::Verdict {
            destroys: repair.destroys.clone(),
            resume: repair.disks.iter().map(|choice| choice.role).collect(),
        },
        None => content::judge(&chosen, host, facts, hash.as_deref(), &mut refusals),
    };
    if let (Some(expected), Some(hash)) = (&host.install.expect_plan, &hash)
        && expected != hash
    {
        refusals.push(Refusal::machine(
            format!("the plan's hash is {hash}, but `install.expect_plan` asks for {expected}"),
            "look at the plan again; write its hash, or remove `install.expect_plan`",
        ));
    }
    network::nics(host, facts, &mut refusals);
    let fetch = repository::step(host, facts, &mut refusals);
    let hash = match hash {
        Some(hash) if refusals.is_empty() => hash,
        _ => return Err(PlanError::new(refusals)),
    };
    let target = |choice: &choose::Choice<'_>| DiskTarget {
        role: choice.role.to_owned(),
        id: choice.disk.id.clone(),
        serial: choice.facts.serial.clone(),
        wwn: choice.facts.wwn.clone(),
        size: choice.facts.size,
        sector_size: choice.facts.sector_size,
        diskseq: choice.facts.diskseq,
        resume: verdict.resume.contains(choice.role),
        sealed: verdict.resume.contains(choice.role)
            && choice.facts.bedplate.as_ref().is_some_and(|found| found.sealed),
        discard: choice.disk.media == bedplate_model::host::Media::Ssd,
    };
    Ok(Plan {
        schema: SCHEMA,
        hash,
        host_id: host.host.id,
        host_name: host.host.name.clone(),
        sections: sections::of(host),
        destroys: verdict.destroys,
        disks: match &repair {
            Some(repair) => repair.disks.iter().copied().map(target).collect(),
            None => chosen.iter().map(target).collect(),
        },
        steps: match &repair {
            Some(repair) => repair::steps(host, &chosen, repair),
            None => steps::of(host, facts, &chosen, fetch),
        },
        then: host.install.then,
        exports: host.nfs.exports.clone(),
        warnings: warnings::of(host, &chosen),
    })
}

fn machine(facts: &Facts) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if facts.schema != SCHEMA {
        refusals.push(Refusal::machine(
            format!("the facts have schema {}, this version reads {SCHEMA}", facts.schema),
            "take the inventory again with this version",
        ));
    }
    if facts.firmware == FirmwareKind::Bios {
        refusals.push(Refusal::machine(
            "the machine was booted in BIOS mode; the boot loader needs UEFI".into(),
            "switch the firmware to UEFI and boot the medium again",
        ));
    }
    if facts.firmware_bits == Some(32) {
        refusals.push(Refusal::machine(
            "the machine has 32-bit UEFI; the boot loader and the system are 64-bit".into(),
            "boot it by 64-bit UEFI, if its firmware can, or take another machine",
        ));
    }
    if let Some(other) = facts.platform.as_deref().filter(|platform| *platform != PLATFORM) {
        refusals.push(Refusal::machine(
            format!("the machine is {}; the system is built for {PLATFORM}", shown(other)),
            "take a machine with a 64-bit processor of Intel or AMD",
        ));
    }
    refusals
}
