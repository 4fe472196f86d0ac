//! The bedplate command: thin, one file per subcommand.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage; of `init` and `host add` also 3 written
//! but not locked; of these, `adopt` and `import` 4 written but for lines to add by hand; of `install` also 5
//! the connection was lost while the machine installs on; of `iso --with-closure` also 6 there is no
//! Nix.

mod adopt;
mod check;
mod connection;
mod device;
mod discover;
mod host;
mod import;
mod init;
mod install;
mod inventory;
mod iso;
mod key;
mod login;
mod missing;
mod personalize;
mod plan;
mod prepare;
mod report;
mod repository;
mod schema;
mod secrets;
mod shell;
mod write;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage; \
of init and host add also 3 written but not locked; of these, adopt and import 4 written but for lines \
to add by hand; of install also 5 the connection was lost while the machine installs on; of iso --with-closure also 6 \
there is no Nix.";

/// Turns one text file, host.toml, into a running home server.
#[derive(Parser)]
#[command(name = "bedplate", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Adopt(adopt::Adopt),
    Check(check::Check),
    Completions(shell::Completions),
    Discover(discover::Discover),
    /// Hosts of a repository.
    #[command(subcommand)]
    Host(host::Host),
    /// Machines as another tool describes them, as text of host.toml.
    #[command(subcommand)]
    Import(import::Import),
    Init(init::Init),
    Install(install::Install),
    Inventory(inventory::Inventory),
    Iso(iso::Iso),
    /// Key sticks.
    #[command(subcommand)]
    Key(key::Key),
    Man(shell::Manual),
    Personalize(personalize::Personalize),
    Plan(plan::Plan),
    Schema(schema::Schema),
    /// Secrets of a repository.
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    Write(write::Write),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let command = Arguments::parse().command;
    // `install` and `discover` tell in their own documents what failed.
    let tells = matches!(command, Command::Install(_) | Command::Discover(_));
    let lists = asks_for_json() && !tells;
    let result = match command {
        Command::Adopt(adopt) => adopt.run(),
        Command::Check(check) => check.run(),
        Command::Completions(completions) => completions.run().map(done),
        Command::Discover(discover) => discover.run(),
        Command::Host(host) => host.run(),
        Command::Import(import) => import.run(),
        Command::Init(init) => init.run(),
        Command::Install(install) => install.run(),
        Command::Inventory(inventory) => inventory.run().map(done),
        Command::Iso(iso) => iso.run(),
        Command::Key(key) => key.run().map(done),
        Command::Man(manual) => manual.run().map(done),
        Command::Personalize(personalize) => personalize.run().map(done),
        Command::Plan(plan) => plan.run().map(done),
        Command::Schema(schema) => schema.run().map(done),
        Command::Secrets(secrets) => secrets.run().map(done),
        Command::Write(write) => write.run().map(done),
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            if !failure.is_unread() {
                failure.show();
            }
            if lists {
                failure.list();
            }
            ExitCode::from(1)
        }
    }
}

/// Whether a machine reads what is printed, whichever command it is.
fn asks_for_json() -> bool {
    std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}
