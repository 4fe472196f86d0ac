//! How the disks of `host.toml` wear, by what they say themselves (SMART).
//!
//! A disk that sleeps is not woken: what it said last counts. One that never said anything of its health,
//! such as a virtual one or one behind a USB bridge, is none to tell of; one that did is, also when it
//! stopped while the machine was off.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_events::shown::shown;
use bedplate_model::host::{Health, HostFile};
use bedplate_tools::programs;
use bedplate_tools::smartctl::{self, Answer, Smart};

use bedplate_engine::parallel::at_once;
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;
use bedplate_resources::context::Context;
use bedplate_resources::status::Status;
use bedplate_tools::atomic;

/// In `status`.
const KIND: &str = "disk";
/// What each disk said last, by its id: another disk of the same role is another one. The newest is in the
/// directory that is gone at the next boot, and what is to be known after that in the one that is kept.
const FILE: &str = "smart.json";
/// Names that udev gives disks.
const BY_ID: &str = "/dev/disk/by-id";

/// What the disks said, by role, or why one could not be asked.
type Observed = BTreeMap<Role, Result<Smart, String>>;

/// How the disks stand that say something of it.
pub fn compared(context: &Context) -> Vec<Status> {
    let host = &context.intent;
    if !host.health.smart {
        return Vec::new();
    }
    let Some(program) = programs::find(smartctl::PROGRAM) else {
        let why = format!("{} is not installed: no disk is asked how it is", smartctl::PROGRAM);
        let status = Status::unseen(KIND, None, String::new());
        return vec![Status { agrees: true, refused: None, notes: vec![why], ..status }];
    };
    let ask = |device: &Path| smartctl::ask(&program, device).map_err(|error| in_line(&error));
    let kept = Kept { newest: context.runtime.join(FILE), lasting: context.state.join(FILE) };
    let found = observe(host, Path::new(BY_ID), &kept, &ask);
    found.iter().map(|(role, said)| judge(host, role, said)).collect()
}

/// Asks every disk that is there, all at the same time. What one said stays until it says something else: one that tells nothing
/// any more, or is gone, is not well by that.
fn observe(
    host: &HostFile,
    by_id: &Path,
    kept: &Kept,
    ask: &(dyn Fn(&Path) -> Result<Answer, String> + Sync),
) -> Observed {
    let before = kept.read();
    let (mut found, mut known) = (Observed::new(), BTreeMap::new());
    let disks: Vec<_> = host.disks.iter().collect();
    let answers = at_once(&disks, |(_, disk)| {
        let device = by_id.join(&disk.id);
        device.exists().then(|| ask(&device))
    });
    for ((role, disk), answer) in disks.into_iter().zip(answers) {
        let last = before.get(disk.id.as_str());
        let said = if let Some(answer) = answer {
            said(answer, last, &disk.id)
        } else {
            // That it is missing is told with its pool.
            let is_bad = |said: &&Smart| !wants(&host.health, role, said).is_empty();
            last.filter(is_bad).cloned().map(Ok)
        };
        let newest = said.as_ref().and_then(|said| said.as_ref().ok()).or(last);
        known.extend(newest.map(|newest| (disk.id.to_string(), newest.clone())));
        found.extend(said.map(|said| (role.clone(), said)));
    }
    kept.write(&host.health, &known);
    found
}

/// What is known of each disk, by its id.
type Known = BTreeMap<String, Smart>;

/// Where it is kept what the disks said.
struct Kept {
    newest: PathBuf,
    lasting: PathBuf,
}

impl Kept {
    fn read(&self) -> Known {
        let mut known = read(&self.lasting);
        known.extend(read(&self.newest));
        known
    }

    /// What lasts is written when a disk is another one or another thing is wrong with one, and not each
    /// time one grew warmer. Where nothing can be kept, a disk that falls asleep says nothing for a while.
    fn write(&self, limits: &Health, known: &Known) {
        let Ok(text) = serde_json::to_string(known) else { return };
        let _ = atomic::write(&self.newest, &text, 0o644);
        let wrong = |known: &Known| -> Vec<(String, usize)> {
            known.iter().map(|(id, said)| (id.clone(), wants(limits, "", said).len())).collect()
        };
        if wrong(&read(&self.lasting)) != wrong(known) {
            let _ = atomic::write(&self.lasting, &text, 0o644);
        }
    }
}

fn read(path: &Path) -> Known {
    let text = fs::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// What there is to say of a disk that gave this answer, and said `last` before.
fn said(
    answer: Result<Answer, String>,
    last: Option<&Smart>,
    id: &str,
) -> Option<Result<Smart, String>> {
    let before = last.map(|last| format!("; the last time it said: {}", line(last)));
    let before = before.unwrap_or_default();
    match answer {
        Ok(Answer::Health(said)) => Some(Ok(said)),
        Ok(Answer::Asleep) => last.cloned().map(Ok),
        Ok(Answer::Silent) => last.map(|_| Err(format!("it tells nothing any more{before}"))),
        Ok(Answer::Unread(why)) => {
            (last.is_some() || is_direct(id)).then(|| Err(format!("{why}{before}")))
        }
        // A bridge that never passed anything on is none to tell of.
        Err(why) => (last.is_some() || !is_usb(id)).then(|| Err(format!("{why}{before}"))),
    }
}

/// Whether a disk of this name says what it is by itself (udev's `ata_id` asked it, or it is an NVMe one):
/// then `smartctl` can ask it, too.
fn is_direct(id: &str) -> bool {
    id.starts_with("ata-") || id.starts_with("nvme-")
}

fn is_usb(id: &str) -> bool {
    id.starts_with("usb-")
}

fn judge(host: &HostFile, role: &str, said: &Result<Smart, String>) -> Status {
    let id = host.disks.get(role).map(|disk| disk.id.clone()).unwrap_or_default();
    let said = match said {
        Ok(said) => said,
        Err(why) => {
            let why = shown(why);
            let why = format!(
                "{id} could not be asked how it is: {why}; see `journalctl -k` and its cables, and back up \
                 its pool: a disk that fails often stops to answer first"
            );
            return Status::unseen(KIND, Some(role.to_owned()), why);
        }
    };
    let wants = wants(&host.health, role, said);
    Status {
        kind: KIND,
        name: Some(role.to_owned()),
        agrees: wants.is_empty(),
        intent: Some(format!("{id} is well")),
        reality: Some(line(said)),
        actions: Vec::new(),
        refused: None,
        notes: Vec::new(),
        wants,
    }
}

/// What is wrong with a disk, each with the limit from which on it is told.
fn wants(limits: &Health, role: &str, said: &Smart) -> Vec<String> {
    let mut wants = Vec::new();
    let replace = format!("`bedplate-host pool replace {role}` while it can still be read");
    if said.passed == Some(false) {
        wants.push(format!("it expects to fail: {replace}"));
    }
    for attribute in &said.failing {
        wants.push(format!("{} is beyond its limit: {replace}", shown(attribute)));
    }
    wants.extend(said.warnings.iter().map(|warning| format!("it says that {warning}: {replace}")));
    let bad = said.sectors.saturating_add(said.media_errors);
    if bad > u64::from(limits.sectors) {
        wants.push(format!(
            "{bad} sectors were replaced or cannot be read (more than {} are told, `health.sectors`): \
             scrub its pool, and replace it when they grow",
            limits.sectors
        ));
    }
    if let Some(worn) = said.worn.filter(|worn| *worn >= u64::from(limits.worn)) {
        wants.push(format!(
            "{worn} % of what it was made for is written ({} % are told, `health.worn`)",
            limits.worn
        ));
    }
    if let Some(celsius) = said.celsius.filter(|celsius| *celsius >= u64::from(limits.celsius)) {
        wants.push(format!(
            "it has {celsius} °C ({} °C are told, `health.celsius`)",
            limits.celsius
        ));
    }
    wants
}

fn line(said: &Smart) -> String {
    let verdict = match said.passed {
        Some(true) => "it expects to last",
        Some(false) => "it EXPECTS TO FAIL",
        None => "it gives no verdict",
    };
    let celsius = said.celsius.map(|celsius| format!(", {celsius} °C")).unwrap_or_default();
    let worn = said.worn.map(|worn| format!(", worn to {worn} %")).unwrap_or_default();
    let bad = said.sectors.saturating_add(said.media_errors);
    format!("{verdict}{celsius}{worn}, {bad} bad sectors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bedplate_resources::status::Standing;
    use bedplate_sample as sample;

    fn well() -> Smart {
        Smart { passed: Some(true), celsius: Some(34), worn: Some(3), ..Smart::default() }
    }

    #[test]
    fn a_disk_is_told_of_by_its_own_verdict_and_by_the_limits_of_host_toml() {
        let mut host = sample::intent();
        let judged = |host: &HostFile, said: Smart| judge(host, "bulk1", &Ok(said));
        let fine = judged(&host, well());
        assert_eq!(fine.standing(), Standing::Agrees);
        assert_eq!(
            fine.reality.as_deref(),
            Some("it expects to last, 34 °C, worn to 3 %, 0 bad sectors")
        );
        let failing = Smart { passed: Some(false), ..well() };
        assert!(judged(&host, failing).wants[0].contains("pool replace bulk1"));
        let warned = Smart { warnings: vec!["it can only be read".into()], ..well() };
        assert!(judged(&host, warned).wants[0].contains("it can only be read"));
        let all =
            Smart { sectors: 8, media_errors: 1, celsius: Some(70), worn: Some(95), ..well() };
        let told = judged(&host, all.clone()).wants;
        assert_eq!(told.len(), 3, "{told:?}");
        for (what, key) in told.iter().zip(["health.sectors", "health.worn", "health.celsius"]) {
            assert!(what.contains(key), "{what}");
        }
        (host.health.sectors, host.health.worn, host.health.celsius) = (9, 100, 71);
        assert!(judged(&host, all).wants.is_empty());
        let unseen = judge(&host, "bulk1", &Err("it did not answer".into()));
        assert_eq!(unseen.standing(), Standing::Stuck);
    }

    fn kept(place: &Path) -> Kept {
        Kept { newest: place.join("run/smart.json"), lasting: place.join("smart.json") }
    }

    #[test]
    fn t43_a_disk_that_fails_from_boot_on_is_told_of() {
        let place = tempfile::tempdir().unwrap();
        let host = sample::intent();
        fs::write(place.path().join("ata-B1"), "").unwrap();
        let kept = kept(place.path());
        let look = |answer: Result<Answer, String>| {
            let ask = |_: &Path| answer.clone();
            let found = observe(&host, place.path(), &kept, &ask);
            found.get("bulk1").map(|said| judge(&host, "bulk1", said))
        };
        let boot = || fs::remove_file(&kept.newest).unwrap();
        // At the very first look.
        let unread = || Ok(Answer::Unread("Read Device Identity failed".into()));
        let told = look(unread()).unwrap().refused.unwrap();
        assert!(told.contains("Read Device Identity failed"), "{told}");
        let failing = Smart { passed: Some(false), ..well() };
        assert!(look(Ok(Answer::Health(failing))).unwrap().wants[0].contains("expects to fail"));
        // It answered until the machine was started anew.
        for answer in [Ok(Answer::Silent), unread(), Err("it hangs".into())] {
            boot();
            let told = look(answer).unwrap().refused.unwrap();
            assert!(told.contains("EXPECTS TO FAIL"), "{told}");
        }
    }

    #[test]
    fn a_disk_that_smartctl_could_never_read_is_not_told_of() {
        for id in ["usb-A1", "wwn-0x5", "scsi-1", "virtio-1"] {
            for answer in [Answer::Silent, Answer::Asleep, Answer::Unread("no".into())] {
                assert_eq!(said(Ok(answer), None, id), None, "{id}");
            }
            assert_eq!(said(Err("no".into()), None, id).is_some(), id != "usb-A1", "{id}");
            let last = well();
            let answer = Ok(Answer::Unread("no".into()));
            assert!(matches!(said(answer, Some(&last), id), Some(Err(_))), "{id}");
        }
        assert_eq!(said(Ok(Answer::Silent), None, "ata-A1"), None, "a virtual one");
    }

    #[test]
    fn t43_a_disk_that_sleeps_is_as_it_was_and_one_that_says_nothing_is_not_told_of() {
        let place = tempfile::tempdir().unwrap();
        let host = sample::intent();
        for id in ["ata-B1", "ata-B2"] {
            fs::write(place.path().join(id), "").unwrap();
        }
        let kept = kept(place.path());
        let failing = Smart { passed: Some(false), ..well() };
        let asked = std::sync::Mutex::new(Vec::new());
        let said = failing.clone();
        let first = observe(&host, place.path(), &kept, &|device| {
            asked.lock().unwrap().push(device.file_name().unwrap().to_owned());
            let is_first = device.ends_with("ata-B1");
            Ok(if is_first { Answer::Health(said.clone()) } else { Answer::Silent })
        });
        let mut asked = asked.into_inner().unwrap();
        asked.sort();
        assert_eq!(asked, ["ata-B1", "ata-B2"], "disks that are there");
        assert_eq!(first, [("bulk1".parse().unwrap(), Ok(failing))].into());
        let later = observe(&host, place.path(), &kept, &|_| Ok(Answer::Asleep));
        assert_eq!(later, first);
    }

    #[test]
    fn t43_a_disk_that_expects_to_fail_is_not_well_by_saying_nothing_more_or_by_being_gone() {
        let place = tempfile::tempdir().unwrap();
        let mut host = sample::intent();
        let disk = place.path().join("ata-B1");
        fs::write(&disk, "").unwrap();
        let kept = kept(place.path());
        let look = |host: &HostFile, answer: Answer| {
            let ask = |_: &Path| Ok(answer.clone());
            let found = observe(host, place.path(), &kept, &ask);
            found.get("bulk1").map(|said| judge(host, "bulk1", said))
        };
        assert!(look(&host, Answer::Silent).is_none(), "one that never said anything");
        let failing = Answer::Health(Smart { passed: Some(false), ..well() });
        assert!(!look(&host, failing).unwrap().agrees);
        for _ in 0..2 {
            let told = look(&host, Answer::Silent).unwrap().refused.unwrap();
            assert!(told.contains("EXPECTS TO FAIL"), "{told}");
        }
        fs::remove_file(&disk).unwrap();
        assert!(look(&host, Answer::Silent).unwrap().wants[0].contains("pool replace bulk1"));
        // The disk in its place is another one.
        host.disks.get_mut("bulk1").unwrap().id = "ata-B3".parse().unwrap();
        fs::write(place.path().join("ata-B3"), "").unwrap();
        assert!(look(&host, Answer::Asleep).is_none());
        // One that was well is missed by its pool alone.
        assert!(look(&host, Answer::Health(well())).unwrap().agrees);
        fs::remove_file(place.path().join("ata-B3")).unwrap();
        assert!(look(&host, Answer::Silent).is_none());
    }
}
