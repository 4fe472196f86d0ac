//! What is said of the keys elsewhere is what their definition says: the page, and the
//! values that are meant where nothing is written.
//!
//! `BEDPLATE_WRITE=1 cargo test -p bedplate-document --test keys` writes the page and the schema.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use bedplate_document::keys::{Absent, Block, Form, Key, Value, blocks, page, schema};
use bedplate_document::parse;
use bedplate_model::host::{Health, REMIND_HOURS, Upkeep, monthly};

const MINIMAL: &str = include_str!("hosts/good_minimal.toml");

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join(path)
}

/// Fails where a committed file does not end in what the keys give, which is behind `mark`.
fn committed(path: &str, mark: &str, wanted: &str) {
    let text = fs::read_to_string(at(path)).unwrap_or_default();
    let before = &text[..text.find(mark).unwrap_or(text.len())];
    let whole = format!("{before}{wanted}");
    if std::env::var_os("BEDPLATE_WRITE").is_some() {
        return fs::write(at(path), &whole).unwrap();
    }
    let differs = whole.lines().zip(text.lines()).find(|(wanted, found)| wanted != found);
    let help = "BEDPLATE_WRITE=1 cargo test -p bedplate-document --test keys";
    assert!(whole == text, "{path} is not what the keys give ({help}): {differs:?}");
}

fn keys() -> impl Iterator<Item = (&'static Block, &'static Key)> {
    blocks().into_iter().flat_map(|block| block.keys.iter().map(move |key| (block, key)))
}

#[test]
fn the_reference_page_is_that_of_the_keys() {
    let page = page();
    assert_eq!(page.matches("\n| `").count(), keys().count());
    committed("docs/host-toml.md", "## `(top level)`", &page);
}

#[test]
fn the_schema_is_that_of_the_keys() {
    let schema = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    committed("docs/host-toml.schema.json", "{", &schema);
}

/// Whether a value is one that can stand where the form is asked for.
fn fits(form: Form, value: Value) -> bool {
    match (form, value) {
        (Form::Text(rule), Value::Text(text)) => rule(text).is_ok(),
        (Form::Choice(words), Value::Text(word)) => words.contains(&word),
        (Form::Integer(least, most), Value::Integer(number)) => (least..=most).contains(&number),
        (Form::Boolean, Value::Boolean(_)) => true,
        (Form::Size(least, most), Value::Size(bytes)) => (least..=most).contains(&bytes),
        (Form::Texts(rule), Value::Texts(texts)) => texts.iter().all(|text| rule(text).is_ok()),
        (Form::TextMap(name, rule), Value::Table(values)) => values.iter().all(|(key, value)| {
            name(key).is_ok() && matches!(value, Value::Text(text) if rule(text).is_ok())
        }),
        (Form::Table(block) | Form::TextOrTable(_, block), Value::Table(values)) => values
            .iter()
            .all(|(name, value)| block.key(name).is_some_and(|key| fits(key.form, *value))),
        _ => false,
    }
}

#[test]
fn what_is_meant_by_absence_could_be_written() {
    assert!(!fits(Form::Integer(1, 2), Value::Integer(3)));
    assert!(!fits(Form::Choice(&["a"]), Value::Text("b")));
    let mut looked = 0;
    for (block, key) in keys() {
        let own = match key.absent {
            Absent::Default(value) => Some(value),
            Absent::Required | Absent::Derived(_) => None,
        };
        for value in block.of_kinds(key.name).map(|(_, value)| value).chain(own) {
            assert!(fits(key.form, value), "{}.{}: {value}", block.path, key.name);
            looked += 1;
        }
    }
    assert!(looked > 40, "{looked}");
    for (block, (kind, values)) in blocks().iter().flat_map(|b| b.kinds.iter().map(move |k| (b, k)))
    {
        let words = block.key("kind").and_then(|key| key.form.words()).unwrap();
        assert!(words.contains(kind), "{kind} is no kind of `{}`", block.path);
        for (name, _) in *values {
            assert!(block.key(name).is_some(), "{kind} says something of `{name}`");
        }
    }
}

#[test]
fn sections_stand_where_their_keys_say() {
    assert!(blocks().len() > 30);
    for block in blocks() {
        let unknown = block.one_of.iter().find(|name| block.key(name).is_none());
        assert_eq!(unknown, None, "one of `{}`", block.path);
    }
    for (block, key) in keys() {
        let Some(inner) = key.form.block() else { continue };
        let path = if block.path.is_empty() { String::new() } else { format!("{}.", block.path) };
        let rest = inner.path.strip_prefix(&format!("{path}{}", key.name));
        let rest = rest.unwrap_or_else(|| panic!("`{}` below `{path}`", inner.path));
        match key.form {
            Form::Named(..) => assert!(rest.starts_with(".<") && rest.ends_with('>'), "{rest}"),
            Form::Tables(_) => assert_eq!(rest, "[]"),
            _ => assert_eq!(rest, ""),
        }
    }
}

#[test]
fn absence_means_the_same_where_the_model_says_it_too() {
    let more = "[notify]\nurl = \"https://ntfy.sh/x\"\n\
                [backups.a]\nrepository = \"/mnt/data/b\"\npaths = [\"/mnt/data/a\"]\n\
                password = { stick = \"a\" }\n";
    let host = parse(&format!("{MINIMAL}\n{more}"), "host.toml").unwrap_or_else(|p| panic!("{p}"));
    assert_eq!(host.health, Health::default());
    assert_eq!(host.backups["a"].upkeep, Upkeep::default());
    assert_eq!(host.notify.unwrap().remind_hours, Some(REMIND_HOURS));
    assert_eq!(host.pools["data"].scrub, monthly());
}
