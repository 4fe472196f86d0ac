//! Whether claims can fail: evidence is broken for one after the other.

use std::fmt::Debug;

use crate::claims::{Statement, Verdict};
use crate::evidence::Evidence;
use crate::table;

/// Whether every claim holds on `sound`, and each fails alone where `falsify` has broken what it
/// rests on, and the table says so; the first that does not.
pub fn each_fails_alone<C: Statement + Debug + PartialEq>(
    all: &[C],
    sound: impl Fn() -> Evidence,
    falsify: impl Fn(C, &mut Evidence),
    judge: impl Fn(&Evidence) -> Vec<Verdict<C>>,
) -> Result<(), String> {
    let whole = judge(&sound());
    let judged: Vec<C> = whole.iter().map(|verdict| verdict.claim).collect();
    if !table::failed(&whole).is_empty() || judged != all {
        return Err(format!("on sound evidence:\n{}", table::render(&whole)));
    }
    for claim in all {
        let mut evidence = sound();
        falsify(*claim, &mut evidence);
        let verdicts = judge(&evidence);
        let failed: Vec<C> = table::failed(&verdicts).iter().map(|one| one.claim).collect();
        let table = table::render(&verdicts);
        let line = table.lines().find(|line| line.starts_with('✗')).unwrap_or_default();
        if failed != [*claim] || !line.contains(claim.sentence()) {
            return Err(format!("{claim:?} was broken, {failed:?} failed:\n{table}"));
        }
    }
    Ok(())
}
