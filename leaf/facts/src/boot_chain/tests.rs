use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use fatfs::{FileSystem, FsOptions};

use super::*;

fn esp(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(8 << 20).unwrap();
    let mut file = image.reopen().unwrap();
    fatfs::format_volume(&mut file, fatfs::FormatVolumeOptions::new()).unwrap();
    let system = FileSystem::new(file, FsOptions::new()).unwrap();
    for (path, content) in files {
        let mut directory = system.root_dir();
        let (parents, name) = path.rsplit_once('/').unwrap();
        for parent in parents.split('/') {
            directory = directory.create_dir(parent).unwrap();
        }
        directory.create_file(name).unwrap().write_all(content).unwrap();
    }
    drop(system);
    image
}

fn hash(content: &[u8]) -> String {
    hexadecimal(&Sha256::digest(content))
}

/// Shim, which names what it starts.
fn shim() -> Vec<u8> {
    let name = "\\grubx64.efi".encode_utf16().flat_map(u16::to_le_bytes);
    b"MZ shim ".iter().copied().chain(name).chain([7; 5000]).collect()
}

/// A partition as `generation boot` leaves it, each file with more than one cluster.
fn whole() -> Vec<(String, Vec<u8>)> {
    let (second, kernel, initrd) =
        ([b"MZ second".as_slice(), &[1; 9000]].concat(), vec![2; 20_000], vec![3; 30_000]);
    let (kernel_path, initrd_path) =
        (image_name(&hash(&kernel), "kernel"), image_name(&hash(&initrd), "initrd"));
    let entry = seal(&format!(
        "title x\nsort-key bedplate\nversion 1\nlinux /{kernel_path}\ninitrd /{initrd_path}\noptions a\n"
    ));
    let hashes = [hash(&shim()), hash(&second)];
    let (list_path, list) = list([(FIRST, hashes[0].as_str()), (SECOND, hashes[1].as_str())]);
    vec![
        (FIRST.to_owned(), shim()),
        (SECOND.to_owned(), second),
        (list_path, list.into_bytes()),
        (kernel_path, kernel),
        (initrd_path, initrd),
        (format!("{ENTRIES}/bedplate-1.conf"), entry.into_bytes()),
    ]
}

fn image(files: &[(String, Vec<u8>)]) -> tempfile::NamedTempFile {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
    esp(&files)
}

fn faults(image: &tempfile::NamedTempFile) -> Vec<String> {
    let chain = Chain::look(image.path()).unwrap();
    assert_eq!(chain.is_bootable(), is_bootable(image.path()));
    chain.faults()
}

#[test]
fn t45_a_partition_boots_only_when_every_file_of_the_chain_is_what_was_written() {
    assert!(is_bootable(image(&whole()).path()));
    assert_eq!(faults(&image(&whole())), [] as [&str; 0]);
    let all = whole();
    for (index, (path, content)) in all.iter().enumerate() {
        let is_list = path.ends_with(LIST);
        let mut some = all.clone();
        some.remove(index);
        assert_eq!(is_bootable(image(&some).path()), is_list, "without {path}");
        // The same name, the same length, another content.
        let mut some = all.clone();
        some[index].1[content.len() - 1] ^= 1;
        let told = faults(&image(&some));
        assert_eq!(is_bootable(image(&some).path()), is_list, "{path} changed: {told:?}");
        assert_eq!(told.is_empty(), is_list, "{path}: {told:?}");
        let mut some = all.clone();
        some[index].1.clear();
        assert_eq!(is_bootable(image(&some).path()), is_list, "{path} empty");
    }
}

/// What a cut leaves when the table of clusters is written before the slot of the new file: the name
/// points at a cluster that is free.
#[test]
fn t45_a_name_that_points_at_free_clusters_is_seen() {
    for (path, content) in whole() {
        if path.ends_with(LIST) || path.ends_with(".conf") {
            continue;
        }
        let image = image(&whole());
        let mut file = image.reopen().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let sector = usize::from(u16::from_le_bytes([bytes[11], bytes[12]]));
        let cluster = sector * usize::from(bytes[13]);
        let table = sector * usize::from(u16::from_le_bytes([bytes[14], bytes[15]]));
        let length = sector * usize::from(u16::from_le_bytes([bytes[22], bytes[23]]));
        let root = usize::from(u16::from_le_bytes([bytes[17], bytes[18]])) * 32;
        let data = table + usize::from(bytes[16]) * length + root;
        let at = bytes.windows(content.len()).position(|window| window == content).unwrap();
        let first = (at - data) / cluster + 2;
        assert!(bytes[54..62].starts_with(b"FAT16"), "the arithmetic below is that of FAT16");
        for table in [table, table + length] {
            for number in first..first + content.len().div_ceil(cluster) {
                file.seek(SeekFrom::Start((table + number * 2) as u64)).unwrap();
                file.write_all(&[0, 0]).unwrap();
            }
        }
        let told = faults(&image);
        assert!(!is_bootable(image.path()), "{path}");
        assert!(
            told.iter().any(|told| told.contains("its clusters are not all there")),
            "{told:?}"
        );
    }
}

#[test]
fn t45_without_hashes_the_chain_is_judged_by_lengths_and_by_what_programs_begin_with() {
    let entry = b"title x\nlinux /EFI/nixos/k.efi\ninitrd /EFI/nixos/i.efi\noptions a\n".as_slice();
    let whole = [
        (FIRST, b"MZ systemd-boot".as_slice()),
        ("EFI/nixos/k.efi", b"MZ kernel"),
        ("EFI/nixos/i.efi", b"initrd"),
        ("loader/entries/nixos-generation-1.conf", entry),
    ];
    assert!(is_bootable(esp(&whole).path()));
    for missing in 0..whole.len() {
        let mut some = whole.to_vec();
        some.remove(missing);
        assert!(!is_bootable(esp(&some).path()), "without {}", whole[missing].0);
        let mut some = whole.to_vec();
        some[missing].1 = &[0; 9];
        let is_initrd = missing == 2;
        assert_eq!(is_bootable(esp(&some).path()), is_initrd, "zeros in {}", whole[missing].0);
    }
    let shim = shim();
    let mut some = whole.to_vec();
    some[0].1 = &shim;
    assert!(!is_bootable(esp(&some).path()), "shim has nothing to start");
    some.push((SECOND, b"MZ second"));
    assert!(is_bootable(esp(&some).path()));
}

#[test]
fn t45_what_starts_first_decides_unless_it_is_on_trial() {
    let with = |newer: &str| {
        let mut files = whole();
        let gone = format!("{IMAGES}/{}-kernel", "0".repeat(DIGITS));
        let text = format!("sort-key bedplate\nversion 2\nlinux /{gone}\noptions a\n");
        files.push((format!("{ENTRIES}/{newer}"), seal(&text).into_bytes()));
        is_bootable(image(&files).path())
    };
    assert!(with("bedplate-2+3.conf"), "it gives way to the one before");
    assert!(!with("bedplate-2.conf"), "it came up once and is started for ever");
    assert!(with("bedplate-2+0-3.conf"), "it is given up and comes last");
}

#[test]
fn f1_a_disk_that_is_no_volume_or_leads_in_circles_does_not_boot() {
    let image = tempfile::NamedTempFile::new().unwrap();
    image.as_file().set_len(1 << 20).unwrap();
    assert!(!is_bootable(image.path()));
    assert!(Chain::look(image.path()).is_err());
    assert!(!is_bootable(Path::new("/nonexistent")));
}

#[test]
fn a_seal_fits_one_text_only_and_is_made_anew() {
    let text = "linux /k\noptions a\n";
    let sealed = seal(text);
    assert_eq!(unsealed(&sealed), Sealed::Whole(text));
    assert_eq!(seal(&sealed), sealed);
    assert_eq!(unsealed(text), Sealed::No);
    assert_eq!(unsealed(&sealed.replace("/k", "/j")), Sealed::Broken);
    assert_eq!(unsealed(&sealed[..sealed.len() - 3]), Sealed::Broken);
}

#[test]
fn entries_are_ordered_as_systemd_boot_does() {
    let order = |name: &str, text: &str| Order::of(name, text, Some("nixos-generation-2.conf"));
    let mut all = [
        order("bedplate-9+0-3.conf", "sort-key a\nversion 9\n"),
        order("bedplate-3.conf", "sort-key b\nversion 3\n"),
        order("bedplate-10.conf", "sort-key b\nversion 10\n"),
        order("other.conf", ""),
        order("nixos-generation-2.conf", "sort-key z\n"),
    ];
    all.sort();
    let names: Vec<String> = all.iter().map(|order| format!("{order:?}")).collect();
    let position = |name: &str| names.iter().position(|it| it.contains(name)).unwrap();
    let wanted =
        ["nixos-generation-2", "bedplate-10.conf", "bedplate-3.conf", "other", "bedplate-9"];
    assert_eq!(wanted.map(position), [0, 1, 2, 3, 4], "{names:?}");
}

#[test]
fn t45_a_file_that_is_to_be_empty_reads_back_as_that() {
    let image = esp(&[("EFI/empty", b""), (FIRST, b"MZ")]);
    assert_eq!(hash_of(image.path(), "EFI/empty").unwrap(), Some(hash(b"")));
    assert_eq!(hash_of(image.path(), FIRST).unwrap(), Some(hash(b"MZ")));
    assert_eq!(hash_of(image.path(), "EFI/none").unwrap(), None);
}

#[test]
fn t45_the_default_of_nixos_is_a_pattern_and_an_entry_of_another_system_is_not_the_first() {
    let default = "default nixos-generation-*\n";
    let nixos = "title NixOS\nsort-key nixos\nversion Generation 1\nlinux /EFI/k.efi\n";
    let other = "title Other\nsort-key a\nlinux /gone.efi\n";
    let mut files = vec![
        (FIRST, b"MZ systemd-boot".as_slice()),
        ("EFI/k.efi", b"MZ kernel"),
        ("loader/loader.conf", default.as_bytes()),
        ("loader/entries/nixos-generation-1.conf", nixos.as_bytes()),
        ("loader/entries/other.conf", other.as_bytes()),
    ];
    assert!(is_bootable(esp(&files).path()), "the other one is not started");
    files[2].1 = b"default other\n";
    assert!(!is_bootable(esp(&files).path()));
    let is_default = |name: &str, pattern: &str| {
        format!("{:?}", Order::of(name, "", Some(pattern))).contains("is_default: true")
    };
    for (name, pattern) in [
        ("nixos-generation-5+3.conf", "nixos-generation-*"),
        ("nixos-generation-5.conf", "NIXOS-*-5.conf"),
        ("nixos-generation-5.conf", "nixos-generation-?"),
        ("aab.conf", "*ab"),
    ] {
        assert!(is_default(name, pattern), "{name} {pattern}");
    }
    for (name, pattern) in [("nixos-generation-15.conf", "*-?"), ("a.conf", "a?"), ("a.conf", "")] {
        assert!(!is_default(name, pattern), "{name} {pattern}");
    }
    let begun = std::time::Instant::now();
    assert!(!is_default(&"a".repeat(2000), &("*a".repeat(1000) + "b")));
    assert!(begun.elapsed().as_secs() < 5, "a crafted pattern holds nobody");
}

/// A stream of numbers (splitmix64): the same every time.
fn roll(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 31
}

#[test]
fn t45_a_volume_that_is_damaged_anywhere_neither_panics_nor_holds_anybody() {
    let image = image(&whole());
    let mut file = image.reopen().unwrap();
    let mut sound = vec![0; 80 << 10];
    file.read_exact(&mut sound).unwrap();
    let mut seed = 7;
    // What describes the volume lies at its start: boot sector, tables, the root directory.
    for round in 0..100 {
        let mut damaged = sound.clone();
        let reach = if round % 3 == 0 { 64 } else { sound.len() };
        for _ in 0..1 + roll(&mut seed) % 8 {
            let at = roll(&mut seed) as usize % reach;
            damaged[at] = roll(&mut seed) as u8;
        }
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&damaged).unwrap();
        let begun = std::time::Instant::now();
        is_bootable(image.path());
        Chain::look(image.path()).ok();
        assert!(begun.elapsed().as_secs() < 20, "round {round} took {:?}", begun.elapsed());
    }
}
