//! How the ESPs of this machine stand: what `status` and `generation list` say of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bedplate_facts::boot_chain::{Chain, ENTRIES};
use bedplate_model::host::{HostFile, Platform};
use bedplate_model::plan::{BOOT, BOOT_MIRROR};

use super::esp::Esp;
use super::{GenerationError, entry_number, is_mount_point};
use bedplate_engine::in_time::ask;
use bedplate_events::cause::in_line;
use bedplate_model::name::Role;
use bedplate_resources::status::Status;

/// In `status`.
const KIND: &str = "esp";
/// How long reading one partition may take. A disk that is dying may never answer, and whoever looks has
/// more to tell.
const LIMIT: Duration = Duration::from_secs(120);

/// How each ESP stands beside what a machine boots by.
pub fn compared(host: &HostFile) -> Vec<Status> {
    let roles =
        [Some((&host.os.disk, BOOT)), host.os.esp_mirror.as_ref().map(|it| (it, BOOT_MIRROR))];
    let found: Vec<(&Role, Result<Chain, GenerationError>)> =
        roles.into_iter().flatten().map(|(role, place)| (role, look_in_time(place))).collect();
    let first = found.first().and_then(|(_, chain)| chain.as_ref().ok()).map(generations);
    let judge = |(role, looked): &(&Role, Result<Chain, GenerationError>)| match looked {
        Ok(looked) => judge(host, role, looked, first.as_ref()),
        Err(error) => Status::unseen(KIND, Some(role.to_string()), in_line(error)),
    };
    found.iter().map(judge).collect()
}

fn look_in_time(place: &'static str) -> Result<Chain, GenerationError> {
    in_time(Path::new(place), LIMIT, move || look(Path::new(place)))
}

/// What was found by then.
fn in_time<T: Send + 'static>(
    esp: &Path,
    limit: Duration,
    look: impl FnOnce() -> Result<T, GenerationError> + Send + 'static,
) -> Result<T, GenerationError> {
    let silent = || Err(GenerationError::Silent { esp: esp.to_owned(), limit });
    ask(look).by(Instant::now() + limit).unwrap_or_else(silent)
}

fn look(place: &Path) -> Result<Chain, GenerationError> {
    let missing = || GenerationError::NoEsp { path: place.to_owned() };
    if !is_mount_point(place) {
        return Err(missing());
    }
    Esp::at(place)?.chain()?.ok_or_else(missing)
}

/// Generations that a partition offers; NixOS's entries have other names.
fn generations(chain: &Chain) -> BTreeSet<String> {
    let plain =
        |name: &String| entry_number(name).map_or_else(|| name.clone(), |it| it.to_string());
    chain.entries.iter().map(|entry| plain(&entry.name)).collect()
}

fn judge(host: &HostFile, role: &str, found: &Chain, first: Option<&BTreeSet<String>>) -> Status {
    let mend = match host.host.platform {
        Platform::Embedded => "`bedplate-host rebuild` writes what is not right",
        Platform::Nixos => "`nixos-rebuild boot` writes it again",
    };
    let mut wants: Vec<String> =
        found.faults().into_iter().map(|fault| format!("{fault}: {mend}")).collect();
    if first.is_some_and(|first| *first != generations(found)) {
        wants.push(format!("it offers other generations than the first one: {mend}"));
    }
    let boots = if found.is_bootable() { "boots" } else { "does NOT boot" };
    let count = found.entries.len();
    Status {
        kind: KIND,
        name: Some(role.to_owned()),
        agrees: wants.is_empty(),
        intent: Some("boots, every file of it as it was written".into()),
        reality: Some(format!("{boots}; {count} in the boot menu, from {ENTRIES}")),
        actions: Vec::new(),
        refused: None,
        notes: Vec::new(),
        wants,
    }
}

/// What keeps each generation of the ESP at `esp` from booting, by its number.
pub fn faults_of(esp: &Path) -> Result<Vec<(u64, Vec<String>)>, GenerationError> {
    let Some(chain) = Esp::at(esp)?.chain()? else { return Ok(Vec::new()) };
    let of = |entry: &bedplate_facts::boot_chain::Entry| {
        let number = entry_number(&entry.name)?;
        let all = chain.loaders.iter().chain(&entry.faults);
        Some((number, all.map(ToString::to_string).collect()))
    };
    Ok(chain.entries.iter().filter_map(of).collect())
}

#[cfg(test)]
mod tests {
    use bedplate_facts::boot_chain::{Entry, Fault};

    use super::*;

    #[test]
    fn t43_t51_a_partition_that_never_answers_keeps_nobody_from_telling_the_rest() {
        let begun = std::time::Instant::now();
        let never = || {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        };
        let found = in_time(Path::new("/boot"), Duration::from_millis(50), never);
        assert!(begun.elapsed().as_secs() < 30);
        let error = found.unwrap_err().to_string();
        assert!(error.contains("/boot") && error.contains("did not answer"), "{error}");
        assert_eq!(in_time(Path::new("/boot"), LIMIT, || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn t45_a_broken_chain_wants_somebody_and_so_does_a_mirror_that_is_behind() {
        let text = include_str!("../../../../profiles/hypervisor/host.toml");
        let host = bedplate_document::parse(text, "host.toml").unwrap();
        let entry = |name: &str| Entry { name: name.to_owned(), faults: Vec::new() };
        let mut found = Chain {
            loaders: Vec::new(),
            others: Vec::new(),
            entries: vec![entry("bedplate-2+3.conf"), entry("bedplate-1.conf")],
        };
        let first = generations(&found);
        let well = judge(&host, "os", &found, Some(&first));
        assert!(well.agrees && well.wants.is_empty(), "{well:?}");
        let behind = Chain { entries: vec![entry("bedplate-1.conf")], ..found.clone() };
        let behind = judge(&host, "vm1", &behind, Some(&first));
        assert!(!behind.agrees && behind.wants[0].contains("other generations"), "{behind:?}");
        found.loaders = vec![Fault { path: "EFI/BOOT/BOOTX64.EFI".into(), what: "is empty" }];
        let broken = judge(&host, "os", &found, Some(&first));
        assert!(broken.reality.unwrap().contains("does NOT boot"));
        assert_eq!(
            broken.wants,
            ["EFI/BOOT/BOOTX64.EFI is empty: `bedplate-host rebuild` writes what is not right"]
        );
    }
}
