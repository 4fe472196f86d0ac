//! Makes everything that is started from now on as slow as on a lesser machine.
//!
//! As root by a quota of the kernel's scheduler (control group `cpu`, version 1 or 2; Linux's
//! admin-guide/cgroup-v2.rst, "CPU Interface Files", and scheduler/sched-bwc.rst). Elsewhere by
//! threads that only count, as many as it takes for the rest to get its part of each processor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The time in which the quota is counted, in microseconds: short, so that nothing stands still for
/// long, and not so short that the counting itself costs anything.
const PERIOD: u64 = 20_000;
/// The control groups of version 2, and of version 1's controller `cpu`.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"];

/// Undone when dropped.
pub enum Slow {
    /// A control group that this process and its children are in.
    Group {
        /// The group that this process was in before.
        before: PathBuf,
        /// The group's directory.
        group: PathBuf,
    },
    /// Threads that only count.
    Load(Arc<AtomicBool>),
}

impl Slow {
    /// Slows this process and all that it starts by `factor`.
    pub fn down(factor: u32) -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
        for root in ROOTS.map(Path::new) {
            match group(root, PERIOD * processors / u64::from(factor)) {
                Ok((before, group)) => {
                    eprintln!("xtask: {factor} times slower, by {}", group.display());
                    return Self::Group { before, group };
                }
                Err(_) => continue,
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..u64::from(factor - 1) * processors {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        }
        eprintln!("xtask: {factor} times slower, by threads that count (no control group for us)");
        Self::Load(stop)
    }
}

/// Makes a group below `root` that has so many microseconds of [`PERIOD`], and joins it.
/// Returns where this process was, and the group.
fn group(root: &Path, quota: u64) -> io::Result<(PathBuf, PathBuf)> {
    // Where the versions stand side by side, the root is no control group but a directory of them.
    if !root.join("cgroup.procs").exists() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let group = root.join(format!("bedplate-slow-{}", std::process::id()));
    let before = own(root)?;
    // One that an interrupted run has left is empty.
    fs::remove_dir(&group).ok();
    fs::create_dir(&group)?;
    let joined = limit(&group, quota)
        .and_then(|()| fs::write(group.join("cgroup.procs"), std::process::id().to_string()));
    match joined {
        Ok(()) => Ok((before, group)),
        Err(error) => {
            // It is empty, and of no use to anybody.
            fs::remove_dir(&group).ok();
            Err(error)
        }
    }
}

/// The group below `root` that this process is in (cgroups(7), "/proc/pid/cgroup").
fn own(root: &Path) -> io::Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let lines = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let of_version_1 =
        lines().find(|(controllers, _)| controllers.split(',').any(|it| it == "cpu"));
    let found = of_version_1.or_else(|| lines().find(|(controllers, _)| controllers.is_empty()));
    let path = found.map_or("/", |(_, path)| path);
    Ok(root.join(path.trim_start_matches('/')))
}

fn limit(group: &Path, quota: u64) -> io::Result<()> {
    if group.join("cpu.max").exists() {
        return fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"));
    }
    fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
    fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())
}

impl Drop for Slow {
    fn drop(&mut self) {
        match self {
            Self::Group { before, group } => {
                // What still runs in it keeps it; it is named after this process alone.
                fs::write(before.join("cgroup.procs"), std::process::id().to_string()).ok();
                fs::remove_dir(group).ok();
            }
            Self::Load(stop) => stop.store(true, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_no_control_group_is_refused_and_left_as_it_was() {
        let place = std::env::temp_dir().join(format!("bedplate-xtask-{}", std::process::id()));
        fs::create_dir(&place).unwrap();
        for root in [&place.join("none"), &place] {
            assert!(group(root, 1).is_err());
        }
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        fs::remove_dir(&place).unwrap();
    }
}
