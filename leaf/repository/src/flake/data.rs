//! Files of data that a flake reads its hosts from.

use std::rc::Rc;

use serde_json::Value as Json;

use super::evaluate::Evaluator;
use super::value::{At, Doubt, Entry, List, Set, Text, Thunk, Value};

/// The text of a file.
pub(super) fn text(evaluator: &Evaluator<'_>, path: &Value, at: &At) -> Option<Value> {
    let Value::Path(path) = path else { return None };
    match evaluator.file(path) {
        Some(text) => Some(Value::Text(Text::plain(text))),
        None => Some(evaluator.doubt(at, format!("{} cannot be read", path.escape_debug()))),
    }
}

/// What a text says as JSON.
pub(super) fn of_json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().map(|json: Json| value(&json))
}

/// What a text says as TOML.
pub(super) fn of_toml(text: &str) -> Option<Value> {
    let tree: toml_edit::DocumentMut = text.parse().ok()?;
    Some(table(tree.as_table()))
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Number(_) => other(),
        Json::Bool(is) => Value::Bool(*is),
        Json::String(text) => Value::Text(Text::plain(text)),
        Json::Array(items) => list(items.iter().map(value)),
        Json::Object(entries) => set(entries.iter().map(|(name, one)| (name.as_str(), value(one)))),
    }
}

fn list(items: impl Iterator<Item = Value>) -> Value {
    Value::List(Rc::new(List { items: items.map(Thunk::done).collect(), doubts: Vec::new() }))
}

fn set<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let entry = |(name, value): (&str, Value)| {
        (name.into(), Entry { value: Thunk::done(value), at: None, listed: None })
    };
    Value::Set(Rc::new(Set { entries: entries.map(entry).collect(), ..Set::default() }))
}

fn table(found: &dyn toml_edit::TableLike) -> Value {
    set(found.iter().map(|(name, item)| (name, of_item(item))))
}

fn of_item(item: &toml_edit::Item) -> Value {
    if let Some(found) = item.as_table_like() {
        return table(found);
    }
    if let Some(tables) = item.as_array_of_tables() {
        return list(tables.iter().map(|one| table(one)));
    }
    item.as_value().map_or_else(other, of_value)
}

fn of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::Text(Text::plain(text.value())),
        toml_edit::Value::Boolean(is) => Value::Bool(*is.value()),
        toml_edit::Value::Array(items) => list(items.iter().map(of_value)),
        toml_edit::Value::InlineTable(inner) => table(inner),
        _ => other(),
    }
}

/// A number or a date: it is something, and no name.
fn other() -> Value {
    let at = At { file: super::FILE.into(), offset: 0 };
    Value::Doubt(Rc::new(Doubt { at, why: "a number stands in a file of data".to_owned() }))
}
