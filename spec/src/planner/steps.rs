//! The steps of an installation, in order.

use std::collections::BTreeSet;

use super::choose::{Choice, Part};
use super::geometry;
use crate::host::{HostFile, SecretReference};
use crate::identity::{Purpose, derive, mapper_name};
use crate::plan::{Mount, MountSource, Step, Subvolume};

/// Number of the EFI system partition.
const ESP: u32 = 1;

pub(super) fn of(host: &HostFile, chosen: &[Choice<'_>]) -> Vec<Step> {
    let roles: Vec<String> = chosen.iter().map(|choice| choice.role.to_owned()).collect();
    let mut steps = vec![Step::CheckDisks { roles: roles.clone() }];
    steps.extend(stick(host));
    steps.extend(chosen.iter().flat_map(|choice| tables(host, choice)));
    // One after the other, so that the engine may run their Argon2 side by side.
    steps.extend(chosen.iter().map(|choice| luks(host, choice)));
    steps.extend(file_systems(host));
    steps.push(Step::Mount { mounts: mounts(host) });
    steps.push(Step::CopyClosure);
    steps.push(Step::Enrol { hosts: host.flake.hosts.clone(), remote: host.flake.remote.clone() });
    steps.push(Step::BuildSystem {
        attribute: format!(
            "nixosConfigurations.\"{}\".config.system.build.toplevel",
            host.host.name
        ),
    });
    steps.push(Step::Activate);
    steps.push(Step::VerifyKeys { roles: roles.clone() });
    steps.push(Step::Seal { roles });
    steps.push(Step::WriteBootEntry);
    steps.push(Step::Finish);
    steps
}

fn stick(host: &HostFile) -> Option<Step> {
    let stick = host.unlock.sticks.first()?;
    let secrets: BTreeSet<String> = host
        .backups
        .values()
        .map(|backup| match &backup.password {
            SecretReference::Stick(path) => path.clone(),
        })
        .collect();
    Some(Step::PrepareStick {
        volume_id: stick.volume_id.clone(),
        id: stick.id.clone(),
        keyfile: host.unlock.keyfile.clone(),
        recovery: host.unlock.recovery.clone(),
        secrets: secrets.into_iter().collect(),
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
    if choice.part == Part::Os {
        let (volume_id, ..) = derive(id, Purpose::GptEsp, &role, 0).as_fields();
        steps.push(Step::FormatEsp { role, partition: ESP, label: "ESP".into(), volume_id });
    }
    steps
}

fn luks(host: &HostFile, choice: &Choice<'_>) -> Step {
    let role = choice.role.to_owned();
    Step::FormatLuks {
        partition: geometry::luks_number(choice.part),
        uuid: derive(host.host.id, Purpose::Luks, &role, 0),
        label: mapper_name(&role),
        mapper: mapper_name(&role),
        role,
    }
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
    let pools = host.pools.iter().map(|(name, pool)| Step::MakeBtrfs {
        name: name.clone(),
        label: name.clone(),
        fsid: derive(host.host.id, Purpose::Btrfs, name, 0),
        raid1: true,
        members: pool.disks.iter().map(|role| mapper_name(role)).collect(),
        subvolumes: Vec::new(),
    });
    std::iter::once(os).chain(pools).collect()
}

/// Parents before children: `/` first, then by path; the ESP and the pools after the subvolumes.
fn mounts(host: &HostFile) -> Vec<Mount> {
    let os = mapper_name(&host.os.disk);
    let mut subvolumes: Vec<(&String, &String)> = host.os.subvolumes.iter().collect();
    subvolumes.sort_unstable_by_key(|(_, mount)| *mount);
    let subvolumes = subvolumes.into_iter().map(|(name, mount)| Mount {
        source: MountSource::OsSubvolume { mapper: os.clone(), name: name.clone() },
        target: mount.clone(),
    });
    let esp = Mount {
        source: MountSource::Esp { role: host.os.disk.clone(), partition: ESP },
        target: "/boot".into(),
    };
    let mut pools: Vec<_> = host.pools.values().collect();
    pools.sort_unstable_by_key(|pool| &pool.mount);
    let pools = pools.into_iter().map(|pool| Mount {
        source: MountSource::Pool {
            members: pool.disks.iter().map(|role| mapper_name(role)).collect(),
        },
        target: pool.mount.clone(),
    });
    subvolumes.chain([esp]).chain(pools).collect()
}
