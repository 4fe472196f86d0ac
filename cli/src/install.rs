//! `bedplate install`: installs a booted medium over ssh.
//!
//! The plan is made here, from the machine's own inventory, and its hash travels with the
//! document: the machine makes the plan again and refuses any other. Events come back and are
//! shown as the machine's own screen shows them.

use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use bedplate_events::progress::Progress;
use bedplate_events::{Event, Sink};
use bedplate_formats::passphrase;
use bedplate_formats::remote;
use bedplate_formats::remote::{REPORT_SCHEMA, Report, State};
use bedplate_image_builder::answers::{Answers, for_travel, unpack_flake};
use bedplate_model::facts::Facts;
use bedplate_model::host::{HostFile, Recovery};
use bedplate_model::identity::is_example;
use bedplate_model::name::PlanHash;
use bedplate_model::plan::Plan;
use bedplate_planner as planner;
use bedplate_render::bars::Bars;
use bedplate_render::json::JsonLines;
use bedplate_render::plain::Plain;
use bedplate_render::table::columns;
use bedplate_tools::ssh::Target;
use zeroize::Zeroizing;

use crate::connection::{Login, Machine};
use crate::personalize::Owned;
use crate::plan::{self, View};
use crate::report::{self, Failure};

/// The connection ended before the installation did.
const LOST: u8 = 5;

/// The exit status by which ssh says that it failed itself.
const SSH_FAILED: i32 = 255;

/// No event is longer, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// Terminals narrower than this get plain lines.
const BAR_COLUMNS: u16 = 80;

/// Install a machine that was booted from the medium, over ssh.
///
/// The machine goes on when the connection ends; the same command again watches it.
#[derive(clap::Args)]
pub struct Install {
    /// The document.
    host: PathBuf,
    /// The booted medium, for example root@192.168.1.20.
    #[arg(long, value_name = "USER@HOST")]
    target: Target,
    #[command(flatten)]
    login: Login,
    #[command(flatten)]
    owned: Owned,
    /// Do not ask for the host's name.
    #[arg(long)]
    yes: bool,
    /// Install only by the plan of this hash, without asking; `bedplate plan` prints it.
    #[arg(long, value_name = "HASH")]
    expect_plan: Option<String>,
    /// Print events as JSON lines, and nothing else.
    #[arg(long)]
    json: bool,
}

/// Why nothing is installed.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("the installer of {host} reports in version {found}, this one reads {REPORT_SCHEMA}")]
    Version { host: String, found: u32 },
    #[error(
        "{} carries an example's id, which other machines have too; write one of its own there \
         (`bedplate init` and `bedplate host add` do)", .0.display()
    )]
    Example(PathBuf),
    #[error("{host} is asking at its console, or reading its disks; answer there, or try again")]
    Busy { host: String },
    #[error("{host} is at something else: {}", .title.escape_debug())]
    Another { host: String, title: String },
    #[error("the plan's hash is {found}, not {asked}; nothing was sent")]
    OtherPlan { found: PlanHash, asked: String },
    #[error("nobody can be asked here; look at the plan, then give `--expect-plan {0}` or `--yes`")]
    NotAsked(PlanHash),
    #[error("the host's name was not typed; nothing was sent")]
    NotConfirmed,
    #[error("ssh could not be run")]
    Ssh(#[source] io::Error),
}

/// How often somebody may mistype the host's name.
const TRIES: usize = 3;

impl Install {
    /// Runs the subcommand.
    pub fn run(&self) -> Result<ExitCode, Failure> {
        let host = report::read_host(&self.host)?;
        if is_example(host.host.id) {
            return Err(InstallError::Example(self.host.clone()).into());
        }
        report::expect_login(&host)?;
        let machine = self.login.open(&self.target)?;
        if self.is_at_it(&machine, &host)? {
            return self.watch(machine.installer(&["follow"]), &[], &machine);
        }
        let facts = machine.inventory()?;
        if planner::is_finished(&host, &facts) {
            let name = &host.host.name;
            self.say(&format!("{name} is installed and sealed there; nothing is written.\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let plan = planner::plan(&host, &facts).map_err(Failure::Refused)?;
        self.agree(&plan, &facts, &machine)?;
        let sent = self.sent(&host, &machine)?;
        let command = machine.installer(&["receive", "--expect-plan", &plan.hash]);
        self.watch(command, &sent, &machine)
    }

    /// Whether this host is being installed there already, or was since the machine was booted.
    fn is_at_it(&self, machine: &Machine, host: &HostFile) -> Result<bool, Failure> {
        let report: Report = machine.parse("ask what it is at", &["state"])?;
        if report.schema != REPORT_SCHEMA {
            let (host, found) = (machine.host().to_owned(), report.schema);
            return Err(InstallError::Version { host, found }.into());
        }
        decide(report.state, &host.host.name, self.expect_plan.as_deref(), machine.host())
            .map_err(Failure::from)
    }

    /// Shows the plan and asks, unless the answer came with the command.
    fn agree(&self, plan: &Plan, facts: &Facts, machine: &Machine) -> Result<(), Failure> {
        let view = View { columns: columns(), every_step: false };
        self.say(&plan::render(plan, facts, view))?;
        match &self.expect_plan {
            Some(asked) if *asked == plan.hash => return Ok(()),
            Some(asked) => {
                let (found, asked) = (plan.hash.clone(), asked.escape_debug().to_string());
                return Err(InstallError::OtherPlan { found, asked }.into());
            }
            None if self.yes => return Ok(()),
            None if !io::stdin().is_terminal() => {
                return Err(InstallError::NotAsked(plan.hash.clone()).into());
            }
            None => {}
        }
        let (name, there) = (&plan.host_name, machine.host());
        let question = format!("Type the host's name, {name}, to install it on {there}");
        for _ in 0..TRIES {
            let input = dialoguer::Input::<String>::new().with_prompt(&question).allow_empty(true);
            match input.interact_text()?.trim() {
                typed if typed == name.as_str() => return Ok(()),
                "" => break,
                _ => self.say(&format!("that is not its name, {name}; an empty line stops\n"))?,
            }
        }
        Err(InstallError::NotConfirmed.into())
    }

    /// What `bedplate-installer receive` reads: answers as on a medium, then the recovery
    /// passphrase where one is asked for.
    fn sent(&self, host: &HostFile, machine: &Machine) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let document = report::read(&self.host)?;
        let flake = unpack_flake(&machine.read("read the medium's repository", &["flake"])?)?;
        let repository = self.owned.repository(&document, flake)?;
        let answers = for_travel(&Answers { host: document, repository })?;
        let typed = match host.unlock.recovery {
            Recovery::Prompt => Zeroizing::new(ask_passphrase()?),
            _ => Zeroizing::default(),
        };
        let passphrase = Zeroizing::new(remote::frame(typed.as_bytes()));
        Ok(Zeroizing::new([answers.as_slice(), &passphrase].concat()))
    }

    fn say(&self, text: &str) -> io::Result<()> {
        if self.json {
            return anstream::stderr().write_all(text.as_bytes());
        }
        anstream::stdout().write_all(text.as_bytes())
    }

    fn sink(&self) -> Box<dyn Sink> {
        let terminal = console::Term::stdout();
        if self.json {
            Box::new(JsonLines::new(io::stdout(), ""))
        } else if terminal.is_term() && terminal.size().1 >= BAR_COLUMNS {
            Box::new(Bars::on(terminal))
        } else {
            Box::new(Plain::of_installation(io::stdout()))
        }
    }

    /// Sends `input` and shows the events that come back.
    fn watch(
        &self,
        mut command: std::process::Command,
        input: &[u8],
        machine: &Machine,
    ) -> Result<ExitCode, Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(InstallError::Ssh)?;
        let (pipe, events) = (child.stdin.take(), child.stdout.take());
        let mut sink = self.sink();
        let success = std::thread::scope(|scope| {
            // What cannot be sent is told by what comes back.
            scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(input)));
            events.and_then(|events| show(events, sink.as_mut()))
        });
        drop(sink);
        // ssh's own failures have a status of their own; others have spoken on standard error.
        let status = child.wait().map_err(InstallError::Ssh)?;
        Ok(match success {
            Some(true) => ExitCode::SUCCESS,
            Some(false) => ExitCode::from(1),
            None if status.code().is_some_and(|code| code != SSH_FAILED) => ExitCode::from(1),
            None => {
                writeln!(
                    io::stderr(),
                    "the connection to {} was lost; what it began it goes on with. Give the same \
                     command again to watch it",
                    machine.host()
                )?;
                ExitCode::from(LOST)
            }
        })
    }
}

/// Whether `state` is one to watch: this host being installed, or installed in this boot. One
/// that failed is begun again.
fn decide(
    state: State,
    name: &str,
    expect_plan: Option<&str>,
    there: &str,
) -> Result<bool, InstallError> {
    let host = there.to_owned();
    match state {
        State::Waiting | State::Ended { success: false, .. } => Ok(false),
        State::Busy => Err(InstallError::Busy { host }),
        State::Installing { title, plan } | State::Ended { title, plan, .. } => {
            let other_plan = expect_plan.is_some_and(|asked| plan.as_deref() != Some(asked));
            if other_plan || title != Plan::title_for(name) {
                return Err(InstallError::Another { host, title });
            }
            Ok(true)
        }
    }
}

/// Shows events until the last; whether it went well, or none when there was no last.
fn show(events: impl io::Read, sink: &mut dyn Sink) -> Option<bool> {
    let (mut events, mut progress) = (BufReader::new(events), Progress::default());
    loop {
        let mut line = Vec::new();
        let read = (&mut events).take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
        if read == 0 {
            return None;
        }
        // What a newer installer says beside what is known here is passed over.
        let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
        sink.show(&event);
        progress.follow(&event);
        if let Some(end) = progress.end() {
            return Some(end.success);
        }
    }
}

fn ask_passphrase() -> Result<String, Failure> {
    report::expect_terminal("the recovery passphrase of the volumes", "")?;
    let fault = |typed: &String| passphrase::fault(typed).map_or(Ok(()), Err);
    let asked = dialoguer::Password::new()
        .with_prompt(
            "Recovery passphrase of the volumes (it will be typed on a US keyboard layout)",
        )
        .with_confirmation("The same again", "the two differ, type both again")
        .validate_with(fault);
    Ok(asked.interact()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<Event>);

    impl Sink for Seen {
        fn show(&mut self, event: &Event) {
            self.0.push(event.clone());
        }
    }

    #[test]
    fn events_are_shown_to_the_last_and_a_connection_that_ends_before_is_lost() {
        let event = |kind: &str| format!("{{\"schema\":1,\"sequence\":0,\"at_ms\":0,{kind}}}\n");
        let step = event("\"event\":\"step_started\",\"step\":\"x\"");
        let newer = event("\"event\":\"brewed_tea\",\"cups\":2");
        let done = |success| {
            event(&format!("\"event\":\"plan_done\",\"success\":{success},\"milliseconds\":1"))
        };
        for success in [true, false] {
            let mut seen = Seen::default();
            let text = format!("{step}{newer}\u{1b}[2J\n{}{step}", done(success));
            assert_eq!(show(text.as_bytes(), &mut seen), Some(success));
            assert_eq!(seen.0.len(), 2);
        }
        let cut = &done(true)[..20];
        assert_eq!(show(format!("{step}{cut}").as_bytes(), &mut Seen::default()), None);
    }

    #[test]
    fn t13_a_line_without_end_is_no_event_and_takes_no_memory() {
        let endless = io::repeat(b'x').take(3 * LONGEST_LINE);
        assert_eq!(show(endless, &mut Seen::default()), None);
    }

    #[test]
    fn only_this_host_is_watched_and_a_failure_is_begun_again() {
        let title = || "install attic".to_owned();
        let plan = || Some("c0ffee".to_owned());
        let at = |state, expect| decide(state, "attic", expect, "h");
        assert!(!at(State::Waiting, None).unwrap());
        let failed = State::Ended { title: title(), plan: plan(), success: false };
        assert!(!at(failed, None).unwrap());
        let installing = || State::Installing { title: title(), plan: plan() };
        assert!(at(installing(), None).unwrap() && at(installing(), Some("c0ffee")).unwrap());
        assert!(at(State::Ended { title: title(), plan: plan(), success: true }, None).unwrap());
        assert!(at(installing(), Some("00")).is_err());
        assert!(at(State::Busy, None).is_err());
        let other = State::Installing { title: "install \u{1b}x".into(), plan: plan() };
        let error = at(other, None).unwrap_err().to_string();
        assert!(error.contains("something else") && !error.contains('\u{1b}'), "{error}");
    }
}
