//! Text of boot entries (Boot Loader Specification, type 1), and which of them starts.

use std::cmp::Ordering;

use sha2::{Digest as _, Sha256};

use super::hexadecimal;

/// What the last line of a sealed text begins with: a comment to everybody else.
const SEAL: &str = "# sha256 ";

/// What the seal of a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed<'a> {
    /// There is none.
    No,
    /// It fits; this stands before it.
    Whole(&'a str),
    /// The text is not what was sealed.
    Broken,
}

/// A text that shows by itself whether it is whole. What was sealed before is sealed anew.
pub fn seal(text: &str) -> String {
    let body = without_seal(text);
    format!("{body}{SEAL}{}\n", hexadecimal(&Sha256::digest(body)))
}

/// Looks at the seal of a text.
pub fn unsealed(text: &str) -> Sealed<'_> {
    let body = without_seal(text);
    match text.get(body.len()..) {
        None | Some("") => Sealed::No,
        Some(_) if seal(body) == text => Sealed::Whole(body),
        Some(_) => Sealed::Broken,
    }
}

fn without_seal(text: &str) -> &str {
    let at = if text.starts_with(SEAL) { Some(0) } else { text.rfind(&format!("\n{SEAL}")) };
    let end = at.map(|at| if at == 0 && text.starts_with(SEAL) { 0 } else { at + 1 });
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The values of a key, in order.
pub(super) fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (word, value) = line.trim().split_once(char::is_whitespace)?;
        (word == key).then(|| value.trim())
    })
}

/// What systemd-boot sorts by: the lowest is started first (`boot_entry_compare` of systemd 257).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    is_default: bool,
    is_given_up: bool,
    sort_key: Option<String>,
    version: String,
    name: String,
}

impl Order {
    pub(super) fn of(name: &str, text: &str, default: Option<&str>) -> Self {
        let first = |key: &'static str| values(text, key).next().map(str::to_owned);
        let plain = name.split('+').next().unwrap_or(name).trim_end_matches(".conf");
        Self {
            is_default: default.is_some_and(|it| fits(it.trim_end_matches(".conf"), plain)),
            is_given_up: name.contains("+0"),
            sort_key: first("sort-key"),
            version: first("version").unwrap_or_default(),
            name: name.to_owned(),
        }
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = match (&self.sort_key, &other.sort_key) {
            (Some(own), Some(other)) => own.cmp(other),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        other
            .is_default
            .cmp(&self.is_default)
            .then(self.is_given_up.cmp(&other.is_given_up))
            .then(keys)
            .then_with(|| by_numbers(&other.version, &self.version))
            .then_with(|| by_numbers(&other.name, &self.name))
    }
}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a name fits a pattern, whatever its case: `default` may be one (`loader.conf(5)`), and NixOS
/// writes `nixos-generation-*`. What came after the last star is tried again one letter further on.
fn fits(pattern: &str, name: &str) -> bool {
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let (pattern, name) = (letters(pattern), letters(name));
    let (mut at, mut place, mut star) = (0, 0, None);
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, place));
                at += 1;
            }
            Some(letter) if *letter == '?' || name.get(place) == Some(letter) => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                (at, place) = (after, from + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == '*')
}

/// Numbers within names count as numbers.
fn by_numbers(one: &str, other: &str) -> Ordering {
    parts(one).cmp(&parts(other))
}

fn parts(text: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (word, after) = after.split_at(letters);
        parts.push((number.parse().unwrap_or(0), word.to_owned()));
        rest = after;
    }
    parts
}
