//! What runs guests: KVM when it really does, software otherwise.

use std::fs;
use std::io;
use std::path::Path;

use bedplate_tools::{cpuid, kvm};

/// Under the runtime directory, what was found in this boot; under the state directory, that KVM was
/// found once.
const FILE: &str = "accelerator";

/// What runs guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's own emulation.
    #[default]
    Software,
    /// QEMU's own emulation in a machine that is itself emulated, a test's or a CI's. There a tick of
    /// a guest's timer can cost more than the time between two: the guest then does nothing else.
    SoftwareTwice,
}

impl Accelerator {
    /// `type` of a domain.
    pub fn domain_type(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Software | Self::SoftwareTwice => "qemu",
        }
    }

    /// What is remembered of it for the rest of this boot.
    fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Software => "qemu",
            Self::SoftwareTwice => "qemu in qemu",
        }
    }

    /// What runs guests, where KVM works or not, and this machine is emulated or not.
    fn found(kvm_works: bool, emulated: bool) -> Self {
        match (kvm_works, emulated) {
            (true, _) => Self::Kvm,
            (false, true) => Self::SoftwareTwice,
            (false, false) => Self::Software,
        }
    }

    /// The answer found earlier in this boot, or found now. Where KVM ran guests in earlier boots
    /// (`state` says so) and did not in this one, it is looked for again while there is something to try.
    pub fn of_this_boot(runtime: &Path, state: &Path) -> io::Result<Self> {
        let found = || Self::found(kvm::works(), cpuid::is_emulated());
        Self::decided(runtime, state, kvm::is_there(), found)
    }

    fn decided(
        runtime: &Path,
        state: &Path,
        kvm_is_there: bool,
        find: impl FnOnce() -> Self,
    ) -> io::Result<Self> {
        let remembered = runtime.join(FILE);
        if let Ok(text) = fs::read_to_string(&remembered) {
            let known = [Self::Kvm, Self::Software, Self::SoftwareTwice];
            let known = known.into_iter().find(|one| one.name() == text.trim());
            if let Some(found) = known.filter(|one| !(kvm_is_there && one.replaces_kvm(state))) {
                return Ok(found);
            }
        }
        let found = find();
        fs::create_dir_all(runtime)?;
        fs::write(remembered, found.name())?;
        let proof = state.join(FILE);
        if found == Self::Kvm && !proof.exists() {
            fs::create_dir_all(state)?;
            fs::write(proof, found.name())?;
        }
        Ok(found)
    }

    /// Whether KVM ran guests on this machine once, and this is not KVM.
    pub fn replaces_kvm(self, state: &Path) -> bool {
        self != Self::Kvm && state.join(FILE).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_in_emulation_is_told_from_emulation_alone() {
        assert_eq!(Accelerator::found(true, false), Accelerator::Kvm);
        assert_eq!(Accelerator::found(true, true), Accelerator::Kvm);
        assert_eq!(Accelerator::found(false, false), Accelerator::Software);
        assert_eq!(Accelerator::found(false, true), Accelerator::SoftwareTwice);
    }

    #[test]
    fn what_was_found_in_this_boot_is_not_looked_for_again() {
        let runtime = tempfile::tempdir().unwrap();
        let state = runtime.path().join("state");
        for found in [Accelerator::Kvm, Accelerator::Software, Accelerator::SoftwareTwice] {
            fs::write(runtime.path().join("accelerator"), found.name()).unwrap();
            assert_eq!(Accelerator::of_this_boot(runtime.path(), &state).unwrap(), found);
        }
    }

    #[test]
    fn t50_kvm_that_is_gone_is_known_and_looked_for_again() {
        let place = tempfile::tempdir().unwrap();
        let (first, second) = (place.path().join("first"), place.path().join("second"));
        let state = place.path().join("state");
        let decided = |boot: &Path, is_there, found| {
            Accelerator::decided(boot, &state, is_there, || found).unwrap()
        };
        // A machine that never had it: nothing is missed, and nothing is looked for twice.
        let none = place.path().join("none");
        assert_eq!(decided(&none, true, Accelerator::Software), Accelerator::Software);
        assert_eq!(decided(&none, true, Accelerator::Kvm), Accelerator::Software);
        assert!(!Accelerator::Software.replaces_kvm(&state));

        assert_eq!(decided(&first, true, Accelerator::Kvm), Accelerator::Kvm);
        let now = decided(&second, false, Accelerator::Software);
        assert!(now == Accelerator::Software && now.replaces_kvm(&state));
        assert_eq!(decided(&second, false, Accelerator::Kvm), Accelerator::Software);
        // The device is there again, or the probe had failed by chance.
        assert_eq!(decided(&second, true, Accelerator::Kvm), Accelerator::Kvm);
    }
}
