//! The hosts of a flake: their names, what is not known of them, and where one more goes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rnix::TextRange;
use rnix::ast::{Expr, HasEntry as _};

use super::evaluate::Evaluator;
use super::frameworks::Framework;
use super::library::{as_set, doubt_of};
use super::site::{self, Site};
use super::sources::{Sources, Wanted};
use super::tree::{Lines, attribute_path, entry, plain_string};
use super::value::{At, Foreign, Scope, Set, Thunk, Value};
use super::{FILE, NAME};

/// A place in one of the repository's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}:{}", self.file.escape_debug(), self.line, self.column)
    }
}

/// Where a host's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where it is written.
    pub place: Option<Place>,
    /// The directory that it was listed in.
    pub listed: Option<String>,
}

/// Something that is not known of the hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncertain {
    /// Where it begins.
    pub place: Place,
    /// What is not known.
    pub why: String,
}

/// The hosts of a flake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    /// Names that are hosts, or may be.
    pub known: BTreeMap<String, Known>,
    /// Why there may be others.
    pub doubts: Vec<Uncertain>,
    /// What makes them.
    pub frameworks: Vec<Framework>,
    /// The directory of which each new one is a host at once.
    pub lister: Option<String>,
    /// Directories that are listed, for whatever it is.
    pub listings: Vec<(Place, String)>,
    /// What was not at hand.
    pub wanted: Vec<Wanted>,
    /// Where one more goes.
    pub(super) sites: Vec<Site>,
    /// Where `nixosConfigurations` stands, as far as that can be seen without following anything.
    pub(super) seen: Option<Place>,
    /// What the call of the sought host comes to.
    pub(super) called: Option<(String, String)>,
}

/// More doubts are not told: one is enough.
const DOUBTS: usize = 100;
/// Room for evaluations within evaluations.
const STACK: usize = 256 << 20;

/// The hosts of the flake with this text. `sought` is the host whose call is looked at.
pub(super) fn of(text: &str, sources: &Sources, sought: Option<&str>) -> Hosts {
    let work = || match super::parsed(text) {
        Ok(Some(top)) => Analysis::new(text, sources).run(&top, sought),
        _ => Hosts::of_nothing("it is not an attribute set"),
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        match worker.map(|worker| worker.join()) {
            Ok(Ok(hosts)) => hosts,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(_) => Hosts::of_nothing("there is no memory to look at it"),
        }
    })
}

impl Hosts {
    fn of_nothing(why: &str) -> Self {
        let place = Place { file: FILE.to_owned(), line: 1, column: 1 };
        Self {
            known: BTreeMap::new(),
            doubts: vec![Uncertain { place, why: why.to_owned() }],
            frameworks: Vec::new(),
            lister: None,
            listings: Vec::new(),
            wanted: Vec::new(),
            sites: vec![Site::Hand { why: why.to_owned() }],
            seen: None,
            called: None,
        }
    }

    /// Where a host of that name comes from, unless its directory says so.
    pub(crate) fn place_of(&self, name: &str) -> Option<Place> {
        let known = self.known.get(name).filter(|known| known.listed.is_none())?;
        let start = Place { file: FILE.to_owned(), line: 1, column: 1 };
        Some(known.place.clone().or_else(|| self.seen.clone()).unwrap_or(start))
    }

    /// Whether every name is known.
    pub fn are_known(&self) -> bool {
        self.doubts.is_empty()
    }
}

/// One look at a flake.
struct Analysis<'a> {
    text: &'a str,
    sources: &'a Sources,
    evaluator: Evaluator<'a>,
    lines: RefCell<BTreeMap<String, Lines<'a>>>,
}

impl<'a> Analysis<'a> {
    fn new(text: &'a str, sources: &'a Sources) -> Self {
        Self { text, sources, evaluator: Evaluator::new(sources), lines: RefCell::default() }
    }

    fn place(&self, at: &At) -> Place {
        let mut files = self.lines.borrow_mut();
        let lines = files.entry(at.file.to_string()).or_insert_with(|| {
            Lines::of(match self.sources.files.get(&*at.file) {
                _ if &*at.file == FILE => self.text,
                Some(Some(text)) => text,
                _ => "",
            })
        });
        let (line, column) = lines.position(at.offset);
        Place { file: at.file.to_string(), line, column }
    }

    fn run(mut self, top: &Expr, sought: Option<&str>) -> Hosts {
        let Expr::AttrSet(set) = top else {
            return Hosts::of_nothing("it is not an attribute set");
        };
        self.evaluator.urls = urls(set);
        let scope = Scope::of_file(FILE);
        let Some(outputs) = entry(set, "outputs").and_then(|outputs| outputs.value()) else {
            return Hosts::of_nothing("it has no outputs");
        };
        let at = scope.at(super::evaluate::start(&outputs));
        let inputs = Thunk::done(self.evaluator.foreign(&["inputs"], &at));
        let result = Thunk::apply(&Thunk::expr(outputs.clone(), &scope), &inputs, &at);
        *self.evaluator.outputs.borrow_mut() = Some(result.clone());
        let value = self.evaluator.force(&result);
        let hosts = self.hosts(&value, &at);
        let (sites, seen) = (
            site::find(&self.evaluator, &outputs, &inputs, &hosts),
            seen(top).map(|range| self.place(&scope.at(usize::from(range.start())))),
        );
        let called = sought.and_then(|name| self.called(&hosts, name));
        self.told(hosts, sites, seen, called)
    }

    /// `nixosConfigurations` of the outputs.
    fn hosts(&self, value: &Value, at: &At) -> Set {
        let mut hosts = match value {
            Value::Set(set) => {
                let mut hosts = match set.entries.get(NAME) {
                    Some(entry) => as_set(&self.evaluator.force(&entry.value), at),
                    None => Set {
                        doubts: set.under.iter().map(|foreign| doubt_of(foreign)).collect(),
                        ..Set::default()
                    },
                };
                hosts.doubts.extend(set.over.iter().map(|foreign| doubt_of(foreign)));
                hosts.doubts.extend(set.doubts.iter().cloned());
                hosts
            }
            other => as_set(other, at),
        };
        hosts.doubts.extend(hosts.under.drain(..).map(|foreign| doubt_of(&foreign)));
        hosts
    }

    /// The name and the directory that a host is called with, when it is one of ours.
    fn called(&self, hosts: &Set, name: &str) -> Option<(String, String)> {
        let value = self.evaluator.force(&hosts.entries.get(name)?.value);
        let Value::Foreign(foreign) = value else { return None };
        let Foreign { path, arguments, .. } = &*foreign;
        let ours = match path.as_slice() {
            [.., input, lib, host] => {
                &**input == "bedplate" && &**lib == "lib" && &**host == "host"
            }
            _ => false,
        };
        let [name, directory] = arguments.as_slice() else { return None };
        match (ours, self.evaluator.force(name), self.evaluator.force(directory)) {
            (true, Value::Text(name), Value::Path(path)) => {
                Some((name.text.to_string(), path.to_string()))
            }
            _ => None,
        }
    }

    fn told(
        self,
        hosts: Set,
        sites: Vec<Site>,
        seen: Option<Place>,
        called: Option<(String, String)>,
    ) -> Hosts {
        let known = hosts.entries.iter().map(|(name, entry)| {
            let place = entry.at.as_ref().map(|at| self.place(at));
            let listed = entry.listed.as_ref().map(|listed| listed.to_string());
            (name.to_string(), Known { place, listed })
        });
        let mut doubts: Vec<Uncertain> = Vec::new();
        for doubt in hosts.doubts.iter().take(DOUBTS) {
            let one = Uncertain { place: self.place(&doubt.at), why: doubt.why.clone() };
            if !doubts.contains(&one) {
                doubts.push(one);
            }
        }
        let listings = self.evaluator.listings.borrow();
        Hosts {
            known: known.collect(),
            doubts,
            frameworks: self.evaluator.frameworks.borrow().clone(),
            lister: hosts.listers.first().map(|lister| lister.to_string()),
            listings: listings
                .iter()
                .map(|one| (self.place(&one.at), one.directory.clone()))
                .collect(),
            wanted: self.evaluator.wanted.borrow().iter().cloned().collect(),
            sites,
            seen,
            called,
        }
    }
}

/// Where inputs come from, by name.
fn urls(top: &rnix::ast::AttrSet) -> BTreeMap<String, String> {
    let mut urls = BTreeMap::new();
    let mut add = |path: &[Option<String>], value: Option<Expr>| match (path, value) {
        ([Some(name)], Some(Expr::AttrSet(set))) => {
            let url = entry(&set, "url").and_then(|url| url.value());
            if let Some(Expr::Str(url)) = url {
                urls.extend(plain_string(&url).map(|url| (name.clone(), url)));
            }
        }
        ([Some(name), Some(url)], Some(Expr::Str(text))) if url == "url" => {
            urls.extend(plain_string(&text).map(|text| (name.clone(), text)));
        }
        _ => {}
    };
    for pair in top.attrpath_values() {
        match (attribute_path(&pair).as_slice(), pair.value()) {
            ([Some(inputs)], Some(Expr::AttrSet(set))) if inputs == "inputs" => {
                for inner in set.attrpath_values() {
                    add(&attribute_path(&inner), inner.value());
                }
            }
            ([Some(inputs), rest @ ..], value) if inputs == "inputs" => add(rest, value),
            _ => {}
        }
    }
    urls
}

/// The first place where `nixosConfigurations` is written as a name.
fn seen(top: &Expr) -> Option<TextRange> {
    let pairs = super::tree::node(top).descendants();
    let mut names = pairs.filter(|found| found.kind() == rnix::SyntaxKind::NODE_ATTRPATH);
    let is = |found: &rnix::SyntaxNode| {
        found.children().next().is_some_and(|first| first.text() == NAME)
            && found
                .parent()
                .is_some_and(|parent| parent.kind() == rnix::SyntaxKind::NODE_ATTRPATH_VALUE)
    };
    names.find(is).map(|found| found.text_range())
}
