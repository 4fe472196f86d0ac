//! End-to-end stories on the harness; one file a story.
//!
//! A story makes a medium, installs a machine, boots it, gathers evidence with tools that are
//! not ours, and judges claims. Judging is pure: [`claims::judge`] sees evidence only.

pub mod answers;
pub mod benchmark;
pub mod broken_evidence;
pub mod carried;
pub mod claims;
pub mod converge_figure;
pub mod copy_figure;
pub mod demo_screen;
pub mod derivations;
pub mod disk_figure;
pub mod embedded;
pub mod enrolment;
pub mod esp_cuts;
pub mod evaluation;
pub mod evidence;
pub mod example;
pub mod failure;
mod inner_guest;
pub mod installed;
pub mod libvirt_daemon;
pub mod medium;
pub mod phase;
pub mod pool_life;
pub mod power_cut;
pub mod probes;
pub mod programs;
pub mod raw_write;
pub mod running_host;
pub mod screens;
pub mod seed;
pub mod settled_guests;
pub mod shapes;
pub mod small;
pub mod started;
pub mod story;
pub mod table;
pub mod unlocking;
pub mod vault;

pub use failure::Failure;
