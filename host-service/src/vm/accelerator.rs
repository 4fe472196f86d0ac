//! What runs guests: KVM when it really does, software otherwise.

use std::fs;
use std::io;
use std::path::Path;

use bedplate_tools::{cpuid, kvm};

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

    /// The answer found earlier in this boot, or found now.
    pub fn of_this_boot(runtime: &Path) -> io::Result<Self> {
        let remembered = runtime.join("accelerator");
        if let Ok(text) = fs::read_to_string(&remembered) {
            let known = [Self::Kvm, Self::Software, Self::SoftwareTwice];
            if let Some(found) = known.into_iter().find(|one| one.name() == text.trim()) {
                return Ok(found);
            }
        }
        let found = Self::found(kvm::works(), cpuid::is_emulated());
        fs::create_dir_all(runtime)?;
        fs::write(remembered, found.name())?;
        Ok(found)
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
        for found in [Accelerator::Kvm, Accelerator::Software, Accelerator::SoftwareTwice] {
            fs::write(runtime.path().join("accelerator"), found.name()).unwrap();
            assert_eq!(Accelerator::of_this_boot(runtime.path()).unwrap(), found);
        }
    }
}
