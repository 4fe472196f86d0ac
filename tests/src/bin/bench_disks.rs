//! Measures what tables, LUKS headers and file systems of seven disks cost where nothing is emulated:
//! on files of their sizes, with the installer's own code, beside the Argon2id runs alone.
//!
//! A derivation is measured to take a second on whatever machine it runs, emulated or not; everything
//! else is slower by as much as emulation is. So the ratio that counts is this one.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bedplate_engine::parallel::try_each;
use bedplate_luks::{ArgonCost, Format, PASSPHRASE_SLOT, Token};
use bedplate_tests::Failure;
use bedplate_tests::benchmark::{directory, ended};
use bedplate_tests::seed::{INSTALLED, POOLS, Sizes, installed_disks};
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::partition_table::{self, Entry};
use uuid::Uuid;

/// As the installer has it.
const DERIVATION: Duration = Duration::from_millis(1000);
/// The most memory that the installer gives one derivation, in KiB.
const MEMORY_KIB: u32 = 256 << 10;
/// Two derivations fit into the memory of the least machine.
const AT_ONCE: usize = 2;
/// Words of the processes that work on one volume: libcryptsetup is one lock a process.
const MAKE: &str = "make";
const TEST: &str = "test";
const PASSPHRASE: &[u8] = b"a passphrase that protects nothing";
const KEYFILE: &[u8] = &[7; 64];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ended(match arguments.as_slice() {
        [word, volume, cost] if word == MAKE => make(Path::new(volume), cost),
        [word, volume] if word == TEST => test(Path::new(volume)),
        _ => measure(),
    })
}

fn unfit(what: impl ToString) -> Failure {
    Failure::Unfit(what.to_string())
}

fn make(volume: &Path, cost: &str) -> Result<(), Failure> {
    let argon: ArgonCost = serde_json::from_str(cost).map_err(unfit)?;
    let format = Format {
        device: volume,
        uuid: Uuid::from_u128(7),
        label: "bench",
        keyfile: KEYFILE,
        passphrase: PASSPHRASE,
        argon,
        token: &Token::unsealed("sha256-bench", &std::collections::BTreeMap::new()),
    };
    bedplate_luks::format(&format).map_err(unfit)
}

fn test(volume: &Path) -> Result<(), Failure> {
    match bedplate_luks::test_key(volume, Some(PASSPHRASE_SLOT), PASSPHRASE).map_err(unfit)? {
        true => Ok(()),
        false => Err(unfit("the passphrase does not open what was made with it")),
    }
}

/// This program again, for one volume.
fn again<I: AsRef<OsStr>>(words: impl IntoIterator<Item = I>) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(unfit)?;
    Command::new(program).args(words).run().map_err(unfit)
}

fn measure() -> Result<(), Failure> {
    let directory = directory()?;
    let disks = installed_disks(directory.path(), Sizes::True);
    let volumes: Vec<PathBuf> =
        disks.iter().map(|disk| directory.path().join(format!("{}.luks", disk.role))).collect();
    for disk in &disks {
        let path = directory.path().join(format!("{}.luks", disk.role));
        for path in [&disk.file, &path] {
            File::create(path).and_then(|file| file.set_len(disk.size)).map_err(unfit)?;
        }
    }

    let begun = Instant::now();
    try_each(&disks, AT_ONCE, &|disk| table(&disk.file, disk.size))?;
    let tables = begun.elapsed();
    let begun = Instant::now();
    let argon = bedplate_luks::benchmark_argon(MEMORY_KIB, DERIVATION).map_err(unfit)?;
    let benchmark = begun.elapsed();
    let cost = serde_json::to_string(&argon).map_err(unfit)?;
    let begun = Instant::now();
    try_each(&volumes, AT_ONCE, &|volume| {
        again([OsStr::new(MAKE), volume.as_os_str(), OsStr::new(&cost)])
    })?;
    let headers = begun.elapsed();
    let file_systems = file_systems(directory.path())?;
    let begun = Instant::now();
    try_each(&volumes, AT_ONCE, &|volume| again([OsStr::new(TEST), volume.as_os_str()]))?;
    let runs = begun.elapsed();

    let took = tables + benchmark + headers + file_systems.unwrap_or_default();
    println!(
        "Tables, LUKS headers and file systems of {} disks, not emulated, on files: {:.1} s ({:.2} s tables, {:.1} s the one Argon2id benchmark, {:.1} s headers, {}); benchmark and one run a volume {:.1} s; target under {:.1} s",
        disks.len(),
        took.as_secs_f64(),
        tables.as_secs_f64(),
        benchmark.as_secs_f64(),
        headers.as_secs_f64(),
        file_systems.map_or("no mkfs.btrfs here to measure".to_owned(), |time| {
            format!("{:.2} s file systems", time.as_secs_f64())
        }),
        (benchmark + runs).as_secs_f64(),
        (benchmark + runs).as_secs_f64() * 1.2
    );
    Ok(())
}

fn table(path: &Path, size: u64) -> Result<(), Failure> {
    let mut file = File::options().read(true).write(true).open(path).map_err(unfit)?;
    let entry = Entry {
        number: 1,
        name: "bench".into(),
        esp: false,
        guid: Uuid::from_u128(1),
        start: 1 << 20,
        length: size - (2 << 20),
    };
    partition_table::write(&mut file, size, 512, Uuid::from_u128(2), &[entry]).map_err(unfit)
}

/// The pools, over files in place of the mappings; none without the program.
fn file_systems(directory: &Path) -> Result<Option<Duration>, Failure> {
    if Command::new("mkfs.btrfs").arg("--version").read().is_err() {
        return Ok(None);
    }
    let begun = Instant::now();
    let pools: Vec<(u128, &str)> = (1..).zip(POOLS.iter().map(|(pool, _)| *pool)).collect();
    try_each(&pools, AT_ONCE, &|(number, pool)| {
        let of = INSTALLED.iter().filter(|(_, member_of)| *member_of == Some(*pool));
        let members: Vec<PathBuf> =
            of.map(|(role, _)| directory.join(format!("{role}.qcow2"))).collect();
        bedplate_tools::btrfs::make(
            &members,
            pool,
            &Uuid::from_u128(*number).to_string(),
            "raid1",
            "raid1",
        )
        .map_err(unfit)
    })?;
    Ok(Some(begun.elapsed()))
}
