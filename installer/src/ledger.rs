//! What this run has written so far: on which disks, and whether past the commit point.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bedplate_events::DeviceState;
use bedplate_model::identity::mapper_name;
use bedplate_model::plan::{MountSource, Plan, Step};

/// What this run has written so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Roles on which a step that writes is complete.
    written: Mutex<BTreeSet<String>>,
    /// Roles on which a step that writes was begun.
    begun: Mutex<BTreeSet<String>>,
    committed: AtomicBool,
}

impl Ledger {
    /// A step is about to begin.
    pub fn begin(&self, plan: &Plan, step: &Step) {
        lock(&self.begun).extend(roles_written(plan, step));
    }

    /// A step ended well.
    pub fn complete(&self, plan: &Plan, step: &Step) {
        lock(&self.written).extend(roles_written(plan, step));
        if matches!(step, Step::WriteBootEntry { .. }) {
            self.committed.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the boot entry stands: the machine boots what was installed.
    pub fn is_committed(&self) -> bool {
        self.committed.load(Ordering::SeqCst)
    }

    /// Roles that something may have been written to.
    pub fn touched(&self) -> BTreeSet<String> {
        lock(&self.begun).clone()
    }

    /// The state of a disk after a step failed; `told` is what the step itself knows of it.
    pub fn state(
        &self,
        plan: &Plan,
        step: Option<&Step>,
        role: &str,
        told: Option<DeviceState>,
    ) -> DeviceState {
        let before = match lock(&self.written).contains(role) {
            true => DeviceState::Written,
            false => DeviceState::Untouched,
        };
        let writes = step.is_some_and(|step| roles_written(plan, step).any(|one| one == role));
        match told {
            // What a step left untouched may still carry the work of an earlier one.
            Some(DeviceState::Untouched) => before,
            Some(state) => state,
            None if writes => DeviceState::Partial,
            None => before,
        }
    }
}

fn lock(roles: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    roles.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Roles of the disks that a step writes to.
pub fn roles_written(plan: &Plan, step: &Step) -> impl Iterator<Item = String> {
    let roles: Vec<String> = match step {
        Step::Partition { role, .. }
        | Step::FormatEsp { role, .. }
        | Step::FormatLuks { role, .. } => vec![role.clone()],
        Step::MakeBtrfs { members, .. } => roles_behind(plan, members),
        Step::WriteSystem { member, .. } => roles_behind(plan, std::slice::from_ref(member)),
        Step::Mount { mounts } => {
            mounts.iter().flat_map(|mount| behind(plan, &mount.source)).collect()
        }
        Step::Seal { roles } => roles.clone(),
        Step::CopyClosure | Step::Enrol { .. } | Step::BuildSystem { .. } | Step::Activate => {
            system_disk(plan).into_iter().collect()
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
    };
    roles.into_iter()
}

/// The disk that carries the root of the target.
fn system_disk(plan: &Plan) -> Option<String> {
    plan.steps.iter().find_map(|step| match step {
        Step::Mount { mounts } => {
            let root = mounts.iter().find(|mount| mount.target == "/")?;
            behind(plan, &root.source).into_iter().next()
        }
        _ => None,
    })
}

fn behind(plan: &Plan, source: &MountSource) -> Vec<String> {
    match source {
        MountSource::OsSubvolume { mapper, .. } => roles_behind(plan, std::slice::from_ref(mapper)),
        MountSource::Esp { role, .. } => vec![role.clone()],
        MountSource::Pool { members } => roles_behind(plan, members),
    }
}

fn roles_behind(plan: &Plan, mappers: &[String]) -> Vec<String> {
    let roles = plan.disks.iter().map(|disk| &disk.role);
    roles.filter(|role| mappers.contains(&mapper_name(role))).cloned().collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use bedplate_document as document;
    use bedplate_model::facts::Facts;
    use bedplate_planner as planner;

    use super::*;

    /// The plan of the hypervisor profile on its own machine.
    pub(crate) fn plan() -> Plan {
        let profile = include_str!("../../profiles/hypervisor/host.toml").replace(
            "00000000-0000-4000-8000-000000000004",
            "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        );
        let host = document::parse(&profile, "host.toml").unwrap_or_else(|e| panic!("{e}"));
        let facts = include_str!("../../profiles/hypervisor/inventory.json");
        let facts: Facts = serde_json::from_str(facts).unwrap();
        planner::plan(&host, &facts).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) fn step<'a>(plan: &'a Plan, id: &str) -> &'a Step {
        plan.steps.iter().find(|step| step.id() == id).unwrap()
    }

    #[test]
    fn f3_a_disk_is_untouched_then_partial_then_written() {
        let plan = plan();
        let ledger = Ledger::default();
        let (partition, luks) = (step(&plan, "partition-vm1"), step(&plan, "luks-vm1"));
        let state = |step, told| ledger.state(&plan, Some(step), "vm1", told);
        assert_eq!(state(partition, Some(DeviceState::Untouched)), DeviceState::Untouched);
        assert_eq!(state(partition, None), DeviceState::Partial);
        ledger.begin(&plan, partition);
        ledger.complete(&plan, partition);
        assert_eq!(state(luks, Some(DeviceState::Untouched)), DeviceState::Written);
        assert_eq!(state(luks, None), DeviceState::Partial);
        let other = ledger.state(&plan, Some(luks), "bulk1", None);
        assert_eq!(other, DeviceState::Untouched);
    }

    #[test]
    fn steps_write_to_the_disks_they_name_and_the_system_to_its_own() {
        let plan = plan();
        let roles = |id: &str| roles_written(&plan, step(&plan, id)).collect::<Vec<_>>();
        assert_eq!(roles("check-disks"), Vec::<String>::new());
        assert_eq!(roles("btrfs-vmstore"), ["vm1", "vm2", "vm3"]);
        assert_eq!(roles("copy-closure"), ["os"]);
        assert_eq!(roles("boot-entry"), ["os"]);
    }

    #[test]
    fn the_boot_entry_is_the_commit_point() {
        let plan = plan();
        let ledger = Ledger::default();
        ledger.complete(&plan, step(&plan, "seal"));
        assert!(!ledger.is_committed());
        ledger.complete(&plan, step(&plan, "boot-entry"));
        assert!(ledger.is_committed());
    }
}
