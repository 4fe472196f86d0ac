//! `cargo xtask demo | test | bench | fuzz | packages`: the project's own chores.
//!
//! Builds without any C library, because it is what installs them.

mod bench_build;
mod cargo;
mod checks;
mod fuzz;
mod lanes;
mod nixos_contract;
mod nixos_proof;
mod packages;
mod real_restic;
mod report;
mod slow;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::report::Problem;
use crate::slow::Slow;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Bedplate's chores: demo, test, bench, fuzz")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
    /// Install the Debian packages that are missing without asking.
    #[arg(long, global = true)]
    yes: bool,
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
        /// As on a machine so many times slower; what is built, is built at full speed.
        #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(2..=10))]
        slow: Option<u32>,
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
        /// Only this story; may be given again. Nothing else is checked.
        #[arg(long, value_name = "NAME", conflicts_with = "fast")]
        story: Vec<String>,
        /// Tell the stories as on a machine so many times slower.
        #[arg(long, value_name = "TIMES", conflicts_with = "fast", value_parser = clap::value_parser!(u32).range(2..=10))]
        slow: Option<u32>,
    },
    /// Measures the figures and prints them with their targets.
    Bench,
    /// Gives the readers of foreign bytes what libFuzzer thinks of.
    Fuzz {
        /// For so long each.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// So often each, if that is sooner.
        #[arg(long, default_value_t = 0)]
        runs: u64,
        /// What libFuzzer's choices follow from; 0 is another one each time.
        #[arg(long, default_value_t = 0)]
        seed: u32,
        /// Only this target.
        target: Option<String>,
    },
    /// Reads from the nixpkgs in the directory NIXPKGS what the NixOS module takes for granted of it, and writes
    /// it down (nix/nixos/contract.json), and what NixOS makes of six documents (nix/nixos/recorded.json).
    NixosContract,
    /// Builds systems of NixOS with the nixpkgs in the directory NIXPKGS, where there is a cache of it, and prints which
    /// of the things that are taken for granted (docs/nixos.md) are so: a report to send in.
    NixosProof,
    /// Installs the Debian packages that building and testing need, or says which.
    Packages,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::from(1)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Problem> {
    packages::ensure(arguments.yes)?;
    match arguments.chore {
        Chore::Demo { keep, resume, small, slow } => {
            let begun = Instant::now();
            eprintln!("xtask: build, some minutes the first time and seconds later");
            cargo::build(&["demo"])?;
            let built = begun.elapsed();
            let _slow = slow.map(Slow::down);
            cargo::program("demo", &cargo::demo_arguments(keep, resume, small, built))
        }
        Chore::Test { fast, full, shard, story, slow } => {
            let stories = checks::chosen(&story, full)?;
            let begun = Instant::now();
            if story.is_empty() {
                checks::fast(full)?;
            }
            if fast {
                return Ok(());
            }
            cargo::build(&["demo"])?;
            checks::compile(&stories)?;
            let built = begun.elapsed();
            let _slow = slow.map(Slow::down);
            let lanes = if story.is_empty() && !full && slow.is_none() { lanes::fit() } else { 1 };
            // What two machines in QEMU leave of the processors.
            let fuzz = story.is_empty().then(|| fuzz::Beside::begin(60)).transpose()?;
            let told = checks::stories(&stories, full, shard.as_deref(), built, lanes);
            let read = fuzz.map_or(Ok(()), fuzz::Beside::finish);
            told.and(read)
        }
        Chore::Bench => {
            let programs = ["bench_disks", "bench_converge", "bench_copy", "bench_guest", "bench"];
            cargo::build(&programs)?;
            programs.iter().try_for_each(|name| cargo::program(name, &[]))?;
            {
                let _slow = Slow::down(3);
                cargo::program("bench_guest", &[])?;
            }
            bench_build::measure()
        }
        Chore::Fuzz { seconds, runs, seed, target } => {
            fuzz::fuzz(fuzz::Limits { seconds, runs, seed }, target.as_deref())
        }
        Chore::NixosContract => nixos_contract::write(),
        Chore::NixosProof => nixos_proof::prove(),
        Chore::Packages => Ok(()),
    }
}
