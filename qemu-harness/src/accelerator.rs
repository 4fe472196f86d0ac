//! Which accelerator QEMU may use.

use std::sync::OnceLock;

use bedplate_tools::kvm;

/// How QEMU runs guests on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

impl Accelerator {
    /// KVM when it works, else emulation. Tried once per process.
    pub fn probe() -> Self {
        static PROBED: OnceLock<Accelerator> = OnceLock::new();
        *PROBED.get_or_init(|| if kvm::works() { Self::Kvm } else { Self::Tcg })
    }

    /// QEMU's arguments.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // A model without SVM: QEMU 7.2 aborts when a guest uses the emulated one from several
            // threads. `max,svm=off` is no way out: with SVM, QEMU hides the CPUID leaves above it
            // (`xlevel`), and programs of the guest that read cache sizes there misbehave.
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "Haswell-noTSX"],
        }
    }

    /// QEMU's topology for a machine with so many processors.
    ///
    /// Emulation leaves the guest's memory barriers out of a machine that can never have a second
    /// processor (`tcg_gen_mb` of QEMU 7.2 looks at `CF_PARALLEL`, which is set where `maxcpus`
    /// exceeds one). The devices run beside that one processor all the same: now and then a disk is
    /// not told of a request, which hangs until the kernel resets the disk a minute later and reports
    /// errors. A place for another processor, left empty, brings the barriers back.
    pub fn processors(self, count: u32) -> String {
        match self {
            Self::Tcg if count == 1 => "1,maxcpus=2".to_owned(),
            Self::Tcg | Self::Kvm => count.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_machine_of_one_processor_keeps_its_barriers() {
        let topologies = [
            Accelerator::Tcg.processors(1),
            Accelerator::Tcg.processors(2),
            Accelerator::Kvm.processors(1),
        ];
        assert_eq!(topologies, ["1,maxcpus=2", "2", "1"]);
    }
}
