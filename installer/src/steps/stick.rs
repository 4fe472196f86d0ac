//! The key stick: keyfile, recovery passphrase, generated secrets.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use bedplate_spec::event::Outcome;
use bedplate_spec::host::Recovery;
use bedplate_tools::mount::{Access, Mount};
use bedplate_tools::secret::Secret;
use bedplate_tools::{sync, udev};

use crate::context::{Context, Keys, STICK};
use crate::device::{exclusive, kernel_name};
use crate::error::{During as _, StepError};
use crate::facts::{disks::read_one, roots::Roots};

use super::disks::format_vfat;

/// Bytes of a keyfile: 512 random bits.
const KEYFILE_BYTES: usize = 64;

/// What a recovery passphrase is made of: nothing that looks like something else.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

const GROUPS: usize = 8;
const GROUP_LENGTH: usize = 4;

/// What the step asks for.
pub struct Wanted<'a> {
    /// VFAT volume id, such as `1A2B-3C4D`.
    pub volume_id: &'a str,
    /// by-id name; only with it may the stick be formatted.
    pub id: Option<&'a str>,
    /// Path of the keyfile.
    pub keyfile: &'a str,
    /// Where the recovery passphrase is kept.
    pub recovery: &'a Recovery,
    /// Further secrets to generate.
    pub secrets: &'a [String],
}

/// Mounts the stick and makes sure that it carries what is wanted. What is there is kept.
pub fn prepare(context: &mut Context<'_>, wanted: &Wanted<'_>) -> Result<Outcome, StepError> {
    let (node, formatted) = find_or_format(context, wanted)?;
    let stick = Path::new(STICK);
    fs::create_dir_all(stick).during("could not make the stick's mount point")?;
    Mount {
        source: &node.display().to_string(),
        target: stick,
        kind: "vfat",
        access: Access::ReadWrite,
        options: "umask=0077",
    }
    .mount_restricted()
    .during("could not mount the key stick")?;
    let Recovery::Stick(recovery) = wanted.recovery else {
        return Err(StepError::new("a recovery passphrase by prompt needs somebody to ask")
            .next("set `unlock.recovery = { stick = \"…\" }`"));
    };
    let mut made = formatted;
    let mut keep = |path: &str, fresh: &dyn Fn() -> Result<Vec<u8>, StepError>| {
        let (secret, new) = keep_or_make(stick, path, fresh)?;
        made |= new;
        Ok::<_, StepError>(secret)
    };
    let keyfile = keep(wanted.keyfile, &|| random(KEYFILE_BYTES))?;
    let passphrase = keep(recovery, &passphrase)?;
    for path in wanted.secrets {
        keep(path, &passphrase_of_secret)?;
    }
    sync::file_system(stick).during("could not flush the key stick")?;
    context.keys = Some(Keys { keyfile, passphrase });
    Ok(if made { Outcome::Done } else { Outcome::AlreadyDone })
}

fn find_or_format(
    context: &Context<'_>,
    wanted: &Wanted<'_>,
) -> Result<(PathBuf, bool), StepError> {
    udev::settle().during("udev did not come to rest")?;
    let link = Path::new("/dev/disk/by-uuid").join(wanted.volume_id);
    if let Ok(node) = fs::canonicalize(&link) {
        return Ok((node, false));
    }
    let Some(id) = wanted.id else {
        return Err(StepError::new(format!("no key stick {} is plugged in", wanted.volume_id))
            .next("plug in the stick; `bedplate key create` makes one"));
    };
    let name = kernel_name(id)?;
    if context.plan.disks.iter().any(|disk| disk.id == id) {
        return Err(StepError::new(format!("{id} is a disk of the plan, not a key stick")));
    }
    let facts = read_one(&Roots::default(), &name)
        .ok_or_else(|| StepError::new(format!("{id} has no medium")))?;
    if !facts.signatures.is_empty() || !facts.holders.is_empty() {
        let kinds: Vec<_> = facts.signatures.iter().map(|one| one.kind.as_str()).collect();
        return Err(StepError::new(format!("{id} is not blank ({})", kinds.join(", ")))
            .next("only a stick without any signature is formatted: wipe it, or use another"));
    }
    let volume_id = u32::from_str_radix(&wanted.volume_id.replace('-', ""), 16)
        .during(format!("`{}` is not a volume id", wanted.volume_id))?;
    let node = format!("/dev/{name}");
    let file = exclusive(&node).during(format!("could not open {node} exclusively"))?;
    format_vfat(file, "BEDPLATEKEY", volume_id, facts.sector_size)
        .during(format!("could not make the file system of the key stick on {node}"))?;
    udev::settle().during("udev did not come to rest")?;
    Ok((PathBuf::from(node), true))
}

/// The secret at `path`, made first when there is none. Returns whether it was made.
fn keep_or_make(
    stick: &Path,
    path: &str,
    fresh: &dyn Fn() -> Result<Vec<u8>, StepError>,
) -> Result<(Secret, bool), StepError> {
    let relative = Path::new(path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(StepError::new(format!("`{path}` leaves the key stick")));
    }
    let file = stick.join(relative);
    match fs::read(&file) {
        Ok(bytes) if !bytes.is_empty() => return Ok((Secret::new(bytes), false)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).during(format!("could not read `{path}` on the stick")),
    }
    let secret = Secret::new(fresh()?);
    write_durably(&file, secret.expose())
        .during(format!("could not write `{path}` to the stick"))?;
    let back = Secret::new(fs::read(&file).during(format!("could not read back `{path}`"))?);
    if back == secret {
        Ok((secret, true))
    } else {
        Err(StepError::new(format!("the stick gave back something else for `{path}`"))
            .next("use another stick"))
    }
}

/// A power cut leaves the old file or the new one, never half of it.
pub fn write_durably(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = file.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let temporary = file.with_extension("new");
    let mut output = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    output.write_all(bytes)?;
    output.sync_all()?;
    fs::rename(&temporary, file)?;
    File::open(parent)?.sync_all()
}

fn random(count: usize) -> Result<Vec<u8>, StepError> {
    let mut bytes = vec![0; count];
    getrandom::fill(&mut bytes).during("the kernel has no randomness")?;
    Ok(bytes)
}

fn passphrase_of_secret() -> Result<Vec<u8>, StepError> {
    passphrase()
}

/// Groups of letters and digits that can be typed on a keyboard from paper.
fn passphrase() -> Result<Vec<u8>, StepError> {
    let mut symbols = Vec::with_capacity(GROUPS * GROUP_LENGTH);
    while symbols.len() < GROUPS * GROUP_LENGTH {
        for byte in random(64)? {
            // Five bits; a value beyond the alphabet is drawn again, so that none is likelier.
            let symbol = ALPHABET.get(usize::from(byte & 31));
            symbols.extend(symbol.filter(|_| symbols.len() < GROUPS * GROUP_LENGTH));
        }
    }
    Ok(symbols.chunks(GROUP_LENGTH).collect::<Vec<_>>().join(&b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_passphrase_is_eight_groups_without_look_alikes() {
        let made = String::from_utf8(passphrase().unwrap()).unwrap();
        let groups: Vec<_> = made.split('-').collect();
        assert_eq!(groups.len(), 8);
        assert!(groups.iter().all(|group| group.len() == 4), "{groups:?}");
        assert!(!made.contains(['l', '1', 'o', '0', 'i']), "look-alike");
        assert!(made.bytes().all(|byte| byte == b'-' || ALPHABET.contains(&byte)));
        assert_ne!(made.as_bytes(), passphrase().unwrap());
    }

    #[test]
    fn t23_what_is_on_the_stick_is_kept_and_an_empty_file_is_made_anew() {
        let stick = tempfile::tempdir().unwrap();
        let (first, made) = keep_or_make(stick.path(), "bedplate/key", &|| random(64)).unwrap();
        assert!(made && first.expose().len() == 64);
        let (again, made) = keep_or_make(stick.path(), "bedplate/key", &|| random(64)).unwrap();
        assert!(!made && again == first);
        fs::write(stick.path().join("empty"), b"").unwrap();
        assert!(keep_or_make(stick.path(), "empty", &passphrase).unwrap().1);
    }

    #[test]
    fn t15_a_path_that_leaves_the_stick_is_refused() {
        let stick = tempfile::tempdir().unwrap();
        for path in ["../key", "/etc/key", "a/../../b"] {
            assert!(keep_or_make(stick.path(), path, &|| random(64)).is_err(), "{path}");
        }
    }
}
