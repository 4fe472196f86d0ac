//! The kernel modules of the initrd: a list, what it depends on, and the order to load them in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, file, unfit};
use bedplate_tools::cpio::Archive;

/// The modules asked for, one a line.
pub(crate) const LIST: &str = include_str!("../packages/modules.txt");

/// Directories the initramfs has from the start.
const SKELETON: &[&str] = &["dev", "proc", "sys", "run", "sysroot", "tmp"];

/// What `depmod` found out about the modules of one kernel.
struct Modules {
    directory: PathBuf,
    /// Name to path and the paths it depends on, both relative to `directory`.
    known: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
}

/// The version of the one kernel in `root`.
pub(crate) fn kernel_version(root: &Path) -> Result<String, Error> {
    let directory = root.join("usr/lib/modules");
    let entries = fs::read_dir(&directory).map_err(file("list", &directory))?;
    let mut versions: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    match (versions.pop(), versions.is_empty()) {
        (Some(version), true) => Ok(version),
        _ => Err(unfit("the kernels in", &directory, "there must be exactly one")),
    }
}

/// The archive with the modules of `root` that `list` names, for kernel `version`, zstd.
pub(crate) fn archive(root: &Path, version: &str, list: &str) -> Result<Vec<u8>, Error> {
    let modules = Modules::read(root.join("usr/lib/modules").join(version))?;
    let order = modules.order(names(list))?;
    let at = modules.directory.as_path();
    let encoder = zstd::Encoder::new(Vec::new(), 15).map_err(file("compress modules of", at))?;
    let mut archive = Archive::new(encoder);
    for directory in SKELETON {
        archive.directory(directory).map_err(file("archive", at))?;
    }
    let mut list = String::new();
    for path in &order {
        let content = decompressed(&modules.directory.join(path))?;
        let name = format!("lib/modules/{version}/{}", path.trim_end_matches(".xz"));
        archive.file(&name, 0o444, &content).map_err(file("archive", at))?;
        list.push_str(&format!("/{name}\n"));
    }
    archive.file("lib/modules/order", 0o444, list.as_bytes()).map_err(file("archive", at))?;
    let encoder = archive.finish().map_err(file("archive", at))?;
    encoder.finish().map_err(file("compress modules of", at))
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The name of a module by its path: `kernel/fs/fat/vfat.ko.xz` is `vfat`, with underscores.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn decompressed(path: &Path) -> Result<Vec<u8>, Error> {
    let mut source = File::open(path).map_err(file("open", path))?;
    let mut content = Vec::new();
    let read = if path.extension().is_some_and(|extension| extension == "xz") {
        liblzma::read::XzDecoder::new(source).read_to_end(&mut content)
    } else {
        source.read_to_end(&mut content)
    };
    read.map_err(file("decompress", path))?;
    Ok(content)
}

impl Modules {
    fn read(directory: PathBuf) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).map_err(file("read", &path))
        };
        let dependencies = read("modules.dep")?;
        let builtin = read("modules.builtin")?.lines().map(name).collect();
        let known = dependencies.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            Some((name(path), (path.to_owned(), needs)))
        });
        Ok(Self { known: known.collect(), builtin, directory })
    }

    /// The paths to load, each after what it depends on.
    fn order<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, Error> {
        let mut order = Vec::new();
        for wanted in names.map(|wanted| wanted.replace('-', "_")) {
            if self.known.contains_key(&wanted) {
                self.visit(&wanted, &mut order);
            } else if !self.builtin.contains(&wanted) {
                let why = format!("there is no module `{wanted}`");
                return Err(unfit("the kernel's modules in", &self.directory, why));
            }
        }
        Ok(order)
    }

    fn visit(&self, wanted: &str, order: &mut Vec<String>) {
        let Some((path, needs)) = self.known.get(wanted) else { return };
        if order.contains(path) {
            return;
        }
        // modules.dep lists all dependencies of a module, those that others need last.
        for need in needs.iter().rev() {
            self.visit(&name(need), order);
        }
        order.push(path.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> Modules {
        let directory = tempfile::tempdir().unwrap();
        let dependencies = "kernel/a.ko.xz: kernel/b-b.ko.xz kernel/c.ko.xz\n\
            kernel/b-b.ko.xz: kernel/c.ko.xz\nkernel/c.ko.xz:\n";
        fs::write(directory.path().join("modules.dep"), dependencies).unwrap();
        fs::write(directory.path().join("modules.builtin"), "kernel/d-d.ko\n").unwrap();
        Modules::read(directory.path().to_owned()).unwrap()
    }

    #[test]
    fn a_module_comes_after_what_it_depends_on_and_once() {
        let order = modules().order(["a", "b-b", "d_d"].into_iter()).unwrap();
        assert_eq!(order, ["kernel/c.ko.xz", "kernel/b-b.ko.xz", "kernel/a.ko.xz"]);
    }

    #[test]
    fn an_unknown_module_is_refused() {
        let error = modules().order(["nosuch"].into_iter()).unwrap_err();
        assert!(error.to_string().contains("nosuch"));
    }
}
