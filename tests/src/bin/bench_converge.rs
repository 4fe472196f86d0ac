//! Measures a converge of virtual machines that has nothing to do, through a daemon of libvirt
//! with its test driver, beside Ansible's modules for the same.

use std::process::{Command, ExitCode};

use bedplate_tests::Failure;
use bedplate_tests::benchmark::{directory, ended};
use bedplate_tests::converge_figure::{Ansible, SettledHost, peak_memory};
use bedplate_tests::libvirt_daemon::LibvirtDaemon;

/// Machines of the host.
const MACHINES: usize = 200;
/// Machines that Ansible looks after.
const FEW: usize = 20;
/// Runs, of which the middle one counts.
const RUNS: usize = 11;
/// First argument of the process whose memory is looked at.
const ONCE: &str = "once";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ended(match arguments.as_slice() {
        [word, directory, uri, machines] if word == ONCE => once(directory, uri, machines),
        _ => measure(),
    })
}

/// One converge in a process of its own; what memory it took.
fn once(directory: &str, uri: &str, machines: &str) -> Result<(), Failure> {
    let host = SettledHost::again(directory, uri, machines.parse().unwrap_or_default());
    host.converge()?;
    println!("{}", peak_memory().unwrap_or_default());
    Ok(())
}

fn measure() -> Result<(), Failure> {
    let unfit = |what: &str| Failure::Unfit(what.to_owned());
    let directory = directory()?;
    open_to_all(directory.path())?;
    let Some(daemon) = LibvirtDaemon::start(directory.path())? else {
        println!("Converge: not measured, libvirtd or virsh is not installed here");
        return Ok(());
    };
    let host = SettledHost::make(directory.path(), &daemon, MACHINES)?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (took, steps) = host.converge()?;
        if steps != 0 {
            return Err(unfit("a converge that should have nothing to do did something"));
        }
        runs.push(took);
    }
    runs.sort();
    let ours = runs[RUNS / 2].as_secs_f64();
    println!(
        "Converge, {MACHINES} machines and nothing to do: {:.0} ms (middle of {RUNS} runs, {:.0} to {:.0}), target under 100 ms",
        ours * 1000.0,
        runs[0].as_secs_f64() * 1000.0,
        runs[RUNS - 1].as_secs_f64() * 1000.0
    );
    let [read, looked, decided] = host.split()?.map(|part| part.as_secs_f64() * 1000.0);
    println!(
        "  of it: {read:.0} ms the document, {looked:.0} ms libvirt and disks, {decided:.0} ms deciding"
    );
    let change = host.steps_of_one_change()?;
    println!("  one machine changed: {} step, target 1: {}", change.len(), change.join(", "));
    println!(
        "  memory of a process that does it, at most: {:.1} MB, target under 30 MB",
        memory(&host)? as f64 / 1e6
    );
    compare(&host, ours)
}

/// Ansible's twenty machines, scaled to as many as ours.
fn compare(host: &SettledHost, ours: f64) -> Result<(), Failure> {
    let ansible = match Ansible::obtain() {
        Ok(ansible) => ansible,
        Err(failure) => {
            println!("  beside Ansible: not measured: {}", failure.chain());
            return Ok(());
        }
    };
    let theirs = ansible.second_run(host, FEW)?.as_secs_f64();
    let (each, of_each) = (ours / MACHINES as f64, theirs / FEW as f64);
    println!(
        "  Ansible's community.libvirt, {FEW} machines and nothing to do: {theirs:.1} s; scaled to {MACHINES} machines: {:.0} s\n  a machine: {:.2} ms to {:.0} ms, ratio {:.0} (scaled), target 500",
        of_each * MACHINES as f64,
        each * 1000.0,
        of_each * 1000.0,
        of_each / each
    );
    Ok(())
}

fn memory(host: &SettledHost) -> Result<u64, Failure> {
    let unfit = |what: String| Failure::Unfit(what);
    let program = std::env::current_exe().map_err(|error| unfit(error.to_string()))?;
    let mut command = Command::new(program);
    let done = command.arg(ONCE).args(host.arguments()).output();
    let done = done.map_err(|error| unfit(error.to_string()))?;
    let told = String::from_utf8_lossy(&done.stdout);
    told.trim().parse().map_err(|_| unfit(format!("no memory was told: {told}")))
}

/// The daemon of libvirt, which is nobody, passes through.
fn open_to_all(directory: &std::path::Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, mode)
        .map_err(|error| Failure::Unfit(format!("the directory stays closed: {error}")))
}
