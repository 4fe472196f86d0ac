//! What becomes of a boot that does not come up: systemd-boot counts it, and the machine starts
//! again by itself as long as there is something else to try.

use std::path::Path;

use bedplate_tools::efi::{MOUNT, Variables};
use uuid::Uuid;

use super::list::{Trial, trial};
use super::{GenerationError, TRIES, entry_number, generations};

/// The vendor of systemd-boot's variables (Boot Loader Interface).
const LOADER: Uuid = Uuid::from_u128(0x4a67_b082_0a4c_41cf_b6c7_440b_29bb_8c4f);
/// The entry that was booted, while its tries are counted.
const COUNTED: &str = "LoaderBootCountPath";

/// What to do about a boot that has ended in an emergency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Start again: the generation on trial is tried again, or another one.
    Restart,
    /// Leave the machine to whoever sits before it.
    Stay,
}

/// Starts again when the generation that was booted is on trial, and a last time when its tries are
/// used up and there is another generation. What has come up before has trouble of another kind,
/// which another boot does not mend; and when none comes up any more, somebody has to look.
///
/// The EFI system partition is not mounted in an emergency: the name of the entry says it all.
pub fn give_up(profiles: &Path, variables: &Variables) -> Result<Verdict, GenerationError> {
    let counted = variables.read(COUNTED, LOADER).map_err(super::file("read", Path::new(MOUNT)))?;
    let Some(booted) = counted.as_deref().and_then(file_name) else { return Ok(Verdict::Stay) };
    let verdict = match trial(&booted) {
        Trial::TriesLeft(_) => Verdict::Restart,
        Trial::GivenUp if tries_done(&booted) <= TRIES => {
            let own = entry_number(&booted);
            let others = generations(profiles)?.iter().any(|(number, _)| Some(*number) != own);
            if others { Verdict::Restart } else { Verdict::Stay }
        }
        Trial::GivenUp | Trial::CameUp | Trial::NoEntry => Verdict::Stay,
    };
    Ok(verdict)
}

/// How often an entry was tried: systemd-boot goes on counting when it has nothing better.
fn tries_done(name: &str) -> u32 {
    let done = name.split_once('+').and_then(|(_, counters)| counters.split_once('-'));
    let done = done.map(|(_, done)| done.trim_end_matches(".conf"));
    done.and_then(|done| done.parse().ok()).unwrap_or_default()
}

/// The last part of a path such as `\\loader\\entries\\bedplate-2+2-1.conf`, in UTF-16.
fn file_name(value: &[u8]) -> Option<String> {
    let units: Vec<u16> =
        value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let path = String::from_utf16_lossy(&units);
    let path = path.trim_end_matches('\0');
    path.rsplit(['\\', '/']).next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(booted: Option<&str>, generations: &[u64]) -> Verdict {
        let directory = tempfile::tempdir().unwrap();
        for number in generations {
            let link = directory.path().join(format!("system-{number}-link"));
            std::os::unix::fs::symlink(directory.path(), link).unwrap();
        }
        if let Some(entry) = booted {
            let path = format!("\\loader\\entries\\{entry}\0");
            let units: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let bytes = [&[6, 0, 0, 0], units.as_slice()].concat();
            std::fs::write(directory.path().join(format!("{COUNTED}-{LOADER}")), bytes).unwrap();
        }
        give_up(directory.path(), &Variables::new(directory.path())).unwrap()
    }

    #[test]
    fn a_generation_on_trial_starts_again_and_one_that_came_up_before_does_not() {
        assert_eq!(verdict(Some("bedplate-2+2-1.conf"), &[1, 2]), Verdict::Restart);
        assert_eq!(verdict(None, &[1, 2]), Verdict::Stay);
    }

    #[test]
    fn the_last_try_gives_way_to_another_generation_where_there_is_one_and_only_once() {
        assert_eq!(verdict(Some("bedplate-2+0-3.conf"), &[1, 2]), Verdict::Restart);
        assert_eq!(verdict(Some("bedplate-2+0-3.conf"), &[2]), Verdict::Stay);
        assert_eq!(verdict(Some("bedplate-2+0-4.conf"), &[1, 2]), Verdict::Stay);
    }
}
