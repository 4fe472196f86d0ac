//! A fault of the installer itself. It ends the process, and the machine waits as after any failure; without
//! a word it would look as if it were still at work, on every screen but one and at the other end of ssh.

use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, Once, Weak};
use std::time::Duration;

use bedplate_engine::Reporter;
use bedplate_events::EventKind;
use bedplate_events::shown::shown;

use crate::error::RUN_AGAIN;

/// How long is waited for a renderer that another thread holds, in steps of [`PAUSE`].
const TRIES: u32 = 20;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(100);

/// From now on a panic is told by `reporter`, as a failure and as the end of the run, before it ends the
/// process.
pub fn tell(reporter: &Arc<Reporter<'static>>) {
    let (reporter, told) = (Arc::downgrade(reporter), Once::new());
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        before(info);
        // One that other threads die of, too, is told once, and to the end: the first of them to come back
        // from here ends the process.
        told.call_once(|| tell_once(&reporter, info));
    }));
}

fn tell_once(reporter: &Weak<Reporter<'static>>, info: &PanicHookInfo<'_>) {
    let Some(reporter) = reporter.upgrade() else { return };
    let said = info.payload_as_str().unwrap_or("it did not say what");
    let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    let failed = EventKind::Failed {
        step: None,
        device: None,
        state: None,
        message: "the installer came upon a fault of its own, and has stopped".into(),
        causes: vec![format!("{}{}", shown(said), place.unwrap_or_default())],
        next: format!(
            "what was written stays as it is, and the machine waits; tell the makers of Bedplate what stands \
             here, then {RUN_AGAIN}"
        ),
    };
    let milliseconds = reporter.milliseconds();
    for kind in [failed, EventKind::PlanDone { success: false, milliseconds }] {
        // A renderer that this very thread was in stays silent: the standard error has it.
        for _ in 0..TRIES {
            if reporter.emit_unless_busy(&kind) {
                break;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
