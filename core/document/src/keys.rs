//! The keys of `host.toml`, each defined once: the decoder, the page of the documentation, the JSON
//! Schema and the tests of what is honoured and of Nix's defaults read what stands here.

#[rustfmt::skip]
mod backups;
#[rustfmt::skip]
pub(crate) mod disks;
#[rustfmt::skip]
pub(crate) mod document;
#[rustfmt::skip]
mod flake;
#[rustfmt::skip]
pub(crate) mod host;
#[rustfmt::skip]
mod network;
#[rustfmt::skip]
mod nfs;
#[rustfmt::skip]
pub(crate) mod notify;
mod page;
#[rustfmt::skip]
mod pools;
mod schema;
#[rustfmt::skip]
pub(crate) mod unlock;
#[rustfmt::skip]
pub(crate) mod vms;

use std::fmt;

use toml_edit::{Item, Value as Written};

use super::rules::Rule;
use bedplate_model::size;

pub(crate) use document::DOCUMENT;
pub use page::page;
pub use schema::schema;

/// What a value must be, and which values can stand there.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// A string that the rule takes.
    Text(Rule),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A whole number from the first to the last.
    Integer(u32, u32),
    /// `true` or `false`.
    Boolean,
    /// `"500GB"`, `"1GiB"` or a number of bytes, from the first to the last.
    Size(u64, u64),
    /// A list of strings that the rule takes.
    Texts(Rule),
    /// A table of these keys.
    Table(&'static Block),
    /// A table of tables named by the user; the rule is that of the names.
    Named(Rule, &'static Block),
    /// A list of tables.
    Tables(&'static Block),
    /// A table of strings named by the user: the rule of the names, and that of the strings.
    TextMap(Rule, Rule),
    /// A string of this form, or a table.
    TextOrTable(&'static Form, &'static Block),
}

impl Form {
    /// The kind of value, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text(_) | Self::Choice(_) => "a string",
            Self::Integer(..) => "a whole number",
            Self::Boolean => "true or false",
            Self::Size(..) => "a size such as \"500GB\", \"1GiB\", or a number of bytes",
            Self::Texts(_) => "a list of strings",
            Self::Table(_) => "a table",
            Self::Named(..) => "a table of named tables",
            Self::Tables(_) => "a list of tables",
            Self::TextMap(..) => "a table of strings",
            Self::TextOrTable(..) => "a string or a table",
        }
    }

    pub(super) fn accepts(self, item: &Item) -> bool {
        match self {
            Self::Text(_) | Self::Choice(_) => item.is_str(),
            Self::Integer(..) => item.is_integer(),
            Self::Boolean => item.is_bool(),
            Self::Size(..) => item.is_str() || item.is_integer(),
            Self::Texts(_) => {
                item.as_array().is_some_and(|array| array.iter().all(Written::is_str))
            }
            Self::Table(_) | Self::Named(..) | Self::TextMap(..) => item.is_table_like(),
            Self::Tables(_) => {
                item.is_array_of_tables()
                    || item
                        .as_array()
                        .is_some_and(|array| array.iter().all(Written::is_inline_table))
            }
            Self::TextOrTable(..) => item.is_str() || item.is_table_like(),
        }
    }

    /// What a string of such a value must be like.
    pub fn rule(self) -> Option<Rule> {
        match self {
            Self::Text(rule) | Self::Texts(rule) => Some(rule),
            Self::TextOrTable(text, _) => text.rule(),
            _ => None,
        }
    }

    /// The strings that such a value is chosen from.
    pub fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Choice(words) => Some(words),
            Self::TextOrTable(text, _) => text.words(),
            _ => None,
        }
    }

    /// The keys of the tables that stand in such a value.
    pub fn block(self) -> Option<&'static Block> {
        match self {
            Self::Table(block)
            | Self::Named(_, block)
            | Self::Tables(block)
            | Self::TextOrTable(_, block) => Some(block),
            _ => None,
        }
    }
}

/// What a key that is left out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Integer(u32),
    /// `true` or `false`.
    Boolean(bool),
    /// A number of bytes.
    Size(u64),
    /// A list of strings.
    Texts(&'static [&'static str]),
    /// A table of values by their names.
    Table(Defaults),
}

/// Values by the names of their keys.
pub type Defaults = &'static [(&'static str, Value)];

impl fmt::Display for Value {
    /// As TOML.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(formatter, "\"{text}\""),
            Self::Integer(number) => write!(formatter, "{number}"),
            Self::Boolean(switch) => write!(formatter, "{switch}"),
            Self::Size(bytes) => write!(formatter, "\"{}\"", size::write(*bytes)),
            Self::Texts(texts) => write!(formatter, "{texts:?}"),
            Self::Table(values) => {
                let pairs = values.iter().map(|(name, value)| format!("{name} = {value}"));
                write!(formatter, "{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// What happens when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It is a problem.
    Required,
    /// It is as if this value stood there.
    Default(Value),
    /// There is none, or it follows from something else: in words.
    Derived(&'static str),
}

/// Where what a key says ends up on the embedded platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Only what stands in it says something.
    Inside,
    /// One value is all there is: any other is refused.
    Only,
    /// What the installer will do, before it begins.
    Plan,
    /// What the installer does, looked at while it works.
    Installer,
    /// What stage 1 is told.
    Stage1,
    /// The files of the toplevel, without the copies of the document.
    Toplevel,
    /// passwd, group and their like.
    Accounts,
    /// What NFS serves.
    Exports,
    /// What is done for virtual machines, and what cloud-init is told.
    Machines,
    /// What is wanted of backups, and when one is too old.
    Backups,
    /// What comes back.
    Restores,
    /// Which secrets of the repository are opened with the host's key.
    Secrets,
    /// What the host service does, looked at while it runs.
    Service,
    /// Not at all, and evaluation says so.
    Nowhere,
}

impl Place {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Inside => "",
            Self::Only => "nothing else is accepted",
            Self::Plan => "plan",
            Self::Installer => "installer",
            Self::Stage1 => "stage 1",
            Self::Toplevel => "system",
            Self::Accounts => "accounts",
            Self::Exports => "exports",
            Self::Machines => "VMs",
            Self::Backups => "backups",
            Self::Restores => "restore",
            Self::Secrets => "secrets",
            Self::Service => "host service",
            Self::Nowhere => "**not honoured**",
        }
    }
}

/// One known key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub form: Form,
    /// What its absence means.
    pub absent: Absent,
    /// Where it is honoured.
    pub place: Place,
    /// A value to imitate, as TOML.
    pub example: &'static str,
    /// What it means.
    pub about: &'static str,
}

/// The known keys of one kind of section.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Where it stands, such as `disks.<role>`; empty for the document.
    pub path: &'static str,
    /// What may stand in it.
    pub keys: &'static [Key],
    /// What is meant by keys that are left out where the key `kind` has this value, and not what
    /// the keys say themselves.
    pub kinds: &'static [(&'static str, Defaults)],
    /// Keys of which one stands there, and only one.
    pub one_of: &'static [&'static str],
}

impl Block {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The kinds for which the absence of a key means something of their own, each with that.
    pub fn of_kinds(&self, key: &str) -> impl Iterator<Item = (&'static str, Value)> {
        let own = move |(kind, values): &(&'static str, Defaults)| {
            let value = values.iter().find(|(name, _)| *name == key);
            value.map(|(_, value)| (*kind, *value))
        };
        self.kinds.iter().filter_map(own)
    }
}

const fn block(path: &'static str, keys: &'static [Key]) -> Block {
    one_of(path, &[], keys)
}

const fn one_of(
    path: &'static str,
    one_of: &'static [&'static str],
    keys: &'static [Key],
) -> Block {
    Block { path, keys, kinds: &[], one_of }
}

const fn key(
    name: &'static str,
    form: Form,
    absent: Absent,
    place: Place,
    example: &'static str,
    about: &'static str,
) -> Key {
    Key { name, form, absent, place, example, about }
}

/// The words of a choice, without what they stand for.
const fn words<T: Copy, const N: usize>(choices: [(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut index = 0;
    while index < N {
        words[index] = choices[index].0;
        index += 1;
    }
    words
}

/// Words to choose from, for people.
pub(super) fn either(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

const SOPS: &str = "A YAML file of sops, relative to the host's directory in the repository.";
const KEY: &str = "Where in the sops file: names between `/`. Required with sops.";
const AGE: &str = "A file of age, relative to the host's directory in the repository.";

/// The key of that name in the kind of section at `path`.
pub fn key_at(path: &str, name: &str) -> Option<&'static Key> {
    blocks().into_iter().find(|block| block.path == path)?.key(name)
}

/// Every kind of section, each before those that stand in it.
pub fn blocks() -> Vec<&'static Block> {
    let mut found = Vec::new();
    let mut next = vec![&DOCUMENT];
    while let Some(block) = next.pop() {
        found.push(block);
        next.extend(block.keys.iter().rev().filter_map(|key| key.form.block()));
    }
    found
}
