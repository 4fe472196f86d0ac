use std::cell::RefCell;
use std::os::unix::fs::symlink;
use std::process::Command;

use bedplate_events::Event;
use bedplate_formats::platform::Part;
use bedplate_tools::command::{CommandError, CommandExt as _};
use sha2::{Digest as _, Sha256};

use super::plan::{Refusal, Step};
use super::*;
use crate::generation::RebuildError;

/// In the place of Nix's store: a path follows from name and content, as there.
struct StandIn {
    root: PathBuf,
    added: RefCell<Vec<String>>,
}

fn path_of(name: &str, content: &[u8]) -> String {
    let digest: String =
        Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("/nix/store/{digest}-{name}")
}

impl Store for StandIn {
    fn is_valid(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).exists()
    }

    fn add(&self, name: &str, from: &Path) -> Result<String, CommandError> {
        let failed = |source| CommandError::Start { program: "nix".into(), source };
        let content = fs::read(from).map_err(failed)?;
        let path = path_of(name, &content);
        let target = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).map_err(failed)?;
        fs::write(target, content).map_err(failed)?;
        self.added.borrow_mut().push(path.clone());
        Ok(path)
    }
}

const PARTS: [(&str, &str, &str); 5] = [
    ("tree", "bedplate-tree", "tree"),
    ("initrdModules", "bedplate-initrd-modules", "tree"),
    ("runtime", "bedplate-runtime", "programs"),
    ("programs", "bedplate-programs", "programs"),
    ("initrdProgram", "bedplate-initrd-program", "programs"),
];

/// A machine with a repository and a store, and the directories of an opened medium.
struct Fixture {
    place: tempfile::TempDir,
    store: StandIn,
}

impl Fixture {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = StandIn { root: place.path().join("machine"), added: RefCell::default() };
        let fixture = Self { place, store };
        fs::create_dir_all(fixture.repository().join("bedplate")).unwrap();
        fixture.git(&["init", "-q", "-b", "main"]);
        fixture.write("flake.nix", "{ }\n");
        fixture.write(DESCRIPTION, "{}\n");
        fixture.commit("Owner's");
        fixture.medium("first");
        fixture
    }

    fn repository(&self) -> PathBuf {
        self.place.path().join("nixos")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.repository().join(name), text).unwrap();
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repository()).args(words).read().unwrap().trim().to_owned()
    }

    /// Commits everything, as the owner does.
    fn commit(&self, message: &str) {
        self.git(&["add", "."]);
        let who = ["-c", "user.name=o", "-c", "user.email=o@x"];
        self.git(&[&who[..], &["commit", "-q", "-m", message]].concat());
    }

    fn image(&self, name: &str) -> PathBuf {
        self.place.path().join("medium").join(name)
    }

    /// Makes the medium one of this content.
    fn medium(&self, content: &str) {
        let mut description = serde_json::json!({ "kernelVersion": "6.12.0" });
        for (key, name, image) in PARTS {
            let bytes = format!("{name} {content}");
            let path = path_of(name, bytes.as_bytes());
            let file = self.image(image).join(path.trim_start_matches('/'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
            description[key] =
                serde_json::json!({ "name": name, "path": path, "hash": "sha256-x" });
        }
        fs::write(self.image("programs/platform.json"), description.to_string()).unwrap();
    }

    fn opened(&self) -> Opened {
        medium::of_directories(vec![self.image("tree"), self.image("programs")])
    }

    fn facts(&self) -> UpdateFacts {
        look(&self.repository(), &self.opened(), &self.store).unwrap()
    }

    /// Updates; whether it succeeded, and what was told. `builds` is what building does.
    fn update(&self, builds: bool) -> (bool, String) {
        let plan = decide("attic", &self.facts()).unwrap();
        let (repository, opened) = (self.repository(), self.opened());
        let (images, store) = (&opened.images, &self.store);
        let engine = Engine { repository: &repository, host: "attic", images, store };
        let mut told = Vec::new();
        let mut sink = |event: &Event| told.push(serde_json::to_string(event).unwrap());
        let mut rebuild = || match builds {
            true => Ok(2),
            false => Err(RebuildError::NoEarlier { current: 1 }),
        };
        let success = engine.run(&plan, &Reporter::to(&mut sink), &mut rebuild);
        (success, told.join("\n"))
    }

    fn log(&self) -> Vec<String> {
        self.git(&["log", "--format=%ae %s"]).lines().map(str::to_owned).collect()
    }
}

fn shown(plan: &plan::Plan) -> String {
    plan.steps.iter().map(|step| format!("{}: {step}\n", step.id())).collect()
}

#[test]
fn the_plan_says_what_is_copied_written_and_committed() {
    let fixture = Fixture::new();
    let plan = decide("attic", &fixture.facts()).unwrap();
    let message = plan.steps.iter().find_map(|step| match step {
        Step::Commit(message) => Some(message.as_str()),
        _ => None,
    });
    insta::assert_snapshot!(shown(&plan) + "--\n" + message.unwrap());
}

#[test]
fn a_newer_medium_becomes_one_commit_and_a_generation_and_the_second_time_nothing() {
    let fixture = Fixture::new();
    let (success, told) = fixture.update(true);
    assert!(success, "{told}");
    assert_eq!(
        fixture.log(),
        ["bedplate@attic Update the platform of attic from a medium", "o@x Owner's"]
    );
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    let (held, offered) = (fixture.facts().held.unwrap(), fixture.facts().offered);
    assert_eq!(held, offered);
    assert_eq!(fixture.store.added.borrow().len(), PARTS.len());
    assert_eq!(decide("attic", &fixture.facts()).unwrap().steps, [Step::Rebuild]);
    assert!(fixture.update(true).0);
    assert_eq!((fixture.log().len(), fixture.store.added.borrow().len()), (2, PARTS.len()));
    // The owner lays the description out anew: it is the same.
    let value: serde_json::Value = serde_json::from_slice(&held).unwrap();
    fixture.write(DESCRIPTION, &serde_json::to_string_pretty(&value).unwrap());
    fixture.commit("Layout");
    assert_eq!(decide("attic", &fixture.facts()).unwrap().steps, [Step::Rebuild]);
}

#[test]
fn f1_an_update_that_was_cut_off_is_finished_by_the_next() {
    let fixture = Fixture::new();
    // Before its commit.
    fixture.write(DESCRIPTION, &String::from_utf8(fixture.facts().offered).unwrap());
    let plan = decide("attic", &fixture.facts()).unwrap();
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Write(_))), "{}", shown(&plan));
    let (success, told) = fixture.update(false);
    assert!(!success && told.contains("run `bedplate-host update` again"), "{told}");
    assert_eq!(fixture.log().len(), 2);
    // Before it was built.
    assert_eq!(decide("attic", &fixture.facts()).unwrap().steps, [Step::Rebuild]);
    assert!(fixture.update(true).0);
    assert_eq!(fixture.log().len(), 2);
}

#[test]
fn f7_a_damaged_medium_changes_nothing_in_the_repository() {
    let fixture = Fixture::new();
    let Step::Add(Part { path, .. }) = decide("attic", &fixture.facts()).unwrap().steps.remove(3)
    else {
        panic!("the programs are added")
    };
    let file = fixture.image("programs").join(path.trim_start_matches('/'));
    fs::write(&file, "other bytes").unwrap();
    let (success, told) = fixture.update(true);
    assert!(!success && told.contains("the medium is damaged"), "{told}");
    fs::remove_file(&file).unwrap();
    let (success, told) = fixture.update(true);
    assert!(!success && told.contains("the medium has no"), "{told}");
    assert_eq!((fixture.log().len(), fixture.git(&["status", "--porcelain"])), (1, String::new()));
    // A link that leads nowhere is there, and is not what it should be.
    symlink("nowhere", &file).unwrap();
    assert!(!fixture.update(true).0);
}

#[test]
fn an_owner_at_work_and_a_foreign_medium_are_refused() {
    let fixture = Fixture::new();
    fixture.write("flake.nix", "{ } # at work\n");
    fixture.write("new", "");
    let refused = decide("attic", &fixture.facts()).unwrap_err();
    let names = [" M flake.nix".to_owned(), "?? new".to_owned()];
    assert_eq!(refused, Refusal::Uncommitted(names.to_vec()));
    fs::write(fixture.image("programs/platform.json"), "{}").unwrap();
    assert_eq!(decide("attic", &fixture.facts()).unwrap_err(), Refusal::Offered);
}

#[test]
fn t47_of_two_media_under_one_label_none_is_taken_by_chance() {
    let medium = |about: &str| Medium { nodes: Vec::new(), about: about.to_owned() };
    let (one, two) = (medium("/dev/sdb (ACME, serial 1)"), medium("/dev/sdc (ACME, serial 2)"));
    assert!(only_one(Vec::new()).is_ok(), "that it is not there is told elsewhere");
    assert!(only_one(vec![one.clone()]).is_ok());
    let error = only_one(vec![one, two]).unwrap_err().to_string();
    assert!(error.starts_with("2 media") && error.contains("serial 1) and /dev/sdc"), "{error}");
}
