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
