//! Boot sectors that end QEMU by the device isa-debug-exit, and how QEMU is started with one.

use std::path::Path;
use std::process::Command;

/// Port of the device that ends QEMU.
const EXIT_PORT: u8 = 0xf4;
/// What a sector writes there; QEMU's exit status is twice that plus one.
const EXIT_VALUE: u8 = 0x2a;
/// The status with which QEMU ends when a sector has told it to.
pub const STATUS: i32 = EXIT_VALUE as i32 * 2 + 1;

/// `mov al, value; out port, al; hlt`
const EXIT: [u8; 5] = [0xb0, EXIT_VALUE, 0xe6, EXIT_PORT, 0xf4];

/// A sector that counts down from `count` and then ends QEMU.
pub fn that_counts(count: u32) -> [u8; 512] {
    // mov ecx, count; again: dec ecx; jnz again
    let mut code = vec![0x66, 0xb9];
    code.extend(count.to_le_bytes());
    code.extend([0x66, 0x49, 0x75, 0xfc]);
    code.extend(EXIT);
    sector(&code)
}

fn sector(code: &[u8]) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..code.len()].copy_from_slice(code);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Adds to a QEMU, whose accelerator and processor are chosen, what it takes to boot the sector in
/// this file.
pub fn boot(command: &mut Command, file: &Path) {
    let drive = format!("file={},format=raw,if=ide", file.display());
    let exit = format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=0x01");
    command.args(["-M", "pc", "-m", "16", "-display", "none", "-nodefaults", "-no-reboot"]);
    command.args(["-drive", &drive, "-device", &exit]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_one_that_a_bios_boots() {
        assert_eq!(that_counts(1)[510..], [0x55, 0xaa]);
    }

    #[test]
    fn emulation_counts_to_the_end_and_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), that_counts(1000)).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-accel", "tcg"]);
        boot(&mut command, file.path());
        assert_eq!(command.status().unwrap().code(), Some(STATUS));
    }
}
