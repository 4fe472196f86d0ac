//! Virtual machines of libvirt.
//!
//! Only domains that carry our tag are touched. A running machine is never restarted. A
//! machine with `autostart` is started at most once per boot: one that its owner shut down
//! stays down until the next boot.

pub mod accelerator;
pub mod compare;
pub mod diff;
pub mod directory;
pub mod disk;
pub mod domain;
pub mod driver;
pub mod engine;
mod hold;
pub mod inspect;
pub mod memory;
pub mod model;
pub mod observe;
pub mod redefine;
pub mod restart;
pub mod seed;
pub mod standing;
pub mod stick;
pub mod usb;
pub mod users;
pub mod variables;

pub use engine::VirtualMachines;

/// The libvirt of the machine.
pub const LIBVIRT: &str = "qemu:///system";
