//! Reading host files: each file of `tests/hosts` against the exact text it earns.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::path::PathBuf;

use bedplate_document::{LIMIT, parse};
use bedplate_model::host::HostFile;
use proptest::prelude::*;

const PROFILE: &str = include_str!("../../../profiles/hypervisor/host.toml");
const EVERYTHING: &str = include_str!("hosts/good_everything.toml");

#[test]
fn every_host_file_earns_its_text() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hosts");
    let mut names: Vec<String> = std::fs::read_dir(directory.clone())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 30, "fixtures are missing: {}", names.len());
    for name in names {
        let text = std::fs::read_to_string(directory.join(format!("{name}.toml"))).unwrap();
        let outcome = parse(&text, "host.toml");
        assert_eq!(name.starts_with("good_"), outcome.is_ok(), "{name}: {outcome:?}");
        let shown = match outcome {
            Ok(host) => host.to_json().unwrap(),
            Err(problems) => problems.to_string(),
        };
        assert!(!shown.contains('\u{1b}'), "t18: {name} shows a control character");
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn the_profile_is_valid() {
    match parse(PROFILE, "host.toml") {
        Ok(host) => insta::assert_snapshot!("profile", host.to_json().unwrap()),
        Err(problems) => panic!("{problems}"),
    }
}

#[test]
fn the_normalised_document_is_read_back() {
    for text in [PROFILE, EVERYTHING] {
        let host = parse(text, "host.toml").unwrap();
        assert_eq!(HostFile::from_json(&host.to_json().unwrap()).unwrap(), host);
    }
}

#[test]
fn t13_oversize_and_deep_documents_are_refused() {
    let long = format!("# {}", "x".repeat(LIMIT));
    assert!(parse(&long, "host.toml").unwrap_err().to_string().contains("keep it under"));
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(parse(&deep, "host.toml").is_err());
}

/// Lines of a valid document in another order, cut or garbled: closer to real mistakes than noise.
fn garbled() -> impl Strategy<Value = String> {
    let lines: Vec<String> = EVERYTHING.lines().map(str::to_owned).collect();
    let line = prop_oneof![
        6 => proptest::sample::select(lines),
        1 => "\\PC{0,20}",
        1 => "[a-z]{1,8} = (\"[^\"]{0,9}\"|-?[0-9]{1,20}|\\[\\]|\\{\\})",
    ];
    proptest::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parse_never_panics_on_any_text(text in "(?s).{0,400}") {
        drop(parse(&text, "host.toml"));
    }

    #[test]
    fn parse_never_panics_on_garbled_documents(text in garbled()) {
        if let Err(problems) = parse(&text, "host.toml") {
            let lines = text.matches('\n').count() + 1;
            for problem in problems.iter() {
                prop_assert!((1..=lines).contains(&problem.line), "{problem}");
                prop_assert!(!problem.to_string().trim_end_matches('\n').chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }
}

#[test]
fn t58_a_bridge_whose_nic_is_refused_is_not_told_to_be_isolated() {
    let text = include_str!("../../../profiles/hypervisor/host.toml");
    let bent = text.replacen("nic = \"enp5s0\"", "nic = \"vlan4095\"", 1);
    assert_ne!(text, bent);
    let told = parse(&bent, "host.toml").unwrap_err().to_string();
    assert!(told.contains("is a VLAN") && !told.contains("isolated"), "{told}");
}
