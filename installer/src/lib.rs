//! The installer: facts, plan, engine, events.
//!
//! Architecture invariant: what is done is decided by `bedplate_planner`; the engine
//! executes it and reports by events only, and renderers know event types only.

pub mod access;
pub mod advice;
pub mod announce;
pub mod answers;
pub mod attended;
pub mod context;
pub mod device;
pub mod engine;
pub mod error;
pub mod facts;
pub mod failure;
pub mod finished;
pub mod health;
pub mod ledger;
pub mod lock;
pub mod logs;
pub mod media;
pub mod meter;
pub mod nix_meter;
pub mod panics;
pub mod places;
pub mod remote;
pub mod run;
pub mod shown;
pub mod steps;
pub mod waiting;
