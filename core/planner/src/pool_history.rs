//! Which members of a pool hold its newest history.
//!
//! btrfs does not know it: a member that was away mounts by itself, and two that were mounted one
//! without the other mount together. So each change of who is written to begins an *era* with a
//! name of its own. Every member that is written to carries the era in its LUKS header before the
//! first write of it, and so does the OS disk. What follows from such marks is decided here.

mod judge;

use std::collections::BTreeSet;

use bedplate_model::name::Role;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use judge::{Decision, Kept, Opening, Refusal, Seen, Side, Standing, Word, judge, newest};

/// Type of the token of a LUKS header that holds a mark.
pub const TOKEN: &str = "bedplate-pool";
/// How many eras a mark remembers. A disk that was away for more of them is no longer known to be
/// merely behind: it is told as another history, and nothing is overwritten by itself.
pub const LONGEST: usize = 96;
/// More members than a pool can have.
const MOST_MEMBERS: usize = 256;
/// The longest name of an era or of a host that is taken from a header.
const LONGEST_NAME: usize = 64;

/// Who has been written to, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The eras that led here, each a random name, the newest last.
    pub line: Vec<String>,
    /// UUIDs of the LUKS headers of those that have everything.
    pub members: BTreeSet<String>,
    /// UUID of the LUKS header of the one that is being resynchronised in this era.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// On the one that is being resynchronised: the era in which it is. The rest of its mark says what
    /// it held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<String>,
    /// When the era began, in seconds since 1970 by that machine's clock.
    pub since: u64,
    /// Name of the machine that began it.
    pub host: String,
}

impl Mark {
    /// The name of its era.
    pub fn id(&self) -> &str {
        self.line.last().map_or("", String::as_str)
    }

    /// The era before it.
    pub fn parent(&self) -> Option<&str> {
        let before = self.line.len().checked_sub(2)?;
        self.line.get(before).map(String::as_str)
    }

    /// Whether the history of `other` goes on where this one was left, or was being brought to.
    pub fn precedes(&self, other: &Self) -> bool {
        let left = |era: &String| era == self.id() || self.joining.as_ref() == Some(era);
        self.id() != other.id() && other.line.iter().any(left)
    }

    /// What a token says; none when it is no mark.
    pub fn from_token(token: &Value) -> Option<Self> {
        serde_json::from_value(token.clone()).ok().filter(Self::is_sound)
    }

    /// The fields of its token.
    pub fn to_token(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// Whether it can be what we wrote: whatever stands in a header is read.
    pub fn is_sound(&self) -> bool {
        let short = |text: &String| !text.is_empty() && text.len() <= LONGEST_NAME;
        !self.line.is_empty()
            && self.line.len() <= LONGEST
            && self.line.iter().all(short)
            && !self.members.is_empty()
            && self.members.len() <= MOST_MEMBERS
            && self.members.iter().chain(&self.target).chain(&self.joining).all(short)
            && short(&self.host)
    }
}

/// What a new era is named by: it comes from outside, nothing here is random or knows the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// A name that no era had.
    pub id: String,
    /// Seconds since 1970.
    pub now: u64,
    /// Name of this machine.
    pub host: String,
}

impl Fresh {
    /// The era that follows `lines`, of which the last is the one that goes on.
    pub fn after<'a>(
        &self,
        lines: impl IntoIterator<Item = &'a [String]>,
        members: BTreeSet<String>,
        target: Option<String>,
    ) -> Mark {
        let mut line: Vec<String> = Vec::new();
        for era in lines.into_iter().flatten() {
            line.retain(|known| known != era);
            line.push(era.clone());
        }
        line.push(self.id.clone());
        line.drain(..line.len().saturating_sub(LONGEST));
        let (since, host) = (self.now, self.host.clone());
        Mark { line, members, target, joining: None, since, host }
    }
}

/// The era in which the member of this UUID is written anew, by those that have everything up to
/// `head`. It is the same one each time that is tried again: where it never comes to its end, eras without
/// end would push those before out of what a mark remembers, and the member would be told as another
/// history. Whatever is mounted without it in between begins an era of its own.
pub fn resynchronising(head: &Mark, uuid: &str, fresh: &Fresh) -> Mark {
    if head.target.as_deref() == Some(uuid) {
        return head.clone();
    }
    fresh.after([head.line.as_slice()], head.members.clone(), Some(uuid.to_owned()))
}

/// Whether the pool may only be mounted where the record can be kept: as it is, it would vouch for those
/// that are left behind now, and one of them alone would be mounted at the next boot. Somebody's word goes
/// on all the same.
pub fn needs_record(kept: &Kept, opening: &Opening, word: &Word) -> bool {
    let is_outdated = kept.mark.as_ref().map(Mark::id) != Some(opening.mark.id());
    kept.known && is_outdated && opening.lost > 0 && *word == Word::None
}

/// Why members that are all there are not kept as they are: one of them is behind another, or is
/// being resynchronised. None when all carry the same mark, or none carries any.
pub fn uneven(marks: &[(Role, Option<Mark>)]) -> Option<String> {
    let known: Vec<&Mark> = marks.iter().filter_map(|(_, mark)| mark.as_ref()).collect();
    let first = known.first()?;
    let even = |mark: &Option<Mark>| {
        mark.as_ref().is_some_and(|mark| {
            mark.id() == first.id() && mark.target.is_none() && mark.joining.is_none()
        })
    };
    if marks.iter().all(|(_, mark)| even(mark)) {
        return None;
    }
    let newest = known.iter().find(|mark| known.iter().all(|other| !mark.precedes(other)))?;
    let behind = |mark: &Option<Mark>| {
        mark.as_ref().is_none_or(|mark| mark.id() != newest.id() || mark.joining.is_some())
    };
    let behind = marks.iter().filter(|(_, mark)| behind(mark)).map(|(role, _)| role.as_str());
    Some(behind.collect::<Vec<_>>().join(", "))
}

/// Where a mark is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The record on the OS disk.
    Record,
    /// The header of this role's disk.
    Member(Role),
}

/// In what order `mark` is written to the record and to its members, of which each comes with the
/// mark that it carries. Whoever is new to it comes last: were it first and went alone, those that
/// had everything before would not know that there is another now. Where nobody is new the record
/// comes first: what is left behind is told by it.
pub fn places(mark: &Mark, members: &[(Role, Option<Mark>)]) -> Vec<Place> {
    let had_all = |carried: &Option<Mark>| {
        carried.as_ref().is_some_and(|carried| {
            let joins = carried.joining.is_some();
            !joins && (carried.id() == mark.id() || mark.parent() == Some(carried.id()))
        })
    };
    let (old, new): (Vec<_>, Vec<_>) = members.iter().partition(|(_, carried)| had_all(carried));
    let place = |all: Vec<&(Role, Option<Mark>)>| {
        all.into_iter().map(|(role, _)| Place::Member(role.clone())).collect::<Vec<_>>()
    };
    let (old, new) = (place(old), place(new));
    if new.is_empty() {
        [vec![Place::Record], old].concat()
    } else {
        [old, vec![Place::Record], new].concat()
    }
}

#[cfg(test)]
mod tests;
