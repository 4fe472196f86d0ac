//! Reading `host.toml`: text in, [`HostFile`] or every problem at once out.
//!
//! The text becomes a tree with spans, the tree is decoded by the known keys
//! ([`keys::blocks`]), and the result is checked for references between sections. No stage
//! stops at the first mistake; only text that is no TOML at all ends early.

pub mod addresses;
mod decode;
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
use section::Decoder;

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
