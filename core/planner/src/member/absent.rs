//! Whose the devices were that a pool lacks: only the role that is meant may lose its own.

use super::super::refusal::PlanError;
use super::{Owner, Situation, refused};
use bedplate_model::identity::is_member_mapper;
use bedplate_model::name::Role;

impl Situation<'_> {
    /// The number of the missing device that was the role's. What nothing is known of is taken for
    /// it only where no other role could have lost it.
    pub(super) fn own_missing(&self) -> Result<Option<u64>, PlanError> {
        let role = self.request.role;
        let mut known = self.pool.missing.iter();
        let own = known.find(|(_, owner)| matches!(owner, Owner::Role(lost) if lost == role));
        if let Some((number, _)) = own {
            return Ok(Some(*number));
        }
        let unknown = self.pool.missing.iter().filter(|(_, owner)| **owner == Owner::Unknown);
        let unknown: Vec<u64> = unknown.map(|(number, _)| *number).collect();
        match (unknown.as_slice(), self.absent_others().as_slice()) {
            ([], _) => Ok(None),
            ([number], []) => Ok(Some(*number)),
            (_, others) => Err(self.ambiguous(others)),
        }
    }

    /// A role that has lost its disk, as far as it is known.
    pub(super) fn lost_role(&self) -> Option<&Role> {
        self.pool.missing.values().find_map(|owner| match owner {
            Owner::Role(role) => Some(role),
            Owner::Former | Owner::Unknown => None,
        })
    }

    /// Why there is nothing of the role to take out.
    pub(super) fn not_in_pool(&self) -> String {
        let what = match (self.lost_role(), self.pool.missing.is_empty()) {
            (_, true) => "nothing is missing".to_owned(),
            (Some(lost), false) => format!("what is missing is the disk of `{lost}`"),
            (None, false) => {
                "what is missing is a disk of a role that host.toml no longer names".to_owned()
            }
        };
        format!("`{}` is not in the pool `{}`, and {what}", self.request.role, self.name)
    }

    /// Other roles of which no device is in the pool, and of which none is known to be missing.
    fn absent_others(&self) -> Vec<&Role> {
        let is_in = |role: &Role| {
            let own = Owner::Role(role.clone());
            self.pool.devices.iter().any(|mapper| is_member_mapper(role, mapper))
                || self.pool.missing.values().any(|owner| *owner == own)
        };
        let roles = self.intent.disks.iter();
        roles.filter(|role| *role != self.request.role && !is_in(role)).collect()
    }

    fn ambiguous(&self, others: &[&Role]) -> PlanError {
        let role = self.request.role;
        let Some(other) = others.first() else {
            return refused(
                format!("the pool `{}` lacks several devices, and nothing says whose", self.name),
                "plug in the disks that are missing, restart the machine, and run again",
            );
        };
        refused(
            format!(
                "the pool `{}` lacks a device, and nothing says whether it was the disk of `{role}` or of \
                 `{other}`; nothing was changed",
                self.name
            ),
            // A replacement that was cut off has a device, and is in nobody's way.
            match self.own_device() {
                Some(_) => format!(
                    "when the disk of `{other}` died, `bedplate-host pool replace {other}` comes first; when it was \
                     never in the pool, or was taken out of it, take `{other}` out of the pool's `disks` in \
                     host.toml, rebuild, and run again"
                ),
                None => "take the one that was never in the pool, or was taken out of it, out of the pool's `disks` \
                         in host.toml, rebuild, and run again"
                    .into(),
            },
        )
    }
}
