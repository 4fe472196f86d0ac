//! The hand-off from the installer: the first converge that finds every secret open. Until then nothing
//! that could want one is set up; afterwards a secret that no longer opens stops what uses it alone.

use std::path::Path;

use crate::bridge::Bridges;
use crate::secret::Secrets;
use bedplate_engine::{Announced, Reporter, StepFailure};
use bedplate_events::cause::in_line;
use bedplate_resources::compared;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status;
use bedplate_tools::atomic;

/// Says in the state directory that the machine was handed over.
const RECORD: &str = "handed-over";

/// What to do while it waits.
const ADVICE: &str = "see that the secrets named above open (`bedplate-host host-key take --replace` for a prepared key, or `bedplate secrets rekey` on a workstation with an admin's key, push, pull in /etc/nixos), then run `bedplate-host converge`";

/// Why a backup does not run: what is not restored yet would be missing from it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the machine is not handed over, and nothing was backed up; `bedplate-host converge` says what it waits for"
)]
pub struct NotHandedOver;

/// Refuses what only a machine does that was handed over.
pub fn expect_done(state: &Path) -> Result<(), NotHandedOver> {
    if is_done(state) { Ok(()) } else { Err(NotHandedOver) }
}

/// Why nothing else is set up.
#[derive(Debug, thiserror::Error)]
#[error(
    "the machine is not handed over: a secret does not open, so nothing is restored, and machines, exports and backups are not begun"
)]
struct Waits;

impl StepFailure for Waits {}

/// Whether the machine was handed over.
pub fn is_done(state: &Path) -> bool {
    state.join(RECORD).is_file()
}

/// Hands the machine over when every secret opens. Until then secrets and network are all that is
/// brought up: whoever is to help has to get in.
pub fn hand_over(context: &Context, reporter: &Reporter<'_>) -> bool {
    let secrets = compared::prepare(Secrets, context).status();
    // What a person has to see to is told, and keeps nothing back: a machine whose password nobody else
    // could open would never make a backup.
    if secrets.iter().all(|secret| secret.refused.is_none()) {
        // Where it cannot be noted, a secret that does not open later stops more than it has to.
        if let Err(error) = atomic::write(&context.state.join(RECORD), "", 0o644) {
            reporter.warn(None, in_line(&error));
        }
        return true;
    }
    let title = format!("hand over {}", context.intent.host.name);
    Announced { title, ..Announced::default() }.carry_out(reporter, || {
        compared::prepare(Secrets, context).perform(context, reporter);
        compared::prepare(Bridges, context).perform(context, reporter);
        reporter.fail(Some("hand over"), &Waits, ADVICE);
        false
    })
}

/// What `status` says of it: nothing once it is done.
pub fn compared(context: &Context) -> Option<Status> {
    let why =
        "the machine is not handed over; `bedplate-host converge` does it once every secret opens";
    (!is_done(&context.state)).then(|| Status::unseen("hand-off", None, why.to_owned()))
}
