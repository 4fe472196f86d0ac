//! What of a plan comes after what.

use super::{MountSource, Plan, Step};
use crate::identity::mapper_name;
use crate::name::{MapperName, Role};

impl Plan {
    /// For each step the numbers of those that must have ended well before it begins: all before it, but for
    /// those that it may run beside. Those lay out disks, or make volumes and what stands on them, and write
    /// to other disks. Between the two it is measured, on a machine at rest, what a volume may cost.
    pub fn after(&self) -> Vec<Vec<usize>> {
        let roles: Vec<Vec<Role>> =
            self.steps.iter().map(|step| self.roles_written(step)).collect();
        let are_apart = |one: usize, other: usize| match (roles.get(one), roles.get(other)) {
            (Some(one), Some(other)) => !one.iter().any(|role| other.contains(role)),
            _ => false,
        };
        let all = self.steps.iter().enumerate();
        all.map(|(number, step)| {
            let before = self.steps.iter().enumerate().take(number);
            before
                .filter(|(other, earlier)| {
                    let of_one_stage = stage(step).is_some() && stage(step) == stage(earlier);
                    !of_one_stage || !are_apart(number, *other)
                })
                .map(|(other, _)| other)
                .collect()
        })
        .collect()
    }

    /// Roles of the disks that a step writes to.
    pub fn roles_written(&self, step: &Step) -> Vec<Role> {
        match step {
            Step::Partition { role, .. }
            | Step::FormatEsp { role, .. }
            | Step::FormatLuks { role, .. } => vec![role.clone()],
            Step::MakeFileSystem { members, .. } => self.roles_behind(members),
            Step::WriteSystem { member, .. } => self.roles_behind(std::slice::from_ref(member)),
            Step::Mount { mounts } => {
                mounts.iter().flat_map(|mount| self.behind(&mount.source)).collect()
            }
            Step::Seal { roles } => roles.clone(),
            Step::CopyClosure | Step::Enrol { .. } | Step::BuildSystem { .. } | Step::Activate => {
                self.system_disk().into_iter().collect()
            }
            Step::WriteBootEntry { esp, mirror } => {
                std::iter::once(esp).chain(mirror).map(|boot| boot.role.clone()).collect()
            }
            Step::CheckDisks { .. }
            | Step::PrepareStick { .. }
            | Step::KeepPool { .. }
            | Step::OpenSystem { .. }
            | Step::FindSystem
            | Step::FetchRepository { .. }
            | Step::VerifyKeys { .. }
            | Step::Finish => Vec::new(),
        }
    }

    /// The disk that carries the root of the target.
    fn system_disk(&self) -> Option<Role> {
        self.steps.iter().find_map(|step| match step {
            Step::Mount { mounts } => {
                let root = mounts.iter().find(|mount| mount.target == "/")?;
                self.behind(&root.source).into_iter().next()
            }
            _ => None,
        })
    }

    fn behind(&self, source: &MountSource) -> Vec<Role> {
        match source {
            MountSource::OsSubvolume { mapper, .. } => {
                self.roles_behind(std::slice::from_ref(mapper))
            }
            MountSource::Esp { role, .. } => vec![role.clone()],
            MountSource::Pool { members, .. } => self.roles_behind(members),
        }
    }

    fn roles_behind(&self, mappers: &[MapperName]) -> Vec<Role> {
        let roles = self.disks.iter().map(|disk| &disk.role);
        roles.filter(|role| mappers.contains(&mapper_name(role))).cloned().collect()
    }
}

/// Steps of one stage may run side by side.
#[derive(PartialEq)]
enum Stage {
    /// Tables, and what stands beside a volume.
    LayOut,
    /// Volumes, and what stands on them.
    Fill,
}

fn stage(step: &Step) -> Option<Stage> {
    match step {
        Step::Partition { .. } | Step::FormatEsp { .. } => Some(Stage::LayOut),
        Step::FormatLuks { .. } | Step::MakeFileSystem { .. } => Some(Stage::Fill),
        _ => None,
    }
}
