//! Secrets as a kind of resource: whether each opens.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use bedplate_spec::event::Outcome;
use bedplate_spec::host::HostFile;
use serde::Serialize;

use super::Repository;
use crate::context::Context;
use crate::kind::{Description, Kind, Resource};
use crate::report::Reporter;

/// Every secret of the repository.
pub struct Secrets;

/// There is nothing to do about a secret: it opens or it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Action {}

impl fmt::Display for Action {
    fn fmt(&self, _formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// For each secret, by its key in `host.toml`, why it does not open.
pub type Observed = Vec<(String, Option<String>)>;

impl Kind for Secrets {
    type Observed = Observed;
    type Action = Action;
    type Error = Infallible;

    const NAME: &'static str = "secret";
    const ADVICE: &'static str = "what uses it is not set up; on a workstation with an admin's key run `bedplate secrets rekey`, push, pull in /etc/nixos, then run `bedplate-host converge`";

    fn observe(&self, context: &Context) -> Result<Observed, Infallible> {
        let repository = Repository::below(&context.configuration, &context.intent);
        let secrets = context.intent.repository_secrets();
        let why = |reference| repository.open(reference).err().map(|error| chain(&error));
        Ok(secrets.into_iter().map(|(name, reference)| (name, why(reference))).collect())
    }

    fn diff(_intent: &HostFile, observed: &Observed) -> Vec<Resource<Action>> {
        let resource = |(name, why): &(String, Option<String>)| match why {
            None => Resource::new(name, Vec::new()),
            Some(why) => Resource::refused(name, why),
        };
        observed.iter().map(resource).collect()
    }

    fn describe(_: &HostFile, observed: &Observed, name: &str) -> Option<Description> {
        let (_, why) = observed.iter().find(|(one, _)| one == name)?;
        let reality = if why.is_none() { "opens" } else { "does not open" };
        let intent = "opens with the host's ssh key".to_owned();
        Some(Description { intent, reality: reality.to_owned() })
    }

    fn perform(
        &self,
        _context: &Context,
        action: &Action,
        _reporter: &mut Reporter<'_>,
    ) -> Result<Outcome, Infallible> {
        match *action {}
    }
}

fn chain(error: &dyn Error) -> String {
    let texts = std::iter::successors(Some(error), |cause| (*cause).source());
    texts.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
