//! How long a VM in an emulated machine takes from its start to its first HTTP request: with its time
//! following its instructions, as `bedplate-host` defines it there, and with the host's clock.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bedplate_qemu_harness::accelerator::Accelerator;
use bedplate_qemu_harness::http::Request;
use bedplate_qemu_harness::pace::Pace;
use bedplate_tests::Failure;
use bedplate_tests::answers::GUEST;
use bedplate_tests::benchmark::{directory, ended};
use bedplate_tests::installed::Installation;
use bedplate_tests::running_host::Host;
use bedplate_tests::story::{Story, Tell};

/// How long a VM is waited for, on the machine that limits are written for.
const LIMIT: Duration = Duration::from_secs(240);
/// Where the machine is told of another definition.
const DEFINITION: &str = "/run/bench-guest.xml";

fn main() -> ExitCode {
    ended(measure())
}

fn measure() -> Result<(), Failure> {
    if Accelerator::probe() == Accelerator::Kvm {
        println!("\nVM in an emulated machine: NOT MEASURED, this machine has KVM");
        return Ok(());
    }
    println!("\nVM from its start to its first HTTP request, emulated twice, {}:", Pace::measure());
    let tell: Tell = Arc::new(|_: &str| ());
    let directory = directory()?;
    let story = Installation::obtain(&tell)?.lend(directory.path(), tell)?;
    let host = story.boot(story.disks())?;
    host.settle()?;
    let defined = host.read(&["virsh", "dumpxml", "--inactive", GUEST])?;
    if !defined.contains("-icount") {
        return Err(Failure::Unfit(format!("this is no definition by instructions:\n{defined}")));
    }
    for (what, definition) in [
        ("its time by its instructions", defined.clone()),
        ("its time by the host's clock", by_the_clock(&defined)),
    ] {
        match first_request(&story, &host, &definition)? {
            Some(took) => println!("  {:6.1} s  {what}", took.as_secs_f64()),
            None => println!("  none within {} s  {what}", Pace::known().seconds(LIMIT)),
        }
    }
    host.power_off()
}

/// The same machine as it was defined before.
fn by_the_clock(defined: &str) -> String {
    let mut definition = defined.to_owned();
    for (from, to) in [("<qemu:commandline>", "</qemu:commandline>"), ("<timer name='hpet'", "/>")]
    {
        if let Some(begin) = definition.find(from)
            && let Some(length) = definition[begin..].find(to)
        {
            definition.replace_range(begin..begin + length + to.len(), "");
        }
    }
    definition
}

fn first_request(
    story: &Story,
    host: &Host,
    definition: &str,
) -> Result<Option<Duration>, Failure> {
    // One that does not run cannot be turned off.
    host.run(&["virsh", "--quiet", "destroy", GUEST])?;
    host.write(DEFINITION, definition)?;
    host.read(&["virsh", "--quiet", "define", DEFINITION])?;
    let before = story.server.requests().len();
    let begun = Instant::now();
    host.read(&["virsh", "--quiet", "start", GUEST])?;
    let up = |request: &Request| request.target.starts_with("/guest/up");
    match story.server.wait_while("/guest/up", LIMIT, before, up, || 0) {
        Ok(_) => Ok(Some(begun.elapsed())),
        Err(error) if error.is_timeout() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
