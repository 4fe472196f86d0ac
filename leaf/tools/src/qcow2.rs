//! qcow2 images, as far as their header says (QEMU's `docs/interop/qcow2.txt`, sections "Header" and
//! "Header extensions").
//!
//! Only for an image that is known to be qcow2. Starting `qemu-img` takes longer than everything
//! else that is looked at.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// The first bytes.
const MAGIC: &[u8] = b"QFI\xfb";
/// Where the version stands, 32 bits.
const VERSION: usize = 4;
/// Where it stands in the file what the image is based on, 64 bits; none when that is zero.
const BASE_PLACE: usize = 8;
/// How long that name is, 32 bits.
const BASE_LENGTH: usize = 16;
/// Of how many bytes a cluster is, as a power of two, 32 bits. The header with all names fits in the first.
const CLUSTER_BITS: usize = 20;
/// The powers that there are.
const CLUSTERS: std::ops::RangeInclusive<u32> = 9..=21;
/// Where the size of the disk stands, 64 bits, the most significant byte first.
const SIZE: std::ops::Range<usize> = 24..32;
/// Where it stands how long the header is, 32 bits. Extensions follow it.
const HEADER_LENGTH: usize = 100;
/// How long it is in an image of version 2, which does not say it.
const OLD_HEADER: usize = 72;
/// The extension with the name of the file that holds the guest's data.
const DATA_FILE: u32 = 0x4441_5441;
/// The longest name of what an image is based on.
const LONGEST_BASE: usize = 1023;
/// No more images are followed from one: libvirt follows 200 in a chain.
const MOST: usize = 1024;

/// Size of the disk that a guest sees, in bytes.
pub fn virtual_size(image: &Path) -> io::Result<u64> {
    let mut header = [0; SIZE.end];
    File::open(image)?.read_exact(&mut header)?;
    size_in(&header)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no qcow2 image"))
}

/// The size of the disk in the first bytes of an image; none when they are no header of qcow2.
pub fn size_in(header: &[u8]) -> Option<u64> {
    let (magic, size) = (header.get(..MAGIC.len()), header.get(SIZE));
    match (magic, size.map(<[u8; 8]>::try_from)) {
        (Some(magic), Some(Ok(size))) if magic == MAGIC => Some(u64::from_be_bytes(size)),
        _ => None,
    }
}

/// The files that an image names, relative to its own directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// What it is based on: more than one when QEMU's own form of a name has more.
    pub bases: Vec<PathBuf>,
    /// Where the guest's data is, when that is not in the image.
    pub data: Vec<PathBuf>,
}

/// The files named in the first cluster of an image; none when that is not of a qcow2.
pub fn named_in(cluster: &[u8]) -> Named {
    let mut named = Named::default();
    if !cluster.starts_with(MAGIC) {
        return named;
    }
    let place = word(cluster, BASE_PLACE + 4).filter(|_| word(cluster, BASE_PLACE) == Some(0));
    let length = word(cluster, BASE_LENGTH);
    if let (Some(place @ 1..), Some(length)) = (place, length) {
        let name = part(cluster, place, length.min(LONGEST_BASE));
        named.bases = name.map(files_of).unwrap_or_default();
    }
    let is_old = word(cluster, VERSION).is_some_and(|version| version < 3);
    let mut at = if is_old { Some(OLD_HEADER) } else { word(cluster, HEADER_LENGTH) };
    // The first of type 0 is the end.
    while let Some(here) = at
        && let Some(kind @ 1..) = word(cluster, here)
        && let Some(length) = word(cluster, here.saturating_add(4))
    {
        let content = here.saturating_add(8);
        if u32::try_from(kind) == Ok(DATA_FILE) {
            named.data.extend(part(cluster, content, length).map(files_of).unwrap_or_default());
        }
        at = length.checked_next_multiple_of(8).and_then(|length| content.checked_add(length));
    }
    named
}

/// The 32 bits at `place`.
fn word(bytes: &[u8], place: usize) -> Option<usize> {
    let word = part(bytes, place, 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(word)).ok()
}

fn part(bytes: &[u8], place: usize, length: usize) -> Option<&[u8]> {
    bytes.get(place..place.checked_add(length)?)
}

/// The files in a name as QEMU writes it: a path, one with `file:` before it, or `json:` and what
/// `blockdev-add` takes. What is not in a file is none.
fn files_of(name: &[u8]) -> Vec<PathBuf> {
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if let Some(text) = name.strip_prefix(b"json:") {
        let mut found = Vec::new();
        if let Ok(value) = serde_json::from_slice(text) {
            files_in(&value, &mut found);
        }
        return found;
    }
    let plain = name.strip_prefix(b"file:").unwrap_or(name);
    // `nbd://`, `rbd:`; as QEMU does (`path_has_protocol`).
    let is_elsewhere = plain.iter().find(|byte| b":/".contains(byte)) == Some(&b':');
    let is_file = !is_elsewhere && !plain.is_empty();
    is_file.then(|| OsString::from_vec(plain.to_vec()).into()).into_iter().collect()
}

/// In `{"driver": "qcow2", "file": {"driver": "file", "filename": "/a"}}`, however it is nested, and in
/// `{"file.filename": "/a"}`.
fn files_in(value: &serde_json::Value, found: &mut Vec<PathBuf>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                match value.as_str() {
                    Some(path) if key == "filename" || key.ends_with(".filename") => {
                        found.push(path.into());
                    }
                    _ => files_in(value, found),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|one| files_in(one, found)),
        _ => {}
    }
}

/// What an image does not work without.
#[derive(Debug, Default)]
pub struct Needs {
    /// All files that are named, whether or not they are there, the nearest first.
    pub files: Vec<PathBuf>,
    /// Those that could not be looked into, so that nobody knows what they need themselves, and why.
    pub unread: Vec<(PathBuf, io::Error)>,
}

/// Every file that the image needs: what it is based on, and where the data of each is.
pub fn needs(image: &Path) -> Needs {
    follow(image, |named| named.bases.into_iter().chain(named.data).collect())
}

/// The files that the image is based on, the nearest first: all that are named, whether or not they
/// are there. An image of another format is based on nothing that could be seen.
pub fn bases(image: &Path) -> io::Result<Vec<PathBuf>> {
    let found = follow(image, |named| named.bases);
    found.unread.into_iter().next().map_or(Ok(found.files), |(_, error)| Err(error))
}

/// Follows what `of` takes of each image. What is not there, or is no qcow2, ends its branch.
fn follow(image: &Path, of: fn(Named) -> Vec<PathBuf>) -> Needs {
    let (mut needs, mut seen) = (Needs::default(), Vec::new());
    let mut at = 0;
    let mut next = Some(image.to_owned());
    while let Some(path) = next {
        match named(&path, &mut seen) {
            Ok(named) => {
                let directory = path.parent().unwrap_or(Path::new("/"));
                needs.files.extend(of(named).iter().map(|file| directory.join(file)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && path != image => {}
            Err(error) => needs.unread.push((path, error)),
        }
        next = needs.files.get(at).cloned();
        at += 1;
    }
    needs
}

/// The files that one image names itself; none when it was `seen`, and of what is no file: a device or a
/// fifo might never answer.
fn named(image: &Path, seen: &mut Vec<PathBuf>) -> io::Result<Named> {
    let real = fs::canonicalize(image)?;
    if seen.contains(&real) || !fs::metadata(&real)?.is_file() {
        return Ok(Named::default());
    }
    if seen.len() == MOST {
        return Err(io::Error::other("more images depend on each other than are looked into"));
    }
    let mut file = File::open(&real)?;
    seen.push(real);
    let mut cluster = Vec::new();
    (&mut file).take(SIZE.end as u64).read_to_end(&mut cluster)?;
    if !cluster.starts_with(MAGIC) {
        return Ok(Named::default());
    }
    let bits = word(&cluster, CLUSTER_BITS).and_then(|bits| u32::try_from(bits).ok());
    let bits = bits.unwrap_or_default().clamp(*CLUSTERS.start(), *CLUSTERS.end());
    file.take((1 << bits) - cluster.len() as u64).read_to_end(&mut cluster)?;
    Ok(named_in(&cluster))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_what_qemu_img_made() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("a.qcow2");
        crate::qemu_img::create(&image, 5 << 30).unwrap();
        assert_eq!(virtual_size(&image).unwrap(), 5 << 30);
        crate::qemu_img::enlarge(&image, 6 << 30).unwrap();
        assert_eq!(virtual_size(&image).unwrap(), 6 << 30);
    }

    #[test]
    fn t49_what_an_image_is_based_on_is_followed_to_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        crate::qemu_img::create(&at("base"), 1 << 20).unwrap();
        assert!(bases(&at("base")).unwrap().is_empty());
        let top = |name: &str, base: &str| {
            let mut command = std::process::Command::new("qemu-img");
            command.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base]);
            assert!(command.arg(at(name)).arg("1M").status().unwrap().success());
        };
        top("middle", &at("base").to_string_lossy());
        // Beside it, and in the form that QEMU writes itself.
        top("top", "middle");
        let json = format!(
            r#"json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{}"}}}}"#,
            at("middle").display()
        );
        top("other", &json);
        for name in ["top", "other"] {
            assert_eq!(bases(&at(name)).unwrap(), [at("middle"), at("base")], "{name}");
        }
        top("itself", "itself");
        assert_eq!(bases(&at("itself")).unwrap(), [at("itself")]);
        // A colon behind a slash is none of a protocol.
        top("colon", "./ba:se");
        assert_eq!(bases(&at("colon")).unwrap(), [at("./ba:se")]);
        top("elsewhere", "nbd://host/x");
        std::fs::write(at("raw"), "short").unwrap();
        assert!(
            bases(&at("elsewhere")).unwrap().is_empty() && bases(&at("raw")).unwrap().is_empty()
        );
        assert!(bases(&at("none")).is_err());
    }

    #[test]
    fn t33_the_file_with_the_data_of_an_image_is_followed_as_what_it_is_based_on_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let make = |name: &str, options: &[&str]| {
            let mut command = std::process::Command::new("qemu-img");
            command.current_dir(directory.path()).args(["create", "-q", "-u", "-f", "qcow2"]);
            assert!(command.args(options).arg(at(name)).arg("1M").status().unwrap().success());
        };
        // In the directory of qemu-img, which is that of the images.
        make("relative", &["-o", "data_file=r.raw"]);
        let prefixed = format!("data_file=file:{},data_file_raw=on", at("p.raw").display());
        make("prefixed", &["-o", &prefixed]);
        for (image, data) in [("relative", "r.raw"), ("prefixed", "p.raw")] {
            assert_eq!(needs(&at(image)).files, [at(data)], "{image}");
            assert!(bases(&at(image)).unwrap().is_empty(), "{image} is based on nothing");
        }
        // Of what it is based on, and in QEMU's own form, where both stand beside each other.
        make("over", &["-F", "qcow2", "-b", "prefixed"]);
        make("top", &["-F", "qcow2", "-b", "over", "-o", "data_file=t.raw"]);
        let all = ["over", "t.raw", "prefixed", "p.raw"].map(at);
        assert_eq!(needs(&at("top")).files, all);
        assert_eq!(bases(&at("top")).unwrap(), ["over", "prefixed"].map(at));
        let json = format!(
            r#"json:{{"driver":"qcow2","data-file":{{"driver":"file","filename":"{}"}},"file.filename":"{}"}}"#,
            at("x.raw").display(),
            at("over").display()
        );
        make("json", &["-F", "qcow2", "-b", &json]);
        let found = needs(&at("json"));
        assert_eq!(found.files, ["x.raw", "over", "prefixed", "p.raw"].map(at));
        assert!(found.unread.is_empty());
    }

    #[test]
    fn t49_a_base_that_cannot_be_looked_into_is_said_and_a_fifo_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let top = |name: &str, base: &str| {
            let mut command = std::process::Command::new("qemu-img");
            command.args(["create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base]);
            assert!(command.arg(at(name)).arg("1M").status().unwrap().success());
        };
        // A link to itself: whatever is there, it cannot be opened.
        std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
        top("hidden", "loop");
        let found = needs(&at("hidden"));
        assert_eq!(found.files, [at("loop")]);
        assert_eq!(found.unread[0].0, at("loop"));
        assert!(bases(&at("hidden")).is_err());
        let made = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
        assert!(made.success());
        top("waiting", "fifo");
        assert_eq!(bases(&at("waiting")).unwrap(), [at("fifo")]);
        // An image that names itself by ever longer names.
        let name = directory.path().file_name().unwrap().to_string_lossy().into_owned();
        top("longer", &format!("../{name}/longer"));
        assert_eq!(bases(&at("longer")).unwrap().len(), 1);
    }

    #[test]
    fn t33_extensions_that_lie_about_their_length_are_no_names() {
        let image = |extension: &[u8]| {
            let mut bytes = vec![0; 104];
            bytes[..4].copy_from_slice(MAGIC);
            bytes[7] = 3;
            bytes[103] = 104;
            bytes.extend_from_slice(extension);
            named_in(&bytes)
        };
        let data = image(b"AAAA\0\0\0\x03abc\0\0\0\0\0DATA\0\0\0\x02/d");
        assert_eq!(data.data, [PathBuf::from("/d")]);
        // qemu-img does not write this form, and QEMU reads it.
        let data = image(b"DATA\0\0\0\x18json:{\"file.filename\":1}");
        assert_eq!(data, Named::default());
        let data = image(b"DATA\0\0\0\x1ejson:{\"a\":[{\"filename\":\"/d\"}]}");
        assert_eq!(data.data, [PathBuf::from("/d")]);
        for lie in
            [&b"DATA\xff\xff\xff\xff/d"[..], b"AAAA\xff\xff\xff\xf9DATA", b"DAT", b"\0\0\0\0DATA"]
        {
            assert_eq!(image(lie), Named::default(), "{lie:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("a");
        for content in [&b"QFI\xfb"[..], &[0; 64]] {
            std::fs::write(&image, content).unwrap();
            assert!(virtual_size(&image).is_err());
        }
    }
}
