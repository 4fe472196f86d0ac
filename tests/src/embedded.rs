//! What the embedded platform makes of a `host.toml`: what a built toplevel will mount, unlock and
//! export, held against what `bedplate plan` says of the same document; and where each key of the
//! document ends up.

pub mod archive;
pub mod built;
pub mod ini;
pub mod machine;
pub mod planned;

#[cfg(test)]
mod tests;
