//! Plans of changes for people and for the event stream.

use super::{Leaving, MemberPlan, MemberStep, MemberTask};
use bedplate_events::StepSummary;
use bedplate_model::plan::Destroyed;

impl MemberPlan {
    /// For people, for example `replace vm2 in pool vmstore`.
    pub fn title(&self) -> String {
        let (role, pool) = (&self.role, &self.pool);
        match self.task {
            MemberTask::Replace => format!("replace {role} in pool {pool}"),
            MemberTask::Add => format!("add {role} to pool {pool}"),
            MemberTask::Remove => format!("remove {role} from pool {pool}"),
        }
    }

    /// The steps as they are announced.
    pub fn summaries(&self) -> Vec<StepSummary> {
        let disk = self.disk.as_ref().map_or("", |disk| disk.id.as_str());
        let summary = |step: &MemberStep| StepSummary {
            id: step.id().to_owned(),
            title: step.title(&self.role, disk, &self.pool),
        };
        self.steps.iter().map(summary).collect()
    }

    /// What is destroyed, one line each.
    pub fn destroyed_lines(&self) -> Vec<String> {
        let lines = |one: &Destroyed| {
            let place = format!("{} ({})", one.role, one.id);
            one.content.iter().map(move |content| format!("{place}: {content}")).collect::<Vec<_>>()
        };
        self.destroys.iter().flat_map(lines).collect()
    }
}

impl MemberStep {
    /// Stable identifier.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Partition { .. } => "partition",
            Self::FormatEsp { .. } => "esp",
            Self::MirrorEsp { .. } => "mirror",
            Self::FormatLuks { .. } => "luks",
            Self::Record { .. } => "record",
            Self::Join { .. } => "join",
            Self::Leave { .. } => "leave",
            Self::Convert => "convert",
            Self::SaveHeader { .. } => "save-header",
            Self::Seal { .. } => "seal",
        }
    }

    fn title(&self, role: &str, disk: &str, pool: &str) -> String {
        match self {
            Self::Partition { .. } => format!("Partition {disk}"),
            Self::FormatEsp { .. } => {
                format!("Make the file system of the copy of the ESP on {disk}")
            }
            Self::MirrorEsp { .. } => format!("Bring the copy of the ESP on {role} into step"),
            Self::FormatLuks { .. } => format!("Encrypt {disk} as {role}, test both keys"),
            Self::Record { epoch } => format!("Keep that {role} is disk number {}", epoch + 1),
            Self::Join { .. } => format!("Add it to pool {pool}"),
            Self::Leave { device: Leaving::Missing(_) } => {
                format!("Make the second copy of what the missing disk held, in pool {pool}")
            }
            Self::Leave { device: Leaving::Mapper(mapper) } => {
                format!("Copy everything off {mapper} and take it out of pool {pool}")
            }
            Self::Convert => "Bring everything to two copies".into(),
            Self::SaveHeader { .. } => format!("Save the header of {role} on the key stick"),
            Self::Seal { .. } => format!("Seal {role}"),
        }
    }
}
