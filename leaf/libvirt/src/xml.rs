//! XML of libvirt as a tree with positions.

use quick_xml::Reader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};

/// Deeper than libvirt ever nests: each snapshot of a chain stands in the one above it, a chain has up to
/// 200 of them, and libxml2 reads no more than this (`xmlParserMaxDepth`).
const DEEPEST: usize = 256;

/// XML of libvirt that is not XML.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: this cannot be read as XML")]
pub struct XmlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What the parser said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

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
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The column at which it begins, from 1.
    pub column: usize,
}

/// How far a text has been read. Positions are asked for in its order.
struct Place<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl Place<'_> {
    fn go(&mut self, to: u64) -> (usize, usize) {
        let to = usize::try_from(to).unwrap_or(usize::MAX).min(self.text.len());
        for byte in self.text.as_bytes().get(self.at..to).unwrap_or_default() {
            match byte {
                b'\n' => (self.line, self.column) = (self.line + 1, 1),
                // What continues a character is no column of its own.
                byte if byte & 0xC0 == 0x80 => {}
                _ => self.column += 1,
            }
        }
        self.at = self.at.max(to);
        (self.line, self.column)
    }
}

impl Element {
    /// Reads a document: its outermost element, and of several the last.
    pub fn parse(xml: &str) -> Result<Self, XmlError> {
        let cut_off = |(line, column)| XmlError { line, column, source: "it is cut off".into() };
        let (mut all, end) = read(xml)?;
        all.pop().ok_or_else(|| cut_off(end))
    }

    /// Reads documents that stand one after the other, as several calls of `virsh dumpxml` write them.
    pub fn parse_all(xml: &str) -> Result<Vec<Self>, XmlError> {
        Ok(read(xml)?.0)
    }

    fn start(start: &BytesStart<'_>, (line, column): (usize, usize)) -> Result<Self, Cause> {
        let name = start.name().as_ref().to_owned();
        let mut element = Self { name, line, column, ..Self::default() };
        for attribute in start.attributes() {
            let attribute = attribute?;
            let value = unescape(&attribute.value)?.into_owned();
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

    /// An amount of memory in KiB, by what libvirt's `formatdomain` says of units: without one it is KiB.
    pub fn kibibytes(&self) -> u64 {
        let value: u64 = self.text.trim().parse().unwrap_or(0);
        let bytes: u64 = match self.attribute("unit").unwrap_or("KiB") {
            "b" | "bytes" => return value / 1024,
            "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            _ => 1 << 10,
        };
        value.saturating_mul(bytes) / 1024
    }

    /// Calls `visit` with every attribute's value and every text in it.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a str)) {
        self.attributes.iter().for_each(|(_, value)| visit(value));
        visit(&self.text);
        self.children.iter().for_each(|child| child.visit(visit));
    }
}

/// The documents, and where the text ends.
fn read(xml: &str) -> Result<(Vec<Element>, (usize, usize)), XmlError> {
    let mut place = Place { text: xml, at: 0, line: 1, column: 1 };
    let mut reader = Reader::from_str(xml);
    // The first stands for the document.
    let mut open = vec![Element::default()];
    loop {
        let (line, column) = place.go(reader.buffer_position());
        let wrong = |source| XmlError { line, column, source };
        let event = reader.read_event().map_err(|error| wrong(error.into()))?;
        if event == Event::Eof {
            break;
        }
        take(&mut open, event, (line, column)).map_err(wrong)?;
    }
    let document = open.pop().filter(|_| open.is_empty());
    let documents = document.map(|document| document.children).unwrap_or_default();
    Ok((documents, place.go(u64::MAX)))
}

/// What a domain boots by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boot {
    /// A legacy BIOS.
    Bios,
    /// UEFI without Secure Boot.
    Uefi,
    /// UEFI with Secure Boot.
    SecureBoot,
}

/// What the element `os` of a domain says of it.
pub fn boot(os: &Element) -> Boot {
    let loader = os.child("loader");
    let of_loader = |name: &str, value: &str| {
        loader.is_some_and(|loader| loader.attribute(name) == Some(value))
    };
    if os.attribute("firmware") != Some("efi") && !of_loader("type", "pflash") {
        return Boot::Bios;
    }
    let features = os.child("firmware").map(|firmware| firmware.children.as_slice());
    let is_on = |feature: &Element| {
        feature.attribute("name") == Some("secure-boot")
            && feature.attribute("enabled") == Some("yes")
    };
    let secure = features.unwrap_or_default().iter().any(is_on) || of_loader("secure", "yes");
    if secure { Boot::SecureBoot } else { Boot::Uefi }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn take(open: &mut Vec<Element>, event: Event<'_>, place: (usize, usize)) -> Result<(), Cause> {
    match event {
        Event::Start(start) if open.len() <= DEEPEST => open.push(Element::start(&start, place)?),
        Event::Start(_) => return Err("it is nested too deep".into()),
        Event::Empty(start) => close(open, Element::start(&start, place)?),
        Event::End(_) => {
            if let Some(mut element) = open.pop() {
                element.text = unescape(element.text.trim())?.into_owned();
                close(open, element);
            }
        }
        Event::Text(text) => write(open, &text),
        Event::GeneralRef(name) => write(open, &format!("&{};", &*name)),
        _ => {}
    }
    Ok(())
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
    fn every_element_says_where_it_begins() {
        let tree = Element::parse("<a>\n  <é b='\n'/><c>x</c>\n</a>").unwrap();
        let places: Vec<_> = tree.children.iter().map(|one| (one.line, one.column)).collect();
        assert_eq!(places, [(2, 3), (3, 4)]);
        let error = Element::parse("<a>\n<b></c></a>").unwrap_err();
        assert_eq!(error.line, 2, "{error}");
    }

    #[test]
    fn what_is_no_document_or_nested_without_end_is_an_error() {
        for text in ["", "<a>", "<a></b>", "<a b='&nothing;'/>"] {
            assert!(Element::parse(text).is_err(), "{text}");
        }
        assert!(Element::parse(&"<a>".repeat(100_000)).is_err());
    }
}
