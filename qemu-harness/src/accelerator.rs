//! Which accelerator QEMU may use.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How QEMU runs guests on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// How long a boot sector may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Port of the device that ends QEMU.
const EXIT_PORT: u8 = 0xf4;
/// What the boot sector writes there; QEMU's exit status is twice that plus one.
const EXIT_VALUE: u8 = 0x2a;

impl Accelerator {
    /// KVM when it boots something tiny within seconds, else emulation: `/dev/kvm` may exist and
    /// not work. Tried once per process.
    pub fn probe() -> Self {
        static PROBED: OnceLock<Accelerator> = OnceLock::new();
        *PROBED.get_or_init(|| if boots_with_kvm() { Self::Kvm } else { Self::Tcg })
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

fn boots_with_kvm() -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    let Ok(sector) = tempfile::NamedTempFile::new() else { return false };
    if std::fs::write(sector.path(), boot_sector()).is_err() {
        return false;
    }
    let drive = format!("file={},format=raw,if=ide", sector.path().display());
    let exit = format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=0x01");
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-M", "pc", "-m", "16", "-display", "none", "-nodefaults", "-no-reboot"]);
    command.args(Accelerator::Kvm.arguments()).args(["-drive", &drive, "-device", &exit]);
    ends_with(&mut command, i32::from(EXIT_VALUE) * 2 + 1)
}

/// Runs a command for at most [`LIMIT`]; whether it ended with this status.
fn ends_with(command: &mut Command, status: i32) -> bool {
    let null = [Stdio::null(), Stdio::null(), Stdio::null()];
    let [input, output, errors] = null;
    let Ok(mut child) = command.stdin(input).stdout(output).stderr(errors).spawn() else {
        return false;
    };
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(ended)) => return ended.code() == Some(status),
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Err(_) => break,
        }
    }
    // It hangs: that is the answer, whether killing it works or not.
    child.kill().and_then(|()| child.wait()).ok();
    false
}

/// `mov al, value; out port, al; hlt`, with the signature of a boot sector.
fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..5].copy_from_slice(&[0xb0, EXIT_VALUE, 0xe6, EXIT_PORT, 0xf4]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_status_or_a_missing_program_is_no_accelerator() {
        assert!(!ends_with(&mut Command::new("false"), 85));
        assert!(!ends_with(&mut Command::new("/nonexistent"), 0));
        assert!(ends_with(&mut Command::new("true"), 0));
    }

    #[test]
    fn an_emulated_machine_of_one_processor_keeps_its_barriers() {
        let topologies = [
            Accelerator::Tcg.processors(1),
            Accelerator::Tcg.processors(2),
            Accelerator::Kvm.processors(1),
        ];
        assert_eq!(topologies, ["1,maxcpus=2", "2", "1"]);
    }

    #[test]
    fn the_boot_sector_is_bootable() {
        assert_eq!(boot_sector()[510..], [0x55, 0xaa]);
    }
}
