//! Runs in a small guest, with the real kernel's vfat: everything that the product does to an ESP, one
//! thing after the other, with a mark on a disk of its own before and after each. Called by the story
//! `esp_cuts`; `esp_writer again` does the last thing once more, after a cut.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use bedplate_platform::generation::{boot, copy};
use bedplate_tests::esp_cuts::{DONE, Mark, SECTOR, free};
use bedplate_tools::sync;

type Done = Result<(), Box<dyn Error>>;

const PROFILES: &str = "/profiles";
const BOOT: &str = "/boot";
const MIRROR: &str = "/boot-mirror";
const FRESH: &str = "/fresh";
const CONTROL: &str = "/control";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.first().map(String::as_str) {
        Some("again") => again(),
        _ => all(),
    };
    match done {
        Ok(()) => println!("{DONE}"),
        Err(error) => {
            println!("WRITER FAILED {}", bedplate_events::cause::in_line(&*error));
        }
    }
}

/// Notes on the disk of marks what begins, or is done.
struct Marks {
    disk: File,
    next: u64,
}

impl Marks {
    fn note(&mut self, mark: &Mark) -> Done {
        let mut sector = vec![0; SECTOR];
        let text = mark.text();
        sector.get_mut(..text.len()).ok_or("a mark is too long")?.copy_from_slice(text.as_bytes());
        self.disk.write_all_at(&sector, self.next * SECTOR as u64)?;
        self.next += 1;
        Ok(self.disk.sync_all()?)
    }

    fn around(&mut self, step: &str, disk: &str, act: impl FnOnce() -> Done) -> Done {
        println!("WRITER {step} on {disk}");
        let mark = |done| Mark { step: step.to_owned(), disk: disk.to_owned(), done };
        self.note(&mark(false))?;
        act()?;
        self.note(&mark(true))
    }
}

/// A system with files of several clusters each; `change` is in all of them that a new one has new.
fn toplevel(number: u64, kernel: &str, loaders: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = PathBuf::from(format!("/top-{number}"));
    let put = |name: &str, start: &str, length: usize| -> Done {
        let path = path.join(name);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        let content: Vec<u8> = start.bytes().cycle().take(length).collect();
        Ok(fs::write(path, content)?)
    };
    let shim: String = "MZ\\grubx64.efi".chars().flat_map(|letter| [letter, '\0']).collect();
    let shim = format!("MZ{shim}{loaders}");
    put("tree/usr/lib/shim/shimx64.efi.signed", &shim, 4_000)?;
    put("tree/usr/lib/shim/mmx64.efi.signed", &format!("MZ mm {loaders}"), 2_000)?;
    let second = "tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed";
    put(second, &format!("MZ second {loaders}"), 3_000)?;
    put("kernel", &format!("MZ kernel {kernel}"), 20_000)?;
    put("initrd", &format!("initrd {number}"), 30_000)?;
    fs::write(path.join("kernel-params"), "console=ttyS0")?;
    fs::create_dir_all(PROFILES)?;
    symlink(&path, Path::new(PROFILES).join(format!("system-{number}-link")))?;
    Ok(path)
}

fn write(esp: &str, toplevel: &Path, running: Option<&Path>) -> Done {
    Ok(boot(Path::new(esp), Path::new(PROFILES), toplevel, running)?)
}

/// As `systemd-bless-boot` of systemd 257 does it.
fn bless(esp: &str, number: u64) -> Done {
    let entries = Path::new(esp).join("loader/entries");
    let to = entries.join(format!("bedplate-{number}.conf"));
    fs::rename(entries.join(format!("bedplate-{number}+3.conf")), to)?;
    sync::directory(&entries)?;
    Ok(sync::file_system(&entries)?)
}

/// As files were replaced before: the cuts of it show that the story would see one that is wrong.
fn naively(path: &Path, content: &[u8]) -> Done {
    let staged = path.with_file_name("staged");
    let file = File::create(&staged)?;
    file.write_all_at(content, 0)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    Ok(sync::directory(path.parent().ok_or("no parent")?)?)
}

fn all() -> Done {
    let disk = OpenOptions::new().write(true).open("/dev/marks")?;
    let mut marks = Marks { disk, next: 0 };
    let one = toplevel(1, "a", "a")?;
    for (disk, esp) in [("mirror", MIRROR), ("esp", BOOT)] {
        marks.around("install", disk, || write(esp, &one, None))?;
        marks.around("bless", disk, || bless(esp, 1))?;
    }
    marks.around("install", "control", || write(CONTROL, &one, None))?;
    let two = toplevel(2, "b", "a")?;
    for (disk, esp) in [("mirror", MIRROR), ("esp", BOOT)] {
        marks.around("rebuild", disk, || write(esp, &two, Some(&one)))?;
        marks.around("bless", disk, || bless(esp, 2))?;
    }
    for (disk, esp) in [("mirror", MIRROR), ("esp", BOOT)] {
        marks.around("rollback", disk, || write(esp, &one, Some(&two)))?;
    }
    let three = toplevel(3, "c", "b")?;
    marks.around("update", "esp", || write(BOOT, &three, Some(&one)))?;
    marks.around("bless", "esp", || bless(BOOT, 3))?;
    let (from, to) = (Path::new(BOOT), Path::new(MIRROR));
    marks.around("bring into step", "mirror", || Ok(copy(from, to)?))?;
    marks.around("fill", "fresh", || Ok(copy(from, Path::new(FRESH))?))?;
    // Room for half of the next generation only: the oldest goes.
    let four = toplevel(4, "d", "b")?;
    marks.around("crowd", "esp", || crowd(BOOT))?;
    marks.around("rebuild when full", "esp", || write(BOOT, &four, Some(&three)))?;
    let loader = Path::new(CONTROL).join("EFI/BOOT/BOOTX64.EFI");
    let other = fs::read(three.join("tree/usr/lib/shim/shimx64.efi.signed"))?;
    marks.around("replace naively", "control", || naively(&loader, &other))
}

/// Somebody else takes all the room but a little: clusters are allocated, and nothing is written.
fn crowd(esp: &str) -> Done {
    let space = free(Path::new(esp))?;
    let file = File::create(Path::new(esp).join("somebody"))?;
    let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, flags, 0, space.saturating_sub(40_000))?;
    file.sync_all()?;
    Ok(sync::file_system(Path::new(esp))?)
}

/// After a cut: generation 4 becomes the next of the ESP, whatever was left there, and of the mirror. Others
/// do before: what a cut left of a directory shows when files come and go in it.
fn again() -> Done {
    for number in 1..=4 {
        let (kernel, loaders) = [("a", "a"), ("b", "a"), ("c", "b"), ("d", "b")][number - 1];
        toplevel(number as u64, kernel, loaders)?;
    }
    for number in [4, 3, 4] {
        write(BOOT, &PathBuf::from(format!("/top-{number}")), None)?;
    }
    // Where files were replaced naively a name may point at clusters that are free.
    write(CONTROL, Path::new("/top-4"), None)?;
    Ok(copy(Path::new(BOOT), Path::new(MIRROR))?)
}
