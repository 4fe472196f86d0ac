//! Machines as other tools describe them, turned into text of `host.toml`.
//!
//! Text in, text out: nothing is read or written here. What cannot be carried over is named, and
//! never guessed. What comes out is held against the rules of `host.toml`: what they refuse is a note.

pub mod adopt;
pub mod ansible;
mod check;
pub mod compose;
pub mod disko;
mod draft;
mod hints;
mod image;
pub mod libvirt;
mod machine;
mod note;
pub mod proxmox;
mod scalar;
mod value;

pub use check::Base;
pub use note::{Imported, Note};

use bedplate_libvirt::xml::XmlError;
use bedplate_yaml::{Node, YamlError};

/// The longest text that is read, in bytes.
pub const LIMIT: usize = bedplate_yaml::LIMIT;

/// A text that holds no machines: nothing of it was carried over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {what}; nothing was carried over")]
pub struct ImportError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What it is, and what is wanted.
    pub what: String,
}

impl ImportError {
    fn at(place: impl Into<note::Place>, what: impl Into<String>) -> Self {
        let note::Place { line, column } = place.into();
        Self { line, column, what: what.into() }
    }

    /// About the text as a whole.
    fn whole(what: impl Into<String>) -> Self {
        Self { line: 1, column: 1, what: what.into() }
    }

    fn too_long() -> Self {
        Self::whole(format!("it has more than {LIMIT} bytes, which no description of machines has"))
    }
}

impl From<YamlError> for ImportError {
    fn from(YamlError { line, column, what }: YamlError) -> Self {
        Self { line, column, what: format!("this cannot be read: {what}") }
    }
}

impl From<XmlError> for ImportError {
    fn from(XmlError { line, column, source }: XmlError) -> Self {
        Self { line, column, what: format!("this cannot be read as XML: {source}") }
    }
}

/// YAML, and JSON which is YAML too, with every alias and merge key resolved.
fn tree(text: &str) -> Result<Node, ImportError> {
    if text.len() > LIMIT {
        return Err(ImportError::too_long());
    }
    Ok(bedplate_yaml::parse(text)?.resolved()?)
}
