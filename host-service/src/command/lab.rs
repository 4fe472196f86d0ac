//! `bedplate-host lab …`.

use std::io::Write;
use std::path::Path;

use super::{Finished, lock, telling};
use crate::lab;
use bedplate_platform::intent;

/// What is to be done with the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabTask<'a> {
    /// Make copies.
    Clone {
        /// Of these machines.
        machines: &'a [String],
        /// On this bridge.
        bridge: &'a str,
    },
    /// Make them anew.
    Reset,
    /// Remove them.
    Destroy,
}

/// `bedplate-host lab clone | reset | destroy`.
pub fn lab(
    host_file: &Path,
    task: LabTask<'_>,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Finished {
    let context = intent::context(host_file)?;
    let _alone = lock(&context.runtime)?;
    let (done, written) = telling(json, out, |reporter| match task {
        LabTask::Clone { machines, bridge } => lab::clone(&context, machines, bridge, reporter),
        LabTask::Reset => lab::reset(&context, reporter),
        LabTask::Destroy => lab::destroy(&context, reporter),
    });
    done?;
    Ok(written?)
}
