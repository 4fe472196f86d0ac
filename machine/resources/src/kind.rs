//! A kind of thing that converge looks after: bridges, exports, guests, backups.
//!
//! More kinds of guest (microVMs, Incus, compose stacks) are more implementations of [`Kind`].

use std::fmt::{Debug, Display};

use serde::Serialize;

use bedplate_events::Outcome;
use bedplate_model::host::HostFile;

use crate::context::Context;
use bedplate_engine::{StepFailure, StepReporter};

/// Observe, decide, act. Deciding is pure and its result is data.
pub trait Kind {
    /// What was found on the machine.
    type Observed;
    /// One thing to do. Its text is what people read.
    type Action: Display + Debug + Serialize;
    /// Why something could not be observed or done.
    type Error: StepFailure + 'static;

    /// For people and for step names: `vm`, `export`.
    const NAME: &'static str;
    /// What to do about a failure that does not say it.
    const ADVICE: &'static str;
    /// Whether it may take hours. Then it has locks of its own, comes last, and nobody waits for it.
    const SLOW: bool = false;

    /// Looks at the machine; changes nothing.
    fn observe(&self, context: &Context) -> Result<Self::Observed, Self::Error>;

    /// What is to be done, resource by resource.
    fn diff(intent: &HostFile, observed: &Self::Observed) -> Vec<Resource<Self::Action>>;

    /// Intent and reality of one of those resources; none where there is nothing to compare.
    fn describe(
        _intent: &HostFile,
        _observed: &Self::Observed,
        _name: &str,
    ) -> Option<Description> {
        None
    }

    /// Does one thing. Done twice, it does no harm.
    fn perform(
        &self,
        context: &Context,
        action: &Self::Action,
        of_step: &StepReporter<'_>,
    ) -> Result<Outcome, Self::Error>;
}

/// Intent and reality in a line each, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What `host.toml` wants.
    pub intent: String,
    /// What was found.
    pub reality: String,
}

/// One resource and what it takes to make it as intended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource<A> {
    /// Name in `host.toml`.
    pub name: String,
    /// In order; none when it is as intended.
    pub actions: Vec<A>,
    /// Why it may not be made as intended. Actions beside it are what is safe all the same.
    pub refused: Option<String>,
    /// What its owner should know.
    pub notes: Vec<String>,
    /// What a person has to see to, because converge cannot: while there is any, it is not as
    /// intended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<String>,
}

impl<A> Resource<A> {
    /// A resource that needs `actions`.
    pub fn new(name: &str, actions: Vec<A>) -> Self {
        let (notes, wants) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), actions, refused: None, notes, wants }
    }

    /// A resource that must not be touched.
    pub fn refused(name: &str, why: impl Into<String>) -> Self {
        Self { refused: Some(why.into()), ..Self::new(name, Vec::new()) }
    }
}
