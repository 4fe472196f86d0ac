//! The table of claims.

use crate::claims::Verdict;

/// The table: each claim, what was seen, whether it holds.
pub fn render(verdicts: &[Verdict]) -> String {
    let width = |verdict: &Verdict| verdict.claim.sentence().chars().count();
    let widest = verdicts.iter().map(width).max().unwrap_or(0);
    let line = |verdict: &Verdict| {
        let mark = if verdict.holds { '✓' } else { '✗' };
        format!("{mark} {:widest$}  {}\n", verdict.claim.sentence(), verdict.seen)
    };
    verdicts.iter().map(line).collect()
}

/// The claims that do not hold.
pub fn failed(verdicts: &[Verdict]) -> Vec<&Verdict> {
    verdicts.iter().filter(|verdict| !verdict.holds).collect()
}
