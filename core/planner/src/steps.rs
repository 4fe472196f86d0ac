//! The steps of an installation, in order.

use std::iter;

use super::choose::{Choice, Part};
use super::{geometry, kept};
use bedplate_model::facts::{Facts, SystemImageFacts};
use bedplate_model::host::{FileSystem, Flake, HostFile, Platform, Wipe};
use bedplate_model::identity::{Purpose, derive, esp_volume_id, mapper_name};
use bedplate_model::name::Role;
use bedplate_model::plan::{
    BOOT, BOOT_MIRROR, BootPartition, BuildInputs, Mount, MountSource, PartitionKind, Step,
    Subvolume,
};
use bedplate_model::plan::{Holder, STORE_SUBVOLUME};

/// More than any LUKS2 header takes of a partition, in bytes.
const LUKS_HEADER: u64 = 32 << 20;

pub(super) fn of(
    host: &HostFile,
    facts: &Facts,
    chosen: &[Choice<'_>],
    fetch: Option<Step>,
) -> Vec<Step> {
    let names = |of: &mut dyn Iterator<Item = &Choice<'_>>| -> Vec<Role> {
        of.map(|choice| choice.role.to_owned()).collect()
    };
    let written = || chosen.iter().filter(|choice| !choice.kept());
    let encrypted = names(&mut written().filter(|choice| choice.part.luks().is_some()));
    let mut steps = vec![Step::CheckDisks { roles: names(&mut chosen.iter()) }];
    let existing = host.disks.values().any(|disk| disk.wipe == Wipe::Never);
    steps.extend(stick(host, existing));
    steps.extend(kept::pools(host, chosen));
    // Its key is on the stick; and nothing is written to a disk before it has arrived.
    steps.extend(fetch);
    // The engine runs them side by side, each once those before it on the same disks are done. The
    // OS disk's volume comes last: the pools' file systems are made beside it.
    steps.extend(
        written().flat_map(|choice| iter::once(table(host, choice)).chain(esp(host, choice))),
    );
    let (system, others): (Vec<_>, Vec<_>) = written().partition(|choice| choice.part == Part::Os);
    steps.extend(others.into_iter().chain(system).filter_map(|choice| luks(host, choice)));
    steps.extend(pools(host));
    steps.push(system_file_system(host, facts, chosen));
    let (esp, mirror) = boot_partitions(host, chosen);
    steps.push(Step::Mount { mounts: mounts(host, &esp, mirror.as_ref()) });
    steps.push(Step::CopyClosure);
    let Flake { hosts, remote, push, source: _ } = host.flake.clone();
    steps.push(Step::Enrol { hosts, remote, push });
    steps.push(Step::BuildSystem {
        attribute: format!(
            "nixosConfigurations.\"{}\".config.system.build.toplevel",
            host.host.name
        ),
        inputs: match host.host.platform {
            Platform::Embedded => BuildInputs::Medium,
            Platform::Nixos => BuildInputs::Network,
        },
    });
    steps.push(Step::Activate);
    steps.push(Step::VerifyKeys { roles: encrypted.clone() });
    steps.push(Step::Seal { roles: encrypted });
    steps.push(Step::WriteBootEntry { esp, mirror });
    steps.push(Step::Finish);
    steps
}

/// `existing` says that volumes are kept, which only the keys open that are there already.
pub(super) fn stick(host: &HostFile, existing: bool) -> Option<Step> {
    host.unlock.sticks.first()?;
    Some(Step::PrepareStick {
        sticks: host.unlock.sticks.clone(),
        keyfile: host.unlock.keyfile.clone(),
        recovery: host.unlock.recovery.clone(),
        secrets: host.stick_secrets(),
        typed: host.typed_secrets().into_keys().collect(),
        existing,
    })
}

fn table(host: &HostFile, choice: &Choice<'_>) -> Step {
    Step::Partition {
        role: choice.role.to_owned(),
        guid: derive(host.host.id, Purpose::GptDisk, choice.role, 0),
        partitions: geometry::partitions(host, choice),
    }
}

pub(super) fn esp(host: &HostFile, choice: &Choice<'_>) -> Option<Step> {
    let partition = choice.part.esp()?;
    let role = choice.role.to_owned();
    let volume_id = esp_volume_id(derive(host.host.id, Purpose::GptEsp, &role, 0));
    let label = if choice.part == Part::Os { "ESP" } else { "ESP-MIRROR" };
    Some(Step::FormatEsp { role, partition, label: label.into(), volume_id })
}

fn luks(host: &HostFile, choice: &Choice<'_>) -> Option<Step> {
    let role = choice.role.to_owned();
    Some(Step::FormatLuks {
        partition: choice.part.luks()?,
        uuid: derive(host.host.id, Purpose::Luks, &role, 0),
        label: mapper_name(&role).into(),
        mapper: mapper_name(&role),
        role,
    })
}

/// The file system of the OS disk: the medium's image where it fits what the document asks for.
fn system_file_system(host: &HostFile, facts: &Facts, chosen: &[Choice<'_>]) -> Step {
    let (name, label) = ("os".to_owned(), "os".to_owned());
    let fsid = derive(host.host.id, Purpose::FileSystem, "os", 0);
    let member = mapper_name(&host.os.disk);
    let of =
        |(name, mount): (&String, &String)| Subvolume { name: name.clone(), mount: mount.clone() };
    let subvolumes: Vec<_> = host.os.subvolumes.iter().map(of).collect();
    // A machine of NixOS wants nothing of what the live system is made of.
    let (image, found) = match host.host.platform {
        Platform::Embedded => (Holder::Tree, facts.system_image),
        Platform::Nixos => (Holder::Toplevel, facts.built_image),
    };
    match found.filter(|found| takes_image(host, chosen, found.size)) {
        Some(SystemImageFacts { bytes, .. }) => {
            Step::WriteSystem { image, label, fsid, member, subvolumes, bytes }
        }
        None => {
            let (file_system, members) = (FileSystem::Btrfs, vec![member]);
            Step::MakeFileSystem {
                name,
                file_system,
                label,
                fsid,
                raid1: false,
                members,
                subvolumes,
            }
        }
    }
}

/// The image holds a store in its one subvolume.
fn takes_image(host: &HostFile, chosen: &[Choice<'_>], size: u64) -> bool {
    let os = chosen.iter().filter(|choice| choice.part == Part::Os);
    let partitions = os.flat_map(|choice| geometry::partitions(host, choice));
    let room = partitions.filter(|partition| partition.kind == PartitionKind::Luks);
    let room = room.map(|partition| partition.length).max().unwrap_or(0);
    host.os.subvolumes.get(STORE_SUBVOLUME).is_some_and(|mount| mount == "/nix")
        && room >= size.saturating_add(LUKS_HEADER)
}

fn pools(host: &HostFile) -> Vec<Step> {
    let made = host.pools.iter().filter(|(_, pool)| !kept::is_kept(host, pool));
    let pools = made.map(|(name, pool)| Step::MakeFileSystem {
        name: name.to_string(),
        file_system: pool.file_system(),
        label: name.to_string(),
        fsid: derive(host.host.id, Purpose::FileSystem, name, 0),
        raid1: true,
        members: pool.disks.iter().map(mapper_name).collect(),
        subvolumes: Vec::new(),
    });
    pools.collect()
}

/// The ESP and, when there is one, its copy.
pub(super) fn boot_partitions(
    host: &HostFile,
    chosen: &[Choice<'_>],
) -> (BootPartition, Option<BootPartition>) {
    let partition = |role: &Role, partition, mount: &str| BootPartition {
        role: role.to_owned(),
        partition,
        guid: derive(host.host.id, Purpose::GptEsp, role, 0),
        mount: mount.to_owned(),
    };
    let mirror = chosen.iter().find_map(|choice| match choice.part {
        Part::Mirror | Part::MirrorMember => {
            Some(partition(choice.role, choice.part.esp()?, BOOT_MIRROR))
        }
        Part::Os | Part::Member => None,
    });
    let number = Part::Os.esp().unwrap_or(1);
    (partition(&host.os.disk, number, BOOT), mirror)
}

/// Parents before children: `/` first, then by path; the ESPs and the pools after the subvolumes.
pub(super) fn mounts(
    host: &HostFile,
    esp: &BootPartition,
    mirror: Option<&BootPartition>,
) -> Vec<Mount> {
    let os = mapper_name(&host.os.disk);
    let mut subvolumes: Vec<(&String, &String)> = host.os.subvolumes.iter().collect();
    subvolumes.sort_unstable_by_key(|(_, mount)| *mount);
    let subvolumes = subvolumes.into_iter().map(|(name, mount)| Mount {
        source: MountSource::OsSubvolume { mapper: os.clone(), name: name.clone() },
        target: mount.clone(),
    });
    let esps = [Some(esp), mirror].into_iter().flatten().map(|esp| Mount {
        source: MountSource::Esp { role: esp.role.clone(), partition: esp.partition },
        target: esp.mount.clone(),
    });
    let mut pools: Vec<_> = host.pools.values().collect();
    pools.sort_unstable_by_key(|pool| &pool.mount);
    let pools = pools.into_iter().map(|pool| Mount {
        source: MountSource::Pool {
            file_system: pool.file_system(),
            members: pool.disks.iter().map(mapper_name).collect(),
        },
        target: pool.mount.clone(),
    });
    subvolumes.chain(esps).chain(pools).collect()
}
