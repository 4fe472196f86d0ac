//! What the embedded platform makes of a `host.toml`: what a built toplevel will mount, unlock and
//! export, held against what `bedplate plan` says of the same document; and where each key of the
//! document ends up.

use bedplate_platform::toplevel::Parts;

pub mod archive;
pub mod built;
pub mod ini;
pub mod machine;
pub mod planned;

/// What a toplevel is made of, by names that nothing stands behind.
pub fn parts() -> Parts {
    let store = |name: &str| format!("/nix/store/x-{name}");
    Parts {
        tree: store("tree"),
        programs: store("programs"),
        runtime: store("runtime"),
        initrd_modules: store("modules"),
        initrd_program: store("program"),
        kernel_version: "6.12".into(),
        out: store("system"),
    }
}

#[cfg(test)]
mod tests;
