//! Bridges of every shape in one machine at once: a second uplink, guests behind NAT, VLANs, one that
//! leads nowhere; and an uplink that becomes static, proven while it changes. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use bedplate_qemu_harness::machine::{FIRST_LEASE, HOST_ADDRESS, Lan};
use bedplate_tests::answers::{self, GUEST};
use bedplate_tests::installed;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed::MAC;
use bedplate_tests::story::Story;
use toml_edit::{DocumentMut, value};

/// The machine's second NIC.
const SECOND_MAC: &str = "52:54:00:0b:ed:02";
/// The network it is in, and who answers there.
const SECOND_LAN: (&str, &str) = ("10.0.3.0/24", "10.0.3.2");
/// Where the machine is told of its bridges.
const DOCUMENT: &str = "/root/bridges.toml";
/// How the addresses of guests behind NAT begin.
const BEHIND_NAT: &str = "10.9.0.";

const BRIDGES: &str = r#"
[network.bridges.br-storage]
nic = { mac = "52:54:00:0b:ed:02" }
addresses = ["10.0.3.20/24"]

[network.bridges.br-nat]
nat = true
addresses = ["10.9.0.1/24"]

[network.bridges.br-vlan]
vlan_aware = true

[network.bridges.br-test]
"#;

/// The machine's document with all bridges, and the guest behind NAT.
fn with_bridges(story: &Story) -> DocumentMut {
    let text = format!("{}\n{BRIDGES}", story.document().unwrap());
    let mut document: DocumentMut = text.parse().unwrap();
    document["vms"][GUEST]["bridge"] = value("br-nat");
    answers::parse(&document.to_string()).unwrap();
    document
}

/// The uplink has the address that it had as a lease, and keeps VLANs apart; so does the guest's
/// bridge.
fn with_static_uplink(mut document: DocumentMut) -> DocumentMut {
    let uplink = format!(
        "nic = {{ mac = \"{MAC}\" }}\naddresses = [\"{FIRST_LEASE}/24\"]\n\
         gateway = \"{HOST_ADDRESS}\"\ndns = [\"192.168.1.3\"]\nvlan_aware = true\n"
    );
    let uplink: DocumentMut = uplink.parse().unwrap();
    document["network"]["bridges"]["br0"] = uplink.as_item().clone();
    document["vms"][GUEST]["bridge"] = value("br-vlan");
    document["vms"][GUEST]["vlan"] = value(20);
    answers::parse(&document.to_string()).unwrap();
    document
}

/// Has the machine do as the document says, makes sure that nothing is left to do, and starts the
/// guest anew.
fn converge(host: &Host, document: &DocumentMut, unit: &str) {
    // Emulated within emulation, it would take minutes to go down by itself.
    host.run(&["virsh", "--quiet", "destroy", GUEST]).unwrap();
    host.write(DOCUMENT, &document.to_string()).unwrap();
    host.converge_apart(DOCUMENT, unit).unwrap();
    host.bedplate(DOCUMENT, &["status"]).unwrap();
    let plan = host.bedplate(DOCUMENT, &["plan"]).unwrap();
    assert!(plan.contains("nothing to do"), "{plan}");
    host.read(&["virsh", "--quiet", "start", GUEST]).unwrap();
}

/// What a line of a shell says, without the end of its last line.
fn told(host: &Host, line: &str) -> String {
    host.shell(line).unwrap().trim().to_owned()
}

/// The guest is given an address by dnsmasq, and reaches the LAN under the host's.
fn a_guest_reaches_the_lan_through_nat(host: &Host, story: &Story) {
    let wanted = format!("/guest/up?ip={BEHIND_NAT}");
    host.wait_for_guest(story, GUEST, |target| target.starts_with(&wanted)).unwrap();
}

fn the_second_uplink_leads_outside(host: &Host) {
    let (_, gateway) = SECOND_LAN;
    let address = told(host, "ip -4 -brief address show br-storage");
    assert!(address.contains("10.0.3.20/24"), "{address}");
    host.read(&["busybox", "ping", "-c", "1", "-W", "10", gateway]).unwrap();
}

fn the_isolated_bridge_has_neither_ports_nor_addresses(host: &Host) {
    assert_eq!(told(host, "ls /sys/class/net/br-test/brif"), "");
    let links: serde_json::Value =
        serde_json::from_str(&told(host, "ip -json address show br-test")).unwrap();
    assert_eq!(links[0]["addr_info"], serde_json::json!([]), "{links}");
}

/// Three stand on the bridge, two of them in one VLAN: those reach each other and no other.
fn vlans_are_kept_apart(host: &Host) {
    let join = "set -e; for one in a:20:1 b:20:2 c:30:3; do \
        IFS=: read -r name vlan number <<EOF\n$one\nEOF\n\
        ip netns add $name; \
        ip link add port-$name type veth peer name eth0 netns $name; \
        ip link set port-$name master br-vlan up; \
        bridge vlan del dev port-$name vid 1; \
        bridge vlan add dev port-$name vid $vlan pvid untagged; \
        ip -n $name address add 10.20.0.$number/24 dev eth0; \
        ip -n $name link set eth0 up; done";
    host.shell(join).unwrap();
    let reaches = |to: &str| {
        let ping = ["busybox", "ping", "-c", "1", "-W", "10", to];
        let ping = host.run(&[&["ip", "netns", "exec", "a"], &ping[..]].concat()).unwrap();
        ping.status == 0
    };
    assert!(reaches("10.20.0.2"));
    assert!(!reaches("10.20.0.3"));
    host.shell("for name in a b c; do ip netns delete $name; done").unwrap();
}

/// The port that libvirt made for the guest is in its VLAN alone.
fn the_guest_is_in_its_vlan(host: &Host) {
    let port = told(host, "ls /sys/class/net/br-vlan/brif");
    assert!(port.starts_with("vnet") && port.lines().count() == 1, "{port}");
    let vlans: serde_json::Value =
        serde_json::from_str(&told(host, &format!("bridge -json vlan show dev {port}"))).unwrap();
    let all = vlans[0]["vlans"].as_array().unwrap();
    assert!(all.len() == 1 && all[0]["vlan"] == 20, "{vlans}");
}

fn the_uplink_is_static_and_carries_every_vlan(host: &Host) {
    let links: serde_json::Value =
        serde_json::from_str(&told(host, "ip -4 -json address show br0")).unwrap();
    let own = links[0]["addr_info"].as_array().unwrap();
    assert!(own.len() == 1 && own[0]["local"] == FIRST_LEASE, "{links}");
    assert!(own[0]["dynamic"].is_null(), "still a lease: {links}");
    assert!(told(host, "ip -4 route show default").contains(HOST_ADDRESS));
    assert_eq!(told(host, "cat /sys/class/net/br0/bridge/vlan_filtering"), "1");
    let nic = told(host, &format!("grep -l {MAC} /sys/class/net/*/address | cut -d / -f 5"));
    let nic = nic.lines().find(|name| *name != "br0").unwrap().to_owned();
    let vlans = told(host, &format!("bridge vlan show dev {nic}"));
    assert!(vlans.contains("4094"), "{vlans}");
}

#[test]
fn bridges_of_every_shape_stand_beside_each_other_come_and_go() {
    let (_directory, _, story) = installed::lent("bridges").unwrap();
    let mut machine = story.machine(story.disks());
    let (cidr, _) = SECOND_LAN;
    let (cidr, mac) = (cidr.to_owned(), SECOND_MAC.to_owned());
    machine.networks.push(Lan { cidr, mac, forwards: Vec::new() });
    let host = story.boot_machine(&machine).unwrap();
    assert_eq!(host.settle().unwrap(), "running");

    let document = with_bridges(&story);
    converge(&host, &document, "bridges.service");
    the_second_uplink_leads_outside(&host);
    the_isolated_bridge_has_neither_ports_nor_addresses(&host);
    vlans_are_kept_apart(&host);
    a_guest_reaches_the_lan_through_nat(&host, &story);

    converge(&host, &with_static_uplink(document), "static.service");
    the_uplink_is_static_and_carries_every_vlan(&host);
    the_guest_is_in_its_vlan(&host);

    // As it was installed: what is no longer declared is gone, and the uplink has its lease again.
    converge(&host, &story.document().unwrap(), "withdrawn.service");
    assert_eq!(told(&host, "ls -d /sys/class/net/br*"), "/sys/class/net/br0");
    assert_eq!(told(&host, "systemctl list-units --plain --no-legend 'bedplate-leases-*'"), "");
    assert_eq!(told(&host, "cat /sys/class/net/br0/bridge/vlan_filtering"), "0");
    host.power_off().unwrap();
}
