//! The steps of an installation, in order.

use super::choose::{Choice, Part};
use super::{geometry, kept};
use crate::host::{HostFile, Wipe};
use crate::identity::{Purpose, derive, mapper_name};
use crate::plan::{BOOT, BOOT_MIRROR, BootPartition, Mount, MountSource, Step, Subvolume};

pub(super) fn of(host: &HostFile, chosen: &[Choice<'_>]) -> Vec<Step> {
    let names = |of: &mut dyn Iterator<Item = &Choice<'_>>| -> Vec<String> {
        of.map(|choice| choice.role.to_owned()).collect()
    };
    let written = || chosen.iter().filter(|choice| !choice.kept());
    let encrypted = names(&mut written().filter(|choice| choice.part.luks().is_some()));
    let mut steps = vec![Step::CheckDisks { roles: names(&mut chosen.iter()) }];
    steps.extend(stick(host));
    steps.extend(kept::pools(host, chosen));
    steps.extend(written().flat_map(|choice| tables(host, choice)));
    // One after the other, so that the engine may run their Argon2 side by side.
    steps.extend(written().filter_map(|choice| luks(host, choice)));
    steps.extend(file_systems(host));
    let (esp, mirror) = boot_partitions(host, chosen);
    steps.push(Step::Mount { mounts: mounts(host, &esp, mirror.as_ref()) });
    steps.push(Step::CopyClosure);
    steps.push(Step::Enrol { hosts: host.flake.hosts.clone(), remote: host.flake.remote.clone() });
    steps.push(Step::BuildSystem {
        attribute: format!(
            "nixosConfigurations.\"{}\".config.system.build.toplevel",
            host.host.name
        ),
    });
    steps.push(Step::Activate);
    steps.push(Step::VerifyKeys { roles: encrypted.clone() });
    steps.push(Step::Seal { roles: encrypted });
    steps.push(Step::WriteBootEntry { esp, mirror });
    steps.push(Step::Finish);
    steps
}

fn stick(host: &HostFile) -> Option<Step> {
    host.unlock.sticks.first()?;
    Some(Step::PrepareStick {
        sticks: host.unlock.sticks.clone(),
        keyfile: host.unlock.keyfile.clone(),
        recovery: host.unlock.recovery.clone(),
        secrets: host.stick_secrets(),
        existing: host.disks.values().any(|disk| disk.wipe == Wipe::Never),
    })
}

fn tables(host: &HostFile, choice: &Choice<'_>) -> Vec<Step> {
    let id = host.host.id;
    let role = choice.role.to_owned();
    let mut steps = vec![Step::Partition {
        role: role.clone(),
        guid: derive(id, Purpose::GptDisk, &role, 0),
        partitions: geometry::partitions(host, choice),
    }];
    if let Some(partition) = choice.part.esp() {
        let (volume_id, ..) = derive(id, Purpose::GptEsp, &role, 0).as_fields();
        let label = if choice.part == Part::Os { "ESP" } else { "ESP-MIRROR" };
        steps.push(Step::FormatEsp { role, partition, label: label.into(), volume_id });
    }
    steps
}

fn luks(host: &HostFile, choice: &Choice<'_>) -> Option<Step> {
    let role = choice.role.to_owned();
    Some(Step::FormatLuks {
        partition: choice.part.luks()?,
        uuid: derive(host.host.id, Purpose::Luks, &role, 0),
        label: mapper_name(&role),
        mapper: mapper_name(&role),
        role,
    })
}

fn file_systems(host: &HostFile) -> Vec<Step> {
    let subvolume =
        |(name, mount): (&String, &String)| Subvolume { name: name.clone(), mount: mount.clone() };
    let os = Step::MakeBtrfs {
        name: "os".into(),
        label: "os".into(),
        fsid: derive(host.host.id, Purpose::Btrfs, "os", 0),
        raid1: false,
        members: vec![mapper_name(&host.os.disk)],
        subvolumes: host.os.subvolumes.iter().map(subvolume).collect(),
    };
    let made = host.pools.iter().filter(|(_, pool)| !kept::is_kept(host, pool));
    let pools = made.map(|(name, pool)| Step::MakeBtrfs {
        name: name.clone(),
        label: name.clone(),
        fsid: derive(host.host.id, Purpose::Btrfs, name, 0),
        raid1: true,
        members: pool.disks.iter().map(|role| mapper_name(role)).collect(),
        subvolumes: Vec::new(),
    });
    std::iter::once(os).chain(pools).collect()
}

/// The ESP and, when there is one, its copy.
fn boot_partitions(
    host: &HostFile,
    chosen: &[Choice<'_>],
) -> (BootPartition, Option<BootPartition>) {
    let partition = |role: &str, partition, mount: &str| BootPartition {
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
fn mounts(host: &HostFile, esp: &BootPartition, mirror: Option<&BootPartition>) -> Vec<Mount> {
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
            members: pool.disks.iter().map(|role| mapper_name(role)).collect(),
        },
        target: pool.mount.clone(),
    });
    subvolumes.chain(esps).chain(pools).collect()
}
