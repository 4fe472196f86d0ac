//! `bedplate-installer run`: answers, facts, plan, engine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bedplate_facts::machine;
use bedplate_render::{Sink, bars::Bars, json::JsonLines, plain::Plain};
use bedplate_spec::event::EventKind;
use bedplate_spec::facts::Facts;
use bedplate_spec::host::{HostFile, Then};
use bedplate_spec::plan::Plan;
use bedplate_spec::{document, planner};
use bedplate_tools::secret::Secret;
use signal_hook::consts::SIGHUP;

use crate::answers::{self, Answers};
use crate::attended::{self, Console};
use crate::context::Context;
use crate::engine;
use crate::error::{During as _, StepError, chain};
use crate::facts;
use crate::failure;
use crate::finished;
use crate::health::Health;
use crate::ledger::Ledger;
use crate::logs;
use crate::report::Reporter;
use crate::steps::boot;

/// Where answers are unpacked; a tmpfs.
const ANSWERS: &str = "/run/bedplate/answers";

/// Where a harness listens.
const PORT: &str = "/dev/virtio-ports/org.bedplate.events";

/// Terminals narrower than this get plain lines.
const BAR_COLUMNS: u16 = 80;

/// Runs the whole installation. Returns whether it went well.
pub fn run(events: &Path) -> bool {
    // Noticed and nothing else: when the serial line hangs up, the disks are finished all the same.
    let hung_up = Arc::new(AtomicBool::new(false));
    let ignored = signal_hook::flag::register(SIGHUP, hung_up);
    let reporter = Reporter::new(sinks(events));
    if let Err(error) = ignored {
        let message = format!("a serial line that hangs up will end the installation: {error}");
        reporter.emit(EventKind::Warned { step: None, message });
    }
    let started = Instant::now();
    let result = install(&reporter, events);
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let success = match result {
        Ok(success) => success,
        Err(error) => {
            reporter.emit(failure::outside_the_plan(&error));
            None
        }
    };
    reporter.emit(EventKind::PlanDone { success: success.is_some(), milliseconds });
    match success {
        Some(what_next) => match boot::then(what_next) {
            Ok(()) => true,
            Err(error) => {
                reporter.emit(failure::outside_the_plan(&error));
                false
            }
        },
        None => false,
    }
}

/// What happens next, or none when a step failed and said so.
fn install(reporter: &Reporter, events: &Path) -> Result<Option<Then>, StepError> {
    let nothing_written = "nothing was written; correct it and start again";
    let answers = answers::find(Path::new(ANSWERS))
        .during("found no usable answers")
        .map_err(|error| error.next("nothing was written; write the answers again"))?;
    let host = document::parse(&answers.host_toml, "host.toml")
        .map_err(|problems| StepError::new(format!("host.toml is not valid\n{problems}")))
        .map_err(|error| error.next(nothing_written))?;
    bedplate_tools::udev::settle().during("udev did not come to rest")?;
    let facts = machine::read(&facts::roots());
    if planner::is_finished(&host, &facts) {
        let (next, message) = finished::go_on(&host);
        reporter.emit(EventKind::Warned { step: None, message });
        return Ok(Some(next));
    }
    let plan = planner::plan(&host, &facts)
        .map_err(|error| StepError::new(format!("the plan is refused\n{error}")))
        .map_err(|error| error.next(nothing_written))?;
    let recovery = if host.install.unattended { None } else { ask(&host, &plan)? };
    reporter.emit(EventKind::PlanStarted {
        title: plan.title(),
        plan: Some(plan.hash.clone()),
        steps: plan.summaries(),
        destroys: plan.destroyed_lines(),
    });
    if execute(&host, &facts, &plan, &answers, recovery, reporter) {
        return Ok(Some(plan.then));
    }
    reporter.emit(EventKind::Warned { step: None, message: keep_logs(events, &host) });
    Ok(None)
}

/// Consent, and the recovery passphrase where it is asked for.
fn ask(host: &HostFile, plan: &Plan) -> Result<Option<Secret>, StepError> {
    let console = Console::open().ok_or_else(|| {
        StepError::new("`install.unattended` is false, and nobody can type at this console")
            .next("nothing was written; boot with a console, or set `install.unattended = true`")
    })?;
    attended::consent(plan, &console)?;
    attended::recovery(host, &console)
}

/// Where the logs of a failed installation are.
fn keep_logs(events: &Path, host: &HostFile) -> String {
    match logs::save(events, &host.unlock.sticks) {
        Ok(directory) => format!("the logs were saved on the key stick, in {directory}"),
        Err(error) => format!(
            "the logs could not be saved on the key stick ({}); they are in {} and the journal \
             of this live system",
            explain(&error).replace("\n  because: ", ": "),
            events.display()
        ),
    }
}

fn execute(
    host: &HostFile,
    facts: &Facts,
    plan: &Plan,
    answers: &Answers,
    recovery: Option<Secret>,
    reporter: &Reporter,
) -> bool {
    let mut context = Context {
        plan,
        host,
        answers,
        reporter,
        health: Health::watch(plan, facts),
        ledger: Ledger::default(),
        recovery,
        keys: None,
        sticks: Vec::new(),
        argon: None,
        toplevel: None,
        parting: OnceLock::new(),
    };
    let well = engine::execute(&mut context, facts);
    if let Some(words) = context.parting.take().filter(|_| well) {
        reporter.emit(EventKind::Warned { step: None, message: words });
    }
    well
}

fn sinks(events: &Path) -> Vec<Box<dyn Sink>> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if let Some(parent) = events.parent() {
        // Without the file the console still shows everything.
        let _ = fs::create_dir_all(parent);
    }
    if let Ok(file) = File::create(events) {
        sinks.push(Box::new(JsonLines::new(file, "")));
    }
    if let Ok(port) = OpenOptions::new().write(true).open(PORT) {
        sinks.push(Box::new(JsonLines::new(port, "@bedplate ")));
    }
    if wants_bars() {
        sinks.push(Box::new(Bars::default()));
    } else {
        sinks.push(Box::new(Plain::new(io::stdout())));
    }
    sinks
}

/// Bars need a terminal that is wide enough and is no serial line.
fn wants_bars() -> bool {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return false;
    }
    let name = fs::read_link("/proc/self/fd/1").unwrap_or_default();
    let name = name.to_string_lossy();
    let serial = name.contains("/ttyS")
        || name.contains("/hvc")
        || (name.ends_with("/console") && console_is_serial());
    let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
    !serial && columns >= BAR_COLUMNS
}

fn console_is_serial() -> bool {
    let active = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    active
        .split_whitespace()
        .next_back()
        .is_none_or(|name| !name.starts_with("tty") || name.starts_with("ttyS"))
}

/// A whole error for people who run a subcommand by hand.
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    chain(Some(error)).join("\n  because: ")
}
