//! Who the machine is.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key, words};
use crate::rules;
use bedplate_model::host::Platform;

pub(crate) const PLATFORMS: [(&str, Platform); 2] = [("nixos", Platform::Nixos), ("embedded", Platform::Embedded)];

pub(super) const HOST: Block = block("host", &[
    key("id", Text(rules::uuid_v4), Required, Stage1, "\"3f0c7a52-5d0e-4b8e-9d5e-6b1f0c9a7d21\"", "UUIDv4, written once; every derived identity comes from it."),
    key("name", Text(rules::host_name), Required, Toplevel, "\"hypervisor\"", "Host name, an RFC 1123 label in lower case."),
    key("platform", Choice(&words(PLATFORMS)), Required, Plan, "\"embedded\"", "What builds the system: NixOS from nixpkgs, or Bedplate from its own Debian tree."),
    key("state_version", Text(rules::state_version), Required, Toplevel, "\"26.05\"", "NixOS `system.stateVersion`."),
    key("timezone", Text(rules::timezone), Default(Value::Text("UTC")), Toplevel, "\"Europe/Brussels\"", "IANA time zone."),
    key("locale", Text(rules::locale), Default(Value::Text("C.UTF-8")), Toplevel, "\"en_US.UTF-8\"", "Locale; UTF-8 only."),
    key("users", Named(rules::user, &USER), Derived("none"), Inside, "", "Accounts to make, by name. `root` may stand here for its ssh keys."),
]);

pub(super) const USER: Block = block("host.users.<name>", &[
    key("ssh_keys", Texts(rules::ssh_key), Derived("none"), Toplevel, "[\"ssh-ed25519 AAAA… me@laptop\"]", "Authorised OpenSSH public keys."),
    key("groups", Texts(rules::user), Derived("none"), Accounts, "[\"sudo\", \"libvirt\"]", "Supplementary groups. One that is left out later is taken back; one given by hand stays."),
]);
