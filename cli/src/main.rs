//! The bedplate command: thin, one file per subcommand.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage.

mod check;
mod inventory;
mod iso;
mod key;
mod personalize;
mod plan;
mod prepare;
mod report;
mod secrets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Turns one text file, host.toml, into a running home server.
#[derive(Parser)]
#[command(version, about, after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    /// Hosts of a repository.
    #[command(subcommand)]
    Host(prepare::Host),
    Inventory(inventory::Inventory),
    Iso(iso::Iso),
    /// Key sticks.
    #[command(subcommand)]
    Key(key::Key),
    Personalize(personalize::Personalize),
    Plan(plan::Plan),
    /// Secrets of a repository.
    #[command(subcommand)]
    Secrets(secrets::Secrets),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Check(check) => check.run(),
        Command::Host(host) => host.run(),
        Command::Inventory(inventory) => inventory.run(),
        Command::Iso(iso) => iso.run(),
        Command::Key(key) => key.run(),
        Command::Personalize(personalize) => personalize.run(),
        Command::Plan(plan) => plan.run(),
        Command::Secrets(secrets) => secrets.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.show();
            ExitCode::from(1)
        }
    }
}
