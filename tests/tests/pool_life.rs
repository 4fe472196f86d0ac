//! The whole life of a pool of two and of one of three: disks go, come back, die and are replaced, in
//! every order of two of these; what is read is the newest history, or the pool refuses. Run by name.
//!
//! Every order of three, and of more, is walked without a machine: with the kernel's own btrfs on loop
//! devices (`host-service/tests/returned_member`) and with a model (`core/planner/src/pool_history/tests`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bedplate_qemu_harness::faults::Fails;
use bedplate_qemu_harness::machine::Disk;
use bedplate_tests::pool_life::{LifeMachine, POOLS};

/// What a disk takes in a second whose work is to be cut off.
const SLOW: u64 = 1 << 20;
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    WithoutA,
    WithoutB,
    Both,
    LoseOne,
    Replace,
}

use Event::{Both, LoseOne, Replace, WithoutA, WithoutB};

/// Every two of the events follow one another (a sequence of de Bruijn).
const LIFE: [Event; 26] = [
    Both, Both, WithoutA, Both, WithoutB, Both, LoseOne, Both, Replace, WithoutA, WithoutA,
    WithoutB, WithoutA, LoseOne, WithoutA, Replace, WithoutB, WithoutB, LoseOne, WithoutB, Replace,
    LoseOne, LoseOne, Replace, Replace, Both,
];

/// What is known of one pool.
#[derive(Default)]
struct Known {
    /// Roles that have everything.
    current: BTreeSet<String>,
    /// The role whose disk is gone for good.
    lost: Option<String>,
    /// Hashes of its files.
    sums: BTreeMap<String, String>,
}

/// The hashes of a pool's files that were told at one moment.
fn sums(told: &[String], pool: &str, moment: &str) -> BTreeMap<String, String> {
    let of = |line: &String| {
        let mut words = line.split_whitespace();
        let fits = words.next() == Some(pool) && words.next() == Some(moment);
        fits.then(|| Some((words.next()?.to_owned(), words.next()?.to_owned())))?
    };
    told.iter().filter_map(of).collect()
}

fn says(told: &[String], what: &str) -> bool {
    told.iter().any(|line| line == what)
}

struct Life {
    machine: LifeMachine,
    known: BTreeMap<&'static str, Known>,
    boots: usize,
}

impl Life {
    fn step(&mut self, event: Event) {
        self.boots += 1;
        let (mut without, mut lines) = (Vec::new(), String::new());
        for (pool, members) in POOLS {
            let known = self.known.get_mut(pool).unwrap();
            let last = members[members.len() - 1];
            match event {
                WithoutA => without.push(members[0].to_owned()),
                WithoutB => without.push(members[1].to_owned()),
                // Two at once are more than RAID1 bears.
                LoseOne if known.current.len() == members.len() => {
                    known.lost = Some(last.to_owned());
                }
                Both | LoseOne | Replace => {}
            }
            lines += &format!("open {pool}; sums {pool} found\n");
            match known.lost.clone() {
                Some(lost) if event == Replace => {
                    let new = self.machine.fresh_disk(&lost, self.boots + 1).unwrap();
                    let id = new.by_id();
                    self.machine.disks.retain(|disk| disk.role != lost);
                    self.machine.disks.push(new);
                    lines += &format!(
                        "\"$host\" pool replace {lost} --disk {id} --yes && echo \"LIFE {pool} replaced\"\n"
                    );
                }
                Some(lost) => without.push(lost),
                None => {}
            }
            lines += &format!("write {pool} {}; sums {pool} wrote\n", self.boots % 4);
        }
        lines += "\"$host\" pool tend; \"$host\" pool status\n";
        for (pool, _) in POOLS {
            lines += &format!(
                "sums {pool} end; \"$host\" pool status | $box grep -q \"pool {pool}: whole\" && echo \"LIFE {pool} whole\"\n"
            );
            lines += &format!("mounted {pool} && $box umount /mnt/{pool}\n");
        }
        without.dedup();
        let without: Vec<&str> = without.iter().map(String::as_str).collect();
        println!("boot {}: {event:?}, without {without:?}", self.boots);
        let told = self.machine.boot(&without, &lines).unwrap();
        for (pool, members) in POOLS {
            self.judge(pool, members, event, &without, &told);
        }
    }

    fn judge(
        &mut self,
        pool: &str,
        members: &[&str],
        event: Event,
        without: &[&str],
        told: &[String],
    ) {
        let known = self.known.get_mut(pool).unwrap();
        let there = members.iter().filter(|role| !without.contains(role));
        let mut there: BTreeSet<String> = there.map(|role| (*role).to_owned()).collect();
        if says(told, &format!("{pool} refused")) {
            let current = known.current.intersection(&there).count();
            assert!(current + 1 < members.len(), "{pool} refused {there:?}, {event:?}: {told:#?}");
            return;
        }
        assert!(says(told, &format!("{pool} open")), "{pool}: {told:#?}");
        assert_eq!(sums(told, pool, "found"), known.sums, "{pool}, {event:?}: not the newest");
        known.sums = sums(told, pool, "wrote");
        assert_eq!(sums(told, pool, "end"), known.sums, "{pool}, {event:?}: changed by itself");
        if event == Replace && known.lost.take().is_some() {
            assert!(says(told, &format!("{pool} replaced")), "{pool}: {told:#?}");
        }
        if let Some(lost) = &known.lost {
            there.remove(lost);
        }
        let whole = says(told, &format!("{pool} whole"));
        assert_eq!(whole, there.len() == members.len(), "{pool}, {event:?}: {told:#?}");
        known.current = there;
    }

    /// The power goes while a member is written anew: the kernel goes on at the next boot.
    fn cut_while_it_is_brought_up_to_date(&mut self) {
        let (pool, members) = POOLS[0];
        let back = members[1];
        let lines = format!(
            "open {pool}; fill /mnt/{pool}/file-0 1600; sums {pool} wrote; $box umount /mnt/{pool}"
        );
        let told = self.machine.boot(&[back], &lines).unwrap();
        let wrote = sums(&told, pool, "wrote");
        let lines = format!(
            "open {pool}; echo 'LIFE READY'; $box sleep 5; \"$host\" pool tend &\n\
             until \"$host\" pool status | $box grep 'RESYNCING'; do $box sleep 1; done\n\
             $box sync; $box sleep 3; echo 'LIFE CUT'; $box sleep 3600"
        );
        let running = self.machine.begin(&[], &lines).unwrap();
        running.wait_for_text(&["LIFE READY"], LIMIT).unwrap();
        running.qmp().slow_down(back, SLOW).unwrap();
        running.wait_for_text(&["LIFE CUT"], LIMIT).unwrap();
        running.cut_power().unwrap();
        let lines = format!(
            "open {pool}; \"$host\" pool tend; sums {pool} end\n\
             $box dmesg | $box grep -q 'continuing dev_replace' && echo 'LIFE went on'\n\
             \"$host\" pool status | $box grep -q \"pool {pool}: whole\" && echo \"LIFE {pool} whole\"\n\
             $box umount /mnt/{pool}"
        );
        let told = self.machine.boot(&[], &lines).unwrap();
        assert_eq!(sums(&told, pool, "end"), wrote, "{told:#?}");
        assert!(says(&told, "went on") && says(&told, &format!("{pool} whole")), "{told:#?}");
        // Whichever is lost now.
        for lost in members {
            let lines = format!("open {pool}; sums {pool} end; $box umount /mnt/{pool}");
            let fork = self.machine.boot(&[lost], &lines).unwrap();
            let all = format!("open {pool}; \"$host\" pool tend; $box umount /mnt/{pool}");
            assert_eq!(sums(&fork, pool, "end"), wrote, "{lost} is lost: {fork:#?}");
            self.machine.boot(&[], &all).unwrap();
        }
    }
}

#[test]
fn t44_whatever_a_pool_lives_through_what_is_read_is_the_newest_history() {
    let directory = tempfile::Builder::new().prefix("bedplate-life-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let machine = LifeMachine::install(directory.path()).unwrap();
    let known = POOLS.map(|(pool, members)| {
        let current = members.iter().map(|role| (*role).to_owned()).collect();
        (pool, Known { current, ..Known::default() })
    });
    let mut life = Life { machine, known: known.into_iter().collect(), boots: 0 };
    let lines = POOLS.map(|(pool, _)| {
        format!("open {pool}; first {pool}; sums {pool} wrote; $box umount /mnt/{pool}\n")
    });
    let told = life.machine.boot(&[], &lines.concat()).unwrap();
    for (pool, _) in POOLS {
        let sums = sums(&told, pool, "wrote");
        assert_eq!(sums.len(), 2, "{told:#?}");
        life.known.get_mut(pool).unwrap().sums = sums;
    }
    for event in LIFE {
        life.step(event);
    }
    // Whole again, and then cut off.
    for event in [Both, Replace, Both] {
        life.step(event);
    }
    life.cut_while_it_is_brought_up_to_date();
}

/// A machine with a file in each pool, and the hashes of those of the first one.
fn begun(directory: &std::path::Path) -> (LifeMachine, BTreeMap<String, String>) {
    let machine = LifeMachine::install(directory).unwrap();
    let lines = "open pair; first pair; sums pair wrote; $box umount /mnt/pair";
    let sums = sums(&machine.boot(&[], lines).unwrap(), "pair", "wrote");
    assert_eq!(sums.len(), 2);
    (machine, sums)
}

/// Puts another disk in the place of a role, which stops taking writes before the change or while it is
/// filled; what it told, and the disk.
fn replace_with_one_that_fails(
    machine: &mut LifeMachine,
    role: &str,
    number: usize,
    before: bool,
) -> (Vec<String>, Disk) {
    let new = machine.fresh_disk(role, number).unwrap();
    machine.disks.retain(|disk| disk.role != role);
    machine.disks.push(new.clone());
    let replace = format!("\"$host\" pool replace {role} --disk {} --yes", new.by_id());
    let ready = "echo 'LIFE READY'; $box sleep 5";
    let change = format!("if {replace} > /said 2>&1; then echo 'LIFE replaced'; fi");
    let change = if before {
        format!("{ready}; {change}")
    } else {
        format!(
            "{ready}; {change} &\nuntil $box grep -q '^join: done' /said; do $box usleep 200000; done\n\
             echo 'LIFE FILLS'; wait"
        )
    };
    let lines = format!(
        "open pair\n{change}\n$box sed 's/^/LIFE said /' /said\nsums pair end\n\
         \"$host\" pool status | $box sed 's/^/LIFE status /'\n$box umount /mnt/pair"
    );
    let running = machine.begin(&[], &lines).unwrap();
    running.wait_for_text(&["LIFE READY"], LIMIT).unwrap();
    if before {
        running.qmp().break_disk(role, Fails::Writes).unwrap();
    } else {
        running.qmp().slow_down(role, SLOW).unwrap();
        running.wait_for_text(&["LIFE FILLS"], LIMIT).unwrap();
        running.qmp().break_disk(role, Fails::Writes).unwrap();
    }
    running.wait_for_text(&["LIFE IS OVER"], LIMIT).unwrap();
    let console = running.console();
    running.wait_for_end(LIMIT).unwrap();
    let told = console.lines().filter_map(|line| line.trim().strip_prefix("LIFE "));
    (told.map(str::to_owned).collect(), new)
}

#[test]
fn f2_f3_a_new_disk_that_fails_and_a_member_that_is_pulled_cost_the_pool_nothing() {
    let directory = tempfile::Builder::new().prefix("bedplate-life-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let (mut machine, wrote) = begun(directory.path());
    for (number, before) in [(2, true), (3, false)] {
        let (told, new) = replace_with_one_that_fails(&mut machine, "two", number, before);
        // What has no checksums may be read from the disk that fails, for as long as it is mounted.
        let checked = |sums: &BTreeMap<String, String>| sums.get("file").cloned();
        assert_eq!(checked(&sums(&told, "pair", "end")), checked(&wrote), "{told:#?}");
        assert!(!says(&told, "replaced"), "{told:#?}");
        let names = |line: &String| line.starts_with("said ") && line.contains(&new.by_id());
        assert!(told.iter().any(names), "{told:#?}");
        assert!(!told.iter().any(|line| line.contains("status pool pair: whole")), "{told:#?}");
    }
    let new = machine.fresh_disk("two", 4).unwrap();
    machine.disks.retain(|disk| disk.role != "two");
    machine.disks.push(new.clone());
    let lines = format!(
        "open pair; \"$host\" pool replace two --disk {} --yes && echo 'LIFE replaced'; \"$host\" pool tend\n\
         sums pair end; \"$host\" pool status | $box sed 's/^/LIFE status /'; $box umount /mnt/pair",
        new.by_id()
    );
    let told = machine.boot(&[], &lines).unwrap();
    assert_eq!(sums(&told, "pair", "end"), wrote, "{told:#?}");
    assert!(says(&told, "replaced"), "{told:#?}");
    pulled_and_put_back(&machine, &new);
}

/// A member is pulled out of the running machine, and put back into it after more was written.
fn pulled_and_put_back(machine: &LifeMachine, member: &Disk) {
    let there = format!("/dev/disk/by-id/{}", member.by_id());
    let lines = format!(
        "open pair; echo 'LIFE READY'; until names; [ ! -e {there} ]; do $box sleep 1; done\n\
         write pair 1; sums pair wrote; \"$host\" pool status | $box sed 's/^/LIFE without /'\n\
         echo 'LIFE WROTE'; until names; [ -e {there} ]; do $box sleep 1; done; $box sleep 2\n\
         \"$host\" pool tend > /said 2>&1; $box sed 's/^/LIFE said /' /said; sums pair end\n\
         \"$host\" pool status | $box sed 's/^/LIFE status /'; $box umount /mnt/pair"
    );
    let running = machine.begin(&[], &lines).unwrap();
    running.wait_for_text(&["LIFE READY"], LIMIT).unwrap();
    running.qmp().unplug("two").unwrap();
    running.wait_for_text(&["LIFE WROTE"], LIMIT).unwrap();
    running.qmp().plug_in(member).unwrap();
    running.wait_for_text(&["LIFE IS OVER"], LIMIT).unwrap();
    let console = running.console();
    running.wait_for_end(LIMIT).unwrap();
    // The next one is at the same sockets.
    drop(running);
    let told = console.lines().filter_map(|line| line.trim().strip_prefix("LIFE "));
    let told: Vec<String> = told.map(str::to_owned).collect();
    println!("{told:#?}");
    let wrote = sums(&told, "pair", "wrote");
    assert_eq!(sums(&told, "pair", "end"), wrote, "{told:#?}");
    let whole = "open pair; \"$host\" pool tend; sums pair end; $box umount /mnt/pair";
    assert_eq!(sums(&machine.boot(&[], whole).unwrap(), "pair", "end"), wrote);
    // Whichever is lost then.
    for lost in ["one", "two"] {
        let alone = "open pair; sums pair end; $box umount /mnt/pair";
        assert_eq!(sums(&machine.boot(&[lost], alone).unwrap(), "pair", "end"), wrote, "{lost}");
        assert_eq!(sums(&machine.boot(&[], whole).unwrap(), "pair", "end"), wrote);
    }
}
