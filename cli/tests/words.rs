//! A comment that documents something is more than a word: it says what the thing is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What a line of a comment that documents says behind its slashes, none for any other line.
fn said(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("//")?.strip_prefix(['/', '!'])
}

/// The comments of one word, each with the number of the line where it begins. A comment is a run of
/// lines without a gap.
fn single_words(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<_> = text.lines().map(said).collect();
    let mut found = Vec::new();
    let mut first = 1;
    for run in lines.split(Option::is_none) {
        let mut words = run.iter().flatten().flat_map(|line| line.split_whitespace());
        if let (Some(word), None) = (words.next(), words.next()) {
            found.push((first, word));
        }
        first += run.len() + 1;
    }
    found
}

/// Adds `file:line: text` for every comment of one word in the directory's Rust files. What git does
/// not know is passed by: what cargo builds, and whatever is hidden.
fn look_through(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.starts_with('.') {
                look_through(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root()).unwrap().display();
            let text = fs::read_to_string(&path).unwrap();
            let words = single_words(&text).into_iter();
            found.extend(words.map(|(line, word)| format!("{file}:{line}: {word}")));
        }
    }
}

#[test]
fn comments_say_more_than_a_word() {
    let mut found = Vec::new();
    look_through(root(), &mut found);
    found.sort();
    assert!(found.is_empty(), "{} comments of one word:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_word_is_found_and_a_sentence_passes() {
    let text = "//! Disks.\n\n/// Size in bytes.\nconst A: u8 = 1;\n    ///\n    /// Why.\nsource: u8,\n\
                // Aside.\n/// One\n/// more.\n";
    assert_eq!(single_words(text), [(1, "Disks."), (5, "Why.")]);
}
