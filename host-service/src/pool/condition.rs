//! What a mounted pool says of itself from day to day: how full it is, whether it can be written to, the
//! errors of its devices since they were last found to do no harm, and when all of it was read.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bedplate_disks::pool_fs::{self, Health, PoolFileSystem, Usage};
use bedplate_model::host::HostFile;
use bedplate_tools::{programs, systemd_analyze};
use rustix::fs::StatVfsMountFlags;
use serde::{Deserialize, Serialize};

use super::error::{PoolError, file};
use crate::backup::fresh;
use crate::backup::record::now;
use bedplate_tools::atomic::{self, WriteError};

/// Beside the records of pools.
const DIRECTORY: &str = "/var/lib/bedplate/pools";
/// A pool that is scrubbed by a schedule wants it when twice the longest usual period is over.
const LONG_AGO: u64 = 2 * 31 * 24 * 3600;

/// How a mounted pool is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Condition {
    /// Whether nothing can be written.
    pub read_only: bool,
    /// How full it is.
    pub usage: Usage,
    /// Errors of its devices that no scrub has found harmless.
    pub errors: u64,
    /// When a scrub last came to its end, in seconds since 1970; none when none is on record.
    pub scrubbed: Option<u64>,
    /// When it was made, as it says itself.
    #[serde(skip)]
    pub made: Option<u64>,
}

/// What is kept of the scrubs of a pool. It is lost with the OS disk, and then all errors count again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scrubs {
    /// When one came to its end, in seconds since 1970.
    pub finished: Option<u64>,
    /// The counters of errors, by device and kind, when one found no more: what was counted until
    /// then has been read, and repaired where that was wanted.
    pub harmless: BTreeMap<String, u64>,
}

impl Scrubs {
    /// What is kept of `pool`. A damaged record costs one scrub more.
    pub fn read(pool: &str) -> Result<Self, PoolError> {
        let path = path(pool);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(file("read", &path)(source)),
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
        }
    }

    fn write(&self, pool: &str) -> Result<(), WriteError> {
        let path = path(pool);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| WriteError { path: path.clone(), source: error.into() })?;
        atomic::write(&path, &format!("{text}\n"), 0o644)
    }

    /// Errors that were counted since. A counter that is lower was set to zero, or is another device's.
    fn new_errors(&self, counted: &BTreeMap<String, u64>) -> u64 {
        let new = counted.iter().map(|(counter, count)| {
            let harmless = self.harmless.get(counter).copied().unwrap_or(0);
            if harmless > *count { *count } else { count - harmless }
        });
        new.fold(0, u64::saturating_add)
    }

    /// What is kept after a scrub that came to its end. One that counted errors itself has found some:
    /// they are told until a scrub finds no more.
    fn after(self, before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>, now: u64) -> Self {
        let harmless = if *before == after { after } else { self.harmless };
        Self { finished: Some(now), harmless }
    }
}

/// A scrub that is under way.
pub struct Scrubbing(BTreeMap<String, u64>);

impl Scrubbing {
    /// Remembers what was counted before.
    pub fn begin(file_system: &dyn PoolFileSystem, mount: &Path) -> Result<Self, PoolError> {
        Ok(Self(file_system.health(mount)?.errors))
    }

    /// Notes that it came to its end.
    pub fn finish(
        self,
        file_system: &dyn PoolFileSystem,
        pool: &str,
        mount: &Path,
    ) -> Result<(), Box<dyn Error>> {
        let after = file_system.health(mount)?.errors;
        Ok(Scrubs::read(pool)?.after(&self.0, after, now()).write(pool)?)
    }
}

/// Looks at the pool `name`, which is mounted at `mount`.
pub fn look(
    file_system: &dyn PoolFileSystem,
    name: &str,
    mount: &Path,
) -> Result<Condition, PoolError> {
    let scrubs = Scrubs::read(name)?;
    let Health { usage, errors, .. } = file_system.health(mount)?;
    let found = rustix::fs::statvfs(mount).map_err(|errno| file("look at", mount)(errno.into()))?;
    Ok(Condition {
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        usage,
        errors: scrubs.new_errors(&errors),
        scrubbed: scrubs.finished,
        made: fs::metadata(mount).and_then(|found| found.created()).ok().and_then(seconds),
    })
}

fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// What its owner should do, the most urgent first. Errors are told where members are.
/// Whether it fills is told where all of it is there.
pub fn wants(
    host: &HostFile,
    name: &str,
    condition: &Condition,
    is_whole: bool,
    now: u64,
) -> Vec<String> {
    let Some(pool) = host.pools.get(name) else { return Vec::new() };
    let (mount, most) = (&pool.mount, u64::from(host.health.fill));
    let (usage, words) = (condition.usage, pool_fs::of(pool.file_system()).words());
    let mut wants = Vec::new();
    if condition.read_only {
        wants.push(format!(
            "nothing can be written: {} made {mount} read-only after an error it could not pass over \
             (`journalctl -k -g {}` says which); see that a backup is fresh, then restart the machine",
            words.name, words.journal
        ));
    }
    let data = usage.data.percent(usage.unallocated);
    if is_whole && data >= most {
        wants.push(format!(
            "it is full to {data} % of what it can hold ({most} % are told, `health.fill`): {} are left; \
             delete something, or add a disk (`bedplate-host pool add`)",
            size(usage.data.free(usage.unallocated))
        ));
    }
    let metadata = usage.metadata.percent(usage.unallocated);
    if is_whole && metadata >= most {
        let gather = words
            .gather
            .map(|command| format!(": `{command} {mount}` gives back what data does not use"));
        wants.push(format!(
            "its metadata is full to {metadata} % ({} are left), and then nothing can be written although \
             there is room for data{}",
            size(usage.metadata.free(usage.unallocated)),
            gather.unwrap_or_default()
        ));
    }
    let is_scheduled = pool.scrub.is_some();
    // One that never came to its end fails nowhere: each was cut off by the next start of the machine.
    let since = condition.scrubbed.or(condition.made);
    let old = since.map(|at| now.saturating_sub(at)).filter(|old| *old > LONG_AGO);
    if let Some(old) = old.filter(|_| is_scheduled) {
        let age = fresh::age(old);
        let what = match condition.scrubbed {
            Some(_) => format!("all of it was last read {age} ago"),
            None => format!(
                "it was made {age} ago, and no scrub of it that came to its end is on record"
            ),
        };
        wants.push(format!("{what}: `bedplate-host pool scrub {name}`"));
    }
    wants
}

/// What is wrong with the time of the scrubs of a pool, as systemd sees it; nothing where it cannot be
/// asked.
pub fn mistyped(host: &HostFile, name: &str) -> Option<String> {
    let expression = host.pools.get(name)?.scrub.as_deref()?;
    let program = programs::find(systemd_analyze::PROGRAM)?;
    let complaint = systemd_analyze::calendar(&program, expression).ok()?.complaint()?;
    Some(format!(
        "`pools.{name}.scrub` of host.toml, \"{expression}\", {complaint}: it does not run; correct it there"
    ))
}

/// In a line, for people.
pub fn line(condition: &Condition, now: u64) -> String {
    let usage = condition.usage;
    let scrubbed = match condition.scrubbed {
        Some(at) => format!("scrubbed {} ago", fresh::age(now.saturating_sub(at))),
        None => "no scrub on record".to_owned(),
    };
    let read_only = if condition.read_only { "READ-ONLY, " } else { "" };
    format!(
        "{read_only}data {} % with {} left, metadata {} % with {} left ({} not allocated), {scrubbed}",
        usage.data.percent(usage.unallocated),
        size(usage.data.free(usage.unallocated)),
        usage.metadata.percent(usage.unallocated),
        size(usage.metadata.free(usage.unallocated)),
        size(usage.unallocated)
    )
}

/// Bytes for people: decimal units, as disks are sold.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        1_000_000_000..10_000_000_000_000 => format!("{} GB", bytes / 1_000_000_000),
        _ => format!("{} TB", bytes / 1_000_000_000_000),
    }
}

fn path(pool: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(format!("{pool}.scrub.json"))
}

#[cfg(test)]
mod tests {
    use bedplate_disks::pool_fs::Filled;

    use super::*;
    use bedplate_sample as sample;

    const NOW: u64 = 1_800_000_000;
    const GB: u64 = 1_000_000_000;

    fn counted(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn t44_errors_that_a_scrub_found_harmless_are_not_told_again_and_new_ones_are() {
        let before = counted(&[("a.read", 3), ("b.corruption", 0)]);
        assert_eq!(Scrubs::default().new_errors(&before), 3);
        let kept = Scrubs::default().after(&before, before.clone(), NOW);
        assert_eq!((kept.new_errors(&before), kept.finished), (0, Some(NOW)));
        assert_eq!(kept.new_errors(&counted(&[("a.read", 5), ("b.corruption", 1)])), 3);
        // Set to zero, or a new disk under an old name.
        assert_eq!(kept.new_errors(&counted(&[("a.read", 2)])), 2);
        // What a scrub found is told until one finds no more.
        let worse = counted(&[("a.read", 3), ("b.corruption", 7)]);
        let kept = kept.after(&before, worse.clone(), NOW + 1);
        assert_eq!(kept.new_errors(&worse), 7);
        let kept = kept.after(&worse, worse.clone(), NOW + 2);
        assert_eq!((kept.new_errors(&worse), kept.finished), (0, Some(NOW + 2)));
    }

    #[test]
    fn t40_a_pool_that_fills_or_cannot_be_written_to_is_told_with_what_to_do() {
        let mut host = sample::intent();
        let filled = |size, used| Filled { size: size * GB, used: used * GB };
        let mut condition = Condition {
            usage: Usage { data: filled(800, 700), metadata: filled(2, 1), unallocated: 200 * GB },
            ..Condition::default()
        };
        assert!(wants(&host, "bulk", &condition, true, NOW).is_empty());
        host.health.fill = 70;
        let told = wants(&host, "bulk", &condition, true, NOW);
        assert!(told[0].contains("70 %") && told[0].contains("300 GB are left"), "{told:?}");
        host.health.fill = 90;
        // Room for data, and none for its names.
        condition.usage = Usage { data: filled(998, 500), metadata: filled(2, 2), unallocated: 0 };
        let told = wants(&host, "bulk", &condition, true, NOW);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("balance start -dusage=30 /mnt/bulk"), "{told:?}");
        assert!(wants(&host, "bulk", &condition, false, NOW).is_empty(), "a member is missing");
        condition =
            Condition { read_only: true, scrubbed: Some(NOW - 63 * 86400), ..Condition::default() };
        let told = wants(&host, "bulk", &condition, true, NOW);
        assert!(told[0].contains("read-only") && told[1].contains("63 days ago"), "{told:?}");
        // One that was never scrubbed is so since it was made.
        condition.made = condition.scrubbed.take();
        let told = wants(&host, "bulk", &condition, true, NOW);
        assert!(told[1].contains("made 63 days ago"), "{told:?}");
        condition.made = Some(NOW - 61 * 86400);
        assert_eq!(wants(&host, "bulk", &condition, true, NOW).len(), 1, "a new one has time");
        (condition.scrubbed, condition.made) = (Some(NOW - 63 * 86400), None);
        host.pools.get_mut("bulk").unwrap().scrub = None;
        assert_eq!(wants(&host, "bulk", &condition, true, NOW).len(), 1);
        assert!(
            line(&condition, NOW).starts_with("READ-ONLY, data 0 %"),
            "{}",
            line(&condition, NOW)
        );
    }
}
