//! Values of YAML as values of TOML, by the form that a key of `host.toml` has.

use bedplate_document::keys::{Block, Form};
use bedplate_yaml::{Content, Node};
use toml_edit::{Array, InlineTable, Value};

use crate::draft::refused;
use crate::hints;
use crate::note::{Notes, quote};
use crate::scalar;

/// The value that stands for `node` where the form is asked for; what is none is told.
pub(crate) fn of(form: Form, node: &Node, about: &str, notes: &mut Notes) -> Option<Value> {
    match form {
        Form::Text(_) | Form::Size(..) => text(form, node, about, notes).map(Value::from),
        Form::Choice(words) => choice(words, node, about, notes).map(Value::from),
        Form::Integer(least, most) => integer(least, most, node, about, notes).map(Value::from),
        Form::Boolean => switch(node, about, notes).map(Value::from),
        Form::Texts(_) => texts(form, node, about, notes).map(Value::Array),
        Form::Table(block) => table(block, node, about, notes).map(Value::InlineTable),
        Form::Tables(block) => tables(block, node, about, notes).map(Value::Array),
        Form::TextOrTable(text, _) if matches!(node.content, Content::Scalar { .. }) => {
            of(*text, node, about, notes)
        }
        Form::TextOrTable(_, block) => table(block, node, about, notes).map(Value::InlineTable),
        Form::Named(..) | Form::TextMap(..) => {
            notes.open(node, about, "left out: write it into host.toml by hand");
            None
        }
    }
}

fn text(form: Form, node: &Node, about: &str, notes: &mut Notes) -> Option<String> {
    let text = scalar::text(node, about, notes)?;
    if let Some(Err(wrong)) = form.rule().map(|rule| rule(text)) {
        refused(node, about, &wrong, notes);
        return None;
    }
    let other = scalar::other_than_text(text).filter(|_| node.is_plain() && node.tag().is_none());
    if let Some(other) = other {
        let message = format!(
            "{} without quotes is {other} in YAML 1.1, as Ansible reads it; taken as it is written: \
             look whether that is meant",
            quote(text)
        );
        notes.open(node, about, message);
    }
    Some(text.to_owned())
}

fn choice(words: &[&str], node: &Node, about: &str, notes: &mut Notes) -> Option<String> {
    let text = scalar::text(node, about, notes)?;
    if words.contains(&text) {
        return Some(text.to_owned());
    }
    let hint =
        hints::word(text, words).map(|word| format!("; \"{word}\" is what it is called here"));
    let (words, hint) = (words.join(", "), hint.unwrap_or_default());
    notes.open(node, about, format!("left out: {} is none of {words}{hint}", quote(text)));
    None
}

fn integer(least: u32, most: u32, node: &Node, about: &str, notes: &mut Notes) -> Option<i64> {
    let text = scalar::text(node, about, notes)?;
    let found = scalar::number(text).filter(|found| found.is_plain || node.is_plain());
    let Some(found) = found else {
        notes.open(node, about, format!("left out: {}", no_number(text, least, most)));
        return None;
    };
    let Some(value) = u32::try_from(found.value).ok().filter(|it| (least..=most).contains(it))
    else {
        let message = format!("left out: {} is no number from {least} to {most}", found.value);
        notes.open(node, about, message);
        return None;
    };
    if !found.is_plain {
        let message = format!("{} is {value} in YAML 1.1, as Ansible reads it", quote(text));
        notes.tell(node, about, message);
    }
    Some(value.into())
}

/// Why a text is no whole number, where it looks like one.
fn no_number(text: &str, least: u32, most: u32) -> String {
    let shown = quote(text);
    let range = format!("a whole number from {least} to {most}");
    let body = text.strip_prefix("0o").unwrap_or(text);
    let is_digits = !body.is_empty() && body.bytes().all(|byte| byte.is_ascii_digit());
    if text.starts_with("0o") && is_digits {
        let meant = u64::from_str_radix(body, 8);
        let meant = meant.map(|meant| format!(" (in YAML 1.2 it is {meant})")).unwrap_or_default();
        return format!(
            "{shown} is a text in YAML 1.1, as Ansible reads it, and no number{meant}; write {range}"
        );
    }
    if is_digits && text.starts_with('0') {
        return format!("{shown} may be meant in base 8 or 10; write {range}");
    }
    format!("{shown} is not {range}")
}

fn switch(node: &Node, about: &str, notes: &mut Notes) -> Option<bool> {
    let text = scalar::text(node, about, notes)?;
    let switch = scalar::switch(text);
    if switch.is_none() {
        notes.open(node, about, format!("left out: {} is neither true nor false", quote(text)));
    }
    switch
}

fn texts(form: Form, node: &Node, about: &str, notes: &mut Notes) -> Option<Array> {
    let mut array = Array::new();
    for (index, item) in list(node, about, notes)?.iter().enumerate() {
        array.extend(text(form, item, &format!("{about}[{index}]"), notes));
    }
    (!array.is_empty()).then_some(array)
}

fn tables(block: &'static Block, node: &Node, about: &str, notes: &mut Notes) -> Option<Array> {
    let mut array = Array::new();
    for (index, item) in list(node, about, notes)?.iter().enumerate() {
        let found = table(block, item, &format!("{about}[{index}]"), notes);
        array.extend(found.map(Value::InlineTable));
    }
    (!array.is_empty()).then_some(array)
}

/// The items of a list; what is none is told as what it is.
pub(crate) fn list<'n>(node: &'n Node, about: &str, notes: &mut Notes) -> Option<&'n [Node]> {
    match &node.content {
        Content::List(items) => return Some(items),
        Content::Scalar { .. } => {
            if scalar::text(node, about, notes).is_some() {
                notes.open(node, about, format!("this is {}, and no list; left out", node.kind()));
            }
        }
        _ => notes.open(node, about, format!("this is {}, and no list; left out", node.kind())),
    }
    None
}

fn table(
    block: &'static Block,
    node: &Node,
    about: &str,
    notes: &mut Notes,
) -> Option<InlineTable> {
    if !matches!(node.content, Content::Map(_)) {
        if scalar::text(node, about, notes).is_some() {
            notes.open(node, about, format!("this is {}, and no map; left out", node.kind()));
        }
        return None;
    }
    let names: Vec<&str> = block.keys.iter().map(|key| key.name).collect();
    unknown(node, about, &names, notes);
    let mut table = InlineTable::new();
    for key in block.keys {
        let Some(found) = node.get(key.name).filter(|found| !found.is_null()) else { continue };
        if let Some(value) = of(key.form, found, &format!("{about}.{}", key.name), notes) {
            table.insert(key.name, value);
        }
    }
    (!table.is_empty()).then_some(table)
}

/// Names the keys of a map that are not known, with what they may be called here.
pub(crate) fn unknown(node: &Node, about: &str, known: &[&str], notes: &mut Notes) {
    for (key, _) in node.entries() {
        let name = key.text().unwrap_or_default();
        if !known.contains(&name) {
            let about = format!("{about}.{name}");
            notes.open(key, &about, hints::unknown(name, known));
        }
    }
}
