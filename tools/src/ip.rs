//! `ip`: the addresses of this machine.

use std::net::IpAddr;
use std::process::Command;

use serde::Deserialize;

use crate::command::{CommandError, CommandExt as _};

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: Option<IpAddr>,
}

/// The global addresses of every link that is up.
pub fn addresses() -> Result<Vec<IpAddr>, CommandError> {
    let mut command = Command::new("ip");
    Ok(parse(&command.args(["-json", "address", "show", "up", "scope", "global"]).read()?))
}

/// What is no list of links has no addresses.
fn parse(json: &str) -> Vec<IpAddr> {
    let links: Vec<Link> = serde_json::from_str(json).unwrap_or_default();
    links.into_iter().flat_map(|link| link.addr_info).filter_map(|address| address.local).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_none_is_passed_over() {
        let json = r#"[{},{"ifname":"eth0","addr_info":[{"family":"inet","local":"10.0.2.15",
            "prefixlen":24},{"family":"inet6","local":"fd00::15"},{}]}]"#;
        let found: Vec<String> = parse(json).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.2.15", "fd00::15"]);
        assert!(parse("").is_empty() && parse("{}").is_empty());
    }
}
