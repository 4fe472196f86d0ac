//! An inventory under the profile's host file: a plan or refusals.

#![no_main]

use std::sync::LazyLock;

use bedplate_document::parse;
use bedplate_model::facts::Facts;
use bedplate_model::host::HostFile;
use bedplate_planner::{is_finished, plan};
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<Option<HostFile>> =
    LazyLock::new(|| parse(include_str!("../../profiles/hypervisor/host.toml"), "host.toml").ok());

fuzz_target!(|text: &str| {
    if let (Some(host), Ok(facts)) = (HOST.as_ref(), serde_json::from_str::<Facts>(text)) {
        let _ = is_finished(host, &facts);
        match plan(host, &facts) {
            Ok(plan) => drop(plan.destroyed_lines()),
            Err(error) => drop(error.to_string()),
        }
    }
});
