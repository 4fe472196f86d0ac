//! A system is built on the workstation by Nix itself, laid out as a medium carries it, copied by
//! the installer's own code, and found valid by the build of the enrolled repository. Run by name;
//! without a platform in the cache it fails, because it would say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_document as document;
use bedplate_engine::Reporter;
use bedplate_formats::boot;
use bedplate_image_builder::answers::Repository;
use bedplate_image_builder::identity::with_own_id;
use bedplate_image_builder::owned;
use bedplate_image_builder::toplevel::{self, Built, Hardware, Supplied, lay_out};
use bedplate_installer::answers;
use bedplate_installer::steps::closure::copy_images;
use bedplate_installer::steps::flake::Enrolment;
use bedplate_model::facts::Facts;
use bedplate_model::hardware;
use bedplate_planner as planner;
use bedplate_repository::host::NewHost;
use bedplate_repository::{init, shipped, write};
use bedplate_tests::evaluation::Evaluation;
use bedplate_tests::medium::Workspace;
use bedplate_tests::{programs, started};
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::nix::registration::{self, StorePath};
use bedplate_tools::nix::{Workstation, archive};
use bedplate_tools::nix_log::{Progress, Reader};
use bedplate_tools::{ldd, patchelf};
use serde_json::Value;

const NAME: &str = "attic";

/// Two machines, with a Nix each: where media are made, and the one that is installed.
struct Machines {
    nix: Evaluation,
    document: String,
    platform: Vec<Supplied>,
    description: String,
}

impl Machines {
    fn new() -> Self {
        let nix = Evaluation::obtain().unwrap_or_else(|failure| {
            panic!("NOT TESTED: no Nix to build with (make a medium first): {}", failure.chain())
        });
        let parts = parts(&nix);
        let description = nix.describe(&parts).unwrap();
        let described: Value = serde_json::from_str(&description).unwrap();
        let supplied = |(key, name, place): (&str, &str, PathBuf)| Supplied {
            name: name.to_owned(),
            path: described[key]["path"].as_str().unwrap().to_owned(),
            place,
        };
        let platform = parts.into_iter().map(supplied).collect();
        let profile = shipped::profile("hypervisor").unwrap();
        let document = with_own_id(profile).unwrap().unwrap().0;
        let document = document.replace("name = \"hypervisor\"", &format!("name = \"{NAME}\""));
        Self { nix, document, platform, description }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.nix.place().join(name)
    }

    fn workstation(&self) -> Workstation {
        let (programs, root) = (self.place("workstation-bin"), self.place("workstation"));
        self.nix.programs(&programs, &root, 1).unwrap();
        Workstation::at(&programs, &root)
    }

    /// The machine at `root`, which may begin so many builds.
    fn machine(&self, root: &Path, jobs: u8) -> (Workstation, PathBuf) {
        let programs = root.join("bin");
        self.nix.programs(&programs, root, jobs).unwrap();
        (Workstation::at(&programs, root), programs)
    }

    /// `hardware.json` of the profile's machine, out of its inventory as it is sent.
    fn hardware(&self, memory_bytes: u64) -> String {
        let path = Workspace::own().root.join("profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        facts.platform = Some("x86_64-linux".into());
        facts.memory_bytes = memory_bytes;
        let host = document::parse(&self.document, "host.toml").unwrap_or_else(|e| panic!("{e}"));
        let plan = planner::plan(&host, &facts).unwrap_or_else(|e| panic!("{e}"));
        hardware::text(&plan, &facts).unwrap()
    }

    fn build(&self, owner: &Path, hardware: Option<&str>) -> Built {
        let request = toplevel::InAdvance {
            workstation: self.workstation(),
            hardware: hardware.map(str::to_owned),
        };
        request.check().unwrap();
        let repository = Repository::Owned(owned::look(owner).unwrap().bundle(None).unwrap());
        request
            .build(&self.document, &repository, &self.platform)
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    /// Enrols the host below `target` with the installer's code; the flake that it builds.
    fn enrol(&self, owner: &Path, hardware: &str, target: &Path) -> String {
        let file = target.join("flake.bundle");
        fs::create_dir_all(target).unwrap();
        let owned = owned::look(owner).unwrap().bundle(None).unwrap();
        fs::write(&file, owned.bundle).unwrap();
        let place = target.join("etc/nixos");
        Enrolment {
            repository: &place,
            source: Some(&answers::Repository::Bundle { file, platform: None }),
            hosts: "nix/hosts",
            name: NAME,
            host_toml: &self.document,
            hardware,
            remote: None,
            message: "Enrol attic\n",
            host_key: None,
        }
        .run()
        .unwrap_or_else(|error| panic!("{error} {:?}", error.causes()));
        let attribute = "config.system.build.toplevel";
        format!("git+file://{}#nixosConfigurations.\"{NAME}\".{attribute}", place.display())
    }

    /// An owner's repository around the embedded platform, without the host's directory.
    fn embedded(&self) -> PathBuf {
        let root = self.place("owner");
        let description = Some(self.description.as_bytes());
        let request =
            NewHost { name: NAME, document: &self.document, description, ..NewHost::default() };
        write::write(&root, &init::decide(&request).unwrap().changes).unwrap();
        fs::remove_dir_all(root.join("nix/hosts").join(NAME)).unwrap();
        commit(&root);
        root
    }

    /// An owner's repository whose systems follow from `hardware.json`: what `manifest` says of
    /// `directory`, the host's. Nix builds them itself.
    fn listed(&self, name: &str, manifest: &str) -> PathBuf {
        let root = self.place(name);
        fs::create_dir_all(root.join("nix/hosts")).unwrap();
        fs::write(root.join("nix/hosts/.gitkeep"), "").unwrap();
        let flake = "{ outputs = { self }: let\n  directory = ./nix/hosts/attic;\n  \
            toplevel = derivation { name = \"system\"; system = \"builtin\"; \
            builder = \"builtin:buildenv\"; derivations = [ ]; manifest = @manifest@; };\n\
            in { nixosConfigurations.attic.config.system.build = { inherit toplevel; }; }; }\n";
        fs::write(root.join("flake.nix"), flake.replace("@manifest@", manifest)).unwrap();
        fs::write(root.join("flake.lock"), LOCK).unwrap();
        commit(&root);
        root
    }
}

/// Of a flake without inputs.
const LOCK: &str = "{ \"nodes\": { \"root\": {} }, \"root\": \"root\", \"version\": 7 }\n";

fn commit(root: &Path) {
    for arguments in [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-qm", "x"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Owner", "-c", "user.email=owner@example.org", "-C"]);
        git.arg(root).args(arguments).run().unwrap();
    }
}

/// A platform whose tree is nearly nothing, with the builder of systems built now.
#[test]
fn every_program_that_the_host_and_the_installer_start_is_in_the_tree() {
    let nix = Evaluation::obtain().unwrap();
    let places = ["usr/sbin", "usr/bin", "usr/local/bin"].map(|place| nix.tree().join(place));
    let in_tree = |program: &str| match program.strip_prefix('/') {
        Some(path) => nix.tree().join(path).exists(),
        None => places.iter().any(|place| place.join(program).symlink_metadata().is_ok()),
    };
    let mut seen = 0;
    for (program, file) in
        [started::by_host(), started::by_installer()].into_iter().flat_map(Result::unwrap)
    {
        // The owner's, who wants mail.
        if program == "sendmail" {
            continue;
        }
        assert!(in_tree(&program), "{program} of {} is not in the tree", file.display());
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

fn parts(nix: &Evaluation) -> Vec<(&'static str, &'static str, PathBuf)> {
    let program = programs::build().unwrap().join("bedplate-host");
    let place = nix.place().join("parts");
    let (runtime, programs, tree) =
        (place.join("runtime"), place.join("programs"), place.join("tree"));
    for directory in [runtime.join("lib"), programs.join("bin"), tree.join("boot")] {
        fs::create_dir_all(directory).unwrap();
    }
    for library in ldd::libraries(&program).unwrap().unwrap() {
        let name = library.file_name().unwrap().to_str().unwrap();
        let target = runtime.join("lib").join(name);
        fs::copy(&library, &target).unwrap();
        if !name.starts_with("ld-linux") && name != "libc.so.6" {
            patchelf::set_rpath(&target, "$ORIGIN").unwrap();
        }
    }
    let runtime_part = ("runtime", "bedplate-runtime", runtime);
    let description = nix.describe(std::slice::from_ref(&runtime_part)).unwrap();
    let described: Value = serde_json::from_str(&description).unwrap();
    let libraries = format!("{}/lib", described["runtime"]["path"].as_str().unwrap());
    let builder = programs.join("bin/bedplate-host");
    fs::copy(program, &builder).unwrap();
    let loader = format!("{libraries}/ld-linux-x86-64.so.2");
    patchelf::set_loader(&builder, &loader, &libraries).unwrap();
    fs::write(tree.join("boot/vmlinuz-6.12.0"), "kernel").unwrap();
    let (modules, program) = (place.join("modules"), place.join("program"));
    fs::write(&modules, "modules").unwrap();
    fs::write(&program, "program").unwrap();
    vec![
        runtime_part,
        ("tree", "bedplate-tree", tree),
        ("programs", "bedplate-programs", programs),
        ("initrdModules", "bedplate-initrd-modules", modules),
        ("initrdProgram", "bedplate-initrd-program", program),
    ]
}

/// The platform's own image.
fn platform_image(platform: &[Supplied], image: &Path) {
    let mut paths = Vec::new();
    for Supplied { path, place, .. } in platform {
        let target = image.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        Command::new("cp").arg("-a").arg(place).arg(&target).run().unwrap();
        let content = archive::content(&target).unwrap();
        paths.push(StorePath {
            path: path.clone(),
            hash: content.hash,
            size: content.size,
            deriver: String::new(),
            references: Vec::new(),
        });
    }
    fs::write(image.join("registration"), registration::text(&paths)).unwrap();
}

fn names(built: &Built) -> Vec<&str> {
    let mut names: Vec<&str> =
        built.carried.iter().map(|path| path.path.split_once('-').unwrap().1).collect();
    names.sort_unstable();
    names
}

/// What Nix says while it builds, as the installer reads it.
fn log_of(programs: &Path, reference: &str) -> Progress {
    let mut nix = Command::new(programs.join("nix"));
    nix.args(["--extra-experimental-features", "nix-command flakes", "build", "--no-link"]);
    nix.args(["--no-update-lock-file", "--log-format", "internal-json", reference]);
    let mut reader = Reader::default();
    reader.feed(&nix.output().unwrap().stderr);
    reader.progress()
}

fn unseal(path: &Path) {
    Command::new("chmod").args(["-R", "u+w"]).arg(path).run().unwrap();
}

#[test]
fn what_the_workstation_built_is_valid_on_the_machine_and_nothing_is_built_again() {
    let machines = Machines::new();
    let (owner, hardware) = (machines.embedded(), machines.hardware(8 << 30));
    let built = machines.build(&owner, Some(&hardware));
    assert_eq!(built.hardware, Hardware::Inventory);
    // T19: nothing of the repository; the document that the system holds has no secret.
    assert_eq!(names(&built), ["bedplate-system-attic"]);
    assert_eq!(built.left_out, Vec::<String>::new());

    let medium = machines.place("medium");
    let images = [medium.join("programs"), medium.join(boot::TOPLEVEL)];
    platform_image(&machines.platform, &images[0]);
    let registration = lay_out(&built, &machines.workstation(), &images[1]).unwrap();
    fs::write(images[1].join("registration"), registration).unwrap();
    let reporter = Reporter::new(Vec::new());
    let target = machines.place("target");
    assert!(copy_images(&images, &target, &reporter, "copy-closure").unwrap());
    assert!(!copy_images(&images, &target, &reporter, "copy-closure").unwrap());
    let registration: Vec<u8> =
        images.iter().flat_map(|image| fs::read(image.join("registration")).unwrap()).collect();
    let (machine, programs) = machines.machine(&target, 0);
    let store = |arguments: &[&str]| {
        let mut command = Command::new(programs.join("nix-store"));
        command.args(arguments);
        command
    };
    store(&["--load-db"]).read_with_input(&registration).unwrap();
    let everything = store(&["--query", "--requisites", &built.toplevel]).read().unwrap();
    assert_eq!(everything.lines().count(), 6, "{everything}");
    store(&["--verify-path"]).args(everything.lines()).run().unwrap();

    // No build may begin, and none is wanted.
    let reference = machines.enrol(&owner, &hardware, &target);
    assert_eq!(machine.build(&reference).unwrap(), built.toplevel);
    assert!(log_of(&programs, &reference).is_nothing(), "the step says that it was done");
    // With what was copied it can be made anew, offline.
    store(&["--delete", &built.toplevel]).run().unwrap();
    assert!(machine.build(&reference).is_err());
    let (machine, programs) = machines.machine(&target, 1);
    assert!(!log_of(&programs, &reference).is_nothing(), "it was built");
    assert_eq!(machine.build(&reference).unwrap(), built.toplevel);
    assert_eq!(
        archive::content(&machine.place(&built.toplevel)).unwrap().hash,
        built.carried.iter().find(|path| path.path == built.toplevel).unwrap().hash
    );

    // F7: a damaged medium.
    let init = images[1].join(built.toplevel.trim_start_matches('/')).join("nixos-version");
    unseal(&images[1]);
    fs::write(&init, "damaged").unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o444)).unwrap();
    let other = machines.place("other");
    let refused = copy_images(&images, &other, &reporter, "copy-closure").unwrap_err();
    assert!(refused.to_string().contains(&built.toplevel), "{refused}");
    assert_eq!(fs::read_dir(other.join("nix/store")).unwrap().count(), 0);
    for place in ["medium", "target", "other", "workstation"] {
        unseal(&machines.place(place));
    }
}

#[test]
fn a_system_that_follows_from_the_hardware_is_the_same_only_for_the_same_inventory() {
    let machines = Machines::new();
    let owner = machines.listed("owner", "directory + \"/hardware.json\"");
    let hardware = machines.hardware(8 << 30);
    let built = machines.build(&owner, Some(&hardware));
    let on_the_machine = |hardware: &str, name: &str| {
        let target = machines.place(name);
        let reference = machines.enrol(&owner, hardware, &target);
        machines.machine(&target, 1).0.build(&reference).unwrap()
    };
    assert_eq!(on_the_machine(&hardware, "same"), built.toplevel);
    assert_ne!(on_the_machine(&machines.hardware(16 << 30), "another"), built.toplevel);
    // Without an inventory, with what the repository has.
    let host = owner.join("nix/hosts").join(NAME);
    fs::create_dir_all(&host).unwrap();
    fs::write(host.join(hardware::FILE), &hardware).unwrap();
    commit(&owner);
    let again = machines.build(&owner, None);
    assert_eq!((again.hardware, &again.toplevel), (Hardware::Repository, &built.toplevel));
    for place in ["same", "another", "workstation"] {
        unseal(&machines.place(place));
    }
}

#[test]
fn t19_neither_the_repository_nor_a_key_in_it_gets_onto_the_medium() {
    let machines = Machines::new();
    let whole = machines.listed("whole", "builtins.toFile \"x\" \"${self}\"");
    let built = machines.build(&whole, None);
    assert_eq!(built.hardware, Hardware::Absent);
    assert_eq!(names(&built), Vec::<&str>::new());
    assert_eq!(built.left_out.len(), 3, "{:?}", built.left_out);

    let keyed = machines.listed("keyed", "builtins.toFile \"x\" (builtins.readFile ./key)");
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n";
    fs::write(keyed.join("key"), key).unwrap();
    commit(&keyed);
    let request = toplevel::InAdvance { workstation: machines.workstation(), hardware: None };
    let repository = Repository::Owned(owned::look(&keyed).unwrap().bundle(None).unwrap());
    let refused = request.build(&machines.document, &repository, &[]);
    // The document is one of the embedded platform, and this repository brings none.
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("holds a private key") && !said.contains("c2VjcmV0"), "{said}");
    unseal(&machines.place("workstation"));
}
