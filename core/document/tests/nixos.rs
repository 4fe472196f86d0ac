//! What the NixOS module (`nix/nixos`) says for itself, held against the decoder and `derive`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use bedplate_document::parse;
use bedplate_model::host::{HostFile, Platform};
use bedplate_model::identity::{Purpose, derive};
use toml_edit::{DocumentMut, Item};
use uuid::Uuid;

const SMALL: &str = include_str!("../../../nix/nixos/tests/small.toml");
const HOST: &str = include_str!("../../../nix/nixos/tests/host.toml");
const SECRETS: &str = include_str!("../../../nix/nixos/tests/secrets.toml");
const DEFAULTS: &str = include_str!("../../../nix/nixos/defaults.toml");
const VECTORS: &str = include_str!("../../../nix/nixos/identity-vectors.json");

fn purpose(word: &str) -> Purpose {
    match word {
        "gpt-disk" => Purpose::GptDisk,
        "gpt-esp" => Purpose::GptEsp,
        "gpt-luks" => Purpose::GptLuks,
        "luks" => Purpose::Luks,
        "btrfs" => Purpose::Btrfs,
        "domain" => Purpose::Domain,
        other => panic!("no purpose `{other}`"),
    }
}

#[test]
fn the_identities_that_the_module_derives_are_ours() {
    let vectors: Vec<serde_json::Value> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() > 20);
    for vector in vectors {
        let text = |key: &str| vector[key].as_str().unwrap();
        let host = Uuid::parse_str(text("host")).unwrap();
        let epoch = u32::try_from(vector["epoch"].as_u64().unwrap()).unwrap();
        let ours = derive(host, purpose(text("purpose")), text("name"), epoch);
        assert_eq!(ours.to_string(), text("uuid"), "{vector}");
    }
}

#[test]
fn the_documents_that_the_module_is_tested_with_have_no_mistakes() {
    for text in [SMALL, HOST, SECRETS] {
        let host = parse(text, "host.toml").unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(host.host.platform, Platform::Nixos);
    }
}

#[test]
fn the_module_knows_every_place_of_a_secret() {
    let host = parse(SECRETS, "host.toml").unwrap();
    let places: Vec<String> = host.repository_secrets().into_iter().map(|(what, _)| what).collect();
    // Those that nix/nixos/secrets.nix looks at.
    assert_eq!(
        places,
        ["backups.apps.password", "backups.apps.credentials", "notify.token", "secrets.user-data"]
    );
}

/// What the decoder makes of a document that says nothing, under the names of defaults.toml.
fn decoded(host: &HostFile, section: &str, key: &str) -> String {
    match (section, key) {
        ("host", "timezone") => host.host.timezone.clone(),
        ("host", "locale") => host.host.locale.clone(),
        ("os", "disk") => host.os.disk.clone(),
        ("os", "subvolumes") => format!("{:?}", host.os.subvolumes),
        ("unlock", "timeout_seconds") => host.unlock.timeout_seconds.to_string(),
        ("unlock", "keyfile") => host.unlock.keyfile.clone(),
        ("pool", "scrub") => host.pools["bulk"].scrub.clone().unwrap(),
        ("backup", "schedule") => host.backups["media"].schedule.clone(),
        ("backup", "prune") => host.backups["media"].upkeep.prune.clone().unwrap(),
        ("backup", "check") => host.backups["media"].upkeep.check.clone().unwrap(),
        ("backup", "check_data") => host.backups["media"].upkeep.check_data.clone().unwrap(),
        ("backup", "drill") => host.backups["media"].upkeep.drill.clone().unwrap(),
        other => panic!("no test knows {other:?}"),
    }
}

fn written(item: &Item) -> String {
    if let Some(table) = item.as_inline_table() {
        let pairs = table.iter().map(|(key, value)| (key.to_owned(), value.as_str().unwrap()));
        return format!("{:?}", pairs.collect::<std::collections::BTreeMap<_, _>>());
    }
    let whole = || item.as_integer().map(|number| number.to_string());
    item.as_str().map(str::to_owned).or_else(whole).unwrap()
}

#[test]
fn the_defaults_of_the_module_are_the_decoders() {
    let small = parse(SMALL, "host.toml").unwrap();
    let host = parse(HOST, "host.toml").unwrap();
    let defaults: DocumentMut = DEFAULTS.parse().unwrap();
    let mut compared = 0;
    for (section, keys) in defaults.iter() {
        // The small document has no backup; the other has one without a schedule.
        let document = if matches!(section, "backup" | "pool") { &host } else { &small };
        for (key, item) in keys.as_table().unwrap().iter() {
            assert_eq!(written(item), decoded(document, section, key), "[{section}] {key}");
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}
