//! Disks that vanish or report errors while they are installed to.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bedplate_model::facts::Facts;
use bedplate_model::name::Role;
use bedplate_model::plan::Plan;

/// The longest record the kernel gives.
const RECORD: usize = 8192;

/// What befell a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The kernel no longer has it.
    Gone,
    /// The kernel reported that reading or writing failed; its own words.
    Errors(String),
}

/// The kernel's word on the disks of a plan, from the moment it was made.
#[derive(Debug)]
pub struct Health {
    /// Role by kernel name.
    roles: BTreeMap<String, Role>,
    sys_block: PathBuf,
    kernel: Mutex<Kernel>,
}

#[derive(Debug)]
struct Kernel {
    log: Option<File>,
    /// The first error of each role.
    errors: BTreeMap<Role, String>,
}

impl Health {
    /// Watches the disks of a plan from now on.
    pub fn watch(plan: &Plan, facts: &Facts) -> Self {
        let role = |disk: &bedplate_model::plan::DiskTarget| {
            let found = facts.disks.iter().find(|facts| facts.has_id(&disk.id))?;
            Some((found.kernel_name.clone(), disk.role.clone()))
        };
        let roles = plan.disks.iter().filter_map(role).collect();
        let log = kernel_log().ok();
        let kernel = Mutex::new(Kernel { log, errors: BTreeMap::new() });
        Self { roles, sys_block: "/sys/block".into(), kernel }
    }

    /// What befell the disks so far, by role.
    pub fn look(&self) -> BTreeMap<Role, Trouble> {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        for line in kernel.log.as_mut().map(new_lines).unwrap_or_default() {
            if let Some(role) = disk_of_error(&line).and_then(|disk| self.roles.get(disk)) {
                kernel.errors.entry(role.clone()).or_insert(line);
            }
        }
        let mut found: BTreeMap<Role, Trouble> = kernel
            .errors
            .iter()
            .map(|(role, line)| (role.clone(), Trouble::Errors(line.clone())))
            .collect();
        let gone = |name: &&String| !self.sys_block.join(Path::new(name)).exists();
        for name in self.roles.keys().filter(gone) {
            if let Some(role) = self.roles.get(name) {
                found.insert(role.clone(), Trouble::Gone);
            }
        }
        found
    }
}

/// The kernel's log, from its present end.
fn kernel_log() -> std::io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut log = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg")?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

/// Each read gives one record: `6,339,5140900,-;text`, with continuation lines after it.
fn new_lines(log: &mut File) -> Vec<String> {
    let mut lines = Vec::new();
    let mut record = vec![0; RECORD];
    loop {
        match log.read(&mut record) {
            Ok(count @ 1..) => {
                let text = String::from_utf8_lossy(record.get(..count).unwrap_or_default());
                let message = text.split_once(';').map_or("", |(_, message)| message);
                lines.extend(message.lines().next().map(str::to_owned));
            }
            // The oldest records were overwritten; the next read goes on behind the gap.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            _ => return lines,
        }
    }
}

/// The disk of `I/O error, dev nvme1n1, sector 2048 op 0x1:(WRITE) …`; none when nothing was
/// lost, as when a discard is refused.
fn disk_of_error(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" error, dev ")?;
    let (disk, rest) = rest.split_once(',')?;
    ["(READ)", "(WRITE)"].iter().any(|operation| rest.contains(operation)).then_some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f2_failed_reads_and_writes_name_their_disk_and_refused_discards_do_not() {
        let write = "critical medium error, dev nvme1n1, sector 2048 op 0x1:(WRITE) flags 0x8800";
        assert_eq!(disk_of_error(write), Some("nvme1n1"));
        let read = "I/O error, dev sda, sector 0 op 0x0:(READ) flags 0x80700 phys_seg 4";
        assert_eq!(disk_of_error(read), Some("sda"));
        let discard = "operation not supported error, dev sda, sector 8 op 0x3:(DISCARD) flags 0x0";
        assert_eq!(disk_of_error(discard), None);
        assert_eq!(disk_of_error("Buffer I/O error on dev dm-1, logical block 0"), None);
    }

    #[test]
    fn f3_a_disk_that_the_kernel_no_longer_has_is_gone() {
        let sys_block = tempfile::tempdir().unwrap();
        std::fs::create_dir(sys_block.path().join("sda")).unwrap();
        let roles = [("sda", "os"), ("sdb", "vm1")];
        let health = Health {
            roles: roles.map(|(name, role)| (name.into(), role.parse().unwrap())).into(),
            sys_block: sys_block.path().to_owned(),
            kernel: Mutex::new(Kernel { log: None, errors: BTreeMap::new() }),
        };
        assert_eq!(health.look(), BTreeMap::from([("vm1".parse().unwrap(), Trouble::Gone)]));
    }
}
