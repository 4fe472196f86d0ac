//! What the person at the console is asked when `install.unattended` is false.

use std::io;

use bedplate_spec::host::{HostFile, Recovery};
use bedplate_spec::passphrase::fault;
use bedplate_spec::plan::Plan;
use bedplate_tools::secret::Secret;
use console::Term;
use dialoguer::{Input, Password};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::error::{During as _, StepError};

/// Asks somebody.
pub trait Ask {
    /// A line of text that is shown as it is typed.
    fn line(&self, question: &str) -> io::Result<String>;
    /// A secret, typed twice until both are the same and `fault` finds nothing wrong with it.
    fn secret(&self, question: &str, fault: fn(&str) -> Option<String>) -> io::Result<Secret>;
}

/// The console.
pub struct Console(Term);

impl Console {
    /// The console that the installer writes to; none when nobody can type there.
    pub fn open() -> Option<Self> {
        let term = Term::stdout();
        (term.is_term() && rustix::termios::isatty(io::stdin())).then_some(Self(term))
    }
}

impl Ask for Console {
    fn line(&self, question: &str) -> io::Result<String> {
        let input = Input::<String>::new().with_prompt(question).allow_empty(true);
        input.interact_text_on(&self.0).map_err(|dialoguer::Error::IO(error)| error)
    }

    fn secret(&self, question: &str, fault: fn(&str) -> Option<String>) -> io::Result<Secret> {
        // From before the first question until after the last: what is typed between them, too
        // early, is not shown either.
        let _hidden = Hidden::begin()?;
        let typed = Password::new()
            .with_prompt(question)
            .with_confirmation("The same again", "the two differ, type both again")
            .validate_with(move |typed: &String| fault(typed).map_or(Ok(()), Err))
            .interact_on(&self.0);
        typed
            .map(|typed| Secret::new(typed.into_bytes()))
            .map_err(|dialoguer::Error::IO(error)| error)
    }
}

/// While it lives the terminal shows nothing of what is typed.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Drain, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Asks whether the plan may be executed: whoever types the host's name has read what it destroys.
pub fn consent(plan: &Plan, ask: &dyn Ask) -> Result<(), StepError> {
    let mut question = String::from("\n");
    for line in plan.destroyed_lines() {
        question += &format!("DESTROYED: {line}\n");
    }
    for disk in plan.disks.iter().filter(|disk| !plan.keeps(&disk.role)) {
        question += &format!("written to: {} ({})\n", disk.role, disk.id);
    }
    question += &format!("Type the host's name, {}, to install", plan.host_name);
    let typed = ask.line(&question).during("nobody could be asked")?;
    if typed.trim() == plan.host_name {
        return Ok(());
    }
    Err(StepError::new("the installation was not confirmed")
        .next("nothing was written; boot the medium again to be asked again"))
}

/// The recovery passphrase, where the document says that it is asked for.
pub fn recovery(host: &HostFile, ask: &dyn Ask) -> Result<Option<Secret>, StepError> {
    if host.unlock.recovery != Recovery::Prompt {
        return Ok(None);
    }
    let question = "Recovery passphrase of the volumes (it will be typed on a US keyboard layout)";
    ask.secret(question, fault).map(Some).during("nobody could be asked for a passphrase")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answer(&'static str);

    impl Ask for Answer {
        fn line(&self, question: &str) -> io::Result<String> {
            assert!(question.contains("written to: os (nvme-"), "{question}");
            Ok(self.0.to_owned())
        }

        fn secret(&self, _: &str, fault: fn(&str) -> Option<String>) -> io::Result<Secret> {
            match fault(self.0) {
                Some(fault) => Err(io::Error::other(fault)),
                None => Ok(Secret::new(self.0.as_bytes().to_vec())),
            }
        }
    }

    fn host() -> HostFile {
        let text = include_str!("../../profiles/hypervisor/host.toml");
        bedplate_spec::document::parse(text, "host.toml").unwrap()
    }

    #[test]
    fn t06_only_the_host_s_name_is_consent() {
        let inventory = include_str!("../../profiles/hypervisor/inventory.json");
        let facts = serde_json::from_str(inventory).unwrap();
        let plan = bedplate_spec::planner::plan(&host(), &facts).unwrap();
        assert!(consent(&plan, &Answer("hypervisor\n")).is_ok());
        for other in ["", "y", "yes", "hyper", "HYPERVISOR"] {
            let error = consent(&plan, &Answer(other)).unwrap_err();
            assert_eq!(error.to_string(), "the installation was not confirmed");
        }
    }

    #[test]
    fn a_passphrase_is_asked_for_only_where_the_document_says_so() {
        let mut host = host();
        assert!(recovery(&host, &Answer("correct horse battery")).unwrap().is_none());
        host.unlock.recovery = Recovery::Prompt;
        let secret = recovery(&host, &Answer("correct horse battery")).unwrap().unwrap();
        assert_eq!(secret.expose(), b"correct horse battery");
        assert!(recovery(&host, &Answer("short")).is_err());
        assert!(recovery(&host, &Answer("gr\u{fc}\u{df}e aus K\u{f6}ln")).is_err());
    }
}
