//! `.sops.yaml`: adding a recipient (getsops/sops: README, "Using .sops.yaml conf", `config/config.go`).
//!
//! The text is edited where the recipient belongs and nowhere else; comments, order and quotes
//! stay. The result is read back, and only when it differs from what was there by just this
//! recipient is it given out. Otherwise the file is left alone and its owner is told what to add.

use bedplate_yaml::ScalarStyle;

use crate::ssh::Recipient;
use bedplate_yaml::{self as yaml, Content, Node, YamlError};

/// What is to be done with a `.sops.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The recipient stands there.
    AlreadyThere,
    /// The new text.
    Changed(String),
    /// Not understood: nothing is changed.
    ByHand {
        /// What is not understood, with its line.
        why: String,
        /// What to add.
        add: String,
    },
}

/// The text of a first `.sops.yaml`: one rule for what lies in `directory`, one key group.
pub fn new_file(directory: &str, recipients: &[(Recipient, String)]) -> String {
    let pattern = format!("^{}/", regex_lite::escape(directory)).replace('\'', "''");
    let mut text =
        format!("creation_rules:\n  - path_regex: '{pattern}'\n    key_groups:\n      - age:\n");
    for (recipient, name) in recipients {
        text.push_str(&format!("          - {recipient} # {}\n", comment(name)));
    }
    text
}

/// Adds `recipient` to the one key group of the rule that applies to `file`, a path relative to
/// `.sops.yaml`. `name` goes into a comment beside it.
pub fn add(text: &str, file: &str, recipient: &Recipient, name: &str) -> Edit {
    let by_hand =
        |why: String| Edit::ByHand { why, add: format!("- {recipient} # {}", comment(name)) };
    let planned = yaml::parse(text).and_then(|root| Ok((plan(&root, file, recipient)?, root)));
    let (place, root) = match planned {
        Ok((Some(place), root)) => (place, root),
        Ok((None, _)) => return Edit::AlreadyThere,
        Err(error) => return by_hand(error.to_string()),
    };
    let Some(changed) = place.apply(text, recipient, name) else {
        return by_hand(format!("line {}: the list is not written one key to a line", place.line));
    };
    match only_added(&root, &changed, file, recipient) {
        true => Edit::Changed(changed),
        false => {
            by_hand(format!("line {}: this way of writing keys is not understood", place.line))
        }
    }
}

/// The recipients of the rule that applies to `file`.
pub fn recipients(text: &str, file: &str) -> Result<Vec<String>, YamlError> {
    let root = yaml::parse(text)?;
    Ok(names(&root, age_of(rule(&root, file)?)?))
}

/// Where the recipient goes.
struct Place {
    /// From 1.
    line: usize,
    kind: PlaceKind,
}

enum PlaceKind {
    /// A list item of its own, after this line, as far to the right as its brothers.
    Item { indent: usize },
    /// At the end of the text between commas that ends on this line.
    Comma { quote: Option<char> },
}

impl Place {
    fn apply(&self, text: &str, recipient: &Recipient, name: &str) -> Option<String> {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let index = self.line.checked_sub(1)?;
        let line = lines.get_mut(index)?;
        let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
        match self.kind {
            PlaceKind::Item { indent } => {
                if !line.trim_start().starts_with("- ") {
                    return None;
                }
                if !line.ends_with('\n') {
                    line.push_str(end);
                }
                let item = format!("{}- {recipient} # {}{end}", " ".repeat(indent), comment(name));
                lines.insert(index.checked_add(1)?, item);
            }
            PlaceKind::Comma { quote } => {
                let body = line.trim_end();
                let (body, tail) = match quote {
                    Some(quote) => (body.strip_suffix(quote)?, quote.to_string()),
                    None => (body, String::new()),
                };
                let comma = if body.ends_with(',') { "" } else { "," };
                *line = format!("{body}{comma}{recipient}{tail}{end}");
            }
        }
        Some(lines.concat())
    }
}

/// Where to add; none when the recipient is there.
fn plan(root: &Node, file: &str, recipient: &Recipient) -> Result<Option<Place>, YamlError> {
    let age = age_of(rule(root, file)?)?;
    if names(root, age).iter().any(|name| name == recipient.as_str()) {
        return Ok(None);
    }
    match &age.content {
        Content::List(items) => {
            let last = items.last().ok_or_else(|| age.wrong("the list of age keys is empty"))?;
            // The item's text stands two to the right of its dash.
            let indent = last.column.checked_sub(3);
            let indent =
                indent.ok_or_else(|| last.wrong("the list is not written one key to a line"))?;
            Ok(Some(Place { line: last.line, kind: PlaceKind::Item { indent } }))
        }
        Content::Scalar { style: ScalarStyle::Plain, .. } => {
            Ok(Some(Place { line: age.last_line, kind: PlaceKind::Comma { quote: None } }))
        }
        Content::Scalar { style, .. }
            if matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) =>
        {
            let quote = if *style == ScalarStyle::SingleQuoted { '\'' } else { '"' };
            Ok(Some(Place { line: age.last_line, kind: PlaceKind::Comma { quote: Some(quote) } }))
        }
        _ => Err(age.wrong("the age keys are not written as a list or on one line")),
    }
}

/// The first rule whose `path_regex` matches, as sops takes it.
fn rule<'a>(root: &'a Node, file: &str) -> Result<&'a Node, YamlError> {
    let rules =
        root.get("creation_rules").ok_or_else(|| root.wrong("there are no `creation_rules`"))?;
    for rule in rules.items() {
        let Some(pattern) = rule.get("path_regex").filter(|pattern| !pattern.is_null()) else {
            return Ok(rule);
        };
        let text = pattern.text().unwrap_or_default();
        let expression = regex_lite::Regex::new(text);
        let expression =
            expression.map_err(|_| pattern.wrong("this regular expression is not understood"))?;
        if expression.is_match(file) {
            return Ok(rule);
        }
    }
    Err(rules.wrong(format!("no rule applies to {file}")))
}

/// The age keys of a rule with one key group.
fn age_of(rule: &Node) -> Result<&Node, YamlError> {
    let missing = |node: &Node| node.wrong("the rule has no age keys");
    match rule.get("key_groups") {
        None => rule.get("age").ok_or_else(|| missing(rule)),
        Some(groups) => match groups.items() {
            [one] => one.get("age").ok_or_else(|| missing(one)),
            [] => Err(missing(groups)),
            _ => Err(groups.wrong(
                "the rule splits the key over several key groups; which one the host belongs to is yours to say",
            )),
        },
    }
}

/// The keys of a list or a text with commas, aliases followed.
fn names(root: &Node, age: &Node) -> Vec<String> {
    let text = |node: &Node| match &node.content {
        Content::Alias(anchor) => root.anchored(*anchor).and_then(Node::text).map(str::to_owned),
        _ => node.text().map(str::to_owned),
    };
    match &age.content {
        Content::List(items) => items.iter().filter_map(text).collect(),
        _ => {
            let all = text(age).unwrap_or_default();
            let names = all.split(',').map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        }
    }
}

/// Whether `changed` is `before` with this recipient as the last of its rule, and nothing else.
fn only_added(before: &Node, changed: &str, file: &str, recipient: &Recipient) -> bool {
    let Ok(after) = yaml::parse(changed) else { return false };
    let keys = |root: &Node| rule(root, file).and_then(age_of).map(|age| names(root, age));
    let (Ok(old), Ok(new)) = (keys(before), keys(&after)) else { return false };
    let mut expected = old;
    expected.push(recipient.to_string());
    // Everything but the new key, in order.
    let (mut was, mut is) = (Vec::new(), Vec::new());
    flatten(before, &mut was);
    flatten(&after, &mut is);
    let added: Vec<String> = is.iter().flat_map(|text| split(text)).collect();
    let had: Vec<String> = was.iter().flat_map(|text| split(text)).collect();
    let without: Vec<&String> = {
        let mut seen = false;
        let kept = added.iter().rev().filter(|text| {
            let is_new = !seen && text.as_str() == recipient.as_str();
            seen |= is_new;
            !is_new
        });
        let mut kept: Vec<&String> = kept.collect();
        kept.reverse();
        kept
    };
    new == expected && without.into_iter().eq(had.iter())
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// All scalars and aliases in order, with marks where lists and maps begin and end.
fn flatten(node: &Node, out: &mut Vec<String>) {
    match &node.content {
        Content::Scalar { text, .. } => out.push(text.clone()),
        Content::Alias(anchor) => out.push(format!("*{anchor}")),
        Content::List(items) => {
            out.push("[".into());
            items.iter().for_each(|item| flatten(item, out));
            out.push("]".into());
        }
        Content::Map(entries) => {
            out.push("{".into());
            entries.iter().for_each(|(key, value)| {
                flatten(key, out);
                flatten(value, out);
            });
            out.push("}".into());
        }
    }
}

/// A name that cannot end its comment.
fn comment(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests;
