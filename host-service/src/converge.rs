//! Observe, compare, act: kind by kind, resource by resource.

use std::fs::File;

use bedplate_engine::{Announced, Reporter};
use bedplate_resources::compared::{self, Prepared};
use bedplate_resources::context::Context;
use bedplate_resources::status::{Standing, Status, standing};

use crate::backup::Backups;
use crate::backup::leftover::Leftovers;
use crate::backup::room::Room;
use crate::bridge::Bridges;
use crate::nfs::Exports;
use crate::restore::Restores;
use crate::secret::Secrets;

/// Makes the machine agree with the intent. True when everything does. `alone` keeps others from
/// changing things, and is let go before what may take hours.
pub fn converge(context: &Context, alone: File, reporter: &Reporter<'_>) -> bool {
    let title = format!("converge {}", context.intent.host.name);
    compared::perform_all(title, &prepare(context), context, alone, reporter)
}

/// Brings back what `[restore]` names. Returns the backups that are not back, for which everything
/// that would use their paths must wait. It comes before anything else is looked at: whether a
/// machine has a disk is known only then.
/// `room` says whether that is asked for before one is begun.
pub fn converge_restores(context: &Context, room: Room, reporter: &Reporter<'_>) -> Vec<String> {
    let kind = compared::prepare(Restores { room }, context);
    let all = || context.intent.restore.iter().flat_map(|restore| restore.backups.clone());
    if standing(&kind.status()) == Standing::Agrees {
        // Only what there is to say of them.
        kind.perform(context, reporter);
        return Vec::new();
    }
    let title = format!("restore {}", context.intent.host.name);
    let steps = kind.steps();
    let announced = Announced { title, steps, ..Announced::default() };
    if announced.carry_out(reporter, || kind.perform(context, reporter)) {
        return Vec::new();
    }
    let left = compared::prepare(Restores::default(), context).status();
    let is_left = |name: &String| {
        // Where it could not even be looked at, nothing is known to be back.
        let is_it = |one: &&Status| one.name.as_ref().is_none_or(|left| left == name);
        left.iter().filter(is_it).any(Status::is_undone)
    };
    all().filter(is_left).collect()
}

/// How the restores of `[restore]` stand.
pub fn restores(context: &Context) -> Vec<Status> {
    compared::prepare(Restores::default(), context).status()
}

/// Compares without changing anything.
pub fn status(context: &Context) -> Vec<Status> {
    prepare(context).iter().flat_map(|kind| kind.status()).collect()
}

/// Secrets first: whoever looks sees at once that one does not open. Then bridges: everything else
/// may need the network; backups last: they take long.
fn prepare(context: &Context) -> Vec<Box<dyn Prepared>> {
    let mut all = vec![
        compared::prepare(Secrets, context),
        compared::prepare(Bridges, context),
        compared::prepare(Exports, context),
    ];
    all.extend(bedplate_guests::drivers().iter().map(|driver| driver.look(context)));
    all.extend([compared::prepare(Leftovers, context), compared::prepare(Backups, context)]);
    all
}

#[cfg(test)]
mod tests {
    use bedplate_sample as sample;

    use super::*;

    #[test]
    fn what_may_take_hours_comes_last() {
        let place = tempfile::tempdir().unwrap();
        let at = place.path();
        let context = Context {
            intent: sample::intent(),
            mounts: Default::default(),
            configuration: at.into(),
            runtime: at.into(),
            state: at.into(),
        };
        let slow: Vec<_> = prepare(&context).iter().map(|kind| kind.is_slow()).collect();
        let backups = "the backups and what is left of others alone";
        assert_eq!(slow, [false, false, false, false, true, true], "{backups}");
    }
}
