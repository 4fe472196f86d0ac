//! Lamps as a kind of guest: each burns where its directory holds a file `on`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bedplate_engine::StepReporter;
use bedplate_events::Outcome;
use bedplate_model::host::{GuestSection as _, HostFile, Lamp};
use bedplate_model::name::GuestName;
use bedplate_resources::compared::{Prepared, prepare};
use bedplate_resources::context::Context;
use bedplate_resources::kind::{Kind, Resource};

use crate::driver::{GuestDriver, GuestError, Want};
use crate::hold::{self, HoldError};

/// The driver of all lamps of a host.
#[derive(Debug, Clone)]
pub struct Lamps;

impl Kind for Lamps {
    type Observed = Vec<String>;
    type Action = String;
    type Error = io::Error;

    const NAME: &'static str = "lamp";
    const ADVICE: &'static str = "change the bulb";

    fn observe(&self, context: &Context) -> io::Result<Vec<String>> {
        let burns = |name: &&GuestName| context.runtime.join(name).exists();
        Ok(context.intent.lamps.keys().filter(burns).map(ToString::to_string).collect())
    }

    fn diff(intent: &HostFile, burning: &Vec<String>) -> Vec<Resource<String>> {
        let dark = intent.lamps.keys().filter(|name| !burning.iter().any(|it| **name == *it));
        dark.map(|name| Resource::new(name, vec![name.to_string()])).collect()
    }

    fn perform(&self, context: &Context, name: &String, _: &StepReporter<'_>) -> io::Result<Outcome> {
        fs::write(context.runtime.join(name), "")?;
        Ok(Outcome::Done)
    }
}

impl GuestDriver for Lamps {
    fn kind(&self) -> &'static str {
        Self::NAME
    }

    fn section(&self) -> &'static str {
        Lamp::SECTION
    }

    fn look(&self, context: &Context) -> Box<dyn Prepared> {
        prepare(self.clone(), context)
    }

    fn tend(
        &self,
        _: &Context,
        _: &StepReporter<'_>,
        _: &mut dyn FnMut(String),
    ) -> Result<(), GuestError> {
        Ok(())
    }

    fn judge(&self, _: &str) -> Want {
        Want::Soon
    }

    fn running(&self, names: Vec<String>) -> Result<Vec<String>, HoldError> {
        Ok(names)
    }

    fn hold(&self, _: &str, note: &Path) -> Result<(), HoldError> {
        bedplate_tools::atomic::write(note, "held\n", 0o600)?;
        Ok(())
    }

    fn let_go(&self, _: &str, note: &Path) -> Result<(), HoldError> {
        hold::forget(note)
    }

    fn free_by_hand(&self, name: &str) -> String {
        format!("unscrew {name}")
    }

    fn services(&self) -> &'static [&'static str] {
        &["lamps.service"]
    }

    fn files(&self, _: &HostFile, programs: &str, _: &str) -> Vec<(PathBuf, String)> {
        vec![("systemd/system/lamps.service".into(), format!("[Service]\nExecStart={programs}\n"))]
    }
}
