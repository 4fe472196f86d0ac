//! `host.toml`: a document or problems, each with a place in the text.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match bedplate_document::parse(text, "host.toml") {
        Ok(host) => drop(host.to_json()),
        Err(problems) => drop(problems.to_string()),
    }
});
