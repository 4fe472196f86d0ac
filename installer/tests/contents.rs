//! What stands on disks, read from real images: headers that break, tables that are cut off, and
//! what libblkid alone would call blank.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bedplate_document::parse;
use bedplate_facts::disks::read_one;
use bedplate_facts::probe::by_wipefs;
use bedplate_facts::roots::Roots;
use bedplate_luks::{ArgonCost, Format, Token, format, seal};
use bedplate_model::facts::{DiskFacts, Facts, kind};
use bedplate_model::host::{HostFile, Wipe};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::plan::Plan;
use bedplate_planner::{PlanError, is_finished, plan};
use bedplate_tools::partition_table::{self, Entry};
use uuid::Uuid;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 64 * MIB;
/// Number, first byte and length of the partitions of an OS disk.
const PARTITIONS: [(u32, u64, u64); 2] = [(1, MIB, 16 * MIB), (2, 17 * MIB, 46 * MIB)];

fn host(wipe: Wipe) -> HostFile {
    let text = include_str!("../../profiles/hypervisor/host.toml");
    let mut host = parse(text, "host.toml").unwrap();
    host.disks.get_mut("os").unwrap().wipe = wipe;
    host
}

fn derived(purpose: Purpose) -> Uuid {
    derive(host(Wipe::Ours).host.id, purpose, "os", 0)
}

/// A machine with one disk, whose image and whose partitions' images lie where nodes do.
struct Machine {
    root: tempfile::TempDir,
    partitions: Vec<u32>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { root: tempfile::tempdir().unwrap(), partitions: Vec::new() };
        machine.write("sys/block/vda/size", &(SIZE / 512).to_string());
        machine.write("sys/block/vda/dev", "253:0");
        fs::create_dir(machine.root.path().join("dev")).unwrap();
        File::create(machine.node(None)).unwrap().set_len(SIZE).unwrap();
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn node(&self, partition: Option<u32>) -> PathBuf {
        let number = partition.map(|number| number.to_string()).unwrap_or_default();
        self.root.path().join(format!("dev/vda{number}"))
    }

    fn open(&self, partition: Option<u32>) -> File {
        File::options().read(true).write(true).open(self.node(partition)).unwrap()
    }

    fn put(&self, partition: Option<u32>, at: u64, bytes: &[u8]) {
        self.open(partition).write_all_at(bytes, at).unwrap();
    }

    fn entries() -> Vec<Entry> {
        let entry = |(number, start, length)| Entry {
            number,
            name: "bedplate-os".into(),
            esp: number == 1,
            guid: Uuid::from_u128(u128::from(number)),
            start,
            length,
        };
        PARTITIONS.into_iter().map(entry).collect()
    }

    /// The table of an OS disk, whose partitions the kernel shows.
    fn partitioned() -> Self {
        let mut machine = Self::new();
        let guid = derived(Purpose::GptDisk);
        partition_table::write(&mut machine.open(None), SIZE, 512, guid, &Self::entries()).unwrap();
        for (number, _, length) in PARTITIONS {
            machine.write(&format!("sys/block/vda/vda{number}/partition"), &number.to_string());
            let sectors = (length / 512).to_string();
            machine.write(&format!("sys/block/vda/vda{number}/size"), &sectors);
            File::create(machine.node(Some(number))).unwrap().set_len(length).unwrap();
            machine.partitions.push(number);
        }
        machine
    }

    /// The same with a finished volume.
    fn finished(plan: &str) -> Self {
        let machine = Self::partitioned();
        let device = machine.node(Some(2));
        let token = Token::unsealed(plan, &Default::default());
        let (label, argon) = ("bedplate-os", ArgonCost::minimal());
        let (keyfile, passphrase) = (&b"the keyfile"[..], &b"the passphrase"[..]);
        let (device, uuid) = (device.as_path(), derived(Purpose::Luks));
        format(&Format { device, uuid, label, keyfile, passphrase, argon, token: &token }).unwrap();
        seal(device).unwrap();
        machine
    }

    /// The disk as one image: what stands on its partitions is in it, and the kernel shows none.
    fn unseen(&self) -> Self {
        let machine = Self::new();
        fs::copy(self.node(None), machine.node(None)).unwrap();
        for (number, start, _) in PARTITIONS {
            machine.put(None, start, &fs::read(self.node(Some(number))).unwrap());
        }
        machine
    }

    fn facts(&self) -> DiskFacts {
        read_one(&Roots::below(self.root.path(), Some(by_wipefs)), "vda").unwrap()
    }

    /// What stands there, as `2 crypto_LUKS`.
    fn kinds(&self) -> Vec<String> {
        let place = |number: Option<u32>| number.map_or("-".to_owned(), |it| it.to_string());
        let found = self.facts().signatures;
        found.iter().map(|one| format!("{} {}", place(one.partition), one.kind)).collect()
    }

    /// The profile's machine, with this on its OS disk.
    fn machine(&self) -> Facts {
        let text = include_str!("../../profiles/hypervisor/inventory.json");
        let mut facts: Facts = serde_json::from_str(text).unwrap();
        let id = &host(Wipe::Ours).disks["os"].id;
        let os = facts.disks.iter_mut().find(|disk| disk.has_id(id)).unwrap();
        let read = self.facts();
        (os.signatures, os.bedplate) = (read.signatures, read.bedplate);
        // These images have no EFI system partition; whether one boots is looked at elsewhere.
        if let Some(found) = &mut os.bedplate {
            found.boots = Some(true);
        }
        facts
    }

    fn plan(&self, wipe: Wipe) -> Result<Plan, PlanError> {
        plan(&host(wipe), &self.machine())
    }

    fn refused(&self, words: &str) {
        let said = self.plan(Wipe::Ours).expect_err("this must be refused").to_string();
        assert!(said.contains(words), "{said}");
    }
}

fn hash() -> String {
    Machine::new().plan(Wipe::Ours).unwrap().hash.into()
}

#[test]
fn t46_a_sealed_volume_with_one_broken_header_is_finished() {
    let plan = hash();
    // The first sector, a bit of the JSON area, the checksum, all of the first copy; then the second.
    for at in [0, 4096 + 100, 448, 16 << 10] {
        let machine = Machine::finished(&plan);
        machine.put(Some(2), at, &[0xff; 16]);
        let which = if at < 16 << 10 { "primary" } else { "secondary" };
        assert!(machine.kinds().contains(&format!("2 broken {which} LUKS header")), "{at}");
        let found = machine.facts().bedplate.unwrap();
        assert!(found.sealed && found.plan == plan);
        machine.refused("a finished installation stands on it");
        let destroyed = machine.plan(Wipe::Any).unwrap().destroyed_lines().join("\n");
        assert!(destroyed.contains("crypto_LUKS \"bedplate-os\" on partition 2"), "{destroyed}");
    }
    let zeroed = Machine::finished(&plan);
    zeroed.put(Some(2), 0, &[0; 16 << 10]);
    zeroed.refused("a finished installation stands on it");
}

#[test]
fn t46_a_header_of_which_no_copy_is_whole_is_torn_and_told() {
    let machine = Machine::finished(&hash());
    for at in [4096 + 100, (16 << 10) + 4096 + 100] {
        machine.put(Some(2), at, &[0xff; 16]);
    }
    assert_eq!(machine.kinds(), ["- gpt", "2 crypto_LUKS", "2 torn LUKS header"]);
    let plan = machine.plan(Wipe::Ours).unwrap();
    assert!(plan.destroyed_lines().join("").contains("torn LUKS header"));
}

#[test]
fn t46_a_header_that_keys_open_is_not_torn_without_a_token() {
    let machine = Machine::finished(&hash());
    let device = machine.node(Some(2));
    let removed = std::process::Command::new("cryptsetup")
        .args(["token", "remove", "--token-id", "0"])
        .arg(&device)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status();
    assert!(removed.unwrap().success());
    assert_eq!(machine.facts().bedplate, None);
    machine.refused("the disk is not blank");
}

#[test]
fn t06_a_disk_whose_first_sectors_are_gone_is_not_blank() {
    for zeroed in [512, MIB] {
        let machine = Machine::finished(&hash()).unseen();
        machine.put(None, 0, &vec![0; usize::try_from(zeroed).unwrap()]);
        let found = machine.facts();
        assert_eq!(machine.kinds(), ["- gpt", "- unseen partition table", "2 crypto_LUKS"]);
        let guid = Some(derived(Purpose::GptDisk).to_string());
        assert_eq!(found.signatures[0].uuid, guid);
        assert!(found.bedplate.unwrap().sealed);
        machine.refused("a finished installation stands on it");
        assert!(!is_finished(&host(Wipe::Ours), &machine.machine()));

        // Somebody else's table, with a file system that only the table leads to.
        let other = Machine::new();
        let guid = Uuid::from_u128(7);
        partition_table::write(&mut other.open(None), SIZE, 512, guid, &Machine::entries())
            .unwrap();
        other.put(None, 17 * MIB + 1080, b"\x53\xef");
        other.put(None, 0, &vec![0; usize::try_from(zeroed).unwrap()]);
        let wanted = ["- gpt", "- unseen partition table", "2 unknown data"];
        assert_eq!(other.kinds(), wanted);
        other.refused("the disk is not blank");
    }
}

#[test]
fn t06_an_empty_table_hides_nothing() {
    let machine = Machine::new();
    partition_table::write(&mut machine.open(None), SIZE, 512, Uuid::from_u128(7), &[]).unwrap();
    assert_eq!(machine.kinds(), ["- gpt"]);
}

#[test]
fn f1_a_table_that_was_cut_off_is_finished() {
    let hash = hash();
    let machine = Machine::new();
    let guid = derived(Purpose::GptDisk);
    let mut file = machine.open(None);
    partition_table::write_unseen(&mut file, SIZE, 512, guid, &Machine::entries()).unwrap();
    assert_eq!(machine.kinds(), ["- gpt", "- unseen partition table"]);
    let plan = machine.plan(Wipe::Ours).unwrap();
    assert_eq!((plan.hash.as_str(), plan.destroys.len()), (hash.as_str(), 0));
    // None of its copies reached the disk whole.
    for at in [512, SIZE - 512] {
        machine.put(None, at, &[0; 512]);
    }
    assert_eq!(machine.kinds(), ["- unfinished"]);
    assert_eq!(machine.plan(Wipe::Ours).unwrap().hash, hash);
}

#[test]
fn t06_what_nobody_knows_is_told_and_needs_consent() {
    let random: Vec<u8> =
        (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let places = [0, 4096, MIB - 4096, SIZE - MIB, SIZE - 4096];
    for at in places {
        let machine = Machine::new();
        machine.put(None, at, &random);
        assert_eq!(machine.kinds(), ["- unknown data"], "at {at}");
        machine.refused("the disk is not blank: unknown data on the whole disk");
        let plan = machine.plan(Wipe::Any).unwrap();
        assert!(plan.destroyed_lines().join("").contains("unknown data"));
    }
    assert!(Machine::new().kinds().is_empty());
}

#[test]
fn t06_bcachefs_is_known_whichever_libblkid_looks() {
    let machine = Machine::new();
    let mut superblock = vec![0; 104];
    superblock[24..40]
        .copy_from_slice(&Uuid::from_u128(0xc68573f6_4e1a_45ca_8265_f57f48ba6d81).into_bytes());
    superblock[56..72].copy_from_slice(&Uuid::from_u128(7).into_bytes());
    superblock[72..78].copy_from_slice(b"photos");
    machine.put(None, 4096, &superblock);
    let found = &machine.facts().signatures[0];
    assert_eq!((found.kind.as_str(), found.label.as_deref()), ("bcachefs", Some("photos")));
    assert_eq!(found.uuid, Some(Uuid::from_u128(7).to_string()));
}

#[test]
fn t06_a_label_in_code_page_850_is_a_label() {
    let machine = Machine::new();
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"M\x9aLL       ");
    fatfs::format_volume(machine.open(None), options).unwrap();
    let found = machine.facts().signatures;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, "vfat");
    let label = found[0].label.clone().unwrap();
    assert!(label.starts_with('M') && label.ends_with("LL"), "{label}");
    assert!(!found.iter().any(|one| one.kind == kind::UNREADABLE));
}
