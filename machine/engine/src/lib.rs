//! Carries out plans: one step after the other, or side by side where the plan lets them, and tells what
//! happens.
//!
//! Architecture invariant: nothing is decided here. What comes after what stands in the plan, and what a
//! step does is up to whoever has it carried out.

mod failure;
pub mod in_time;
pub mod parallel;
pub mod reporter;
mod run;

pub use failure::{StepFailure, failed};
pub use reporter::{Reporter, StepReporter};
pub use run::{Announced, Task, Works, in_turn, side_by_side};
