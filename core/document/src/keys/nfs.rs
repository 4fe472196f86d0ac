//! Directories exported over NFS.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key};
use crate::{network, rules};

pub(super) const NFS: Block = block("nfs", &[
    key("v3", Boolean, Default(Value::Boolean(false)), Toplevel, "true", "Whether clients may speak NFS 3 too, which needs more ports."),
    key("exports", Tables(&EXPORT), Derived("none"), Inside, "", "Exported directories."),
]);

pub(super) const EXPORT: Block = block("nfs.exports[]", &[
    key("path", Text(rules::absolute_path), Required, Exports, "\"/mnt/bulk/apps-vm\"", "Directory inside the mount of a pool."),
    key("clients", Texts(network::client), Derived("network.lan_cidr"), Exports, "[\"192.168.1.0/24\"]", "Networks that may mount it; never everyone."),
    key("options", Texts(rules::export_option), Default(Value::Texts(&["rw", "sync", "no_subtree_check"])), Exports, "[\"rw\", \"no_subtree_check\"]", "Options of exports(5)."),
]);
