//! `smartctl` (smartmontools 7): what a disk says of its own health (smartctl(8), `--json`).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::{CommandError, CommandExt as _};

/// The program.
pub const PROGRAM: &str = "smartctl";
/// A disk that is dying may not answer, and its driver tries again for minutes.
const LIMIT: Duration = Duration::from_secs(20);
/// Attributes of ATA disks that count bad sectors: those that were replaced, those that wait for it,
/// and those that could not be read when the disk looked (ids 5, 197, 198).
const SECTORS: [u64; 3] = [5, 197, 198];
/// The bit of its exit status that says that a disk could not be opened, or did not say what it is.
const UNREAD: u64 = 1 << 1;
/// More of what a disk names is not kept.
const NAMED: usize = 5;

/// What a disk answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It sleeps, and was not woken.
    Asleep,
    /// It knows nothing of its health: a virtual disk, or one behind a bridge that does not pass it on.
    Silent,
    /// `smartctl` could not open it, or it did not say what it is: why.
    Unread(String),
    /// Its health.
    Health(Smart),
}

/// What a disk knows of its health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Smart {
    /// Its own verdict: false when it expects to fail.
    pub passed: Option<bool>,
    /// Degrees Celsius.
    pub celsius: Option<u64>,
    /// Sectors that were replaced or cannot be read, or defects that it has grown.
    pub sectors: u64,
    /// Errors of its media that it could not correct (NVMe).
    pub media_errors: u64,
    /// How much of what it was made for is written, in hundredths; it may be more than 100.
    pub worn: Option<u64>,
    /// What it warns of by itself (NVMe, `critical_warning`).
    pub warnings: Vec<String>,
    /// Attributes that are beyond their limit now.
    pub failing: Vec<String>,
}

/// Asks the disk at `device`, without waking it.
pub fn ask(program: &Path, device: &Path) -> Result<Answer, CommandError> {
    ask_within(program, device, LIMIT)
}

/// While the disk's driver tries again, `smartctl` waits in the kernel and cannot be killed: it is not
/// waited for.
fn ask_within(program: &Path, device: &Path, limit: Duration) -> Result<Answer, CommandError> {
    let mut command = Command::new(program);
    command.args(["--json=c", "--nocheck=standby,0", "--health", "--attributes"]).arg(device);
    // Its exit status is a set of bits, which says less than what it writes.
    let said = command.finish_within(limit)?;
    parse(&said.stdout).ok_or_else(|| command.failure(&said))
}

/// The bits of `critical_warning` (NVM Express Base Specification, SMART / Health Information log).
const WARNINGS: [(u64, &str); 6] = [
    (1, "its spare blocks run out"),
    (1 << 1, "it is too hot or too cold"),
    (1 << 2, "it is no longer reliable"),
    (1 << 3, "it can only be read"),
    (1 << 4, "its buffer is not safe from power cuts"),
    (1 << 5, "its persistent memory can only be read"),
];

/// Reads what `--json` gives; none when it is no answer of smartctl.
pub fn parse(text: &[u8]) -> Option<Answer> {
    let all: Value = serde_json::from_slice(text).ok()?;
    // Whatever it knows, it says in this form.
    all.get("smartctl")?;
    let number = |path: &str| all.pointer(path).and_then(Value::as_u64);
    let table = all.pointer("/ata_smart_attributes/table").and_then(Value::as_array);
    let attributes = table.map(Vec::as_slice).unwrap_or_default();
    let nvme = |key: &str| number(&format!("/nvme_smart_health_information_log/{key}"));
    let passed = all.pointer("/smart_status/passed").and_then(Value::as_bool);
    if passed.is_none() && attributes.is_empty() && nvme("critical_warning").is_none() {
        return Some(without_health(&all));
    }
    let raw = |one: &Value| one.pointer("/raw/value").and_then(Value::as_u64).unwrap_or(0);
    let is_sectors = |one: &&Value| {
        one.get("id").and_then(Value::as_u64).is_some_and(|id| SECTORS.contains(&id))
    };
    let bad = attributes.iter().filter(is_sectors).map(raw).fold(0, u64::saturating_add);
    let is_failing = |one: &&Value| one.get("when_failed").and_then(Value::as_str) == Some("now");
    let name = |one: &Value| one.get("name").and_then(Value::as_str).map(str::to_owned);
    let bits = nvme("critical_warning").unwrap_or(0);
    let warnings = WARNINGS.iter().filter(|(bit, _)| bits & bit != 0);
    Some(Answer::Health(Smart {
        passed,
        celsius: number("/temperature/current"),
        sectors: bad.saturating_add(number("/scsi_grown_defect_list").unwrap_or(0)),
        media_errors: nvme("media_errors").unwrap_or(0),
        worn: nvme("percentage_used"),
        warnings: warnings.map(|(_, what)| (*what).to_owned()).collect(),
        failing: attributes.iter().filter(is_failing).filter_map(name).take(NAMED).collect(),
    }))
}

/// What an answer without any health means.
fn without_health(all: &Value) -> Answer {
    let messages = all.pointer("/smartctl/messages").and_then(Value::as_array);
    let texts = messages.into_iter().flatten().filter_map(|one| one.get("string")?.as_str());
    let texts: Vec<&str> = texts.take(NAMED).collect();
    let says = |what: &str| texts.iter().any(|text| text.contains(what));
    // `SLEEP` is what it makes of a disk that does not answer when it is asked whether it sleeps
    // (`ataPrintMain`). The kernel wakes one that really does.
    if says("Device is in SLEEP mode") {
        return Answer::Unread("it does not even answer whether it sleeps".to_owned());
    }
    // `Device is in STANDBY mode, exit(0)`.
    if says("Device is in ") {
        return Answer::Asleep;
    }
    let status = all.pointer("/smartctl/exit_status").and_then(Value::as_u64).unwrap_or(0);
    if status & UNREAD == 0 {
        return Answer::Silent;
    }
    let why = if texts.is_empty() { "it gave no reason".to_owned() } else { texts.join("; ") };
    Answer::Unread(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t51_a_disk_that_never_answers_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join(PROGRAM);
        // What cannot be killed holds its pipes; here it is somebody whom no signal reaches.
        std::fs::write(&program, "#!/bin/sh\nsetsid sleep 30 &\nsleep 30\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&program, mode).unwrap();
        let began = std::time::Instant::now();
        let error = ask_within(&program, Path::new("/dev/sda"), Duration::from_millis(300));
        assert!(error.unwrap_err().is_too_long());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        std::fs::write(&program, "#!/bin/sh\necho '{\"smartctl\":{}}'\nexit 2\n").unwrap();
        assert_eq!(
            ask(&program, Path::new("/dev/sda")).unwrap(),
            Answer::Silent,
            "whatever it ends with"
        );
    }

    #[test]
    fn what_an_ata_disk_says_is_read() {
        let text = br#"{"json_format_version":[1,0],"smartctl":{"version":[7,4],"exit_status":24},
            "smart_status":{"passed":false},"temperature":{"current":41},
            "ata_smart_attributes":{"revision":16,"table":[
              {"id":5,"name":"Reallocated_Sector_Ct","value":1,"thresh":10,"when_failed":"now","raw":{"value":1200,"string":"1200"}},
              {"id":9,"name":"Power_On_Hours","value":90,"thresh":0,"when_failed":"","raw":{"value":9000}},
              {"id":190,"name":"Airflow_Temperature_Cel","when_failed":"past","raw":{"value":41}},
              {"id":197,"name":"Current_Pending_Sector","when_failed":"","raw":{"value":8}}]}}"#;
        let Some(Answer::Health(found)) = parse(text) else { panic!() };
        assert_eq!((found.passed, found.celsius, found.sectors), (Some(false), Some(41), 1208));
        assert_eq!(found.failing, ["Reallocated_Sector_Ct"]);
    }

    #[test]
    fn what_an_nvme_disk_says_is_read() {
        let text = br#"{"smartctl":{"exit_status":0},"smart_status":{"passed":true,"nvme":{"value":0}},
            "nvme_smart_health_information_log":{"critical_warning":9,"temperature":38,"available_spare":100,
            "available_spare_threshold":10,"percentage_used":103,"media_errors":2},"temperature":{"current":38}}"#;
        let Some(Answer::Health(found)) = parse(text) else { panic!() };
        assert_eq!((found.worn, found.media_errors), (Some(103), 2));
        assert_eq!(found.warnings, ["its spare blocks run out", "it can only be read"]);
    }

    #[test]
    fn a_disk_that_sleeps_or_knows_nothing_is_no_bad_one_and_nonsense_is_an_error() {
        let asleep = br#"{"smartctl":{"messages":[{"string":"Device is in STANDBY mode, exit(0)","severity":"information"}],"exit_status":0}}"#;
        assert_eq!(parse(asleep), Some(Answer::Asleep));
        let silent = br#"{"smartctl":{"messages":[{"string":"/dev/vda: Unable to detect device type","severity":"error"}],"exit_status":1}}"#;
        assert_eq!(parse(silent), Some(Answer::Silent));
        let answer = |status: u64, text: &str| {
            let text = format!(
                r#"{{"smartctl":{{"messages":[{{"string":"{text}","severity":"error"}}],"exit_status":{status}}}}}"#
            );
            parse(text.as_bytes())
        };
        // A disk whose host has the SMART of none, and a bridge that is unknown.
        assert_eq!(answer(4, "A mandatory SMART command failed"), Some(Answer::Silent));
        assert_eq!(answer(1, "/dev/sda: Unknown USB bridge"), Some(Answer::Silent));
        let unread = "Read Device Identity failed: Input/output error";
        assert_eq!(answer(2, unread), Some(Answer::Unread(unread.to_owned())));
        let asked = answer(0, "Device is in SLEEP mode, exit(0)");
        assert!(matches!(asked, Some(Answer::Unread(_))), "{asked:?}");
        for nonsense in [&b""[..], b"{}", b"smartctl: not found"] {
            assert_eq!(parse(nonsense), None);
        }
    }
}
