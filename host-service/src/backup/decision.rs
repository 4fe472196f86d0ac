//! Whether a repository may be made.

use bedplate_tools::restic::{LOCKED, NO_REPOSITORY, WRONG_PASSWORD};

/// What to do about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is there and opens.
    Use,
    /// It never existed: make it.
    Make,
    /// Neither is certain.
    Refuse(String),
}

/// What is known of a repository's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether this machine has it on record.
    pub here: bool,
    /// Whether a key stick has; none when no stick is plugged in. It outlives the machine.
    pub on_stick: Option<bool>,
}

/// Decides by what the probe ended with (none when it succeeded), and by what is known of the
/// repository. Anything but "it is not there, and never was" is no ground to make one.
pub fn decide(probe: Option<Option<i32>>, known: Known) -> Decision {
    let refuse = |why: &str| Decision::Refuse(why.to_owned());
    match probe {
        None => Decision::Use,
        Some(Some(NO_REPOSITORY)) if known.here => refuse(
            "the repository is gone, although it was used before; it is not made anew \
             (remove its record in /var/lib/bedplate/backups to start over)",
        ),
        Some(Some(NO_REPOSITORY)) => match known.on_stick {
            Some(false) => Decision::Make,
            Some(true) => refuse(
                "the repository is gone, although the key stick knows it; it is not made anew \
                 (remove its file in bedplate/backups on the stick to start over)",
            ),
            None => refuse(
                "there is no repository; before one is made a key stick must be plugged in, \
                 which would know whether there ever was one",
            ),
        },
        Some(Some(WRONG_PASSWORD)) => refuse("the password does not open the repository"),
        Some(Some(LOCKED)) => refuse("the repository is locked by somebody else"),
        Some(_) => refuse("restic does not say whether there is a repository"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Known = Known { here: false, on_stick: Some(false) };

    #[test]
    fn t41_only_exit_code_10_without_a_record_makes_a_repository() {
        let refused = |probe, known| matches!(decide(probe, known), Decision::Refuse(_));
        assert_eq!(decide(Some(Some(10)), NEVER), Decision::Make);
        for here in [false, true] {
            for on_stick in [None, Some(false), Some(true)] {
                let known = Known { here, on_stick };
                assert_eq!(decide(None, known), Decision::Use);
                assert_eq!(refused(Some(Some(10)), known), known != NEVER, "{known:?}");
            }
        }
        for ambiguous in [Some(1), Some(3), Some(11), Some(12), None] {
            assert!(refused(Some(ambiguous), NEVER), "{ambiguous:?}");
        }
    }
}
