//! What the person at the console is asked when `install.unattended` is false.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use bedplate_events::shown::shown_line;
use bedplate_formats::passphrase::{fault, line_fault};
use bedplate_model::facts::Facts;
use bedplate_model::host::{HostFile, Recovery};
use bedplate_model::plan::Plan;
use bedplate_render::frame::{Framed, frame};
use bedplate_render::plain::DESTROYS_NOTHING;
use bedplate_render::table::wrapped;
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

/// How often somebody may mistype the host's name.
const TRIES: usize = 3;
/// The columns of a console, which a serial line does not tell.
const COLUMNS: usize = 80;

/// Asks whether the plan may be executed: whoever types the host's name has read what is erased, which stands above
/// the question. Something else is asked for again, `no` stops.
pub fn consent(plan: &Plan, facts: &Facts, ask: &dyn Ask) -> Result<(), StepError> {
    let name = &plan.host_name;
    let verb = if plan.repairs() { "repair its boot entry" } else { "install" };
    let prompt = format!("Type the host's name, {name}, to {verb}");
    let mut question = format!("\n{}{prompt}", loss(plan, facts));
    for _ in 0..TRIES {
        let typed = ask.line(&question).during("nobody could be asked")?;
        match typed.trim() {
            typed if typed == name.as_str() => return Ok(()),
            "" | "no" => break,
            _ => question = format!("that is not its name; `no` stops\n{prompt}"),
        }
    }
    Err(StepError::new("the installation was not confirmed")
        .next("nothing was written; boot the medium again to be asked again"))
}

/// What the plan does to the disks, what is erased last.
fn loss(plan: &Plan, facts: &Facts) -> String {
    let mut out = String::new();
    for warning in &plan.warnings {
        out += &format!("WARNING: {}\n", shown_line(warning));
    }
    let is_erased = |role: &str| plan.destroys.iter().any(|it| it.role == role);
    for disk in plan.disks.iter().filter(|it| !plan.keeps(&it.role) && !is_erased(&it.role)) {
        out += &format!("written to: {} ({})\n", disk.role, disk.id);
    }
    let left = plan.left_alone(facts);
    if !left.is_empty() {
        out += &format!(
            "{}\n",
            wrapped(&format!("left alone: {}", left.join(", ")), COLUMNS).join("\n")
        );
    }
    let erased: Vec<Framed> = plan.erased().into_iter().map(Framed::from).collect();
    match erased.is_empty() {
        true => out += &format!("{DESTROYS_NOTHING}\n"),
        false => {
            let title = "ERASED, with all that is on them:";
            out += &frame(title, &erased, &plan.comes_to(), COLUMNS);
        }
    }
    out
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
    use std::cell::RefCell;

    use bedplate_model::host::SecretReference;

    use super::*;

    struct Answer(&'static str);

    impl Ask for Answer {
        fn line(&self, question: &str) -> io::Result<String> {
            let again = question.starts_with("that is not its name");
            assert!(again || question.contains("written to: os (nvme-"), "{question}");
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
        let facts: Facts = serde_json::from_str(inventory).unwrap();
        let plan = bedplate_planner::plan(&host(), &facts).unwrap();
        assert!(consent(&plan, &facts, &Answer("hypervisor\n")).is_ok());
        for other in ["", "y", "yes", "hyper", "HYPERVISOR"] {
            let error = consent(&plan, &facts, &Answer(other)).unwrap_err();
            assert_eq!(error.to_string(), "the installation was not confirmed");
        }
    }

    /// Answers in turn, and what was asked.
    struct Turns(RefCell<Vec<&'static str>>, RefCell<Vec<String>>);

    impl Ask for Turns {
        fn line(&self, question: &str) -> io::Result<String> {
            self.1.borrow_mut().push(question.to_owned());
            Ok(self.0.borrow_mut().remove(0).to_owned())
        }

        fn secret(&self, _: &str, _: fn(&str) -> Option<String>) -> io::Result<Secret> {
            Err(io::Error::other("not asked here"))
        }
    }

    #[test]
    fn t06_what_is_erased_stands_above_the_question_and_a_typo_is_asked_for_again() {
        let inventory = include_str!("../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(inventory).unwrap();
        let os = facts.disks.iter_mut().find(|disk| disk.has_id(&host().disks["os"].id)).unwrap();
        let ntfs = serde_json::json!({ "kind": "ntfs", "size": 1 });
        os.signatures.push(serde_json::from_value(ntfs).unwrap());
        let mut host = host();
        host.disks.get_mut("os").unwrap().wipe = bedplate_model::host::Wipe::Any;
        let plan = bedplate_planner::plan(&host, &facts).unwrap();
        let asked = Turns(RefCell::new(vec!["hypervisr", "hypervisor"]), RefCell::default());
        assert!(consent(&plan, &facts, &asked).is_ok());
        let questions = asked.1.into_inner();
        let lines: Vec<&str> = questions[0].lines().rev().take(4).collect();
        assert!(lines[0].starts_with("Type the host's name"), "{questions:?}");
        assert!(lines[1].starts_with("+- 1 disk erased ("), "{questions:?}");
        assert!(lines[2].contains("ntfs"), "{questions:?}");
        assert!(!questions[1].contains("ERASED") && questions[1].contains("not its name"));
        let stopped = Turns(RefCell::new(vec!["x", "no"]), RefCell::default());
        assert!(consent(&plan, &facts, &stopped).is_err());
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
