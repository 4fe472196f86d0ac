//! PID 1 of the live medium and stage 1 of the embedded platform.
//!
//! Architecture invariant: it only mounts, loads modules, unlocks and switches root. It decides
//! nothing, formats nothing and never reboots: a machine that cannot go on stops and says why.

mod boot;
mod cmdline;
mod console;
mod early;
mod error;
mod images;
mod live;
mod loop_device;
mod medium;
mod modules;
mod overlay;
mod switch;
mod uevents;
mod unlock;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::console::Console;
use crate::error::Error;

/// Where the next root file system is put together.
const ROOT: &str = "/sysroot";

/// Tells libdevmapper to make device nodes itself: no udev runs here that would.
const NO_UDEV: &str = "DM_DISABLE_UDEV";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("bedplate-init is the first process of a machine; it does nothing else");
        return ExitCode::FAILURE;
    }
    if let Err(error) = early::mount() {
        stop(&Console::open(), &error);
    }
    let console = Console::open();
    let Err(error) = bring_up(&console);
    stop(&console, &error)
}

fn bring_up(console: &Console) -> Result<std::convert::Infallible, Error> {
    if std::env::var_os(NO_UDEV).is_none() {
        // Setting it in a running process is unsafe, starting over is not.
        let source = Command::new("/proc/self/exe").env(NO_UDEV, "1").exec();
        return Err(Error::file("start again as", Path::new("/proc/self/exe"), source));
    }
    let boot = boot::read()?;
    let loaded = modules::load(console)?;
    console.say(&format!("{loaded} kernel modules loaded"));
    let root = Path::new(ROOT);
    match &boot {
        bedplate_formats::boot::Boot::Live(live) => live::prepare(live, root, console)?,
        bedplate_formats::boot::Boot::Unlock(unlock) => unlock::prepare(unlock, root, console)?,
    }
    switch::switch(root, &cmdline::init()?, console)
}

/// Shows what failed and waits for a human: rebooting would hide it or loop.
fn stop(console: &Console, error: &Error) -> ! {
    console.fail(error);
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}
