//! `cargo xtask demo | test | bench | fuzz | packages`: the project's own chores.
//!
//! Builds without any C library, because it is what installs them.

mod cargo;
mod checks;
mod fuzz;
mod packages;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Problem;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Bedplate's chores: demo, test, bench, fuzz")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// One command from a fresh checkout to a running hypervisor: builds the ISO, installs it
    /// in QEMU on the disks of the example, boots the result, checks every claim.
    Demo {
        /// Keep ISO, disks and logs in this directory.
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// Continue from the ISO or the installed disks in this directory.
        #[arg(long, value_name = "DIR")]
        resume: Option<PathBuf>,
        /// Use smaller disks.
        #[arg(long)]
        small: bool,
    },
    /// Formatting, lints, unit tests, snapshots; then the end-to-end stories in QEMU.
    Test {
        /// Leave the virtual machines out.
        #[arg(long, conflicts_with = "full")]
        fast: bool,
        /// Also what takes longer than CI has.
        #[arg(long)]
        full: bool,
        /// Of the power cuts of the full set, only this part, such as 2/4; what went well is kept
        /// in target/power-cut/results.jsonl and not tried again.
        #[arg(long, value_name = "PART/PARTS", requires = "full")]
        shard: Option<String>,
    },
    /// Measures the figures and prints them with their targets.
    Bench,
    /// Gives the readers of foreign bytes what libFuzzer thinks of; needs a nightly compiler.
    Fuzz {
        /// For so long each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Only this target.
        target: Option<String>,
    },
    /// Installs the Debian packages that building and testing need, or says which.
    Packages,
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(1)
        }
    }
}

fn run(chore: Chore) -> Result<(), Problem> {
    packages::ensure()?;
    match chore {
        Chore::Demo { keep, resume, small } => {
            cargo::build_medium_programs()?;
            cargo::story("demo", &cargo::demo_arguments(keep, resume, small))
        }
        Chore::Test { fast, full, shard } => {
            checks::fast()?;
            if fast {
                return Ok(());
            }
            cargo::build_medium_programs()?;
            checks::stories(full, shard.as_deref())
        }
        Chore::Bench => {
            cargo::benchmark("bench_disks")?;
            cargo::benchmark("bench_converge")?;
            cargo::build_medium_programs()?;
            cargo::benchmark("bench_copy")?;
            cargo::story("bench", &[])
        }
        Chore::Fuzz { seconds, target } => fuzz::fuzz(seconds, target.as_deref()),
        Chore::Packages => Ok(()),
    }
}
