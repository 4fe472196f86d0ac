//! What the NixOS module (`nix/nixos`) says for itself, held against the keys and `derive`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_document::keys::{Absent, blocks};
use bedplate_document::parse;
use bedplate_model::host::Platform;
use bedplate_model::identity::{Purpose, derive};
use toml_edit::DocumentMut;
use uuid::Uuid;

const SMALL: &str = include_str!("../../../nix/nixos/tests/small.toml");
const HOST: &str = include_str!("../../../nix/nixos/tests/host.toml");
const SECRETS: &str = include_str!("../../../nix/nixos/tests/secrets.toml");
const SECURE_BOOT: &str = include_str!("../../../nix/nixos/tests/secure-boot.toml");
const READER: &str = include_str!("../../../nix/nixos/tests/reader.toml");
const DEFAULTS: &str = include_str!("../../../nix/nixos/defaults.toml");
const VECTORS: &str = include_str!("../../../nix/nixos/identity-vectors.json");

fn purpose(word: &str) -> Purpose {
    match word {
        "gpt-disk" => Purpose::GptDisk,
        "gpt-esp" => Purpose::GptEsp,
        "gpt-luks" => Purpose::GptLuks,
        "luks" => Purpose::Luks,
        "btrfs" => Purpose::FileSystem,
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
    for text in [SMALL, HOST, SECRETS, SECURE_BOOT, READER] {
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

#[test]
fn what_the_claims_of_the_module_read_is_there() {
    let claims = include_str!("../../../nix/nixos/tests/evaluate.nix");
    let prefix = "../../../host-service/src/etc/snapshots + \"/";
    let prefix = claims.split_once(prefix).unwrap().1.split_once("${test}").unwrap().0;
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host-service/src/etc/snapshots");
    let named: Vec<&str> =
        claims.split("snapshot \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(named.len() > 2, "{named:?}");
    for name in named {
        let file = directory.join(format!("{prefix}{name}.snap"));
        assert!(file.is_file(), "{}", file.display());
    }
}

/// What the keys of that name mean where they are left out: in the one section, or wherever they are.
fn absent(section: Option<&str>, name: &str) -> Vec<Absent> {
    let blocks = blocks().into_iter().filter(|block| section.is_none_or(|path| block.path == path));
    blocks.filter_map(|block| block.key(name)).map(|key| key.absent).collect()
}

/// A default as TOML, which for what stands in Nix is as Nix writes it.
fn written(absent: &[Absent]) -> String {
    match absent {
        [Absent::Default(value)] => value.to_string(),
        other => panic!("no default: {other:?}"),
    }
}

#[test]
fn the_defaults_of_the_module_are_those_of_the_keys() {
    let defaults: DocumentMut = DEFAULTS.parse().unwrap();
    let mut compared = 0;
    for (section, keys) in defaults.iter() {
        let path = match section {
            "backup" => "backups.<name>",
            "bridge" => "network.bridges.<name>",
            "pool" => "pools.<name>",
            "secret" => "secrets.<name>",
            "vm" => "vms.<name>",
            other => other,
        };
        for (key, item) in keys.as_table().unwrap().iter() {
            let found = item.to_string();
            assert_eq!(found.trim(), written(&absent(Some(path), key)), "[{section}] {key}");
            compared += 1;
        }
    }
    assert_eq!(compared, 18);
}

/// The files of Nix below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "nix") {
            found.push(path);
        }
    }
}

/// Every `….NAME or VALUE` of an expression.
fn fallbacks(text: &str) -> Vec<(String, String)> {
    let code = text.lines().map(|line| line.split_once('#').map_or(line, |(code, _)| code));
    let words: Vec<_> = code.flat_map(str::split_whitespace).collect();
    let windows = words.windows(3).filter(|words| words[1] == "or");
    let both = windows.filter_map(|words| {
        let name = words[0].rsplit_once('.')?.1;
        Some((name.to_owned(), words[2].trim_end_matches([')', ';', ']']).to_owned()))
    });
    both.collect()
}

#[test]
fn what_an_expression_says_of_an_absent_key_is_what_the_key_says() {
    // The platform is a key of other documents too, and required in ours.
    const OTHERS: [&str; 1] = ["platform"];
    let text = "(a.tpm or false) # b.c or d\n x.y or { }; z.locale or\n  \"C\");";
    let found = fallbacks(text);
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, [("tpm", "false"), ("y", "{"), ("locale", "\"C\"")]);

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut paths = Vec::new();
    files(&root.join("nix"), &mut paths);
    let (mut values, mut empty) = (0, 0);
    for path in
        paths.into_iter().filter(|path| !path.components().any(|part| part.as_os_str() == "tests"))
    {
        for (name, value) in fallbacks(&fs::read_to_string(&path).unwrap()) {
            let absent = absent(None, &name);
            if absent.is_empty() || OTHERS.contains(&name.as_str()) {
                continue;
            }
            let place = format!("{}: {name} or {value}", path.display());
            if matches!(value.as_str(), "{" | "[" | "null" | "(if" | "(throw") {
                let given = absent.iter().any(|absent| matches!(absent, Absent::Default(_)));
                assert!(!given, "{place}, and the key has a default");
                empty += 1;
            } else {
                assert_eq!(value, written(&absent), "{place}");
                values += 1;
            }
        }
    }
    // Those of lib.nix, which stands in a repository without a file of defaults beside it.
    assert!(values == 2 && empty > 10, "{values} values and {empty} that are empty");
}
