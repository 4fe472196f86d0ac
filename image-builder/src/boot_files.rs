//! What firmware needs: the small EFI system partition, GRUB's menu, GRUB for BIOS.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bedplate_tools::command::CommandExt as _;
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::error::{Error, file, tool};
use crate::tree_nix::TreePrograms;

/// El Torito counts its load size in 16 bits of 512 bytes: the partition must stay below 32 MiB.
const ESP_BYTES: u64 = 8 << 20;

/// Kernel command line of the live system. The last console is the one programs write to. Without
/// `panic=` a kernel that cannot go on stays as it is, with its last words on the screen (Linux's
/// admin-guide/kernel-parameters.txt): a reboot would hide them, and begin the same again.
const COMMAND_LINE: &str = "console=tty0 console=ttyS0 quiet systemd.ssh_auto=no";

/// Modules in GRUB's image for BIOS: enough to read the menu and boot.
const BIOS_MODULES: &[&str] = &[
    "biosdisk",
    "iso9660",
    "part_gpt",
    "part_msdos",
    "normal",
    "configfile",
    "linux",
    "search",
    "search_label",
    "echo",
    "serial",
    "terminal",
    "test",
    "all_video",
];

/// GRUB's menu.
pub(crate) fn menu() -> String {
    format!(
        "set timeout=1\n\
         insmod all_video\n\
         menuentry 'Bedplate' {{\n  linux /live/vmlinuz {COMMAND_LINE}\n  initrd /live/initrd\n}}\n\
         menuentry 'Bedplate, all messages on the screen' {{\n  \
         linux /live/vmlinuz console=ttyS0 console=tty0\n  initrd /live/initrd\n}}\n"
    )
}

/// Writes the EFI system partition with shim and GRUB's signed CD image from the tree.
pub(crate) fn esp(tree: &Path, output: &Path) -> Result<(), Error> {
    let shim = tree.join("usr/lib/shim/shimx64.efi.signed");
    let grub = tree.join("usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed");
    let files = [(shim, "BOOTX64.EFI"), (grub, "grubx64.efi")];
    let contents = files.map(|(path, name)| {
        fs::read(&path).map(|content| (name, content)).map_err(file("read", &path))
    });
    let mut image = fs::OpenOptions::new();
    let image = image.read(true).write(true).create(true).truncate(true).open(output);
    let mut image = image.map_err(file("make", output))?;
    fill(&mut image, contents.into_iter().collect::<Result<_, _>>()?).map_err(file("write", output))
}

fn fill(image: &mut File, contents: Vec<(&str, Vec<u8>)>) -> std::io::Result<()> {
    image.set_len(ESP_BYTES)?;
    let options = FormatVolumeOptions::new().volume_id(0x4245_4450).volume_label(*b"ESP        ");
    fatfs::format_volume(&mut *image, options)?;
    let system = FileSystem::new(image, FsOptions::new().update_accessed_date(false))?;
    let directory = system.root_dir().create_dir("EFI")?.create_dir("BOOT")?;
    for (name, content) in contents {
        let mut file = directory.create_file(name)?;
        file.write_all(&content)?;
        file.flush()?;
    }
    Ok(())
}

/// Writes GRUB's El Torito image for BIOS; returns the code for the boot sector.
pub(crate) fn bios(tree: &Path, output: &Path) -> Result<PathBuf, Error> {
    let modules = tree.join("usr/lib/grub/i386-pc");
    let mut command = TreePrograms::new(tree).command("usr/bin/grub-mkimage", "grub-mkimage");
    command.args(["-O", "i386-pc-eltorito", "-p", "/boot/grub", "-d"]).arg(&modules);
    command.arg("-o").arg(output).args(BIOS_MODULES);
    command.run().map_err(tool("make GRUB's image for BIOS"))?;
    Ok(modules.join("boot_hybrid.img"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t09_a_medium_that_cannot_go_on_never_starts_the_machine_again() {
        let menu = menu();
        let lines: Vec<&str> = menu.lines().filter(|line| line.contains("linux ")).collect();
        assert_eq!(lines.len(), 2, "{menu}");
        for line in lines {
            assert!(!line.contains("panic="), "{line}");
        }
        let unit = include_str!("../live/etc/systemd/system/bedplate-installer.service.in");
        for reboot in ["SuccessAction", "FailureAction", "Restart", "reboot"] {
            assert!(!unit.contains(reboot), "{reboot} in the installer's unit");
        }
        // However it ends, by a panic too: whoever stands in front of a screen gets a shell there.
        for ends in ["OnSuccess=", "OnFailure="] {
            let shells = unit.lines().find_map(|line| line.strip_prefix(ends)).unwrap();
            let wanted = ["serial-getty@ttyS0.service", "getty@tty1.service"];
            assert_eq!(shells.split_whitespace().collect::<Vec<_>>(), wanted, "{ends}");
        }
        // And what was said last stays above that shell.
        let shell = include_str!("../live/etc/systemd/system/getty@tty1.service.d/autologin.conf");
        assert!(shell.lines().any(|line| line == "TTYVTDisallocate=no"), "{shell}");
    }
}
