//! Repositories of hosts: a new one, and one more host in one that is there.
//!
//! Deciding is pure: facts of the repository and a request go in ([`init::decide`],
//! [`host::decide`]), a list of changes comes out that can be shown, compared and written.
//! [`read`] finds the facts, [`write`](mod@write) carries the changes out.
//!
//! Architecture invariant: a file that is there is never rewritten. The one exception is `flake.nix`
//! and its lock, to which text is only ever added, at places found in the syntax tree.

pub mod adopt;
pub mod change;
mod document;
pub mod error;
pub mod flake;
pub mod host;
pub mod init;
pub mod input;
pub mod literal;
pub mod lock;
mod offer;
mod place;
pub mod read;
pub mod shipped;
pub mod write;
