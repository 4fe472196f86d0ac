//! The table of claims.

use crate::claims::{Judgement, Statement, Verdict};

/// The table: each claim, what was seen, whether it holds.
pub fn render<C: Statement>(verdicts: &[Verdict<C>]) -> String {
    let width = |verdict: &Verdict<C>| verdict.claim.sentence().chars().count();
    let widest = verdicts.iter().map(width).max().unwrap_or(0);
    let line = |verdict: &Verdict<C>| {
        let mark = match verdict.judgement {
            Judgement::Holds => '✓',
            Judgement::Fails => '✗',
            Judgement::NotInTime => '?',
        };
        format!("{mark} {:widest$}  {}\n", verdict.claim.sentence(), verdict.seen)
    };
    verdicts.iter().map(line).collect()
}

/// The claims that do not hold, or of which nothing was seen in time.
pub fn failed<C>(verdicts: &[Verdict<C>]) -> Vec<&Verdict<C>> {
    verdicts.iter().filter(|verdict| verdict.judgement != Judgement::Holds).collect()
}

/// The claims alone, with what was seen only where one does not hold: for a screen.
pub fn brief<C: Statement>(verdicts: &[Verdict<C>]) -> String {
    let line = |verdict: &Verdict<C>| match verdict.judgement {
        Judgement::Holds => format!("✓ {}\n", verdict.claim.sentence()),
        Judgement::Fails => format!("✗ {}: {}\n", verdict.claim.sentence(), verdict.seen),
        Judgement::NotInTime => format!("? {}: {}\n", verdict.claim.sentence(), verdict.seen),
    };
    verdicts.iter().map(line).collect()
}
