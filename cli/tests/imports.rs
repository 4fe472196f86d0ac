//! Imports between the crates of this workspace point one way (docs/ARCHITECTURE.md).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// What happens, and text that may be shown: imports nothing of ours.
const EVENTS: &str = "bedplate-events";
/// Types of hosts, machines and plans.
const MODEL: &str = "bedplate-model";
/// `host.toml` as text.
const DOCUMENT: &str = "bedplate-document";
const PLANNER: &str = "bedplate-planner";
const FORMATS: &str = "bedplate-formats";
/// Pure: no IO, clock, randomness or C library.
const CORE: &[&str] = &[EVENTS, MODEL, DOCUMENT, PLANNER, FORMATS];
const TOOLS: &str = "bedplate-tools";
const LEAVES: &[&str] = &[
    TOOLS,
    "bedplate-luks",
    "bedplate-blkid",
    "bedplate-keystick",
    "bedplate-secrets",
    "bedplate-discovery",
    "bedplate-libvirt",
];
/// Imported by everything that reads YAML; imports nothing.
const YAML: &str = "bedplate-yaml";
/// Imported by the top row alone; imports `document`, `yaml` and the XML of libvirt, and no C library.
const IMPORT: &str = "bedplate-import";
/// Imported by the middle row; imports `tools`, and no C library.
const FACTS: &str = "bedplate-facts";
/// Imported by whoever writes to disks; imports `facts` and `keystick`, and no C library: the workstation
/// makes key sticks.
const DISKS: &str = "bedplate-disks";
const WRITE_TO_DISKS: &[&str] = &["bedplate-installer", "bedplate-host-service"];
/// Imported by the top row, and by those who look through a repository before a disk is written; no C
/// library.
const REPOSITORY: &str = "bedplate-repository";
const LOOK_THROUGH: &[&str] = &["bedplate-installer", "bedplate-image-builder"];
/// Carries out plans, whatever their steps: imports `events` alone.
const ENGINE: &str = "bedplate-engine";
const CARRY_OUT: &[&str] = &["bedplate-installer", "bedplate-host-service"];
/// What converge looks after, whatever it is.
const RESOURCES: &str = "bedplate-resources";
/// One driver for each kind of guest. Knows no disk of the machine.
const GUESTS: &str = "bedplate-guests";
/// Toplevels and generations of the embedded platform; reads the `host.toml` of each.
const PLATFORM: &str = "bedplate-platform";
/// Files over HTTP; imported by who fetches some.
const FETCH: &str = "bedplate-fetch";
/// What tests of the machine row begin with; no program imports it.
const SAMPLE: &str = "bedplate-sample";
/// What people see, from events alone.
const RENDER: &str = "bedplate-render";
/// What changes a machine.
const MACHINE: &[&str] = &[DISKS, ENGINE, RESOURCES, GUESTS, PLATFORM];
/// The program that makes a host as `host.toml` says, and what it does that with.
const CONVERGE: &str = "bedplate-host-service";
const CONVERGED: &[&str] = &[RESOURCES, GUESTS, PLATFORM, FETCH];
/// Programs that are told what to do, and neither read `host.toml` nor plan.
const TOLD: &[&str] = &["bedplate-initrd", "bedplate-qemu-harness"];
const MIDDLE: &[&str] = &[
    "bedplate-installer",
    "bedplate-initrd",
    "bedplate-host-service",
    "bedplate-image-builder",
    "bedplate-qemu-harness",
];
const TOP: &[&str] = &["bedplate-cli", "bedplate-tests"];
/// Tests of the first read their documents by the second, or what was written.
const FOR_TESTS: &[(&str, &str)] = &[
    (PLANNER, DOCUMENT),
    (DISKS, "bedplate-blkid"),
    (RESOURCES, SAMPLE),
    (GUESTS, SAMPLE),
    (PLATFORM, SAMPLE),
    ("bedplate-host-service", SAMPLE),
];

/// What a crate may import, by its row; none for a crate of no row.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    let rows: &[&[&str]] = if [EVENTS, TOOLS, YAML, "xtask"].contains(&name) {
        &[]
    } else if [MODEL, RENDER, ENGINE].contains(&name) {
        &[&[EVENTS]]
    } else if [DOCUMENT, PLANNER, FORMATS].contains(&name) {
        &[&[EVENTS, MODEL]]
    } else if LEAVES.contains(&name) {
        &[&[TOOLS, YAML]]
    } else if name == FACTS {
        &[&[EVENTS, MODEL, FORMATS, TOOLS]]
    } else if name == DISKS {
        &[&[EVENTS, MODEL, TOOLS, FACTS, "bedplate-keystick"]]
    } else if name == FETCH {
        &[&[TOOLS]]
    } else if name == SAMPLE {
        &[&[MODEL, DOCUMENT, TOOLS]]
    } else if name == RESOURCES {
        &[&[EVENTS, MODEL, TOOLS, ENGINE]]
    } else if name == GUESTS {
        &[&[EVENTS, MODEL, TOOLS, "bedplate-libvirt", FETCH, ENGINE, RESOURCES]]
    } else if name == PLATFORM {
        &[&[EVENTS, MODEL, DOCUMENT, FORMATS, TOOLS, FACTS, ENGINE, RESOURCES]]
    } else if name == REPOSITORY {
        &[&[MODEL, DOCUMENT]]
    } else if name == IMPORT {
        &[&[DOCUMENT, YAML, "bedplate-libvirt"]]
    } else if TOLD.contains(&name) {
        &[&[EVENTS, FORMATS], LEAVES, &[FACTS, RENDER]]
    } else if LOOK_THROUGH.contains(&name) {
        &[CORE, LEAVES, &[FACTS, RENDER, REPOSITORY]]
    } else if MIDDLE.contains(&name) {
        &[CORE, LEAVES, &[FACTS, RENDER]]
    } else if TOP.contains(&name) {
        &[CORE, LEAVES, &[FACTS, REPOSITORY, IMPORT], MACHINE, &[RENDER], MIDDLE]
    } else {
        return None;
    };
    let writes: &[&str] = if WRITE_TO_DISKS.contains(&name) { &[DISKS] } else { &[] };
    let converges: &[&str] = if name == CONVERGE { CONVERGED } else { &[] };
    let carries_out: &[&str] = if CARRY_OUT.contains(&name) { &[ENGINE] } else { &[] };
    Some([rows.concat().as_slice(), writes, carries_out, converges].concat())
}

/// Arrows that point the wrong way, as `a -> b`.
fn wrong_arrows(arrows: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, imports) in arrows {
        match allowed(name) {
            None => wrong.push(format!("{name} has no row")),
            Some(allowed) => wrong.extend(
                imports
                    .iter()
                    .filter(|import| !allowed.contains(&import.as_str()))
                    .map(|import| format!("{name} -> {import}")),
            ),
        }
    }
    wrong
}

fn metadata(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn workspace() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata(&["--no-deps"]);
    let arrows = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let name = text(&package["name"]);
        let ours = dependencies.filter(|dependency| dependency["path"].is_string());
        let is_of_tests = |dependency: &Value| {
            let pair = (name.as_str(), dependency["name"].as_str().unwrap());
            dependency["kind"] == "dev" && FOR_TESTS.contains(&pair)
        };
        let ours = ours.filter(|dependency| !is_of_tests(dependency));
        let imports = ours.map(|dependency| text(&dependency["name"])).collect();
        (name, imports)
    });
    arrows.collect()
}

#[test]
fn imports_point_one_way() {
    let arrows = workspace();
    assert!(arrows.len() >= 12, "{arrows:?}");
    assert_eq!(wrong_arrows(&arrows), Vec::<String>::new());
}

#[test]
fn wrong_arrows_are_found() {
    let arrow = |from: &str, to: &str| BTreeMap::from([(from.to_owned(), vec![to.to_owned()])]);
    for (from, to) in [
        (EVENTS, MODEL),
        (MODEL, TOOLS),
        (PLANNER, DOCUMENT),
        (DISKS, "bedplate-blkid"),
        (DOCUMENT, PLANNER),
        (MODEL, FORMATS),
        (RENDER, MODEL),
        (RENDER, TOOLS),
        (ENGINE, MODEL),
        (ENGINE, RENDER),
        ("bedplate-image-builder", ENGINE),
        ("bedplate-initrd", PLANNER),
        ("bedplate-qemu-harness", DOCUMENT),
        ("bedplate-installer", "bedplate-initrd"),
        (TOOLS, MODEL),
        ("bedplate-keystick", MODEL),
        ("bedplate-secrets", EVENTS),
        (TOOLS, "bedplate-keystick"),
        ("bedplate-luks", "bedplate-blkid"),
        (FACTS, "bedplate-blkid"),
        ("bedplate-image-builder", "bedplate-cli"),
        ("bedplate-image-builder", DISKS),
        (GUESTS, DISKS),
        (DISKS, "bedplate-luks"),
        (GUESTS, PLATFORM),
        (PLATFORM, GUESTS),
        (PLATFORM, DISKS),
        (GUESTS, FACTS),
        (GUESTS, DOCUMENT),
        (RESOURCES, GUESTS),
        ("bedplate-installer", GUESTS),
        ("bedplate-host-service", SAMPLE),
        (FETCH, MODEL),
        (REPOSITORY, TOOLS),
        (REPOSITORY, "bedplate-installer"),
        ("bedplate-initrd", REPOSITORY),
        ("bedplate-host-service", REPOSITORY),
        ("xtask", EVENTS),
        ("bedplate-new", EVENTS),
    ] {
        assert_eq!(wrong_arrows(&arrow(from, to)).len(), 1, "{from} -> {to}");
    }
    assert!(wrong_arrows(&arrow("bedplate-installer", "bedplate-luks")).is_empty());
}

/// Names of all packages that `root` needs to run, through normal dependencies.
fn closure(root: &str) -> Vec<(String, Option<String>)> {
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let packages: BTreeMap<String, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (text(&package["id"]), package))
        .collect();
    let nodes: BTreeMap<String, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let mut queue: Vec<String> = packages
        .iter()
        .filter(|(_, package)| package["name"] == root)
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(queue.len(), 1, "{root}");
    let mut seen = Vec::new();
    while let Some(id) = queue.pop() {
        if seen.contains(&id) {
            continue;
        }
        for dependency in nodes[&id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                queue.push(text(&dependency["pkg"]));
            }
        }
        seen.push(id);
    }
    seen.iter()
        .map(|id| (text(&packages[id]["name"]), packages[id]["links"].as_str().map(str::to_owned)))
        .collect()
}

#[test]
fn what_builds_anywhere_needs_no_c_library_of_the_machine() {
    for root in ["bedplate-cli", "xtask"].iter().chain(CORE) {
        for (name, links) in closure(root) {
            let of_the_machine = matches!(
                links.as_deref(),
                Some("cryptsetup" | "blkid" | "udev" | "virt" | "openssl")
            );
            assert!(!of_the_machine, "{root} needs {name}, which links {links:?}");
            assert!(
                !matches!(name.as_str(), "bedplate-luks" | "bedplate-blkid"),
                "{root} needs {name}"
            );
        }
    }
    for root in CORE {
        let closure = closure(root);
        let links: Vec<_> = closure.iter().filter(|(_, links)| links.is_some()).collect();
        assert!(links.is_empty(), "{root} is pure Rust: {links:?}");
    }
}
