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

/// Decides by what the probe ended with (none when it succeeded), and by whether this
/// machine ever saw the repository. Anything but "it is not there" is no ground to make one.
pub fn decide(probe: Option<Option<i32>>, existed: bool) -> Decision {
    let refuse = |why: &str| Decision::Refuse(why.to_owned());
    match probe {
        None => Decision::Use,
        Some(Some(NO_REPOSITORY)) if existed => refuse(
            "the repository is gone, although it was used before; it is not made anew \
             (remove its record in /var/lib/bedplate/backups to start over)",
        ),
        Some(Some(NO_REPOSITORY)) => Decision::Make,
        Some(Some(WRONG_PASSWORD)) => refuse("the password does not open the repository"),
        Some(Some(LOCKED)) => refuse("the repository is locked by somebody else"),
        Some(_) => refuse("restic does not say whether there is a repository"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t41_only_exit_code_10_without_a_record_makes_a_repository() {
        assert_eq!(decide(None, true), Decision::Use);
        assert_eq!(decide(None, false), Decision::Use);
        assert_eq!(decide(Some(Some(10)), false), Decision::Make);
        assert!(matches!(decide(Some(Some(10)), true), Decision::Refuse(_)));
        for ambiguous in [Some(1), Some(3), Some(11), Some(12), None] {
            let decided = decide(Some(ambiguous), false);
            assert!(matches!(decided, Decision::Refuse(_)), "{ambiguous:?}");
        }
    }
}
