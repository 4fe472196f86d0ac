//! What the screen says while the machine waits to be told what to install.

use std::fs;
use std::net::IpAddr;

use bedplate_tools::{ip, networkctl};

use crate::places::Places;

/// How long a DHCP server may take, in seconds.
const NETWORK: u32 = 30;

/// Waits for the network, and says how this machine is reached.
pub fn message(places: &Places) -> String {
    // Without an address the message says so.
    let _ = networkctl::wait_online(NETWORK);
    let fingerprint = fs::read_to_string(places.fingerprint()).unwrap_or_default();
    say(fingerprint.trim(), &ip::global_addresses().unwrap_or_default())
}

fn say(fingerprint: &str, addresses: &[IpAddr]) -> String {
    let head = "This medium does not say what to install: the machine waits to be told over ssh.";
    if fingerprint.is_empty() {
        return format!(
            "{head}\nThe ssh server did not start; see `journalctl -u bedplate-ssh` on this machine."
        );
    }
    if addresses.is_empty() {
        return format!(
            "{head}\nNo network interface has an address yet; see `ip address` on this machine.\n\
             The host key of this boot is {fingerprint}"
        );
    }
    let line = |address| {
        format!("  bedplate install --target root@{address} --host-key {fingerprint} host.toml")
    };
    let lines: Vec<String> = addresses.iter().map(line).collect();
    format!("{head} On the workstation:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_says_the_command_with_this_boots_host_key() {
        let addresses = ["192.168.1.20".parse().unwrap(), "fd00::20".parse().unwrap()];
        insta::assert_snapshot!(say("SHA256:abc", &addresses));
        assert!(say("SHA256:abc", &[]).contains("SHA256:abc"));
        assert!(say("", &addresses).contains("did not start"));
    }
}
