//! The commands of `bedplate-host pool`.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bedplate_planner::MemberRequest;
use bedplate_planner::pool_history::Word;

use super::{Finished, NotAsIntended, telling};
use crate::pool::{self, Health};
use bedplate_platform::intent;

/// How long those are waited for that only look at pools, before something else is said to be at work.
const LOOK: Duration = Duration::from_secs(60);

/// `bedplate-host pool open NAME`.
pub fn pool_open(host_file: &Path, name: &str, word: &Word, out: &mut dyn Write) -> Finished {
    let opened = pool::open_command(host_file, name, word)?;
    writeln!(out, "{opened}")?;
    // In the journal a warning is a warning, for those who are told of them.
    let mark = if std::env::var_os("JOURNAL_STREAM").is_some() { "<4>" } else { "" };
    for warning in &opened.warnings {
        writeln!(out, "{mark}warning: {warning}")?;
    }
    Ok(())
}

/// `bedplate-host pool settled NAME`.
pub fn pool_settled(host_file: &Path, name: &str) -> Finished {
    pool::settled_command(host_file, name)
}

/// `bedplate-host pool tend`. While it is at work, or a pool is being changed, there is nothing to do.
pub fn pool_tend(host_file: &Path, out: &mut dyn Write) -> Finished {
    let host = intent::read(host_file)?;
    let runtime = Path::new("/run/bedplate");
    fs::create_dir_all(runtime)?;
    let alone = File::create(runtime.join("pool-tend.lock"))?;
    let lock = pool_lock_file()?;
    if alone.try_lock().is_err() || lock.try_lock_shared().is_err() {
        return Ok(writeln!(out, "somebody else is at work on the pools")?);
    }
    let mut written = Ok(());
    let mut tell = |line: String| {
        let now = writeln!(out, "{line}").and_then(|()| out.flush());
        written = std::mem::replace(&mut written, Ok(())).and(now);
    };
    pool::tend(&host, &mut tell)?;
    Ok(written?)
}

/// `bedplate-host pool status`: fails when a pool is not whole.
pub fn pool_status(host_file: &Path, json: bool, out: &mut dyn Write) -> Finished {
    let all = pool::status_command(host_file)?;
    if json {
        writeln!(out, "{}", serde_json::to_string(&all)?)?;
    } else {
        for one in &all {
            writeln!(out, "{one}")?;
        }
    }
    match all.iter().map(|one| one.health).max() {
        None | Some(Health::Whole) => Ok(()),
        Some(health) => Err(NotAsIntended::Pools(health).into()),
    }
}

/// `bedplate-host pool replace | add | remove`: shows the plan, and with `yes` carries it out.
pub fn pool_change(
    host_file: &Path,
    request: &MemberRequest<'_>,
    yes: bool,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Finished {
    let host = intent::read(host_file)?;
    let _alone = pool_lock()?;
    let plan = pool::task::plan(&host, request)?;
    let (success, written) = telling(json, out, |reporter| {
        pool::task::announce(&plan, reporter);
        yes.then(|| pool::task::perform(&host, &plan, reporter))
    });
    written?;
    match success {
        None => Err(NotAsIntended::PlanOnly.into()),
        Some(true) => Ok(()),
        Some(false) => Err(NotAsIntended::Change.into()),
    }
}

/// `bedplate-host pool scrub NAME`.
pub fn pool_scrub(host_file: &Path, name: &str, out: &mut dyn Write) -> Finished {
    let lock = pool_lock_file()?;
    lock.lock_shared()?;
    let summary = pool::task::scrub(&intent::read(host_file)?, name)?;
    Ok(write!(out, "{summary}")?)
}

/// One change of a pool at a time; pools are opened without it. What works on pools for hours is not
/// waited for.
fn pool_lock() -> Result<File, Box<dyn Error>> {
    let file = pool_lock_file()?;
    let deadline = Instant::now() + LOOK;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(fs::TryLockError::WouldBlock) => return Err(NotAsIntended::Busy.into()),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

fn pool_lock_file() -> io::Result<File> {
    let runtime = Path::new("/run/bedplate");
    fs::create_dir_all(runtime)?;
    File::create(runtime.join("pool.lock"))
}
