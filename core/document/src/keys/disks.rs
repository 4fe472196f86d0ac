//! Disks, and what stands on the one of the OS.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key, words};
use crate::rules;
use bedplate_model::host::{Media, Wipe};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

pub(crate) const MEDIA: [(&str, Media); 2] = [("ssd", Media::Ssd), ("hdd", Media::Hdd)];
pub(crate) const WIPES: [(&str, Wipe); 4] = [("blank", Wipe::Blank), ("ours", Wipe::Ours), ("any", Wipe::Any), ("never", Wipe::Never)];

pub(super) const DISK: Block = block("disks.<role>", &[
    key("id", Text(rules::by_id), Required, Plan, "\"nvme-Samsung_SSD_970_EVO_500GB_S466NX0M701234A\"", "A name under `/dev/disk/by-id`, of a whole disk."),
    key("expect_serial", Text(rules::serial), Derived("any"), Plan, "\"S466NX0M701234A\"", "The serial the disk must report."),
    key("expect_size", Size(MIB, u64::MAX), Derived("any"), Plan, "\"500GB\"", "The size the disk must have: whole GB or GiB allow 1 %, other sizes are exact."),
    key("media", Choice(&words(MEDIA)), Derived("`ssd` when the id starts with `nvme-`, else `hdd`"), Stage1, "\"ssd\"", "`ssd` passes discards through LUKS, `hdd` does not."),
    key("wipe", Choice(&words(WIPES)), Default(Value::Text("blank")), Plan, "\"blank\"", "What may be destroyed: `blank` nothing, `ours` an unfinished installation of the same plan, `any` everything, `never` nothing, the pool is kept with its data."),
]);

pub(super) const OS: Block = block("os", &[
    key("disk", Text(rules::role), Default(Value::Text("os")), Stage1, "\"os\"", "Role of the OS disk."),
    key("esp_size", Size(64 * MIB, 32 * GIB), Default(Value::Size(GIB)), Plan, "\"1GiB\"", "Size of the EFI system partition."),
    key("esp_mirror", Text(rules::role), Derived("none"), Toplevel, "\"vm1\"", "Role of a second disk with a copy of the EFI system partition: a pool's member or a disk of its own."),
    key("subvolumes", TextMap(rules::role, rules::mount_point), Default(Value::Table(&[("root", Value::Text("/")), ("home", Value::Text("/home")), ("nix", Value::Text("/nix"))])), Stage1, "{ root = \"/\", home = \"/home\", nix = \"/nix\" }", "btrfs subvolume to mount point; must hold `/` and `/nix`."),
]);
