//! The `bedplate-installer` program.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use bedplate_engine::Reporter;
use bedplate_events::EventKind;
use bedplate_facts::table;
use bedplate_formats::remote::{REPORT_SCHEMA, Report};
use bedplate_installer::error::StepError;
use bedplate_installer::facts::Source;
use bedplate_installer::places::{DIRECTORY, Places};
use bedplate_installer::run::{Order, Run, explain};
use bedplate_installer::{access, announce, answers, failure, media, remote, steps};
use bedplate_model::name::PlanHash;
use bedplate_render::json::JsonLines;
use bedplate_tools::secret::Secret;
use clap::{Parser, Subcommand};

/// The one exit code by which a condition of a systemd unit says that it could not be looked at.
const NOT_KNOWN: u8 = 255;

/// Installs this machine as its host.toml says.
#[derive(Parser)]
#[command(name = "bedplate-installer", version)]
struct Arguments {
    /// Where files of this boot are.
    #[arg(long, hide = true, default_value = DIRECTORY)]
    directory: PathBuf,
    /// An inventory in the place of a look at this machine.
    #[arg(long, hide = true)]
    facts: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints what this machine is: disks, firmware, memory, network interfaces.
    Inventory {
        /// One JSON document, as `bedplate plan --inventory` reads it.
        #[arg(long)]
        json: bool,
    },
    /// Finds the answers, plans and installs.
    Run {
        /// Set by `receive`: what was sent is installed, by the plan of this hash.
        #[arg(long, hide = true)]
        sent: Option<PlanHash>,
        /// Set by `run` itself, once its mounts are its own.
        #[arg(long, hide = true)]
        own_mounts: bool,
    },
    /// Prints what the installer is at, as JSON.
    State,
    /// Takes answers on standard input, starts to install them and prints its events.
    Receive {
        /// Hash of the plan that was agreed to.
        #[arg(long)]
        expect_plan: PlanHash,
    },
    /// Prints the events of the newest run, until it is over.
    Follow,
    /// Prints the repository of the medium, as tar.
    Flake,
    /// Prepares the ssh server for the owner's keys; fails when there are none.
    #[command(hide = true)]
    Admit,
    /// Says on the local network that this machine can be installed over ssh.
    #[command(hide = true)]
    Announce,
    /// Works on one LUKS volume; started by `run`.
    #[command(hide = true)]
    LuksWorker,
}

fn main() -> ExitCode {
    let Arguments { directory, facts, command } = Arguments::parse();
    let places = Places::below(&directory);
    let source = facts.map_or(Source::Machine, Source::Inventory);
    let result = match command {
        Command::Inventory { json } => inventory(&source, json),
        Command::Run { sent, own_mounts: true } => {
            let order = sent.map_or(Order::Medium, |plan| Order::Sent { plan });
            return code(Run { places, source, order }.run());
        }
        Command::Run { sent, own_mounts: false } => with_own_mounts(sent),
        Command::State => state(&places),
        Command::Receive { expect_plan } => return code(receive(&places, &source, &expect_plan)),
        Command::Follow => remote::follow(&places, &mut io::stdout()),
        Command::Flake => remote::flake(&places).and_then(|tar| print(&tar)),
        Command::Admit => return admit(&places),
        Command::Announce => announce::announce(&places, &source),
        Command::LuksWorker => return code(luks_worker()),
    };
    code(told(result))
}

fn code(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what failed, if something did.
fn told(result: Result<(), StepError>) -> bool {
    if let Err(error) = &result {
        let _ = writeln!(io::stderr(), "{}", explain(error));
    }
    result.is_ok()
}

/// Starts again in a mount namespace of its own: services of the live system that keep a copy
/// of its mounts would otherwise hold the target's volumes open for ever.
fn with_own_mounts(sent: Option<PlanHash>) -> Result<(), StepError> {
    let what = "could not start in a mount namespace of its own";
    let failed =
        |error: io::Error| StepError { source: Some(error.into()), ..StepError::new(what) };
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "slave"]).arg(program);
    command.args(std::env::args_os().skip(1).take_while(|word| word != "run"));
    command.args(["run", "--own-mounts"]);
    command.args(sent.iter().flat_map(|hash| ["--sent", hash.as_str()]));
    Err(failed(command.exec()))
}

fn inventory(source: &Source, json: bool) -> Result<(), StepError> {
    let facts = source.read()?;
    if !json {
        return print(table::table(&facts).as_bytes());
    }
    print_json(&facts)
}

fn state(places: &Places) -> Result<(), StepError> {
    print_json(&Report { schema: REPORT_SCHEMA, state: remote::state(places) })
}

/// Events are all that the other end reads: what is refused is one too.
fn receive(places: &Places, source: &Source, plan: &str) -> bool {
    let program = std::env::current_exe().map_err(|error| StepError {
        source: Some(error.into()),
        ..StepError::new("could not find the installer itself")
    });
    let begun = program.and_then(|program| {
        let lock = remote::receive(&mut io::stdin().lock(), places)?;
        let directory = places.directory().display().to_string();
        let mut words = vec!["--directory", &directory];
        let inventory = match source {
            Source::Machine => None,
            Source::Inventory(path) => Some(path.display().to_string()),
        };
        words.extend(inventory.iter().flat_map(|path| ["--facts", path]));
        words.extend(["run", "--sent", plan]);
        remote::start(&program, &words, lock).inspect_err(|_| remote::forget_recovery(places))
    });
    if let Err(error) = begun {
        let reporter = Reporter::new(vec![Box::new(JsonLines::new(io::stdout(), ""))]);
        reporter.emit(failure::outside_the_plan(&error));
        reporter.emit(EventKind::PlanDone { success: false, milliseconds: 0 });
        return false;
    }
    told(remote::follow(places, &mut io::stdout()))
}

/// Nobody to let in is no failure: systemd then skips the server.
fn admit(places: &Places) -> ExitCode {
    let unpacked = places.ssh().join("answers");
    let payload = answers::find(&places.medium(), &unpacked);
    let _ = std::fs::remove_dir_all(&unpacked);
    // Whom to let in is not left to chance either.
    let keys = media::sole(places).and_then(|()| access::keys(payload));
    let admitted = keys.and_then(|keys| match keys.is_empty() {
        true => Ok(false),
        false => access::admit(&keys, places).map(|()| true),
    });
    match admitted {
        Ok(well) => code(well),
        Err(error) => {
            told(Err(error));
            ExitCode::from(NOT_KNOWN)
        }
    }
}

fn luks_worker() -> bool {
    let Ok(input) = Secret::read(&mut io::stdin().lock()) else { return false };
    // A failure travels in the answer: the exit status only says that there is one.
    let (answer, _) = steps::luks::work(input.expose());
    print(answer.as_bytes()).is_ok()
}

fn print_json(value: &impl serde::Serialize) -> Result<(), StepError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| StepError {
        source: Some(error.into()),
        ..StepError::new("could not write JSON")
    })?;
    print(format!("{text}\n").as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), StepError> {
    io::stdout().write_all(bytes).map_err(|error| StepError {
        source: Some(error.into()),
        ..StepError::new("could not write to standard output")
    })
}
