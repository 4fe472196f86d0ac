//! The collecting decoder: sections read by the table of known keys.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use toml_edit::{Item, TableLike, Value};

use super::keys::{self, Absent, Form, Key};
use super::problem::{Marked, Problems, quote};
use super::rules::{Rule, Wrong};
use bedplate_model::size;

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

/// One table of the document, checked against the keys its kind may hold.
pub(super) struct Section<'a> {
    decoder: &'a Decoder<'a>,
    table: &'a dyn TableLike,
    kind: &'static str,
    /// Where it stands, such as `pools.bulk`.
    pub(super) path: String,
}

impl<'a> Section<'a> {
    /// Checks a table for unknown, missing and ill-formed keys.
    pub(super) fn open(
        decoder: &'a Decoder<'a>,
        table: &'a dyn TableLike,
        kind: &'static str,
        path: String,
    ) -> Self {
        let section = Self { decoder, table, kind, path };
        for (name, item) in table.iter() {
            let key_span = table.key(name).and_then(toml_edit::Key::span);
            let known = keys::of(kind).find(|key| key.name == name);
            let Some(known) = known else {
                section.refuse_unknown(name, key_span);
                continue;
            };
            let path = section.child(name);
            decoder.remember(&path, item.span().filter(|_| !implicit(item)).or(key_span));
            if !known.form.accepts(item) {
                let message =
                    format!("`{path}` must be {}, not {}", known.form.describe(), found(item));
                decoder.report(&path, message, write_instead(known));
            }
        }
        for key in keys::of(kind) {
            if key.absent == Absent::Required && !table.contains_key(key.name) {
                let path = section.child(key.name);
                let span = decoder.span(&section.path);
                let message = format!("`{path}` is missing");
                decoder.report_span(span, &path, message, write_instead(key));
            }
        }
        section
    }

    fn refuse_unknown(&self, name: &str, span: Option<Range<usize>>) {
        let place =
            if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
        let names: Vec<&str> = keys::of(self.kind).map(|key| key.name).collect();
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
        keys::of(self.kind).any(|key| key.name == name)
    }

    /// A mistake of the section as a whole.
    pub(super) fn wrong_here(&self, wrong: Wrong) {
        self.decoder.report(&self.path, wrong.message, wrong.help);
    }

    /// The value, when it is there and well formed.
    pub(super) fn value(&self, name: &str) -> Option<&'a Item> {
        let known = keys::of(self.kind).find(|key| key.name == name);
        debug_assert!(known.is_some(), "`{name}` is not in the table of `{}`", self.kind);
        self.table.get(name).filter(|item| known.is_some_and(|key| key.form.accepts(item)))
    }

    pub(super) fn wrong(&self, name: &str, wrong: Wrong) {
        self.decoder.report(&self.child(name), wrong.message, wrong.help);
    }

    pub(super) fn text(&self, name: &str, rule: Rule) -> Option<String> {
        let text = self.value(name)?.as_str()?;
        match rule(text) {
            Ok(()) => Some(text.to_owned()),
            Err(wrong) => {
                self.wrong(name, wrong.about(&self.child(name)));
                None
            }
        }
    }

    pub(super) fn integer(&self, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let found = self.value(name)?.as_integer()?;
        let value = u32::try_from(found).ok().filter(|value| range.contains(value));
        if value.is_none() {
            let message = format!("`{}` is {found}", self.child(name));
            let help = if range.start() == range.end() {
                format!("write {}", range.start())
            } else {
                format!("write a number from {} to {}", range.start(), range.end())
            };
            self.wrong(name, Wrong { message, help });
        }
        value
    }

    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name)?.as_bool()
    }

    pub(super) fn size(&self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let item = self.value(name)?;
        let bytes = match item.as_str() {
            Some(text) => size::parse(text),
            None => item.as_integer().and_then(|bytes| u64::try_from(bytes).ok()),
        };
        let on_label = item.as_str().and_then(size::on_label);
        let help = match (bytes, on_label) {
            (None, Some(label)) => format!(
                "a fraction is meant exactly, and this is no whole number of bytes: write \
                 `{name} = \"{label}\"`, or the bytes that `lsblk -b` shows"
            ),
            (None, None) => "write it as \"500GB\", \"1GiB\", or a number of bytes".to_owned(),
            (Some(bytes), _) if range.contains(&bytes) => return Some(bytes),
            (Some(_), _) if *range.end() == u64::MAX => {
                format!("write {} or more", size::write(*range.start()))
            }
            (Some(_), _) => {
                format!("write {} to {}", size::write(*range.start()), size::write(*range.end()))
            }
        };
        let shown = quote(item.to_string().trim());
        let message = format!("`{}`: {shown} is not a size that can stand here", self.child(name));
        self.wrong(name, Wrong { message, help });
        None
    }

    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.value(name)?.as_str()?;
        let chosen = choices.iter().find(|(word, _)| *word == text);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let message = format!("`{}` cannot be {}", self.child(name), quote(text));
            let near = nearest(text, &words).map(|near| format!("did you mean \"{near}\"? "));
            let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>();
            let help = format!("{}write {}", near.unwrap_or_default(), list.join(" or "));
            self.wrong(name, Wrong { message, help });
        }
        chosen.map(|(_, value)| *value)
    }

    pub(super) fn texts(&self, name: &str, rule: Rule) -> Option<Vec<String>> {
        let array = self.value(name)?.as_array()?;
        let mut texts = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let path = format!("{}[{index}]", self.child(name));
            self.decoder.remember(&path, value.span());
            let text = value.as_str().unwrap_or_default();
            match rule(text) {
                Ok(()) => texts.push(text.to_owned()),
                Err(wrong) => {
                    let wrong = wrong.about(&path);
                    self.decoder.report(&path, wrong.message, wrong.help);
                    texts.push(String::new());
                }
            }
        }
        Some(texts)
    }

    pub(super) fn section(&self, name: &str, kind: &'static str) -> Option<Section<'a>> {
        let table = self.value(name)?.as_table_like()?;
        Some(Section::open(self.decoder, table, kind, self.child(name)))
    }

    /// The tables below `name`, whose names must obey `rule`.
    pub(super) fn named(
        &self,
        name: &str,
        kind: &'static str,
        rule: Rule,
    ) -> Vec<(String, Section<'a>)> {
        let Some(parent) = self.value(name).and_then(Item::as_table_like) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (child, item) in parent.iter() {
            let key_span = parent.key(child).and_then(toml_edit::Key::span);
            let path = format!("{}.{child}", self.child(name));
            self.decoder
                .remember(&path, item.span().filter(|_| !implicit(item)).or(key_span.clone()));
            if let Err(wrong) = rule(child) {
                let wrong = wrong.about(&format!("{}.<name>", self.child(name)));
                let place = self.child(name);
                self.decoder.report_span(
                    key_span.unwrap_or(0..0),
                    &place,
                    wrong.message,
                    wrong.help,
                );
                continue;
            }
            match item.as_table_like() {
                Some(table) => {
                    found.push((child.to_owned(), Section::open(self.decoder, table, kind, path)));
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

    pub(super) fn tables(&self, name: &str, kind: &'static str) -> Vec<Section<'a>> {
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
            Section::open(self.decoder, table, kind, path)
        };
        tables.into_iter().enumerate().map(open).collect()
    }

    /// The strings below `name`, by name.
    pub(super) fn text_map(
        &self,
        name: &str,
        key: Rule,
        rule: Rule,
    ) -> Option<BTreeMap<String, String>> {
        let table = self.value(name)?.as_table_like()?;
        let mut map = BTreeMap::new();
        for (child, item) in table.iter() {
            let path = format!("{}.{child}", self.child(name));
            let key_span = table.key(child).and_then(toml_edit::Key::span);
            self.decoder.remember(&path, item.span().or(key_span));
            let checked = match item.as_str() {
                None => Err(Wrong {
                    message: format!("this must be a string, not {}", found(item)),
                    help: "write it in quotes".into(),
                }),
                Some(text) => key(child).and_then(|()| rule(text)).map(|()| text.to_owned()),
            };
            match checked {
                Ok(text) => _ = map.insert(child.to_owned(), text),
                Err(wrong) => {
                    let wrong = wrong.about(&format!("{}.<name>", self.child(name)));
                    self.decoder.report(&path, wrong.message, wrong.help);
                }
            }
        }
        Some(map)
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

fn write_instead(key: &Key) -> String {
    let path = key.section;
    match key.form {
        Form::Table | Form::Named if key.example.is_empty() => {
            let header =
                if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            let header = if key.form == Form::Named { format!("{header}.<name>") } else { header };
            format!("write a section `[{header}]`")
        }
        Form::Tables if key.example.is_empty() => {
            format!("write a section `[[{path}.{}]]`", key.name)
        }
        _ => format!("write `{} = {}`", key.name, key.example),
    }
}

/// The candidate that a mistyped word most likely meant.
pub(super) fn nearest<'n>(word: &str, candidates: &[&'n str]) -> Option<&'n str> {
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), *candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
