//! What the machine is found to be, looked into as the workstation does: by `wipefs`, with the
//! libblkid of the live system.

use std::fs;
use std::path::PathBuf;

use bedplate_facts::machine;
use bedplate_facts::probe::by_wipefs;
use bedplate_facts::roots::Roots;
use bedplate_model::facts::Facts;

use crate::error::{During as _, StepError};

/// Where facts come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This machine.
    Machine,
    /// An inventory in a file: a test shows a machine that is not there. What is written to is
    /// checked against the real one all the same.
    Inventory(PathBuf),
}

impl Source {
    /// Waits until what is plugged in has its names.
    pub fn settle(&self) -> Result<(), StepError> {
        match self {
            Self::Machine => bedplate_tools::udev::settle().during("udev did not come to rest"),
            Self::Inventory(_) => Ok(()),
        }
    }

    /// The facts.
    pub fn read(&self) -> Result<Facts, StepError> {
        match self {
            Self::Machine => Ok(machine::read(&roots())),
            Self::Inventory(path) => {
                let what = || format!("{} is no inventory", path.display());
                let text = fs::read_to_string(path).during(what())?;
                serde_json::from_str(&text).during(what())
            }
        }
    }
}

/// This machine, with a look into every device.
pub fn roots() -> Roots {
    Roots::looking(by_wipefs)
}
