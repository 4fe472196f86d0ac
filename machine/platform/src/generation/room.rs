//! Room on a full ESP: what goes for a new generation is decided before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_events::shown::shown;
use bedplate_facts::boot_chain::{ENTRIES, IMAGES, is_list};
use bedplate_tools::vfat;

use super::esp::{Esp, WRITTEN};
use super::list::{Listed, Trial};
use super::wanted::Wanted;
use super::{GenerationError, entry_number, file};

/// Clusters for what grows beside the files themselves: directories, entries that are written anew.
pub(super) const SLACK: u64 = 32;
/// How many files of others are named in an error.
const NAMED: usize = 5;

/// A generation that the boot menu offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its number.
    pub number: u64,
    /// Whether the profile has it still.
    pub is_alive: bool,
    /// Names of images that its entries say they need.
    pub images: BTreeSet<String>,
}

/// What goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// Generations that the boot menu no longer offers.
    pub generations: BTreeSet<u64>,
    /// Names of the images that it starts.
    pub images: BTreeSet<String>,
}

/// There is no room, whatever goes. Nothing was removed and nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Where the ESP is mounted.
    pub esp: PathBuf,
    /// Bytes that are needed.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that would be free when everything has gone that may go.
    pub possible: u64,
    /// Generations that stay.
    pub stays: Vec<u64>,
    /// Files that are not ours, the largest first, with their sizes.
    pub others: Vec<(String, u64)>,
    /// What power cuts left under two names, which is never freed, with its sizes.
    pub set_aside: Vec<(String, u64)>,
}

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { esp, needed, free, possible, stays, others, set_aside } = self;
        let lacks = megabytes(needed.saturating_sub(*possible));
        write!(
            formatter,
            "the EFI system partition at {} lacks {lacks} MB: {} MB are needed, {} MB are free, and {} MB would be \
             without what neither runs nor boots next. Nothing was removed and nothing was written.",
            esp.display(),
            megabytes(*needed),
            free / MEGABYTE,
            possible / MEGABYTE
        )?;
        if !stays.is_empty() {
            let stays: Vec<String> = stays.iter().map(u64::to_string).collect();
            write!(
                formatter,
                " Generations {} stay: they run, boot next, or are what the machine returns to. Restart into the one \
                 that boots next, so that others can go",
                stays.join(", ")
            )?;
        }
        if !others.is_empty() {
            let join = if stays.is_empty() { " Remove" } else { ", or remove" };
            write!(formatter, "{join} what is not Bedplate's: {}", listed(others))?;
        }
        if set_aside.is_empty() {
            return Ok(());
        }
        // The sentence before it has no end of its own where others can be removed, or generations go.
        let end = if stays.is_empty() && others.is_empty() { "" } else { "." };
        write!(
            formatter,
            "{end} A power cut left these, each perhaps with another name for the same clusters, so that nothing may \
             free them while the partition is mounted: {}. `fsck.vfat` gives their room back",
            listed(set_aside)
        )
    }
}

fn listed(files: &[(String, u64)]) -> String {
    let files = files.iter().map(|(path, size)| format!("{} ({size} bytes)", shown(path)));
    files.collect::<Vec<_>>().join(", ")
}

const MEGABYTE: u64 = 1_000_000;

/// Rounded up: what is asked for is enough.
fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(MEGABYTE)
}

/// Which generations stay in the boot menu, whatever is short: the one that runs, the one that boots
/// next, which a new one on trial gives way to, and when neither has come up, the newest that has.
pub fn keep(listed: &[Listed], own: u64) -> BTreeSet<u64> {
    let held: Vec<&Listed> = listed.iter().filter(|one| one.running || one.next).collect();
    let mut keep: BTreeSet<u64> = held.iter().map(|one| one.number).chain([own]).collect();
    let proven = held.iter().any(|one| one.trial == Trial::CameUp && one.number != own);
    if !proven {
        let came_up = listed.iter().filter(|one| one.trial == Trial::CameUp && one.number != own);
        keep.extend(came_up.map(|one| one.number).max());
    }
    keep
}

/// What has to go so that `lacking` more bytes are free: first what nobody names, then generations
/// that are gone from the profile, then the oldest; none that is not needed. When all of it is not
/// enough, what it would give. Pure.
pub fn choose(
    lacking: u64,
    offered: &[Offered],
    sizes: &BTreeMap<String, u64>,
    keep: &BTreeSet<u64>,
    wanted: &BTreeSet<String>,
) -> Result<Removal, u64> {
    let removal = |gone: &BTreeSet<u64>| {
        let stay = offered.iter().filter(|one| !gone.contains(&one.number));
        let named: BTreeSet<&String> = stay.flat_map(|one| &one.images).chain(wanted).collect();
        sizes.keys().filter(|name| !named.contains(name)).cloned().collect::<BTreeSet<String>>()
    };
    let freed = |gone: &BTreeSet<u64>| -> u64 {
        removal(gone).iter().filter_map(|name| sizes.get(name)).sum()
    };
    let mut order: Vec<&Offered> =
        offered.iter().filter(|one| !keep.contains(&one.number)).collect();
    order.sort_by_key(|one| (one.is_alive, one.number));
    let mut gone = BTreeSet::new();
    for one in &order {
        if freed(&gone) >= lacking {
            break;
        }
        gone.insert(one.number);
    }
    if freed(&gone) < lacking {
        return Err(freed(&gone));
    }
    // One whose images others need was passed on the way and frees nothing. What is dead goes anyway.
    for one in order.iter().rev().filter(|one| one.is_alive) {
        if gone.remove(&one.number) && freed(&gone) < lacking {
            gone.insert(one.number);
        }
    }
    let images = if lacking == 0 { BTreeSet::new() } else { removal(&gone) };
    Ok(Removal { generations: gone, images })
}

/// Makes room for a generation.
pub(super) fn make(
    esp: &Esp,
    wanted: &Wanted,
    own: u64,
    keep: &BTreeSet<u64>,
    alive: &BTreeSet<u64>,
) -> Result<(), GenerationError> {
    let (free, cluster) = free(&esp.root)?;
    let mut needed = SLACK * cluster;
    for part in wanted.parts() {
        if !esp.has(part)? {
            needed += part.size.next_multiple_of(cluster);
        }
    }
    let offered = offered(esp, alive)?;
    let sizes = sizes(esp, cluster)?;
    let names = wanted.parts().filter_map(|part| part.path.strip_prefix(IMAGES));
    let names = names.map(|name| name.trim_start_matches('/').to_owned());
    let names = names.chain(foreign(esp)?).collect();
    let removal = choose(needed.saturating_sub(free), &offered, &sizes, keep, &names);
    let removal = removal.map_err(|most| {
        GenerationError::NoRoom(Box::new(Lacking {
            esp: esp.root.clone(),
            needed,
            free,
            possible: free + most,
            stays: keep.iter().copied().filter(|number| *number != own).collect(),
            others: others(&esp.root),
            set_aside: set_aside(&esp.root),
        }))
    })?;
    for name in esp.names(ENTRIES)? {
        if entry_number(&name).is_some_and(|number| removal.generations.contains(&number)) {
            esp.remove(&format!("{ENTRIES}/{name}"))?;
        }
    }
    removal.images.iter().try_for_each(|name| esp.remove(&format!("{IMAGES}/{name}")))
}

/// Bytes that are free, and those of a cluster.
pub(super) fn free(root: &Path) -> Result<(u64, u64), GenerationError> {
    let found = rustix::fs::statvfs(root).map_err(|errno| file("look at", root)(errno.into()))?;
    let cluster = found.f_frsize.max(1);
    Ok((found.f_bavail.saturating_mul(cluster), cluster))
}

fn offered(esp: &Esp, alive: &BTreeSet<u64>) -> Result<Vec<Offered>, GenerationError> {
    let mut found: BTreeMap<u64, Offered> = BTreeMap::new();
    for name in esp.names(ENTRIES)? {
        let Some(number) = entry_number(&name) else { continue };
        let text = esp.text(&format!("{ENTRIES}/{name}"));
        let is_alive = alive.contains(&number);
        let one = found.entry(number).or_insert_with(|| Offered {
            number,
            is_alive,
            images: BTreeSet::new(),
        });
        let images = esp.names(IMAGES)?.into_iter().filter(|image| text.contains(image.as_str()));
        one.images.extend(images);
    }
    Ok(found.into_values().collect())
}

/// Images that entries of others name.
fn foreign(esp: &Esp) -> Result<BTreeSet<String>, GenerationError> {
    let mut texts = String::new();
    for name in esp.names(ENTRIES)?.iter().filter(|name| entry_number(name).is_none()) {
        texts += &esp.text(&format!("{ENTRIES}/{name}"));
    }
    Ok(esp.names(IMAGES)?.into_iter().filter(|name| texts.contains(name.as_str())).collect())
}

/// Images with what they take; what says how loaders should be stays.
fn sizes(esp: &Esp, cluster: u64) -> Result<BTreeMap<String, u64>, GenerationError> {
    let mut sizes = BTreeMap::new();
    for name in esp.names(IMAGES)?.into_iter().filter(|name| !is_list(name)) {
        let path = esp.root.join(IMAGES).join(&name);
        let size = fs::metadata(&path).map_err(file("look at", &path))?.len();
        sizes.insert(name, size.next_multiple_of(cluster));
    }
    Ok(sizes)
}

/// The largest files that were set aside where ours are.
pub(super) fn set_aside(root: &Path) -> Vec<(String, u64)> {
    let directories = WRITTEN.iter().map(|directory| root.join(directory));
    let staged = directories.flat_map(|directory| vfat::staged_in(&directory).unwrap_or_default());
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let name = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
    largest(staged.map(|path| (name(&path), size(&path))).collect())
}

fn largest(mut files: Vec<(String, u64)>) -> Vec<(String, u64)> {
    files.sort_by_key(|(path, size)| (std::cmp::Reverse(*size), path.clone()));
    files.truncate(NAMED);
    files
}

/// The largest files that are not ours.
fn others(root: &Path) -> Vec<(String, u64)> {
    let all = super::copy::files(root).unwrap_or_default().into_iter();
    let foreign = all.filter(|path| !path.starts_with(IMAGES) && !path.starts_with("loader"));
    let foreign =
        foreign.filter(|path| super::wanted::LOADERS.iter().all(|(_, own)| path != Path::new(own)));
    let size = |path: &PathBuf| fs::metadata(root.join(path)).map_or(0, |found| found.len());
    largest(foreign.map(|path| (path.display().to_string(), size(&path))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(number: u64, is_alive: bool, images: &[&str]) -> Offered {
        Offered { number, is_alive, images: names(images) }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Generation 4 is given up and gone from the profile, 5 runs, 6 boots next; each has an image of
    /// its own with 10 bytes, and 1 and 2 share another one with 40.
    fn menu() -> (Vec<Offered>, BTreeMap<String, u64>) {
        let menu = vec![
            offered(1, true, &["k", "a"]),
            offered(2, true, &["k", "b"]),
            offered(4, false, &["d"]),
            offered(5, true, &["e"]),
            offered(6, true, &["f"]),
        ];
        let mut sizes: BTreeMap<String, u64> =
            ["a", "b", "d", "e", "f"].map(|name| (name.to_owned(), 10)).into();
        sizes.insert("k".into(), 40);
        (menu, sizes)
    }

    fn chosen(lacking: u64) -> Result<(Vec<u64>, Vec<String>), u64> {
        let (menu, sizes) = menu();
        let keep = BTreeSet::from([5, 6]);
        let removal = choose(lacking, &menu, &sizes, &keep, &BTreeSet::new())?;
        Ok((removal.generations.into_iter().collect(), removal.images.into_iter().collect()))
    }

    #[test]
    fn t45_a_full_esp_gives_up_what_is_dead_and_then_the_oldest_and_no_more_than_it_must() {
        assert_eq!(chosen(0).unwrap(), (vec![], vec![]));
        assert_eq!(chosen(10).unwrap().0, [4]);
        assert_eq!(chosen(20).unwrap().0, [1, 4]);
        let (generations, images) = chosen(30).unwrap();
        assert_eq!(generations, [1, 2, 4]);
        assert_eq!(images, ["a", "b", "d", "k"]);
        assert_eq!(chosen(70).unwrap().0, [1, 2, 4], "two that share an image free it together");
        assert_eq!(chosen(71), Err(70), "what runs and what boots next stay");
    }

    #[test]
    fn t45_what_nobody_names_goes_before_any_generation_and_what_is_wanted_stays() {
        let (menu, mut sizes) = menu();
        sizes.insert("orphan".into(), 10);
        let keep = BTreeSet::from([5, 6]);
        let removal = choose(10, &menu, &sizes, &keep, &BTreeSet::new()).unwrap();
        assert_eq!((removal.generations.len(), removal.images), (0, names(&["orphan"])));
        let wanted = names(&["orphan", "k"]);
        assert_eq!(choose(31, &menu, &sizes, &keep, &wanted), Err(30));
    }

    fn listed(number: u64, running: bool, next: bool, trial: Trial) -> Listed {
        let (toplevel, faults) = (PathBuf::new(), Vec::new());
        Listed { number, toplevel, running, next, trial, faults }
    }

    #[test]
    fn t45_what_a_machine_returns_to_is_never_given_up() {
        let all = [
            listed(1, false, false, Trial::CameUp),
            listed(2, false, false, Trial::CameUp),
            listed(3, false, true, Trial::TriesLeft(2)),
        ];
        assert_eq!(keep(&all, 4), BTreeSet::from([2, 3, 4]), "neither runs nor has come up");
        let mut all = all.to_vec();
        all[0].running = true;
        assert_eq!(keep(&all, 4), BTreeSet::from([1, 3, 4]));
        assert_eq!(keep(&all, 3), BTreeSet::from([1, 3]));
        all[0].running = false;
        assert_eq!(keep(&[], 1), BTreeSet::from([1]));
    }

    #[test]
    fn t45_an_esp_without_room_says_how_much_is_lacking_and_what_is_there() {
        let lacking = Lacking {
            esp: "/boot".into(),
            needed: 90_000_000,
            free: 20_500_000,
            possible: 50_000_000,
            stays: vec![5, 6],
            others: vec![("EFI/Other\n/big".into(), 7_000_000)],
            set_aside: Vec::new(),
        };
        assert_eq!(
            lacking.to_string(),
            "the EFI system partition at /boot lacks 40 MB: 90 MB are needed, 20 MB are free, and 50 MB would be \
             without what neither runs nor boots next. Nothing was removed and nothing was written. Generations 5, 6 \
             stay: they run, boot next, or are what the machine returns to. Restart into the one that boots next, so \
             that others can go, or remove what is not Bedplate's: EFI/Other\\n/big (7000000 bytes)"
        );
    }

    #[test]
    fn t45_t40_room_that_a_cut_took_for_good_is_told_where_there_is_none_left() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join("EFI/bedplate").join(name);
        fs::create_dir_all(place.path().join("EFI/bedplate")).unwrap();
        fs::write(at("kernel"), vec![7; 5000]).unwrap();
        // Two names of one file, and then the generation goes.
        fs::hard_link(at("kernel"), at("bedplate.new")).unwrap();
        let esp = Esp::at(place.path()).unwrap();
        esp.remove("EFI/bedplate/kernel").unwrap();
        esp.tidy().unwrap();
        let left = set_aside(place.path());
        let names = ["EFI/bedplate/bedplate-1.new", "EFI/bedplate/bedplate.new"];
        assert_eq!(left, names.map(|name| (name.to_owned(), 5000)));
        let (needed, free, possible) = (90, 20, 50);
        let (stays, others, esp) = (Vec::new(), Vec::new(), "/boot".into());
        let told = Lacking { esp, needed, free, possible, stays, others, set_aside: left };
        let told = told.to_string();
        for part in ["bedplate-1.new (5000 bytes)", "fsck.vfat"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn t45_an_image_that_an_entry_of_somebody_else_names_is_nobodys_to_remove() {
        let place = tempfile::tempdir().unwrap();
        let put = |path: &str, content: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        put("EFI/bedplate/k", "kernel");
        put("EFI/bedplate/j", "kernel");
        put("loader/entries/rescue.conf", "title x\nlinux /EFI/bedplate/k\n");
        put("loader/entries/bedplate-1.conf", "title y\nlinux /EFI/bedplate/j\n");
        let esp = Esp::at(place.path()).unwrap();
        assert_eq!(foreign(&esp).unwrap(), names(&["k"]));
    }
}
