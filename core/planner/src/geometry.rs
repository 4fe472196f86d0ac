//! Where partitions lie.

use uuid::Uuid;

use super::choose::{Choice, Part};
use bedplate_model::host::HostFile;
use bedplate_model::identity::{Purpose, derive, mapper_name};
use bedplate_model::plan::{Partition, PartitionKind};

/// Partitions begin and end on it: right for every sector size, and room for both GPTs.
const ALIGNMENT: u64 = 1 << 20;

/// The partitions of a disk that becomes member of a pool of a running machine.
pub(super) fn member(host: &HostFile, choice: &Choice<'_>, epoch: u32) -> Vec<Partition> {
    let mut partitions = partitions(host, choice);
    for partition in &mut partitions {
        let purpose = match partition.kind {
            PartitionKind::Esp => Purpose::GptEsp,
            PartitionKind::Luks => Purpose::GptLuks,
        };
        partition.guid = derive(host.host.id, purpose, choice.role, epoch);
    }
    partitions
}

/// The partitions of a disk that is written; LUKS reaches to the last aligned byte before the
/// backup GPT.
pub(super) fn partitions(host: &HostFile, choice: &Choice<'_>) -> Vec<Partition> {
    let id: Uuid = host.host.id;
    let end = choice.facts.size.saturating_sub(ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    let esp = choice.part.esp().map(|number| Partition {
        number,
        name: if choice.part == Part::Os { "bedplate-esp" } else { "bedplate-esp-mirror" }.into(),
        kind: PartitionKind::Esp,
        guid: derive(id, Purpose::GptEsp, choice.role, 0),
        start: ALIGNMENT,
        length: host.os.esp_size.next_multiple_of(ALIGNMENT),
    });
    let start = esp.as_ref().map_or(ALIGNMENT, |esp| esp.start + esp.length);
    let luks = choice.part.luks().map(|number| Partition {
        number,
        name: mapper_name(choice.role).into(),
        kind: PartitionKind::Luks,
        guid: derive(id, Purpose::GptLuks, choice.role, 0),
        start,
        length: end.saturating_sub(start),
    });
    esp.into_iter().chain(luks).collect()
}
