use super::*;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn run(packed: &[u8], limit: u64) -> Result<Vec<u8>, ExtractError> {
    let mut from = file_of(packed);
    let kind = packing(&mut from)?.unwrap();
    let mut to = tempfile::tempfile()?;
    extract(&mut from, &mut to, kind, limit, &mut |_| ())?;
    to.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    to.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn packings(plain: &[u8]) -> [Vec<u8>; 4] {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(plain).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(plain).unwrap();
    let zstd = zstd::encode_all(plain, 1).unwrap();
    [xz.finish().unwrap(), gzip.finish().unwrap(), bzip2.finish().unwrap(), zstd]
}

#[test]
fn every_compression_is_undone_with_holes_at_the_end() {
    let mut plain = b"start".to_vec();
    plain.resize(1 << 20, 0);
    for packed in packings(&plain) {
        assert!(run(&packed, 1 << 20).unwrap() == plain);
    }
}

#[test]
fn t31_a_bomb_ends_at_the_limit() {
    for packed in packings(&vec![0; 1 << 20]) {
        assert!(matches!(run(&packed, (1 << 20) - 1), Err(ExtractError::TooLarge(_))));
    }
}

#[test]
fn a_truncated_archive_is_an_error() {
    for packed in packings(b"something that is long enough to be cut") {
        let cut = &packed[..packed.len() - 4];
        assert!(matches!(run(cut, 1000), Err(ExtractError::Stream(_))), "{packed:x?}");
    }
}

/// A tar archive; a name of its own choice, links included.
fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        let place = &mut header.as_old_mut().name;
        place[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        if *kind != tar::EntryType::Regular {
            header.set_link_name("/etc/shadow").unwrap();
        }
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated);
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const FILE: tar::EntryType = tar::EntryType::Regular;

#[test]
fn the_one_image_of_an_archive_is_taken_whatever_it_is_packed_in() {
    let plain = tar_of(&[("README", FILE, b"read me"), ("a/Disk.QCOW2", FILE, b"the disk")]);
    assert_eq!(run(&plain, 1 << 20).unwrap(), b"the disk");
    for packed in packings(&plain) {
        assert_eq!(run(&packed, 1 << 20).unwrap(), b"the disk");
    }
    let zip = zip_of(&[("README", b"read me"), ("disk.img", b"the disk")]);
    assert_eq!(run(&zip, 1 << 20).unwrap(), b"the disk");
}

#[test]
fn an_archive_with_no_image_or_with_two_is_refused() {
    let two: [(&str, &[u8]); 2] = [("a.img", b"1"), ("b.iso", b"2")];
    let tar = two.map(|(name, content)| (name, FILE, content));
    for packed in [tar_of(&tar), zip_of(&two)] {
        let told = run(&packed, 1 << 20).unwrap_err().to_string();
        assert!(told.contains("a.img and b.iso"), "{told}");
    }
    for packed in [tar_of(&[("README", FILE, b"1")]), zip_of(&[("README", b"1")])] {
        assert!(matches!(run(&packed, 1 << 20), Err(ExtractError::NoImage)));
    }
}

#[test]
fn t32_names_and_links_of_an_archive_lead_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("escaped.img");
    let name = outside.to_str().unwrap();
    let up = "../../../../../../../../tmp/escaped.img";
    for name in [name, up] {
        let packed = tar_of(&[(name, FILE, b"the disk")]);
        assert_eq!(run(&packed, 1 << 20).unwrap(), b"the disk");
        assert_eq!(run(&zip_of(&[(name, b"the disk")]), 1 << 20).unwrap(), b"the disk");
    }
    assert!(!outside.exists() && !std::path::Path::new("/tmp/escaped.img").exists());
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link] {
        let packed = tar_of(&[("disk.img", kind, b"")]);
        assert!(matches!(run(&packed, 1 << 20), Err(ExtractError::NoImage)));
    }
}

#[test]
fn t31_an_archive_that_is_a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 1 << 20];
    let tar = tar_of(&[("README", FILE, &zeros), ("disk.img", FILE, b"the disk")]);
    let zip = zip_of(&[("disk.img", &zeros)]);
    let packed = packings(&tar).into_iter().chain([zip]);
    for packed in packed {
        assert!(packed.len() < 100_000, "{}", packed.len());
        assert!(matches!(run(&packed, (1 << 20) - 1), Err(ExtractError::TooLarge(_))));
    }
    let many: Vec<_> = (0..1001).map(|_| ("a", FILE, &b""[..])).collect();
    assert!(matches!(run(&tar_of(&many), 1 << 30), Err(ExtractError::TooMany(1000))));
}
