//! What is told of a pool before it is changed, and is no reason to refuse.

use super::super::choose::{Choice, Part};
use super::super::warnings;
use super::{MemberRequest, MemberTask, Situation};
use bedplate_model::facts::{DiskFacts, Signature};
use bedplate_model::host::Disk;
use bedplate_model::identity::{Purpose, epoch_of, member_mapper};
use bedplate_model::name::Role;
use bedplate_model::plan::DiskTarget;

impl Situation<'_> {
    /// What is known of the pool as it will be: of those that stay, and of the disk that joins.
    pub(super) fn warnings(&self, joining: Option<&DiskTarget>) -> Vec<String> {
        let MemberRequest { task, role, .. } = *self.request;
        let stays = |one: &&Role| *one != role || (joining.is_none() && task != MemberTask::Remove);
        let members =
            self.intent.disks.iter().filter(stays).filter_map(|one| {
                Some((one, self.host.disks.get(one)?.clone(), self.in_pool(one)?))
            });
        let new = joining.and_then(|target| {
            let disk = self.wanted(self.host.disks.get(role)?);
            let facts = self.facts.disks.iter().find(|one| one.has_id(&target.id))?;
            Some((role, disk, facts))
        });
        let all: Vec<(&Role, Disk, &DiskFacts)> = members.chain(new).collect();
        let chosen: Vec<Choice<'_>> = all
            .iter()
            .map(|(role, disk, facts)| Choice { role, disk, facts, part: Part::Member })
            .collect();
        warnings::of_pool(self.name, &chosen)
    }

    /// The disk that carries the volume by which a role is in the pool.
    fn in_pool(&self, role: &Role) -> Option<&DiskFacts> {
        let is_in = |signature: &Signature| {
            let uuid = signature.uuid.as_deref().unwrap_or_default();
            let epoch = epoch_of(self.host.host.id, Purpose::Luks, role, uuid);
            epoch.is_some_and(|epoch| {
                self.pool.devices.contains(member_mapper(role, epoch).as_str())
            })
        };
        self.facts.disks.iter().find(|disk| disk.signatures.iter().any(is_in))
    }
}
