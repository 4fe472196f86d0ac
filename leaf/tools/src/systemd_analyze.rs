//! `systemd-analyze`: whether systemd understands a calendar expression (systemd.time(7)).

use std::path::Path;
use std::process::Command;

use crate::command::{CommandError, CommandExt as _};

/// The program.
pub const PROGRAM: &str = "systemd-analyze";
/// How much is kept of what it says, in characters.
const SAID: usize = 300;

/// What systemd makes of a calendar expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Calendar {
    /// There is a next time.
    Comes,
    /// It is understood, and never comes again.
    Never,
    /// It is not understood; what was said.
    Wrong(String),
}

impl Calendar {
    /// What is wrong with it, as the end of a sentence; none when nothing is.
    pub fn complaint(&self) -> Option<String> {
        match self {
            Self::Comes => None,
            Self::Never => Some("never comes: its time is past".to_owned()),
            Self::Wrong(said) => Some(format!("is no time that systemd understands ({said})")),
        }
    }
}

/// Asks `program` what systemd makes of an expression. An error is one of asking.
pub fn calendar(program: &Path, expression: &str) -> Result<Calendar, CommandError> {
    let mut command = Command::new(program);
    let asked = command.env("LC_ALL", "C").args(["calendar", "--", expression]).read();
    match asked {
        Ok(text) => {
            let is_past = text.lines().any(|line| line.trim() == "Next elapse: never");
            Ok(if is_past { Calendar::Never } else { Calendar::Comes })
        }
        Err(CommandError::Failed { stderr, .. }) => {
            let said = stderr.chars().filter(|character| !character.is_control()).take(SAID);
            Ok(Calendar::Wrong(said.collect()))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_systemd_says_is_understood() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join(PROGRAM);
        let script = "#!/bin/sh\n[ \"$1 $2\" = 'calendar --' ] || exit 9\ncase \"$3\" in\n\
            daily) echo 'Next elapse: Mon 2026-11-23 00:00:00 UTC' ;;\n\
            2020-01-01) echo '    Next elapse: never' ;;\n\
            *) echo \"Failed to parse calendar specification '$3': Invalid argument\" >&2\n\
            head -c 9000 /dev/zero | tr '\\0' x >&2\nexit 1 ;;\nesac\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(calendar(&program, "daily").unwrap(), Calendar::Comes);
        assert_eq!(calendar(&program, "2020-01-01").unwrap(), Calendar::Never);
        let Calendar::Wrong(said) = calendar(&program, "dayly").unwrap() else { panic!() };
        assert!(said.chars().count() <= SAID, "{said}");
        let none = calendar(&place.path().join("none"), "daily");
        assert!(matches!(none, Err(CommandError::Start { .. })), "{none:?}");
    }
}
