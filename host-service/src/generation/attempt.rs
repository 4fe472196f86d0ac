//! What becomes of a boot that does not come up: systemd-boot counts it, and the machine starts
//! again by itself as long as there is something else to try.

use std::io;
use std::path::Path;

use bedplate_tools::efi::Variables;
use uuid::Uuid;

use super::list::{Trial, trial};
use super::{GenerationError, names};

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

/// Starts again when the generation that was booted is on trial and another one is left; what has
/// come up before has trouble of another kind, which another boot does not mend.
pub fn give_up(esp: &Path, variables: &Variables) -> Result<Verdict, GenerationError> {
    let entries = esp.join("loader/entries");
    let counted = variables.read(COUNTED, LOADER).map_err(super::file("read", &entries))?;
    let Some(booted) = counted.as_deref().and_then(file_name) else { return Ok(Verdict::Stay) };
    let names = match names(&entries) {
        Err(GenerationError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            // The EFI system partition is not mounted in an emergency: the counter decides.
            return Ok(if tries_left(&booted) { Verdict::Restart } else { Verdict::Stay });
        }
        names => names?,
    };
    let others = names.iter().any(|name| {
        super::entry_number(name).is_some()
            && super::entry_number(name) != super::entry_number(&booted)
            && trial(name) != Trial::GivenUp
    });
    Ok(if others || tries_left(&booted) { Verdict::Restart } else { Verdict::Stay })
}

fn tries_left(name: &str) -> bool {
    matches!(trial(name), Trial::TriesLeft(_))
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

    struct Booted(tempfile::TempDir);

    impl Booted {
        fn by(entry: Option<&str>, entries: &[&str]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let place = directory.path().join("loader/entries");
            std::fs::create_dir_all(&place).unwrap();
            for name in entries {
                std::fs::write(place.join(name), "").unwrap();
            }
            if let Some(entry) = entry {
                let path = format!("\\loader\\entries\\{entry}\0");
                let units: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let bytes = [&[6, 0, 0, 0], units.as_slice()].concat();
                let name = format!("{COUNTED}-{LOADER}");
                std::fs::write(directory.path().join(name), bytes).unwrap();
            }
            Self(directory)
        }

        fn verdict(&self) -> Verdict {
            give_up(self.0.path(), &Variables::new(self.0.path())).unwrap()
        }
    }

    #[test]
    fn a_generation_on_trial_starts_again_and_one_that_came_up_before_does_not() {
        let both = ["bedplate-1.conf", "bedplate-2+2-1.conf"];
        assert_eq!(Booted::by(Some("bedplate-2+2-1.conf"), &both).verdict(), Verdict::Restart);
        assert_eq!(Booted::by(None, &both).verdict(), Verdict::Stay);
    }

    #[test]
    fn the_last_try_gives_way_to_another_generation_where_there_is_one() {
        let last = "bedplate-2+0-3.conf";
        assert_eq!(Booted::by(Some(last), &["bedplate-1.conf", last]).verdict(), Verdict::Restart);
        assert_eq!(Booted::by(Some(last), &[last]).verdict(), Verdict::Stay);
        let both_failed = ["bedplate-1+0-3.conf", last];
        assert_eq!(Booted::by(Some(last), &both_failed).verdict(), Verdict::Stay);
    }
}
