//! What went wrong with a member while its pool is opened, and whether it lasts.
//!
//! A disk that has just been found may answer late, or with an error once. The pool would be mounted
//! without it, and its member be behind from then on, for hours. So it is tried again, until it has failed
//! for long enough.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bedplate_model::name::Role;

/// What fails for this long is not a disk that is about to be ready.
const LASTS: Duration = Duration::from_secs(10);
/// As often it was tried at least: one try may take longer than [`LASTS`].
const TRIES: u32 = 3;

#[derive(Debug)]
struct Fault {
    why: String,
    since: Instant,
    times: u32,
}

impl Fault {
    fn lasts(&self, now: Instant) -> bool {
        self.times >= TRIES && now.saturating_duration_since(self.since) >= LASTS
    }
}

/// The members that fail, by role.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<Role, Fault>);

impl Faults {
    /// One try failed.
    pub fn failed(&mut self, role: &Role, why: String, now: Instant) {
        let fault = self.0.entry(role.to_owned());
        let fault = fault.or_insert_with(|| Fault { why: String::new(), since: now, times: 0 });
        fault.why = why;
        fault.times += 1;
    }

    /// It went well, or the disk is gone: what was wrong before counts no more.
    pub fn passed(&mut self, role: &Role) {
        self.0.remove(role);
    }

    /// Roles whose fault lasts, and what is wrong.
    pub fn lasting(&self, now: Instant) -> BTreeMap<Role, String> {
        self.those(|fault| fault.lasts(now))
    }

    /// Whether the fault of a role lasts.
    pub fn is_lasting(&self, role: &Role, now: Instant) -> bool {
        self.0.get(role).is_some_and(|fault| fault.lasts(now))
    }

    /// Roles whose fault may pass, and what is wrong.
    pub fn passing(&self, now: Instant) -> BTreeMap<Role, String> {
        self.those(|fault| !fault.lasts(now))
    }

    fn those(&self, wanted: impl Fn(&Fault) -> bool) -> BTreeMap<Role, String> {
        let those = self.0.iter().filter(|(_, fault)| wanted(fault));
        those.map(|(role, fault)| (role.clone(), fault.why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t44_a_member_that_fails_once_is_tried_again_before_it_counts_as_damaged() {
        let (mut faults, begun) = (Faults::default(), Instant::now());
        let [vm2, vm3]: [Role; 2] = ["vm2", "vm3"].map(|role| role.parse().unwrap());
        let at = |seconds| begun + Duration::from_secs(seconds);
        faults.failed(&vm2, "Input/output error".into(), begun);
        // Neither one try that took long, nor many in a moment, say that it lasts.
        assert_eq!(faults.lasting(at(60)).len(), 0);
        (0..50).for_each(|_| faults.failed(&vm2, "no such device".into(), at(1)));
        assert_eq!(faults.lasting(at(1)).len(), 0);
        assert_eq!(faults.passing(at(1))[&vm2], "no such device");
        assert_eq!(faults.lasting(at(10)).keys().collect::<Vec<_>>(), [&vm2]);
        assert_eq!(faults.passing(at(10)).len(), 0);
        assert!(faults.is_lasting(&vm2, at(10)) && !faults.is_lasting(&vm3, at(10)));
        // Once it went well it begins anew.
        faults.passed(&vm2);
        faults.failed(&vm2, "Input/output error".into(), at(11));
        assert_eq!(faults.lasting(at(30)).len(), 0);
    }
}
