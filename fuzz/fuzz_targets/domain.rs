//! The definition of a guest as libvirt has it: whoever edits one may write anything into it.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use bedplate_guests::vm::model::{Model, paths};
use bedplate_guests::vm::{compare, inspect};
use bedplate_import::libvirt::{self, Source};
use bedplate_import::Base;
use libfuzzer_sys::fuzz_target;

static WANTED: LazyLock<Option<Model>> =
    LazyLock::new(|| Model::parse(include_str!("../../machine/guests/src/vm/recorded/uefi.xml")).ok());

fuzz_target!(|text: &str| {
    drop(libvirt::import(&[Source { name: None, xml: text, autostart: None }], Base::Fresh));
    let _ = inspect::intent(text);
    let model = Model::parse(text);
    // What has no model has no paths that anything could be done with.
    assert!(model.is_err() || paths(text).is_ok());
    let (Ok(held), Some(wanted)) = (model, WANTED.as_ref()) else { return };
    assert!(compare::changes(&held, &held).is_empty());
    drop(compare::changes(&held, wanted).lines());
    drop(compare::changes(wanted, &held).lines());
    let _ = compare::kept_machine(&held);
    drop(compare::unknown_files([&held].into_iter(), Path::new("/srv/fast/vms/router/disk.qcow2")));
});
