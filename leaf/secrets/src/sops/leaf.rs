//! The values of a file, in the order in which the MAC covers them (sops.go, `walkBranch`).

use bedplate_tools::secret::Secret;
use bedplate_yaml::ScalarStyle;

use super::error::SopsError;
use super::value;
use bedplate_yaml::{Content, Node, YamlError};

/// One value.
#[derive(Debug)]
pub struct Leaf {
    /// Where it stands, for people: names and numbers between `/`.
    pub place: String,
    /// Line, from 1.
    pub line: usize,
    /// Whether it is encrypted in the file.
    pub encrypted: bool,
    /// Its bytes, as the MAC covers them.
    pub value: Secret,
}

/// Where the walk is.
#[derive(Clone, Default)]
struct Path {
    /// As sops authenticates it: names, each with `:` after it; numbers of lists do not count.
    authenticated: String,
    /// For people.
    shown: String,
}

impl Path {
    fn name(&self, name: &str) -> Self {
        Self { authenticated: format!("{}{name}:", self.authenticated), shown: self.joined(name) }
    }

    fn number(&self, number: usize) -> Self {
        Self { authenticated: self.authenticated.clone(), shown: self.joined(&number.to_string()) }
    }

    fn joined(&self, name: &str) -> String {
        if self.shown.is_empty() { name.to_owned() } else { format!("{}/{name}", self.shown) }
    }
}

/// All values of `document` but its metadata.
pub fn all(document: &Node, data_key: &[u8]) -> Result<Vec<Leaf>, SopsError> {
    let mut leaves = Vec::new();
    for (key, value) in document.entries().iter().filter(|(key, _)| key.text() != Some("sops")) {
        walk(value, &Path::default().name(name(key)?), data_key, &mut leaves)?;
    }
    Ok(leaves)
}

/// Depth is bounded by the reader of YAML.
fn walk(
    node: &Node,
    path: &Path,
    data_key: &[u8],
    leaves: &mut Vec<Leaf>,
) -> Result<(), SopsError> {
    match &node.content {
        Content::Map(entries) => {
            for (key, value) in entries {
                walk(value, &path.name(name(key)?), data_key, leaves)?;
            }
        }
        Content::List(items) => {
            for (number, item) in items.iter().enumerate() {
                walk(item, &path.number(number), data_key, leaves)?;
            }
        }
        Content::Alias(_) => return Err(node.wrong("anchors are not supported here").into()),
        Content::Scalar { .. } if node.is_null() => {}
        Content::Scalar { text, style, tagged } => {
            let encrypted = text.starts_with(value::PREFIX);
            let value = if encrypted {
                let opened = value::open(text, data_key, &path.authenticated);
                opened.map_err(|why| SopsError::Value {
                    line: node.line,
                    place: path.shown.clone(),
                    why,
                })?
            } else if *tagged {
                return Err(node.wrong("tags are not supported here").into());
            } else {
                plain(node, text, *style)?
            };
            leaves.push(Leaf { place: path.shown.clone(), line: node.line, encrypted, value });
        }
    }
    Ok(())
}

fn name(key: &Node) -> Result<&str, SopsError> {
    Ok(key.text().ok_or_else(|| key.wrong("a key that is no text is not supported here"))?)
}

/// The bytes of an unencrypted value in the MAC (sops.go, `ToBytes`, after Go's reading of YAML).
fn plain(node: &Node, text: &str, style: ScalarStyle) -> Result<Secret, YamlError> {
    let bytes = |text: &str| Ok(Secret::new(text.as_bytes().to_vec()));
    if style != ScalarStyle::Plain {
        return bytes(text);
    }
    match text {
        "true" | "True" | "TRUE" => return bytes("True"),
        "false" | "False" | "FALSE" => return bytes("False"),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || "+.".contains(first)) {
        return bytes(text);
    }
    // What begins like a number may be one, a time, or a text, each written in several ways.
    let plain_integer = digits == "0" || !digits.starts_with('0');
    if plain_integer
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = text.parse::<i64>()
    {
        return bytes(&number.to_string());
    }
    Err(node.wrong(
        "an unencrypted value that may be a number or a time is not supported here; put quotes around it",
    ))
}
