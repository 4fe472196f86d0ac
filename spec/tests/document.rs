//! Reading host files.

use bedplate_spec::document::parse;

const PROFILE: &str = include_str!("../../profiles/hypervisor/host.toml");

#[test]
fn the_profile_is_valid() {
    match parse(PROFILE, "host.toml") {
        Ok(host) => assert_eq!(host.disks.len(), 7),
        Err(problems) => panic!("{problems}"),
    }
}
