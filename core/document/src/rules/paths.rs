//! Paths, on the machine, on a stick and in the repository.

use super::{Wrong, only, require};

fn components_are_safe(path: &str) -> bool {
    path.split('/').all(|component| {
        !matches!(component, "" | "." | "..")
            && !component.starts_with('-')
            && only(component, "._+@-")
    }) && path.len() <= 255
}

/// An absolute path below `/`.
pub fn absolute_path(text: &str) -> Result<(), Wrong> {
    require(
        text.strip_prefix('/').is_some_and(components_are_safe),
        text,
        "an absolute path that can stand here",
        "start with `/`; use letters, 0-9, `.`, `_`, `+`, `@`, `-` between single `/`; no `..`, no `/` at the end",
    )
}

/// Names in a VM's directory that what Bedplate writes there has.
const OWN_FILES: [&str; 2] = ["seed.img", "installer.iso"];

/// The name of a file that is the disk of a VM, in the VM's directory.
pub fn disk_file(text: &str) -> Result<(), Wrong> {
    require(
        components_are_safe(text) && !text.contains('/') && !text.starts_with('.'),
        text,
        "the name of a file in the VM's directory",
        "put the disk into `<mount>/<vm>/` and write its name alone, such as \"web.qcow2\"; use \
         letters, 0-9, `.`, `_`, `+`, `@` and `-`",
    )?;
    let help = "Bedplate writes a file of that name itself; write another, such as \"web.qcow2\"";
    require(!OWN_FILES.contains(&text), text, "a name for a disk", help)
}

/// An absolute path of a secret: never one that everybody can read (T19).
pub fn secret_file(text: &str) -> Result<(), Wrong> {
    absolute_path(text)?;
    require(
        !text.starts_with("/nix/"),
        text,
        "a place for a secret",
        "everybody can read what stands in the store; write \"/var/lib/bedplate/notify-token\"",
    )
}

/// A mount point of a subvolume: `/` or an absolute path.
pub fn mount_point(text: &str) -> Result<(), Wrong> {
    if text == "/" { Ok(()) } else { absolute_path(text) }
}

/// A relative path inside a stick or a repository.
pub fn relative_path(text: &str) -> Result<(), Wrong> {
    require(
        components_are_safe(text),
        text,
        "a relative path that can stand here",
        "use letters, 0-9, `.`, `_`, `+`, `@`, `-` between single `/`; no `/` first, no `..`",
    )
}

/// A directory of a git work tree.
pub fn repository_path(text: &str) -> Result<(), Wrong> {
    relative_path(text)?;
    let fits = text.split('/').all(|component| !component.eq_ignore_ascii_case(".git"));
    require(fits, text, "a directory of a repository", "`.git` is git's own; name another")
}

/// A sops file that the host can read.
pub fn sops_file(text: &str) -> Result<(), Wrong> {
    relative_path(text)?;
    require(
        text.ends_with(".yaml") || text.ends_with(".yml"),
        text,
        "a sops file in YAML",
        "only YAML is read on the machine; write \"secrets.yaml\"",
    )
}

/// A place in a sops file.
pub fn sops_key(text: &str) -> Result<(), Wrong> {
    require(
        components_are_safe(text) && text != "sops" && !text.starts_with("sops/"),
        text,
        "a place in a sops file",
        "write names between single `/`, such as \"restic/apps\"",
    )
}
