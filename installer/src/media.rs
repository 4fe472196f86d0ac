//! Media that are plugged in beside the one that was booted. Which of two of one build is found first is
//! chance, so two that say different things are never chosen from.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use bedplate_facts::media::{self, Medium};
use bedplate_formats::answers::{ANSWERS_FILE, HEADER_BYTES, Header};
use bedplate_tools::mount::{self, Access, Mount};

use crate::error::{During as _, StepError};
use crate::places::Places;

/// Where a medium says of which build it is; stage 1 takes one by it.
const BUILD: &str = "live/build";

/// What a medium says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// Which one it is.
    about: String,
    build: Option<String>,
    /// Length and hash of its answers; none when they cannot be read.
    answers: Option<(u64, [u8; 32])>,
}

impl Said {
    /// By the medium that is mounted at `root`.
    fn at(root: &Path, about: String) -> Self {
        let build = fs::read_to_string(root.join(BUILD)).ok().map(|text| text.trim().to_owned());
        Self { about, build, answers: answers(&root.join(ANSWERS_FILE)) }
    }
}

fn answers(path: &Path) -> Option<(u64, [u8; 32])> {
    let mut bytes = vec![0; HEADER_BYTES];
    File::open(path).ok()?.read_exact(&mut bytes).ok()?;
    let header = Header::decode(&bytes).ok()?;
    Some((header.length, header.sha256))
}

/// Refuses where another medium that is plugged in would have done as well as the booted one, and says
/// something else.
pub fn sole(places: &Places) -> Result<(), StepError> {
    let what = "could not look at the media that are plugged in";
    let all = media::plugged_in().during(what)?;
    let booted = places.medium();
    let device = fs::metadata(&booted).map(|found| found.dev());
    let is_booted = |medium: &Medium| device.as_ref().is_ok_and(|device| medium.is(*device));
    let (own, others): (Vec<Medium>, Vec<Medium>) = all.into_iter().partition(is_booted);
    let about = own.into_iter().next().map(|medium| medium.about);
    let own = Said::at(&booted, about.unwrap_or_else(|| "the booted medium".into()));
    let place = places.directory().join("other-medium");
    refuse(&own, &others.iter().filter_map(|medium| look(medium, &place)).collect::<Vec<_>>())
}

/// Asks for consent and whatever else, and looks both before, so that nobody is asked in vain, and after: a
/// medium may be found after the first look, and a question may stand for hours.
pub fn looked<T>(
    look: impl Fn() -> Result<(), StepError>,
    ask: impl FnOnce() -> Result<T, StepError>,
) -> Result<T, StepError> {
    look()?;
    let answer = ask()?;
    look()?;
    Ok(answer)
}

/// What another medium says. One that cannot be mounted, stage 1 could not have taken either.
fn look(medium: &Medium, place: &Path) -> Option<Said> {
    fs::create_dir_all(place).ok()?;
    let node = medium.nodes.first()?.to_string_lossy();
    let (kind, access) = ("iso9660", Access::ReadOnly);
    Mount { source: &node, target: place, kind, access, options: "" }.mount_restricted().ok()?;
    let said = Said::at(place, medium.about.clone());
    // It stays mounted until the machine restarts, read-only.
    let _ = mount::unmount(place);
    Some(said)
}

fn refuse(own: &Said, others: &[Said]) -> Result<(), StepError> {
    let alike = |other: &&Said| own.build.is_some() && other.build == own.build;
    let other = others.iter().filter(alike).find(|other| other.answers != own.answers);
    let Some(other) = other else { return Ok(()) };
    Err(StepError::new(format!(
        "two media of one build are plugged in and they do not say the same: {} and {}",
        own.about, other.about
    ))
    .next("nothing was written; unplug the one that is not meant, and restart the machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medium(about: &str, build: &str, answers: &[u8]) -> Said {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("live")).unwrap();
        fs::write(root.path().join(BUILD), format!("{build}\n")).unwrap();
        // The areas of two media may differ in size, and what stands behind the payload.
        let header = Header::for_payload(answers, 1 << (10 + about.len())).unwrap().encode();
        let area = [header.as_slice(), answers, about.as_bytes()].concat();
        fs::write(root.path().join(ANSWERS_FILE), area).unwrap();
        Said::at(root.path(), about.to_owned())
    }

    #[test]
    fn t12_t47_of_two_media_of_one_build_with_different_answers_none_is_taken() {
        let own = medium("/dev/sda (ACME, serial 1, 31 GB)", "b1", b"this machine");
        let same = medium("/dev/sdb (a copy)", "b1", b"this machine");
        let newer = medium("/dev/sdc (another build)", "b2", b"another");
        assert!(refuse(&own, &[]).is_ok());
        assert!(refuse(&own, &[same.clone(), newer.clone()]).is_ok());
        for answers in [&b"that machine"[..], b""] {
            let other = medium("/dev/sdd (ACME, serial 2, 31 GB)", "b1", answers);
            let error = refuse(&own, &[same.clone(), newer.clone(), other]).unwrap_err();
            for part in ["serial 1", "serial 2", "31 GB"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            assert!(error.next.unwrap().contains("unplug"));
        }
    }

    #[test]
    fn t12_t47_a_medium_that_is_found_after_the_first_look_is_refused_before_anything_is_written() {
        let own = medium("/dev/sda (ACME, serial 1)", "b1", b"this machine");
        let late = medium("/dev/sdb (ACME, serial 2)", "b1", b"that machine");
        let plugged_in = std::cell::RefCell::new(Vec::new());
        let look = || refuse(&own, &plugged_in.borrow());
        assert_eq!(looked(look, || Ok("consent")).unwrap(), "consent");
        // It comes while somebody is asked.
        let error = looked(look, || {
            plugged_in.borrow_mut().push(late.clone());
            Ok("consent")
        });
        assert!(error.unwrap_err().to_string().contains("serial 2"));
        // It came before: nobody is asked.
        let asked = std::cell::Cell::new(false);
        let ask = || {
            asked.set(true);
            Ok(())
        };
        assert!(looked(look, ask).is_err());
        assert!(!asked.get());
    }

    #[test]
    fn t47_an_area_that_cannot_be_read_is_not_taken_for_the_same() {
        let own = medium("own", "b1", b"this machine");
        let other = Said { about: "other".into(), answers: None, ..own.clone() };
        assert!(refuse(&own, std::slice::from_ref(&other)).is_err());
        assert!(refuse(&other, &[own]).is_err());
    }
}
