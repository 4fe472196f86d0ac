//! What stands on the disk that is to join: our own unfinished work, or something that is needed.

use super::super::choose::Choice;
use super::super::refusal::Refusal;
use super::super::sticks::is_stick;
use super::Situation;
use bedplate_model::facts::{DiskFacts, Signature, kind};
use bedplate_model::identity::{Purpose, derive, esp_volume_id, shown_volume_id};

impl Situation<'_> {
    /// Whether an interrupted run of this same change left what stands on the disk.
    pub(super) fn resumes(&self, facts: &DiskFacts) -> bool {
        let (host, epoch) = (self.host.host.id, self.pool.next_epoch);
        let is = |purpose, uuid: &Option<String>| {
            let wanted = derive(host, purpose, self.request.role, epoch).to_string();
            uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(&wanted))
        };
        let volume_id = shown_volume_id(esp_volume_id(self.esp(epoch)));
        let is_esp = |uuid: &Option<String>| {
            uuid.as_ref().is_some_and(|uuid| uuid.eq_ignore_ascii_case(&volume_id))
        };
        let is_torn = facts.signatures.iter().any(|one| one.kind == kind::TORN_HEADER);
        let begun = facts.bedplate.as_ref().map(|found| found.sealed);
        let is_label = |one: &Signature| {
            one.partition.is_none()
                && matches!(one.kind.as_str(), "gpt" | kind::UNFINISHED)
                && is(Purpose::GptDisk, &one.uuid)
        };
        let ours = |one: &Signature| match one.kind.as_str() {
            "gpt" => is_label(one),
            "crypto_LUKS" => is(Purpose::Luks, &one.uuid) && (is_torn || begun == Some(false)),
            "vfat" => is_esp(&one.uuid),
            kind::UNFINISHED => is_label(one) || is_esp(&one.uuid),
            kind::UNSEEN_TABLE => one.partition.is_none(),
            kind::TORN_HEADER | kind::UNKNOWN => {
                one.partition.is_some_and(|number| self.part().takes(number))
            }
            other => kind::is_broken_copy(other),
        };
        !self.pool.sealed
            && begun != Some(true)
            && facts.signatures.iter().any(is_label)
            && facts.signatures.iter().all(ours)
    }

    /// Disks that something else of this host needs: never taken, whatever is allowed.
    pub(super) fn taken(&self, choice: &Choice<'_>) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (role, disk) in &self.host.disks {
            if role != choice.role && choice.facts.has_id(&disk.id) {
                refusals.push(choice.refuse(
                    format!("this is the disk of `{role}`"),
                    "give the name of another disk",
                ));
            }
        }
        if self.host.unlock.sticks.iter().any(|stick| is_stick(stick, choice.facts)) {
            refusals
                .push(choice.refuse("this is a key stick".into(), "give the name of another disk"));
        }
        let current = |signature: &Signature| {
            signature.uuid.as_ref().is_some_and(|uuid| self.pool.current.contains(uuid))
        };
        if choice.facts.signatures.iter().any(current) && !self.resumes(choice.facts) {
            refusals.push(choice.refuse(
                "a member of a pool of this machine stands on it".into(),
                "give the name of another disk",
            ));
        }
        refusals
    }
}
