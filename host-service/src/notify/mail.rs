//! One message as mail, handed to the machine's `sendmail`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bedplate_tools::command::{CommandError, CommandExt as _};

use super::fit;
use super::machine::Message;

/// Where every mail system has it, or something that stands for it.
pub(super) const PROGRAM: &str = "sendmail";
/// How long it may take. One that sends at once (msmtp) waits for a server that may never answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Mail that was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the machine's mail system did not take the mail")]
pub struct MailError(#[from] CommandError);

impl MailError {
    /// Whether the mail system did not answer: it would not take the next mail either.
    pub fn is_silence(&self) -> bool {
        self.0.is_too_long()
    }
}

/// Hands the message over. That is all that can be known: a mail system takes mail and sends it later.
pub(super) fn send(
    program: &Path,
    address: &str,
    message: &Message,
    patience: Duration,
) -> Result<(), MailError> {
    let mut command = Command::new(program);
    // A line with a single dot is no end.
    command.args(["-i", "--", address]);
    command.read_within(patience, text(address, message).as_bytes())?;
    Ok(())
}

fn text(address: &str, message: &Message) -> String {
    let urgent = if message.urgent { "X-Priority: 1\n" } else { "" };
    format!(
        "To: {address}\nSubject: {}\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n{urgent}\n{}\n",
        fit::header(&message.title),
        fit::lines(&fit::text(&message.text, fit::LONGEST_TEXT))
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::notify::machine::Event;

    fn message() -> Message {
        Message {
            condition: "pool vmstore".into(),
            event: Event::Raised,
            title: "hv: pool vmstore\nBcc: all@example.org".into(),
            text: "line one\n.\nline ö".into(),
            urgent: true,
            at: 0,
        }
    }

    #[test]
    fn t17_a_title_adds_no_header_and_the_address_no_argument() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("sendmail");
        let script =
            format!("#!/bin/sh\necho \"$@\" > {0}/argv\ncat > {0}/mail\n", place.path().display());
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        send(&program, "me@example.org", &message(), PATIENCE).unwrap();
        assert_eq!(
            fs::read_to_string(place.path().join("argv")).unwrap(),
            "-i -- me@example.org\n"
        );
        insta::assert_snapshot!(fs::read_to_string(place.path().join("mail")).unwrap());
    }

    #[test]
    fn t51_a_mail_system_that_never_answers_is_given_up() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("sendmail");
        fs::write(&program, "#!/bin/sh\nsleep 30\n").unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let began = std::time::Instant::now();
        let patience = Duration::from_millis(300);
        let error = send(&program, "me@example.org", &message(), patience).unwrap_err();
        assert!(error.is_silence() && began.elapsed() < Duration::from_secs(20), "{error:?}");
    }

    #[test]
    fn t43_a_machine_without_a_mail_system_says_so() {
        let program = Path::new("/no/such/sendmail");
        let error = send(program, "me@example.org", &message(), PATIENCE).unwrap_err();
        assert!(!error.is_silence());
        assert!(
            std::error::Error::source(&error).unwrap().to_string().contains("/no/such/sendmail")
        );
    }
}
