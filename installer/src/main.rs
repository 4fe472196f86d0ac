//! The `bedplate-installer` program.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bedplate_facts::{machine, table};
use bedplate_installer::{facts, run, steps};
use clap::{Parser, Subcommand};

/// Installs this machine as its host.toml says.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
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
        /// Where events are written, one line of JSON each.
        #[arg(long, default_value = "/run/bedplate/events.jsonl")]
        events: PathBuf,
        /// Set by `run` itself, once its mounts are its own.
        #[arg(long, hide = true)]
        own_mounts: bool,
    },
    /// Works on one LUKS volume; started by `run`.
    #[command(hide = true)]
    LuksWorker,
}

fn main() -> ExitCode {
    let well = match Arguments::parse().command {
        Command::Inventory { json } => inventory(json),
        Command::Run { events, own_mounts: true } => run::run(&events),
        Command::Run { events, own_mounts: false } => with_own_mounts(&events),
        Command::LuksWorker => luks_worker(),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts again in a mount namespace of its own: services of the live system that keep a copy
/// of its mounts would otherwise hold the target's volumes open for ever.
fn with_own_mounts(events: &Path) -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let error = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "slave"])
        .arg(program)
        .args(["run", "--own-mounts", "--events"])
        .arg(events)
        .exec();
    let _ = writeln!(std::io::stderr(), "could not start in a mount namespace of its own: {error}");
    false
}

fn inventory(json: bool) -> bool {
    let facts = machine::read(&facts::roots());
    if !json {
        return print(&table::table(&facts));
    }
    match serde_json::to_string_pretty(&facts) {
        Ok(text) => print(&format!("{text}\n")),
        Err(_) => false,
    }
}

fn luks_worker() -> bool {
    let mut input = zeroize::Zeroizing::new(Vec::new());
    if std::io::stdin().read_to_end(&mut input).is_err() {
        return false;
    }
    // A failure travels in the answer: the exit status only says that there is one.
    let (answer, _) = steps::luks::work(&input);
    print(&answer)
}

fn print(text: &str) -> bool {
    std::io::stdout().write_all(text.as_bytes()).is_ok()
}
