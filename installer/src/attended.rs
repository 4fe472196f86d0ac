//! What the person at the console is asked when `install.unattended` is false.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use bedplate_formats::passphrase::{fault, line_fault};
use bedplate_model::host::{HostFile, Recovery};
use bedplate_model::plan::Plan;
use bedplate_tools::secret::Secret;
use bedplate_tools::terminals::Terminals;

use crate::error::{During as _, StepError};

/// Asks somebody.
pub trait Ask {
    /// A line of text that is shown as it is typed.
    fn line(&self, question: &str) -> io::Result<String>;
    /// A secret, typed twice until both are the same and `fault` finds nothing wrong with it.
    fn secret(&self, question: &str, fault: fn(&str) -> Option<String>) -> io::Result<Secret>;
}

/// Everywhere the installer is shown: whoever answers first, at the screen or at the serial line,
/// is heard.
pub struct Everywhere(Vec<PathBuf>);

impl Everywhere {
    /// Asks at these terminals; none when nobody can type at one.
    pub fn open(terminals: Vec<PathBuf>) -> Option<Self> {
        (!Terminals::shown(&terminals).is_empty()).then_some(Self(terminals))
    }
}

impl Ask for Everywhere {
    fn line(&self, question: &str) -> io::Result<String> {
        let asked = Terminals::shown(&self.0);
        asked.write(&format!("{question}: "));
        text(&asked.wait_for_line()?)
    }

    fn secret(&self, question: &str, fault: fn(&str) -> Option<String>) -> io::Result<Secret> {
        // From before the first question until after the last: what is typed between them, too
        // early, is not shown either.
        let asked = Terminals::hidden(&self.0);
        let ask = |question: &str| {
            asked.write(&format!("{question}: "));
            let line = asked.wait_for_line();
            asked.write("\n");
            line
        };
        loop {
            let typed = ask(question)?;
            match std::str::from_utf8(&typed).map_or_else(|error| Some(error.to_string()), fault) {
                Some(fault) => asked.write(&format!("{fault}\n")),
                None if ask("The same again")? == typed => return Ok(Secret::new(typed.to_vec())),
                None => asked.write("the two differ, type both again\n"),
            }
        }
    }
}

fn text(line: &[u8]) -> io::Result<String> {
    String::from_utf8(line.to_vec()).map_err(io::Error::other)
}

/// Asks whether the plan may be executed: whoever types the host's name has read what it destroys.
pub fn consent(plan: &Plan, ask: &dyn Ask) -> Result<(), StepError> {
    let mut question = String::from("\n");
    for line in plan.destroyed_lines() {
        question += &format!("DESTROYED: {line}\n");
    }
    for warning in &plan.warnings {
        question += &format!("WARNING: {warning}\n");
    }
    for disk in plan.disks.iter().filter(|disk| !plan.keeps(&disk.role)) {
        question += &format!("written to: {} ({})\n", disk.role, disk.id);
    }
    let verb = if plan.repairs() { "repair its boot entry" } else { "install" };
    question += &format!("Type the host's name, {}, to {verb}", plan.host_name);
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

/// The secrets of the document that are asked for, but for those that a stick `has`.
pub fn secrets(
    host: &HostFile,
    has: &BTreeSet<String>,
    ask: &dyn Ask,
) -> Result<BTreeMap<String, Secret>, StepError> {
    let typed = host.typed_secrets().into_iter().filter(|(path, _)| !has.contains(path));
    let ask_for = |(path, what): (String, String)| {
        let question = format!("The {what}, which no key stick has as `{path}`");
        let secret = ask.secret(&question, line_fault);
        secret.map(|secret| (path, secret)).during("nobody could be asked for a secret")
    };
    typed.map(ask_for).collect()
}

#[cfg(test)]
mod tests {
    use bedplate_model::host::SecretReference;

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
        bedplate_document::parse(text, "host.toml").unwrap()
    }

    #[test]
    fn t06_only_the_host_s_name_is_consent() {
        let inventory = include_str!("../../profiles/hypervisor/inventory.json");
        let facts = serde_json::from_str(inventory).unwrap();
        let plan = bedplate_planner::plan(&host(), &facts).unwrap();
        assert!(consent(&plan, &Answer("hypervisor\n")).is_ok());
        for other in ["", "y", "yes", "hyper", "HYPERVISOR"] {
            let error = consent(&plan, &Answer(other)).unwrap_err();
            assert_eq!(error.to_string(), "the installation was not confirmed");
        }
    }

    #[test]
    fn a_secret_that_a_stick_has_is_not_asked_for() {
        let mut host = host();
        let none = BTreeSet::new();
        let answer = Answer("restic's own");
        assert!(secrets(&host, &none, &answer).unwrap().is_empty());
        for backup in host.backups.values_mut() {
            backup.password = SecretReference::Prompt("bedplate/typed".into());
        }
        let typed = secrets(&host, &none, &answer).unwrap();
        assert_eq!(typed["bedplate/typed"].expose(), b"restic's own");
        assert!(secrets(&host, &["bedplate/typed".into()].into(), &answer).unwrap().is_empty());
        assert!(secrets(&host, &none, &Answer("")).is_err());
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
