//! Names of network cards.

/// What to do instead of putting a Wi-Fi card on a bridge.
pub const WIRED: &str = "an access point takes no frames of other machines from it; connect \
    a cable, and write the name of that NIC";

/// Whether Linux gives such names to Wi-Fi cards: `wlan0`, `wlp3s0`, `wlx001122334455`.
pub fn is_wireless_name(name: &str) -> bool {
    let numbered = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    // The last is of a MAC, whose twelve digits are hexadecimal.
    name.strip_prefix("wlan").is_some_and(numbered)
        || name.strip_prefix("wlx").is_some_and(|mac| mac.len() == 12)
        || name
            .strip_prefix("wl")
            .and_then(|rest| {
                rest.strip_prefix(['a', 'b', 'c', 'd', 'i', 'o', 'p', 's', 'u', 'v', 'x'])
            })
            .is_some_and(numbered)
}

/// Whether software makes interfaces of such names, as no NIC has them: `br1`, `bond0`, `tun0`.
pub fn is_of_software(name: &str) -> bool {
    const KINDS: [&str; 16] = [
        "bond", "br", "docker", "dummy", "gre", "ifb", "macvlan", "macvtap", "sit", "tap", "team",
        "tun", "veth", "virbr", "vnet", "wg",
    ];
    let numbered = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    KINDS.iter().any(|kind| name.strip_prefix(kind).is_some_and(numbered))
}
