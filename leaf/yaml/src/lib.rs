//! YAML as a tree with positions (YAML 1.2.2), as far as other people's files use it: one document,
//! bounded in length and depth, aliases left as they are until somebody asks for what they stand for.

mod resolve;

use saphyr_parser::{Event, Marker, Parser, Span, Tag};

pub use saphyr_parser::ScalarStyle;

/// The longest text that is read, in bytes.
pub const LIMIT: usize = 1 << 20;

/// No file that people write is nested deeper.
const DEPTH: usize = 64;

/// A text that gives no tree.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {what}")]
pub struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The line on which a scalar ends, from 1.
    pub last_line: usize,
    /// What it is.
    pub content: Content,
    /// The number of its anchor, 0 for none.
    anchor: usize,
    /// The tag before it, such as `!vault`.
    tag: Option<String>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A scalar; `plain` when no quotes or block marks say that it is a string.
    Scalar {
        /// Its text.
        text: String,
        /// How it is written.
        style: ScalarStyle,
        /// Whether a tag such as `!!binary` stands before it.
        tagged: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written.
    Map(Vec<(Node, Node)>),
    /// A reference to the node with this anchor.
    Alias(usize),
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The tag before it as it is written, such as `!vault`; none for most.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Whether it is a scalar without quotes or marks of a block: what it means is then guessed from
    /// how it looks.
    pub fn is_plain(&self) -> bool {
        matches!(&self.content, Content::Scalar { style: ScalarStyle::Plain, .. })
    }

    /// What it is, in words: for messages.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Scalar { .. } if self.is_null() => "nothing",
            Content::Scalar { .. } => "a plain value",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
            Content::Alias(_) => "an alias",
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[(Node, Node)] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of `key` in a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The node with this anchor, in here.
    pub fn anchored(&self, anchor: usize) -> Option<&Node> {
        if self.anchor == anchor {
            return Some(self);
        }
        let mut inner =
            self.items().iter().chain(self.entries().iter().flat_map(|(key, value)| [key, value]));
        inner.find_map(|node| node.anchored(anchor))
    }

    /// `null`, or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, style: ScalarStyle::Plain, tagged: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// An error about this node.
    pub fn wrong(&self, what: impl Into<String>) -> YamlError {
        YamlError { line: self.line, column: self.column, what: what.into() }
    }
}

/// Reads the one document of `text`.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let whole = |what: &str| YamlError { line: 1, column: 1, what: what.to_owned() };
    if text.len() > LIMIT {
        return Err(whole("the file is too long"));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| at(*error.marker(), error.info()))?;
        builder.take(event, span)?;
    }
    builder.root.ok_or_else(|| whole("the file is empty"))
}

fn at(marker: Marker, what: &str) -> YamlError {
    YamlError { line: marker.line(), column: marker.col().saturating_add(1), what: what.to_owned() }
}

/// A tag as it is written: `!vault`, or `!!str` in its long form.
fn shown(tag: &Tag) -> String {
    format!("{}{}", tag.handle, tag.suffix)
}

/// Builds the tree from events, with a stack of its own: no depth overflows ours.
#[derive(Default)]
struct Builder {
    open: Vec<Node>,
    /// For each map that is open, the key whose value comes next.
    keys: Vec<Option<Node>>,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let node = |content, anchor, tag: Option<String>| Node {
            line: span.start.line(),
            column: span.start.col().saturating_add(1),
            last_line: span.end.line(),
            content,
            anchor,
            tag,
        };
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(at(span.start, "a second document in one file is not supported"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let (text, tagged) = (text.into_owned(), tag.is_some());
                let tag = tag.map(|tag| shown(&tag));
                self.add(node(Content::Scalar { text, style, tagged }, anchor, tag))
            }
            Event::Alias(anchor) => self.add(node(Content::Alias(anchor), 0, None)),
            Event::SequenceStart(anchor, tag) => {
                self.open(node(Content::List(Vec::new()), anchor, tag.map(|tag| shown(&tag))))
            }
            Event::MappingStart(anchor, tag) => {
                self.open(node(Content::Map(Vec::new()), anchor, tag.map(|tag| shown(&tag))))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.keys.pop();
                match self.open.pop() {
                    Some(done) => self.add(done),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, node: Node) -> Result<(), YamlError> {
        if self.open.len() >= DEPTH {
            return Err(node.wrong("nested too deep"));
        }
        self.open.push(node);
        self.keys.push(None);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), YamlError> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.content, self.keys.last_mut()) {
            (Content::Map(entries), Some(key)) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => {
                    let twice = |(name, _): &(Node, Node)| name.text() == node.text();
                    if node.text().is_some() && entries.iter().any(twice) {
                        return Err(node.wrong("this key stands here twice"));
                    }
                    *key = Some(node);
                }
            },
            (Content::List(items), _) => items.push(node),
            _ => {}
        }
        Ok(())
    }
}
