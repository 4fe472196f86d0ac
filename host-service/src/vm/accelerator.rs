//! What runs guests: KVM when it really does, software otherwise.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Size of the firmware that the probe boots.
const FIRMWARE_SIZE: usize = 1 << 16;
/// Where a processor begins to execute, counted from the end of the firmware.
const RESET_VECTOR: usize = FIRMWARE_SIZE - 16;
/// `mov dx, 0x501; mov al, 0x10; out dx, al; hlt`: tells the device isa-debug-exit.
const PROGRAM: [u8; 7] = [0xba, 0x01, 0x05, 0xb0, 0x10, 0xee, 0xf4];
/// What QEMU exits with then: `(0x10 << 1) | 1`.
const SAID_SO: i32 = 0x21;
/// How long the probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What runs guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's own emulation.
    #[default]
    Software,
}

impl Accelerator {
    /// `type` of a domain.
    pub fn domain_type(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Software => "qemu",
        }
    }

    /// The answer found earlier in this boot, or found now. `/dev/kvm` can exist and not
    /// work, so something tiny is booted with it.
    pub fn of_this_boot(runtime: &Path) -> io::Result<Self> {
        let remembered = runtime.join("accelerator");
        match fs::read_to_string(&remembered).as_deref().map(str::trim) {
            Ok("kvm") => return Ok(Self::Kvm),
            Ok("qemu") => return Ok(Self::Software),
            _ => {}
        }
        let works = Path::new("/dev/kvm").exists() && boots_with_kvm().unwrap_or(false);
        let found = if works { Self::Kvm } else { Self::Software };
        fs::create_dir_all(runtime)?;
        fs::write(remembered, found.domain_type())?;
        Ok(found)
    }
}

fn boots_with_kvm() -> io::Result<bool> {
    let mut firmware = tempfile::NamedTempFile::new()?;
    firmware.write_all(&firmware_image())?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "kvm", "-cpu", "host", "-machine", "pc", "-m", "16", "-nodefaults"]);
    command.args(["-display", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0x501"]);
    command.arg("-bios").arg(firmware.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code() == Some(SAID_SO));
        }
        sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

fn firmware_image() -> Vec<u8> {
    let mut image = vec![0xf4; RESET_VECTOR];
    image.extend(PROGRAM);
    image.resize(FIRMWARE_SIZE, 0xf4);
    image
}
