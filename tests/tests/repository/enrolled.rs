//! The installer's enrolment into a repository of each layout, with real git: what stands in the clone
//! afterwards is committed, evaluates, and is built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_events::Outcome;
use bedplate_installer::answers::Repository;
use bedplate_installer::steps::flake::Enrolment;
use bedplate_repository::change::Left;
use bedplate_repository::host::{self, NewHost};
use bedplate_repository::{read, write};
use bedplate_tests::evaluation::Evaluation;
use bedplate_tests::medium::Workspace;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::git::Reader;

use super::{copy, document};

const HARDWARE: &str = "{\n  \"schema\": 1\n}\n";

fn git(at: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(at).args(["-c", "user.name=Owner", "-c", "user.email=owner@example.org"]);
    git.args(arguments).read().unwrap()
}

/// A repository of the layout with one more host, committed by its owner, as a bundle.
fn owned(nix: &Evaluation, layout: &str, description: &str) -> (PathBuf, String, String) {
    let fixtures = Workspace::own().root.join("leaf/repository/tests/repositories");
    let lister = nix.place().join("directory-lister");
    copy(&fixtures.join("directory-lister"), &lister);
    let root = nix.place().join(format!("owned-{layout}"));
    copy(&fixtures.join(layout), &root);
    let flake = fs::read_to_string(root.join("flake.nix")).unwrap();
    let flake = flake.replace("@directory-lister@", &lister.display().to_string());
    fs::write(root.join("flake.nix"), flake).unwrap();
    nix.lock(&root).unwrap();
    let (facts, document) = (read::facts(&root, None).unwrap(), document());
    let description = Some(description.as_bytes());
    let request = NewHost { name: "attic", document: &document, description, ..NewHost::default() };
    let proposal = host::decide(&facts, &request).unwrap();
    // Who else lists that directory is told of, and nothing is left to do.
    let is_done = |left: &Left| matches!(left, Left::Seen { .. });
    assert!(proposal.left.iter().all(is_done), "{layout}: {:?}", proposal.left);
    write::write(&root, &proposal.changes).unwrap();
    let document = fs::read_to_string(root.join(&proposal.host.directory).join("host.toml"));
    git(&root, &["init", "-q", "-b", "main"]);
    git(&root, &["add", "--all"]);
    git(&root, &["commit", "-q", "-m", "Add attic"]);
    let bundle = nix.place().join(format!("{layout}.bundle"));
    Reader::new(&root).bundle(&bundle, "main").unwrap();
    (bundle, facts.hosts, document.unwrap())
}

#[test]
fn a_host_enrolled_into_each_layout_is_one_commit_that_evaluates_and_is_built() {
    let (nix, description) = super::embedded::building();
    for layout in ["written", "listed", "blueprint_layout"] {
        let (file, hosts, document) = owned(&nix, layout, &description);
        let clone = nix.place().join(format!("enrolled-{layout}"));
        let source = Repository::Bundle { file, platform: None };
        let enrol = || {
            let enrolment = Enrolment {
                repository: &clone,
                source: Some(&source),
                hosts: &hosts,
                name: "attic",
                host_toml: &document,
                hardware: HARDWARE,
                remote: Some("git@git.example.org:me/infra.git"),
                message: "Enrol attic\n",
                host_key: None,
            };
            enrolment.run().unwrap()
        };
        assert_eq!((enrol(), enrol()), (Outcome::Done, Outcome::AlreadyDone), "{layout}");
        let log = git(&clone, &["log", "--format=%ae %s"]);
        assert_eq!(log, "bedplate@attic Enrol attic\nowner@example.org Add attic\n", "{layout}");
        assert_eq!(git(&clone, &["status", "--porcelain"]), "", "{layout}");
        let changed = git(&clone, &["show", "--format=", "--name-status", "HEAD"]);
        assert_eq!(changed, format!("A\t{hosts}/attic/hardware.json\n"), "{layout}");

        let attribute = "nixosConfigurations.attic.config.system.build.toplevel";
        let toplevel = nix.build(&clone, attribute).unwrap().place;
        assert_eq!(fs::read_to_string(toplevel.join("host.toml")).unwrap(), document, "{layout}");
        let oracle = nix.attribute(&clone, "nixosConfigurations.oracle.config.modules").unwrap();
        assert_eq!(oracle[0]["networking"]["hostName"], "oracle", "{layout}");
    }
}
