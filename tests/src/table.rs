//! The table of claims.

use crate::claims::{Statement, Verdict};

/// The table: each claim, what was seen, whether it holds.
pub fn render<C: Statement>(verdicts: &[Verdict<C>]) -> String {
    let width = |verdict: &Verdict<C>| verdict.claim.sentence().chars().count();
    let widest = verdicts.iter().map(width).max().unwrap_or(0);
    let line = |verdict: &Verdict<C>| {
        let mark = if verdict.holds { '✓' } else { '✗' };
        format!("{mark} {:widest$}  {}\n", verdict.claim.sentence(), verdict.seen)
    };
    verdicts.iter().map(line).collect()
}

/// The claims that do not hold.
pub fn failed<C>(verdicts: &[Verdict<C>]) -> Vec<&Verdict<C>> {
    verdicts.iter().filter(|verdict| !verdict.holds).collect()
}
