//! What a scalar is in YAML 1.1, which Ansible reads by PyYAML (<https://yaml.org/type/int.html>,
//! <https://yaml.org/type/bool.html>): not what it is in YAML 1.2.

use bedplate_yaml::{Content, Node};

use crate::note::{Notes, quote};

/// A number, and whether it is written in another way than with plain digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: u64,
    pub(crate) is_plain: bool,
}

/// The number that a scalar without quotes is in YAML 1.1; none when it is none, or below zero.
pub(crate) fn number(text: &str) -> Option<Number> {
    let (is_signed, body) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits: String = body.chars().filter(|c| *c != '_').collect();
    let of = |digits: &str, base| {
        u64::from_str_radix(digits, base).ok().filter(|_| !digits.starts_with('+'))
    };
    let value = if body.contains(':') {
        sexagesimal(&digits)?
    } else if let Some(binary) = digits.strip_prefix("0b") {
        of(binary, 2)?
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        of(hexadecimal, 16)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        of(&digits, 8)?
    } else if body.starts_with(|c: char| c.is_ascii_digit()) {
        of(&digits, 10)?
    } else {
        return None;
    };
    let is_plain = !is_signed && value.to_string() == text;
    Some(Number { value, is_plain })
}

/// `1:30` is 90: digits of the base 60.
fn sexagesimal(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let first =
        parts.next().filter(|first| first.starts_with(|c: char| ('1'..='9').contains(&c)))?;
    let mut value: u64 = first.parse().ok()?;
    for part in parts {
        let digit = part.parse::<u64>().ok().filter(|digit| *digit < 60 && part.len() <= 2)?;
        value = value.checked_mul(60)?.checked_add(digit)?;
    }
    Some(value)
}

/// The switch that a scalar without quotes is in YAML 1.1.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// What else than a text a scalar without quotes is in YAML 1.1, in words; none for a text.
pub(crate) fn other_than_text(text: &str) -> Option<String> {
    if let Some(number) = number(text) {
        return (!number.is_plain).then(|| format!("the number {}", number.value));
    }
    if is_fraction(text) {
        return Some("a fraction, which loses zeros at its end".to_owned());
    }
    if is_date(text) {
        return Some("a date".to_owned());
    }
    switch(text).map(|switch| switch.to_string())
}

/// `1.10`, `-.5` and the like (<https://yaml.org/type/float.html>).
fn is_fraction(text: &str) -> bool {
    let body = text.trim_start_matches(['-', '+']);
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let parts = body.split_once('.');
    parts.is_some_and(|(whole, rest)| body.len() > 1 && is_digits(whole) && is_digits(rest))
}

/// A date as `2026-11-29`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_of = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(parts.as_slice(), [year, month, day] if is_of(year, 4) && is_of(month, 2) && is_of(day, 2))
}

/// The text of a scalar that can be carried over; a vault, a template, and what is no scalar is told.
pub(crate) fn text<'n>(node: &'n Node, about: &str, notes: &mut Notes) -> Option<&'n str> {
    let text = match &node.content {
        _ if is_vault(node) => {
            let message = "a vault; left out, and not decrypted here: write what \
                           `ansible-vault view` or `ansible localhost -m debug -a var=…` shows, unless \
                           it is a secret, which may not stand in host.toml";
            notes.open(node, about, message);
            return None;
        }
        Content::Scalar { text, .. }
            if matches!(
                node.tag(),
                None | Some("!!str" | "tag:yaml.org,2002:str" | "!" | "!unsafe")
            ) =>
        {
            text
        }
        Content::Scalar { .. } => {
            let message = format!(
                "the tag {} is not known here; left out",
                quote(node.tag().unwrap_or_default())
            );
            notes.open(node, about, message);
            return None;
        }
        Content::List(_) | Content::Map(_) | Content::Alias(_) => {
            notes.open(
                node,
                about,
                format!("this is {}, and no plain value; left out", node.kind()),
            );
            return None;
        }
    };
    if is_template(text) {
        let message = format!(
            "{} is a template, which only Ansible can evaluate; left out: write what it stands for",
            quote(text)
        );
        notes.open(node, about, message);
        return None;
    }
    Some(text)
}

/// Whether Ansible Vault has encrypted it.
pub(crate) fn is_vault(node: &Node) -> bool {
    let is_marked = node.tag().is_some_and(|tag| tag.trim_start_matches('!').starts_with("vault"));
    is_marked || node.text().is_some_and(|text| text.trim_start().starts_with("$ANSIBLE_VAULT"))
}

/// Whether Jinja evaluates it.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_text_only_in_quotes_is_known() {
        for text in ["010", "on", "No", "1.10", ".5", "2026-11-29", "1:30", "0x10"] {
            assert!(other_than_text(text).is_some(), "{text}");
        }
        for text in ["10", "0", "web", "1.2.3", "one", "y", ".", "10.a", "12-34", "br0"] {
            assert_eq!(other_than_text(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_yaml_1_1() {
        let of = |text| number(text).map(|number| (number.value, number.is_plain));
        for (text, wanted) in [
            ("4", Some((4, true))),
            ("0", Some((0, true))),
            ("010", Some((8, false))),
            ("0x1a86", Some((6790, false))),
            ("0X1a86", None),
            ("0b101", Some((5, false))),
            ("4_096", Some((4096, false))),
            ("+4", Some((4, false))),
            ("1:30", Some((90, false))),
            ("52:54:00", Some((190_440, false))),
            ("0:30", None),
            ("1:75", None),
            ("0o10", None),
            ("08", None),
            ("-4", None),
            ("4.0", None),
            ("4096M", None),
            ("_4", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(of(text), wanted, "{text}");
        }
    }
}
