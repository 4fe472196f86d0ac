//! The demo: medium, installation, boot, hand-off, claims; ends with `DEMO OK`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bedplate_tests::Failure;
use bedplate_tests::claims::Statement as _;
use bedplate_tests::claims::Verdict;
use bedplate_tests::seed::Sizes;
use bedplate_tests::story::Story;
use bedplate_tests::table;
use clap::Parser;

#[derive(Parser)]
#[command(name = "demo", about = "From a checkout to a running hypervisor in QEMU")]
struct Arguments {
    /// Keep ISO, disks and logs in this directory.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Continue from the ISO or the installed disks in this directory.
    #[arg(long, value_name = "DIR", conflicts_with = "keep")]
    resume: Option<PathBuf>,
    /// Use smaller disks.
    #[arg(long)]
    small: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match prepare(&arguments) {
        Ok(directory) => report(&directory, tell(&arguments, &directory)),
        Err(failure) => {
            eprintln!("demo: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

/// The directory of the story: the one named, or one of its own that goes when all is well.
fn prepare(arguments: &Arguments) -> Result<PathBuf, Failure> {
    if let Some(named) = arguments.resume.as_ref().or(arguments.keep.as_ref()) {
        return Ok(named.clone());
    }
    let made = tempfile::Builder::new().prefix("bedplate-demo-").tempdir_in("/var/tmp");
    let made = made.map_err(|source| Failure::File {
        action: "make a directory in",
        path: "/var/tmp".into(),
        source,
    })?;
    Ok(made.keep())
}

fn tell(arguments: &Arguments, directory: &Path) -> Result<Vec<Verdict>, Failure> {
    let sizes = if arguments.small { Sizes::Small } else { Sizes::True };
    let resume = arguments.resume.is_some();
    let show = Arc::new(|line: &str| println!("{line}"));
    let mut story = Story::begin(directory, sizes, resume, show)?;
    let medium = story.medium(!resume)?;
    let installed = story.install(&medium)?;
    let verdicts = story.claims(&installed)?;
    if arguments.keep.is_none() && !resume && table::failed(&verdicts).is_empty() {
        drop(story);
        std::fs::remove_dir_all(directory).map_err(|source| Failure::File {
            action: "remove",
            path: directory.to_owned(),
            source,
        })?;
    }
    Ok(verdicts)
}

fn report(directory: &Path, told: Result<Vec<Verdict>, Failure>) -> ExitCode {
    let verdicts = match told {
        Ok(verdicts) => verdicts,
        Err(failure) => {
            println!("{}", failure.chain());
            println!("Logs are in {}", directory.display());
            println!("DEMO FAILED");
            return ExitCode::FAILURE;
        }
    };
    print!("\n{}\n", table::render(&verdicts));
    let failed = table::failed(&verdicts);
    if failed.is_empty() {
        println!("DEMO OK");
        return ExitCode::SUCCESS;
    }
    for verdict in failed {
        println!("does not hold: {} ({})", verdict.claim.sentence(), verdict.seen);
    }
    println!("Logs are in {}", directory.display());
    println!("DEMO FAILED");
    ExitCode::FAILURE
}
