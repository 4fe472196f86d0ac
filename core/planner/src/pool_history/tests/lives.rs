//! The lives of pools: every order of what can happen to two and to three disks, walked with a model
//! of the disks, of the record on the OS disk, and of what each disk holds.

use bedplate_model::name::Role;

use super::*;

/// What a disk carries. `data` numbers what was written last.
#[derive(Debug, Clone)]
struct Disk {
    uuid: String,
    mark: Option<Mark>,
    generation: u64,
    data: u32,
    standing: Standing,
}

#[derive(Debug, Clone)]
struct World {
    disks: Vec<Disk>,
    record: Kept,
    /// What was written last: it is the newest history.
    newest: u32,
    names: u32,
    os: OsDisk,
    needs_record: bool,
}

/// What comes after the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The power goes when so many marks were written, the record's first.
    CutAfter(usize),
    /// Files are written, and the machine goes off.
    Write,
    /// A resynchronisation begins, and the power goes.
    BeginResync,
    /// It comes to its end, and the power goes before all marks say so.
    EndResync(usize),
    /// It comes to its end.
    Resync,
    /// The first that is mounted drops out, which is noticed; the others are written to.
    Drop,
    /// The role that is not there gets a new disk.
    Replace,
}

/// How the record on the OS disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OsDisk {
    /// It is there and can be written to.
    Kept,
    /// Gone, as after a new installation.
    Gone,
    /// There, and the OS disk is full: it can be taken away.
    Full,
    /// There, and nothing can be changed on the OS disk.
    ReadOnly,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    /// Which disks are there, as bits.
    there: usize,
    /// How the record on the OS disk is.
    record: OsDisk,
    then: Then,
}

const THEN: [Then; 9] = [
    Then::CutAfter(1),
    Then::CutAfter(2),
    Then::Write,
    Then::BeginResync,
    Then::EndResync(1),
    Then::EndResync(2),
    Then::Resync,
    Then::Drop,
    Then::Replace,
];

impl World {
    fn new(count: usize) -> Self {
        let disk = |number: usize| Disk {
            uuid: format!("u{number}"),
            mark: None,
            generation: 1,
            data: 0,
            standing: Standing::Member,
        };
        let disks = (0..count).map(disk).collect();
        let (record, os) = (Kept::default(), OsDisk::Kept);
        Self { disks, record, newest: 0, names: 0, os, needs_record: false }
    }

    fn fresh(&mut self) -> Fresh {
        self.names += 1;
        fresh(&format!("e{}", self.names))
    }

    fn role(number: usize) -> Role {
        name(&format!("r{number}"))
    }

    fn decide(&mut self, event: Event) -> Decision {
        let count = u64::try_from(self.disks.len()).unwrap();
        let there = |number: &usize| event.there & (1 << number) != 0;
        let seen = (0..self.disks.len()).filter(there).map(|number| {
            let Disk { uuid, mark, generation, standing, .. } = self.disks[number].clone();
            (Self::role(number), Seen { uuid, mark, generation, devices: count, standing })
        });
        let seen = seen.collect();
        if event.record == OsDisk::Gone {
            self.record = Kept::default();
        }
        self.os = event.record;
        let fresh = self.fresh();
        judge(&seen, &self.record, &Word::None, &fresh)
    }

    fn numbers(&self, roles: &BTreeSet<Role>) -> Vec<usize> {
        (0..self.disks.len()).filter(|number| roles.contains(&Self::role(*number))).collect()
    }

    /// Marks the record and the disks, in their order; false when the power goes on the way.
    fn mark(&mut self, mark: &Mark, on: &[usize], most: usize) -> bool {
        let carried =
            on.iter().map(|number| (Self::role(*number), self.disks[*number].mark.clone()));
        let places = places(mark, &carried.collect::<Vec<_>>());
        for place in places.iter().take(most) {
            match place {
                Place::Record => match self.os {
                    OsDisk::Kept | OsDisk::Gone => {
                        self.record.mark = Some(mark.clone());
                        self.record.known = true;
                    }
                    OsDisk::Full if self.record.mark.as_ref() != Some(mark) => {
                        self.record = Kept::default();
                    }
                    OsDisk::ReadOnly if self.needs_record => return false,
                    OsDisk::Full | OsDisk::ReadOnly => {}
                },
                Place::Member(role) => {
                    for number in self.numbers(&[role.clone()].into()) {
                        self.disks[number].mark = Some(mark.clone());
                    }
                }
            }
        }
        most >= places.len()
    }

    fn write(&mut self, on: &[usize]) {
        self.newest += 1;
        let generation = on.iter().map(|number| self.disks[*number].generation).max().unwrap() + 10;
        for number in on {
            (self.disks[*number].data, self.disks[*number].generation) = (self.newest, generation);
        }
    }

    /// True when the pool was mounted.
    fn step(&mut self, event: Event, told: &[Event]) -> bool {
        let Decision::Open(opening) = self.decide(event) else { return false };
        let current = self.numbers(&opening.current);
        for number in &current {
            let (held, newest) = (self.disks[*number].data, self.newest);
            assert_eq!(
                held, newest,
                "disk {number} was mounted, which is old: {told:#?} {self:#?}"
            );
            assert_ne!(self.disks[*number].standing, Standing::Target, "{told:#?}");
        }
        let most = match event.then {
            Then::CutAfter(count) => count,
            _ => usize::MAX,
        };
        self.needs_record = needs_record(&self.record, &opening, &Word::None);
        if !self.mark(&opening.mark, &current, most) || matches!(event.then, Then::CutAfter(_)) {
            return true;
        }
        for number in self.numbers(&opening.behind) {
            self.disks[number].standing = Standing::Hidden;
        }
        for number in &current {
            self.disks[*number].standing = Standing::Member;
        }
        let target: Vec<usize> =
            opening.target.iter().flat_map(|r| self.numbers(&[r.clone()].into())).collect();
        let mut written = current.clone();
        // What is there of a device that is being replaced is written to like the rest.
        written
            .extend(target.iter().copied().filter(|n| self.disks[*n].standing == Standing::Member));
        self.write(&written);
        self.goes_on(event, &opening, current, target);
        true
    }

    fn goes_on(
        &mut self,
        event: Event,
        opening: &Opening,
        mut current: Vec<usize>,
        target: Vec<usize>,
    ) {
        match event.then {
            Then::CutAfter(_) | Then::Write => {}
            Then::Drop => {
                // RAID1 goes on without one device, and no more.
                if current.len() > 1 && opening.lost == 0 {
                    current.remove(0);
                    let era = self.next(&opening.mark, &current, None);
                    self.mark(&era, &current, usize::MAX);
                    self.write(&current);
                }
            }
            Then::Replace => {
                let gone = (0..self.disks.len()).find(|number| event.there & (1 << number) == 0);
                let Some(gone) = gone.filter(|_| opening.lost > 0) else { return };
                self.names += 1;
                self.disks[gone].uuid = format!("u{}", self.names + 100);
                current.push(gone);
                let era = self.next(&opening.mark, &current, None);
                self.mark(&era, &current, usize::MAX);
                self.disks[gone].standing = Standing::Member;
                self.write(&current);
            }
            Then::BeginResync | Then::EndResync(_) | Then::Resync => {
                let behind = self.numbers(&opening.behind);
                let Some(back) = target.first().or(behind.first()).copied() else { return };
                let mut era = opening.mark.clone();
                if target.is_empty() {
                    era = self.next(&opening.mark, &current, Some(self.disks[back].uuid.clone()));
                    self.mark(&era, &current, usize::MAX);
                    let orphan =
                        self.fresh().after([], [self.disks[back].uuid.clone()].into(), None);
                    let own = self.disks[back].mark.clone().unwrap_or(orphan);
                    let joining = Some(era.id().to_owned());
                    self.disks[back].mark = Some(Mark { joining, ..own });
                    self.disks[back].standing = Standing::Target;
                    self.disks[back].data = u32::MAX;
                }
                if event.then == Then::BeginResync {
                    return;
                }
                self.disks[back].standing = Standing::Member;
                current.push(back);
                self.write(&current);
                let whole = self.next(&era, &current, None);
                let most = match event.then {
                    Then::EndResync(most) => most,
                    _ => usize::MAX,
                };
                self.mark(&whole, &current, most);
            }
        }
    }

    fn next(&mut self, mark: &Mark, members: &[usize], target: Option<String>) -> Mark {
        let uuids = members.iter().map(|number| self.disks[*number].uuid.clone()).collect();
        self.fresh().after([mark.line.as_slice()], uuids, target)
    }
}

fn events(count: usize) -> Vec<Event> {
    let mut all = Vec::new();
    for there in 1..1 << count {
        for record in [OsDisk::Kept, OsDisk::Gone, OsDisk::Full] {
            all.extend(THEN.map(|then| Event { there, record, then }));
        }
        // What drops out while the machine runs cannot be noted anywhere but on the others.
        all.push(Event { there, record: OsDisk::ReadOnly, then: Then::Write });
    }
    all
}

/// How many of the walks' steps were mounts: a judge that refuses everything keeps every promise.
fn walk(world: &World, all: &[Event], depth: usize, told: &mut Vec<Event>, mounts: &mut usize) {
    if depth == 0 {
        return;
    }
    for event in all {
        let mut next = world.clone();
        told.push(*event);
        if next.step(*event, told) {
            *mounts += 1;
            walk(&next, all, depth - 1, told, mounts);
        }
        told.pop();
    }
}

#[test]
fn t44_in_every_short_life_what_is_mounted_is_the_newest_history() {
    for (count, depth) in [(2, 3), (3, 2)] {
        let mut mounts = 0;
        walk(&World::new(count), &events(count), depth, &mut Vec::new(), &mut mounts);
        println!("{count} disks: {mounts} mounts");
        assert!(mounts > 500, "{count} disks: only {mounts} mounts");
    }
}

#[test]
fn t44_in_long_lives_what_is_mounted_is_the_newest_history_and_the_pool_becomes_whole_again() {
    let mut seed: u64 = 7;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for count in [2, 3] {
        let all = events(count);
        let everything = (1 << count) - 1;
        let mut reasons = BTreeMap::<String, usize>::new();
        let (mut healed, lives) = (0, 1000);
        for _ in 0..lives {
            let mut world = World::new(count);
            let mut told = Vec::new();
            for _ in 0..40 {
                let event = all[next(all.len())];
                told.push(event);
                world.step(event, &told);
            }
            // With every disk there, and nothing more going wrong.
            let calm = Event { there: everything, record: OsDisk::Kept, then: Then::Resync };
            for _ in 0..count {
                told.push(calm);
                world.step(calm, &told);
            }
            let end = match world.decide(calm) {
                Decision::Open(end) => end,
                Decision::Refused(refusal) => {
                    *reasons
                        .entry(format!("{refusal:?}").split(' ').next().unwrap().to_owned())
                        .or_insert(0) += 1;
                    continue;
                }
            };
            healed += usize::from(end.current.len() == count && end.lost == 0);
        }
        println!("{count} disks: {healed} of {lives} lives end whole, refused: {reasons:?}");
        assert!(healed * 10 > lives * 8, "{count} disks: {healed} of {lives} lives end whole");
    }
}
