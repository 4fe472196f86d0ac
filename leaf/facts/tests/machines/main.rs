//! Machines of real shapes as fixture trees of /sys, /dev, /proc and /run/udev, read as they are
//! on a running Linux. Their facts are the inventories that the planner is tested with.
//!
//! `UPDATE_INVENTORIES=1 cargo test -p bedplate-facts` writes them anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may panic")]

mod tree;

use bedplate_facts::roots::Roots;
use bedplate_model::facts::{DiskFacts, Facts};
use tree::{Device, Tree};

/// Two NVMe namespaces behind one controller, a SATA disk, a USB key stick, a card reader without
/// a card, an eMMC, and what is no disk at all: optical, floppy, zram, loop.
fn mixed() -> Facts {
    let tree = Tree::new();
    tree.uefi(16 << 30);
    for (namespace, minor, seq) in [(1_u8, 0, 11), (2, 4, 12)] {
        let name = format!("nvme0n{namespace}");
        let wwid = format!("eui.00000000000000{namespace:02}e4d25c0e9a1b50");
        tree.disk(
            &Device::new(&name, &format!("259:{minor}"), 500_107_862_016)
                .under("pci0000:00/0000:01:00.0/nvme/nvme0")
                .file("wwid", &wwid)
                .file("diskseq", &seq.to_string())
                .file("queue/rotational", "0")
                .file("device/serial", "S64DNF0R700001A")
                .file("device/model", "SAMSUNG MZQL2960HCJR-00A07"),
        );
        tree.by_id(&format!("nvme-SAMSUNG_MZQL2960HCJR_S64DNF0R700001A_{namespace}"), &name);
        tree.by_id(&format!("nvme-{wwid}"), &name);
    }
    tree.by_id("nvme-SAMSUNG_MZQL2960HCJR_S64DNF0R700001A", "nvme0n1");
    // One path to the first namespace: the kernel hides it.
    tree.disk(
        &Device::new("nvme0c0n1", "259:1", 500_107_862_016)
            .under("pci0000:00/0000:01:00.0/nvme/nvme0")
            .file("hidden", "1"),
    );
    tree.disk(
        &Device::new("sda", "8:0", 4_000_787_030_016)
            .under("pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0")
            .file("diskseq", "3")
            .file("queue/rotational", "1")
            .file("queue/physical_block_size", "4096")
            .file("device/model", "ST4000VN006-3CW1")
            .udev("ID_BUS", "ata")
            .udev("ID_SERIAL_SHORT", "ZW601234")
            .udev("ID_WWN_WITH_EXTENSION", "0x5000c500e1a2b3c4")
            .partition(1, 2_000_000_000_000, "8:1"),
    );
    for name in ["ata-ST4000VN006-3CW104_ZW601234", "wwn-0x5000c500e1a2b3c4"] {
        tree.by_id(name, "sda");
        tree.by_id(&format!("{name}-part1"), "sda1");
    }
    tree.look("sda", "gpt", None, Some("6ba7b810-9dad-11d1-80b4-00c04fd430c8"));
    tree.look("sda1", "ext4", Some("old \u{1b}[2Jphotos"), Some("9d1f-ext4"));
    tree.disk(
        &Device::new("sdb", "8:16", 15_376_318_464)
            .under("pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0")
            .file("diskseq", "20")
            .file("removable", "1")
            .file("queue/rotational", "1")
            .file("device/model", "Ultra Fit")
            .udev("ID_BUS", "usb")
            .udev("ID_SERIAL_SHORT", "4C530001230101123456"),
    );
    tree.by_id("usb-SanDisk_Ultra_Fit_4C530001230101123456-0:0", "sdb");
    tree.look("sdb", "vfat", Some("BEDPLATEKEY"), Some("1A2B-3C4D"));
    tree.disk(
        &Device::new("sdc", "8:32", 0)
            .under("pci0000:00/0000:00:14.0/usb2/2-2/2-2:1.0/host7/target7:0:0/7:0:0:0")
            .file("removable", "1")
            .udev("ID_SERIAL_SHORT", "000000001206"),
    );
    tree.by_id("usb-Generic-_SD_MMC_000000001206-0:0", "sdc");
    tree.disk(
        &Device::new("mmcblk0", "179:0", 31_268_536_320)
            .under("platform/80860F14:00/mmc_host/mmc0/mmc0:0001")
            .file("queue/rotational", "0")
            .file("device/serial", "0x2f1ab3c4"),
    );
    tree.by_id("mmc-DF4032_0x2f1ab3c4", "mmcblk0");
    // An empty drive claims 1 GiB, a floppy controller without a drive 4 KiB.
    tree.disk(
        &Device::new("sr0", "11:0", 1_073_741_312)
            .under("pci0000:00/0000:00:17.0/ata2/host1/target1:0:0/1:0:0:0")
            .file("queue/logical_block_size", "2048")
            .file("removable", "1"),
    );
    tree.by_id("ata-HL-DT-ST_DVDRAM_GH24NSD1_K8AH5KL1234", "sr0");
    tree.disk(&Device::new("fd0", "2:0", 4096).under("platform/floppy.0"));
    tree.disk(&Device::new("zram0", "252:0", 8 << 30).under("virtual"));
    tree.disk(&Device::new("loop0", "7:0", 1 << 30).under("virtual"));
    tree.swap("/dev/zram0");
    tree.nic("enp5s0", "04:42:1A:01:02:03", "igc", true);
    tree.nic_without_device("lo");
    tree.facts()
}

/// An old server: md and LVM over two disks, multipath to a shelf, a 4Kn disk, one without any
/// serial, a RAID controller's volume, half of a mounted btrfs, a disk with swap.
fn server() -> Facts {
    let tree = Tree::new();
    tree.uefi(64 << 30);
    let disk = |name: &str, number: &str, size: u64| {
        let letter = name.chars().last().unwrap();
        Device::new(name, number, size)
            .under(&format!("pci0000:00/0000:03:00.0/host0/target0:0:{letter}/0:0:{letter}:0"))
            .file("queue/rotational", "1")
    };
    for (name, number, serial) in [("sda", "8:0", "WD-AAAA1111"), ("sdb", "8:16", "WD-BBBB2222")] {
        tree.disk(
            &disk(name, number, 2_000_398_934_016)
                .udev("ID_SERIAL_SHORT", serial)
                .file("holders/md127/x", ""),
        );
        tree.by_id(&format!("ata-WDC_WD20EFRX_{serial}"), name);
        tree.look(name, "linux_raid_member", Some("old:0"), Some("aaaa-raid"));
    }
    tree.disk(&Device::new("md127", "9:127", 2_000_000_000_000).under("virtual"));
    tree.disk(
        &Device::new("dm-0", "254:0", 1_000_000_000_000)
            .under("virtual")
            .file("dm/name", "vg0-root")
            .file("dm/uuid", "LVM-abcdef"),
    );
    tree.by_id("dm-name-vg0-root", "dm-0");
    tree.mapping("dm-1", "mpatha", "mpath-35000c500a1b2c3d4", "254:1", 8_001_563_222_016);
    for (name, number, seq) in [("sdc", "8:32", "5"), ("sdd", "8:48", "6")] {
        tree.disk(
            &disk(name, number, 8_001_563_222_016)
                .file("diskseq", seq)
                .file("holders/dm-1/x", "")
                .udev("ID_SERIAL_SHORT", "35000c500a1b2c3d4")
                .udev("ID_WWN_WITH_EXTENSION", "0x5000c500a1b2c3d4"),
        );
        tree.look(name, "mpath_member", None, None);
    }
    tree.by_id("wwn-0x5000c500a1b2c3d4", "dm-1");
    tree.by_id("scsi-35000c500a1b2c3d4", "sdd");
    tree.disk(
        &disk("sde", "8:64", 12_000_138_625_024)
            .file("queue/logical_block_size", "4096")
            .udev("ID_SERIAL_SHORT", "ZHZ0AAAA"),
    );
    tree.by_id("ata-ST12000NM0008_ZHZ0AAAA", "sde");
    tree.disk(&disk("sdf", "8:80", 300_000_000_000).file("device/model", "VIRTUAL-DISK"));
    tree.by_id("scsi-0VMware_Virtual_disk", "sdf");
    tree.disk(
        &disk("sdg", "8:96", 3_000_592_982_016).udev("ID_SERIAL_SHORT", "Z501GGGG").partition(
            1,
            3_000_000_000_000,
            "8:97",
        ),
    );
    tree.by_id("ata-ST3000DM001_Z501GGGG", "sdg");
    tree.look("sdg", "gpt", None, Some("gggg-gpt"));
    tree.look("sdg1", "btrfs", Some("media"), Some("media-fsid"));
    tree.btrfs_member("media-fsid", "media", "sdg1");
    tree.disk(
        &disk("sdh", "8:112", 240_057_409_536).udev("ID_SERIAL_SHORT", "PHYS1234").partition(
            1,
            8_000_000_000,
            "8:113",
        ),
    );
    tree.by_id("ata-INTEL_SSDSC2BB240G6_PHYS1234", "sdh");
    tree.look("sdh1", "swap", None, Some("swap-uuid"));
    tree.swap("/dev/disk/by-id/ata-INTEL_SSDSC2BB240G6_PHYS1234-part1");
    tree.by_id("ata-INTEL_SSDSC2BB240G6_PHYS1234-part1", "sdh1");
    tree.disk(
        &Device::new("cciss!c0d0", "104:0", 146_778_685_440)
            .under("pci0000:00/0000:04:00.0/cciss0")
            .udev("ID_SERIAL_SHORT", "3600508b1001030373146")
            .partition(1, 1_000_000_000, "104:1"),
    );
    tree.by_id("cciss-3600508b1001030373146", "cciss!c0d0");
    tree.mount("104:1", "/srv/old data", "/dev/cciss/c0d0p1");
    tree.facts()
}

/// A machine that booted from a partition of a USB stick behind a mapping, as Ventoy makes it.
fn mapped_medium() -> Facts {
    let tree = Tree::new();
    tree.uefi(8 << 30);
    for (name, number, serial) in
        [("vda", "253:0", "OS1"), ("vdb", "253:16", "DATA1"), ("vdc", "253:32", "DATA2")]
    {
        let size = if name == "vda" { 20 << 30 } else { 40 << 30 };
        tree.disk(
            &Device::new(name, number, size).under("pci0000:00/virtio1").file("serial", serial),
        );
        tree.by_id(&format!("virtio-{serial}"), name);
    }
    tree.disk(
        &Device::new("sda", "8:0", 32_000_000_000)
            .under("pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host2/target2:0:0/2:0:0:0")
            .udev("ID_SERIAL_SHORT", "AA00000000000489")
            .file("removable", "1")
            .partition(1, 31_000_000_000, "8:1"),
    );
    tree.by_id("usb-VendorCo_ProductCode_AA00000000000489-0:0", "sda");
    tree.mapping("dm-0", "ventoy", "", "254:0", 400_000_000);
    tree.slave("dm-0", "sda1");
    tree.mount("254:0", "/run/bedplate/medium", "/dev/mapper/ventoy");
    tree.facts()
}

fn disk<'f>(facts: &'f Facts, name: &str) -> &'f DiskFacts {
    facts.disks.iter().find(|disk| disk.kernel_name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// The facts are the inventory of this name beside the planner's tests.
fn is_inventory(name: &str, facts: &Facts) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../core/planner/tests/inventories")
        .join(format!("{name}.json"));
    let text = format!("{}\n", serde_json::to_string_pretty(facts).unwrap());
    if std::env::var_os("UPDATE_INVENTORIES").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "{}", path.display());
}

#[test]
fn a_mixed_machine_is_read() {
    let facts = mixed();
    is_inventory("mixed", &facts);
    let names: Vec<_> = facts.disks.iter().map(|disk| disk.kernel_name.as_str()).collect();
    assert!(!names.contains(&"sdc"), "a reader without a card is no disk");
    assert!(!names.contains(&"nvme0c0n1"), "a hidden path is no disk");
    let kinds: Vec<_> = ["sda", "sdb", "mmcblk0", "sr0", "fd0", "zram0", "loop0", "nvme0n2"]
        .map(|name| disk(&facts, name).transport.clone())
        .into();
    assert_eq!(kinds, ["sata", "usb", "mmc", "optical", "floppy", "zram", "loop", "nvme"]);
    let (one, two) = (disk(&facts, "nvme0n1"), disk(&facts, "nvme0n2"));
    assert_eq!(one.serial, two.serial);
    assert_ne!(one.wwn, two.wwn);
    assert_eq!(one.by_id.len(), 3);
    assert_eq!(disk(&facts, "sda").partition_by_id.len(), 2);
    assert_eq!(disk(&facts, "sda").signatures[1].partition, Some(1));
    assert_eq!(facts.nics.len(), 1);
    assert_eq!(facts.nics[0].mac, "04:42:1a:01:02:03");
}

#[test]
fn t05_every_use_of_a_disk_is_found() {
    let facts = server();
    is_inventory("server", &facts);
    let holders = |name: &str| disk(&facts, name).holders.clone();
    assert_eq!(holders("sda"), ["md127"]);
    assert_eq!(holders("sdc"), ["multipath mpatha"]);
    assert_eq!(holders("sdg"), ["mounted as part of btrfs media"]);
    assert_eq!(holders("sdh"), ["swap"]);
    assert_eq!(holders("cciss!c0d0"), ["mounted at /srv/old data"]);
    assert_eq!(holders("sde"), Vec::<String>::new());
    assert_eq!(disk(&facts, "sde").sector_size, 4096);
    assert_eq!(disk(&facts, "sdf").serial, None);
    assert_eq!(disk(&facts, "cciss!c0d0").by_id, ["cciss-3600508b1001030373146"]);
    // The multipath device took the name over; only one path keeps another.
    assert_eq!(disk(&facts, "dm-1").by_id, ["wwn-0x5000c500a1b2c3d4"]);
}

#[test]
fn t01_the_disk_below_a_mapped_medium_is_the_medium() {
    let facts = mapped_medium();
    is_inventory("mapped_medium", &facts);
    assert_eq!(facts.boot_medium.as_deref(), Some("sda"));
    assert_eq!(disk(&facts, "sda").holders, ["dm-0 (ventoy)"]);
    assert_eq!(disk(&facts, "vda").serial.as_deref(), Some("OS1"));
}

#[test]
fn t06_what_cannot_be_read_is_not_blank() {
    let tree = Tree::new();
    tree.disk(&Device::new("sda", "8:0", 1 << 30).under("pci0000:00/host0"));
    tree.look("sda", "fails", None, None);
    let facts = tree.facts();
    assert_eq!(facts.disks[0].signatures[0].kind, "unreadable");
}

#[test]
fn a_machine_without_sysfs_has_no_disks() {
    let facts = Tree::new().facts();
    assert_eq!((facts.disks.len(), facts.nics.len(), facts.boot_medium), (0, 0, None));
}

#[test]
fn t56_disks_of_the_network_zoned_disks_and_32_bit_firmware_are_seen() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let devices = [
        ("nvme1n1", "sys/devices/virtual/nvme-fabrics/ctl/nvme1"),
        ("nvme2n1", "sys/devices/virtual/nvme-subsystem/nvme-subsys2"),
        ("nvme3n1", "sys/devices/virtual/nvme-fabrics/ctl/nvme3"),
        ("sdb", "sys/devices/platform/host3/session1/target3:0:0/3:0:0:0"),
        ("sdc", "sys/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0"),
    ];
    for (name, device) in devices {
        write(&format!("sys/block/{name}/size"), "2048");
        std::fs::create_dir_all(root.path().join(device)).unwrap();
        let link = root.path().join("sys/block").join(name).join("device");
        std::os::unix::fs::symlink(root.path().join(device), link).unwrap();
    }
    write("sys/devices/virtual/nvme-fabrics/ctl/nvme1/transport", "tcp");
    write("sys/devices/virtual/nvme-fabrics/ctl/nvme3/transport", "fc");
    write("sys/devices/virtual/nvme-subsystem/nvme-subsys2/nvme2/transport", "pcie");
    write("sys/block/sdb/queue/zoned", "none");
    write("sys/block/sdc/queue/zoned", "host-managed");
    write("sys/firmware/efi/fw_platform_size", "32");
    let facts = bedplate_facts::machine::read(&Roots::below(root.path(), None));
    let seen: Vec<_> = facts
        .disks
        .iter()
        .map(|disk| (disk.kernel_name.as_str(), disk.network.as_deref(), disk.zoned.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("nvme1n1", Some("tcp"), None),
            ("nvme2n1", None, None),
            ("nvme3n1", Some("fc"), None),
            ("sdb", Some("iscsi"), None),
            ("sdc", None, Some("host-managed")),
        ]
    );
    assert_eq!(facts.firmware_bits, Some(32));
}

#[test]
fn t56_disks_of_software_and_of_the_network_are_known_by_their_names() {
    let root = tempfile::tempdir().unwrap();
    let kinds = [
        ("bcache0", "bcache"),
        ("drbd1", "drbd"),
        ("etherd!e0.1", "aoe"),
        ("ram3", "ram"),
        ("rbd0", "rbd"),
        ("zd16", "zvol"),
        ("zram0", "zram"),
    ];
    for (name, _) in kinds {
        let directory = root.path().join("sys/block").join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("size"), "2048").unwrap();
    }
    let facts = bedplate_facts::machine::read(&Roots::below(root.path(), None));
    let seen: Vec<_> =
        facts.disks.iter().map(|it| (it.kernel_name.as_str(), it.transport.as_str())).collect();
    assert_eq!(seen, kinds);
}
