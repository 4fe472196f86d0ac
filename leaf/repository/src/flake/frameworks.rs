//! Frameworks that make hosts of directories and of their own options, each told by how it is called.

use std::rc::Rc;

use rnix::TextRange;
use rnix::ast::Expr;

use super::evaluate::Evaluator;
use super::library::{self, as_set, doubt_of};
use super::parts;
use super::sources::{Kind, Names, below};
use super::tree::{bare, node};
use super::value::{At, Code, Doubt, Entry, Foreign, Set, Text, Thunk, Value};

/// What makes a flake's hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framework {
    /// Our own lister: a directory is a host.
    Ours {
        /// The directory of hosts.
        directory: String,
    },
    /// blueprint, which lists `hosts` below its prefix.
    Blueprint {
        /// The directory of hosts.
        directory: String,
    },
    /// flake-parts, whose modules define them.
    Parts {
        /// The module that `flake.nix` itself holds.
        module: Option<TextRange>,
    },
    /// Something that builds each host itself and can be given what builds another one.
    Builders {
        /// Its name.
        name: &'static str,
        /// The directory that it lists hosts in.
        directory: Option<String>,
        /// What it is called with.
        argument: Option<TextRange>,
        /// Where hosts stand among that.
        path: &'static [&'static str],
    },
    /// Something that takes whatever stands in a directory for a host or a module of its own: none of
    /// ours can stand there.
    Lister {
        /// Its name.
        name: &'static str,
        /// The directory.
        directory: String,
    },
}

/// Why a framework's directory of hosts is not known.
pub(crate) const UNPLACED: [&str; 2] = [
    "the prefix of blueprint is not understood",
    "where snowfall's directory is, is not understood",
];

/// Whether something is an input, by its usual name or by where it comes from.
pub(super) fn is_input(evaluator: &Evaluator<'_>, foreign: &Foreign, known: &str) -> bool {
    let from = |name: &str| {
        name == known || evaluator.urls.get(name).is_some_and(|url| url.contains(known))
    };
    match foreign.path.as_slice() {
        [inputs, name, ..] if &**inputs == "inputs" => from(name),
        [name, ..] => from(name),
        [] => false,
    }
}

/// The names of directories in one that a framework lists; none where it is not there.
pub(super) fn listed(
    evaluator: &Evaluator<'_>,
    directory: &str,
    at: &At,
    name: impl Fn(&str, Kind) -> Option<String>,
) -> Set {
    let Some(found) = names_in(evaluator, directory) else {
        let why = format!("what stands in ./{} was not looked at", directory.escape_debug());
        let doubt = Doubt { at: at.clone(), why };
        return Set { doubts: vec![Rc::new(doubt)], ..Set::default() };
    };
    let host = |(text, kind): (&String, &Kind)| {
        let value = Thunk::done(evaluator.foreign(&["host"], at));
        let entry = Entry { value, at: None, listed: Some(directory.into()) };
        Some((Rc::from(name(text, *kind)?.as_str()), entry))
    };
    Set { entries: found.iter().filter_map(host).collect(), ..Set::default() }
}

static NOTHING: Names = Names::new();

fn names_in<'a>(evaluator: &Evaluator<'a>, directory: &str) -> Option<&'a Names> {
    let found = evaluator.directory(directory);
    if found.is_none() && evaluator.is_absent(directory) { Some(&NOTHING) } else { found }
}

/// A directory's name as a host's.
pub(super) fn of_directory(name: &str, kind: Kind) -> Option<String> {
    (kind != Kind::File).then(|| name.to_owned())
}

/// The name of a directory or of a Nix file as a host's.
pub(super) fn of_either(name: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::File => name.strip_suffix(".nix").map(str::to_owned),
        _ => Some(name.to_owned()),
    }
}

/// A result of which the hosts are known.
pub(super) fn result(called: &Foreign, hosts: Set) -> Value {
    let value = Thunk::done(Value::Set(Rc::new(hosts)));
    let entry = Entry { value, at: Some(called.at.clone()), listed: None };
    let entries = [(super::NAME.into(), entry)].into();
    let under = vec![Rc::new(called.clone())];
    Value::Set(Rc::new(Set { entries, under, ..Set::default() }))
}

/// What a framework returns.
pub(super) fn called(evaluator: &Evaluator<'_>, called: &Foreign, at: &At) -> Option<Value> {
    let (name, count) = (called.name(), called.arguments.len());
    if name == "mkFlake" && count == 2 && is_input(evaluator, called, "flake-parts") {
        return Some(parts::result(evaluator, called, at));
    }
    let [argument] = called.arguments.as_slice() else { return None };
    let of_ours = |path: &[Rc<str>]| match path {
        [.., input, lib, hosts] => &**input == "bedplate" && &**lib == "lib" && &**hosts == "hosts",
        _ => false,
    };
    if of_ours(&called.path) {
        return ours(evaluator, argument, at);
    }
    if called.path.len() <= 2 && is_input(evaluator, called, "blueprint") && name != "mkFlake" {
        return Some(blueprint(evaluator, called, argument, at));
    }
    if name == "load" && is_input(evaluator, called, "haumea") {
        let Value::Path(path) = option(evaluator, &evaluator.force(argument), "src")? else {
            return None;
        };
        return Some(Value::Set(Rc::new(listed(evaluator, &path, at, of_either))));
    }
    if name == "mkFlake" && is_input(evaluator, called, "nixos-unified") {
        return Some(unified(evaluator, called, argument, at));
    }
    if name == "mkFlake" && is_input(evaluator, called, "snowfall-lib") {
        return Some(snowfall(evaluator, called, argument, at));
    }
    if name == "mkFlake" && is_input(evaluator, called, "flake-utils-plus") {
        return Some(utils_plus(evaluator, called, argument, at));
    }
    None
}

fn push(evaluator: &Evaluator<'_>, framework: Framework) {
    let mut all = evaluator.frameworks.borrow_mut();
    if !all.contains(&framework) {
        all.push(framework);
    }
}

fn ours(evaluator: &Evaluator<'_>, argument: &Thunk, at: &At) -> Option<Value> {
    let Value::Path(directory) = evaluator.force(argument) else { return None };
    push(evaluator, Framework::Ours { directory: directory.to_string() });
    let mut hosts = listed(evaluator, &directory, at, of_directory);
    hosts.listers.push(directory);
    Some(Value::Set(Rc::new(hosts)))
}

/// An argument's entry, where it is there.
fn option(evaluator: &Evaluator<'_>, argument: &Value, name: &str) -> Option<Value> {
    match argument {
        Value::Set(set) => set.entries.get(name).map(|entry| evaluator.force(&entry.value)),
        _ => None,
    }
}

fn blueprint(evaluator: &Evaluator<'_>, called: &Foreign, argument: &Thunk, at: &At) -> Value {
    let argument = evaluator.force(argument);
    let unknown = |at: &At| {
        let doubt = Doubt { at: at.clone(), why: UNPLACED[0].to_owned() };
        result(called, Set { doubts: vec![Rc::new(doubt)], ..Set::default() })
    };
    if !matches!(argument, Value::Set(_)) {
        return unknown(at);
    }
    let prefix = match option(evaluator, &argument, "prefix") {
        None | Some(Value::Null) => "".into(),
        Some(Value::Text(Text { text, .. })) => text,
        Some(Value::Path(path)) => path,
        Some(Value::Doubt(doubt)) => return unknown(&doubt.at),
        Some(_) => return unknown(at),
    };
    let prefix = prefix.trim_start_matches("./").trim_end_matches('/');
    let prefix = if prefix == "." { "" } else { prefix };
    let directory = below(prefix, "hosts");
    push(evaluator, Framework::Blueprint { directory: directory.clone() });
    let mut hosts = listed(evaluator, &directory, at, of_directory);
    hosts.listers.push(directory.into());
    result(called, hosts)
}

/// The set that stands in the flake for an argument.
fn literal(argument: &Thunk) -> Option<TextRange> {
    let Code::Expr(expression, scope) = &argument.0.code else { return None };
    match bare(expression) {
        Expr::AttrSet(set) if &*scope.0.file == super::FILE => Some(node(&set).text_range()),
        _ => None,
    }
}

const SYSTEM: &str = "x86_64-linux";

fn snowfall(evaluator: &Evaluator<'_>, called: &Foreign, argument: &Thunk, at: &At) -> Value {
    let given = evaluator.force(argument);
    let made = called.before.as_ref().and_then(|before| before.arguments.first());
    let made = made.map(|made| evaluator.force(made));
    let root = [Some(&given), made.as_ref()].into_iter().flatten().find_map(|set| {
        let snowfall = option(evaluator, set, "snowfall")?;
        option(evaluator, &snowfall, "root")
    });
    let source = [Some(&given), made.as_ref()]
        .into_iter()
        .flatten()
        .find_map(|set| option(evaluator, set, "src"));
    let root = match (root, source) {
        (Some(Value::Path(path)), _) | (None, Some(Value::Path(path))) => path,
        (Some(Value::Text(text)), _) => text.text.trim_matches(['.', '/']).into(),
        _ => {
            let doubt = Rc::new(Doubt { at: at.clone(), why: UNPLACED[1].to_owned() });
            return result(called, Set { doubts: vec![doubt], ..Set::default() });
        }
    };
    let systems = below(&root, "systems");
    let mut hosts = Set::default();
    let targets = listed(evaluator, &systems, at, of_directory);
    hosts.doubts.extend(targets.doubts.iter().cloned());
    for target in targets.entries.keys() {
        let found = listed(evaluator, &below(&systems, target), at, of_directory);
        hosts.entries.extend(found.entries);
        hosts.doubts.extend(found.doubts);
    }
    push(
        evaluator,
        Framework::Builders {
            name: "snowfall",
            directory: Some(below(&systems, SYSTEM)),
            argument: literal(argument),
            path: &["systems", "hosts"],
        },
    );
    result(called, hosts)
}

fn utils_plus(evaluator: &Evaluator<'_>, called: &Foreign, argument: &Thunk, at: &At) -> Value {
    let given = evaluator.force(argument);
    let hosts = option(evaluator, &given, "hosts");
    let mut hosts = hosts.map_or_else(Set::default, |hosts| as_set(&hosts, at));
    hosts.doubts.extend(hosts.under.drain(..).map(|foreign| doubt_of(&foreign)));
    if let Value::Doubt(doubt) = given {
        hosts.doubts.push(doubt);
    }
    push(
        evaluator,
        Framework::Builders {
            name: "flake-utils-plus",
            directory: None,
            argument: literal(argument),
            path: &["hosts"],
        },
    );
    result(called, hosts)
}

/// nixos-unified lists `configurations/nixos` at its root, or below `nix`.
fn unified(evaluator: &Evaluator<'_>, called: &Foreign, argument: &Thunk, at: &At) -> Value {
    let given = evaluator.force(argument);
    let root = match option(evaluator, &given, "root") {
        Some(Value::Path(path)) => path,
        _ => "".into(),
    };
    let mut hosts = Set::default();
    for above in ["", "nix"] {
        let directory = below(&below(&root, above), "configurations/nixos");
        let found = directory_of(evaluator, "nixos-unified", &directory, at);
        hosts = merged(evaluator, hosts, found, at);
    }
    result(called, hosts)
}

/// What is taken from what a framework returned.
pub(super) fn taken(evaluator: &Evaluator<'_>, found: &Foreign) -> Option<Value> {
    let before = found.before.as_ref()?;
    let is_clan = matches!(before.name(), "clan" | "buildClan")
        && is_input(evaluator, before, "clan-core")
        && found.name() == super::NAME;
    if !is_clan {
        return None;
    }
    let argument = evaluator.force(before.arguments.first()?);
    Some(Value::Set(Rc::new(clan(evaluator, &argument, &found.at))))
}

/// The machines of a clan.
pub(super) fn clan(evaluator: &Evaluator<'_>, options: &Value, at: &At) -> Set {
    let mut hosts = Set::default();
    let mut add = |value: Option<Value>| {
        let Some(value) = value else { return };
        let mut more = as_set(&value, at);
        more.doubts.extend(more.under.drain(..).map(|foreign| doubt_of(&foreign)));
        hosts.entries.extend(more.entries);
        hosts.doubts.extend(more.doubts);
    };
    add(option(evaluator, options, "machines"));
    let inventory = option(evaluator, options, "inventory");
    add(inventory.and_then(|inventory| option(evaluator, &inventory, "machines")));
    let root = match option(evaluator, options, "directory") {
        Some(Value::Path(path)) => path,
        _ => "".into(),
    };
    let directory = below(&root, "machines");
    add(Some(Value::Set(Rc::new(listed(evaluator, &directory, at, of_directory)))));
    push(evaluator, Framework::Lister { name: "clan", directory });
    hosts
}

/// The hosts of easy-hosts, by its options.
pub(super) fn easy_hosts(evaluator: &Evaluator<'_>, options: &Value, at: &At) -> Set {
    let mut hosts = match option(evaluator, options, "hosts") {
        Some(value) => as_set(&value, at),
        None => Set::default(),
    };
    hosts.doubts.extend(hosts.under.drain(..).map(|foreign| doubt_of(&foreign)));
    let constructed = option(evaluator, options, "autoConstruct");
    if !matches!(constructed, None | Some(Value::Bool(false))) {
        let Some(Value::Path(path)) = option(evaluator, options, "path") else {
            let why = "where easy-hosts looks for hosts is not understood";
            hosts.doubts.push(Rc::new(Doubt { at: at.clone(), why: why.to_owned() }));
            return hosts;
        };
        let only = option(evaluator, options, "onlySystem").is_some();
        let first = listed(evaluator, &path, at, of_directory);
        let directories = if only {
            vec![path.to_string()]
        } else {
            first.entries.keys().map(|system| below(&path, system)).collect()
        };
        hosts.doubts.extend(first.doubts);
        for directory in directories {
            let found = listed(evaluator, &directory, at, of_either);
            hosts.entries.extend(found.entries);
            hosts.doubts.extend(found.doubts);
        }
        push(evaluator, Framework::Lister { name: "easy-hosts", directory: path.to_string() });
    }
    hosts
}

/// The hosts of a directory that a module of flake-parts lists.
pub(super) fn directory_of(
    evaluator: &Evaluator<'_>,
    name: &'static str,
    directory: &str,
    at: &At,
) -> Set {
    lister(evaluator, name, directory);
    listed(evaluator, directory, at, of_either)
}

/// Notes a directory of which something takes everything.
pub(super) fn lister(evaluator: &Evaluator<'_>, name: &'static str, directory: &str) {
    push(evaluator, Framework::Lister { name, directory: directory.to_owned() });
}

/// Notes that flake-parts is there.
pub(super) fn parts_with(evaluator: &Evaluator<'_>, module: Option<TextRange>) {
    push(evaluator, Framework::Parts { module });
}

/// The union of sets of hosts, as modules are merged.
pub(super) fn merged(evaluator: &Evaluator<'_>, one: Set, other: Set, at: &At) -> Set {
    let (one, other) = (Value::Set(Rc::new(one)), Value::Set(Rc::new(other)));
    as_set(&library::update(evaluator, &one, &other, at), at)
}
