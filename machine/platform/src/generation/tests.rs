use std::os::unix::fs::symlink;

use super::wanted::LOADERS;
use super::*;

struct Machine {
    directory: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.path("esp")).unwrap();
        fs::create_dir(machine.path("profiles")).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn generation(&self, number: u64, kernel: &str) -> PathBuf {
        let toplevel = self.path(&format!("top-{number}"));
        for (source, _) in LOADERS {
            let path = toplevel.join("tree").join(source);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        }
        fs::write(toplevel.join("kernel"), kernel).unwrap();
        fs::write(toplevel.join("initrd"), "initrd").unwrap();
        let parameters = format!("init={}/init console=ttyS0", toplevel.display());
        fs::write(toplevel.join("kernel-params"), parameters).unwrap();
        symlink(&toplevel, self.path(&format!("profiles/system-{number}-link"))).unwrap();
        toplevel
    }

    fn boot(&self, toplevel: &Path) -> Result<(), GenerationError> {
        boot(&self.path("esp"), &self.path("profiles"), toplevel, None)
    }

    /// What the boot menu offers; a name that was set aside is none of it.
    fn entries(&self) -> Vec<String> {
        let mut names = names(&self.path("esp/loader/entries")).unwrap();
        names.retain(|name| name.ends_with(".conf"));
        names
    }
}

#[test]
fn an_entry_names_files_that_are_there_and_its_init() {
    let machine = Machine::new();
    let toplevel = machine.generation(1, "kernel");
    machine.boot(&toplevel).unwrap();
    assert_eq!(machine.entries(), ["bedplate-1+3.conf"]);
    let text = fs::read_to_string(machine.path("esp/loader/entries/bedplate-1+3.conf")).unwrap();
    assert!(text.contains(&format!("options init={}/init console=ttyS0", toplevel.display())));
    assert_eq!(text.matches("init=").count(), 1, "{text}");
    for line in text.lines().filter(|line| line.starts_with("linux") || line.starts_with("initrd"))
    {
        let path = line.split_once(' ').unwrap().1;
        assert!(machine.path("esp").join(path.trim_start_matches('/')).is_file(), "{line}");
    }
    assert!(machine.path("esp/EFI/BOOT/BOOTX64.EFI").is_file());
}

#[test]
fn a_blessed_entry_stays_blessed_and_one_given_up_is_tried_again() {
    let machine = Machine::new();
    let toplevel = machine.generation(1, "kernel");
    machine.boot(&toplevel).unwrap();
    let entries = machine.path("esp/loader/entries");
    fs::rename(entries.join("bedplate-1+3.conf"), entries.join("bedplate-1.conf")).unwrap();
    machine.boot(&toplevel).unwrap();
    assert_eq!(machine.entries(), ["bedplate-1.conf"]);
    fs::rename(entries.join("bedplate-1.conf"), entries.join("bedplate-1+0-3.conf")).unwrap();
    machine.boot(&toplevel).unwrap();
    assert_eq!(machine.entries(), ["bedplate-1+3.conf"]);
}

#[test]
fn old_generations_keep_their_images_until_they_are_gone() {
    let machine = Machine::new();
    machine.boot(&machine.generation(1, "one")).unwrap();
    machine.boot(&machine.generation(2, "two")).unwrap();
    assert_eq!(machine.entries().len(), 2);
    // Two kernels, an initrd, and what says how the loaders should be.
    assert_eq!(names(&machine.path("esp/EFI/bedplate")).unwrap().len(), 4);
    fs::remove_file(machine.path("profiles/system-1-link")).unwrap();
    machine.boot(&machine.path("top-2")).unwrap();
    assert_eq!(machine.entries(), ["bedplate-2+3.conf"]);
    assert_eq!(names(&machine.path("esp/EFI/bedplate")).unwrap().len(), 3);
}

#[test]
fn f1_a_toplevel_that_cannot_be_read_leaves_no_entry() {
    let machine = Machine::new();
    let toplevel = machine.generation(1, "kernel");
    fs::remove_file(toplevel.join("initrd")).unwrap();
    assert!(machine.boot(&toplevel).is_err());
    assert!(!machine.path("esp/loader/entries").exists());
}

#[test]
fn a_toplevel_outside_the_profile_is_refused() {
    let machine = Machine::new();
    let toplevel = machine.generation(1, "kernel");
    fs::remove_file(machine.path("profiles/system-1-link")).unwrap();
    assert!(matches!(machine.boot(&toplevel), Err(GenerationError::NoGeneration { .. })));
}

#[test]
fn the_mirror_is_written_first_and_a_lost_one_does_not_keep_the_machine_from_its_generation() {
    let machine = Machine::new();
    let toplevel = machine.generation(1, "kernel");
    fs::create_dir(machine.path("mirror")).unwrap();
    let order = std::cell::RefCell::new(Vec::new());
    let write = |esp: &Path| {
        order.borrow_mut().push(esp.file_name().unwrap().to_owned());
        boot(esp, &machine.path("profiles"), &toplevel, None)
    };
    both(&machine.path("esp"), Some(&machine.path("mirror")), write).unwrap();
    assert_eq!(*order.borrow(), ["mirror", "esp"]);
    let entry = "loader/entries/bedplate-1+3.conf";
    let read = |esp: &str| fs::read(machine.path(esp).join(entry)).unwrap();
    assert_eq!(read("esp"), read("mirror"));

    let toplevel = machine.generation(2, "newer");
    let write = |esp: &Path| boot(esp, &machine.path("profiles"), &toplevel, None);
    let lost = both(&machine.path("esp"), Some(&machine.path("lost")), write);
    assert!(matches!(lost, Err(GenerationError::Mirror { .. })), "{lost:?}");
    assert!(machine.path("esp/loader/entries/bedplate-2+3.conf").is_file());
}

#[test]
fn the_entry_that_was_asked_for_last_sorts_first_whichever_generation_it_is() {
    let machine = Machine::new();
    let (one, two) = (machine.generation(1, "one"), machine.generation(2, "two"));
    let first = || {
        let listed = list(&machine.path("esp"), &machine.path("profiles"), Some(&one)).unwrap();
        let next = listed.iter().filter(|one| one.next).map(|one| one.number);
        (next.collect::<Vec<_>>(), listed.len())
    };
    machine.boot(&one).unwrap();
    machine.boot(&two).unwrap();
    assert_eq!(first(), (vec![2], 2));
    let entries = machine.path("esp/loader/entries");
    fs::rename(entries.join("bedplate-1+3.conf"), entries.join("bedplate-1.conf")).unwrap();
    machine.boot(&one).unwrap();
    assert_eq!(first(), (vec![1], 2));
    assert_eq!(machine.entries(), ["bedplate-1.conf", "bedplate-2+3.conf"], "it came up before");
    let third = machine.generation(3, "three");
    machine.boot(&third).unwrap();
    let ranks = |entry: &str| {
        let path = machine.path("esp/loader/entries").join(entry);
        let text = fs::read_to_string(path).unwrap();
        RANKS.into_iter().position(|name| has_rank(&text, name)).unwrap()
    };
    let order = ["bedplate-3+3.conf", "bedplate-1.conf", "bedplate-2+3.conf"];
    assert_eq!(order.map(ranks), [0, 1, 2], "the one that booted before comes next");
    fs::rename(entries.join("bedplate-3+3.conf"), entries.join("bedplate-3+0-3.conf")).unwrap();
    assert_eq!(first().0, [1], "what is given up does not boot next");
    fs::remove_file(machine.path("profiles/system-3-link")).unwrap();
    machine.boot(&two).unwrap();
    let listed = list(&machine.path("esp"), &machine.path("profiles"), Some(&one)).unwrap();
    let told = |one: &Listed| (one.number, one.standing(), one.trial.to_string());
    assert_eq!(told(&listed[0]), (2, "boots next", "untried, 3 tries left".to_owned()));
    assert_eq!(told(&listed[1]), (1, "runs", "has come up".to_owned()));
    let places = listed.iter().map(|one| one.toplevel.clone()).collect::<Vec<_>>();
    assert_eq!(places, [machine.path("top-2"), machine.path("top-1")]);
}

/// A cut while systemd-bless-boot renames an entry. On FAT both names have the same clusters, and who
/// replaces or deletes one of them frees those of the other.
#[test]
fn t45_two_names_of_one_entry_become_one_and_nothing_is_freed_that_another_name_has() {
    for is_another in [false, true] {
        let machine = Machine::new();
        let (one, two) = (machine.generation(1, "one"), machine.generation(2, "two"));
        machine.boot(&one).unwrap();
        let entries = machine.path("esp/loader/entries");
        fs::hard_link(entries.join("bedplate-1+3.conf"), entries.join("bedplate-1.conf")).unwrap();
        let file = fs::File::open(entries.join("bedplate-1.conf")).unwrap();
        machine.boot(if is_another { &two } else { &one }).unwrap();
        let wanted = ["bedplate-1.conf", "bedplate-2+3.conf"];
        assert_eq!(machine.entries(), wanted[..1 + usize::from(is_another)]);
        assert_eq!(file.metadata().unwrap().nlink(), 2, "another generation: {is_another}");
    }
}

/// `nix-collect-garbage -d` deletes every generation but the current one, which may never have come up.
#[test]
fn t45_the_generation_that_runs_stays_in_the_menu_though_the_profile_lost_it() {
    let machine = Machine::new();
    let one = machine.generation(1, "one");
    machine.boot(&one).unwrap();
    let entries = machine.path("esp/loader/entries");
    fs::rename(entries.join("bedplate-1+3.conf"), entries.join("bedplate-1.conf")).unwrap();
    machine.boot(&machine.generation(2, "two")).unwrap();
    fs::remove_file(machine.path("profiles/system-1-link")).unwrap();
    let third = machine.generation(3, "three");
    let (esp, profiles) = (machine.path("esp"), machine.path("profiles"));
    boot(&esp, &profiles, &third, Some(&one)).unwrap();
    assert_eq!(machine.entries(), ["bedplate-1.conf", "bedplate-2+3.conf", "bedplate-3+3.conf"]);
    let text = fs::read_to_string(entries.join("bedplate-1.conf")).unwrap();
    for image in bedplate_facts::boot_chain::images_of(&text) {
        assert!(esp.join(&image).is_file(), "{image}");
    }
}

#[test]
fn t45_a_torn_entry_is_still_seen_to_be_torn_when_it_was_sorted_behind() {
    let machine = Machine::new();
    machine.boot(&machine.generation(1, "one")).unwrap();
    let entry = machine.path("esp/loader/entries/bedplate-1+3.conf");
    let text = fs::read_to_string(&entry).unwrap();
    fs::write(&entry, text.replace("ttyS0", "ttyS9")).unwrap();
    machine.boot(&machine.generation(2, "two")).unwrap();
    let text = fs::read_to_string(&entry).unwrap();
    assert!(has_rank(&text, RANKS[1]), "{text}");
    assert_eq!(unsealed(&text), Sealed::Broken, "{text}");
}

#[test]
fn t45_an_entry_that_is_no_text_keeps_no_other_generation_from_booting() {
    let machine = Machine::new();
    machine.boot(&machine.generation(1, "one")).unwrap();
    fs::write(machine.path("esp/loader/entries/bedplate-1+3.conf"), b"\xff\xfe\0").unwrap();
    machine.boot(&machine.generation(2, "two")).unwrap();
    let listed = list(&machine.path("esp"), &machine.path("profiles"), None).unwrap();
    let next: Vec<u64> = listed.iter().filter(|one| one.next).map(|one| one.number).collect();
    assert_eq!(next, [2]);
}

#[test]
fn t45_what_a_cut_left_half_done_is_no_file_of_the_partition() {
    let machine = Machine::new();
    let toplevel = machine.generation(1, "kernel");
    machine.boot(&toplevel).unwrap();
    for directory in ["loader/entries", "EFI/BOOT", "EFI/bedplate"] {
        fs::write(machine.path("esp").join(directory).join("bedplate.new"), "half").unwrap();
    }
    machine.boot(&toplevel).unwrap();
    assert_eq!(machine.entries(), ["bedplate-1+3.conf"]);
    assert!(!machine.path("esp/EFI/bedplate/bedplate.new").exists());
}
