//! What matters of a domain's XML as libvirt returns it.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::domain::NAMESPACE;

/// XML of libvirt that is not XML.
#[derive(Debug, thiserror::Error)]
#[error("libvirt returned XML that cannot be read")]
pub struct InspectError(#[source] pub(super) Box<dyn std::error::Error + Send + Sync>);

/// The hash of the intent in a domain's metadata; none when the domain is not ours.
pub fn intent(xml: &str) -> Result<Option<String>, InspectError> {
    let mut reader = Reader::from_str(xml);
    let mut depth = Vec::new();
    loop {
        match reader.read_event().map_err(|error| InspectError(error.into()))? {
            Event::Start(start) => {
                if let Some(found) = ours(&start, &depth)? {
                    return Ok(Some(found));
                }
                depth.push(start.name().as_ref().to_owned());
            }
            Event::Empty(start) => {
                if let Some(found) = ours(&start, &depth)? {
                    return Ok(Some(found));
                }
            }
            Event::End(_) => drop(depth.pop()),
            Event::Eof => return Ok(None),
            _ => {}
        }
    }
}

fn ours(element: &BytesStart<'_>, depth: &[String]) -> Result<Option<String>, InspectError> {
    if depth != ["domain", "metadata"] || element.local_name().as_ref() != "vm" {
        return Ok(None);
    }
    let (mut namespace, mut intent) = (false, None);
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| InspectError(error.into()))?;
        match attribute.key.as_ref() {
            key if key.starts_with("xmlns") => {
                namespace |= attribute.value.as_ref() == NAMESPACE;
            }
            "intent" => intent = Some(attribute.value.into_owned()),
            _ => {}
        }
    }
    Ok(intent.filter(|_| namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_found_in_metadata_alone_and_in_our_namespace_alone() {
        let ours = "<domain><name>a</name><metadata>\n<bedplate:vm xmlns:bedplate=\"urn:bedplate:vm:1\" intent=\"ab\"/></metadata></domain>";
        assert_eq!(intent(ours).unwrap().as_deref(), Some("ab"));
        assert_eq!(intent(&ours.replace("vm:1", "vm:2")).unwrap(), None);
        assert_eq!(intent(&ours.replace("metadata", "devices")).unwrap(), None);
        assert_eq!(intent("<domain><name>a</name></domain>").unwrap(), None);
        assert!(intent("<domain><a></b></domain>").is_err());
    }
}
