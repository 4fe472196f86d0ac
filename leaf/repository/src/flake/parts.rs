//! Modules of flake-parts: which hosts they define.

use std::rc::Rc;

use rnix::TextRange;
use rnix::ast::Expr;

use super::evaluate::Evaluator;
use super::frameworks::{self, merged};
use super::library::{as_set, doubt_of, list};
use super::sources::{Kind, below};
use super::tree::{bare, node};
use super::value::{At, Code, Doubt, Entry, Foreign, Set, Thunk, Value};

/// Modules within modules, and directories within directories.
const DEPTH: usize = 12;

/// What `mkFlake ARGUMENTS MODULE` returns.
pub(super) fn result(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Value {
    let mut hosts = Set::default();
    if let [_, module] = called.arguments.as_slice() {
        frameworks::parts_with(evaluator, literal(module));
        hosts = of_module(evaluator, &evaluator.force(module), at, DEPTH);
    }
    frameworks::result(called, hosts)
}

/// The set that stands in the flake for a module.
fn literal(module: &Thunk) -> Option<TextRange> {
    let Code::Expr(expression, scope) = &module.0.code else { return None };
    let mut found = bare(expression);
    while let Expr::Lambda(lambda) = &found {
        found = bare(&lambda.body()?);
    }
    match found {
        Expr::AttrSet(set) if &*scope.0.file == super::FILE => Some(node(&set).text_range()),
        _ => None,
    }
}

/// What a module is called with.
fn arguments(evaluator: &Evaluator<'_>, at: &At) -> Thunk {
    let entry = |path: &[&str]| {
        let value = Thunk::done(evaluator.foreign(path, at));
        (
            Rc::from(path.last().copied().unwrap_or_default()),
            Entry { value, at: None, listed: None },
        )
    };
    let entries = [entry(&["inputs"]), entry(&["self"]), entry(&["lib"])].into();
    let under = match evaluator.foreign(&["module"], at) {
        Value::Foreign(foreign) => vec![foreign],
        _ => Vec::new(),
    };
    Thunk::done(Value::Set(Rc::new(Set { entries, under, ..Set::default() })))
}

fn doubtful(doubt: Rc<Doubt>) -> Set {
    Set { doubts: vec![doubt], ..Set::default() }
}

fn of_module(evaluator: &Evaluator<'_>, module: &Value, at: &At, depth: usize) -> Set {
    if depth == 0 {
        let why = "these modules import each other too deeply".to_owned();
        return doubtful(Rc::new(Doubt { at: at.clone(), why }));
    }
    match module {
        Value::Function(_) => {
            let called = evaluator.apply(module, &arguments(evaluator, at), at);
            of_module(evaluator, &called, at, depth - 1)
        }
        Value::Path(path) => {
            let imported = evaluator.import(path, at);
            of_module(evaluator, &imported, at, depth - 1)
        }
        Value::Set(set) => of_set(evaluator, set, at, depth),
        Value::List(_) => of_list(evaluator, module, at, depth),
        Value::Doubt(doubt) => doubtful(Rc::clone(doubt)),
        Value::Foreign(foreign) => of_foreign(evaluator, foreign, at, depth),
        _ => Set::default(),
    }
}

/// A module from elsewhere. One that is not known here is taken to define no hosts of its own.
fn of_foreign(evaluator: &Evaluator<'_>, foreign: &Foreign, at: &At, depth: usize) -> Set {
    if foreign.passes("import-tree") {
        return match foreign.arguments.last().map(|argument| evaluator.force(argument)) {
            Some(Value::Path(path)) => {
                frameworks::lister(evaluator, "import-tree", &path);
                tree(evaluator, &path, at, depth - 1)
            }
            _ => doubtful(doubt_of(foreign)),
        };
    }
    if foreign.passes("nixos-unified")
        && foreign.path.iter().any(|part| part.starts_with("autoWire"))
    {
        return frameworks::directory_of(evaluator, "nixos-unified", "configurations/nixos", at);
    }
    Set::default()
}

/// Every Nix file below a directory, as import-tree takes them.
fn tree(evaluator: &Evaluator<'_>, path: &str, at: &At, depth: usize) -> Set {
    let mut hosts = Set::default();
    if depth == 0 {
        return hosts;
    }
    let Some(names) = evaluator.directory(path) else { return hosts };
    for (name, kind) in names.iter().filter(|(name, _)| !name.starts_with('_')) {
        let inner = below(path, name);
        let more = match kind {
            Kind::Directory => tree(evaluator, &inner, at, depth - 1),
            Kind::File if name.ends_with(".nix") => {
                of_module(evaluator, &Value::Path(inner.as_str().into()), at, depth - 1)
            }
            _ => continue,
        };
        hosts = merged(evaluator, hosts, more, at);
    }
    hosts
}

fn of_list(evaluator: &Evaluator<'_>, modules: &Value, at: &At, depth: usize) -> Set {
    let found = list(evaluator, modules, at);
    let mut hosts = Set { doubts: found.doubts, ..Set::default() };
    for module in found.items {
        let more = of_module(evaluator, &evaluator.force(&module), at, depth - 1);
        hosts = merged(evaluator, hosts, more, at);
    }
    hosts
}

fn of_set(evaluator: &Evaluator<'_>, set: &Set, at: &At, depth: usize) -> Set {
    let mut hosts = Set { doubts: set.doubts.clone(), ..Set::default() };
    let value = |name: &str| set.entries.get(name).map(|entry| evaluator.force(&entry.value));
    let mut add = |more: Set| hosts = merged(evaluator, std::mem::take(&mut hosts), more, at);
    match value("imports") {
        Some(Value::Foreign(foreign)) => add(of_foreign(evaluator, &foreign, at, depth)),
        Some(imports) => add(of_list(evaluator, &imports, at, depth)),
        None => {}
    }
    if let Some(config) = value("config") {
        add(of_module(evaluator, &config, at, depth - 1));
    }
    if let Some(flake) = value("flake") {
        add(of_flake(evaluator, &flake, at));
    }
    if let Some(options) = value("easy-hosts").or_else(|| value("easyHosts")) {
        add(frameworks::easy_hosts(evaluator, &options, at));
    }
    if let Some(options) = value("clan") {
        add(frameworks::clan(evaluator, &options, at));
    }
    if let Some(Value::Set(options)) = value("ezConfigs") {
        let root = options.entries.get("root").map(|entry| evaluator.force(&entry.value));
        let root = match root {
            Some(Value::Path(path)) => path,
            _ => "".into(),
        };
        let directory = below(&root, "nixos-configurations");
        add(frameworks::directory_of(evaluator, "ez-configs", &directory, at));
    }
    hosts
}

/// The hosts among the outputs that a module defines.
fn of_flake(evaluator: &Evaluator<'_>, flake: &Value, at: &At) -> Set {
    match flake {
        Value::Function(_) => {
            let called = evaluator.apply(flake, &arguments(evaluator, at), at);
            match called {
                Value::Function(_) => Set::default(),
                other => of_flake(evaluator, &other, at),
            }
        }
        Value::Set(set) => {
            let mut hosts = Set { doubts: set.doubts.clone(), ..Set::default() };
            hosts.doubts.extend(set.under.iter().map(|foreign| doubt_of(foreign)));
            if let Some(entry) = set.entries.get(super::NAME) {
                let mut found = as_set(&evaluator.force(&entry.value), at);
                found.doubts.extend(found.under.drain(..).map(|foreign| doubt_of(&foreign)));
                hosts = merged(evaluator, hosts, found, at);
            }
            hosts
        }
        other => {
            let mut found = as_set(other, at);
            found.doubts.extend(found.under.drain(..).map(|foreign| doubt_of(&foreign)));
            found.entries.clear();
            found
        }
    }
}
