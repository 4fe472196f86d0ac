//! Members of a pool that go and come back, with the kernel's own btrfs on loop devices: what it does
//! when it is let, and what comes of the marks. Wants root, loop devices and btrfs: `cargo xtask test`
//! runs it where they are, and says so where they are not.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_disks::pool_fs::{self, Away, Live, PoolFileSystem, Progress, Told, Which};
use bedplate_model::host::FileSystem;
use bedplate_model::name::Role;
use bedplate_planner::pool_history::{
    Decision, Fresh, Kept, Mark, Opening, Place, Refusal, Seen, Standing, Word, judge, places,
};
use bedplate_tools::btrfs::{self, Superblock};
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::mount::Access;
use tempfile::TempDir;
use uuid::Uuid;

use crate::volumes::{
    Dead, Files, Loop, MIB, Mounted, alone, blank, detach_below, forget, make, put, wrong,
};

/// The file system as the pools of a host use it.
fn file_system() -> &'static dyn PoolFileSystem {
    pool_fs::of(FileSystem::Btrfs)
}

fn live_of(id: Uuid) -> Live {
    file_system().live(id).unwrap().unwrap()
}

fn told(node: &Path) -> Told {
    file_system().told(node).unwrap().unwrap()
}

/// Writes a member anew, whole.
fn bring_back(number: u64, node: &Path, mount: &Path) {
    let away = Away { number, member: node, mount };
    file_system().resynchronise(&away, &mut || ()).unwrap();
    let end = file_system().progress(mount).unwrap();
    assert_eq!(end, Progress::Finished { unreadable: 0, unwritten: 0 });
}

/// What the kernel does when it is let: it is the reason for all the rest.
#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_the_kernel_by_itself_mounts_old_data_and_mixes_two_histories() {
    let _alone = alone();
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mount = &place.path().join("mount");
    fs::create_dir(mount).unwrap();
    let [a, b] = ["a", "b"].map(|name| Loop::of(&blank(place.path(), name)).unwrap());
    let (a, b) = (a.0.as_path(), b.0.as_path());
    make(&[a, b], mount);
    let mut files = Files::new();
    {
        let _mounted = Mounted::new(mount, &[a, b], "", Access::ReadWrite).unwrap();
        put(mount, &mut files, "images/vm", 1, 8 * MIB);
        put(mount, &mut files, "old", 2, 8 * MIB);
    }
    let before = files.clone();
    forget(&[a, b]);
    {
        let _without_b = Mounted::new(mount, &[a], "degraded", Access::ReadWrite).unwrap();
        put(mount, &mut files, "images/vm", 3, 8 * MIB);
        put(mount, &mut files, "new", 4, 4 * MIB);
    }
    forget(&[a, b]);
    {
        let _old = Mounted::new(mount, &[b], "degraded", Access::ReadOnly).unwrap();
        assert_eq!(wrong(mount, &before), [] as [&str; 0], "the kernel knows it is old");
    }
    forget(&[a, b]);
    btrfs::scan(&[a.to_owned(), b.to_owned()]).unwrap();
    let _both = Mounted::new(mount, &[a, b], "", Access::ReadWrite).unwrap();
    let summary = btrfs::scrub(mount).unwrap();
    assert!(summary.contains("finished"), "{summary}");
    drop(_both);
    forget(&[a, b]);
    let _b = Mounted::new(mount, &[b], "degraded", Access::ReadOnly).unwrap();
    // A scrub has compared all that has a checksum.
    assert_eq!(wrong(mount, &files), ["images/vm"], "the kernel mends what has no checksum");
}

/// A disk that dies while btrfs holds it: what the kernel remembers of it looks whole.
#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_a_disk_that_died_is_noticed_and_leaves_by_its_number() {
    let _alone = alone();
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mount = &place.path().join("mount");
    fs::create_dir(mount).unwrap();
    let files = ["a", "b", "c"].map(|name| blank(place.path(), name));
    let loops = files.each_ref().map(|file| Loop::of(file).unwrap());
    let nodes = loops.each_ref().map(|one| one.0.as_path());
    let id = make(&nodes, mount);
    let _mounted = Mounted::new(mount, &nodes, "", Access::ReadWrite).unwrap();
    let mut put_there = Files::new();
    put(mount, &mut put_there, "images/vm", 1, 8 * MIB);
    let name = nodes[2].file_name().unwrap().to_str().unwrap();
    let live = || live_of(id);
    let number = live().numbers[name];
    assert!(live().silent.is_empty());

    let _dead = Dead::new(&files[2]);
    put(mount, &mut put_there, "later", 2, 8 * MIB);
    assert!(Superblock::read(nodes[2]).is_ok(), "the kernel remembers it");
    assert_eq!(live().silent, BTreeSet::from([name.to_owned()]));
    assert!(!live().numbers.contains_key(name));
    assert!(file_system().told(nodes[2]).is_err(), "and nothing of it can be read");
    let leave = |which| file_system().leave(which, mount, &mut || ());
    assert!(leave(Which::Node(nodes[2])).is_err(), "btrfs cannot read whose it is");
    leave(Which::Number(number)).unwrap();
    let left = live();
    assert_eq!((left.devices.len(), left.missing), (2, 0));
    assert_eq!(wrong(mount, &put_there), [] as [&str; 0]);
}

/// A pool of two disks with one file, which is not mounted and which the kernel has forgotten.
fn pair(place: &Path, mount: &Path) -> ([Loop; 2], Files) {
    fs::create_dir(mount).unwrap();
    let loops = ["a", "b"].map(|name| Loop::of(&blank(place, name)).unwrap());
    let nodes = loops.each_ref().map(|one| one.0.as_path());
    make(&nodes, mount);
    let mut files = Files::new();
    {
        let _mounted = Mounted::new(mount, &nodes, "", Access::ReadWrite).unwrap();
        put(mount, &mut files, "images/vm", 1, 8 * MIB);
    }
    forget(&nodes);
    (loops, files)
}

/// Two disks, of which one was mounted by a system that knows no marks: the kernel counts one generation
/// for all that was written, as it does where a power cut hits between two superblocks.
#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_what_a_rescue_system_wrote_to_one_disk_is_never_mixed_with_the_other() {
    let _alone = alone();
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mount = &place.path().join("mount");
    let ([a, b], mut files) = pair(place.path(), mount);
    let (a, b) = (a.0.as_path(), b.0.as_path());
    {
        let _rescue = Mounted::new(mount, &[a], "degraded", Access::ReadWrite).unwrap();
        put(mount, &mut files, "images/vm", 2, 8 * MIB);
    }
    forget(&[a, b]);
    let members = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    let fresh = |id: &str| Fresh { id: id.into(), now: 1, host: "h".into() };
    let mark = fresh("e0").after([], members, None);
    let seen = |uuid: &str, node: &Path| {
        let Told { generation, members: devices, .. } = told(node);
        let standing = Standing::Member;
        let mark = Some(mark.clone());
        (uuid.parse().unwrap(), Seen { uuid: uuid.into(), mark, generation, devices, standing })
    };
    let both = BTreeMap::from([seen("a", a), seen("b", b)]);
    assert_eq!(both["a"].generation, both["b"].generation + 1, "one transaction for all of it");
    let record = Kept { known: true, mark: Some(mark.clone()), ..Kept::default() };
    let decision = judge(&both, &record, &Word::None, &fresh("e1"));
    let Decision::Open(opening) = decision else { panic!("{decision:?}") };
    assert_eq!(opening.behind, BTreeSet::from(["b".parse().unwrap()]));
    assert_eq!((opening.lost, opening.mark.members), (1, BTreeSet::from(["a".to_owned()])));
}

/// A disk that comes back to a pool whose every chunk is allocated and hardly used, as it is after some time
/// without that disk.
#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_t40_a_disk_comes_back_where_no_chunk_is_left_to_allocate() {
    let _alone = alone();
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let mount = &place.path().join("mount");
    let ([a, _b], files) = pair(place.path(), mount);
    // In the place of the second, as that one is when nothing on it counts.
    let c = Loop::of(&blank(place.path(), "c")).unwrap();
    let (a, c) = (a.0.as_path(), c.0.as_path());
    let _without_b = Mounted::new(mount, &[a], "degraded", Access::ReadWrite).unwrap();
    let filler = |number: u32| mount.join(format!("filler-{number}"));
    let filled =
        (0..4096).take_while(|number| fs::write(filler(*number), [7; MIB]).is_ok()).count();
    assert!(filled > 64, "{filled}");
    rustix::fs::sync();
    // Something is left in each chunk, or the kernel gives it back by itself.
    for number in (0..=u32::try_from(filled).unwrap()).filter(|number| number % 16 != 0) {
        let _ = fs::remove_file(filler(number));
    }
    rustix::fs::sync();
    let missing = file_system().missing(mount).unwrap();
    let [number] = missing.as_slice() else { panic!("{missing:?}") };
    bring_back(*number, c, mount);
    assert_eq!(wrong(mount, &files), [] as [&str; 0]);
}

/// One disk, in a life.
struct Disk {
    file: PathBuf,
    uuid: String,
    mark: Option<Mark>,
    /// Gone for good, until another comes in its place.
    lost: bool,
}

struct Life {
    place: TempDir,
    mount: PathBuf,
    id: Uuid,
    disks: Vec<Disk>,
    record: Kept,
    files: Files,
    seed: u32,
    names: u32,
    /// Disks that have everything.
    current: BTreeSet<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    WithoutA,
    WithoutB,
    Both,
    LoseOne,
    Replace,
}

const EVENTS: [Event; 5] =
    [Event::WithoutA, Event::WithoutB, Event::Both, Event::LoseOne, Event::Replace];

fn role(number: usize) -> Role {
    format!("r{number}").parse().unwrap()
}

impl Life {
    fn new(count: usize) -> Self {
        let place = tempfile::tempdir_in("/var/tmp").unwrap();
        let mount = place.path().join("mount");
        fs::create_dir(&mount).unwrap();
        let disk = |number: usize| Disk {
            file: blank(place.path(), &format!("disk-{number}")),
            uuid: format!("u{number}"),
            mark: None,
            lost: false,
        };
        let disks: Vec<Disk> = (0..count).map(disk).collect();
        let id = {
            let loops: Vec<Loop> = disks.iter().map(|disk| Loop::of(&disk.file).unwrap()).collect();
            make(&loops.iter().map(|one| one.0.as_path()).collect::<Vec<_>>(), &mount)
        };
        let (record, files, current) = (Kept::default(), Files::new(), (0..count).collect());
        Self { place, mount, id, disks, record, files, seed: 0, names: 0, current }
    }

    fn fresh(&mut self) -> Fresh {
        self.names += 1;
        Fresh { id: format!("e{}", self.names), now: 1, host: "h".into() }
    }

    fn keep(&mut self, mark: &Mark, on: &BTreeSet<usize>) {
        let carried: Vec<_> =
            on.iter().map(|number| (role(*number), self.disks[*number].mark.clone())).collect();
        for place in places(mark, &carried) {
            match place {
                Place::Record => (self.record.mark, self.record.known) = (Some(mark.clone()), true),
                Place::Member(wanted) => {
                    for number in on.iter().filter(|number| role(**number) == wanted) {
                        self.disks[*number].mark = Some(mark.clone());
                    }
                }
            }
        }
    }

    fn uuids(&self, of: &BTreeSet<usize>) -> BTreeSet<String> {
        of.iter().map(|number| self.disks[*number].uuid.clone()).collect()
    }

    fn step(&mut self, event: Event, events: &[Event]) {
        let last = self.disks.len() - 1;
        let absent = match event {
            Event::WithoutA => Some(0),
            Event::WithoutB => Some(1),
            Event::Both | Event::Replace => None,
            // Two at once are more than RAID1 bears.
            Event::LoseOne => {
                self.disks[last].lost |= self.current.len() == self.disks.len();
                None
            }
        };
        let there: Vec<usize> = (0..self.disks.len())
            .filter(|number| Some(*number) != absent && !self.disks[*number].lost)
            .collect();
        let loops: BTreeMap<usize, Loop> = there
            .iter()
            .map(|number| (*number, Loop::of(&self.disks[*number].file).unwrap()))
            .collect();
        let nodes: BTreeMap<usize, PathBuf> =
            loops.iter().map(|(number, one)| (*number, one.0.clone())).collect();
        self.boot(event, &nodes, events);
        forget(&nodes.values().map(PathBuf::as_path).collect::<Vec<_>>());
    }

    fn boot(&mut self, event: Event, nodes: &BTreeMap<usize, PathBuf>, events: &[Event]) {
        let seen = nodes.iter().map(|(number, node)| {
            let found = told(node);
            assert!(found.number.is_some() && !found.torn, "{events:?}");
            let Disk { uuid, mark, .. } = &self.disks[*number];
            let standing = if found.hidden { Standing::Hidden } else { Standing::Member };
            let (uuid, mark) = (uuid.clone(), mark.clone());
            let (generation, devices) = (found.generation, found.members);
            (role(*number), Seen { uuid, mark, generation, devices, standing })
        });
        let seen = seen.collect();
        let fresh = self.fresh();
        let decision = judge(&seen, &self.record, &Word::None, &fresh);
        if std::env::var_os("BEDPLATE_TELL").is_some() {
            println!("{event:?} {seen:?}\n  {decision:?}");
        }
        match decision {
            Decision::Refused(refusal) => self.is_right_to_refuse(&refusal, nodes, events),
            Decision::Open(opening) => self.mounted(event, &opening, nodes, events),
        }
    }

    /// Refused is only what lacks the newest history.
    fn is_right_to_refuse(
        &self,
        refusal: &Refusal,
        nodes: &BTreeMap<usize, PathBuf>,
        events: &[Event],
    ) {
        let here = self.current.iter().filter(|number| nodes.contains_key(number)).count();
        assert!(here + 1 < self.disks.len(), "{refusal:?}: {events:?}");
    }

    fn mounted(
        &mut self,
        event: Event,
        opening: &Opening,
        nodes: &BTreeMap<usize, PathBuf>,
        events: &[Event],
    ) {
        let is = |roles: &BTreeSet<Role>| -> BTreeSet<usize> {
            nodes.keys().filter(|number| roles.contains(&role(**number))).copied().collect()
        };
        let (mut current, behind) = (is(&opening.current), is(&opening.behind));
        assert!(current.is_subset(&self.current), "old data is mounted: {events:?}");
        self.keep(&opening.mark, &current);
        for number in &behind {
            file_system().hide(&nodes[number]).unwrap();
            file_system().forget(&nodes[number]).unwrap();
        }
        let mount = self.mount.clone();
        let degraded = if opening.lost > 0 { "degraded" } else { "" };
        {
            let used: Vec<PathBuf> = current.iter().map(|number| nodes[number].clone()).collect();
            btrfs::scan(&used).unwrap();
            let used: Vec<&Path> = used.iter().map(PathBuf::as_path).collect();
            let _mounted = Mounted::new(&mount, &used, degraded, Access::ReadWrite).unwrap();
            assert_eq!(wrong(&mount, &self.files), [] as [&str; 0], "{events:?}");
            self.write();
            self.current = current.clone();
            let mut head = opening.mark.clone();
            if event == Event::Replace && self.disks.iter().any(|disk| disk.lost) {
                head = self.replace_lost(&mut current, &head);
            }
            for back in behind {
                head = self.resync(back, &nodes[&back], &mut current, &head);
            }
            let live = live_of(self.id);
            if live.missing == 0 && !live.single.is_empty() {
                file_system().spread(&mount, &mut || ()).unwrap();
                assert_eq!(live_of(self.id).single, BTreeSet::new(), "{events:?}");
            }
            assert_eq!(wrong(&mount, &self.files), [] as [&str; 0], "{events:?}");
        }
        self.current = current;
        self.whichever_is_lost(events);
    }

    fn write(&mut self) {
        self.seed += 1;
        let (seed, mount) = (self.seed, self.mount.clone());
        put(&mount, &mut self.files, "images/vm", seed, 4 * MIB);
        put(&mount, &mut self.files, &format!("file-{}", seed % 5), seed, 3 * MIB);
    }

    /// As `pool replace` does it with a disk that is gone.
    fn replace_lost(&mut self, current: &mut BTreeSet<usize>, head: &Mark) -> Mark {
        let lost = self.disks.iter().position(|disk| disk.lost).unwrap();
        self.names += 1;
        let name = format!("disk-{lost}-{}", self.names);
        let file = blank(self.place.path(), &name);
        let new = Loop::of(&file).unwrap();
        self.disks[lost] = Disk { file, uuid: format!("u{name}"), mark: None, lost: false };
        current.insert(lost);
        let members = self.uuids(current);
        let era = self.fresh().after([head.line.as_slice()], members, None);
        self.keep(&era, current);
        file_system().join(&new.0, &self.mount).unwrap();
        if live_of(self.id).missing > 0 {
            // By its number, as `pool replace` does: the kernel takes out that one and no other.
            let missing = file_system().missing(&self.mount).unwrap();
            file_system().leave(Which::Number(missing[0]), &self.mount, &mut || ()).unwrap();
        }
        file_system().spread(&self.mount, &mut || ()).unwrap();
        // It stays attached as long as the file system is mounted.
        std::mem::forget(new);
        era
    }

    fn resync(
        &mut self,
        back: usize,
        node: &Path,
        current: &mut BTreeSet<usize>,
        head: &Mark,
    ) -> Mark {
        let missing = file_system().missing(&self.mount).unwrap();
        let [number] = missing.as_slice() else { return head.clone() };
        let target = Some(self.disks[back].uuid.clone());
        let era = self.fresh().after([head.line.as_slice()], self.uuids(current), target);
        self.keep(&era, current);
        let joining = Some(era.id().to_owned());
        let own = self.disks[back].mark.clone().unwrap();
        self.disks[back].mark = Some(Mark { joining, ..own });
        // No scan takes it in as it is.
        assert!(Command::new("btrfs").args(["device", "scan"]).arg(node).run().is_err());
        bring_back(*number, node, &self.mount);
        current.insert(back);
        let members = self.uuids(current);
        let whole = self.fresh().after([era.line.as_slice()], members, None);
        self.keep(&whole, current);
        whole
    }

    /// Every file is the newest whichever member of a pool that is whole is lost next.
    fn whichever_is_lost(&self, events: &[Event]) {
        if self.current.len() < self.disks.len() {
            return;
        }
        detach_below(self.place.path());
        for gone in 0..self.disks.len() {
            let left = (0..self.disks.len()).filter(|number| *number != gone);
            let loops: Vec<Loop> =
                left.map(|number| Loop::of(&self.disks[number].file).unwrap()).collect();
            let nodes: Vec<&Path> = loops.iter().map(|one| one.0.as_path()).collect();
            let mounted = Mounted::new(&self.mount, &nodes, "degraded", Access::ReadOnly).unwrap();
            assert_eq!(
                wrong(&self.mount, &self.files),
                [] as [&str; 0],
                "{gone} is lost: {events:?}"
            );
            drop(mounted);
            forget(&nodes);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        detach_below(self.place.path());
    }
}

/// Every two, or three, events follow one another: the sequence of de Bruijn, by Martin's greedy rule.
fn walk(order: usize) -> Vec<Event> {
    let mut all = vec![0; order];
    let mut known = BTreeSet::from([all.clone()]);
    loop {
        let tail = all[all.len() + 1 - order..].to_vec();
        let next = (0..EVENTS.len()).rev().find(|next| {
            let word = [tail.as_slice(), &[*next]].concat();
            known.insert(word)
        });
        let Some(next) = next else { break };
        all.push(next);
    }
    all.into_iter().map(|number| EVENTS[number]).collect()
}

fn live(count: usize, order: usize) {
    let _alone = alone();
    let mut life = Life::new(count);
    let mut told = Vec::new();
    // Once whole, as after an installation.
    for event in std::iter::once(Event::Both).chain(walk(order)) {
        told.push(event);
        life.step(event, &told);
    }
    // With every disk there again it is whole.
    for event in [Event::Both, Event::Replace, Event::Both] {
        told.push(event);
        life.step(event, &told);
    }
    assert_eq!(life.current.len(), count, "{told:?}");
    println!("{count} disks, {} boots", told.len());
}

#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_a_life_of_two_disks_keeps_the_newest_history_on_each() {
    live(2, 2);
}

#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_a_life_of_three_disks_keeps_the_newest_history_on_each() {
    live(3, 2);
}

/// As those, with every three events in a row: 250 boots take minutes, so that only `--full` does it.
#[test]
#[ignore = "wants root, loop devices and btrfs"]
fn t44_long_lives_keep_the_newest_history_on_each_disk() {
    live(2, 3);
    live(3, 3);
}
