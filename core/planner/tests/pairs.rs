//! Pairs of host file and inventory, good and bad: the exact plan or the exact refusal.
//!
//! The first line of a file in `tests/pairs` names its inventory in `tests/inventories`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::path::PathBuf;
use std::sync::LazyLock;

use bedplate_document::parse;
use bedplate_model::facts::Facts;
use bedplate_model::host::HostFile;
use bedplate_planner::{is_finished, plan};
use proptest::prelude::*;

struct Pair {
    name: String,
    host: HostFile,
    facts: Facts,
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(pairs);

fn pairs() -> Vec<Pair> {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut names: Vec<String> = std::fs::read_dir(tests.join("pairs"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let read = |name: String| {
        let text = std::fs::read_to_string(tests.join(format!("pairs/{name}.toml"))).unwrap();
        let inventory = text.lines().next().unwrap().strip_prefix("# inventory: ").unwrap();
        let inventory = tests.join(format!("inventories/{inventory}.json"));
        let facts = serde_json::from_str(&std::fs::read_to_string(inventory).unwrap()).unwrap();
        let host = parse(&text, "host.toml").unwrap_or_else(|problems| panic!("{problems}"));
        Pair { name, host, facts }
    };
    names.into_iter().map(read).collect()
}

/// The plan as `bedplate plan --json` prints it, or the refusals.
fn outcome(host: &HostFile, facts: &Facts) -> Result<String, String> {
    match plan(host, facts) {
        Ok(plan) => Ok(serde_json::to_string_pretty(&plan).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn every_pair_earns_its_plan_or_its_refusal() {
    assert!(PAIRS.len() >= 40, "pairs are missing: {}", PAIRS.len());
    for Pair { name, host, facts } in PAIRS.iter() {
        let outcome = outcome(host, facts);
        assert_eq!(name.starts_with("good_"), outcome.is_ok(), "{name}: {outcome:?}");
        let text = outcome.unwrap_or_else(|refusal| refusal);
        assert!(!text.contains('\u{1b}'), "t18: {name} shows a control character");
        insta::assert_snapshot!(name.as_str(), text);
    }
}

#[test]
fn nothing_is_written_to_a_disk_before_the_repository_has_arrived() {
    let with_source = PAIRS.iter().filter(|pair| pair.name.starts_with("good_source_"));
    let mut seen = 0;
    for Pair { name, host, facts } in with_source {
        let steps: Vec<String> =
            plan(host, facts).unwrap().steps.iter().map(|step| step.id()).collect();
        let fetch = steps.iter().position(|id| id == "fetch-repository").unwrap();
        assert_eq!(steps[..fetch], ["check-disks", "prepare-stick"], "{name}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn t07_only_a_whole_installation_is_finished() {
    let finished: Vec<&str> = PAIRS
        .iter()
        .filter(|pair| is_finished(&pair.host, &pair.facts))
        .map(|pair| pair.name.as_str())
        .collect();
    assert_eq!(finished, ["t07_finished", "t07_finished_under_ours"]);
}

#[test]
fn t07_a_medium_left_in_the_machine_it_installed_anew_writes_nothing() {
    let pair = PAIRS.iter().find(|pair| pair.name == "good_kept_pool").unwrap();
    let plan = plan(&pair.host, &pair.facts).unwrap();
    let mut after = pair.facts.clone();
    let os = after.disks.iter_mut().find_map(|disk| disk.bedplate.as_mut()).unwrap();
    (os.plan, os.sections) = (plan.hash.into(), plan.sections);
    assert!(is_finished(&pair.host, &after));
}

/// The same machine at another boot: other names, numbers and order.
fn booted_again(facts: &Facts, order: &[usize], salt: u64) -> Facts {
    let mut again = facts.clone();
    let mut renamed = Vec::new();
    for (index, disk) in again.disks.iter_mut().enumerate() {
        let old = std::mem::take(&mut disk.kernel_name);
        disk.kernel_name = format!("sd{salt}x{index}");
        renamed.push((old, disk.kernel_name.clone()));
        disk.number = format!("8:{}", salt + index as u64);
        disk.diskseq = Some(salt + index as u64);
        disk.by_id.reverse();
        disk.signatures.reverse();
    }
    if let Some(medium) = &mut again.boot_medium {
        *medium = renamed.iter().find(|(old, _)| old == medium).unwrap().1.clone();
    }
    again.disks = order.iter().map(|index| again.disks[*index].clone()).collect();
    again.nics.reverse();
    again
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_machine_enumerated_otherwise_gives_the_same_plan(seed in any::<u64>(), salt in 0..1_000_000_u64) {
        for Pair { name, host, facts } in PAIRS.iter() {
            let mut order: Vec<usize> = (0..facts.disks.len()).collect();
            order.sort_by_key(|index| (seed ^ (*index as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let again = booted_again(facts, &order, salt);
            // A refusal may name a disk by its kernel name, when it has no other.
            let (first, again) = (outcome(host, facts), outcome(host, &again));
            prop_assert_eq!(first.is_ok(), again.is_ok(), "{}", name);
            prop_assert!(first.is_err() || first == again, "{}", name);
        }
    }

    #[test]
    fn an_inventory_of_any_bytes_never_panics(text in "(?s).{0,300}") {
        drop(serde_json::from_str::<Facts>(&text));
    }
}

/// Values that replace one value of an inventory: wrong types, extremes, hostile text.
fn hostile() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "(?s).{0,12}".prop_map(Into::into),
        Just(serde_json::json!([])),
        Just(serde_json::json!({})),
        prop_oneof![Just(0_u64), Just(1), Just(511), Just(u64::MAX), Just(u64::MAX - 1)]
            .prop_map(Into::into),
    ]
}

/// Replaces the value at one place of a document, counted depth first.
fn replace(value: &mut serde_json::Value, place: &mut usize, with: &serde_json::Value) {
    if *place == 0 {
        *value = with.clone();
    }
    *place = place.wrapping_sub(1);
    match value {
        serde_json::Value::Array(items) => {
            items.iter_mut().for_each(|item| replace(item, place, with));
        }
        serde_json::Value::Object(entries) => {
            entries.values_mut().for_each(|item| replace(item, place, with));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crafted_inventory_never_panics_the_planner(
        which in any::<prop::sample::Index>(), place in 0..400_usize, value in hostile(),
    ) {
        let pair = which.get(&PAIRS);
        let mut document = serde_json::to_value(&pair.facts).unwrap();
        replace(&mut document, &mut place.clone(), &value);
        if let Ok(facts) = serde_json::from_value::<Facts>(document) {
            let text = match plan(&pair.host, &facts) {
                Ok(plan) => plan.destroyed_lines().join("\n"),
                Err(error) => error.to_string(),
            };
            prop_assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "t18: {}", text);
        }
    }
}

#[test]
fn t18_no_word_of_a_device_reaches_the_terminal_as_it_is() {
    let pair = PAIRS.iter().find(|pair| pair.name == "t07_cut_off_and_document_changed").unwrap();
    let mut facts = pair.facts.clone();
    let evil = || "\u{1b}[2J\u{9b}1m".to_owned();
    for disk in &mut facts.disks {
        (disk.transport, disk.serial) = ("md\u{1b}[2J".into(), Some(evil()));
        disk.holders = vec![evil()];
        disk.signatures.iter_mut().for_each(|found| found.label = Some(evil()));
        if let Some(found) = &mut disk.bedplate {
            found.plan = evil();
            found.sections.insert(evil(), evil());
        }
    }
    let refusal = plan(&pair.host, &facts).unwrap_err().to_string();
    assert!(refusal.contains("u{1b}[2J") && refusal.contains("u{9b}1m"), "{refusal}");
    assert!(!refusal.chars().any(|c| c.is_control() && c != '\n'), "{refusal:?}");
}

#[test]
fn t10_a_copy_of_a_disk_is_refused_until_it_is_gone() {
    for name in ["t10_copy_of_a_kept_disk", "t10_copy_of_a_disk_that_is_written"] {
        let pair = PAIRS.iter().find(|pair| pair.name == name).unwrap();
        assert_eq!(plan(&pair.host, &pair.facts).unwrap_err().refusals.len(), 1, "{name}");
        let mut alone = pair.facts.clone();
        alone.disks.retain(|disk| disk.by_id != ["virtio-DATA2COPY"]);
        plan(&pair.host, &alone).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
