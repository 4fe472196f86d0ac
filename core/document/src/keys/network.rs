//! Bridges and the LAN.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key};
use crate::{network, rules};

pub(super) const NETWORK: Block = block("network", &[
    key("lan_cidr", Text(network::client), Default(Value::Text("192.168.1.0/24")), Exports, "\"192.168.1.0/24\"", "The LAN; the clients of exports that name none."),
    key("bridges", Named(network::bridge_name, &BRIDGE), Derived("none"), Inside, "", "Bridges by name."),
]);

pub(super) const BRIDGE: Block = block("network.bridges.<name>", &[
    key("nic", TextOrTable(&Text(network::nic_name), &NIC), Derived("none: an isolated bridge"), Toplevel, "\"enp5s0\"", "The physical NIC, by name or as `{ mac = \"…\" }`."),
    key("dhcp", Boolean, Derived("true with a nic and no addresses"), Toplevel, "true", "Whether the bridge asks for a lease."),
    key("addresses", Texts(network::own_address), Derived("none"), Toplevel, "[\"192.168.1.5/24\"]", "Static addresses with prefix."),
    key("gateway", Text(network::gateway), Derived("none"), Toplevel, "\"192.168.1.1\"", "Default gateway of static addresses, in the network of one. Outside only where the first address is a `/32` (IPv6: `/128`)."),
    key("dns", Texts(network::name_server), Derived("none"), Toplevel, "[\"192.168.1.1\"]", "Name servers of static addresses."),
    key("vlan_aware", Boolean, Default(Value::Boolean(false)), Toplevel, "true", "Whether the bridge keeps VLANs apart; untagged frames are in VLAN 1."),
    key("nat", Boolean, Default(Value::Boolean(false)), Toplevel, "true", "Whether guests on a bridge without `nic` get leases from dnsmasq and reach the LAN under the host's address. Wants one IPv4 address."),
]);

pub(super) const NIC: Block = block("network.bridges.<name>.nic", &[
    key("mac", Text(rules::mac), Required, Toplevel, "\"04:42:1a:01:02:03\"", "MAC address of the NIC."),
]);
