//! The list `libvirt_vms` of an Ansible role that provisions machines with libvirt.
//!
//! Its keys are those of `host.toml`, which took its names from there. Jinja is not evaluated:
//! what a template would give is only known to Ansible.

use std::fmt;

use bedplate_yaml::{Content, Node, YamlError};

use crate::machine;

/// The list.
const LIST: &str = "libvirt_vms";
/// Where the files of all machines lie, in the role's defaults.
const ROOT: &str = "/mnt/vmstore";
/// Bridge of machines that name none, in the role's defaults.
const BRIDGE: &str = "br0";

/// Variables that hold no machines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// No YAML.
    #[error("the variables cannot be read")]
    Yaml(#[from] YamlError),
    /// Ansible Vault has encrypted the file; it is not decrypted here.
    #[error("the file is a vault; give the output of `ansible-vault view`")]
    Vault,
    /// Something else.
    #[error("there is no list `{LIST}` in it")]
    NoList,
}

/// What became of the variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Sections `[vms.<name>]`.
    pub text: String,
    /// What its reader should know, in the order of the file.
    pub notes: Vec<Note>,
}

/// One thing that was not carried over, or not as it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Line in the variables, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What it is about, such as `haos.disk_image.url`.
    pub about: String,
    /// What to know or do.
    pub message: String,
    /// Whether something is left to do by hand.
    pub is_open: bool,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
        };
        let Self { line, column, about, message, .. } = self;
        write!(formatter, "{line}:{column}: {}: {}", plain(about), plain(message))
    }
}

/// Notes as they come up.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    /// Something that is left to do by hand.
    pub(crate) fn open(&mut self, node: &Node, about: &str, message: impl Into<String>) {
        self.add(node, about, message.into(), true);
    }

    /// Something that is only told.
    pub(crate) fn tell(&mut self, node: &Node, about: &str, message: impl Into<String>) {
        self.add(node, about, message.into(), false);
    }

    fn add(&mut self, node: &Node, about: &str, message: String, is_open: bool) {
        let (line, column) = (node.line, node.column);
        self.0.push(Note { line, column, about: about.to_owned(), message, is_open });
    }
}

/// Defaults of the whole list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    /// Where the files of all machines lie.
    pub(crate) root: String,
    /// Bridge of machines that name none.
    pub(crate) bridge: String,
}

/// Turns Ansible's variables into sections of `host.toml`.
pub fn import(variables: &str) -> Result<Imported, ImportError> {
    if variables.starts_with("$ANSIBLE_VAULT") {
        return Err(ImportError::Vault);
    }
    let root = bedplate_yaml::parse(variables)?;
    let list = root.get(LIST).ok_or(ImportError::NoList)?;
    let Content::List(machines) = &list.content else { return Err(ImportError::NoList) };
    let mut notes = Notes::default();
    let role = role(&root, &mut notes);
    let mut names: Vec<String> = Vec::new();
    let mut text = String::new();
    for machine in machines {
        let Some((name, section)) = machine::section(machine, &role, &mut notes) else { continue };
        if names.contains(&name) {
            notes.open(machine, &name, "there is a machine of this name already; left out");
            continue;
        }
        text += &section;
        names.push(name);
    }
    let mut notes = notes.0;
    notes.sort_by_key(|note| (note.line, note.column));
    Ok(Imported { text, notes })
}

/// The variables beside the list.
fn role(root: &Node, notes: &mut Notes) -> Role {
    let mut role = Role { root: ROOT.to_owned(), bridge: BRIDGE.to_owned() };
    for (key, value) in root.entries() {
        let name = key.text().unwrap_or_default();
        match (name, value.text()) {
            (LIST, _) => {}
            ("libvirt_vmstore_root", Some(text)) => {
                role.root = text.trim_end_matches('/').to_owned();
            }
            ("libvirt_default_bridge", Some(text)) => role.bridge = text.to_owned(),
            ("libvirt_uri", Some("qemu:///system")) => {}
            _ => notes.tell(key, name, "not a variable of machines; left out"),
        }
    }
    role
}
