//! The network of a document and of a machine: what would make the machine unreachable is refused, and
//! what looks like it is not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use bedplate_document::{Problems, parse};
use bedplate_model::facts::{Facts, NicFacts};
use bedplate_model::host::HostFile;
use bedplate_planner::plan;

const MINIMAL: &str = include_str!("../../document/tests/hosts/good_minimal.toml");
const INVENTORY: &str = include_str!("../../../profiles/hypervisor/inventory.json");
const PROFILE: &str = include_str!("../../../profiles/hypervisor/host.toml");

/// The minimal document with this in the place of its bridge.
fn with(network: &str) -> Result<HostFile, Problems> {
    let rest = MINIMAL.split("[network").next().unwrap();
    parse(&format!("{rest}{network}"), "host.toml")
}

/// The minimal document with one bridge that has these lines.
fn with_bridge(lines: &str) -> Result<HostFile, Problems> {
    with(&format!("[network.bridges.br0]\n{lines}"))
}

/// Each is refused once, at the key and with the words that are named.
fn refused(cases: &[(&str, &str, &str)]) {
    for (network, key, words) in cases {
        let problems = with(network).expect_err(network);
        let found: Vec<String> = problems.iter().map(|it| format!("{it}")).collect();
        assert_eq!(found.len(), 1, "{network}: {problems}");
        let first = problems.iter().next().unwrap();
        assert_eq!(first.key, *key, "{network}: {problems}");
        assert!(found[0].contains(words), "{network}: {problems}");
    }
}

fn accepted(networks: &[&str]) {
    for network in networks {
        with(network).unwrap_or_else(|problems| panic!("{network}: {problems}"));
    }
}

#[test]
fn t58_what_is_no_nic_is_no_port_of_a_bridge() {
    let nic = "network.bridges.br0.nic";
    let cases = [
        ("lo", "speaks to itself"),
        ("enp5s0.20", "nic = \"enp5s0\"` and `vlan_aware = true"),
        ("enp5s0.20", "`vlan = 20`"),
        ("vlan20", "is a VLAN"),
        ("wlp3s0", "Wi-Fi"),
        ("wlan0", "Wi-Fi"),
        ("wlx001122334455", "Wi-Fi"),
        ("br0", "the bridge itself"),
        ("guests", "is a bridge of this document"),
    ];
    for (name, words) in cases {
        let network =
            format!("[network.bridges.br0]\nnic = \"{name}\"\n[network.bridges.guests]\n");
        refused(&[(&network, nic, words)]);
    }
    refused(&[(
        "[network.bridges.br0]\nnic = { mac = \"00:00:00:00:00:00\" }",
        "network.bridges.br0.nic.mac",
        "not a MAC",
    )]);
    for name in ["enp5s0", "eth0", "wlab", "enx001122334455", "end0", "eno1.x", "lan.4096", "lo0"] {
        accepted(&[&format!("[network.bridges.br0]\nnic = \"{name}\"")]);
    }
}

#[test]
fn t58_a_bridge_has_a_name_of_its_own_and_a_nic_of_its_own() {
    for name in ["lo", "all", "default", "12"] {
        refused(&[(
            &format!("[network.bridges.{name}]\naddresses = [\"10.9.0.1/24\"]"),
            "network.bridges",
            "not a name for a bridge",
        )]);
    }
    refused(&[
        (
            "[network.bridges.a]\nnic = { mac = \"04:42:1A:01:02:03\" }\n\
             [network.bridges.b]\nnic = { mac = \"04:42:1a:01:02:03\" }",
            "network.bridges.b.nic",
            "another bridge has this NIC",
        ),
        (
            "[network.bridges.br0]\nnic = { mac = \"04:42:1a:01:02:03\" }\n\
             [vms.one]\npool = \"data\"\nmac_address = \"04:42:1A:01:02:03\"\n\
             disk_image = { url = \"https://example.org/x\", sha256 = \
             \"0000000000000000000000000000000000000000000000000000000000000000\" }",
            "vms.one.mac_address",
            "network.bridges.br0.nic",
        ),
    ]);
    accepted(&["[network.bridges.lo1]\n", "[network.bridges.1a]\n", "", "[network]\n"]);
}

#[test]
fn t58_an_address_that_no_machine_has_is_refused() {
    let cases = [
        ("192.168.1.0/24", "the network itself"),
        ("192.168.1.0/24", "between 192.168.1.0 and 192.168.1.255"),
        ("192.168.1.255/24", "broadcast"),
        ("10.0.0.3/30", "broadcast"),
        ("fd00:1::/64", "the network itself"),
        ("127.0.0.1/8", "loopback"),
        ("::1/128", "loopback"),
        ("224.0.0.1/4", "multicast"),
        ("ff02::1/64", "multicast"),
        ("0.0.0.0/24", "no address at all"),
        ("::/64", "no address at all"),
        ("0.0.0.7/24", "reserved"),
        ("255.255.255.255/32", "reserved"),
        ("240.0.0.1/24", "reserved"),
        ("::ffff:192.168.1.5/120", "written as IPv6"),
        ("192.168.1.5/0", "all addresses"),
    ];
    for (address, words) in cases {
        let network = format!("[network.bridges.br0]\naddresses = [\"{address}\"]");
        refused(&[(&network, "network.bridges.br0.addresses[0]", words)]);
    }
    let good = [
        "192.168.1.5/24",
        "192.168.1.1/23",
        "192.168.0.255/23",
        "10.0.0.0/31",
        "10.0.0.1/31",
        "203.0.113.0/32",
        "203.0.113.255/32",
        "169.254.1.1/16",
        "fd00:1::1/64",
        "fd00:1::/127",
        "2001:db8::/128",
        "fe80::5/64",
        "fd00::ffff:ffff:ffff:ffff/64",
    ];
    for address in good {
        accepted(&[&format!("[network.bridges.br0]\naddresses = [\"{address}\"]")]);
    }
}

#[test]
fn t58_a_gateway_that_is_never_reached_is_refused() {
    let gateway = "network.bridges.br0.gateway";
    let cases = [
        ("192.168.1.5/24", "192.168.2.1", "write the address as \"192.168.1.5/32\""),
        ("192.168.1.5/24", "192.168.1.5", "the machine itself"),
        ("192.168.1.5/24", "192.168.1.0", "first or last"),
        ("192.168.1.5/24", "192.168.1.255", "first or last"),
        ("192.168.1.5/24", "fd00::1", "reached by IPv6"),
        ("192.168.1.5/24", "fe80::1", "reached by IPv6"),
        ("192.168.1.5/32", "192.168.1.5", "the machine itself"),
        ("192.168.1.5/24", "127.0.0.1", "loopback"),
        ("192.168.1.5/24", "224.0.0.1", "multicast"),
        ("192.168.1.5/24", "0.0.0.0", "no address at all"),
        ("fd00:1::5/64", "fd00:2::1", "write the address as \"fd00:1::5/128\""),
        ("fd00:1::5/64", "192.168.1.1", "reached by IPv4"),
        // A second address that stands alone says nothing of the gateway.
        ("192.168.1.5/24\", \"10.0.0.7/32", "192.168.2.1", "192.168.1.0/24"),
    ];
    for (addresses, outside, words) in cases {
        let network = format!(
            "[network.bridges.br0]\nnic = \"enp5s0\"\naddresses = [\"{addresses}\"]\ngateway = \"{outside}\""
        );
        refused(&[(&network, gateway, words)]);
    }
    accepted(&[
        // Two uplinks: the second counts when the first is gone.
        "[network.bridges.br0]\naddresses = [\"192.168.1.5/24\"]\ngateway = \"192.168.1.1\"\n\
         [network.bridges.br1]\naddresses = [\"192.168.2.5/24\"]\ngateway = \"192.168.2.1\"",
        // The lease brings the network of the router.
        "[network.bridges.br0]\nnic = \"enp5s0\"\ndhcp = true\naddresses = [\"10.0.0.5/24\"]\n\
         gateway = \"192.168.1.1\"",
    ]);
}

#[test]
fn t58_a_gateway_outside_is_on_the_wire_where_the_address_stands_alone() {
    let cases = [
        ("192.168.1.5/24", "192.168.1.1", false),
        ("203.0.113.5/32", "203.0.113.1", true),
        ("203.0.113.5/32", "172.31.1.1", true),
        ("203.0.113.5/32\", \"10.0.0.5/24", "10.0.0.1", false),
        ("2001:db8::5/128", "2001:db8:ff::1", true),
        ("2001:db8::5/64", "fe80::1", false),
        ("2001:db8::5/128", "fe80::1", false),
        ("203.0.113.5/32\", \"2001:db8::5/64", "203.0.113.1", true),
        ("10.0.0.0/31", "10.0.0.1", false),
        ("169.254.1.1/16", "169.254.0.1", false),
    ];
    for (addresses, gateway, on_link) in cases {
        let lines =
            format!("nic = \"enp5s0\"\naddresses = [\"{addresses}\"]\ngateway = \"{gateway}\"");
        let host = with_bridge(&lines).unwrap_or_else(|problems| panic!("{lines}: {problems}"));
        assert_eq!(host.network.bridges["br0"].gateway_is_on_link(), on_link, "{lines}");
    }
}

#[test]
fn t58_an_address_stands_once_and_a_network_on_one_bridge() {
    let uplink = "[network.bridges.br0]\nnic = \"enp5s0\"\naddresses = [\"192.168.1.5/24\"]\n";
    let second = |lines: &str| format!("{uplink}[network.bridges.br1]\n{lines}");
    let first_address = "network.bridges.br1.addresses[0]";
    refused(&[
        (
            "[network.bridges.br0]\naddresses = [\"192.168.1.5/24\", \"192.168.1.5/24\"]",
            "network.bridges.br0.addresses[1]",
            "`network.bridges.br0.addresses[0]` already",
        ),
        (
            "[network.bridges.br0]\naddresses = [\"fd00::5/64\", \"fd00:0:0::5/64\"]",
            "network.bridges.br0.addresses[1]",
            "already",
        ),
        (&second("addresses = [\"192.168.1.6/24\"]"), first_address, "a network of its own"),
        (&second("addresses = [\"192.168.1.130/25\"]"), first_address, "192.168.1.0/24"),
        (
            "[network.bridges.a]\nnat = true\naddresses = [\"10.9.0.1/24\"]\n\
             [network.bridges.b]\naddresses = [\"10.9.0.2/24\"]",
            "network.bridges.a.addresses[0]",
            "write `addresses = [\"10.9.0.1/24\"]`, or another",
        ),
        (
            "[network]\nlan_cidr = \"10.9.0.0/20\"\n\
             [network.bridges.a]\nnat = true\naddresses = [\"10.9.0.1/24\"]",
            "network.bridges.a.addresses[0]",
            "that of the LAN, 10.9.0.0/20",
        ),
    ]);
    // The LAN and the bridge in it both have the network of the guests, which is one mistake.
    refused(&[(
        &second("nat = true\naddresses = [\"192.168.1.1/24\"]"),
        first_address,
        "or another network",
    )]);
    accepted(&[
        &second("addresses = [\"192.168.2.1/24\"]"),
        &second("addresses = [\"192.168.2.1/16\"]"),
        "[network]\nlan_cidr = \"10.0.0.0/8\"\n\
         [network.bridges.a]\nnat = true\naddresses = [\"10.9.0.1/24\"]",
        &second("nat = true\naddresses = [\"10.9.0.1/24\"]"),
        &second("addresses = [\"10.9.0.1/24\", \"10.9.0.2/24\"]"),
        "[network.bridges.a]\naddresses = [\"fe80::1/64\"]\n\
         [network.bridges.b]\naddresses = [\"fe80::1/64\"]",
        "[network.bridges.a]\naddresses = [\"203.0.113.5/32\"]\n\
         [network.bridges.b]\naddresses = [\"203.0.113.9/29\"]",
    ]);
}

#[test]
fn t58_a_name_that_every_machine_has_is_no_name_for_a_host() {
    let names = ["localhost", "localhost.localdomain", "ip6-localhost", "box.localhost"];
    // Distributions have these for everyone on the link.
    for name in names.into_iter().chain(["ip6-allnodes", "ip6-allrouters", "broadcasthost"]) {
        let text = MINIMAL.replace("\"box\"", &format!("\"{name}\""));
        let told = parse(&text, "host.toml").unwrap_err().to_string();
        assert!(told.contains("every machine's name for itself"), "{told}");
    }
    for name in ["localhost-1", "mylocalhost", "42"] {
        assert!(parse(&MINIMAL.replace("\"box\"", &format!("\"{name}\"")), "host.toml").is_ok());
    }
}

#[test]
fn t58_a_file_beside_the_time_zones_is_none() {
    let zoned = |zone: &str| {
        parse(
            &MINIMAL.replace("\"embedded\"", &format!("\"embedded\"\ntimezone = \"{zone}\"")),
            "host.toml",
        )
    };
    for zone in ["leapseconds", "posixrules", "localtime", "tzdata.zi", "zone.tab", "Factory"] {
        let told = zoned(zone).unwrap_err().to_string();
        assert!(told.contains("not a time zone"), "{zone}: {told}");
    }
    // Directories of zones, which a workstation without zones cannot look into.
    for zone in ["Europe", "America", "America/Argentina", "Etc", "posix", "right", "US"] {
        let told = zoned(zone).unwrap_err().to_string();
        assert!(told.contains("not a time zone"), "{zone}: {told}");
    }
    let told = zoned("right/Europe/Zurich").unwrap_err().to_string();
    assert!(told.contains("leap seconds") && told.contains("write \"Europe/Zurich\""), "{told}");
    for zone in
        ["UTC", "Etc/GMT+1", "America/Argentina/Buenos_Aires", "EST5EDT", "GB-Eire", "posix/UTC"]
    {
        assert!(zoned(zone).is_ok(), "{zone}");
    }
}

fn nic(name: &str, mac: &str) -> NicFacts {
    NicFacts {
        name: name.into(),
        mac: mac.into(),
        driver: Some("igc".into()),
        modules: Vec::new(),
        link: true,
        kind: Some("ethernet".into()),
        other_names: Vec::new(),
    }
}

/// The refusals of the profile with this bridge on a machine with these NICs; none when it is planned.
fn refusals(bridge: &str, nics: &[NicFacts]) -> String {
    let rest = PROFILE.split("[network.bridges").next().unwrap();
    let text = format!("{rest}[network.bridges.br0]\n{bridge}\n");
    let host = parse(&text, "host.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let mut facts: Facts = serde_json::from_str(INVENTORY).unwrap();
    facts.nics = nics.to_vec();
    plan(&host, &facts).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn t58_a_nic_that_is_not_there_is_refused_with_those_that_are() {
    let there = [nic("enp6s0", "04:42:1a:01:02:03"), nic("eno1", "04:42:1a:01:02:04")];
    let told = refusals("nic = \"enp5s0\"", &there);
    assert!(told.contains("there is no NIC `enp5s0`"), "{told}");
    assert!(
        told.contains("eno1 (04:42:1a:01:02:04, igc, link), enp6s0 (04:42:1a:01:02:03, igc, link)"),
        "{told}"
    );
    let told = refusals("nic = { mac = \"04:42:1a:01:02:05\" }", &there);
    assert!(told.contains("no NIC with the MAC 04:42:1a:01:02:05"), "{told}");
    let by_name_and_mac =
        "nic = \"eno1\"\n[network.bridges.br1]\nnic = { mac = \"04:42:1A:01:02:04\" }";
    let told = refusals(by_name_and_mac, &there);
    assert!(told.contains("`network.bridges.br0` has `eno1` already"), "{told}");
    let told = refusals("nic = \"eno1\"\n[network.bridges.enp6s0]", &there);
    assert!(told.contains("a NIC of the machine has this name"), "{told}");
    // Right neighbours, and an inventory that says nothing.
    assert_eq!(refusals("nic = \"eno1\"", &there), "");
    assert_eq!(refusals("nic = { mac = \"04:42:1A:01:02:04\" }", &there), "");
    let renamed = NicFacts { other_names: vec!["enp5s0".into()], ..there[0].clone() };
    assert_eq!(refusals("nic = \"enp5s0\"", &[renamed]), "");
    let unplugged = NicFacts { link: false, ..there[1].clone() };
    assert_eq!(refusals("nic = \"eno1\"", &[unplugged]), "");
    assert_eq!(refusals("nic = \"enp5s0\"", &[]), "");
    assert_eq!(refusals("dhcp = false", &there), "");
}

#[test]
fn t58_two_nics_with_one_mac_are_told_apart_by_name_only() {
    let there = [nic("enp5s0", "04:42:1a:01:02:03"), nic("enp6s0", "04:42:1a:01:02:03")];
    let told = refusals("nic = { mac = \"04:42:1a:01:02:03\" }", &there);
    assert!(told.contains("2 NICs have the MAC") && told.contains("enp6s0 ("), "{told}");
    assert_eq!(refusals("nic = \"enp5s0\"", &there), "");
}

#[test]
fn t58_only_ethernet_can_be_a_port_of_a_bridge() {
    let of = |name: &str, kind: Option<&str>| NicFacts {
        kind: kind.map(str::to_owned),
        ..nic(name, "04:42:1a:01:02:03")
    };
    let by_mac = "nic = { mac = \"04:42:1a:01:02:03\" }";
    for (name, kind, words) in [
        ("radio0", Some("wireless"), "Wi-Fi"),
        ("wlp3s0", None, "Wi-Fi"),
        ("wwan0", Some("mobile"), "no Ethernet but mobile"),
        ("ib0", Some("infiniband"), "no Ethernet"),
        ("odd0", Some("\u{1b}[2J"), "\\u{1b}[2J"),
    ] {
        let told = refusals(by_mac, &[of(name, kind)]);
        assert!(told.contains(words) && !told.contains('\u{1b}'), "{told}");
    }
    for (name, kind) in [("enp5s0", Some("ethernet")), ("enp5s0", None), ("wl0", Some("ethernet"))]
    {
        assert_eq!(refusals(by_mac, &[of(name, kind)]), "");
    }
}

#[test]
fn t18_t59_names_of_nics_are_escaped_and_not_all_of_many_are_told() {
    let odd = NicFacts { driver: Some("\u{1b}[31m".into()), ..nic("a\nb", "\u{202e}") };
    let told = refusals("nic = \"enp5s0\"", &[odd]);
    assert!(told.contains("a\\nb (\\u{202e}, \\u{1b}[31m, link)"), "{told}");
    let many: Vec<NicFacts> =
        (0..300).map(|at| nic(&format!("eth{at}"), "02:00:00:00:00:01")).collect();
    let told = refusals("nic = \"enp5s0\"", &many);
    assert!(told.contains("and 280 more") && told.len() < 2000, "{told}");
}

#[test]
fn t58_a_guest_has_not_the_address_of_the_machine_s_own_nic() {
    let there = [nic("enp5s0", "04:42:1A:01:02:03"), nic("eno1", "04:42:1a:01:02:04")];
    let pool = PROFILE.split("[pools.").nth(1).unwrap().split(']').next().unwrap();
    let guest = |bridge: &str, mac: &str| {
        let zeros = "0".repeat(64);
        format!(
            "{bridge}\n[vms.one]\npool = \"{pool}\"\nbridge = \"br0\"\nmac_address = \"{mac}\"\n\
             disk_image = {{ url = \"https://example.org/x\", sha256 = \"{zeros}\" }}"
        )
    };
    let told = refusals(&guest("nic = \"enp5s0\"", "04:42:1A:01:02:03"), &there);
    assert!(told.contains("`vms.one.mac_address`: `enp5s0` of the machine has it"), "{told}");
    assert_eq!(refusals(&guest("nic = \"enp5s0\"", "52:54:00:01:02:03"), &there), "");
    // A card that is on no bridge meets no guest.
    assert_eq!(refusals(&guest("nic = \"enp5s0\"", "04:42:1a:01:02:04"), &there), "");
}

#[test]
fn t58_what_software_makes_is_told_apart_from_a_nic_in_another_slot() {
    let there = [nic("enp5s0", "04:42:1a:01:02:03")];
    for name in ["bond0", "team1", "br1", "virbr0", "tun0", "tap3", "veth0", "vnet2", "wg0"] {
        let told = refusals(&format!("nic = \"{name}\""), &there);
        assert!(told.contains("made by software") && !told.contains("slot"), "{told}");
    }
    for name in ["enp6s0", "brick0", "br", "bondage", "usb0"] {
        let told = refusals(&format!("nic = \"{name}\""), &there);
        assert!(told.contains("another slot"), "{told}");
    }
}

#[test]
fn t58_a_vlan_is_told_with_a_number_that_a_guest_can_have() {
    for (name, words) in [
        ("enp5s0.0", "`vlan = …`"),
        ("enp5s0.4095", "`vlan = …`"),
        ("enp5s0.4094", "`vlan = 4094`"),
        ("enp5s0.20.30", "nic = \"enp5s0\"` and"),
        ("vlan.5", "nic = \"enp5s0\"` and"),
    ] {
        let network = format!("[network.bridges.br0]\nnic = \"{name}\"");
        refused(&[(&network, "network.bridges.br0.nic", words)]);
    }
}

#[test]
fn t58_a_prefix_is_no_octal_number_and_no_network_is_half_the_world() {
    let address = "network.bridges.br0.addresses[0]";
    for (text, words) in [
        ("192.168.1.5/024", "not an address with prefix"),
        ("fd00::5/064", "not an address with prefix"),
        ("192.168.1.5/2", "a great part of all addresses"),
        ("fd00::5/6", "a great part of all addresses"),
        ("::192.168.1.5/96", "written as IPv6"),
    ] {
        refused(&[(&format!("[network.bridges.br0]\naddresses = [\"{text}\"]"), address, words)]);
    }
    for (lan, words) in [
        ("0.0.0.0/1", "a great part of everyone"),
        ("10.0.0.0/7", "a great part of everyone"),
        ("2000::/3", "a great part of everyone"),
    ] {
        refused(&[(&format!("[network]\nlan_cidr = \"{lan}\""), "network.lan_cidr", words)]);
    }
    accepted(&[
        "[network]\nlan_cidr = \"10.0.0.0/8\"",
        "[network]\nlan_cidr = \"fc00::/7\"",
        "[network.bridges.br0]\naddresses = [\"10.0.0.5/8\", \"fd00::5/8\"]",
    ]);
}

#[test]
fn t58_a_name_server_is_no_network_and_no_broadcast() {
    let server = "network.bridges.br0.dns[1]";
    let bridge = |dns: &str| {
        format!(
            "[network.bridges.br0]\naddresses = [\"192.168.1.5/24\"]\ndns = [\"1.1.1.1\", \"{dns}\"]"
        )
    };
    refused(&[
        (&bridge("192.168.1.255"), server, "first or last"),
        (&bridge("192.168.1.0"), server, "first or last"),
        (&bridge("::1.1.1.1"), server, "written as IPv6"),
        (&bridge("fe80::1%br0"), server, "write only `fe80::1`"),
    ]);
    // Where one is wrong, nothing is said of the place of another.
    let two = bridge("1.1.1.1.1\", \"192.168.1.255");
    refused(&[(&two, server, "not an IP address")]);
    accepted(&[&bridge("192.168.2.255"), &bridge("127.0.0.1"), &bridge("fe80::1")]);
}

#[test]
fn t58_no_other_network_lies_in_that_of_guests_behind_the_host() {
    let guests =
        |address: &str| format!("[network.bridges.a]\nnat = true\naddresses = [\"{address}\"]\n");
    let second = |lines: &str| format!("{}[network.bridges.b]\n{lines}", guests("10.0.0.1/8"));
    let first_address = "network.bridges.a.addresses[0]";
    refused(&[
        (&guests("192.168.0.1/16"), first_address, "that of the LAN, 192.168.1.0/24"),
        (&second("addresses = [\"10.1.1.5/24\"]"), first_address, "10.1.1.0/24"),
        (
            &second("nat = true\naddresses = [\"10.1.1.5/24\"]"),
            "network.bridges.b.addresses[0]",
            "10.0.0.0/8",
        ),
    ]);
    accepted(&[
        &second("addresses = [\"192.168.2.5/24\"]"),
        &format!("[network]\nlan_cidr = \"10.0.0.0/8\"\n{}", guests("10.9.0.1/24")),
    ]);
}
