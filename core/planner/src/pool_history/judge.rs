//! Whether a pool may be mounted, over which members, and what is marked before.

use std::collections::{BTreeMap, BTreeSet};

use bedplate_model::name::Role;

use super::{Fresh, Mark};

/// Superblocks are written one after the other: a power cut leaves this much between them. So does one
/// transaction that a member lacks, such as all that a system wrote that knows no marks.
const USUAL_LAG: u64 = 1;
/// RAID1 has two copies: one device can be lost.
const MOST_LOST: usize = 1;

/// One member that is there and unlocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// UUID of its LUKS header.
    pub uuid: String,
    /// What its header says; none when it says nothing that can be understood.
    pub mark: Option<Mark>,
    /// The generation of its file system.
    pub generation: u64,
    /// How many devices the file system has, by this member.
    pub devices: u64,
    /// How it takes part.
    pub standing: Standing,
}

/// How a member takes part in the file system, by its superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As any device.
    Member,
    /// As one, and put out of the kernel's sight because it was behind.
    Hidden,
    /// As what is being written in the place of a device: of no use alone.
    Target,
}

/// What the OS disk keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Whether there is a record at all.
    pub known: bool,
    /// The era in which the pool was mounted last.
    pub mark: Option<Mark>,
    /// A generation that every member of that era had reached.
    pub generation: u64,
    /// Roles that were not there when the pool was mounted last.
    pub away: BTreeSet<Role>,
    /// Roles that came back, and were mounted with the others as they were: of before there were marks.
    pub stale: BTreeSet<Role>,
}

/// What somebody has said in so many words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Word {
    /// Nobody has said anything: only what is proven goes on.
    #[default]
    None,
    /// Go on with what is here, whatever those that are not here hold.
    GiveUpNewer,
    /// Of several histories, go on with the one that this role's disk holds.
    Keep(Role),
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be mounted.
    Open(Opening),
    /// It may not, and nothing was changed.
    Refused(Refusal),
}

/// How it may be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Roles that hold the newest history, and are mounted.
    pub current: BTreeSet<Role>,
    /// The role that is being resynchronised, and goes on to be.
    pub target: Option<Role>,
    /// Roles that are there and behind: never mounted as they are.
    pub behind: BTreeSet<Role>,
    /// How many devices the file system lacks.
    pub lost: usize,
    /// What every one that is mounted carries before it is mounted.
    pub mark: Mark,
    /// Roles that are mounted although they missed writes, because too many are lost without them: a scrub is
    /// due.
    pub doubtful: BTreeSet<Role>,
}

/// Why it may not be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More are lost than RAID1 bears.
    TooFew {
        /// Roles that could be mounted.
        current: BTreeSet<Role>,
        /// Roles that are there and behind.
        behind: BTreeSet<Role>,
        /// How many devices the file system lacks.
        lost: usize,
    },
    /// All that are here were left behind by a newer history.
    Behind {
        /// Roles that are here.
        present: BTreeSet<Role>,
        /// The newest mark, when there is one; its members are what to plug in.
        newest: Option<Box<Mark>>,
    },
    /// A member is missing that may hold a newer history.
    NoProof {
        /// Roles that are here.
        present: BTreeSet<Role>,
    },
    /// Each was written to without the other.
    TwoHistories {
        /// Each of them.
        sides: Vec<Side>,
    },
}

/// One of several histories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Roles that are here and hold it; none when only the OS disk knows of it.
    pub roles: BTreeSet<Role>,
    /// Its mark; none of before there were marks.
    pub mark: Option<Mark>,
    /// Its generation, which does not say which is newer.
    pub generation: u64,
}

/// Decides from what the members that are here, and the OS disk, know.
pub fn judge(seen: &BTreeMap<Role, Seen>, kept: &Kept, word: &Word, fresh: &Fresh) -> Decision {
    let asked = Asked { seen, kept, word, fresh };
    if seen.is_empty() {
        let (current, behind) = (BTreeSet::new(), BTreeSet::new());
        return Decision::Refused(Refusal::TooFew { current, behind, lost: 0 });
    }
    let is_any_here = seen.values().any(|one| one.mark.is_some());
    // A header that was put back from its copy says nothing of the history, or only of an old one. What
    // the record knows holds it back, until somebody says otherwise.
    let marked = match word {
        Word::None => kept.mark.is_some() || is_any_here,
        Word::GiveUpNewer => is_any_here,
        Word::Keep(role) => seen.get(role).is_none_or(|one| one.mark.is_some()),
    };
    let decided = if marked { asked.by_marks() } else { asked.without_marks() };
    decided.unwrap_or_else(Decision::Refused)
}

struct Asked<'a> {
    seen: &'a BTreeMap<Role, Seen>,
    kept: &'a Kept,
    word: &'a Word,
    fresh: &'a Fresh,
}

/// Members that are mounted together, by their generations.
struct Level {
    current: BTreeSet<Role>,
    /// Those of them that may lack a transaction, and without which too many would be lost.
    doubtful: BTreeSet<Role>,
}

/// The history that goes on.
struct Chosen {
    /// Its mark.
    head: Mark,
    /// Whether somebody chose it in so many words.
    by_word: bool,
}

impl Asked<'_> {
    fn by_marks(&self) -> Result<Decision, Refusal> {
        let Chosen { head, by_word } = self.choose()?;
        let has_all = |one: &Seen| self.has_all_of(one, &head);
        let marked: BTreeMap<&Role, &Seen> =
            self.seen.iter().filter(|(_, one)| has_all(one)).collect();
        let newest = marked.values().map(|one| one.generation).max().unwrap_or(0);
        let noted = match &self.kept.mark {
            Some(mark) if mark.id() == head.id() && !by_word => self.kept.generation,
            _ => 0,
        };
        // One that is being resynchronised knows that another has more.
        let is_left = head.joining.is_some() && !by_word;
        if marked.is_empty() || is_left || newest.saturating_add(USUAL_LAG) < noted {
            return Err(Refusal::Behind { present: self.roles(), newest: Some(Box::new(head)) });
        }
        if let Some(refusal) = self.untold(&head, newest) {
            return Err(refusal);
        }
        let had_all: BTreeSet<String> = marked.values().map(|one| one.uuid.clone()).collect();
        let had_all_roles = marked.into_keys().cloned().collect();
        // Every later era has a member of this one, which would carry its mark.
        let all_here = head.members.is_subset(&had_all);
        let Level { current, doubtful } = self.level(had_all_roles, all_here);
        let target = self.target(&head, &current);
        let behind = self.rest(&current, target.as_ref());
        let lost = self.lost(&current);
        if lost > MOST_LOST {
            return Err(Refusal::TooFew { current, behind, lost });
        }
        let uuids = self.uuids(&current);
        let noted = self.kept.mark.as_ref().is_some_and(|mark| mark.id() == head.id());
        if lost > 0 && !by_word && !all_here && !noted {
            return Err(Refusal::NoProof { present: self.roles() });
        }
        let target_uuid = target.as_ref().and_then(|role| Some(self.seen.get(role)?.uuid.clone()));
        let mark = if !by_word && uuids == head.members && target_uuid == head.target {
            head
        } else {
            let given_up = self.given_up(Some(&head));
            let lines = given_up.iter().chain([&head]).map(|mark| mark.line.as_slice());
            self.fresh.after(lines, uuids, target_uuid)
        };
        Ok(Decision::Open(Opening { current, target, behind, lost, mark, doubtful }))
    }

    /// The one history that goes on.
    fn choose(&self) -> Result<Chosen, Refusal> {
        let here = self.seen.values().filter_map(|one| one.mark.as_ref());
        let heads = match self.word {
            Word::None => heads(here.chain(&self.kept.mark)),
            Word::GiveUpNewer => heads(here),
            Word::Keep(role) => {
                let own = self.seen.get(role).and_then(|one| one.mark.as_ref());
                own.map(|mark| vec![mark.clone()]).unwrap_or_default()
            }
        };
        let by_word = *self.word != Word::None;
        match heads.as_slice() {
            [head] => Ok(Chosen { head: head.clone(), by_word }),
            [] => Err(Refusal::Behind {
                present: self.roles(),
                newest: self.kept.mark.clone().map(Box::new),
            }),
            several => Err(Refusal::TwoHistories { sides: self.sides(several) }),
        }
    }

    /// Whether a member has everything that was written up to this era.
    fn has_all_of(&self, one: &Seen, head: &Mark) -> bool {
        let Some(mark) = &one.mark else { return self.is_first(one, head) };
        // An era is mounted only after each of its members carries it: where one does not, the power
        // went while it was begun, and nothing was written that this one lacks.
        let begun = head
            .parent()
            .is_some_and(|parent| parent == mark.id() || mark.joining.as_deref() == Some(parent));
        let takes_part = head.members.contains(&one.uuid);
        takes_part && one.standing != Standing::Target && (mark.id() == head.id() || begun)
    }

    /// The same of the very first era, when a member has no mark yet.
    fn is_first(&self, one: &Seen, head: &Mark) -> bool {
        let first = head.line.len() == 1 && head.members.contains(&one.uuid);
        first && one.standing != Standing::Target
    }

    /// A member whose header says nothing, as after it was put back from its copy, and that was written
    /// to for longer than those that have everything by their marks: nobody but its owner knows which of
    /// them is the newer.
    fn untold(&self, head: &Mark, newest: u64) -> Option<Refusal> {
        let is_untold = |one: &Seen| {
            one.mark.is_none()
                && one.standing == Standing::Member
                && head.members.contains(&one.uuid)
                && !self.is_first(one, head)
                && newest < one.generation
        };
        let untold: BTreeSet<Role> = self
            .seen
            .iter()
            .filter(|(_, one)| is_untold(one))
            .map(|(role, _)| role.clone())
            .collect();
        if untold.is_empty() || matches!(self.word, Word::Keep(_)) {
            return None;
        }
        let mut sides = self.sides(std::slice::from_ref(head));
        sides.extend(untold.iter().map(|role| self.unmarked_side(role)));
        Some(Refusal::TwoHistories { sides })
    }

    /// What is being resynchronised goes on only in the era it was begun in: since then nothing was
    /// mounted without it.
    fn target(&self, head: &Mark, current: &BTreeSet<Role>) -> Option<Role> {
        let wanted = head.target.as_ref()?;
        let is = |one: &Seen| {
            let joins = one.mark.as_ref().and_then(|mark| mark.joining.as_deref());
            let same = joins == Some(head.id());
            one.uuid == *wanted && same && one.standing != Standing::Hidden
        };
        let mut all = self.seen.iter().filter(|(role, _)| !current.contains(*role));
        all.find(|(_, one)| is(one)).map(|(role, _)| role.clone())
    }

    /// The histories that are here and that somebody gave up: whoever holds them is behind from now
    /// on. Those that are not here are not given up.
    fn given_up(&self, kept: Option<&Mark>) -> Vec<Mark> {
        if !matches!(self.word, Word::Keep(_)) {
            return Vec::new();
        }
        let here = self.seen.values().filter_map(|one| one.mark.as_ref());
        let kept = kept.map(Mark::id);
        heads(here).into_iter().filter(|mark| Some(mark.id()) != kept).collect()
    }

    fn sides(&self, heads: &[Mark]) -> Vec<Side> {
        let side = |head: &Mark| {
            let holds = |one: &Seen| one.mark.as_ref().is_some_and(|mark| mark.id() == head.id());
            let holders = || self.seen.iter().filter(|(_, one)| holds(one));
            Side {
                roles: holders().map(|(role, _)| role.clone()).collect(),
                mark: Some(head.clone()),
                generation: holders().map(|(_, one)| one.generation).max().unwrap_or(0),
            }
        };
        heads.iter().map(side).collect()
    }

    /// Of before there were marks, or where somebody's word goes on with what carries none: the record
    /// says who was away, or nothing does.
    fn without_marks(&self) -> Result<Decision, Refusal> {
        let usable = |one: &Seen| one.standing != Standing::Target;
        let here: BTreeSet<Role> =
            self.seen.iter().filter(|(_, one)| usable(one)).map(|(r, _)| r.clone()).collect();
        if let Word::Keep(role) = self.word {
            let only = here.iter().filter(|one| *one == role).cloned().collect();
            return self.open_unmarked(only, BTreeSet::new());
        }
        let by_word = *self.word == Word::GiveUpNewer;
        let missed = self.kept.away.union(&self.kept.stale).cloned().collect::<BTreeSet<_>>();
        let took_part: BTreeSet<Role> = here.difference(&missed).cloned().collect();
        if took_part.is_empty() && !by_word {
            // Both were away in turn, or all that are here were.
            let both = here.len() > 1 && !here.is_disjoint(&self.kept.stale);
            return Err(if both {
                self.unmarked_sides(&here)
            } else {
                Refusal::Behind { present: self.roles(), newest: None }
            });
        }
        let took_part = if took_part.is_empty() { here.clone() } else { took_part };
        let all_here = self.lost(&here) == 0;
        let Level { mut current, mut doubtful } = self.level(took_part.clone(), all_here);
        if current != took_part && !self.kept.known && !by_word {
            return Err(self.unmarked_sides(&here));
        }
        if self.lost(&current) > MOST_LOST {
            // They were written to since they came back: without them more would be lost.
            let back = here.intersection(&self.kept.stale);
            doubtful.extend(back.filter(|role| !self.kept.away.contains(*role)).cloned());
            current.extend(doubtful.iter().cloned());
        }
        if self.lost(&current) > 0 && !self.kept.known && !by_word {
            return Err(Refusal::NoProof { present: self.roles() });
        }
        self.open_unmarked(current, doubtful)
    }

    /// Of members that are even by all else, those that lack nothing by their generations. One that
    /// dropped out while the pool was mounted, and nobody noticed, lacks as little as one transaction, and
    /// is written anew. A power cut in between two superblocks looks the same, but where RAID1 could not
    /// have been written to without those that lag, it was one.
    fn level(&self, all: BTreeSet<Role>, all_here: bool) -> Level {
        let newest = self.newest(&all);
        let (mut current, lag): (BTreeSet<_>, BTreeSet<_>) =
            all.into_iter().partition(|role| self.generation(role) == newest);
        let is_usual = |role: &&Role| self.generation(role).saturating_add(USUAL_LAG) >= newest;
        let usual: BTreeSet<Role> = lag.iter().filter(is_usual).cloned().collect();
        if usual.is_empty() || self.lost(&current) <= MOST_LOST {
            return Level { current, doubtful: BTreeSet::new() };
        }
        current.extend(usual.iter().cloned());
        // One that is not here may have been there instead of one of them.
        let doubtful = if all_here { BTreeSet::new() } else { usual };
        Level { current, doubtful }
    }

    fn open_unmarked(
        &self,
        current: BTreeSet<Role>,
        doubtful: BTreeSet<Role>,
    ) -> Result<Decision, Refusal> {
        let (behind, lost) = (self.rest(&current, None), self.lost(&current));
        if current.is_empty() || lost > MOST_LOST {
            return Err(Refusal::TooFew { current, behind, lost });
        }
        let given_up = self.given_up(None);
        let lines = given_up.iter().map(|mark| mark.line.as_slice());
        let mark = self.fresh.after(lines, self.uuids(&current), None);
        Ok(Decision::Open(Opening { current, target: None, behind, lost, mark, doubtful }))
    }

    fn unmarked_sides(&self, here: &BTreeSet<Role>) -> Refusal {
        Refusal::TwoHistories { sides: here.iter().map(|role| self.unmarked_side(role)).collect() }
    }

    fn unmarked_side(&self, role: &Role) -> Side {
        let roles = BTreeSet::from([role.clone()]);
        Side { roles, mark: None, generation: self.generation(role) }
    }

    fn rest(&self, current: &BTreeSet<Role>, target: Option<&Role>) -> BTreeSet<Role> {
        let others = self.seen.keys().filter(|role| !current.contains(*role));
        others.filter(|role| Some(*role) != target).cloned().collect()
    }

    /// The file system itself says how many devices it has.
    fn lost(&self, current: &BTreeSet<Role>) -> usize {
        let members = current.iter().filter_map(|role| self.seen.get(role));
        let devices = members.max_by_key(|one| one.generation).map_or(0, |one| one.devices);
        usize::try_from(devices).unwrap_or(usize::MAX).saturating_sub(current.len())
    }

    fn generation(&self, role: &str) -> u64 {
        self.seen.get(role).map_or(0, |one| one.generation)
    }

    fn newest(&self, roles: &BTreeSet<Role>) -> u64 {
        roles.iter().map(|role| self.generation(role)).max().unwrap_or(0)
    }

    fn uuids(&self, roles: &BTreeSet<Role>) -> BTreeSet<String> {
        roles.iter().filter_map(|role| Some(self.seen.get(role)?.uuid.clone())).collect()
    }

    fn roles(&self) -> BTreeSet<Role> {
        self.seen.keys().cloned().collect()
    }
}

/// The one mark that all others lead to; none when there is none, or several histories.
pub fn newest<'a>(marks: impl Iterator<Item = &'a Mark>) -> Option<Mark> {
    match heads(marks).as_slice() {
        [head] => Some(head.clone()),
        _ => None,
    }
}

/// The marks that no other goes on from, each once.
fn heads<'a>(marks: impl Iterator<Item = &'a Mark>) -> Vec<Mark> {
    let all: Vec<&Mark> = marks.collect();
    let mut heads: Vec<Mark> = Vec::new();
    for mark in &all {
        let known = heads.iter().any(|head| head.id() == mark.id());
        if !known && !all.iter().any(|other| mark.precedes(other)) {
            heads.push((*mark).clone());
        }
    }
    heads
}
