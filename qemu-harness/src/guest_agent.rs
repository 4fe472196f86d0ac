//! QEMU's real guest agent, for the small guest: Debian's program, the libraries it was linked
//! with, and a file system that it can freeze.

use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_tools::command::CommandExt as _;

use crate::error::{HarnessError, file_error};

/// From Debian's package `qemu-guest-agent`.
const PROGRAM: &str = "/usr/sbin/qemu-ga";
/// What the guest loads for it. ext4 asks for a sum by name, which `modules.dep` does not know.
pub(crate) const MODULES: [&str; 4] = ["virtio_blk", "virtio_console", "crc32c_generic", "ext4"];

/// What a guest with an agent carries beside what every guest does.
#[derive(Debug, Clone)]
pub struct GuestAgent {
    /// Paths without a leading `/`, and contents; all of them programs or libraries.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// An ext4 file system for the disk's second partition.
    pub(crate) volume: Vec<u8>,
}

impl GuestAgent {
    /// The one of this machine; `directory` is for what is made on the way.
    pub fn installed_here(directory: &Path) -> Result<Self, HarnessError> {
        let libraries = libraries(&Command::new("ldd").arg(PROGRAM).read()?);
        let mut files = Vec::new();
        for path in [PathBuf::from(PROGRAM)].into_iter().chain(libraries) {
            let content = std::fs::read(&path).map_err(file_error("could not read", &path))?;
            files.push((path.display().to_string().trim_start_matches('/').to_owned(), content));
        }
        let volume = directory.join("guest.data.raw");
        let mut make = Command::new("/usr/sbin/mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-L", "data"]).arg(&volume).arg("8M").run()?;
        let bytes = std::fs::read(&volume).map_err(file_error("could not read", &volume))?;
        std::fs::remove_file(&volume).map_err(file_error("could not remove", &volume))?;
        Ok(Self { files, volume: bytes })
    }

    /// The directories of its files, each after the one it lies in.
    pub(crate) fn directories(&self) -> Vec<String> {
        let mut directories = Vec::new();
        for (path, _) in &self.files {
            for (end, _) in path.match_indices('/') {
                let parent = path.get(..end).unwrap_or_default().to_owned();
                if !directories.contains(&parent) {
                    directories.push(parent);
                }
            }
        }
        directories
    }
}

/// The files that `ldd` names; the loader stands there without an arrow.
fn libraries(listed: &str) -> Vec<PathBuf> {
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    listed.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_libraries_are_those_that_lie_in_files() {
        let listed = "\tlinux-vdso.so.1 (0x00007fdd5f504000)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fdd5efb7000)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007fdd5f506000)\n";
        let paths = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(libraries(listed), paths.map(PathBuf::from));
        let files = paths.map(|path| (path.trim_start_matches('/').to_owned(), Vec::new())).into();
        let agent = GuestAgent { files, volume: Vec::new() };
        assert_eq!(agent.directories(), ["lib", "lib/x86_64-linux-gnu", "lib64"]);
    }
}
