//! A directory that shows a machine as `/` does.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bedplate_facts::machine;
use bedplate_facts::probe::Finding;
use bedplate_facts::roots::Roots;
use bedplate_model::facts::Facts;

/// A block device to be shown.
pub struct Device {
    name: String,
    number: String,
    size: u64,
    parent: String,
    files: Vec<(String, String)>,
    udev: Vec<(String, String)>,
    partitions: Vec<(u32, u64, String)>,
}

impl Device {
    pub fn new(name: &str, number: &str, size: u64) -> Self {
        Self {
            name: name.into(),
            number: number.into(),
            size,
            parent: "virtual".into(),
            files: Vec::new(),
            udev: Vec::new(),
            partitions: Vec::new(),
        }
    }

    /// Where it hangs, below /sys/devices.
    pub fn under(mut self, parent: &str) -> Self {
        self.parent = parent.into();
        self
    }

    /// A file below its directory in /sys.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// A property in udev's record.
    pub fn udev(mut self, key: &str, value: &str) -> Self {
        self.udev.push((key.into(), value.into()));
        self
    }

    pub fn partition(mut self, number: u32, size: u64, device: &str) -> Self {
        self.partitions.push((number, size, device.into()));
        self
    }
}

/// The tree; it goes when the value does.
pub struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    pub fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn write(&self, path: impl AsRef<Path>, content: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn append(&self, path: &str, line: &str) {
        let old = fs::read_to_string(self.root.path().join(path)).unwrap_or_default();
        self.write(path, &format!("{old}{line}\n"));
    }

    fn link(&self, path: impl AsRef<Path>, to: &Path) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    pub fn uefi(&self, memory: u64) {
        fs::create_dir_all(self.root.path().join("sys/firmware/efi")).unwrap();
        self.write("proc/meminfo", &format!("MemTotal:       {} kB\n", memory / 1024));
    }

    pub fn disk(&self, device: &Device) {
        let place =
            PathBuf::from("sys/devices").join(&device.parent).join("block").join(&device.name);
        let defaults = [("ro", "0"), ("removable", "0"), ("queue/logical_block_size", "512")];
        for (path, content) in defaults {
            self.write(place.join(path), content);
        }
        self.write(place.join("size"), &format!("{}\n", device.size / 512));
        self.write(place.join("dev"), &format!("{}\n", device.number));
        for (path, content) in &device.files {
            self.write(place.join(path), &format!("{content}\n"));
        }
        let properties: String =
            device.udev.iter().map(|(key, value)| format!("E:{key}={value}\n")).collect();
        self.write(format!("run/udev/data/b{}", device.number), &format!("I:1\n{properties}"));
        let whole = self.root.path().join(&place);
        self.link(format!("sys/block/{}", device.name), &whole);
        self.link(format!("sys/class/block/{}", device.name), &whole);
        self.link(format!("sys/dev/block/{}", device.number), &whole);
        self.write(format!("dev/{}", device.name.replace('!', "/")), "");
        for (number, size, dev) in &device.partitions {
            let separator =
                if device.name.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
            let name = format!("{}{separator}{number}", device.name);
            let own = place.join(&name);
            self.write(own.join("partition"), &number.to_string());
            self.write(own.join("size"), &(size / 512).to_string());
            self.write(own.join("dev"), dev);
            self.link(format!("sys/class/block/{name}"), &self.root.path().join(&own));
            self.link(format!("sys/dev/block/{dev}"), &self.root.path().join(&own));
            self.write(format!("dev/{}", name.replace('!', "/")), "");
        }
    }

    /// A device-mapper device.
    pub fn mapping(&self, name: &str, title: &str, uuid: &str, number: &str, size: u64) {
        self.disk(&Device::new(name, number, size).file("dm/name", title).file("dm/uuid", uuid));
    }

    pub fn slave(&self, mapping: &str, part: &str) {
        let class = self.root.path().join("sys/class/block");
        let (mapping, target) = (
            fs::canonicalize(class.join(mapping)).unwrap(),
            fs::canonicalize(class.join(part)).unwrap(),
        );
        fs::create_dir_all(mapping.join("slaves")).unwrap();
        symlink(&target, mapping.join("slaves").join(part)).unwrap();
        fs::create_dir_all(target.join("holders")).unwrap();
        symlink(&mapping, target.join("holders").join(mapping.file_name().unwrap())).unwrap();
    }

    pub fn by_id(&self, name: &str, kernel_name: &str) {
        let target = PathBuf::from("../..").join(kernel_name.replace('!', "/"));
        self.link(format!("dev/disk/by-id/{name}"), &target);
    }

    /// What a look into a device finds; `fails` for a device that cannot be read.
    pub fn look(&self, name: &str, kind: &str, label: Option<&str>, uuid: Option<&str>) {
        let line = format!("{kind}\t{}\t{}", label.unwrap_or("-"), uuid.unwrap_or("-"));
        self.append(&format!("dev/{name}"), &line);
    }

    pub fn swap(&self, source: &str) {
        self.append("proc/swaps", &format!("{source} partition 1 0 -2"));
    }

    pub fn mount(&self, number: &str, at: &str, source: &str) {
        let at = at.replace(' ', "\\040");
        let line = format!("30 1 {number} / {at} rw,relatime - ext4 {source} rw");
        self.append("proc/self/mountinfo", &line);
    }

    pub fn btrfs_member(&self, id: &str, label: &str, name: &str) {
        self.write(format!("sys/fs/btrfs/{id}/label"), label);
        self.write(format!("sys/fs/btrfs/{id}/devices/{name}/x"), "");
    }

    pub fn nic(&self, name: &str, mac: &str, driver: &str, link: bool) {
        let place = format!("sys/class/net/{name}");
        self.write(format!("{place}/address"), mac);
        self.write(format!("{place}/carrier"), if link { "1" } else { "0" });
        self.link(format!("{place}/device/driver"), &Path::new("../drivers").join(driver));
    }

    pub fn nic_without_device(&self, name: &str) {
        self.write(format!("sys/class/net/{name}/address"), "00:00:00:00:00:00");
    }

    pub fn facts(&self) -> Facts {
        machine::read(&Roots::below(self.root.path(), Some(look)))
    }
}

/// Stands for libblkid: a fixture's device is a list of findings.
fn look(node: &Path) -> Result<Vec<Finding>, Box<dyn Error + Send + Sync>> {
    let said = |word: &str| (word != "-").then(|| word.to_owned());
    let finding = |line: &str| {
        let mut words = line.split('\t');
        let kind = words.next().filter(|kind| *kind != "fails").ok_or("input/output error")?;
        let (label, uuid) = (words.next().and_then(said), words.next().and_then(said));
        Ok(Finding { kind: kind.to_owned(), label, uuid })
    };
    fs::read_to_string(node)?.lines().map(finding).collect()
}
