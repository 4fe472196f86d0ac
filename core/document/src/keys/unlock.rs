//! How volumes are opened at boot.

use super::{Absent::*, Block, Form::*, Place::*, Value, block, key, words};
use crate::rules;
use bedplate_model::host::Derivation;

pub(crate) const DERIVATIONS: [(&str, Derivation); 2] = [("measured", Derivation::Measured), ("minimal", Derivation::Minimal)];

pub(super) const UNLOCK: Block = block("unlock", &[
    key("timeout_seconds", Integer(1, 3600), Default(Value::Integer(30)), Stage1, "30", "How long boot waits for a key stick before it asks."),
    key("keyfile", Text(rules::relative_path), Default(Value::Text("bedplate/keyfile")), Stage1, "\"bedplate/keyfile\"", "Path of the keyfile on the stick."),
    key("recovery", TextOrTable(&Choice(&["prompt"]), &RECOVERY), Default(Value::Table(&[("stick", Value::Text("bedplate/recovery"))])), Plan, "{ stick = \"bedplate/recovery\" }", "Where the recovery passphrase is kept: a file on the first stick, or `\"prompt\"`."),
    key("derivation", Choice(&words(DERIVATIONS)), Default(Value::Text("measured")), Installer, "\"measured\"", "What a guess at the recovery passphrase costs: `measured`, about a second of this machine, or `minimal`, the least that LUKS2 accepts. The least is enough for a generated passphrase and makes tests quick; any other passphrase is measured all the same."),
    key("sticks", Tables(&STICK), Required, Inside, "[{ volume_id = \"1A2B-3C4D\" }]", "Key sticks, one at least."),
]);

pub(super) const RECOVERY: Block = block("unlock.recovery", &[
    key("stick", Text(rules::relative_path), Required, Plan, "\"bedplate/recovery\"", "Path on the first stick; generated at install when absent."),
]);

pub(super) const STICK: Block = block("unlock.sticks[]", &[
    key("volume_id", Text(rules::volume_id), Required, Stage1, "\"1A2B-3C4D\"", "VFAT volume id."),
    key("id", Text(rules::by_id), Derived("none"), Plan, "\"usb-SanDisk_Ultra_Fit_4C530001230101123456-0:0\"", "A name under `/dev/disk/by-id`; only with it may the installer format the stick."),
]);
