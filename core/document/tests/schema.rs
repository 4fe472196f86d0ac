//! The JSON Schema of the keys takes every document that the decoder takes, and refuses wrong ones.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_document::keys::schema;
use bedplate_document::parse;
use serde_json::Value as Json;
use toml_edit::{DocumentMut, Item, Value};

const EVERYTHING: &str = include_str!("../../../tests/tests/honoured/every_key.toml");

/// A value of TOML as the JSON that editors hold against a schema.
fn json(value: &Value) -> Json {
    match value {
        Value::String(text) => text.value().as_str().into(),
        Value::Integer(number) => (*number.value()).into(),
        Value::Float(number) => (*number.value()).into(),
        Value::Boolean(switch) => (*switch.value()).into(),
        Value::Datetime(date) => date.to_string().into(),
        Value::Array(values) => values.iter().map(json).collect(),
        Value::InlineTable(table) => {
            table.iter().map(|(name, value)| (name.to_owned(), json(value))).collect()
        }
    }
}

fn document(text: &str) -> Option<Json> {
    let document: DocumentMut = text.parse().ok()?;
    let whole = Item::Table(document.as_table().clone()).into_value().ok()?;
    Some(json(&whole))
}

fn is_of(kind: &str, value: &Json) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => panic!("no type `{other}`"),
    }
}

fn number(value: &Json) -> i128 {
    i128::from(value.as_i64().unwrap())
}

/// What is wrong with a value, each with its place. The keywords are those of draft 2020-12 that the
/// schema uses; any other is a panic, because it would hold for nothing here.
fn wrong(schema: &Json, value: &Json, path: &str, found: &mut Vec<String>) {
    for (keyword, asked) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => match asked.as_array() {
                Some(kinds) => kinds.iter().any(|kind| is_of(kind.as_str().unwrap(), value)),
                None => is_of(asked.as_str().unwrap(), value),
            },
            "enum" => asked.as_array().unwrap().contains(value),
            "minimum" => !value.is_number() || value.is_f64() || number(value) >= number(asked),
            "maximum" => !value.is_number() || value.is_f64() || number(value) <= number(asked),
            "required" => value.as_object().is_none_or(|members| {
                asked
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|name| members.contains_key(name.as_str().unwrap()))
            }),
            "anyOf" | "oneOf" => {
                let holds = |schema: &&Json| {
                    let mut found = Vec::new();
                    wrong(schema, value, path, &mut found);
                    found.is_empty()
                };
                let ways = asked.as_array().unwrap().iter().filter(holds).count();
                ways == 1 || (ways > 1 && keyword == "anyOf")
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    wrong(asked, item, &format!("{path}[{index}]"), found);
                }
                true
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = asked.get(name) {
                        wrong(schema, member, &format!("{path}.{name}"), found);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                let more = value.as_object().into_iter().flatten();
                let mut more = more.filter(|(name, _)| known.is_none_or(|k| k.get(name).is_none()));
                if asked.is_object() {
                    more.for_each(|(name, member)| {
                        wrong(asked, member, &format!("{path}.{name}"), found);
                    });
                    true
                } else {
                    assert_eq!(asked, false);
                    more.next().is_none()
                }
            }
            other => panic!("no test knows `{other}`"),
        };
        if !holds {
            found.push(format!("{path}: {keyword}"));
        }
    }
}

fn complaints(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    wrong(&schema(), &document(text).unwrap(), "", &mut found);
    found
}

/// The documents of a directory and of those below it.
fn hosts(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hosts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml")
            && fs::read_to_string(&path).unwrap().contains("\n[host]\n")
        {
            found.push(path);
        }
    }
}

#[test]
fn what_the_decoder_takes_is_right_by_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut paths = Vec::new();
    for name in ["core", "nix", "profiles", "tests"] {
        hosts(&root.join(name), &mut paths);
    }
    let (mut right, mut refused) = (0, 0);
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        if document(&text).is_none() {
            continue;
        }
        let found = complaints(&text);
        if parse(&text, "host.toml").is_ok() {
            assert!(found.is_empty(), "{}: {found:?}", path.display());
            right += 1;
        } else if !found.is_empty() {
            refused += 1;
        }
    }
    assert!(right > 60 && refused >= 10, "{right} are right, {refused} are refused");
}

#[test]
fn wrong_documents_are_refused_where_they_are_wrong() {
    let edits = [
        ("schema = 1", "schema = 2", ".schema: maximum"),
        ("schema = 1", "", ": required"),
        ("schema = 1", "schema = 1\nname = \"box\"", ": additionalProperties"),
        ("platform = \"embedded\"", "platform = \"debian\"", ".host.platform: enum"),
        ("wipe = \"blank\"", "wipe = \"all\"", ".disks.os.wipe: enum"),
        ("esp_size = \"1GiB\"", "esp_size = 1000", ".os.esp_size: minimum"),
        ("esp_size = \"1GiB\"", "esp_size = 1.5", ".os.esp_size: type"),
        ("subvolumes = { root = \"/\"", "subvolumes = { root = 1", ".os.subvolumes.root: type"),
        ("timeout_seconds = 45", "timeout_seconds = 4500", ".unlock.timeout_seconds: maximum"),
        ("recovery = { stick", "recovery = { stic", ".unlock.recovery: anyOf"),
        ("volume_id = ", "volumeid = ", ".unlock.sticks[0]: required"),
        ("disks = [\"bulk1\"", "disks = [1", ".pools.bulk.disks[0]: type"),
        ("dhcp = true", "dhcp = \"yes\"", ".network.bridges.br0.dhcp: type"),
        ("vcpu = 2", "vcpu = 0", ".vms.apps.vcpu: minimum"),
        ("firmware = \"uefi\"", "firmware = \"efi\"", ".vms.apps.firmware: enum"),
        (
            "token = { file = \"/var/lib/bedplate/notify-token\" }",
            "token = {}",
            ".notify.token: oneOf",
        ),
        (
            "age = \"tunnel.age\"",
            "age = \"a\"\nsops = \"b.yaml\"\nkey = \"c\"",
            ".secrets.tunnel: oneOf",
        ),
        ("then = \"poweroff\"", "then = \"halt\"", ".install.then: enum"),
    ];
    assert_eq!(complaints(EVERYTHING), [""; 0]);
    for (from, to, complaint) in edits {
        let text = EVERYTHING.replacen(from, to, 1);
        assert_ne!(text, EVERYTHING, "`{from}` is not there");
        assert!(parse(&text, "host.toml").is_err(), "{to}");
        let found = complaints(&text);
        assert!(found.iter().any(|found| found == complaint), "{to}: {found:?}");
    }
}

/// Every default is one that stands where it is told of.
fn defaults(schema: &Json, count: &mut usize) {
    if let Some(default) = schema.get("default") {
        let mut found = Vec::new();
        wrong(schema, default, "", &mut found);
        assert!(found.is_empty(), "{schema}: {found:?}");
        *count += 1;
    }
    let inside = schema.as_object().map(|members| members.values()).into_iter().flatten();
    inside.chain(schema.as_array().into_iter().flatten()).for_each(|inner| defaults(inner, count));
}

#[test]
fn defaults_are_right_by_their_own_schema_and_every_key_is_told_of() {
    let (schema, mut count) = (schema(), 0);
    defaults(&schema, &mut count);
    assert!(count > 40, "{count}");
    assert_eq!(
        schema["properties"]["vms"]["additionalProperties"]["properties"]["vcpu"]["default"],
        2
    );
    let ram = &schema["properties"]["vms"]["additionalProperties"]["properties"]["ram_mb"];
    assert_eq!(ram["description"], "Memory in MiB. Default: 2048; 4096 for \"haos\".");
}
