//! `bedplate-installer run`: answers, facts, plan, engine.
//!
//! What is installed stands on the medium or was sent. Whoever sends it has seen the plan and
//! names its hash, so nobody is asked at the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bedplate_document as document;
use bedplate_events::EventKind;
use bedplate_events::Sink;
use bedplate_model::facts::Facts;
use bedplate_model::host::{HostFile, Then};
use bedplate_model::plan::Plan;
use bedplate_planner as planner;
use bedplate_render::json::JsonLines;
use bedplate_tools::secret::Secret;
use signal_hook::consts::SIGHUP;

use crate::answers::{self, Answers, Payload};
use crate::attended::{self, Everywhere};
use crate::context::{Context, Typed};
use crate::engine;
use crate::error::{During as _, StepError};
use crate::facts::Source;
use crate::failure;
use crate::finished;
use crate::health::Health;
use crate::ledger::Ledger;
use crate::lock;
use crate::logs;
use crate::media;
use crate::panics;
use crate::places::Places;
use crate::remote;
use crate::shown;
use crate::steps::{boot, flake, stick};
use crate::waiting;
use bedplate_engine::Reporter;
use bedplate_events::cause::texts;
use bedplate_model::name::PlanHash;

/// Where a harness listens.
const PORT: &str = "/dev/virtio-ports/org.bedplate.events";

/// Where what is to be installed comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The medium; unless it says `unattended`, somebody is asked at the console.
    Medium,
    /// It was sent by somebody who agreed to the plan of this hash.
    Sent {
        /// The hash.
        plan: PlanHash,
    },
}

/// One run.
pub struct Run {
    /// Where files of this boot are.
    pub places: Places,
    /// Where facts come from.
    pub source: Source,
    /// What is to be installed.
    pub order: Order,
}

/// How a run ended.
enum End {
    Well(Then),
    Failed,
    /// The medium does not say what to install.
    Waits,
}

impl Run {
    /// Runs the whole installation. Returns whether it went well.
    pub fn run(&self) -> bool {
        let lock = match self.lock() {
            Ok(lock) => lock,
            Err(error) => {
                let _ = writeln!(io::stderr(), "{}", explain(&error));
                if self.order != Order::Medium {
                    remote::forget_recovery(&self.places);
                }
                return false;
            }
        };
        // Under the lock: nobody sends anything now.
        let sent = remote::take_recovery(&self.places);
        // Noticed and nothing else: when the serial line hangs up, the disks are finished all the
        // same.
        let hung_up = Arc::new(AtomicBool::new(false));
        let ignored = signal_hook::flag::register(SIGHUP, hung_up);
        let reporter = Arc::new(Reporter::new(sinks(&self.places.events())));
        panics::tell(&reporter);
        if let Err(error) = ignored {
            let message = format!("a serial line that hangs up will end the installation: {error}");
            reporter.emit(EventKind::Warned { step: None, message });
        }
        let started = Instant::now();
        let end = self.install(sent, &reporter).unwrap_or_else(|error| {
            reporter.emit(failure::outside_the_plan(&error));
            End::Failed
        });
        if matches!(end, End::Waits) {
            drop(lock);
            let message = waiting::message(&self.places);
            reporter.emit(EventKind::Warned { step: None, message });
            return true;
        }
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let success = matches!(end, End::Well(_));
        reporter.emit(EventKind::PlanDone { success, milliseconds });
        let End::Well(what_next) = end else { return false };
        match boot::then(what_next) {
            Ok(()) => true,
            Err(error) => {
                reporter.emit(failure::outside_the_plan(&error));
                false
            }
        }
    }

    /// What was sent comes with the lock held: this process has inherited it.
    fn lock(&self) -> Result<Option<File>, StepError> {
        let path = self.places.lock();
        if self.order != Order::Medium {
            let next = "send it with `bedplate install`";
            return match lock::is_held(&path) {
                true => Ok(None),
                false => Err(StepError::new("nobody has sent what to install").next(next)),
            };
        }
        let taken = lock::take(&path).during(format!("could not lock {}", path.display()))?;
        let held = || StepError::new("an installation is under way on this machine");
        Ok(Some(taken.ok_or_else(held)?))
    }

    fn install(
        &self,
        sent: Option<Secret>,
        reporter: &Reporter<'static>,
    ) -> Result<End, StepError> {
        let nothing_written = "nothing was written; correct it and start again";
        self.source.settle()?;
        let Some(answers) = self.answers()? else { return Ok(End::Waits) };
        let mut host = document::parse(&answers.host_toml, "host.toml")
            .map_err(|problems| StepError::new(format!("host.toml is not valid\n{problems}")))
            .map_err(|error| error.next(nothing_written))?;
        self.agree(&mut host)?;
        flake::fetch::agree(&answers, &host)?;
        let facts = self.source.read()?;
        if planner::is_finished(&host, &facts) {
            for message in planner::warnings_of_finished(&host, &facts) {
                reporter.emit(EventKind::Warned { step: None, message });
            }
            let (next, message) = finished::go_on(&host);
            reporter.emit(EventKind::Warned { step: None, message });
            return Ok(End::Well(next));
        }
        let plan = planner::plan(&host, &facts)
            .map_err(|error| StepError::new(format!("the plan is refused\n{error}")))
            .map_err(|error| error.next(nothing_written))?;
        let typed = media::looked(|| self.sole(), || self.consent(&host, &plan, &facts, sent))?;
        reporter.emit(EventKind::PlanStarted {
            title: plan.title(),
            plan: Some(plan.hash.to_string()),
            steps: plan.summaries(),
            destroys: plan.destroyed_lines(),
        });
        for message in plan.warnings.iter().cloned() {
            reporter.emit(EventKind::Warned { step: None, message });
        }
        if execute(&host, &facts, &plan, &answers, typed, reporter) {
            return Ok(End::Well(plan.then));
        }
        let message = keep_logs(&self.places.events(), &host);
        reporter.emit(EventKind::Warned { step: None, message });
        Ok(End::Failed)
    }

    /// None when the medium waits to be told.
    fn answers(&self) -> Result<Option<Answers>, StepError> {
        let payload = match self.order {
            Order::Medium => {
                self.sole()?;
                answers::find(&self.places.medium(), &self.places.answers())
                    .during("found no usable answers")
                    .map_err(|error| error.next("nothing was written; write the answers again"))?
            }
            Order::Sent { .. } => answers::unpacked(&self.places.sent())
                .during("could not read what was sent")
                .map_err(|error| error.next("nothing was written; send it again"))?,
        };
        Ok(match payload {
            Payload::Answers(answers) => Some(answers),
            Payload::Keys(_) => None,
        })
    }

    /// What was sent is read from no medium, so others do not matter then.
    fn sole(&self) -> Result<(), StepError> {
        match self.order {
            Order::Medium => media::sole(&self.places),
            Order::Sent { .. } => Ok(()),
        }
    }

    /// The plan must be the one that was agreed to, beside what the document asks for. The
    /// document itself stays as it is: it is committed word for word.
    fn agree(&self, host: &mut HostFile) -> Result<(), StepError> {
        let Order::Sent { plan } = &self.order else { return Ok(()) };
        if host.install.expect_plan.as_ref().is_some_and(|asked| asked != plan) {
            return Err(StepError::new("`install.expect_plan` is not the plan that was agreed to")
                .next("nothing was written; look at the plan again"));
        }
        host.install.expect_plan = Some(plan.clone());
        Ok(())
    }

    /// Consent, and what is asked for.
    fn consent(
        &self,
        host: &HostFile,
        plan: &Plan,
        facts: &Facts,
        sent: Option<Secret>,
    ) -> Result<Typed, StepError> {
        match self.order {
            Order::Sent { .. } => {
                let recovery = remote::recovery(sent, host)?;
                Ok(Typed { recovery, ..Typed::default() })
            }
            Order::Medium if host.install.unattended => Ok(Typed::default()),
            Order::Medium => ask(host, plan, facts),
        }
    }
}

/// Asks at the console.
fn ask(host: &HostFile, plan: &Plan, facts: &Facts) -> Result<Typed, StepError> {
    let somebody = Everywhere::open(shown::terminals()).ok_or_else(|| {
        StepError::new("`install.unattended` is false, and nobody can type at this console")
            .next("nothing was written; boot with a console, or set `install.unattended = true`")
    })?;
    attended::consent(plan, facts, &somebody)?;
    let recovery = attended::recovery(host, &somebody)?;
    let wanted: Vec<String> = host.typed_secrets().into_keys().collect();
    let has = stick::carried(&host.unlock.sticks, &wanted)?;
    let secrets = attended::secrets(host, &has, &somebody)?;
    Ok(Typed { recovery, secrets })
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
    typed: Typed,
    reporter: &Reporter<'static>,
) -> bool {
    let mut context = Context {
        plan,
        host,
        answers,
        reporter,
        health: Health::watch(plan, facts),
        ledger: Ledger::default(),
        typed,
        keys: OnceLock::new(),
        sticks: OnceLock::new(),
        argon: OnceLock::new(),
        toplevel: OnceLock::new(),
        parting: OnceLock::new(),
    };
    let well = engine::execute(&context, facts);
    if let Some(words) = context.parting.take().filter(|_| well) {
        reporter.emit(EventKind::Warned { step: None, message: words });
    }
    well
}

/// Everywhere that an installation is shown and written down: the events for whoever follows it, a harness
/// where one listens, and the consoles.
pub fn sinks(events: &Path) -> Vec<Box<dyn Sink>> {
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
    sinks.extend(shown::sinks());
    sinks
}

/// A whole error for people who run a subcommand by hand.
pub fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    texts(error).join("\n  because: ")
}
