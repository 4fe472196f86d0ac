//! What the tests of all kinds of imports look at.

#![allow(dead_code, reason = "not every kind of import wants all of it")]

use bedplate_document as document;
use bedplate_import::Imported;

pub fn shown(imported: &Imported) -> String {
    let note = |note: &bedplate_import::Note| {
        let mark = if note.is_open { "to do" } else { "told" };
        format!("{note} ({mark})\n")
    };
    let notes: String = imported.notes.iter().map(note).collect();
    format!("{}== notes\n{notes}", imported.text)
}

/// A document in which only machines that are added can be wrong.
pub fn base() -> String {
    let base = include_str!("../../../../profiles/hypervisor/host.toml");
    base.split("[vms.").next().unwrap().to_owned()
}

/// The keys that are wrong in a document with these sections.
pub fn problems(sections: &str) -> Vec<String> {
    match document::parse(&format!("{}\n{sections}", base()), "host.toml") {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.key.clone()).collect(),
    }
}
