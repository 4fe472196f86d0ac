//! How a plan and its steps are named, for machines and for people.

use std::fmt;

use super::{FoundVolume, Plan, RepositoryPlace, Step};
use crate::facts::{DiskFacts, Facts};
use crate::size;
use bedplate_events::StepSummary;
use bedplate_events::shown::shown;

impl Step {
    /// Stable identifier, for example `luks-vm1`.
    pub fn id(&self) -> String {
        let (word, name) = match self {
            Self::CheckDisks { .. } => return "check-disks".into(),
            Self::PrepareStick { .. } => return "prepare-stick".into(),
            Self::KeepPool { name, .. } => ("keep", name.as_str()),
            Self::OpenSystem { role, .. } => ("open", role.as_str()),
            Self::FindSystem => return "find-system".into(),
            Self::FetchRepository { .. } => return "fetch-repository".into(),
            Self::Partition { role, .. } => ("partition", role.as_str()),
            Self::FormatEsp { role, .. } => ("esp", role.as_str()),
            Self::FormatLuks { role, .. } => ("luks", role.as_str()),
            Self::MakeFileSystem { name, file_system, .. } => (file_system.name(), name.as_str()),
            Self::WriteSystem { .. } => return "write-system".into(),
            Self::Mount { .. } => return "mount".into(),
            Self::CopyClosure => return "copy-closure".into(),
            Self::Enrol { .. } => return "enrol".into(),
            Self::BuildSystem { .. } => return "build-system".into(),
            Self::Activate => return "activate".into(),
            Self::VerifyKeys { .. } => return "verify-keys".into(),
            Self::Seal { .. } => return "seal".into(),
            Self::WriteBootEntry { .. } => return "boot-entry".into(),
            Self::Finish => return "finish".into(),
        };
        format!("{word}-{name}")
    }

    /// For people, for example `Encrypt vm1`.
    pub fn title(&self) -> String {
        match self {
            Self::CheckDisks { roles } => format!("Check the identity of {}", disks(roles.len())),
            Self::PrepareStick { sticks, .. } => {
                let names: Vec<_> = sticks.iter().map(|stick| stick.volume_id.as_str()).collect();
                let noun = if names.len() == 1 { "stick" } else { "sticks" };
                format!("Prepare key {noun} {}", names.join(", "))
            }
            Self::KeepPool { name, members, .. } => {
                format!("Open pool {name}, which is kept: {} disks", members.len())
            }
            Self::OpenSystem { role, .. } => format!("Open {role}, which is kept"),
            Self::FindSystem => "Find the installed system".into(),
            Self::FetchRepository { branch, from } => {
                format!("Fetch the branch {branch} of the repository from {from}")
            }
            Self::Partition { role, .. } => format!("Partition {role}"),
            Self::FormatEsp { role, .. } => format!("Make the EFI system partition on {role}"),
            Self::FormatLuks { role, .. } => format!("Encrypt {role}"),
            Self::MakeFileSystem { name, file_system, raid1: true, members, .. } => {
                let kind = file_system.name();
                format!("Make pool {name}: {kind} RAID1 over {} disks", members.len())
            }
            Self::MakeFileSystem { name, file_system, subvolumes, .. } => {
                let kind = file_system.name();
                format!("Make file system {name}: {kind} with {} subvolumes", subvolumes.len())
            }
            Self::WriteSystem { label, bytes, .. } => {
                format!("Write file system {label} from the medium: {}", size::show(*bytes))
            }
            Self::Mount { mounts } => format!("Mount {} file systems", mounts.len()),
            Self::CopyClosure => "Copy the system from the medium".into(),
            Self::Enrol { hosts, push: Some(_), remote: Some(remote) } => {
                format!("Enrol the host into {hosts} and push its branch to {remote}")
            }
            Self::Enrol { hosts, .. } => format!("Enrol the host into {hosts}"),
            Self::BuildSystem { .. } => "Build the system".into(),
            Self::Activate => "Activate the system".into(),
            Self::VerifyKeys { roles } => format!("Test both keys of {}", disks(roles.len())),
            Self::Seal { roles } => format!("Seal {}", disks(roles.len())),
            Self::WriteBootEntry { mirror: None, .. } => "Write the boot entry".into(),
            Self::WriteBootEntry { mirror: Some(mirror), .. } => {
                format!("Write the boot entry and its copy on {}", mirror.role)
            }
            Self::Finish => "Unmount and flush".into(),
        }
    }

    /// Role of the one disk the step works on.
    pub fn role(&self) -> Option<&str> {
        match self {
            Self::Partition { role, .. }
            | Self::FormatEsp { role, .. }
            | Self::OpenSystem { role, .. }
            | Self::FormatLuks { role, .. } => Some(role),
            _ => None,
        }
    }
}

impl fmt::Display for RepositoryPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Volume(FoundVolume { label, disk, partition, .. }) => {
                write!(formatter, "the volume {} ({}", shown(label), shown(disk))?;
                match partition {
                    Some(number) => write!(formatter, ", partition {number})"),
                    None => formatter.write_str(")"),
                }
            }
            Self::Ssh(ssh) => write!(formatter, "{}, known by its host key", ssh.url),
            Self::Https(https) => write!(formatter, "{}, known by its public key", https.url),
        }
    }
}

impl Plan {
    /// The branch of the repository that is fetched, and where from; none when it comes with the
    /// answers.
    pub fn fetches(&self) -> Option<(&str, &RepositoryPlace)> {
        self.steps.iter().find_map(|step| match step {
            Step::FetchRepository { branch, from } => Some((branch.as_str(), from)),
            _ => None,
        })
    }

    /// For people, for example `install hypervisor`.
    pub fn title(&self) -> String {
        if self.repairs() {
            return format!("repair the boot entry of {}", self.host_name);
        }
        Self::title_for(&self.host_name)
    }

    /// Whether a finished installation is made to boot again, and nothing else.
    pub fn repairs(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::OpenSystem { .. }))
    }

    /// The title of a plan for the host of this name.
    pub fn title_for(host_name: &str) -> String {
        format!("install {host_name}")
    }

    /// The steps as they are announced: titles with the id of the disk they work on.
    pub fn summaries(&self) -> Vec<StepSummary> {
        let title = |step: &Step| {
            let disk =
                step.role().and_then(|role| self.disks.iter().find(|disk| disk.role == role));
            disk.map_or_else(|| step.title(), |disk| format!("{} ({})", step.title(), disk.id))
        };
        self.steps.iter().map(|step| StepSummary { id: step.id(), title: title(step) }).collect()
    }

    /// Whether the disk of a role belongs to a pool that is kept.
    pub fn keeps(&self, role: &str) -> bool {
        self.steps.iter().any(|step| match step {
            Step::KeepPool { members, .. } => members.iter().any(|member| member.role == role),
            _ => false,
        })
    }

    /// The steps in few lines: those of one kind that follow each other are one, `Encrypt bulk1, bulk2`.
    pub fn folded(&self) -> Vec<String> {
        let mut lines: Vec<(String, String)> = Vec::new();
        for step in &self.steps {
            let title = step.title();
            let kind = step.role().and_then(|role| title.strip_suffix(role)).unwrap_or_default();
            match lines.last_mut() {
                Some((before, line)) if !kind.is_empty() && before == kind => {
                    line.push_str(&format!(", {}", step.role().unwrap_or_default()));
                }
                _ => lines.push((kind.to_owned(), title)),
            }
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// The disks that lose what is on them: a line for each, and what is on it now.
    pub fn erased(&self) -> Vec<(String, Vec<String>)> {
        let role = |destroyed: &super::Destroyed| destroyed.role.as_str().len();
        let width = self.destroys.iter().map(role).max().unwrap_or(0);
        let line = |destroyed: &super::Destroyed| {
            let size = self.size_of(&destroyed.role).map_or_else(String::new, size::show);
            let line = format!("{:<width$}  {size:>7}  {}", destroyed.role.as_str(), destroyed.id);
            (line, brief(&destroyed.content))
        };
        self.destroys.iter().map(line).collect()
    }

    fn size_of(&self, role: &str) -> Option<u64> {
        self.disks.iter().find(|disk| disk.role == role).map(|disk| disk.size)
    }

    /// The disks of the machine that the plan does not touch, each as its owner may know it.
    pub fn left_alone(&self, facts: &Facts) -> Vec<String> {
        let sticks = self.steps.iter().filter_map(|step| match step {
            Step::PrepareStick { sticks, .. } => Some(sticks),
            _ => None,
        });
        let sticks: Vec<&str> = sticks.flatten().filter_map(|it| it.id.as_deref()).collect();
        let is_named = |disk: &&DiskFacts| {
            self.disks.iter().any(|one| disk.has_id(&one.id))
                || sticks.iter().any(|id| disk.has_id(id))
        };
        let line = |disk: &DiskFacts| {
            let known = disk.by_id.first().or(disk.model.as_ref()).map_or("", String::as_str);
            let is_medium = facts.boot_medium.as_deref() == Some(disk.kernel_name.as_str());
            let medium = if is_medium { "the medium, " } else { "" };
            let known = if known.is_empty() { String::new() } else { shown(known) + ", " };
            format!("{} ({medium}{known}{})", shown(&disk.kernel_name), size::show(disk.size))
        };
        let is_own = |disk: &&DiskFacts| !VIRTUAL.contains(&disk.transport.as_str());
        facts.disks.iter().filter(|disk| !is_named(disk)).filter(is_own).map(line).collect()
    }

    /// What becomes of the disks, in one line: `2 disks erased (4.5 TB), 1 blank disk written to`.
    pub fn comes_to(&self) -> String {
        let sizes = self.destroys.iter().map(|it| self.size_of(&it.role).unwrap_or(0));
        let erased: Vec<_> = sizes.collect();
        let is_erased = |role: &str| self.destroys.iter().any(|it| it.role == role);
        let (mut blank, mut kept, mut finished) = (0, 0, 0);
        for disk in self.disks.iter().filter(|disk| !is_erased(&disk.role)) {
            match disk {
                disk if self.keeps(&disk.role) => kept += 1,
                disk if disk.sealed || disk.resume => finished += 1,
                _ => blank += 1,
            }
        }
        let total = size::show(erased.iter().fold(0, |sum: u64, one| sum.saturating_add(*one)));
        let mut parts = match erased.len() {
            0 => vec!["nothing erased".to_owned()],
            count => vec![format!("{} erased ({total})", disks(count))],
        };
        let mut part = |count: usize, adjective: &str, what: &str| {
            let noun = if count == 1 { "disk" } else { "disks" };
            if count > 0 {
                parts.push(format!("{count} {adjective}{noun} {what}"));
            }
        };
        part(blank, "blank ", "written to");
        part(finished, "", "of this plan finished");
        part(kept, "", "kept with all data");
        parts.join(", ")
    }

    /// What is destroyed, one line for each piece of content.
    pub fn destroyed_lines(&self) -> Vec<String> {
        let lines = |destroyed: &super::Destroyed| {
            let place = format!("{} ({})", destroyed.role, destroyed.id);
            destroyed
                .content
                .iter()
                .map(move |content| format!("{place}: {content}"))
                .collect::<Vec<_>>()
        };
        self.destroys.iter().flat_map(lines).collect()
    }
}

/// What stands on memory, files and other disks: nobody has one of these in the hand.
const VIRTUAL: [&str; 7] = ["dm", "floppy", "loop", "md", "optical", "ram", "zram"];

/// What a screen has room for.
const MOST: usize = 4;

/// The first of many lines, and how many more there are.
fn brief(lines: &[String]) -> Vec<String> {
    let mut shown: Vec<_> = lines.iter().take(MOST).cloned().collect();
    if let Some(more) = lines.len().checked_sub(MOST).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown
}

fn disks(count: usize) -> String {
    if count == 1 { "1 disk".into() } else { format!("{count} disks") }
}
