//! A host's document in its repository: its name and where hosts are kept.

use bedplate_document::{self as document, rules};
use bedplate_model::host::HostFile;
use toml_edit::{DocumentMut, Item, Table, Value};

use crate::error::Error;
use crate::host::NewHost;

/// The text of `host.toml` with another name and directory of hosts, on another platform where one
/// is asked for, and what it says. Comments and everything else stay as they are.
pub(crate) fn fit(request: &NewHost<'_>, hosts: &str) -> Result<(String, HostFile), Error> {
    let NewHost { name, document: text, .. } = *request;
    rules::host_name(name).map_err(Error::rule)?;
    rules::relative_path(hosts).map_err(Error::rule)?;
    let mut tree: DocumentMut = text.parse().map_err(|error| {
        // The text of the error shows lines of the file; its message alone is fit for a terminal.
        let error: toml_edit::TomlError = error;
        Error::Toml(error.message().escape_debug().to_string())
    })?;
    set(&mut tree, "host", "name", name);
    if let Some(platform) = request.platform {
        set(&mut tree, "host", "platform", platform.name());
    }
    let known = tree.get("flake").and_then(|flake| flake.get("hosts")).and_then(Item::as_str);
    if known.unwrap_or(crate::shipped::HOSTS) != hosts {
        set(&mut tree, "flake", "hosts", hosts);
    }
    let fitted = tree.to_string();
    let host = document::parse(&fitted, "host.toml").map_err(Error::Document)?;
    Ok((fitted, host))
}

/// Puts a string into a section; what stands around the old one stays.
fn set(tree: &mut DocumentMut, section: &str, key: &str, text: &str) {
    let table = tree.as_table_mut().entry(section).or_insert(Item::Table(Table::new()));
    let Some(table) = table.as_table_like_mut() else { return };
    let mut value = Value::from(text);
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped;

    fn fitted(document: &str, name: &str, hosts: &str) -> Result<(String, HostFile), Error> {
        fit(&NewHost { name, document, ..NewHost::default() }, hosts)
    }

    #[test]
    fn only_the_name_and_the_directory_of_hosts_change() {
        let profile = shipped::profile("hypervisor").unwrap();
        let (text, host) = fitted(profile, "attic", "hosts").unwrap();
        let differing: Vec<(&str, &str)> =
            profile.lines().zip(text.lines()).filter(|(a, b)| a != b).collect();
        let expected = [
            ("name = \"hypervisor\"", "name = \"attic\""),
            ("hosts = \"nix/hosts\"", "hosts = \"hosts\""),
        ];
        assert_eq!(differing, expected);
        assert_eq!((host.host.name.as_str(), host.flake.hosts.as_str()), ("attic", "hosts"));
    }

    #[test]
    fn t16_names_that_are_no_host_names_are_refused() {
        let profile = shipped::profile("hypervisor").unwrap();
        let hostile = [
            "",
            "..",
            "a/b",
            "../x",
            "-x",
            "a b",
            "a\nb",
            "${x}",
            "a''b",
            "a\"b",
            "a'b",
            "A",
            "é",
            "a\u{1b}[31m",
            "a$b",
            "a\\b",
            "a;b",
        ];
        for name in hostile {
            let error = fitted(profile, name, "hosts").unwrap_err();
            assert!(matches!(error, Error::Name { .. }), "{name:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        }
    }

    #[test]
    fn t16_directories_that_leave_the_repository_are_refused() {
        let profile = shipped::profile("hypervisor").unwrap();
        for hosts in ["../x", "/etc", "a b", "a\"b", "${x}", "a/../b", "-x", ""] {
            assert!(matches!(fitted(profile, "box", hosts), Err(Error::Name { .. })), "{hosts:?}");
        }
    }

    #[test]
    fn t17_what_a_document_says_in_comments_stays_to_the_byte() {
        let comment = "# ${builtins.throw \"x\"} ''${y}'' \"quoted\" 'single' `z` \\n\n";
        let profile = format!("{comment}{}", shipped::profile("hypervisor").unwrap());
        let (text, _) = fitted(&profile, "hypervisor", "nix/hosts").unwrap();
        assert_eq!(text, profile);
    }

    #[test]
    fn t17_strings_that_are_code_elsewhere_are_refused_in_the_document() {
        let profile = shipped::profile("hypervisor").unwrap();
        for hostile in ["${x}", "''", "a\\\"b", "a\\nb"] {
            let text = profile.replace("Europe/Brussels", hostile);
            assert_ne!(text, profile);
            let error = fitted(&text, "box", "hosts").unwrap_err().to_string();
            assert!(error.contains("host.toml:13:"), "{error}");
        }
    }
}
