//! Kernel modules of a Debian tree, with their dependencies, in the order they load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_tools::command::CommandExt as _;

use crate::error::{HarnessError, file_error};

/// A kernel with its modules.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// Version, such as `6.12.48+deb13-amd64`.
    pub version: String,
    /// The image.
    pub image: PathBuf,
    /// Directory of the modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// The only kernel of a tree.
    pub fn find(tree: &Path) -> Result<Self, HarnessError> {
        let root = tree.join("usr/lib/modules");
        let entries = std::fs::read_dir(&root).map_err(file_error("could not list", &root))?;
        let mut versions: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join("modules.dep").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        versions.sort();
        let version = versions.pop().ok_or_else(|| {
            HarnessError::Unfit(format!("{} holds no kernel modules", root.display()))
        })?;
        let modules = root.join(&version);
        let places =
            [tree.join("boot").join(format!("vmlinuz-{version}")), modules.join("vmlinuz")];
        let image = places.into_iter().find(|path| path.exists()).ok_or_else(|| {
            HarnessError::Unfit(format!("{} holds no kernel {version}", tree.display()))
        })?;
        Ok(Self { version, image, modules })
    }

    /// The modules `wanted` and what they need, each after its needs, decompressed.
    /// What is built into the kernel is left out.
    pub fn load(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>, HarnessError> {
        let table = self.modules.join("modules.dep");
        let table =
            std::fs::read_to_string(&table).map_err(file_error("could not read", &table))?;
        let builtin = self.modules.join("modules.builtin");
        let builtin =
            std::fs::read_to_string(&builtin).map_err(file_error("could not read", &builtin))?;
        let order = order(&table, &builtin, wanted)?;
        order.iter().map(|file| Ok((name(file), bare(&self.decompress(file)?)?))).collect()
    }

    fn decompress(&self, file: &str) -> Result<Vec<u8>, HarnessError> {
        let path = self.modules.join(file);
        if !file.ends_with(".xz") {
            return std::fs::read(&path).map_err(file_error("could not read", &path));
        }
        let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(&path).output();
        let output = output.map_err(file_error("could not decompress", &path))?;
        if !output.status.success() {
            return Err(HarnessError::Unfit(format!("{} is not sound xz", path.display())));
        }
        Ok(output.stdout)
    }
}

/// A module without what the kernel would work through while it loads it, to no use here: types for
/// BPF (the first of them has it read its own, megabytes), trace events (each is compared with every
/// enumeration that is known: half of an emulated guest's start went into those of `nfsv4`), symbols
/// for debuggers, and the signature behind it.
fn bare(module: &[u8]) -> Result<Vec<u8>, HarnessError> {
    let made = tempfile::NamedTempFile::new();
    let file = made.map_err(file_error("could not make a file in", Path::new("/tmp")))?;
    let path = file.path();
    std::fs::write(path, module).map_err(file_error("could not write", path))?;
    let mut command = Command::new("objcopy");
    command.arg("--strip-debug");
    for section in [".BTF", ".BTF.base", "_ftrace_eval_map", "_ftrace_events"] {
        command.args(["--remove-section", section]);
    }
    command.arg(path).run()?;
    std::fs::read(path).map_err(file_error("could not read", path))
}

/// Files of `wanted` and their needs in load order, from `modules.dep`.
fn order(table: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>, HarnessError> {
    let needs: BTreeMap<String, (&str, Vec<&str>)> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needs)| (name(file), (file, needs.split_whitespace().collect())))
        .collect();
    let mut order: Vec<String> = Vec::new();
    for module in wanted {
        if builtin.lines().any(|file| name(file) == *module) {
            continue;
        }
        let (file, needs) = needs
            .get(*module)
            .ok_or_else(|| HarnessError::Unfit(format!("the kernel has no module `{module}`")))?;
        // modules.dep lists the needs of needs too, the deepest last.
        for file in needs.iter().rev().chain([file]) {
            if !order.iter().any(|known| known == file) {
                order.push((*file).to_owned());
            }
        }
    }
    Ok(order)
}

fn name(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_come_first_and_builtin_modules_are_left_out() {
        let table = "a/nfs-v4.ko.xz: a/nfs.ko.xz a/lockd.ko.xz a/sunrpc.ko.xz\na/nfs.ko.xz: a/lockd.ko.xz a/sunrpc.ko.xz\n";
        let order = order(table, "k/virtio_pci.ko\n", &["virtio_pci", "nfs", "nfs_v4"]).unwrap();
        assert_eq!(order, ["a/sunrpc.ko.xz", "a/lockd.ko.xz", "a/nfs.ko.xz", "a/nfs-v4.ko.xz"]);
    }

    #[test]
    fn an_unknown_module_is_an_error() {
        assert!(order("", "", &["nothing"]).is_err());
    }
}
