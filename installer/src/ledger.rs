//! What this run has written so far: on which disks, and whether past the commit point.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bedplate_events::DeviceState;
use bedplate_model::name::Role;
use bedplate_model::plan::{Plan, Step};

/// What this run has written so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Roles on which a step that writes is complete.
    written: Mutex<BTreeSet<Role>>,
    /// Roles on which a step that writes was begun.
    begun: Mutex<BTreeSet<Role>>,
    committed: AtomicBool,
}

impl Ledger {
    /// A step is about to begin.
    pub fn begin(&self, plan: &Plan, step: &Step) {
        lock(&self.begun).extend(plan.roles_written(step));
    }

    /// A step ended well.
    pub fn complete(&self, plan: &Plan, step: &Step) {
        lock(&self.written).extend(plan.roles_written(step));
        if matches!(step, Step::WriteBootEntry { .. }) {
            self.committed.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the boot entry stands: the machine boots what was installed.
    pub fn is_committed(&self) -> bool {
        self.committed.load(Ordering::SeqCst)
    }

    /// Roles that something may have been written to.
    pub fn touched(&self) -> BTreeSet<Role> {
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
        let writes =
            step.is_some_and(|step| plan.roles_written(step).iter().any(|one| one == role));
        match told {
            // What a step left untouched may still carry the work of an earlier one.
            Some(DeviceState::Untouched) => before,
            Some(state) => state,
            None if writes => DeviceState::Partial,
            None => before,
        }
    }
}

fn lock(roles: &Mutex<BTreeSet<Role>>) -> MutexGuard<'_, BTreeSet<Role>> {
    roles.lock().unwrap_or_else(PoisonError::into_inner)
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
        let roles = |id: &str| plan.roles_written(step(&plan, id));
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
