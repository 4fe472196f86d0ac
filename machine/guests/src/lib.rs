//! Guests of a host: one driver for each kind.
//!
//! Architecture invariant: whoever uses guests goes through [`GuestDriver`], and knows no kind. A new kind is a
//! section in the model, its keys in the document, a folder here, and a line in [`drivers`].

pub mod copies;
pub mod driver;
pub mod hold;
pub mod vm;

pub use driver::{GuestDriver, GuestError, Want};

/// Every kind of guest there is.
pub fn drivers() -> Vec<Box<dyn GuestDriver>> {
    vec![Box::new(vm::VirtualMachines::default())]
}

/// The driver of the kind that is called so in `status`; none for what is no guest.
pub fn of_kind(kind: &str) -> Option<Box<dyn GuestDriver>> {
    drivers().into_iter().find(|driver| driver.kind() == kind)
}
