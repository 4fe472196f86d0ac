//! What the pages show of a `host.toml` is right: each example, with what it leaves out taken from
//! the profile.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::Path;

use bedplate_document::parse;
use toml_edit::{DocumentMut, Item, Table};

const PROFILE: &str = include_str!("../../../profiles/hypervisor/host.toml");
/// What examples leave out with a `…`, and something of that kind.
const ELIDED: [(&str, &str); 3] = [
    (
        "ssh-ed25519 AAAA…",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2bYBCMFz9NyY4o2BbqIDeVhdp9/KhcUTWZmUyXbxTV",
    ),
    ("sha256//…", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    // The frame of a certificate, with nothing in it.
    ("\n…\n", "\nMIEBAA==\n"),
];

/// The blocks of a page that begin with a section: those between fences, and those that are indented.
fn examples(page: &str) -> Vec<String> {
    let (mut blocks, mut block, mut fenced) = (Vec::new(), String::new(), false);
    for line in page.lines().chain(["end"]) {
        let inside = match line.strip_prefix("    ") {
            _ if line.starts_with("```") => {
                fenced = !fenced;
                None
            }
            _ if fenced => Some(line),
            Some(code) => Some(code),
            // Between two sections of one block.
            None => line.is_empty().then_some(line).filter(|_| !block.is_empty()),
        };
        match inside {
            Some(code) => block += &format!("{code}\n"),
            None => blocks.push(std::mem::take(&mut block)),
        }
    }
    blocks.retain(|block| block.starts_with('['));
    blocks
}

/// Puts `over` on `table`, section by section.
fn lay(table: &mut Table, over: &Table) {
    for (key, item) in over {
        match (table.get_mut(key).and_then(Item::as_table_mut), item.as_table()) {
            (Some(below), Some(section)) => lay(below, section),
            _ => drop(table.insert(key, item.clone())),
        }
    }
}

#[test]
fn every_example_of_a_page_is_a_right_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let (mut count, mut wrong) = (0, String::new());
    for page in pages.chain([root.join("README.md")]) {
        if page.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        for example in examples(&fs::read_to_string(&page).unwrap()) {
            let told = format!("{}:\n{example}", page.display());
            let whole = ELIDED.iter().fold(example, |text, (from, to)| text.replace(from, to));
            let over: DocumentMut = whole.parse().unwrap_or_else(|error| panic!("{told}{error}"));
            let mut document: DocumentMut = PROFILE.parse().unwrap();
            lay(&mut document, &over);
            if let Err(problems) = parse(&document.to_string(), "host.toml") {
                wrong += &format!("{told}{problems}\n");
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 8, "{count} examples were found");
}
