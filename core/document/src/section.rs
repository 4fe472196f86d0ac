//! The collecting decoder: sections read by the known keys.

mod values;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml_edit::{Item, TableLike, Value};

use super::keys::{self, Absent, Block, Defaults, Form, Key};
use super::problem::{Marked, Problems, quote};
use super::rules::Wrong;
use values::{Name, read_name};

/// Collects problems and remembers where every value stood.
pub(super) struct Decoder<'a> {
    text: &'a str,
    file: &'a str,
    problems: RefCell<Vec<Marked>>,
    spans: RefCell<BTreeMap<String, Range<usize>>>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(text: &'a str, file: &'a str) -> Self {
        Self { text, file, problems: RefCell::default(), spans: RefCell::default() }
    }

    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.text, self.file, self.problems.into_inner())
    }

    pub(super) fn report_syntax(&self, error: &toml_edit::TomlError) {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let shown: String = message.chars().filter(|c| !c.is_control()).collect();
        self.report_span(
            error.span().unwrap_or(0..0),
            "",
            format!("this is not TOML: {shown}"),
            "correct it here; nothing after it has been read".into(),
        );
    }

    pub(super) fn report_span(&self, span: Range<usize>, key: &str, message: String, help: String) {
        self.problems.borrow_mut().push(Marked { span, key: key.to_owned(), message, help });
    }

    /// Reports at the value of `path`, or at the nearest section around it.
    pub(super) fn report(&self, path: &str, message: String, help: String) {
        let span = self.span(path);
        self.report_span(span, path, message, help);
    }

    /// The keys that problems were reported for so far.
    pub(super) fn reported(&self) -> BTreeSet<String> {
        self.problems.borrow().iter().map(|problem| problem.key.clone()).collect()
    }

    fn span(&self, path: &str) -> Range<usize> {
        let spans = self.spans.borrow();
        let mut path = path;
        loop {
            if let Some(span) = spans.get(path) {
                return span.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return 0..0,
            }
        }
    }

    fn remember(&self, path: &str, span: Option<Range<usize>>) {
        if let Some(span) = span {
            self.spans.borrow_mut().insert(path.to_owned(), span);
        }
    }
}

/// One table of the document, checked against the keys its kind may hold; or one that is left out,
/// whose keys mean what they mean by themselves.
pub(super) struct Section<'a> {
    decoder: &'a Decoder<'a>,
    table: Option<&'a dyn TableLike>,
    block: &'static Block,
    /// What keys mean here that are left out, in the place of what they say themselves.
    own: Defaults,
    /// Where it stands, such as `pools.bulk`.
    pub(super) path: String,
}

impl<'a> Section<'a> {
    /// Checks a table for unknown, missing and ill-formed keys.
    pub(super) fn open(
        decoder: &'a Decoder<'a>,
        table: &'a dyn TableLike,
        block: &'static Block,
        path: String,
    ) -> Self {
        let kind = table.get("kind").and_then(Item::as_str);
        let own = block.kinds.iter().find(|(word, _)| Some(*word) == kind);
        let own = own.map_or::<Defaults, _>(&[], |(_, values)| values);
        let section = Self { decoder, table: Some(table), block, own, path };
        for (name, item) in table.iter() {
            let key_span = table.key(name).and_then(toml_edit::Key::span);
            let Some(known) = block.key(name) else {
                section.refuse_unknown(name, key_span);
                continue;
            };
            let path = section.child(name);
            decoder.remember(&path, item.span().filter(|_| !implicit(item)).or(key_span));
            if !known.form.accepts(item) {
                let message =
                    format!("`{path}` must be {}, not {}", known.form.describe(), found(item));
                decoder.report(&path, message, write_instead(block, known));
            }
        }
        for key in block.keys {
            if key.absent == Absent::Required && !table.contains_key(key.name) {
                let path = section.child(key.name);
                let span = decoder.span(&section.path);
                let message = format!("`{path}` is missing");
                decoder.report_span(span, &path, message, write_instead(block, key));
            }
        }
        section
    }

    fn refuse_unknown(&self, name: &str, span: Option<Range<usize>>) {
        let place =
            if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
        let names: Vec<&str> = self.block.keys.iter().map(|key| key.name).collect();
        let help = match nearest(name, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", names.join(", ")),
        };
        let message = format!("unknown key {}{place}", quote(name));
        let key = self.child("<unknown>");
        self.decoder.report_span(span.unwrap_or(0..0), &key, message, help);
    }

    pub(super) fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether sections of this kind have a key `name`.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.block.key(name).is_some()
    }

    /// The keys of which one stands here, and only one.
    pub(super) fn one_of(&self) -> &'static [&'static str] {
        self.block.one_of
    }

    /// A mistake of the section as a whole.
    pub(super) fn wrong_here(&self, wrong: Wrong) {
        self.decoder.report(&self.path, wrong.message, wrong.help);
    }

    fn form(&self, name: &str) -> Option<Form> {
        let known = self.block.key(name);
        debug_assert!(known.is_some(), "`{name}` is no key of `{}`", self.block.path);
        known.map(|key| key.form)
    }

    /// The value, when it is there and well formed.
    pub(super) fn value(&self, name: &str) -> Option<&'a Item> {
        let form = self.form(name)?;
        self.table?.get(name).filter(|item| form.accepts(item))
    }

    /// What the key means where it is left out, or where nothing that is right stands there.
    fn default(&self, name: &str) -> Option<keys::Value> {
        let own = self.own.iter().find(|(key, _)| *key == name);
        own.map(|(_, value)| *value).or(match self.block.key(name)?.absent {
            Absent::Default(value) => Some(value),
            Absent::Required | Absent::Derived(_) => None,
        })
    }

    pub(super) fn wrong(&self, name: &str, wrong: Wrong) {
        self.decoder.report(&self.child(name), wrong.message, wrong.help);
    }

    /// The table `name`, or what is meant where it is left out.
    pub(super) fn section(&self, name: &str) -> Section<'a> {
        self.some_section(name).unwrap_or_else(|| Section {
            decoder: self.decoder,
            table: None,
            block: self.block_of(name),
            own: self.values_of(name),
            path: self.child(name),
        })
    }

    pub(super) fn some_section(&self, name: &str) -> Option<Section<'a>> {
        let table = self.value(name)?.as_table_like()?;
        let section = Section::open(self.decoder, table, self.block_of(name), self.child(name));
        let own = if section.own.is_empty() { self.values_of(name) } else { section.own };
        Some(Section { own, ..section })
    }

    /// What is meant by the keys of the table `name` where the table is left out.
    pub(super) fn values_of(&self, name: &str) -> Defaults {
        match self.default(name) {
            Some(keys::Value::Table(values)) => values,
            _ => &[],
        }
    }

    fn block_of(&self, name: &str) -> &'static Block {
        let block = self.form(name).and_then(Form::block);
        debug_assert!(block.is_some(), "`{name}` of `{}` is no table", self.block.path);
        block.unwrap_or(self.block)
    }

    /// What is read from each of the tables below `name`, by the names that the user gave them.
    pub(super) fn named<N: Name + Ord, T>(
        &self,
        name: &str,
        read: impl Fn(&N, &Section<'a>) -> T,
    ) -> BTreeMap<N, T> {
        let mut found = BTreeMap::new();
        let parent = self.value(name).and_then(Item::as_table_like);
        let (Some(parent), Some(Form::Named(rule, block))) = (parent, self.form(name)) else {
            return found;
        };
        for (child, item) in parent.iter() {
            let key_span = parent.key(child).and_then(toml_edit::Key::span);
            let path = format!("{}.{child}", self.child(name));
            self.decoder
                .remember(&path, item.span().filter(|_| !implicit(item)).or(key_span.clone()));
            let own = match rule(child).and_then(|()| read_name::<N>(child)) {
                Ok(own) => own,
                Err(wrong) => {
                    let wrong = wrong.about(&format!("{}.<name>", self.child(name)));
                    let (span, place) = (key_span.unwrap_or(0..0), self.child(name));
                    self.decoder.report_span(span, &place, wrong.message, wrong.help);
                    continue;
                }
            };
            match item.as_table_like() {
                Some(table) => {
                    let section = Section::open(self.decoder, table, block, path);
                    let value = read(&own, &section);
                    found.insert(own, value);
                }
                None => self.decoder.report(
                    &path,
                    format!("`{path}` must be a table, not {}", self::found(item)),
                    format!("write `[{path}]` and its keys below it"),
                ),
            }
        }
        found
    }

    pub(super) fn tables(&self, name: &str) -> Vec<Section<'a>> {
        let tables: Vec<(&dyn TableLike, Option<Range<usize>>)> = match self.value(name) {
            Some(Item::ArrayOfTables(array)) => {
                array.iter().map(|table| (table as &dyn TableLike, table.span())).collect()
            }
            Some(Item::Value(Value::Array(array))) => array
                .iter()
                .filter_map(|value| {
                    Some((value.as_inline_table()? as &dyn TableLike, value.span()))
                })
                .collect(),
            _ => Vec::new(),
        };
        let open = |(index, (table, span)): (usize, (&'a dyn TableLike, Option<Range<usize>>))| {
            let path = format!("{}[{index}]", self.child(name));
            self.decoder.remember(&path, span);
            Section::open(self.decoder, table, self.block_of(name), path)
        };
        tables.into_iter().enumerate().map(open).collect()
    }
}

/// Tables that exist only because a deeper header names them have no place of their own.
fn implicit(item: &Item) -> bool {
    item.as_table().is_some_and(|table| table.is_implicit() || table.is_dotted())
}

fn found(item: &Item) -> &'static str {
    match item.type_name() {
        "string" => "a string",
        "integer" => "a whole number",
        "float" => "a fraction",
        "boolean" => "true or false",
        "datetime" => "a date",
        "array" => "this list",
        "array of tables" => "a list of tables",
        _ => "a table",
    }
}

fn write_instead(block: &Block, key: &Key) -> String {
    let path = block.path;
    match key.form {
        Form::Table(_) | Form::Named(..) if key.example.is_empty() => {
            let header =
                if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            let name = if matches!(key.form, Form::Named(..)) { ".<name>" } else { "" };
            format!("write a section `[{header}{name}]`")
        }
        Form::Tables(_) if key.example.is_empty() => {
            format!("write a section `[[{path}.{}]]`", key.name)
        }
        _ => format!("write `{} = {}`", key.name, key.example),
    }
}

/// The candidate that a mistyped word most likely meant.
pub fn nearest<'n>(word: &str, candidates: &[&'n str]) -> Option<&'n str> {
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
