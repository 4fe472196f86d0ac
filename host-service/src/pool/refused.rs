//! Why a pool is not mounted by itself, and the one command that goes on all the same.

use std::collections::BTreeSet;

use bedplate_model::host::{HostFile, Pool};
use bedplate_model::name::Role;
use bedplate_planner::pool_history::{Mark, Refusal, Side};

use super::history::{wanted, when};

/// For people: what is known, what to plug in, and what to type when that is lost.
pub(super) fn why(
    host: &HostFile,
    pool: &Pool,
    name: &str,
    refusal: &Refusal,
    lacking: &[String],
) -> String {
    let lacking =
        if lacking.is_empty() { "no role of host.toml".into() } else { lacking.join("; ") };
    let again = format!("then run `bedplate-host pool open {name}`");
    match refusal {
        Refusal::Behind { present, newest } => {
            let here = list(present);
            let (since, plug) = match newest {
                Some(mark) => (format!(" ({})", when(mark)), named(&wanted(host, pool, mark))),
                None => (String::new(), lacking),
            };
            format!(
                "what is plugged in ({here}) was left behind: the pool was written to without it{since}. \
                 Plug in what has everything, {plug}, {again}. Only when that is lost for good: \
                 `bedplate-host pool open {name} --give-up-newer` goes on with the older data that is here"
            )
        }
        Refusal::NoProof { present } => format!(
            "nothing proves that {} has everything: this system has no record of the pool, and a member is \
             missing that may have been written to alone. Lacking: {lacking}. Plug it in, {again}. Only when \
             it is lost for good: `bedplate-host pool open {name} --give-up-newer` goes on with what is here",
            list(present)
        ),
        Refusal::TwoHistories { sides } => {
            let sides: Vec<String> = sides.iter().map(|side| described(host, pool, side)).collect();
            format!(
                "there are {} histories of it, each written without the others: {}. Unplug the disks of all but \
                 one to look at that one, or run `bedplate-host pool open {name} --keep ROLE` with a role of the \
                 one to keep: it gives up what only the others hold, which are then written over",
                sides.len(),
                sides.join("; ")
            )
        }
        Refusal::TooFew { .. } => format!("too few members are there; lacking: {lacking}"),
    }
}

fn described(host: &HostFile, pool: &Pool, side: &Side) -> String {
    let who = if side.roles.is_empty() {
        let plug = side.mark.as_ref().map(|mark| named(&wanted(host, pool, mark)));
        format!("one on disks that are not here, {}", plug.unwrap_or_default())
    } else {
        format!("one on {}", list(&side.roles))
    };
    let since = side.mark.as_ref().map(|mark: &Mark| format!(", written alone {}", when(mark)));
    let generation = match side.generation {
        0 => String::new(),
        generation => format!(", generation {generation}"),
    };
    format!("{who}{}{generation}", since.unwrap_or_default())
}

fn list(roles: &BTreeSet<Role>) -> String {
    roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ")
}

fn named(roles: &[String]) -> String {
    if roles.is_empty() {
        "a disk that host.toml no longer names".into()
    } else {
        roles.join(" and ")
    }
}
