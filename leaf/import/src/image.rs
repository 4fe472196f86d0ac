//! The image that a disk begins with, or the disk that is there.

use bedplate_document::addresses;
use bedplate_document::rules::{self, Rule};
use bedplate_yaml::{Content, Node};
use toml_edit::Value;

use crate::draft::{Draft, Found, refused};
use crate::note::{Notes, quote};
use crate::scalar;
use crate::value;

/// What is to be known where a disk is fetched to another place.
const OLD_DISK: &str = ", and what the guest wrote into the old file stays behind: where that counts, \
                        move it and write `existing_disk`";

/// Keys of an image that are read.
const KNOWN: [&str; 6] = ["url", "dest", "extract", "checksum", "sha256", "build"];

/// Carries over `disk_image` or `iso_image`. `root` is where the directories of all machines lie.
pub(crate) fn image(draft: &mut Draft, key: &str, node: &Node, root: &str, notes: &mut Notes) {
    let about = draft.about(key);
    match &node.content {
        Content::Map(_) => {}
        Content::Scalar { .. } => {
            let Some(text) = scalar::text(node, &about, notes) else { return };
            return plain(draft, key, node, text, root, notes);
        }
        _ => {
            notes.open(node, &about, format!("this is {}, and no map; left out", node.kind()));
            return;
        }
    }
    value::unknown(node, &about, &KNOWN, notes);
    let has = |key: &str| node.get(key).is_some_and(|node| !node.is_null());
    if key == "disk_image" && has("dest") && !has("url") && !has("checksum") && !has("sha256") {
        return is_there(draft, node, root, notes);
    }
    let url = part(node, &about, "url", addresses::download, notes);
    let dest = part(node, &about, "dest", rules::absolute_path, notes);
    let dest = dest.filter(|dest| is_own(draft, node, &about, dest, root, notes));
    let sum = checksum(node, &about, notes);
    extract(node, &about, notes);
    let is_built = node.get("build").and_then(Node::text).and_then(scalar::switch);
    if let (Some(build), Some(true)) = (node.get("build"), is_built) {
        notes.open(
            build,
            &format!("{about}.build"),
            "nothing is built here; left out: the image is fetched",
        );
    }
    if url.is_none() && !has("url") {
        notes.open(node, &about, "no address is given; fill in `url`");
    }
    write(draft, key, url, sum, dest);
}

/// What is left out is left to be filled in.
fn write(
    draft: &mut Draft,
    key: &str,
    url: Option<String>,
    sum: Option<String>,
    dest: Option<String>,
) {
    let value = |text: Option<String>| text.map(Value::from);
    let mut lines = vec![
        (if url.is_some() { "url" } else { "url = \"https://…\"" }, value(url)),
        (if sum.is_some() { "sha256" } else { "sha256 = \"…\"" }, value(sum)),
    ];
    if dest.is_some() {
        lines.push(("dest", value(dest)));
    }
    draft.table(key, &lines);
}

/// An image that is no more than its address, or its path.
fn plain(draft: &mut Draft, key: &str, node: &Node, text: &str, root: &str, notes: &mut Notes) {
    let about = draft.about(key);
    if key == "disk_image" && text.starts_with('/') {
        return there(draft, node, text, root, notes);
    }
    let url = checked(node, &about, text, addresses::download, notes);
    if url.is_some() {
        no_checksum(node, &about, notes);
    }
    write(draft, key, url, None, None);
}

/// A disk without an address is one that is there.
fn is_there(draft: &mut Draft, image: &Node, root: &str, notes: &mut Notes) {
    let Some(dest) = image.get("dest") else { return };
    let about = draft.about("disk_image.dest");
    let Some(path) = scalar::text(dest, &about, notes) else { return };
    if !path.starts_with('/') {
        let message = format!("left out: {} is no absolute path", quote(path));
        return notes.open(dest, &about, message);
    }
    extract(image, &draft.about("disk_image"), notes);
    let build = image.get("build").filter(|build| !build.is_null());
    let is_built = build.and_then(Node::text).and_then(scalar::switch);
    if let (Some(build), false) = (build, is_built == Some(false)) {
        let message = "nothing is built here: the disk must be there before the machine is defined";
        notes.open(build, &draft.about("disk_image.build"), message);
    }
    there(draft, dest, path, root, notes);
}

/// A disk at this path. What it is called says what it is, and only a qcow2 stays as it is.
fn there(draft: &mut Draft, at: &Node, path: &str, root: &str, notes: &mut Notes) {
    let directory = format!("{root}/{}/", draft.name);
    let own = path.strip_prefix(&directory).filter(|file| rules::disk_file(file).is_ok());
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_qcow2 = last.ends_with(".qcow2");
    let how = if is_qcow2 { "put it" } else { "`qemu-img convert -O qcow2` it" };
    let file = own.or(Some(last)).filter(|_| is_qcow2);
    let is_in_place = own.is_some() && is_qcow2;
    if is_in_place {
        let message = "a disk without an address is one that is there: nothing is fetched";
        notes.tell(at, &draft.about("existing_disk"), message);
    }
    draft.existing(&Found { from: path, how: how.to_owned(), file }, is_in_place, at.into(), notes);
}

/// A file of a machine lies in its directory.
fn is_own(
    draft: &Draft,
    node: &Node,
    about: &str,
    dest: &str,
    root: &str,
    notes: &mut Notes,
) -> bool {
    let directory = format!("{root}/{}", draft.name);
    let is_own = dest.strip_prefix(&directory).is_some_and(|rest| rest.starts_with('/'));
    if !is_own {
        let place = node.get("dest").unwrap_or(node);
        let message = format!(
            "left out: {} is not in {}, which is where the files of this machine lie; it is fetched to \
             there anew{}",
            quote(dest),
            quote(&directory),
            if about.ends_with("disk_image") { OLD_DISK } else { "" }
        );
        notes.open(place, &format!("{about}.dest"), message);
    }
    is_own
}

fn extract(image: &Node, about: &str, notes: &mut Notes) {
    let Some(node) = image.get("extract").filter(|node| !node.is_null()) else { return };
    if node.text().and_then(scalar::switch) != Some(true) {
        let message = "archives are known by their content and always extracted";
        notes.tell(node, &format!("{about}.extract"), message);
    }
}

fn part(image: &Node, about: &str, key: &str, rule: Rule, notes: &mut Notes) -> Option<String> {
    let node = image.get(key).filter(|node| !node.is_null())?;
    let about = format!("{about}.{key}");
    let text = scalar::text(node, &about, notes)?;
    checked(node, &about, text, rule, notes)
}

fn checked(node: &Node, about: &str, text: &str, rule: Rule, notes: &mut Notes) -> Option<String> {
    match rule(text) {
        Ok(()) => return Some(text.to_owned()),
        // What looks like a password is not shown.
        Err(_) if text.contains('@') => {
            let message = "left out: no password may stand in host.toml; write it without";
            notes.open(node, about, message);
        }
        Err(wrong) => refused(node, about, &wrong, notes),
    }
    None
}

fn no_checksum(at: &Node, about: &str, notes: &mut Notes) {
    let message = "no SHA-256 is given, and nothing is downloaded without one; fill in `sha256`";
    notes.open(at, about, message);
}

/// `sha256`, or `checksum` as Ansible's `get_url` writes it.
fn checksum(image: &Node, about: &str, notes: &mut Notes) -> Option<String> {
    let given: Vec<(&str, &Node)> = ["sha256", "checksum"]
        .into_iter()
        .filter_map(|key| Some((key, image.get(key).filter(|node| !node.is_null())?)))
        .collect();
    let mut sums = Vec::new();
    for (key, node) in &given {
        let about = format!("{about}.{key}");
        let Some(text) = scalar::text(node, &about, notes) else { continue };
        match sha256(text) {
            Ok(sum) => sums.push(sum),
            Err(why) => notes.open(*node, &about, format!("{why}; fill in `sha256`")),
        }
    }
    if given.is_empty() {
        no_checksum(image, about, notes);
    }
    let first = sums.first()?.clone();
    if sums.iter().any(|other| *other != first) {
        let message = "`sha256` and `checksum` are two different sums; left out: fill in `sha256`";
        notes.open(image, about, message);
        return None;
    }
    Some(first)
}

/// The sum, or which other one it is.
fn sha256(text: &str) -> Result<String, String> {
    const ONLY: &str =
        "only a SHA-256 is taken: `sha256sum` of the file that is downloaded gives it";
    let lower = text.trim().to_ascii_lowercase();
    let (kind, sum) = lower.split_once(':').unwrap_or(("", lower.as_str()));
    if sum.contains("//") || text.starts_with("http") {
        return Err(format!(
            "left out: the sum stands in a file at {}; nothing is looked up there: {ONLY}",
            quote(text)
        ));
    }
    if rules::sha256(sum).is_ok() && matches!(kind, "" | "sha256") {
        return Ok(sum.to_owned());
    }
    let by_length = match sum.len() {
        32 => "md5",
        40 => "sha1",
        56 => "sha224",
        96 => "sha384",
        128 => "sha512",
        _ => "",
    };
    let is_sum = sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kind = if kind.is_empty() && is_sum { by_length } else { kind };
    Err(match kind {
        "" | "sha256" => {
            format!("left out: {} is no SHA-256, which has 64 hexadecimal digits", quote(text))
        }
        kind => format!("left out: this is a checksum by {}; {ONLY}", quote(kind)),
    })
}
