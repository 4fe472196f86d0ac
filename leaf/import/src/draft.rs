//! A section `[vms.<name>]` while it is put together.

use bedplate_document::keys::{self, Absent, Block, Key};
use bedplate_document::rules;
use toml_edit::Value;

use crate::note::{Notes, Place, quote};

/// Where the keys of a machine are defined.
const GUEST: &str = "vms.<name>";

/// Keys that are left out where they say what they mean anyway.
const USUAL: [&str; 4] = ["state", "kind", "pool", "bridge"];

/// The kind of section that a machine is.
pub(crate) fn guest() -> Option<&'static Block> {
    keys::blocks().into_iter().find(|block| block.path == GUEST)
}

/// A key of `[vms.<name>]`.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    let known = keys::key_at(GUEST, name);
    debug_assert!(known.is_some(), "`{name}` is no key of a machine");
    known
}

/// A machine.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: String,
    /// Where it is described.
    pub(crate) place: Place,
    /// Which of several texts describes it.
    pub(crate) source: Option<String>,
    lines: Vec<String>,
    /// Tables in it, each with its header.
    tables: Vec<String>,
}

impl Draft {
    /// A machine of that name; none when it cannot stand in `host.toml`, which is then told.
    pub(crate) fn new(name: &str, place: Place, notes: &mut Notes) -> Option<Self> {
        if let Err(wrong) = rules::vm(name) {
            let message = format!("left out: {}; {}", wrong.message, wrong.help);
            notes.open(place, name, message);
            return None;
        }
        let (name, source) = (name.to_owned(), notes.source.clone());
        Some(Self { name, place, source, lines: Vec::new(), tables: Vec::new() })
    }

    /// The same of a tool whose machines may have other names, with spaces and dots: it is called by
    /// what is left of its name, which is told.
    pub(crate) fn renamed(name: &str, place: Place, notes: &mut Notes) -> Option<Self> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_-".contains(c) { c } else { '-' };
        let other: String = name.chars().map(plain).take(48).collect();
        let other = other.trim_matches('-');
        if rules::vm(name).is_ok() || rules::vm(other).is_err() {
            return Self::new(name, place, notes);
        }
        let message = format!(
            "{} is no name of a machine here: it is called {} now",
            quote(name),
            quote(other)
        );
        notes.open(place, &format!("{other}.name"), message);
        Self::new(other, place, notes)
    }

    /// A key of it, for people.
    pub(crate) fn about(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// A line of the section, unless it says what is meant anyway; the value is escaped by the writer
    /// of TOML.
    pub(crate) fn line(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let meant = key(name).map(|key| key.absent);
        let is_meant =
            matches!(meant, Some(Absent::Default(meant)) if meant.to_string() == value.to_string());
        if !(is_meant && USUAL.contains(&name)) {
            self.lines.push(format!("{name} = {value}\n"));
        }
    }

    /// A whole number that its key takes; another one is told.
    pub(crate) fn number(&mut self, name: &str, number: u64, at: Place, notes: &mut Notes) {
        let Some(keys::Form::Integer(least, most)) = key(name).map(|key| key.form) else { return };
        match u32::try_from(number).ok().filter(|number| (least..=most).contains(number)) {
            Some(number) => self.line(name, i64::from(number)),
            None => {
                let message = format!("left out: {number} is no number from {least} to {most}");
                notes.open(at, &self.about(name), message);
            }
        }
    }

    /// A table in the section: each line a key with a value, or a comment.
    pub(crate) fn table(&mut self, key: &str, lines: &[(&str, Option<Value>)]) {
        self.a_table(&format!("[vms.{}.{key}]", self.name), lines);
    }

    /// A further NIC.
    pub(crate) fn nic(&mut self, lines: &[(&str, Option<Value>)]) {
        self.a_table(&format!("[[vms.{}.nics]]", self.name), lines);
    }

    fn a_table(&mut self, header: &str, lines: &[(&str, Option<Value>)]) {
        let mut table = format!("{header}\n");
        for (key, value) in lines {
            match value {
                Some(value) => table += &format!("{key} = {value}\n"),
                None => table += &format!("# {key}\n"),
            }
        }
        self.tables.push(table);
    }

    /// The section.
    pub(crate) fn text(&self) -> String {
        format!("[vms.{}]\n{}{}\n", self.name, self.lines.concat(), self.tables.concat())
    }
}

/// Tells that a value cannot stand in `host.toml`.
pub(crate) fn refused(at: impl Into<Place>, about: &str, wrong: &rules::Wrong, notes: &mut Notes) {
    notes.open(at, about, format!("left out: {}; {}", wrong.message, wrong.help));
}

/// A disk that is there: where it has to be put, and what it is called there.
pub(crate) struct Found<'a> {
    /// Where it is now, as its tool says it.
    pub(crate) from: &'a str,
    /// How it gets to its new place.
    pub(crate) how: String,
    /// Its name, where it can stay what it is.
    pub(crate) file: Option<&'a str>,
}

impl Draft {
    /// Says that the disk is there. `is_in_place` where it lies in the machine's directory already.
    pub(crate) fn existing(
        &mut self,
        found: &Found<'_>,
        is_in_place: bool,
        at: Place,
        notes: &mut Notes,
    ) {
        let own = format!("{}.qcow2", self.name);
        let file = found.file.filter(|file| rules::disk_file(file).is_ok()).unwrap_or(&own);
        self.line("existing_disk", file);
        if !is_in_place {
            let message = format!(
                "the disk is {}; {} as <mount of the pool>/{}/{file}, while the machine is off",
                quote(found.from),
                found.how,
                self.name
            );
            notes.open(at, &self.about("existing_disk"), message);
        }
    }
}
