//! What the processor says of itself by the instruction CPUID.

/// What QEMU's emulation signs with in the leaves for hypervisors (QEMU, target/i386/cpu.c).
#[cfg(target_arch = "x86_64")]
const EMULATION: &[u8; 12] = b"TCGTCGTCGTCG";

/// Whether this machine's processor is one that QEMU emulates. Of a machine that KVM runs this is
/// false, also where it hides that it is one.
#[cfg(target_arch = "x86_64")]
pub fn is_emulated() -> bool {
    use std::arch::x86_64::__cpuid;
    // Leaf 1, bit 31 of ECX: the leaves from 0x40000000 on are a hypervisor's.
    if __cpuid(1).ecx >> 31 == 0 {
        return false;
    }
    let said = __cpuid(0x4000_0000);
    let signature = [said.ebx, said.ecx, said.edx].map(u32::to_le_bytes).concat();
    signature == EMULATION
}

/// Other processors have no such instruction.
#[cfg(not(target_arch = "x86_64"))]
pub fn is_emulated() -> bool {
    false
}
