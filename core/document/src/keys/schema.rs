//! The keys as JSON Schema, for editors.

use serde_json::{Map, Value as Json, json};

use super::page::absent;
use super::{Absent, Block, DOCUMENT, Form, Key, Value};
use bedplate_model::size;

/// The schema of a document (JSON Schema, draft 2020-12). What a string must be like, and what must
/// agree between sections, is for the decoder to say.
pub fn schema() -> Json {
    let mut schema = table(&DOCUMENT);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "host.toml".into());
    schema.into()
}

fn table(block: &Block) -> Map<String, Json> {
    let properties: Map<_, _> =
        block.keys.iter().map(|key| (key.name.into(), property(block, key).into())).collect();
    let required = block.keys.iter().filter(|key| key.absent == Absent::Required);
    let required: Vec<_> = required.map(|key| key.name).collect();
    let mut table = object(json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }));
    if block.one_of.len() > 1 {
        let ways = block.one_of.iter().map(|name| json!({ "required": [name] }));
        table.insert("oneOf".into(), ways.collect());
    }
    table
}

fn property(block: &Block, key: &Key) -> Map<String, Json> {
    let mut property = value(key.form);
    let missed = key.absent == Absent::Required || absent(block, key) == "none";
    let absent = if missed { String::new() } else { format!(" Default: {}.", absent(block, key)) };
    property.insert("description".into(), format!("{}{absent}", key.about).into());
    if let Absent::Default(value) = key.absent {
        property.insert("default".into(), json(value));
    }
    property
}

fn value(form: Form) -> Map<String, Json> {
    object(match form {
        Form::Text(_) => json!({ "type": "string" }),
        Form::Choice(words) => json!({ "type": "string", "enum": words }),
        Form::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Form::Boolean => json!({ "type": "boolean" }),
        // Not every reader of JSON knows a whole number as large as the largest.
        Form::Size(least, u64::MAX) => json!({ "type": ["string", "integer"], "minimum": least }),
        Form::Size(least, most) => {
            json!({ "type": ["string", "integer"], "minimum": least, "maximum": most })
        }
        Form::Texts(_) => json!({ "type": "array", "items": { "type": "string" } }),
        Form::Table(block) => return table(block),
        Form::Named(_, block) => json!({ "type": "object", "additionalProperties": table(block) }),
        Form::Tables(block) => json!({ "type": "array", "items": table(block) }),
        Form::TextMap(..) => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Form::TextOrTable(text, block) => json!({ "anyOf": [value(*text), table(block)] }),
    })
}

fn json(value: Value) -> Json {
    match value {
        Value::Text(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Boolean(switch) => switch.into(),
        Value::Size(bytes) => size::write(bytes).into(),
        Value::Texts(texts) => texts.into(),
        Value::Table(values) => values.iter().map(|(name, value)| (*name, json(*value))).collect(),
    }
}

/// The members of what `json!` makes of braces.
fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}
