//! Whether KVM runs what a guest executes. `/dev/kvm` can exist and not work, or work for a boot
//! sector and stop at the first instruction of floating point: so a firmware of a few instructions is
//! booted that takes the steps of a real one.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// Size of the firmware.
const FIRMWARE_SIZE: usize = 1 << 16;
/// Where the program stands in it; the addresses below count from here.
const PROGRAM_PLACE: usize = FIRMWARE_SIZE - 0x100;
/// Where a processor begins to execute.
const RESET_VECTOR: usize = FIRMWARE_SIZE - 16;
/// At the reset vector: `jmp` to the program, 0xf3 bytes back.
const JUMP: [u8; 3] = [0xe9, 0x0d, 0xff];
/// Into protected mode, where a floating-point unit is set up, a vector is stored and the processor
/// is asked who it is; then the device isa-debug-exit is told.
const PROGRAM: [u8; 98] = [
    0xfa, // cli
    0x2e, 0x66, 0x0f, 0x01, 0x16, 0x5c, 0xff, // lgdt cs:[table_of_segments]
    0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, // cr0 |= 1: protected mode
    0x66, 0xea, 0x18, 0xff, 0xff, 0xff, 0x08, 0x00, // jmp 8:protected
    0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, // protected: ds = 0x10
    0x9b, 0xdb, 0xe3, // finit
    0xd9, 0xe8, // fld1
    0x0f, 0x20, 0xe0, 0x0d, 0x00, 0x06, 0x00, 0x00, 0x0f, 0x22, 0xe0, // cr4 |= 0x600: SSE
    0x0f, 0x57, 0xc0, // xorps xmm0, xmm0
    0x0f, 0x11, 0x05, 0x00, 0x80, 0x00, 0x00, // movups [0x8000], xmm0
    0x31, 0xc0, 0x0f, 0xa2, // eax = 0; cpuid
    0x66, 0xba, 0x01, 0x05, 0xb0, 0x10, 0xee, // out 0x501, 0x10
    0xf4, // hlt
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // segments: none,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9b, 0xcf, 0x00, // code,
    0xff, 0xff, 0x00, 0x00, 0x00, 0x93, 0xcf, 0x00, // data
    0x17, 0x00, 0x44, 0xff, 0xff, 0xff, // table_of_segments
];
/// What QEMU exits with when the device is told 0x10: `(0x10 << 1) | 1`.
const SAID_SO: i32 = 0x21;
/// How long it may take, in which nothing but QEMU's own start takes any time.
const PATIENCE: Duration = Duration::from_secs(10);
/// What QEMU says when KVM gives up on an instruction, and waits.
const GAVE_UP: &str = "KVM internal error";

/// How often it is tried: one that failed may have had no memory, or no time.
const ATTEMPTS: usize = 2;
/// How long it is waited in between.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether there is anything to try.
pub fn is_there() -> bool {
    Path::new("/dev/kvm").exists()
}

/// Whether it is there and works.
pub fn works() -> bool {
    // A probe that cannot be made is no reason to rely on KVM.
    is_there() && tried(PAUSE, || boots("kvm", "host").unwrap_or(false))
}

fn tried(pause: Duration, mut probe: impl FnMut() -> bool) -> bool {
    (0..ATTEMPTS).any(|attempt| {
        if attempt > 0 {
            sleep(pause);
        }
        probe()
    })
}

fn boots(accelerator: &str, processor: &str) -> io::Result<bool> {
    let mut firmware = NamedTempFile::new()?;
    firmware.write_all(&image())?;
    let errors = NamedTempFile::new()?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", accelerator, "-cpu", processor, "-machine", "pc", "-m", "16"]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    command.args(["-device", "isa-debug-exit,iobase=0x501", "-bios"]).arg(firmware.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.reopen()?);
    let mut child = command.spawn()?;
    let ended = wait(&mut child, errors.path());
    // It hangs, or has ended.
    child.kill().and_then(|()| child.wait()).ok();
    Ok(ended?.is_some_and(|status| status.code() == Some(SAID_SO)))
}

/// How it ended; none when it does not, or KVM has given up.
fn wait(child: &mut Child, errors: &Path) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if String::from_utf8_lossy(&fs::read(errors)?).contains(GAVE_UP) {
            return Ok(None);
        }
        sleep(Duration::from_millis(20));
    }
    Ok(None)
}

fn image() -> Vec<u8> {
    // hlt, wherever nothing else stands.
    let mut image = vec![0xf4; FIRMWARE_SIZE];
    image[PROGRAM_PLACE..PROGRAM_PLACE + PROGRAM.len()].copy_from_slice(&PROGRAM);
    image[RESET_VECTOR..RESET_VECTOR + JUMP.len()].copy_from_slice(&JUMP);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accelerator_that_executes_everything_boots_the_firmware_and_none_that_is_not_there() {
        let qemu = crate::programs::find("qemu-system-x86_64");
        assert!(qemu.is_some(), "NOT TESTED: install qemu-system-x86");
        assert!(boots("tcg", "qemu64").unwrap());
        assert!(!boots("nothing", "qemu64").unwrap());
    }

    #[test]
    fn t50_one_probe_that_fails_is_no_proof() {
        let mut answers = [false, true].into_iter();
        assert!(tried(Duration::ZERO, || answers.next().unwrap()));
        let mut asked = 0;
        let works = tried(Duration::ZERO, || {
            asked += 1;
            false
        });
        assert!(!works && asked == ATTEMPTS);
    }

    #[test]
    fn one_that_gives_up_is_not_waited_for() {
        let errors = NamedTempFile::new().unwrap();
        fs::write(errors.path(), "KVM internal error. Suberror: 1\n").unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert_eq!(wait(&mut child, errors.path()).unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
