//! What the embedded platform makes of a document: its toplevel is built by real Nix, offline, and
//! held against what `bedplate plan` says; what it cannot honour is a warning with a name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_formats::platform::DESCRIPTION;
use bedplate_model::plan::{Plan, Step};
use bedplate_repository::shipped;
use bedplate_tests::embedded::built::built;
use bedplate_tests::embedded::machine::{Difference, differences};
use bedplate_tests::embedded::planned::planned;
use bedplate_tests::evaluation::Evaluation;
use bedplate_tests::example;
use bedplate_tests::medium::Workspace;
use bedplate_tests::programs;
use bedplate_tools::command::CommandExt as _;

use super::{evaluation, parses};

/// A repository as `bedplate init` makes it from `arguments`, the plan for it as `bedplate plan` prints
/// it, and the document both were made from.
struct Initialised {
    root: PathBuf,
    document: PathBuf,
    plan: String,
}

impl Initialised {
    fn new(place: &Path, name: &str, arguments: &[&str], inventory: &Path) -> Self {
        let bedplate = programs::build().unwrap().join("bedplate");
        let root = place.join(name);
        let mut init = Command::new(&bedplate);
        init.args(["init", "--name", name]).args(arguments).arg(&root).read().unwrap();
        let document = root.join("nix/hosts").join(name).join("host.toml");
        let mut plan = Command::new(&bedplate);
        let plan = plan.arg("plan").arg(&document).arg("--inventory").arg(inventory).arg("--json");
        let plan = plan.read().unwrap();
        Self { root, document, plan }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.document).unwrap()
    }

    /// Builds what the plan says is built, and returns in what it is not what the plan says.
    fn differences(&self, nix: &Evaluation) -> Vec<Difference> {
        let plan: Plan = serde_json::from_str(&self.plan).unwrap();
        let attribute = plan.steps.iter().find_map(|step| match step {
            Step::BuildSystem { attribute, .. } => Some(attribute.as_str()),
            _ => None,
        });
        let toplevel = nix.build(&self.root, attribute.unwrap()).unwrap().place;
        let planned = planned(&self.plan, &self.text()).unwrap();
        differences(&planned, &built(&toplevel).unwrap()).unwrap()
    }
}

/// Nix with a platform that it can build toplevels of.
pub(super) fn building() -> (Evaluation, String) {
    let nix = evaluation();
    let description = nix.platform(&programs::build().unwrap()).unwrap();
    (nix, description)
}

#[test]
fn the_toplevel_of_every_profile_brings_up_what_bedplate_plan_says() {
    let (nix, description) = building();
    let profiles = Workspace::own().root.join("profiles");
    let mut names: Vec<_> =
        fs::read_dir(&profiles).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, shipped::PROFILES.map(|(name, _)| name));
    for (name, _) in shipped::PROFILES {
        let inventory = profiles.join(name).join("inventory.json");
        let made = Initialised::new(nix.place(), name, &["--profile", name], &inventory);
        fs::write(made.root.join(DESCRIPTION), &description).unwrap();
        assert_eq!(made.differences(&nix), [], "{name}");
        parses(&nix, &made.root, 4);
        let told = warnings(&nix, &made.root, name);
        let names: Vec<_> = told.iter().filter_map(|one| one.split(": ").next()).collect();
        assert_eq!(names, ["`host.users.admin.groups` of host.toml"], "{name}");
    }
}

#[test]
fn a_document_of_no_defaults_is_built_as_planned_and_one_changed_since_is_not() {
    let (nix, description) = building();
    let root = Workspace::own().root;
    let from = root.join("tests/src/embedded/full.toml").display().to_string();
    let inventory = nix.place().join("two-nics.json");
    fs::write(&inventory, serde_json::to_string(&example::facts().unwrap()).unwrap()).unwrap();
    let made = Initialised::new(nix.place(), "attic", &["--from", &from], &inventory);
    fs::write(made.root.join(DESCRIPTION), &description).unwrap();
    assert_eq!(made.differences(&nix), []);

    let before = made.text();
    let planned = planned(&made.plan, &before).unwrap();
    let after = before
        .replace("data = \"/data\"", "data = \"/srv\"")
        .replace("timeout_seconds = 45", "timeout_seconds = 46")
        .replace("100.64.0.0/10", "100.64.0.0/11");
    fs::write(&made.document, after).unwrap();
    let attribute = "nixosConfigurations.attic.config.system.build.toplevel";
    let toplevel = nix.build(&made.root, attribute).unwrap().place;
    let found = differences(&planned, &built(&toplevel).unwrap()).unwrap();
    let places: Vec<_> = found.iter().map(|one| one.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "exports./mnt/bulk/media.clients.100.64.0.0/10",
            "exports./mnt/bulk/media.clients.100.64.0.0/11",
            "keys.bulk.timeout_seconds",
            "keys.stage 1.timeout_seconds",
            "keys.vmstore.timeout_seconds",
            "mounts./data.subvolume.mapper",
            "mounts./data.subvolume.name",
            "mounts./srv.subvolume.mapper",
            "mounts./srv.subvolume.name",
            "nfs.reached_by",
        ]
    );
}

/// What the platform says that it cannot honour of a host.
fn warnings(nix: &Evaluation, root: &Path, name: &str) -> Vec<String> {
    let attribute = format!("nixosConfigurations.{name}.config.warnings");
    let warnings = serde_json::from_value(nix.attribute(root, &attribute).unwrap());
    let start = format!("host {name}: the embedded platform cannot honour ");
    let warnings: Vec<String> = warnings.unwrap();
    warnings.iter().map(|all| all.strip_prefix(&start).unwrap().to_owned()).collect()
}

/// A repository whose host says `document` and `configuration`.
fn saying(nix: &Evaluation, document: &str, configuration: &str) -> PathBuf {
    let root = super::initialised(nix, "attic", None);
    let host = root.join("nix/hosts/attic");
    fs::write(host.join("host.toml"), document).unwrap();
    fs::write(host.join("configuration.nix"), configuration).unwrap();
    root
}

fn full() -> String {
    let path = Workspace::own().root.join("tests/src/embedded/full.toml");
    fs::read_to_string(path).unwrap()
}

#[test]
fn keys_that_the_tree_cannot_honour_are_warned_of_by_name() {
    let (nix, description) = building();
    let root = saying(&nix, &full(), shipped::CONFIGURATION);
    assert_eq!(warnings(&nix, &root, "attic"), [""; 0]);

    let document = full()
        .replace(
            "state_version = ",
            "locale = \"de_DE.UTF-8\"\ntimezone = \"US/Pacific\"\nstate_version = ",
        )
        .replace(
            "[host.users.root]",
            "[host.users.ada]\ngroups = [\"sudo\", \"kvm\"]\n\n[host.users.root]",
        )
        + "\n[notify]\nurl = \"https://ntfy.example.org/x\"\nmail = \"ada@example.org\"\n";
    fs::write(root.join("nix/hosts/attic/host.toml"), &document).unwrap();
    let found = warnings(&nix, &root, "attic");
    let names: Vec<_> = found.iter().map(|one| one.split(": ").next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "`host.locale` of host.toml",
            "`host.timezone` of host.toml",
            "`host.users.ada.groups` of host.toml",
            "`notify.mail` of host.toml",
        ]
    );
    let zone = |zone: &str| {
        let document =
            full().replace("state_version = ", &format!("timezone = \"{zone}\"\nstate_version = "));
        fs::write(root.join("nix/hosts/attic/host.toml"), document).unwrap();
        warnings(&nix, &root, "attic").len()
    };
    assert_eq!(["Europe/Kyiv", "UTC", "Etc/GMT+1"].map(zone), [0, 0, 0]);
    assert_eq!(["Europe/Kiev", "Zulu"].map(zone), [1, 1]);
    fs::write(root.join("nix/hosts/attic/host.toml"), &document).unwrap();
    // Whoever builds the system is told.
    fs::write(root.join(DESCRIPTION), &description).unwrap();
    let attribute = "nixosConfigurations.attic.config.system.build.toplevel";
    let said = nix.build(&root, attribute).unwrap().said;
    for warning in found {
        let line = format!("warning: host attic: the embedded platform cannot honour {warning}");
        assert!(said.contains(&line), "{line} in {said}");
    }
}

/// What the warnings say of the tree, looked up in one.
#[test]
fn the_tree_is_as_the_warnings_say() {
    let nix = evaluation();
    let tree = nix.tree();
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(tree.join(directory)).unwrap().map(Result::unwrap);
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("usr/lib/locale"), ["C.utf8"]);
    for program in ["sudo", "sendmail"] {
        for directory in ["usr/bin", "usr/sbin", "usr/lib"] {
            assert!(!tree.join(directory).join(program).exists(), "{directory}/{program}");
        }
    }
    let is_area = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_uppercase()) && name != "Factory"
    };
    let areas: Vec<_> = names("usr/share/zoneinfo").into_iter().filter(is_area).collect();
    assert_eq!(listed("areas"), areas);
    let former = listed("formerZones");
    assert!(former.contains(&"Europe/Kiev".to_owned()), "{former:?}");
    for zone in former {
        assert!(!tree.join("usr/share/zoneinfo").join(&zone).exists(), "{zone}");
    }
}

/// The strings of a list in lib.nix.
fn listed(name: &str) -> Vec<String> {
    let platform = shipped::platform(None);
    let library = std::str::from_utf8(&platform["lib.nix"]).unwrap();
    let (_, list) = library.split_once(&format!("{name} = [")).unwrap();
    let strings = list.split_once(']').unwrap().0.split_whitespace();
    strings.map(|text| text.trim_matches('"').to_owned()).collect()
}

#[test]
fn options_of_a_configuration_are_warned_of_by_their_whole_names() {
    let nix = evaluation();
    let configuration = r#"{ bedplate, pkgs, lib, extra ? { }, ... }: {
  imports = [ (bedplate.platformModule ./host.toml) ./more.nix { time.hardwareClockInLocalTime = true; } ];
  services.openssh = { enable = true; settings = lib.mkForce { }; };
  environment.systemPackages = [ pkgs.vim ];
  boot.kernelPackages = pkgs.linuxPackages;
  networking.hosts = { };
}"#;
    let root = saying(&nix, &full(), configuration);
    let names = [
        "boot.kernelPackages",
        "environment.systemPackages",
        "networking.hosts",
        "services.openssh.enable",
        "services.openssh.settings",
        "imports = [ more.nix ]",
        "time.hardwareClockInLocalTime",
    ];
    assert_eq!(
        warnings(&nix, &root, "attic"),
        names.map(|name| format!("`{name}` of configuration.nix"))
    );
    let used =
        "{ bedplate, pkgs, ... }: { imports = [ (bedplate.platformModule pkgs.document) ]; }";
    fs::write(root.join("nix/hosts/attic/configuration.nix"), used).unwrap();
    let error = nix.attribute(&root, "nixosConfigurations.attic.config.warnings").unwrap_err();
    let error = error.to_string();
    let told =
        "host attic: configuration.nix uses `pkgs`, which the embedded platform does not have";
    assert!(error.contains(told), "{error}");
}

/// The decoder says it with place and remedy; the warnings must not be in its way, nor bring what a
/// document holds to a terminal as it is (T18).
#[test]
fn t18_mistakes_are_left_to_the_builder() {
    let (nix, description) = building();
    let document = full().replace(
        "state_version = ",
        "locale = 5\ntimezone = \"\\u001b[31mX\"\nusers.ada.groups = \"sudo\"\nstate_version = ",
    );
    let document = document.replace("[host.users.root]\nssh_keys = []\n", "");
    let root = saying(&nix, &document, shipped::CONFIGURATION);
    fs::write(root.join(DESCRIPTION), &description).unwrap();
    let attribute = "nixosConfigurations.attic.config.system.build.toplevel";
    let said = nix.build(&root, attribute).unwrap_err().to_string();
    for mistake in ["host.locale", "host.timezone", "host.users.ada.groups"] {
        assert!(said.contains(mistake), "{mistake} in {said}");
    }
    assert!(!said.contains('\u{1b}'), "{said:?}");
}
