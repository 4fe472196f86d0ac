//! XML of libvirt as a tree.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

use super::inspect::InspectError;

/// Deeper than libvirt ever nests: each snapshot of a chain stands in the one above it, a chain has up to
/// 200 of them, and libxml2 reads no more than this (`xmlParserMaxDepth`).
const DEEPEST: usize = 256;

/// An element with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// With its prefix, as it is written.
    pub name: String,
    /// In the order in which they stand there.
    pub attributes: Vec<(String, String)>,
    /// In the order in which they stand there.
    pub children: Vec<Element>,
    /// What is written in it, outside its children.
    pub text: String,
}

impl Element {
    /// Reads a document: its outermost element.
    pub fn parse(xml: &str) -> Result<Self, InspectError> {
        let mut reader = Reader::from_str(xml);
        // The first stands for the document.
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().map_err(unreadable)? {
                Event::Start(start) if open.len() <= DEEPEST => open.push(Self::start(&start)?),
                Event::Start(_) => return Err(unreadable("it is nested too deep")),
                Event::Empty(start) => close(&mut open, Self::start(&start)?),
                Event::End(_) => {
                    if let Some(mut element) = open.pop() {
                        let plain = unescape(element.text.trim()).map_err(unreadable)?.into_owned();
                        element.text = plain;
                        close(&mut open, element);
                    }
                }
                Event::Text(text) => write(&mut open, &text),
                Event::GeneralRef(name) => write(&mut open, &format!("&{};", &*name)),
                Event::Eof => break,
                _ => {}
            }
        }
        let document = open.pop().filter(|_| open.is_empty());
        let mut roots = document.map(|document| document.children).unwrap_or_default();
        roots.pop().ok_or_else(|| unreadable("it is cut off"))
    }

    fn start(start: &BytesStart<'_>) -> Result<Self, InspectError> {
        let mut element = Self { name: start.name().as_ref().to_owned(), ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(unreadable)?;
            let value = unescape(&attribute.value).map_err(unreadable)?.into_owned();
            element.attributes.push((attribute.key.as_ref().to_owned(), value));
        }
        Ok(element)
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// An attribute of the first child of this name; empty when there is none.
    pub fn of(&self, child: &str, attribute: &str) -> &str {
        self.child(child).and_then(|child| child.attribute(attribute)).unwrap_or_default()
    }

    /// Calls `visit` with every attribute's value and every text in it.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        self.attributes.iter().for_each(|(_, value)| visit(value));
        visit(&self.text);
        self.children.iter().for_each(|child| child.visit(visit));
    }
}

fn close(open: &mut [Element], element: Element) {
    if let Some(parent) = open.last_mut() {
        parent.children.push(element);
    }
}

fn write(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> InspectError {
    InspectError(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_as_it_was_meant() {
        let tree = Element::parse("<a b='&lt;x&apos;'><c>1 &amp; 2</c><c d='/e'/></a>").unwrap();
        assert_eq!(tree.attribute("b"), Some("<x'"));
        assert_eq!(tree.child("c").unwrap().text, "1 & 2");
        assert_eq!(tree.all("c").count(), 2);
        let mut seen = Vec::new();
        tree.visit(&mut |text| seen.push(text.to_owned()));
        assert!(seen.contains(&"/e".to_owned()), "{seen:?}");
    }

    #[test]
    fn what_is_no_document_or_nested_without_end_is_an_error() {
        for text in ["", "<a>", "<a></b>", "<a b='&nothing;'/>"] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
        assert!(Element::parse(&"<a>".repeat(100_000)).is_err());
    }
}
