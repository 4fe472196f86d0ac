//! References to secrets: exactly one place, and one that can work.

use super::problem::quote;
use super::rules::Wrong;
use super::section::Section;
use bedplate_model::host::{SecretFile, SecretReference};

/// The places a secret may be at, each with an example.
const PLACES: [(&str, &str); 5] = [
    ("stick", "stick = \"bedplate/secret\""),
    ("prompt", "prompt = \"bedplate/secret\""),
    ("file", "file = \"/var/lib/bedplate/secret\""),
    ("sops", "sops = \"secrets.yaml\", key = \"name\""),
    ("age", "age = \"secret.age\""),
];

/// What stands for a reference that is missing or wrong, which has been reported.
fn nowhere() -> SecretReference {
    SecretReference::Stick(String::new())
}

/// Reads the section `name` that says where a secret is, and whose absence has been reported.
pub(super) fn required(section: &Section<'_>, name: &str) -> SecretReference {
    section.some_section(name).as_ref().map_or_else(nowhere, reference)
}

/// Reads a section that says where a secret is; of which kind it is decides what it may say.
pub(super) fn reference(section: &Section<'_>) -> SecretReference {
    let known = PLACES.iter().filter(|(name, ..)| section.knows(name));
    let given = known.clone().filter(|(name, ..)| section.value(name).is_some());
    let key = section.knows("key") && section.value("key").is_some();
    let given: Vec<_> = given.collect();
    let [(name, _)] = given.as_slice() else {
        let examples: Vec<String> = known
            // Nothing suggests a place that is refused.
            .filter(|(name, ..)| section.one_of().contains(name))
            .map(|(.., example)| format!("`{example}`"))
            .collect();
        count(section, &given, &examples);
        return nowhere();
    };
    if key && *name != "sops" {
        let message = format!("`{}` belongs to `sops`", section.child("key"));
        let help = format!("leave it out, or write sops in the place of {}", quote(name));
        section.wrong("key", Wrong { message, help });
    }
    let place = section.text(name);
    match *name {
        "stick" => SecretReference::Stick(place),
        "prompt" => SecretReference::Prompt(place),
        "file" => SecretReference::File(place),
        "age" => SecretReference::Age(place),
        _ => sops(section, place, key),
    }
}

/// Reads a section `[secrets.<name>]`: what goes into a file of its own, and who may read it.
pub(super) fn file(section: &Section<'_>) -> SecretFile {
    SecretFile {
        source: reference(section),
        owner: section.text("owner"),
        group: section.some_text("group"),
    }
}

fn sops(section: &Section<'_>, file: String, has_key: bool) -> SecretReference {
    if !has_key {
        let message = format!("`{}` is missing", section.child("key"));
        let help = "write where in the file it stands: `key = \"restic/apps\"`".into();
        section.wrong_here(Wrong { message, help });
    }
    SecretReference::Sops { file, key: section.text("key") }
}

/// None, or several.
fn count(section: &Section<'_>, given: &[&(&str, &str)], examples: &[String]) {
    if let Some((name, ..)) = given.get(1) {
        let first = given.first().map(|(name, ..)| *name).unwrap_or_default();
        let message = format!("`{}` stands beside `{first}`", section.child(name));
        section.wrong(name, Wrong { message, help: "a secret is at one place: keep one".into() });
    } else {
        let message = format!("`{}` does not say where the secret is", section.path);
        let help = format!("write one of {}", examples.join(", "));
        section.wrong_here(Wrong { message, help });
    }
}
