//! `bedplate-host lab …`.

use std::io::Write;
use std::path::Path;

use bedplate_spec::event::Event;

use super::{Finished, format, lock};
use crate::context::Context;
use crate::lab;
use crate::report::Reporter;
use crate::show;

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
pub fn lab(host_file: &Path, task: LabTask<'_>, json: bool, out: &mut dyn Write) -> Finished {
    let context = Context::read(host_file)?;
    let _alone = lock(&context.runtime)?;
    let mut written = Ok(());
    let mut sink = |event: &Event| {
        let result = show::event(out, format(json), event).and_then(|()| out.flush());
        // Whoever reads may go away; the work goes on.
        written = std::mem::replace(&mut written, Ok(())).and(result);
    };
    let reporter = &mut Reporter::new(&mut sink);
    match task {
        LabTask::Clone { machines, bridge } => lab::clone(&context, machines, bridge, reporter)?,
        LabTask::Reset => lab::reset(&context, reporter)?,
        LabTask::Destroy => lab::destroy(&context, reporter)?,
    }
    Ok(written?)
}
