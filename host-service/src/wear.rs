//! How the disks of `host.toml` wear, by what they say themselves (SMART).
//!
//! A disk that sleeps is not woken: what it said last counts. One that says nothing of its health, such
//! as a virtual one, is none to tell of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_model::host::{Health, HostFile};
use bedplate_tools::programs;
use bedplate_tools::smartctl::{self, Answer, Smart};

use crate::atomic;
use crate::chain::chain;
use crate::context::Context;
use crate::converge::Status;

/// In `status`.
const KIND: &str = "disk";
/// What each disk said last, by its id: another disk of the same role is another one.
const FILE: &str = "smart.json";
/// Names that udev gives disks.
const BY_ID: &str = "/dev/disk/by-id";

/// What the disks said, by role, or why one could not be asked.
type Observed = BTreeMap<String, Result<Smart, String>>;

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
    let mut ask = |device: &Path| smartctl::ask(&program, device).map_err(|error| chain(&error));
    let found = observe(host, Path::new(BY_ID), &context.runtime.join(FILE), &mut ask);
    found.iter().map(|(role, said)| judge(host, role, said)).collect()
}

/// Asks every disk that is there. What one said stays until it says something else: one that tells nothing
/// any more, or is gone, is not well by that.
fn observe(
    host: &HostFile,
    by_id: &Path,
    kept: &Path,
    ask: &mut dyn FnMut(&Path) -> Result<Answer, String>,
) -> Observed {
    let text = fs::read_to_string(kept).unwrap_or_default();
    let before: BTreeMap<String, Smart> = serde_json::from_str(&text).unwrap_or_default();
    let (mut found, mut known) = (Observed::new(), BTreeMap::new());
    for (role, disk) in &host.disks {
        let device: PathBuf = by_id.join(&disk.id);
        let last = before.get(&disk.id);
        let said = if device.exists() {
            said(ask(&device), last)
        } else {
            // That it is missing is told with its pool.
            let is_bad = |said: &&Smart| !wants(&host.health, role, said).is_empty();
            last.filter(is_bad).cloned().map(Ok)
        };
        let newest = said.as_ref().and_then(|said| said.as_ref().ok()).or(last);
        known.extend(newest.map(|newest| (disk.id.clone(), newest.clone())));
        found.extend(said.map(|said| (role.clone(), said)));
    }
    // Where it cannot be kept, a disk that falls asleep says nothing for a while.
    if let Ok(text) = serde_json::to_string(&known) {
        let _ = atomic::write(kept, &text, 0o644);
    }
    found
}

/// What there is to say of a disk that gave this answer, and said `last` before.
fn said(answer: Result<Answer, String>, last: Option<&Smart>) -> Option<Result<Smart, String>> {
    match answer {
        Ok(Answer::Health(said)) => Some(Ok(said)),
        Ok(Answer::Asleep) => last.cloned().map(Ok),
        Ok(Answer::Silent) => last.map(|last| {
            Err(format!("it tells nothing any more; the last time it said: {}", line(last)))
        }),
        Err(why) => Some(Err(why)),
    }
}

fn judge(host: &HostFile, role: &str, said: &Result<Smart, String>) -> Status {
    let id = host.disks.get(role).map(|disk| disk.id.clone()).unwrap_or_default();
    let said = match said {
        Ok(said) => said,
        Err(why) => {
            let why = format!("{id} could not be asked how it is: {why}");
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
        wants.push(format!(
            "{} is beyond its limit: {replace}",
            bedplate_events::shown::shown(attribute)
        ));
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
    use crate::converge::Standing;
    use crate::sample;

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

    #[test]
    fn t43_a_disk_that_sleeps_is_as_it_was_and_one_that_says_nothing_is_not_told_of() {
        let place = tempfile::tempdir().unwrap();
        let host = sample::intent();
        for id in ["ata-B1", "ata-B2"] {
            fs::write(place.path().join(id), "").unwrap();
        }
        let kept = place.path().join("smart.json");
        let failing = Smart { passed: Some(false), ..well() };
        let mut asked = Vec::new();
        let said = failing.clone();
        let first = observe(&host, place.path(), &kept, &mut |device| {
            asked.push(device.file_name().unwrap().to_owned());
            let is_first = device.ends_with("ata-B1");
            Ok(if is_first { Answer::Health(said.clone()) } else { Answer::Silent })
        });
        assert_eq!(asked, ["ata-B1", "ata-B2"], "disks that are there");
        assert_eq!(first, [("bulk1".to_owned(), Ok(failing))].into());
        let later = observe(&host, place.path(), &kept, &mut |_| Ok(Answer::Asleep));
        assert_eq!(later, first);
    }

    #[test]
    fn t43_a_disk_that_expects_to_fail_is_not_well_by_saying_nothing_more_or_by_being_gone() {
        let place = tempfile::tempdir().unwrap();
        let mut host = sample::intent();
        let disk = place.path().join("ata-B1");
        fs::write(&disk, "").unwrap();
        let kept = place.path().join("smart.json");
        let look = |host: &HostFile, answer: Answer| {
            let mut ask = |_: &Path| Ok(answer.clone());
            let found = observe(host, place.path(), &kept, &mut ask);
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
        host.disks.get_mut("bulk1").unwrap().id = "ata-B3".into();
        fs::write(place.path().join("ata-B3"), "").unwrap();
        assert!(look(&host, Answer::Asleep).is_none());
        // One that was well is missed by its pool alone.
        assert!(look(&host, Answer::Health(well())).unwrap().agrees);
        fs::remove_file(place.path().join("ata-B3")).unwrap();
        assert!(look(&host, Answer::Silent).is_none());
    }
}
