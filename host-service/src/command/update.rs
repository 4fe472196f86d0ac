//! `bedplate-host update`.

use std::io::Write;
use std::path::Path;

use bedplate_platform::intent;
use bedplate_platform::update::Update;

use super::{Finished, NotAsIntended, lock, telling};

/// From the medium in `device`; `is_dry` shows the steps alone.
pub fn update(
    host_file: &Path,
    device: &Path,
    is_dry: bool,
    json: bool,
    out: &mut (dyn Write + Send),
) -> Finished {
    let context = intent::context(host_file)?;
    let alone = lock(&context.runtime)?;
    let update = Update::decide(&context, device, alone)?;
    if is_dry {
        update.steps().try_for_each(|step| writeln!(out, "{step}"))?;
        return Ok(());
    }
    let (success, written) = telling(json, out, |reporter| update.perform(reporter));
    written?;
    if success { Ok(()) } else { Err(NotAsIntended::Update.into()) }
}
