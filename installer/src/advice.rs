//! What to do after a failure: from what was written, what befell the disks, and why.

use std::error::Error;
use std::io;

use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::name::Role;

use crate::error::RUN_AGAIN;
use crate::health::Trouble;
use crate::ledger::Ledger;

/// What to do next.
pub fn after(host: &HostFile, ledger: &Ledger, trouble: Option<&Trouble>, full: bool) -> String {
    if ledger.is_committed() {
        return "the system is installed and its boot entry stands: take the medium out and \
            start the machine; nothing needs to be installed again"
            .to_owned();
    }
    let repair = match trouble {
        Some(Trouble::Gone) => "check the disk's cable and slot, or replace it",
        Some(Trouble::Errors(_)) => {
            "check the disk's cable; a disk that goes on like this is broken"
        }
        None if full => "choose a larger disk for the system",
        None => "",
    };
    let touched = ledger.touched();
    if touched.is_empty() {
        let nothing = "nothing was written to any disk; boot the medium again";
        return join(repair, nothing);
    }
    let same = trouble.is_some() || full;
    let blank = |role: &Role| host.disks.get(role).is_some_and(|disk| disk.wipe == Wipe::Blank);
    let again = if touched.iter().any(blank) {
        "write `wipe = \"ours\"` for the disks and boot the medium again; \
         a run of the same plan finishes what this one began"
    } else if same {
        "boot the medium again; a run of the same plan finishes what this one began"
    } else {
        RUN_AGAIN
    };
    let mut next = join(repair, again);
    if same {
        next.push_str(
            ". With another disk in its place it is another plan: write the new disk's id, and \
             `wipe = \"any\"` for the disks that this run wrote to",
        );
    }
    next
}

fn join(first: &str, second: &str) -> String {
    if first.is_empty() { second.to_owned() } else { format!("{first}; {second}") }
}

/// Whether a chain of errors says that a file system is full.
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source()).any(
        |error| {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            kind == Some(io::ErrorKind::StorageFull)
                || error.to_string().contains("No space left on device")
        },
    )
}

#[cfg(test)]
mod tests {
    use bedplate_document as document;
    use bedplate_model::plan::Step;

    use bedplate_model::name::PlanHash;

    use super::*;
    use crate::error::{During as _, StepError};

    fn host(wipe: &str) -> HostFile {
        let profile = include_str!("../../profiles/hypervisor/host.toml")
            .replace("00000000-0000-4000-8000-000000000004", "6ba7b810-9dad-41d1-80b4-00c04fd430c8")
            .replace("wipe = \"blank\"", &format!("wipe = \"{wipe}\""));
        document::parse(&profile, "host.toml").unwrap_or_else(|e| panic!("{e}"))
    }

    fn ledger(step: Option<&Step>) -> Ledger {
        let plan = bedplate_model::plan::Plan {
            sections: Default::default(),
            schema: 1,
            hash: PlanHash::default(),
            host_id: uuid::Uuid::nil(),
            host_name: String::new(),
            destroys: Vec::new(),
            disks: Vec::new(),
            steps: Vec::new(),
            then: bedplate_model::host::Then::Wait,
            exports: Vec::new(),
            warnings: Vec::new(),
        };
        let ledger = Ledger::default();
        if let Some(step) = step {
            ledger.begin(&plan, step);
            ledger.complete(&plan, step);
        }
        ledger
    }

    #[test]
    fn a_failure_after_the_commit_point_never_asks_to_install_again() {
        let esp = bedplate_model::plan::BootPartition {
            role: "os".parse().unwrap(),
            partition: 1,
            guid: uuid::Uuid::nil(),
            mount: "/boot".into(),
        };
        let committed = ledger(Some(&Step::WriteBootEntry { esp, mirror: None }));
        let said = after(&host("blank"), &committed, Some(&Trouble::Gone), false);
        assert!(said.contains("is installed") && !said.contains("boot the medium again"), "{said}");
    }

    #[test]
    fn f2_a_run_that_may_not_finish_another_is_told_how() {
        let begun = ledger(Some(&Step::Seal { roles: vec!["vm1".parse().unwrap()] }));
        let trouble = Trouble::Errors("x".into());
        let said = after(&host("blank"), &begun, Some(&trouble), false);
        assert!(said.contains("wipe = \"ours\""), "{said}");
        let said = after(&host("ours"), &begun, Some(&trouble), false);
        assert!(!said.contains("wipe = \"ours\"") && said.contains("cable"), "{said}");
        assert_eq!(after(&host("ours"), &begun, None, false), RUN_AGAIN);
        let untouched = after(&host("blank"), &ledger(None), Some(&trouble), false);
        assert!(untouched.contains("nothing was written"), "{untouched}");
    }

    #[test]
    fn f8_a_full_file_system_is_known_from_the_system_and_from_programs() {
        let full: Result<(), _> = Err(io::Error::from(io::ErrorKind::StorageFull));
        let error: StepError = full.during("could not copy").unwrap_err();
        assert!(is_full(&error));
        let told: Result<(), _> = Err(io::Error::other("nix: No space left on device"));
        assert!(is_full(&told.during("could not build").unwrap_err()));
        assert!(!is_full(&StepError::new("no")));
        let begun = ledger(Some(&Step::Seal { roles: vec!["os".parse().unwrap()] }));
        assert!(after(&host("ours"), &begun, None, true).contains("larger disk"));
    }
}
