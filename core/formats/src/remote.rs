//! What the installer of a machine is at, as it is told over ssh.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use bedplate_events::Event;
use bedplate_events::progress::Progress;

/// Bytes of the length of a passphrase that is sent, the most significant first.
const LENGTH_BYTES: usize = 4;
/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;
/// A recovery passphrase that is longer is refused, in bytes.
pub const LONGEST_PASSPHRASE: usize = 1024;
/// The longest that can follow the answers that are sent.
pub const LONGEST_FRAME: usize = LENGTH_BYTES + LONGEST_PASSPHRASE + HASH_BYTES;

/// What follows the answers that are sent: the recovery passphrase, empty where none is asked for, with
/// its length before it and the SHA-256 of both behind it. A connection that breaks in the middle
/// leaves a part of a passphrase that would open nothing later.
pub fn frame(passphrase: &[u8]) -> Vec<u8> {
    let length = u32::try_from(passphrase.len()).unwrap_or(u32::MAX).to_be_bytes();
    // Made at once: a vector that grows leaves copies behind.
    let mut frame = Vec::with_capacity(LENGTH_BYTES + passphrase.len() + HASH_BYTES);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(passphrase);
    let hash = Sha256::digest(&frame);
    frame.extend_from_slice(&hash);
    frame
}

/// The passphrase in a whole frame; none when anything of it is missing, more or other.
pub fn framed(frame: &[u8]) -> Option<&[u8]> {
    let (signed, hash) = frame.split_at_checked(frame.len().checked_sub(HASH_BYTES)?)?;
    let (length, passphrase) = signed.split_at_checked(LENGTH_BYTES)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let fits = passphrase.len() == length && length <= LONGEST_PASSPHRASE;
    (fits && Sha256::digest(signed).as_slice() == hash).then_some(passphrase)
}

/// Version of [`Report`].
pub const REPORT_SCHEMA: u32 = 1;

/// What `bedplate-installer state` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Always [`REPORT_SCHEMA`].
    pub schema: u32,
    /// What it is at.
    #[serde(flatten)]
    pub state: State,
}

/// What an installer is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nothing runs and nothing was executed: it waits for a document.
    Waiting,
    /// It reads the machine, or asks somebody at the console.
    Busy,
    /// A plan is being executed.
    Installing {
        /// Title of the plan, for example `install hypervisor`.
        title: String,
        /// Its hash.
        plan: Option<String>,
    },
    /// A plan was executed, to its end or to a failure.
    Ended {
        /// Title of the plan.
        title: String,
        /// Its hash.
        plan: Option<String>,
        /// Whether every step ended well.
        success: bool,
    },
}

/// The state that `events` tell, one line of JSON each, of a run that `runs` still or not. Lines
/// that are no event are passed over: the last may be written in part.
pub fn state(events: &str, runs: bool) -> State {
    let mut progress = Progress::default();
    for event in events.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok()) {
        progress.follow(&event);
    }
    let success = progress.end().is_some_and(|end| end.success);
    let begun = progress.plan().map(|plan| (plan.title.clone(), plan.hash.clone()));
    match (begun, runs) {
        (None, true) => State::Busy,
        (None, false) => State::Waiting,
        (Some((title, plan)), true) => State::Installing { title, plan },
        (Some((title, plan)), false) => State::Ended { title, plan, success },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t12_no_part_of_a_passphrase_is_taken_for_the_whole() {
        let passphrase = b"correct horse battery staple of 44 characters";
        let whole = frame(passphrase);
        assert_eq!(framed(&whole), Some(&passphrase[..]));
        assert_eq!(framed(&frame(b"")), Some(&b""[..]));
        for end in 0..whole.len() {
            assert_eq!(framed(&whole[..end]), None, "{end}");
        }
        let mut other = whole.clone();
        for at in 0..other.len() {
            other[at] ^= 1;
            assert_eq!(framed(&other), None, "{at}");
            other[at] ^= 1;
        }
        assert_eq!(framed(&[&whole[..], b"x"].concat()), None);
        assert_eq!(framed(&frame(&[b'x'; LONGEST_PASSPHRASE + 1])), None);
    }
    use bedplate_events::{EVENT_SCHEMA, EventKind};

    fn lines(kinds: Vec<EventKind>) -> String {
        let line = |kind| {
            let event = Event { schema: EVENT_SCHEMA, sequence: 0, at_ms: 0, kind };
            serde_json::to_string(&event).unwrap() + "\n"
        };
        kinds.into_iter().map(line).collect()
    }

    fn started() -> EventKind {
        EventKind::PlanStarted {
            title: "install attic".into(),
            plan: Some("c0ffee".into()),
            steps: Vec::new(),
            destroys: Vec::new(),
        }
    }

    fn done(success: bool) -> EventKind {
        EventKind::PlanDone { success, milliseconds: 1 }
    }

    #[test]
    fn the_events_and_whether_anybody_runs_tell_the_state() {
        let (title, plan) = ("install attic".to_owned(), Some("c0ffee".to_owned()));
        assert_eq!(state("", false), State::Waiting);
        assert_eq!(state("", true), State::Busy);
        assert_eq!(
            state(&lines(vec![started()]), true),
            State::Installing { title: title.clone(), plan: plan.clone() }
        );
        for success in [true, false] {
            let ended = State::Ended { title: title.clone(), plan: plan.clone(), success };
            assert_eq!(state(&lines(vec![started(), done(success)]), false), ended);
        }
        // A run that found nothing to do, or was refused, executed no plan.
        assert_eq!(state(&lines(vec![done(true)]), false), State::Waiting);
    }

    #[test]
    fn f1_an_installer_that_was_killed_did_not_succeed() {
        let cut = lines(vec![started()]) + "{\"schema\":1,\"sequ";
        assert!(matches!(state(&cut, false), State::Ended { success: false, .. }));
        let second = lines(vec![started(), done(true), started()]);
        assert!(
            matches!(state(&second, false), State::Ended { success: false, .. }),
            "the first did"
        );
    }

    #[test]
    fn the_report_is_one_flat_object() {
        let report = Report { schema: REPORT_SCHEMA, state: State::Busy };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(text, r#"{"schema":1,"state":"busy"}"#);
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
