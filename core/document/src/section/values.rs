//! What stands in a section, or what its absence means, by the form that the key has. A value that
//! cannot stand there is reported, and is as if it were left out.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use toml_edit::Item;

use super::{Section, found, nearest};
use crate::keys::{Form, Value, either};
use crate::problem::quote;
use crate::rules::Wrong;
use bedplate_model::name::Mac;
use bedplate_model::size;

impl Section<'_> {
    /// The string, empty where there is none.
    pub(crate) fn text(&self, name: &str) -> String {
        self.some_text(name).unwrap_or_default()
    }

    pub(crate) fn some_text(&self, name: &str) -> Option<String> {
        let written = self.value(name).and_then(Item::as_str);
        if let (Some(text), Some(rule)) = (written, self.form(name)?.rule()) {
            match rule(text) {
                Ok(()) => return Some(text.to_owned()),
                Err(wrong) => self.wrong(name, wrong.about(&self.child(name))),
            }
        }
        let Value::Text(text) = self.default(name)? else { return None };
        Some(text.to_owned())
    }

    /// The name, the empty one where there is none.
    pub(crate) fn name<N: Name + Default>(&self, key: &str) -> N {
        self.some_name(key).unwrap_or_default()
    }

    pub(crate) fn some_name<N: Name>(&self, key: &str) -> Option<N> {
        self.name_of(key, self.some_text(key)?)
    }

    /// A MAC address, in letters of any case.
    pub(crate) fn some_mac(&self, key: &str) -> Option<Mac> {
        self.name_of(key, self.some_text(key)?.to_ascii_lowercase())
    }

    fn name_of<N: Name>(&self, key: &str, text: String) -> Option<N> {
        let wrong = |wrong: Wrong| self.wrong(key, wrong.about(&self.child(key)));
        read_name(&text).map_err(wrong).ok()
    }

    /// The names, none where there are none; empty ones stand for those that are wrong.
    pub(crate) fn names<N: Name + Default>(&self, key: &str) -> Vec<N> {
        let texts = self.texts(key).into_iter().enumerate();
        let name = |(index, text): (usize, String)| match text.is_empty() {
            true => N::default(),
            false => self.name_of(&format!("{key}[{index}]"), text).unwrap_or_default(),
        };
        texts.map(name).collect()
    }

    /// The number, 0 where there is none.
    pub(crate) fn integer(&self, name: &str) -> u32 {
        self.some_integer(name).unwrap_or_default()
    }

    pub(crate) fn some_integer(&self, name: &str) -> Option<u32> {
        let written = self.value(name).and_then(Item::as_integer);
        if let (Some(found), Form::Integer(least, most)) = (written, self.form(name)?) {
            match u32::try_from(found) {
                Ok(number) if (least..=most).contains(&number) => return Some(number),
                _ => {
                    let message = format!("`{}` is {found}", self.child(name));
                    let help = match least == most {
                        true => format!("write {least}"),
                        false => format!("write a number from {least} to {most}"),
                    };
                    self.wrong(name, Wrong { message, help });
                }
            }
        }
        let Value::Integer(number) = self.default(name)? else { return None };
        Some(number)
    }

    /// The switch, off where nothing says otherwise.
    pub(crate) fn boolean(&self, name: &str) -> bool {
        self.some_boolean(name).unwrap_or_default()
    }

    pub(crate) fn some_boolean(&self, name: &str) -> Option<bool> {
        if let Some(switch) = self.value(name).and_then(Item::as_bool) {
            return Some(switch);
        }
        let Value::Boolean(switch) = self.default(name)? else { return None };
        Some(switch)
    }

    /// The size in bytes, 0 where there is none.
    pub(crate) fn size(&self, name: &str) -> u64 {
        self.some_size(name).unwrap_or_default()
    }

    pub(crate) fn some_size(&self, name: &str) -> Option<u64> {
        if let (Some(item), Form::Size(least, most)) = (self.value(name), self.form(name)?) {
            match size_of(name, item, least, most) {
                Ok(bytes) => return Some(bytes),
                Err(help) => {
                    let (path, shown) = (self.child(name), quote(item.to_string().trim()));
                    let message = format!("`{path}`: {shown} is not a size that can stand here");
                    self.wrong(name, Wrong { message, help });
                }
            }
        }
        let Value::Size(bytes) = self.default(name)? else { return None };
        Some(bytes)
    }

    /// What the word of a choice stands for; the first of them where nothing right is there.
    pub(crate) fn choice<T: Copy, const N: usize>(&self, key: &str, choices: &[(&str, T); N]) -> T {
        self.some_choice(key, choices).unwrap_or(choices[0].1)
    }

    pub(crate) fn some_choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let word = self.word(name)?;
        let chosen = choices.iter().find(|(choice, _)| *choice == word);
        debug_assert!(chosen.is_some(), "`{name}` is asked for other words than it has");
        chosen.map(|(_, value)| *value)
    }

    /// One of the words that the key knows.
    pub(crate) fn word(&self, name: &str) -> Option<&'static str> {
        let written = self.value(name).and_then(Item::as_str);
        if let (Some(text), Some(words)) = (written, self.form(name)?.words()) {
            let chosen = words.iter().find(|word| **word == text);
            if chosen.is_some() {
                return chosen.copied();
            }
            let message = format!("`{}` cannot be {}", self.child(name), quote(text));
            let near = nearest(text, words).map(|near| format!("did you mean \"{near}\"? "));
            let help = format!("{}write {}", near.unwrap_or_default(), either(words));
            self.wrong(name, Wrong { message, help });
        }
        let Value::Text(word) = self.default(name)? else { return None };
        Some(word)
    }

    /// The strings, none where there are none; empty ones stand for those that are wrong.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let written = self.value(name).and_then(Item::as_array);
        let (Some(array), Some(rule)) = (written, self.form(name).and_then(Form::rule)) else {
            return match self.default(name) {
                Some(Value::Texts(texts)) => texts.iter().map(|&text| text.into()).collect(),
                _ => Vec::new(),
            };
        };
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
        texts
    }

    /// The strings below `name`, by name.
    pub(crate) fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        let written = self.value(name).and_then(Item::as_table_like);
        let (Some(table), Some(Form::TextMap(key, rule))) = (written, self.form(name)) else {
            let text = |(name, value): &(&str, Value)| match value {
                Value::Text(text) => Some(((*name).to_owned(), (*text).to_owned())),
                _ => None,
            };
            return self.values_of(name).iter().filter_map(text).collect();
        };
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
        map
    }
}

/// A name of its own kind, or a plain string that some rule has looked at.
pub(crate) trait Name: FromStr<Err: Display> {}

impl<N: FromStr<Err: Display>> Name for N {}

/// The text as a name. Where the rule of its key has taken it, this does, too.
pub(super) fn read_name<N: Name>(text: &str) -> Result<N, Wrong> {
    let help = "write a name that can stand here".to_owned();
    text.parse().map_err(|error: N::Err| Wrong { message: error.to_string(), help })
}

/// The bytes of a size from `least` to `most`, or what to write instead.
fn size_of(name: &str, item: &Item, least: u64, most: u64) -> Result<u64, String> {
    let bytes = match item.as_str() {
        Some(text) => size::parse(text),
        None => item.as_integer().and_then(|bytes| u64::try_from(bytes).ok()),
    };
    Err(match (bytes, item.as_str().and_then(size::on_label)) {
        (None, Some(label)) => format!(
            "a fraction is meant exactly, and this is no whole number of bytes: write \
             `{name} = \"{label}\"`, or the bytes that `lsblk -b` shows"
        ),
        (None, None) => "write it as \"500GB\", \"1GiB\", or a number of bytes".to_owned(),
        (Some(bytes), _) if (least..=most).contains(&bytes) => return Ok(bytes),
        (Some(_), _) if most == u64::MAX => format!("write {} or more", size::write(least)),
        (Some(_), _) => format!("write {} to {}", size::write(least), size::write(most)),
    })
}
