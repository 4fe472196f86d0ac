//! Reading `host.toml`: text in, [`HostFile`] or every problem at once out.
//!
//! The text becomes a tree with spans, the tree is decoded by the known keys
//! ([`keys::blocks`]), and the result is checked for references between sections. No stage
//! stops at the first mistake; only text that is no TOML at all ends early.

pub mod addresses;
mod decode;
mod hidden;
pub mod keys;
mod machines;
mod network;
mod problem;
mod references;
pub mod rules;
mod secret;
mod section;
mod services;
mod source;
mod text;

pub use problem::{Problem, Problems};
pub use section::nearest;
pub use text::text;

use bedplate_model::host::HostFile;
use bedplate_model::name::Role;
use section::Decoder;
use uuid::Uuid;

/// The longest document that is read, in bytes.
pub const LIMIT: usize = 1 << 20;

/// Reads a document. `file_name` appears in problems only.
pub fn parse(text: &str, file_name: &str) -> Result<HostFile, Problems> {
    let decoder = Decoder::new(text, file_name);
    if text.len() > LIMIT {
        decoder.report_span(
            0..0,
            "",
            format!("the document has {} bytes", text.len()),
            format!("keep it under {LIMIT} bytes"),
        );
        return Err(decoder.into_problems());
    }
    let document = match toml_edit::Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            decoder.report_syntax(&error);
            return Err(decoder.into_problems());
        }
    };
    let mut host = decode::host_file(&decoder, document.as_table());
    references::resolve(&decoder, &mut host);
    let problems = decoder.into_problems();
    if problems.is_empty() { Ok(host) } else { Err(problems) }
}

/// `host.id` and `os.disk` of a document that another version may have written: whatever else it says is not looked at.
/// None when it does not say them.
pub fn os_volume(text: &str) -> Option<(Uuid, Role)> {
    let within = Some(text).filter(|text| text.len() <= LIMIT)?;
    let document = toml_edit::Document::parse(within).ok()?;
    let value = |table: &str, key: &str| document.get(table).and_then(|table| table.get(key));
    let id = value("host", "id")?.as_str()?.parse().ok()?;
    let disk = value("os", "disk").map_or(Some(OS_DISK), toml_edit::Item::as_str)?;
    Some((id, disk.parse().ok()?))
}

/// What `os.disk` is where a document says nothing, in every version.
const OS_DISK: &str = "os";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_os_volume_of_a_document_of_another_version_is_known() {
        let profile = include_str!("../../../profiles/hypervisor/host.toml");
        let host = parse(profile, "host.toml").unwrap();
        let wanted = Some((host.host.id, host.os.disk));
        assert_eq!(os_volume(profile), wanted);
        let newer = format!("{profile}\n[from_the_future]\nx = 1\n");
        assert!(parse(&newer, "host.toml").is_err());
        assert_eq!(os_volume(&newer), wanted);
        let named =
            "[host]\nid = \"6ba7b810-9dad-41d1-80b4-00c04fd430c8\"\n[os]\ndisk = \"root\"\n";
        assert_eq!(os_volume(named).unwrap().1.as_str(), "root");
        for none in ["", "[host]\n", "[host]\nid = 5", "not toml", "[host]\nid = \"x\""] {
            assert_eq!(os_volume(none), None, "{none}");
        }
    }
}
