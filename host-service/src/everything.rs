//! Everything of a host that is compared with `host.toml`: one list, so that nothing is shown and never told, or
//! told and never shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bedplate_engine::in_time::{Asked, ask};
use bedplate_resources::context::Context;
use bedplate_resources::status::Status;

use crate::{converge, firewall, handoff, lab, notify, pool, wear};
use bedplate_platform::generation;

/// How long everything together may take: what asks guests, disks and programs gives up by itself before that.
pub const LIMIT: Duration = Duration::from_secs(300);

/// By whom somebody is told how a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By what differs from `host.toml`, all in one message.
    AsDrift,
    /// In words of its own, by the module of `notify` that looks at the same thing.
    ByItself,
}

/// A part of the host.
pub struct Part {
    /// What it is, for people.
    pub what: &'static str,
    /// Of what kind its resources are; where there are several, the one that stands for all.
    kind: &'static str,
    /// By whom somebody is told.
    told: Told,
    /// Looks and compares; changes nothing.
    look: fn(&Context) -> Vec<Status>,
}

/// All parts, in the order in which they are shown.
const PARTS: [Part; 9] = [
    part("the pools", "pool", Told::ByItself, |context| pool::compared(&context.intent)),
    part("what boots", "esp", Told::ByItself, |context| generation::compared(&context.intent)),
    part("who is told", "notify", Told::ByItself, notify::compared),
    part("what was handed off", "hand-off", Told::AsDrift, |context| {
        handoff::compared(context).into_iter().collect()
    }),
    part("restores", "restore", Told::AsDrift, converge::restores),
    part("what host.toml says", "host.toml", Told::AsDrift, converge::status),
    part("the firewall", "firewall", Told::AsDrift, firewall::compared),
    part("the lab", "lab", Told::AsDrift, lab::compared),
    part("the disks", "disk", Told::ByItself, wear::compared),
];

const fn part(
    what: &'static str,
    kind: &'static str,
    told: Told,
    look: fn(&Context) -> Vec<Status>,
) -> Part {
    Part { what, kind, told, look }
}

/// A part that was asked how it stands, and may not answer.
pub struct Look {
    /// The part.
    pub part: &'static Part,
    asked: Asked<Vec<Status>>,
}

impl Look {
    /// What was found by then; none when the part has not answered.
    pub fn by(self, until: Instant) -> Option<Vec<Status>> {
        self.asked.by(until)
    }

    /// As [`Look::by`], where a part that has not answered is a status, too.
    pub fn shown(self, until: Instant) -> Vec<Status> {
        let Part { what, kind, .. } = self.part;
        self.asked.by(until).unwrap_or_else(|| {
            let why = format!(
                "{what}: no answer within {} s; `journalctl -k` says whether a disk, a mount or a daemon hangs",
                LIMIT.as_secs()
            );
            vec![Status::unseen(kind, None, why)]
        })
    }
}

/// Begins to look at all parts, at the same time.
pub fn look(context: &Context) -> Vec<Look> {
    begin(&PARTS, context)
}

/// Begins to look at the parts of which somebody is told as of what differs.
pub fn look_for_drift(context: &Context) -> Vec<Look> {
    let drifting = PARTS.iter().filter(|part| part.told == Told::AsDrift);
    begin(drifting, context)
}

fn begin(parts: impl IntoIterator<Item = &'static Part>, context: &Context) -> Vec<Look> {
    let context = &Arc::new(context.clone());
    let begin = |part: &'static Part| {
        let (context, look) = (Arc::clone(context), part.look);
        Look { part, asked: ask(move || look(&context)) }
    };
    parts.into_iter().map(begin).collect()
}

#[cfg(test)]
mod tests {
    use bedplate_sample as sample;

    use super::*;

    fn well(_: &Context) -> Vec<Status> {
        vec![Status { agrees: true, refused: None, ..Status::unseen("lamp", None, String::new()) }]
    }

    fn hangs(_: &Context) -> Vec<Status> {
        std::thread::sleep(Duration::from_secs(60));
        Vec::new()
    }

    #[test]
    fn t51_what_hangs_is_shown_and_hides_nothing() {
        const SOME: [Part; 3] = [
            part("the first", "lamp", Told::ByItself, well),
            part("the second", "pool", Told::ByItself, hangs),
            part("the third", "lamp", Told::AsDrift, well),
        ];
        let context = Context {
            intent: sample::intent(),
            mounts: sample::mounts(),
            configuration: "/nowhere".into(),
            runtime: "/nowhere".into(),
            state: "/nowhere".into(),
        };
        let until = Instant::now() + Duration::from_millis(500);
        let looks = begin(&SOME, &context).into_iter();
        let found: Vec<_> = looks.flat_map(|look| look.shown(until)).collect();
        let kinds: Vec<_> = found.iter().map(|one| (one.kind, one.agrees)).collect();
        assert_eq!(kinds, [("lamp", true), ("pool", false), ("lamp", true)]);
        let why = found[1].refused.as_deref().unwrap();
        assert!(why.starts_with("the second: no answer within"), "{why}");
        assert!(Instant::now() < until + Duration::from_secs(20), "the rest is not waited for");
    }
}
