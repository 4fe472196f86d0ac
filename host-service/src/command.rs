//! The commands, one function each.

mod backup;
mod lab;
mod pools;
mod update;

use std::error::Error;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bedplate_events::cause::in_line;
use bedplate_model::host::{HostFile, Platform};
use bedplate_model::plan::BOOT;
use bedplate_tools::ask_password;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::efi::{self, Variables};
use bedplate_tools::secret::Secret;
use bedplate_tools::virsh::Virsh;

use crate::backup::key;
use crate::backup::room::Room;
use crate::bridge;
use crate::converge;
use crate::esp_mirror;
use crate::everything;
use crate::handoff;
use crate::host_key::{self, Taken};
use crate::notify;
use crate::pool::{self, Health};
use crate::restore;
use crate::show::{self, Format, Noticing};
use bedplate_engine::in_time::ask;
use bedplate_engine::{Reporter, StepReporter};
use bedplate_guests::hold;
use bedplate_guests::vm;
use bedplate_guests::vm::redefine::{self, Wish};
use bedplate_guests::vm::restart::{self, Patience};
use bedplate_platform::activation;
use bedplate_platform::generation;
use bedplate_platform::intent;
use bedplate_render::table::{Row, columns, table};
use bedplate_resources::context::Context;
use bedplate_resources::status::{Standing, Status, standing};

pub use backup::{let_go, list, retrieve, run, task};
pub use lab::{LabTask, lab};
pub use pools::{pool_change, pool_open, pool_scrub, pool_settled, pool_status, pool_tend};
pub use update::update;

/// How long an emergency is shown before the machine starts again.
const BEFORE_RESTART: Duration = Duration::from_secs(30);
/// How long boot waits for the passphrase of a prepared key, each time.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long a guest may take to shut down.
const GUEST: Duration = Duration::from_secs(120);

/// Success, or what to tell.
pub type Finished = Result<(), Box<dyn Error>>;

/// It ran to its end, and not everything is as intended.
#[derive(Debug, thiserror::Error)]
pub enum NotAsIntended {
    /// After `converge`.
    #[error("not everything could be made as intended")]
    Converge,
    /// After `status`.
    #[error("not everything is as intended")]
    Status(Standing),
    /// After `plan`.
    #[error("{}", match .0 {
        Standing::Stuck => "something is not as intended, and `converge` cannot make it so",
        _ => "`bedplate-host converge` would do this",
    })]
    Plan(Standing),
    /// After `pool status`.
    #[error("{}", match .0 {
        Health::Unseen => "a pool could not be looked at",
        Health::Down => "a pool is not mounted",
        _ => "a pool is not whole",
    })]
    Pools(Health),
    /// A change was planned and not asked for.
    #[error("nothing was changed; add `--yes` to do what the plan says")]
    PlanOnly,
    /// Something else works on a pool.
    #[error(
        "a change, a scrub or a resynchronisation of a pool is under way: nothing was changed; `bedplate-host pool status` shows it, run this again when it is over"
    )]
    Busy,
    /// A change that was not carried out to its end.
    #[error("the pool was not changed to the end")]
    Change,
    /// After `update`.
    #[error("the system was not updated; what boots next is what it was")]
    Update,
}

impl NotAsIntended {
    /// The exit code that tells it from a failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Pools(health) => health.exit_code(),
            Self::PlanOnly => 2,
            Self::Status(standing) | Self::Plan(standing) => standing.exit_code(),
            Self::Converge | Self::Change | Self::Update | Self::Busy => 1,
        }
    }
}

/// Does something and shows what it tells, and whether all of that could be written: whoever reads
/// may go away, the work goes on.
fn telling<T>(
    json: bool,
    out: &mut (dyn Write + Send),
    work: impl FnOnce(&Reporter<'_>) -> T,
) -> (T, io::Result<()>) {
    let mut output = Noticing::new(out);
    let done = work(&Reporter::new(vec![show::sink(&mut output, format(json))]));
    (done, output.written)
}

/// `bedplate-host converge`.
pub fn converge(
    host_file: &Path,
    room: Room,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Finished {
    let context = intent::context(host_file)?;
    let alone = lock(&context.runtime)?;
    let (well, written) = telling(json, out, |reporter| {
        if !handoff::is_done(&context.state) && !handoff::hand_over(&context, reporter) {
            return false;
        }
        let pending = converge::converge_restores(&context, room, reporter);
        let intent = restore::held_back(&context.intent, &pending);
        converge::converge(&Context { intent, ..context }, alone, reporter) && pending.is_empty()
    });
    written?;
    if well { Ok(()) } else { Err(NotAsIntended::Converge.into()) }
}

/// `bedplate-host plan`: what converge would do.
pub fn plan(host_file: &Path, json: bool, out: &mut dyn Write) -> Finished {
    let differs = |one: &Status| !one.agrees;
    let context = intent::context(host_file)?;
    let found = converge::restores(&context).into_iter().chain(converge::status(&context));
    let found: Vec<_> = found.filter(differs).collect();
    if found.is_empty() && !json {
        writeln!(out, "nothing to do")?;
    }
    show::status(out, format(json), &found)?;
    match standing(&found) {
        Standing::Agrees => Ok(()),
        standing => Err(NotAsIntended::Plan(standing).into()),
    }
}

/// `bedplate-host status`: fails when something is not as intended.
pub fn status(host_file: &Path, json: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let until = Instant::now() + everything::LIMIT;
    let mut found = Vec::new();
    for look in everything::look(&context) {
        // Whoever waits for what hangs sees the rest.
        let part = look.shown(until);
        show::status(out, format(json), &part)?;
        out.flush()?;
        found.extend(part);
    }
    match standing(&found) {
        Standing::Agrees => Ok(()),
        standing => Err(NotAsIntended::Status(standing).into()),
    }
}

/// `bedplate-host network take-back`, by a timer: it waits for nobody.
pub fn network_take_back(out: &mut dyn Write) -> Finished {
    let (configuration, state) = (Path::new("/etc"), Path::new("/var/lib/bedplate"));
    let text = match bridge::take_back(configuration, state, Path::new("/run/bedplate"))? {
        true => "the settings of the network that were tried led nowhere and were taken back",
        false => "no settings of the network are being tried",
    };
    Ok(writeln!(out, "{text}")?)
}

/// `bedplate-host network begin`.
pub fn network_begin(out: &mut dyn Write) -> Finished {
    let text = match bridge::begin(Path::new("/etc"), Path::new("/var/lib/bedplate"))? {
        true => {
            "this system has other settings of the network than were proven; those stay until converge tries its own"
        }
        false => "the settings of the network are those that were proven, or the first",
    };
    Ok(writeln!(out, "{text}")?)
}

/// `bedplate-host network try-again`.
pub fn network_try_again(host_file: &Path, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    bridge::try_again(&context.state)?;
    Ok(writeln!(out, "the next `bedplate-host converge` tries the settings of host.toml")?)
}

/// `bedplate-host vm restart NAME`.
pub fn vm_restart(host_file: &Path, name: &str, force: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let _alone = lock(&context.runtime)?;
    let patience = match force {
        true => Patience::TurnOffAfter(GUEST),
        false => Patience::LeaveAfter(GUEST),
    };
    restart::restart(&context.intent, &Virsh::new(vm::LIBVIRT), name, patience)?;
    Ok(writeln!(out, "{name} was started with its newest definition")?)
}

/// `bedplate-host vm redefine NAME`.
pub fn vm_redefine(host_file: &Path, name: &str, wish: Wish, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let _alone = lock(&context.runtime)?;
    let lines = redefine::redefine(&context, &Virsh::new(vm::LIBVIRT), name, wish)?;
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(writeln!(out, "{name} is defined as host.toml says; that counts from its next start on")?)
}

/// `bedplate-host activate TOPLEVEL`.
pub fn activate(toplevel: &Path, out: &mut dyn Write) -> Finished {
    let report = activation::activate(Path::new("/"), toplevel)?;
    let told = Path::new("/var/lib/bedplate/etc-kept.json");
    // A machine that cannot keep count boots all the same, and tells everything.
    let news = activation::kept::news(told, toplevel, &report.kept);
    for path in news.unwrap_or(report.kept) {
        writeln!(out, "kept as edited: {}", path.display())?;
    }
    for note in &report.notes {
        writeln!(out, "{note}")?;
    }
    // A machine without the copy of its ESP boots all the same.
    let host = intent::read(&toplevel.join("host.toml"))?;
    if let Err(error) = follow_mirror(&host, Path::new(esp_mirror::RUNTIME_UNITS)) {
        writeln!(out, "{}", in_line(&*error))?;
    }
    if let Err(error) = pool::forget_key_if_unneeded(&host) {
        writeln!(out, "{error}")?;
    }
    Ok(())
}

/// `bedplate-host generation fits TOPLEVEL`.
pub fn generation_fits(toplevel: &Path) -> Finished {
    Ok(generation::fits(toplevel)?)
}

/// `bedplate-host generation mirror-unit DIRECTORY`.
pub fn generation_mirror_unit(host_file: &Path, units: &Path) -> Finished {
    follow_mirror(&intent::read(host_file)?, units)
}

/// Corrects the unit that mounts the copy of the ESP, in `units`, for the disk that carries it now.
fn follow_mirror(host: &HostFile, units: &Path) -> Finished {
    let Some(role) = &host.os.esp_mirror else { return Ok(()) };
    let epoch = pool::epoch(host, role)?;
    Ok(esp_mirror::follow(units, host, role, epoch)?)
}

/// `bedplate-host host-key take`. Without a prepared key there is nothing to do, unless one was
/// asked for.
pub fn host_key_take(host_file: &Path, replace: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let has_key = "the machine has its ssh key; nothing was changed";
    if host_key::is_there(&context.configuration) && !replace {
        return Ok(writeln!(out, "{has_key}")?);
    }
    let path = bedplate_keystick::layout::HOST_KEY;
    let sealed = match key::from_stick(&context.intent, path, &context.runtime) {
        Ok(sealed) => sealed,
        Err(absent) if absent.is_absent() && !replace => {
            return Ok(writeln!(out, "no ssh key was prepared ({absent})")?);
        }
        Err(error) => return Err(error.into()),
    };
    let question = format!("Passphrase for the ssh key of {}:", context.intent.host.name);
    let mut ask = || ask_password::ask(&question, PATIENCE);
    match host_key::take(&context.intent, &context.configuration, &sealed, replace, &mut ask)? {
        Taken::Written => writeln!(out, "the ssh key that was prepared is in place")?,
        Taken::HasKey => writeln!(out, "{has_key}")?,
    }
    Ok(())
}

/// The longest key that is read, in bytes; OpenSSH's of this kind have some 400.
const LONGEST_KEY: u64 = 16 << 10;

/// `bedplate-host host-key put`.
pub fn host_key_put(host_file: &Path, input: &mut dyn Read, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let mut key = Vec::new();
    input.take(LONGEST_KEY).read_to_end(&mut key)?;
    host_key::put(&context.intent, &context.configuration, &Secret::new(key))?;
    Ok(writeln!(
        out,
        "the ssh key that was prepared is in place; restart the ssh server to show it to others, and `bedplate-host converge` opens the secrets"
    )?)
}

/// `bedplate-host generation boot TOPLEVEL`.
pub fn generation_boot(toplevel: &Path) -> Finished {
    generation::command(toplevel)
}

/// `bedplate-host generation record`.
pub fn generation_record(mirror: bool) -> Finished {
    Ok(generation::record(mirror)?)
}

/// `bedplate-host generation list`.
pub fn generation_list(json: bool, out: &mut dyn Write) -> Finished {
    let running = fs::canonicalize("/run/booted-system").ok();
    let profiles = Path::new(generation::PROFILES);
    let mut all = generation::list(Path::new(BOOT), profiles, running.as_deref())?;
    for (number, faults) in generation::faults_of(Path::new(BOOT))? {
        if let Some(one) = all.iter_mut().find(|one| one.number == number) {
            one.faults = faults;
        }
    }
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&all)?)?);
    }
    let rows: Vec<Row> = all.iter().map(generation_row).collect();
    Ok(out.write_all(table(&rows, columns()).as_bytes())?)
}

fn generation_row(one: &generation::Listed) -> Row {
    let toplevel = one.toplevel.display().to_string();
    let number = format!("{:>3}", one.number);
    Row {
        cells: vec![number, one.standing().to_owned(), one.trial.to_string(), toplevel],
        below: one.faults.iter().map(|fault| format!("broken: {fault}")).collect(),
    }
}

/// `bedplate-host generation failed`, in an emergency.
pub fn generation_failed(out: &mut dyn Write) -> Finished {
    let variables = Variables::new(Path::new(efi::MOUNT));
    match generation::give_up(Path::new(generation::PROFILES), &variables)? {
        generation::Verdict::Stay => Ok(()),
        generation::Verdict::Restart => {
            let seconds = BEFORE_RESTART.as_secs();
            writeln!(
                out,
                "bedplate: this generation of the system is on trial and did not come up."
            )?;
            writeln!(
                out,
                "bedplate: the machine starts again in {seconds} s; the boot menu offers the others."
            )?;
            out.flush()?;
            std::thread::sleep(BEFORE_RESTART);
            rustix::fs::sync();
            Ok(Command::new("systemctl").args(["--force", "reboot"]).run()?)
        }
    }
}

/// `bedplate-host rebuild`: from the repository, or an earlier generation again.
pub fn rebuild(host_file: &Path, back: Option<Back>, json: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    let _alone = lock(&context.runtime)?;
    let next = match back {
        None => {
            let host = &context.intent.host;
            generation::rebuild(&host.name, host.platform == Platform::Embedded)?
        }
        Some(Back::ToThePrevious) => generation::rollback()?,
        Some(Back::To(number)) => generation::go_to(number)?,
    };
    if json {
        return Ok(writeln!(out, "{}", serde_json::to_string(&next)?)?);
    }
    let runs = fs::canonicalize("/run/booted-system").is_ok_and(|running| running == next.toplevel);
    let then = if runs { "it is what runs now" } else { "restart the machine to run it" };
    writeln!(out, "generation {} boots next: {then}", next.generation)?;
    Ok(writeln!(out, "  {}", next.toplevel.display())?)
}

/// Which earlier generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back {
    /// The one before the current one.
    ToThePrevious,
    /// This one.
    To(u64),
}

/// `bedplate-host notify`: tells whom host.toml names what has changed.
pub fn notify(host_file: &Path, is_test: bool, out: &mut dyn Write) -> Finished {
    let context = intent::context(host_file)?;
    if is_test {
        return Ok(writeln!(out, "told: {}", notify::test(&context.intent)?)?);
    }
    // A backup that was killed may have left a machine standing still. One that cannot be let go is
    // something to tell, and no reason to tell nothing else, or to tell it later.
    let (runtime, (lines, shown)) = (context.runtime.clone(), mpsc::channel::<Vec<u8>>());
    let held = ask(move || {
        let held = hold::recover_if_idle(&bedplate_guests::drivers(), &runtime);
        let mut text = Vec::new();
        let found = held.as_ref().ok().and_then(Option::as_ref);
        if backup::show_recovered(found, &mut text).is_ok() {
            // Who does not wait any more shows nothing.
            let _ = lines.send(text);
        }
        held
    });
    let news = notify::news(&context, held);
    shown.try_iter().try_for_each(|text| out.write_all(&text))?;
    // After it was told: a guest that goes on now shows nothing of what had stopped it.
    let tended = tend(&context, out);
    for title in news? {
        writeln!(out, "told: {title}")?;
    }
    tended
}

/// Unless converge is at work, which does it itself.
fn tend(context: &Context, out: &mut dyn Write) -> Finished {
    fs::create_dir_all(&context.runtime)?;
    let file = File::create(context.runtime.join("host.lock"))?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Ok(());
    }
    tend_alone(context, out)
}

/// `bedplate-host vm tend`, when a device is plugged in. Converge may have looked before: it is waited for.
pub fn vm_tend(host_file: &Path, out: &mut dyn Write) -> Finished {
    let _alone = lock(Path::new("/run/bedplate"))?;
    tend_alone(&intent::context(host_file)?, out)
}

fn tend_alone(context: &Context, out: &mut dyn Write) -> Finished {
    let nobody = Reporter::new(Vec::new());
    let reporter = StepReporter::new(&nobody, "tend");
    let mut lines = Vec::new();
    let mut result = Ok(());
    for driver in bedplate_guests::drivers() {
        let mut done = |what: String| lines.push(format!("done: {what}"));
        result = result.and(driver.tend(context, &reporter, &mut done));
    }
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    result.map_err(|error| error as _)
}

/// Waits until nobody else changes things; released when the file is dropped.
pub(crate) fn lock(runtime: &Path) -> io::Result<File> {
    fs::create_dir_all(runtime)?;
    let file = File::create(runtime.join("host.lock"))?;
    file.lock()?;
    Ok(file)
}

fn format(json: bool) -> Format {
    if json { Format::Json } else { Format::Plain }
}

#[cfg(test)]
mod tests {
    use bedplate_platform::generation::{Listed, Trial};

    use super::*;

    #[test]
    fn a_generation_says_how_it_stands_and_what_is_broken_of_it() {
        let listed = |number: u64, next: bool, faults| Listed {
            number,
            toplevel: Path::new("/nix/store").join(number.to_string()),
            running: !next,
            next,
            trial: if next { Trial::TriesLeft(3) } else { Trial::CameUp },
            faults,
        };
        let all =
            [listed(12, true, vec!["the kernel is torn".to_owned()]), listed(2, false, vec![])];
        let rows: Vec<Row> = all.iter().map(generation_row).collect();
        let text = table(&rows, 80);
        let lines: Vec<&str> = text.lines().collect();
        assert_ne!(lines.len(), 2, "what is broken has a line of its own");
        assert_eq!(lines[0], "   12  boots next  untried, 3 tries left  /nix/store/12");
        assert_eq!(lines[1], "      broken: the kernel is torn");
        assert_eq!(lines[2], "    2  runs        has come up            /nix/store/2");
    }
}
