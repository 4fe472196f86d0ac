//! The demo: medium, installation, boot, hand-off, claims; ends with `DEMO OK`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bedplate_qemu_harness::accelerator::Accelerator;
use bedplate_qemu_harness::pace::Pace;
use bedplate_tests::Failure;
use bedplate_tests::claims::Verdict;
use bedplate_tests::demo_screen::Screen;
use bedplate_tests::phase::Phase;
use bedplate_tests::seed::Sizes;
use bedplate_tests::story::Story;
use bedplate_tests::table;
use clap::Parser;

/// The file with everything the machines and the demo have said.
const LOG: &str = "demo.log";

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
    /// How long cargo took to build what the medium is made of; told by `cargo xtask demo`.
    #[arg(long, value_name = "SECONDS", hide = true)]
    built_in: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let begun = prepare(&arguments).and_then(|directory| {
        let screen = begin(&arguments, &directory)?;
        Ok((directory, screen))
    });
    match begun {
        Ok((directory, screen)) => {
            let told = tell(&arguments, &directory, &screen);
            screen.end(told.is_ok());
            report(&directory, told)
        }
        Err(failure) => {
            eprintln!("demo: {}", failure.chain());
            ExitCode::FAILURE
        }
    }
}

/// Says what is known before anything is done.
fn begin(arguments: &Arguments, directory: &Path) -> Result<Screen, Failure> {
    std::fs::create_dir_all(directory).map_err(|source| Failure::File {
        action: "make",
        path: directory.to_owned(),
        source,
    })?;
    let pace = Pace::known();
    let with = match Accelerator::probe() {
        Accelerator::Kvm => "with KVM, faster than the times below",
        Accelerator::Tcg => "no KVM, everything is emulated",
    };
    let log = directory.join(LOG);
    println!("demo: {with}; {pace}");
    println!("demo: what the machines say is in {}", log.display());
    let screen = Screen::new(&log, std::io::stdout().is_terminal(), pace)?;
    if let Some(seconds) = arguments.built_in {
        screen.done_before(Phase::Build, Duration::from_secs(seconds));
    }
    Ok(screen)
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

fn tell(arguments: &Arguments, directory: &Path, screen: &Screen) -> Result<Vec<Verdict>, Failure> {
    let sizes = if arguments.small { Sizes::Small } else { Sizes::True };
    let resume = arguments.resume.is_some();
    let (lines, phases) = (screen.clone(), screen.clone());
    let show = Arc::new(move |line: &str| lines.line(line));
    let mut story = Story::begin(directory, sizes, resume, show)?;
    story.on_phase(Arc::new(move |phase| phases.phase(phase)));
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
    let well = match told {
        Ok(verdicts) => {
            print!("\n{}", table::brief(&verdicts));
            table::failed(&verdicts).is_empty()
        }
        Err(failure) => {
            println!("{}", failure.chain());
            false
        }
    };
    if well {
        println!("DEMO OK");
        return ExitCode::SUCCESS;
    }
    println!(
        "Logs and disks are in {0}\n`cargo xtask demo --resume {0}` goes on there",
        directory.display()
    );
    println!("DEMO FAILED");
    ExitCode::FAILURE
}
