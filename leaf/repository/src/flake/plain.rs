//! Functions of a library that say something of strings, or hand on what they are given.

use std::rc::Rc;

use super::data;
use super::evaluate::Evaluator;
use super::library::{equal, list, names, update};
use super::sources::split;
use super::value::{At, Foreign, Text, Thunk, Value};

/// What a function of strings, or one that hands on what it is given, comes to.
pub(super) fn call(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    strings(evaluator, called)
        .or_else(|| held(evaluator, called, at))
        .or_else(|| handing(evaluator, called, at))
}

/// Functions of strings.
fn strings(evaluator: &Evaluator<'_>, called: &Foreign) -> Option<Value> {
    let force = |number: usize| called.arguments.get(number).map(|one| evaluator.force(one));
    let text = |number: usize| match force(number) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    };
    let name = called.name();
    Some(match name {
        "removeSuffix" | "removePrefix" => {
            let (affix, text) = (text(0)?, text(1)?);
            let stripped = match name {
                "removeSuffix" => text.text.strip_suffix(&*affix.text),
                _ => text.text.strip_prefix(&*affix.text),
            };
            Value::Text(text.become_text(stripped.unwrap_or(&text.text)))
        }
        "hasSuffix" => Value::Bool(text(1)?.text.ends_with(&*text(0)?.text)),
        "hasPrefix" => Value::Bool(text(1)?.text.starts_with(&*text(0)?.text)),
        "baseNameOf" => match force(0)? {
            Value::Path(path) => Value::Text(Text::plain(split(&path).1)),
            Value::Text(text) => Value::Text(text.become_text(split(&text.text).1)),
            _ => return None,
        },
        "toString"
        | "unsafeDiscardStringContext"
        | "id"
        | "toPath"
        | "mkDefault"
        | "mkForce"
        | "unique"
        | "naturalSort"
        | "mkBefore"
        | "mkAfter" => match force(0)? {
            Value::Foreign(_) => return None,
            value => value,
        },
        "not" => match force(0)? {
            Value::Bool(value) => Value::Bool(!value),
            _ => return None,
        },
        _ => return None,
    })
}

/// Functions of what is in lists, sets and files.
fn held(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| called.arguments.get(number).map(|one| evaluator.force(one));
    let text = |number: usize| match force(number) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    };
    let name = called.name();
    Some(match name {
        "elem" => {
            let (wanted, all) = (force(0)?, list(evaluator, &force(1)?, at));
            let found: Vec<_> =
                all.items.iter().map(|item| equal(&wanted, &evaluator.force(item))).collect();
            if found.contains(&Some(true)) {
                Value::Bool(true)
            } else if all.doubts.is_empty() && !found.contains(&None) {
                Value::Bool(false)
            } else {
                return None;
            }
        }
        "hasAttr" => match force(1)? {
            Value::Set(set) if set.under.is_empty() && set.doubts.is_empty() => {
                Value::Bool(set.entries.contains_key(&text(0)?.text))
            }
            _ => return None,
        },
        "getAttr" => evaluator.attribute(&force(1)?, &text(0)?.text, at),
        "head" => {
            let all = list(evaluator, &force(0)?, at);
            evaluator.force(all.items.first()?)
        }
        "readFile" => data::text(evaluator, &force(0)?, at)?,
        "fromJSON" => data::of_json(&text(0)?.text)?,
        "fromTOML" => data::of_toml(&text(0)?.text)?,
        "importJSON" | "importTOML" => {
            let Value::Text(found) = data::text(evaluator, &force(0)?, at)? else { return None };
            match name {
                "importJSON" => data::of_json(&found.text)?,
                _ => data::of_toml(&found.text)?,
            }
        }
        _ => return None,
    })
}

/// Functions that hand on what they are given.
fn handing(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| called.arguments.get(number).map(|one| evaluator.force(one));
    let first = called.arguments.first()?;
    let name = called.name();
    Some(match name {
        "extend" => extended(evaluator, called, first, at)?,
        "makeExtensible" | "fix" => {
            // What refers to the whole is seen with the whole as it is without that.
            let seen = Thunk::done(evaluator.foreign(&["self-reference"], at));
            let once = Thunk::done(evaluator.force(&Thunk::apply(first, &seen, at)));
            evaluator.force(&Thunk::apply(first, &once, at))
        }
        "const" => force(0)?,
        "trace" | "seq" | "deepSeq" | "warn" | "mkOverride" => force(1)?,
        "warnIf" | "throwIf" | "throwIfNot" => force(2)?,
        "flip" => {
            let swapped = Thunk::apply(first, called.arguments.get(2)?, at);
            evaluator.force(&Thunk::apply(&swapped, called.arguments.get(1)?, at))
        }
        "pipe" => {
            let mut value = first.clone();
            for step in list(evaluator, &force(1)?, at).items {
                value = Thunk::apply(&step, &value, at);
            }
            evaluator.force(&value)
        }
        "eachDefaultSystemPassThrough" | "eachSystemPassThrough" => {
            let function = called.arguments.last()?;
            let system = Thunk::done(evaluator.foreign(&["system"], at));
            evaluator.force(&Thunk::apply(function, &system, at))
        }
        "eachDefaultSystem" | "eachSystem" => {
            let function = called.arguments.last()?;
            let system = Thunk::done(evaluator.foreign(&["system"], at));
            let mut set = names(&evaluator.force(&Thunk::apply(function, &system, at)), at);
            for entry in set.entries.values_mut() {
                // Below each name stands one for each system.
                entry.value = Thunk::done(evaluator.doubt(at, "this has a set for each system"));
            }
            Value::Set(Rc::new(set))
        }
        _ => return None,
    })
}

/// A library with more in it: `lib.extend (final: prev: { … })`.
fn extended(
    evaluator: &Evaluator<'_>,
    called: &Foreign,
    overlay: &Thunk,
    at: &At,
) -> Option<Value> {
    let mut path = called.path.clone();
    path.pop();
    let base = Foreign { path, arguments: Vec::new(), before: None, at: at.clone() };
    let base = Value::Foreign(Rc::new(base));
    let before = Thunk::done(base.clone());
    let mut whole = base.clone();
    // Twice: what the second finds in the whole is what the first put there.
    for _ in 0..2 {
        let with = Thunk::apply(overlay, &Thunk::done(whole), at);
        let more = evaluator.force(&Thunk::apply(&with, &before, at));
        whole = update(evaluator, &base, &more, at);
    }
    Some(whole)
}
