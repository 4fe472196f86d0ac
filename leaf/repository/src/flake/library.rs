//! Functions of Nix and of nixpkgs' library that flakes come to their hosts with.

use std::rc::Rc;

use super::arity;
use super::evaluate::{Evaluator, Listing};
use super::frameworks;
use super::plain;
use super::value::{At, Doubt, Entry, Foreign, List, Set, Text, Thunk, Value};

/// Names that are there without a library; some have a value that is known.
pub(super) fn global(name: &str) -> Option<Option<Value>> {
    match name {
        "true" => Some(Some(Value::Bool(true))),
        "false" => Some(Some(Value::Bool(false))),
        "null" => Some(Some(Value::Null)),
        "map" | "import" | "toString" | "removeAttrs" | "baseNameOf" | "dirOf" | "throw"
        | "abort" | "isNull" | "derivation" | "fetchTarball" | "fetchGit" | "fetchTree"
        | "placeholder" | "scopedImport" => Some(None),
        _ => None,
    }
}

/// Values of a library.
pub(super) fn constant(path: &[&str], name: &str) -> Option<Value> {
    (path.last() == Some(&"builtins") && !name.is_empty())
        .then(|| match name {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            _ => None,
        })
        .flatten()
}

/// Whether two values are the same, where that is known.
pub(super) fn equal(one: &Value, other: &Value) -> Option<bool> {
    match (one, other) {
        (Value::Doubt(_) | Value::Foreign(_), _) | (_, Value::Doubt(_) | Value::Foreign(_)) => None,
        (Value::Text(one), Value::Text(other)) => Some(one.text == other.text),
        (Value::Bool(one), Value::Bool(other)) => Some(one == other),
        (Value::Path(one), Value::Path(other)) => Some(one == other),
        (Value::Null, Value::Null) => Some(true),
        (Value::Set(_), Value::Set(_)) | (Value::List(_), Value::List(_)) => None,
        (Value::Function(_), Value::Function(_)) => None,
        _ => Some(false),
    }
}

/// A value as a set, whatever is not known about it.
pub(super) fn as_set(value: &Value, at: &At) -> Set {
    match value {
        Value::Set(set) => Set::clone(set),
        Value::Foreign(foreign) => Set { under: vec![Rc::clone(foreign)], ..Set::default() },
        Value::Doubt(doubt) => Set { doubts: vec![Rc::clone(doubt)], ..Set::default() },
        _ => doubtful(at, "what stands here is no attribute set"),
    }
}

fn doubtful(at: &At, why: &str) -> Set {
    Set { doubts: vec![Rc::new(Doubt { at: at.clone(), why: why.to_owned() })], ..Set::default() }
}

/// What is not known of a set from elsewhere.
pub(super) fn doubt_of(foreign: &Foreign) -> Rc<Doubt> {
    let what = if foreign.arguments.is_empty() { "what" } else { "what the call of" };
    let verb = if foreign.arguments.is_empty() { "holds" } else { "returns" };
    let why = format!("{what} `{}` {verb} does not stand in this repository", foreign.shown());
    Rc::new(Doubt { at: foreign.at.clone(), why })
}

/// A set whose names alone matter: what it is merged over is a doubt.
pub(super) fn names(value: &Value, at: &At) -> Set {
    let mut set = as_set(value, at);
    set.doubts.extend(set.under.drain(..).map(|foreign| doubt_of(&foreign)));
    set
}

/// How much there is to copy of a value.
fn size(value: &Value) -> usize {
    match value {
        Value::Set(set) => set.entries.len() + set.under.len() + set.doubts.len(),
        Value::List(list) => list.items.len() + list.doubts.len(),
        _ => 1,
    }
}

/// `one // other`.
pub(super) fn update(evaluator: &Evaluator<'_>, one: &Value, other: &Value, at: &At) -> Value {
    if !evaluator.spend((size(one) + size(other)) / 16) {
        return evaluator.too_long(at);
    }
    let (mut one, other) = (as_set(one, at), as_set(other, at));
    if !one.entries.is_empty() {
        one.over.extend(other.under.iter().cloned());
    }
    one.over.extend(other.over);
    one.entries.extend(other.entries);
    one.under.extend(other.under);
    one.doubts.extend(other.doubts);
    one.listers.extend(other.listers);
    Value::Set(Rc::new(one))
}

/// `one // other`, and so on within.
pub(super) fn update_deep(evaluator: &Evaluator<'_>, one: &Value, other: &Value, at: &At) -> Value {
    if !evaluator.spend(size(one) + size(other)) {
        return evaluator.too_long(at);
    }
    let (left, right) = (as_set(one, at), as_set(other, at));
    let mut merged = left.clone();
    merged.under.extend(right.under.iter().cloned());
    merged.doubts.extend(right.doubts.iter().cloned());
    merged.listers.extend(right.listers.iter().cloned());
    for (name, entry) in right.entries {
        let value = match left.entries.get(&name) {
            Some(before) => {
                let (under, over) = (evaluator.force(&before.value), evaluator.force(&entry.value));
                match (&under, &over) {
                    (Value::Set(_), Value::Set(_)) => {
                        Thunk::done(update_deep(evaluator, &under, &over, at))
                    }
                    _ => entry.value.clone(),
                }
            }
            None => entry.value.clone(),
        };
        merged.entries.insert(name, Entry { value, ..entry });
    }
    Value::Set(Rc::new(merged))
}

/// `one ++ other`.
pub(super) fn append(evaluator: &Evaluator<'_>, one: &Value, other: &Value, at: &At) -> Value {
    if !evaluator.spend(size(one) + size(other)) {
        return evaluator.too_long(at);
    }
    let mut all = List::default();
    for value in [one, other] {
        let list = list(evaluator, value, at);
        all.items.extend(list.items);
        all.doubts.extend(list.doubts);
    }
    Value::List(Rc::new(all))
}

/// A value as a list, whatever is not known about it.
pub(super) fn list(evaluator: &Evaluator<'_>, value: &Value, at: &At) -> List {
    match value {
        Value::List(list) => List::clone(list),
        Value::Foreign(foreign) => List { items: Vec::new(), doubts: vec![doubt_of(foreign)] },
        other => {
            let doubt = match other {
                Value::Doubt(doubt) => Rc::clone(doubt),
                _ => match evaluator.doubt(at, "what stands here is no list") {
                    Value::Doubt(doubt) => doubt,
                    _ => return List::default(),
                },
            };
            List { items: Vec::new(), doubts: vec![doubt] }
        }
    }
}

fn of_list(items: Vec<Thunk>, doubts: Vec<Rc<Doubt>>) -> Value {
    Value::List(Rc::new(List { items, doubts }))
}

/// A pair as `listToAttrs` wants it.
fn pair(name: &Thunk, value: &Thunk) -> Value {
    let entry = |value: &Thunk| Entry { value: value.clone(), at: None, listed: None };
    let entries = [("name".into(), entry(name)), ("value".into(), entry(value))];
    Value::Set(Rc::new(Set { entries: entries.into(), ..Set::default() }))
}

/// Puts what stands under a name that was computed into a set.
fn put(evaluator: &Evaluator<'_>, set: &mut Set, name: &Value, value: Thunk, at: &At) {
    match name {
        Value::Text(text) => {
            let entry = Entry { value, at: text.at.clone(), listed: text.listed.clone() };
            set.entries.insert(Rc::clone(&text.text), entry);
        }
        Value::Doubt(doubt) => set.doubts.push(Rc::clone(doubt)),
        _ => {
            if let Value::Doubt(doubt) = evaluator.doubt(at, "a name is computed here") {
                set.doubts.push(doubt);
            }
        }
    }
}

fn from_pairs(evaluator: &Evaluator<'_>, list: List, at: &At) -> Value {
    let mut set = Set { doubts: list.doubts, ..Set::default() };
    for item in list.items {
        let item = evaluator.force(&item);
        let name = evaluator.attribute(&item, "name", at);
        let value = Thunk::select(&Thunk::done(item), "value", at);
        put(evaluator, &mut set, &name, value, at);
    }
    Value::Set(Rc::new(set))
}

/// What a name and its entry are called with, as `mapAttrs` does.
fn with_entry(function: &Thunk, name: &Rc<str>, entry: &Entry, at: &At) -> Thunk {
    let (place, listed) = (entry.at.clone(), entry.listed.clone());
    let name = Thunk::done(Value::Text(Text { text: Rc::clone(name), at: place, listed }));
    Thunk::apply(&Thunk::apply(function, &name, at), &entry.value, at)
}

/// A call of something from elsewhere.
pub(super) fn call(evaluator: &Evaluator<'_>, called: Foreign, at: &At) -> Value {
    if let Some(value) = frameworks::called(evaluator, &called, at) {
        return value;
    }
    let known = called.before.is_none() && arity::of(called.name()) == Some(called.arguments.len());
    let value = if known { reduce(evaluator, &called, at) } else { None };
    value.unwrap_or_else(|| Value::Foreign(Rc::new(called)))
}

fn reduce(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    // Each knows other names.
    sets(evaluator, called, at)
        .or_else(|| lists(evaluator, called, at))
        .or_else(|| together(evaluator, called, at))
        .or_else(|| pairs(evaluator, called, at))
        .or_else(|| files(evaluator, called, at))
        .or_else(|| plain::call(evaluator, called, at))
}

/// Functions that make sets of sets.
fn sets(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| match called.arguments.get(number) {
        Some(thunk) => evaluator.force(thunk),
        None => Value::Null,
    };
    let first = called.arguments.first()?;
    Some(match called.name() {
        "mapAttrs" => map_attrs(&names(&force(1), at), first, at),
        "mapAttrs'" => {
            let set = names(&force(1), at);
            let pairs = set.entries.iter().map(|(name, entry)| with_entry(first, name, entry, at));
            from_pairs(evaluator, List { items: pairs.collect(), doubts: set.doubts }, at)
        }
        "concatMapAttrs" => {
            let set = names(&force(1), at);
            let mut merged = Value::Set(Rc::new(Set { doubts: set.doubts, ..Set::default() }));
            for (name, entry) in &set.entries {
                let more = evaluator.force(&with_entry(first, name, entry, at));
                merged = update(evaluator, &merged, &more, at);
            }
            merged
        }
        "filterAttrs" => {
            let mut set = as_set(&force(1), at);
            set.entries.retain(|name, entry| {
                let kept = evaluator.force(&with_entry(first, name, entry, at));
                !matches!(kept, Value::Bool(false))
            });
            Value::Set(Rc::new(set))
        }
        "mergeAttrsList" => {
            fold(evaluator, list(evaluator, &force(0), at), |a, b| update(evaluator, a, b, at))
        }
        "mkMerge" => {
            let parts = list(evaluator, &force(0), at);
            fold(evaluator, parts, |a, b| update_deep(evaluator, a, b, at))
        }
        "recursiveUpdate" => update_deep(evaluator, &force(0), &force(1), at),
        "mergeAttrs" => update(evaluator, &force(0), &force(1), at),
        "optionalAttrs" | "mkIf" => match force(0) {
            Value::Bool(false) => Value::Set(Rc::default()),
            _ => force(1),
        },
        "removeAttrs" => {
            let mut set = as_set(&force(0), at);
            for name in list(evaluator, &force(1), at).items {
                if let Value::Text(name) = evaluator.force(&name) {
                    set.entries.remove(&name.text);
                }
            }
            Value::Set(Rc::new(set))
        }
        _ => return None,
    })
}

/// Functions that make a list of as many elements, or fewer.
fn lists(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| match called.arguments.get(number) {
        Some(thunk) => evaluator.force(thunk),
        None => Value::Null,
    };
    let first = called.arguments.first()?;
    let second = called.arguments.get(1).unwrap_or(first);
    Some(match called.name() {
        "mapAttrsToList" => {
            let set = names(&force(1), at);
            let items = set.entries.iter().map(|(name, entry)| with_entry(first, name, entry, at));
            of_list(items.collect(), set.doubts)
        }
        "attrNames" => {
            let set = names(&force(0), at);
            let name = |(name, entry): (&Rc<str>, &Entry)| {
                let (place, listed) = (entry.at.clone(), entry.listed.clone());
                Thunk::done(Value::Text(Text { text: Rc::clone(name), at: place, listed }))
            };
            of_list(set.entries.iter().map(name).collect(), set.doubts)
        }
        "attrValues" => {
            let set = names(&force(0), at);
            of_list(set.entries.values().map(|entry| entry.value.clone()).collect(), set.doubts)
        }
        "attrsToList" => {
            let set = names(&force(0), at);
            let item = |(name, entry): (&Rc<str>, &Entry)| {
                let (place, listed) = (entry.at.clone(), entry.listed.clone());
                let text = Value::Text(Text { text: Rc::clone(name), at: place, listed });
                Thunk::done(pair(&Thunk::done(text), &entry.value))
            };
            of_list(set.entries.iter().map(item).collect(), set.doubts)
        }
        "map" => mapped(list(evaluator, &force(1), at), first, at),
        "forEach" => mapped(list(evaluator, &force(0), at), second, at),
        "filter" => {
            let mut found = list(evaluator, &force(1), at);
            found.items.retain(|item| {
                !matches!(evaluator.force(&Thunk::apply(first, item, at)), Value::Bool(false))
            });
            Value::List(Rc::new(found))
        }
        _ => return None,
    })
}

/// Functions that put lists together, or what is in them.
fn together(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| match called.arguments.get(number) {
        Some(thunk) => evaluator.force(thunk),
        None => Value::Null,
    };
    let first = called.arguments.first()?;
    let second = called.arguments.get(1).unwrap_or(first);
    Some(match called.name() {
        "concatMap" => {
            let found = list(evaluator, &force(1), at);
            let mut all = List { items: Vec::new(), doubts: found.doubts };
            for item in found.items {
                let more = evaluator.force(&Thunk::apply(first, &item, at));
                if !evaluator.spend(size(&more)) {
                    return Some(evaluator.too_long(at));
                }
                let more = list(evaluator, &more, at);
                all.items.extend(more.items);
                all.doubts.extend(more.doubts);
            }
            Value::List(Rc::new(all))
        }
        "concatLists" | "flatten" => flatten(evaluator, list(evaluator, &force(0), at), at),
        "foldl'" | "foldl" | "foldr" | "fold" => {
            let mut found = list(evaluator, &force(2), at);
            let right = called.name().starts_with("foldr") || called.name() == "fold";
            if right {
                found.items.reverse();
            }
            // One after the other: a chain of ten thousand would be too deep.
            let mut value = force(1);
            for item in &found.items {
                let so_far = Thunk::done(value);
                let (one, other) = if right { (item, &so_far) } else { (&so_far, item) };
                value = evaluator.force(&Thunk::apply(&Thunk::apply(first, one, at), other, at));
            }
            match found.doubts.first() {
                Some(doubt) => update(evaluator, &Value::Doubt(Rc::clone(doubt)), &value, at),
                None => value,
            }
        }
        "optionals" | "optional" => match force(0) {
            Value::Bool(false) => Value::List(Rc::default()),
            _ if called.name() == "optional" => of_list(vec![second.clone()], Vec::new()),
            _ => force(1),
        },
        _ => return None,
    })
}

/// Functions that make sets of names.
fn pairs(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| match called.arguments.get(number) {
        Some(thunk) => evaluator.force(thunk),
        None => Value::Null,
    };
    let first = called.arguments.first()?;
    let second = called.arguments.get(1).unwrap_or(first);
    Some(match called.name() {
        "genAttrs" => gen_attrs(evaluator, list(evaluator, &force(0), at), second, at),
        "genAttrs'" => {
            let mut pairs = list(evaluator, &force(0), at);
            pairs.items.iter_mut().for_each(|item| *item = Thunk::apply(second, item, at));
            from_pairs(evaluator, pairs, at)
        }
        "listToAttrs" => from_pairs(evaluator, list(evaluator, &force(0), at), at),
        "nameValuePair" => pair(first, second),
        _ => return None,
    })
}

/// Functions that look at the tree.
fn files(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let force = |number: usize| match called.arguments.get(number) {
        Some(thunk) => evaluator.force(thunk),
        None => Value::Null,
    };
    Some(match called.name() {
        "readDir" => read_dir(evaluator, &force(0), called, at),
        "import" => match force(0) {
            Value::Path(path) => evaluator.import(&path, at),
            doubt @ Value::Doubt(_) => doubt,
            _ => return None,
        },
        "pathExists" => match force(0) {
            Value::Path(path) => match evaluator.kind(&path) {
                Some(_) => Value::Bool(true),
                None if evaluator.wanted.borrow().is_empty() => Value::Bool(false),
                None => evaluator.doubt(at, "whether this is there was not looked at"),
            },
            _ => return None,
        },
        _ => return None,
    })
}

fn map_attrs(set: &Set, function: &Thunk, at: &At) -> Value {
    let mapped = |(name, entry): (&Rc<str>, &Entry)| {
        let value = with_entry(function, name, entry, at);
        (Rc::clone(name), Entry { value, ..entry.clone() })
    };
    let entries = set.entries.iter().map(mapped).collect();
    Value::Set(Rc::new(Set { entries, under: Vec::new(), ..set.clone() }))
}

fn gen_attrs(evaluator: &Evaluator<'_>, names: List, function: &Thunk, at: &At) -> Value {
    let mut set = Set { doubts: names.doubts, ..Set::default() };
    for item in &names.items {
        let value = Thunk::apply(function, item, at);
        put(evaluator, &mut set, &evaluator.force(item), value, at);
    }
    Value::Set(Rc::new(set))
}

fn mapped(mut found: List, function: &Thunk, at: &At) -> Value {
    found.items.iter_mut().for_each(|item| *item = Thunk::apply(function, item, at));
    Value::List(Rc::new(found))
}

fn flatten(evaluator: &Evaluator<'_>, found: List, at: &At) -> Value {
    let mut all = List { items: Vec::new(), doubts: found.doubts };
    for item in found.items {
        match evaluator.force(&item) {
            value @ Value::List(_) if !evaluator.spend(size(&value)) => {
                return evaluator.too_long(at);
            }
            Value::List(more) => {
                all.items.extend(more.items.iter().cloned());
                all.doubts.extend(more.doubts.iter().cloned());
            }
            Value::Foreign(_) | Value::Doubt(_) => {
                let more = list(evaluator, &evaluator.force(&item), at);
                all.doubts.extend(more.doubts);
            }
            _ => all.items.push(item),
        }
    }
    Value::List(Rc::new(all))
}

fn fold(evaluator: &Evaluator<'_>, found: List, merge: impl Fn(&Value, &Value) -> Value) -> Value {
    let start = Value::Set(Rc::new(Set { doubts: found.doubts, ..Set::default() }));
    found.items.iter().fold(start, |so_far, item| merge(&so_far, &evaluator.force(item)))
}

fn read_dir(evaluator: &Evaluator<'_>, value: &Value, called: &Foreign, at: &At) -> Value {
    let path = match value {
        Value::Path(path) => path,
        Value::Doubt(_) => return value.clone(),
        _ => return Value::Doubt(doubt_of(called)),
    };
    let listing = Listing { at: at.clone(), directory: path.to_string() };
    evaluator.listings.borrow_mut().push(listing);
    let Some(found) = evaluator.directory(path) else {
        return evaluator
            .doubt(at, format!("what stands in ./{} is not known", path.escape_debug()));
    };
    let entry = |(name, kind): (&String, &super::sources::Kind)| {
        let value = Thunk::done(Value::Text(Text::plain(kind.name())));
        (Rc::from(name.as_str()), Entry { value, at: None, listed: Some(Rc::clone(path)) })
    };
    let entries = found.iter().map(entry).collect();
    Value::Set(Rc::new(Set { entries, ..Set::default() }))
}
