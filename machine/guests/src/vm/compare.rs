//! What the definition that libvirt holds has, and the one that is wanted has not.
//!
//! The hash in a definition says what `host.toml` wanted when it was made. What was changed since, with
//! `virsh edit` or `virt-manager`, only the definition itself can say.

use std::path::{Path, PathBuf};

use bedplate_events::shown::shown;
use bedplate_model::host::Firmware;

use super::model::{Disk, Model, Source, Usb};
use super::observe::{DomainFound, Layer};

/// All machines that Bedplate makes are of this family; a version of it stays with its guest.
const FAMILY: &str = "pc-q35-";

/// More changes are not told one by one.
const MOST: usize = 30;

/// What a definition would change in the one that libvirt holds, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// What it takes away: a disk, a network card, a setting.
    pub lost: Vec<String>,
    /// What gets another value, and what is new.
    pub other: Vec<String>,
}

impl Changes {
    /// Whether the two are the same.
    pub fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.other.is_empty()
    }

    /// All of them, what is lost first.
    pub fn lines(self) -> Vec<String> {
        let lost = self.lost.iter().map(|what| format!("takes away {}", shown(what)));
        let mut lines: Vec<_> = lost.chain(self.other.iter().map(|what| shown(what))).collect();
        let more = lines.len().saturating_sub(MOST);
        if more > 0 {
            lines.truncate(MOST);
            lines.push(format!("and {more} more"));
        }
        lines
    }
}

/// Compares what libvirt holds with what is wanted.
pub fn changes(held: &Model, wanted: &Model) -> Changes {
    let mut changes = Changes::default();
    let other = &mut changes.other;
    let mut value = |what: &str, held: String, wanted: String| {
        if held != wanted {
            other.push(format!("{what} {held} becomes {wanted}"));
        }
    };
    let mebibytes = |model: &Model| format!("{} MiB", model.memory / 1024);
    value("memory of", mebibytes(held), mebibytes(wanted));
    value("processors:", held.processors.to_string(), wanted.processors.to_string());
    value("firmware", firmware(held.firmware), firmware(wanted.firmware));
    if kept_machine(held).is_none() {
        value("machine", held.machine.clone(), wanted.machine.clone());
    }
    disks(held, wanted, &mut changes);
    let has = |model: &Model, device: &Usb| model.usb.iter().any(|other| other.is_like(device));
    let lost = held.usb.iter().filter(|device| !has(wanted, device));
    changes.lost.extend(lost.map(ToString::to_string));
    let new = wanted.usb.iter().filter(|device| !has(held, device));
    changes.other.extend(new.map(|device| format!("adds {device}")));
    // What runs guests changes the processor and what QEMU is told with it: nobody chose that.
    let same_kind = held.kind == wanted.kind;
    let follows = |part: &String| part.starts_with("processor ") || part.starts_with("for QEMU: ");
    let is_chosen = |part: &&String| same_kind || !follows(part);
    changes.lost.extend(less(&held.parts, &wanted.parts).filter(is_chosen).cloned());
    let new = less(&wanted.parts, &held.parts).filter(is_chosen);
    changes.other.extend(new.map(|part| format!("adds {part}")));
    changes
}

/// The machine that a guest was first defined with: another one may have other devices at other
/// places, and a guest with a licence or a network by names of devices takes it for another computer.
pub fn kept_machine(held: &Model) -> Option<&str> {
    held.machine.starts_with(FAMILY).then_some(held.machine.as_str())
}

fn firmware(firmware: Firmware) -> String {
    match firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
        Firmware::UefiSecureBoot => "uefi-secure-boot",
    }
    .to_owned()
}

fn disks(held: &Model, wanted: &Model, changes: &mut Changes) {
    for one in &held.disks {
        let Some(same) = same_disk(one, wanted) else {
            // An installer that was taken out of its drive is no loss.
            let is_empty = one.source.is_none() && one.device == "cdrom";
            if !is_empty || !wanted.disks.iter().any(|other| other.device == one.device) {
                changes.lost.push(one.to_string());
            }
            continue;
        };
        if (&one.target, &one.bus) != (&same.target, &same.bus) {
            let (target, bus) = (&one.target, &one.bus);
            let words = format!("{one}: {target} on {bus} becomes {} on {}", same.target, same.bus);
            changes.other.push(words);
        }
        let lost = less(&one.parts, &same.parts).map(|part| format!("{part} of {one}"));
        changes.lost.extend(lost);
    }
    for one in &wanted.disks {
        let is_there = |other: &&Disk| {
            other.source == one.source || other.source.is_none() && other.target == one.target
        };
        if !held.disks.iter().any(|other| is_there(&other)) {
            changes.other.push(format!("adds {one}"));
        }
    }
}

/// The disk with the same content: of several, such as empty drives, the one that is most like it.
fn same_disk<'a>(disk: &Disk, model: &'a Model) -> Option<&'a Disk> {
    let all = model.disks.iter().filter(|other| other.source == disk.source);
    all.max_by_key(|other| {
        (other.target == disk.target, other.bus == disk.bus, other.parts == disk.parts)
    })
}

/// What of `all` is not in `other`, as often as it is not.
fn less<'a>(all: &'a [String], other: &[String]) -> impl Iterator<Item = &'a String> {
    let mut left = other.to_vec();
    all.iter().filter(move |part| match left.iter().position(|one| one == *part) {
        Some(index) => {
            left.swap_remove(index);
            false
        }
        None => true,
    })
}

/// Why a machine must not be defined anew: its disk, as libvirt knows it, is not the one of
/// `host.toml`. A definition with the disk of `host.toml` would put an old one back beneath a newer,
/// and what the guest wrote since would be gone, or mixed with what it writes then.
pub fn other_disk(name: &str, found: &DomainFound, disk: &Path) -> Option<String> {
    if found.is_unread {
        return Some(format!(
            "its definition cannot be read, and nobody knows on which disks the guest wrote last: it is \
             not defined anew and its disk is not touched; see `virsh dumpxml {name}`"
        ));
    }
    let models = [found.live.as_ref(), found.held.as_ref()];
    models.into_iter().flatten().find_map(|model| {
        let others = others(model, disk);
        let layer = |source: &Source| match source {
            Source::File(path) => found.layers.get(path),
            Source::Volume { .. } | Source::Other(_) => None,
        };
        let is_over = |source: &Source| match layer(source) {
            Some(Layer::Based(on)) => on.iter().any(|path| path == disk),
            Some(Layer::Gone) | None => false,
        };
        if let Some((target, source)) = others.iter().find(|(_, source)| is_over(source)) {
            return Some(overlay(name, target, source, disk, found.running.is_some()));
        }
        // The first is the one that boots.
        let (target, source) = others.first()?;
        if layer(source) == Some(&Layer::Gone) {
            return None;
        }
        Some(format!(
            "libvirt has {} of it on {}, and host.toml on {}; it is not defined anew and its disk is not \
             touched, because only one of the two is what the guest wrote last; see which \
             (`virsh domblklist {name}`), and make host.toml name it, or take the other away",
            shown(target),
            shown(&source.to_string()),
            disk.display()
        ))
    })
}

/// The disks of a machine that has not that of `host.toml`; none when it has.
fn others<'a>(model: &'a Model, disk: &Path) -> Vec<(&'a str, &'a Source)> {
    if model.disk_of(disk).is_some() {
        return Vec::new();
    }
    let is_seed = |source: &Source| match source {
        Source::File(path) => path.file_name() == Some(super::seed::FILE.as_ref()),
        Source::Volume { .. } | Source::Other(_) => false,
    };
    let all = model.disks.iter().filter(|one| one.device == "disk");
    let all = all.filter_map(|one| Some((one.target.as_str(), one.source.as_ref()?)));
    all.filter(|(_, source)| !is_seed(source)).collect()
}

fn overlay(name: &str, target: &str, source: &Source, disk: &Path, runs: bool) -> String {
    let target = shown(target);
    let first = if runs { String::new() } else { format!("`virsh start {name}`, then ") };
    format!(
        "its disk is {} now, an external snapshot over {}: what the guest wrote since is in \
         there, and it is not defined anew; {first}`virsh blockcommit {name} {target} --active \
         --pivot --wait` brings both together, and `virsh snapshot-delete {name} --metadata` with the \
         snapshot's name (`virsh snapshot-list {name}`) forgets it",
        shown(&source.to_string()),
        disk.display()
    )
}

/// What is seen of the files that libvirt has for disks and host.toml does not name.
pub fn unknown_files<'a>(models: impl Iterator<Item = &'a Model>, disk: &Path) -> Vec<PathBuf> {
    let sources = models.flat_map(|model| &model.disks).filter_map(|one| one.source.as_ref());
    let files = sources.filter_map(|source| match source {
        Source::File(path) if path != disk => Some(path.clone()),
        Source::File(_) | Source::Volume { .. } | Source::Other(_) => None,
    });
    files.collect()
}

#[cfg(test)]
mod tests;
