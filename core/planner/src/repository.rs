//! Where the repository comes from when it does not come with the answers.

use super::choose::shown;
use super::refusal::Refusal;
use bedplate_model::facts::{DiskFacts, Facts, Signature};
use bedplate_model::host::{HostFile, SourcePlace, Stick, VolumeSource};
use bedplate_model::plan::{FoundVolume, RepositoryPlace, Step};

/// File systems that a repository is read from, as libblkid names them.
const READ: [&str; 7] = ["vfat", "exfat", "ext2", "ext3", "ext4", "btrfs", "iso9660"];

/// The step that fetches it; none without `[flake.source]`, or when the volume was refused.
pub(super) fn step(host: &HostFile, facts: &Facts, refusals: &mut Vec<Refusal>) -> Option<Step> {
    let source = host.flake.source.as_ref()?;
    let from = match &source.place {
        SourcePlace::Ssh(ssh) => RepositoryPlace::Ssh(ssh.clone()),
        SourcePlace::Https(https) => RepositoryPlace::Https(https.clone()),
        SourcePlace::Volume(wanted) => match volume(wanted, host, facts) {
            Ok(found) => RepositoryPlace::Volume(found),
            Err(refusal) => {
                refusals.push(refusal);
                return None;
            }
        },
    };
    Some(Step::FetchRepository { branch: source.branch.clone(), from })
}

/// A file system with a label, and the disk it is on.
#[derive(Clone, Copy)]
struct Labelled<'a> {
    disk: &'a DiskFacts,
    signature: &'a Signature,
    label: &'a str,
}

impl Labelled<'_> {
    /// As its owner knows it. What a device says of itself is escaped (T18).
    fn place(&self) -> String {
        let disk = shown(self.disk.by_id.iter().min().unwrap_or(&self.disk.kernel_name));
        match self.signature.partition {
            Some(partition) => format!("{disk}, partition {partition}"),
            None => disk,
        }
    }
}

/// All of the machine, in an order that does not depend on enumeration.
fn labelled(facts: &Facts) -> Vec<Labelled<'_>> {
    let signatures = facts
        .disks
        .iter()
        .flat_map(|disk| disk.signatures.iter().map(move |signature| (disk, signature)));
    let with_label = signatures.filter_map(|(disk, signature)| {
        let label = signature.label.as_deref().filter(|label| !label.is_empty())?;
        Some(Labelled { disk, signature, label })
    });
    let mut all: Vec<Labelled<'_>> = with_label.collect();
    all.sort_by_key(|one| (one.place(), one.signature));
    // A disk that says the same of itself twice is one volume.
    all.dedup_by_key(|one| (one.place(), one.label));
    all
}

fn volume(wanted: &VolumeSource, host: &HostFile, facts: &Facts) -> Result<FoundVolume, Refusal> {
    let label = &wanted.label;
    let all = labelled(facts);
    let mut named = all.iter().filter(|one| one.label == label);
    let found = match (named.next(), named.next()) {
        (Some(found), None) => found,
        (None, _) => {
            let seen: Vec<String> =
                all.iter().map(|one| format!("{} ({})", shown(one.label), one.place())).collect();
            let seen = if seen.is_empty() { "none".to_owned() } else { seen.join("; ") };
            return Err(Refusal::machine(
                format!("no volume is labelled {label}, which the repository is to come from"),
                format!("connect it, or correct `flake.source.volume.label`; labels seen: {seen}"),
            ));
        }
        (Some(_), Some(_)) => {
            let places = all.iter().filter(|one| one.label == label).map(Labelled::place);
            return Err(Refusal::machine(
                format!(
                    "several volumes are labelled {label}, which the repository is to come from: {}",
                    places.collect::<Vec<_>>().join("; ")
                ),
                "leave only one of them connected",
            ));
        }
    };
    let refused = |why: String, help| {
        Refusal::machine(format!("the volume {label} ({}) {why}", found.place()), help)
    };
    let kind = &found.signature.kind;
    if !READ.contains(&kind.as_str()) {
        let help = format!("put the repository on one of {}", READ.join(", "));
        return Err(refused(format!("holds {}, which is not read", shown(kind)), help));
    }
    let role = host.disks.iter().find(|(_, disk)| found.disk.has_id(&disk.id));
    if let Some((role, _)) = role {
        let help = "put the repository on a disk without a role, such as a stick".to_owned();
        return Err(refused(format!("is on the disk `{role}`"), help));
    }
    let volume_id = found.signature.uuid.as_deref().filter(|_| kind == "vfat");
    let is = |stick: &Stick| volume_id.is_some_and(|id| id.eq_ignore_ascii_case(&stick.volume_id));
    if host.unlock.sticks.iter().any(is) {
        let help = "put the repository on a partition of its own, or on another stick".to_owned();
        return Err(refused("is the key stick, which is written to".to_owned(), help));
    }
    let Some(disk) = found.disk.by_id.iter().min() else {
        let help = "put the repository on another disk, such as a USB stick".to_owned();
        return Err(refused("has no name under /dev/disk/by-id".to_owned(), help));
    };
    Ok(FoundVolume {
        label: label.clone(),
        disk: disk.clone(),
        partition: found.signature.partition,
        kind: kind.clone(),
        path: wanted.path.clone(),
    })
}
