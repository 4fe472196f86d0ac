//! The encrypted files of a host.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use bedplate_model::host::{HostFile, SecretReference};

/// What a host's directory holds, relative to it and sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files of sops in YAML: those of host.toml, and those that look like some.
    pub sops: BTreeSet<String>,
    /// Files of age that host.toml names.
    pub age: BTreeSet<String>,
}

/// No repository nests deeper.
const DEPTH: usize = 8;

/// Finds the files: those that `host` names, and those that lie there.
pub fn find(directory: &Path, host: Option<&HostFile>) -> io::Result<Files> {
    let mut files = Files::default();
    for (_, reference) in host.iter().flat_map(|host| host.repository_secrets()) {
        match reference {
            SecretReference::Sops { file, .. } => files.sops.insert(file.clone()),
            SecretReference::Age(file) => files.age.insert(file.clone()),
            SecretReference::Stick(_) | SecretReference::Prompt(_) | SecretReference::File(_) => {
                false
            }
        };
    }
    walk(directory, "", DEPTH, &mut files.sops)?;
    Ok(files)
}

fn walk(
    directory: &Path,
    below: &str,
    depth: usize,
    found: &mut BTreeSet<String>,
) -> io::Result<()> {
    for entry in fs::read_dir(directory.join(below))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            walk(directory, &path, depth.saturating_sub(1), found)?;
        } else if kind.is_file()
            && (path.ends_with(".yaml") || path.ends_with(".yml"))
            && fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("\nsops:"))
        {
            found.insert(path);
        }
    }
    Ok(())
}
