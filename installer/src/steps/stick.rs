//! The key sticks: keyfile, recovery passphrase, generated secrets, the same on each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_disks::{Claim, Identity};
use bedplate_events::Outcome;
use bedplate_facts::disks::read_one;
use bedplate_keystick::layout::{
    LABEL, LEAST_KEYFILE_BYTES, SECRET_LIMIT, header as header_path, inside,
};
use bedplate_keystick::{self as keystick, Mounted, Volume};
use bedplate_model::host::{Recovery, Stick};
use bedplate_tools::mount::Access;
use bedplate_tools::secret::Secret;
use bedplate_tools::udev;

use crate::context::{Context, Keys, MORE_STICKS, STICK, Typed};
use crate::device::kernel_name;
use crate::error::{During as _, StepError};
use crate::facts;

/// What a header backup takes at most, packed or not: random bytes do not pack.
const HEADER_ROOM: u64 = bedplate_luks::HEADER_BYTES + (64 << 10);

/// What everything else takes: small files, directories, logs of a failed run.
const OTHER_ROOM: u64 = 4 << 20;

/// What the step asks for.
pub struct Wanted<'a> {
    /// The sticks of `host.toml`.
    pub sticks: &'a [Stick],
    /// Path of the keyfile.
    pub keyfile: &'a str,
    /// Where the recovery passphrase is kept.
    pub recovery: &'a Recovery,
    /// Further secrets to generate.
    pub secrets: &'a [String],
    /// Secrets that are not generated.
    pub typed: &'a [String],
    /// Whether keyfile and recovery passphrase must be there already; then no stick is formatted.
    pub existing: bool,
}

/// A stick that is plugged in.
enum PluggedStick {
    /// With its file system.
    Volume(PathBuf),
    /// Blank, to be formatted as its by-id name allows.
    Blank(Identity),
}

/// A file that every stick carries.
struct Item<'a> {
    path: &'a str,
    absent: Absent<'a>,
}

/// What is done about a file that no stick has.
#[derive(Clone, Copy)]
enum Absent<'a> {
    /// It is made.
    Made(fn() -> keystick::Result<Secret>),
    /// Somebody has typed it, or was not asked.
    Typed(Option<&'a Secret>),
    /// It belongs to what is kept.
    Refused,
}

/// Makes sure that every stick that is plugged in carries what is wanted, the same on each.
/// What is there is kept. When it returns, the keys are on the sticks for good.
pub fn prepare(
    context: &Context<'_>,
    step: &str,
    wanted: &Wanted<'_>,
) -> Result<Outcome, StepError> {
    let items = items(wanted, &context.typed)?;
    let sticks = find(context, step, wanted)?;
    let mut mounted = Vec::new();
    for (stick, found) in &sticks {
        if let PluggedStick::Volume(node) = found {
            let place = place(mounted.len());
            let mount = Mounted::mount(node, &place, Access::ReadWrite)
                .during(format!("could not mount the key stick {}", stick.volume_id))?;
            check_room(context, stick, mount.path())?;
            mounted.push((*stick, mount));
        }
    }
    let mut made = false;
    let mut secrets = Vec::new();
    for item in &items {
        let (secret, new) = agree(&mounted, item)?;
        made |= new;
        secrets.push((item.path.to_owned(), secret));
    }
    for (stick, mount) in &mounted {
        made |= complete(mount.path(), &secrets)
            .during(format!("could not write to the key stick {}", stick.volume_id))?;
    }
    for (stick, found) in &sticks {
        if let PluggedStick::Blank(identity) = found {
            format(stick, identity, &secrets)?;
            let what = || format!("the key stick {} that was made is gone", stick.volume_id);
            let node = volume(stick).ok_or_else(|| StepError::new(what()))?;
            let mount = Mounted::mount(&node, &place(mounted.len()), Access::ReadWrite)
                .during(format!("could not mount the key stick {}", stick.volume_id))?;
            check_room(context, stick, mount.path())?;
            mounted.push((*stick, mount));
            made = true;
        }
    }
    let keys = keys(&secrets, wanted, context.typed.recovery.as_ref())?;
    let _ = context.keys.set(keys);
    let _ = context.sticks.set(mounted.into_iter().map(|(_, mount)| mount).collect());
    Ok(if made { Outcome::Done } else { Outcome::AlreadyDone })
}

/// Which of these files a key stick that is plugged in has. Nothing is written.
pub fn carried(sticks: &[Stick], paths: &[String]) -> Result<BTreeSet<String>, StepError> {
    let mut carried = BTreeSet::new();
    if paths.is_empty() {
        return Ok(carried);
    }
    udev::settle().during("udev did not come to rest")?;
    for stick in sticks {
        let Some(node) = volume(stick) else { continue };
        let what = || format!("could not read the key stick {}", stick.volume_id);
        let mount = Mounted::mount(&node, &place(0), Access::ReadOnly).during(what())?;
        for path in paths {
            let found = keystick::read_if_there(mount.path(), path, SECRET_LIMIT).during(what())?;
            carried.extend(found.map(|_| path.clone()));
        }
    }
    Ok(carried)
}

/// The keyfile comes last: a stick that has it has everything.
fn items<'a>(wanted: &Wanted<'a>, typed: &'a Typed) -> Result<Vec<Item<'a>>, StepError> {
    let key = |make| if wanted.existing { Absent::Refused } else { Absent::Made(make) };
    let generated = wanted.secrets.iter();
    let generated = generated.map(|path| Item { path, absent: Absent::Made(keystick::passphrase) });
    let asked = wanted.typed.iter();
    let asked = asked.map(|path| Item { path, absent: Absent::Typed(typed.secrets.get(path)) });
    let mut items: Vec<Item<'a>> = generated.chain(asked).collect();
    if let Recovery::Stick(recovery) = wanted.recovery {
        items.push(Item { path: recovery, absent: key(keystick::passphrase) });
    }
    items.push(Item { path: wanted.keyfile, absent: key(keystick::keyfile) });
    for item in &items {
        inside(item.path).during("host.toml names a file outside the key stick")?;
    }
    Ok(items)
}

/// Where the stick of this number is mounted.
fn place(number: usize) -> PathBuf {
    match number {
        0 => PathBuf::from(STICK),
        more => Path::new(MORE_STICKS).join(more.to_string()),
    }
}

/// The device with the file system of a stick that is plugged in.
fn volume(stick: &Stick) -> Option<PathBuf> {
    fs::canonicalize(Path::new("/dev/disk/by-uuid").join(&stick.volume_id)).ok()
}

fn find<'a>(
    context: &Context<'_>,
    step: &str,
    wanted: &Wanted<'a>,
) -> Result<Vec<(&'a Stick, PluggedStick)>, StepError> {
    udev::settle().during("udev did not come to rest")?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for stick in wanted.sticks {
        if let Some(node) = volume(stick) {
            found.push((stick, PluggedStick::Volume(node)));
        } else if !wanted.existing
            && let Some(id) = &stick.id
            && Path::new("/dev/disk/by-id").join(id).exists()
        {
            found.push((stick, blank(context, id, &stick.volume_id)?));
        } else {
            missing.push(stick.volume_id.as_str());
        }
    }
    if found.is_empty() {
        let names = missing.join(" or ");
        return Err(StepError::new(format!("no key stick {names} is plugged in"))
            .next("plug in the stick; `bedplate key create` makes one"));
    }
    for name in missing {
        let advice = "it has no key; `bedplate key create --from` copies one to it later";
        context
            .reporter
            .warn(Some(step), format!("the key stick {name} is not plugged in: {advice}"));
    }
    Ok(found)
}

/// A stick that can be formatted. What an earlier run began to make of it counts as blank.
fn blank(context: &Context<'_>, id: &str, volume_id: &str) -> Result<PluggedStick, StepError> {
    let name = kernel_name(id)?;
    if context.plan.disks.iter().any(|disk| disk.id == id) {
        return Err(StepError::new(format!("{id} is a disk of the plan, not a key stick")));
    }
    let facts = read_one(&facts::roots(), &name)
        .ok_or_else(|| StepError::new(format!("{id} has no medium")))?;
    let foreign = || facts.signatures.iter().filter(|one| !one.is_unfinished(volume_id));
    if foreign().next().is_some() || !facts.holders.is_empty() {
        let kinds: Vec<_> = foreign().map(|one| one.kind.as_str()).collect();
        return Err(StepError::new(format!("{id} is not blank ({})", kinds.join(", ")))
            .next("only a stick without any signature is formatted: wipe it, or use another"));
    }
    let needed = room(context.plan.disks.len());
    if facts.size < needed {
        return Err(too_small(id, facts.size, needed));
    }
    Ok(PluggedStick::Blank(Identity::seen(id, &facts)))
}

/// What a stick must hold for so many disks.
fn room(disks: usize) -> u64 {
    OTHER_ROOM + HEADER_ROOM * disks as u64
}

fn check_room(context: &Context<'_>, stick: &Stick, at: &Path) -> Result<(), StepError> {
    let what = || format!("could not look at the key stick {}", stick.volume_id);
    let state = rustix::fs::statvfs(at).during(what())?;
    // Backups of an earlier run are replaced one by one, beside the old one.
    let roles = context.plan.disks.iter().map(|disk| header_path(&disk.role));
    let earlier = roles.filter_map(|path| fs::metadata(at.join(path)).ok()).map(|file| file.len());
    let free = state.f_bavail * state.f_frsize + earlier.sum::<u64>();
    let needed = room(context.plan.disks.len());
    if free < needed { Err(too_small(&stick.volume_id, free, needed)) } else { Ok(()) }
}

fn too_small(stick: &str, free: u64, needed: u64) -> StepError {
    let (free, needed) = (free >> 20, needed.div_ceil(1 << 20));
    StepError::new(format!(
        "the key stick {stick} has room for {free} MiB; keys and header backups take {needed} MiB"
    ))
    .next("make room on the stick, or use a larger one; no disk was touched")
}

/// What all sticks say about one file: the same, or nothing. Made when no stick has it.
fn agree(mounted: &[(&Stick, Mounted)], item: &Item<'_>) -> Result<(Secret, bool), StepError> {
    let mut known: Option<(&str, Secret)> = None;
    for (stick, mount) in mounted {
        let found = keystick::read_if_there(mount.path(), item.path, SECRET_LIMIT)
            .during(format!("the key stick {} cannot be used", stick.volume_id))?;
        match (&known, found) {
            (_, None) => {}
            (None, Some(secret)) => known = Some((&stick.volume_id, secret)),
            (Some((_, first)), Some(secret)) if *first == secret => {}
            (Some((first, _)), Some(_)) => {
                let second = &stick.volume_id;
                let what = format!("the key sticks {first} and {second} differ in `{}`", item.path);
                return Err(StepError::new(what)
                    .next("take away the stick that belongs elsewhere; no disk was touched"));
            }
        }
    }
    let lacking = |next| {
        Err(StepError::new(format!("no key stick that is plugged in has `{}`", item.path))
            .next(next))
    };
    match (known, item.absent) {
        (Some((_, secret)), _) => Ok((secret, false)),
        (None, Absent::Made(make)) => Ok((make().during("no key could be made")?, true)),
        (None, Absent::Typed(Some(typed))) => Ok((typed.clone(), true)),
        (None, Absent::Typed(None)) => lacking(
            "host.toml says that somebody types it, and nobody is asked here: `bedplate key \
             create` asks for it; no disk was touched",
        ),
        (None, Absent::Refused) => {
            lacking("plug in the stick of the pools that are kept; no disk was touched")
        }
    }
}

/// Writes what the stick lacks, in order; returns whether anything was.
fn complete(stick: &Path, secrets: &[(String, Secret)]) -> keystick::Result<bool> {
    let mut written = false;
    for (path, secret) in secrets {
        if keystick::read_if_there(stick, path, SECRET_LIMIT)?.is_none() {
            keystick::write(stick, path, secret.expose())?;
            written = true;
        }
    }
    Ok(written)
}

fn format(
    stick: &Stick,
    identity: &Identity,
    secrets: &[(String, Secret)],
) -> Result<(), StepError> {
    let what = || format!("could not make the key stick {} on {}", stick.volume_id, identity.id);
    let mut claim = Claim::disk(identity).during(what())?;
    let volume = Volume { id: &stick.volume_id, label: LABEL, sector_size: identity.sector_size };
    claim.make_vfat(&volume, secrets).during(what())?;
    drop(claim);
    udev::settle().during("udev did not come to rest")
}

fn keys(
    secrets: &[(String, Secret)],
    wanted: &Wanted<'_>,
    asked: Option<&Secret>,
) -> Result<Keys, StepError> {
    let of = |wanted: &str| {
        let found = secrets.iter().find(|(path, _)| path == wanted);
        found.map(|(_, secret)| secret.clone())
    };
    let missing = || StepError::new("the key sticks carry no keys");
    let keyfile = of(wanted.keyfile).ok_or_else(missing)?;
    if keyfile.expose().len() < LEAST_KEYFILE_BYTES {
        let what = format!("`{}` on the key stick is too short to be a key", wanted.keyfile);
        return Err(StepError::new(what)
            .next("delete it, and the installer makes another; no disk was touched"));
    }
    let passphrase = match wanted.recovery {
        Recovery::Stick(recovery) => of(recovery),
        Recovery::Prompt => asked.cloned(),
    };
    let passphrase = passphrase.ok_or_else(missing)?;
    Ok(Keys { keyfile, passphrase: typed(&passphrase) })
}

/// A passphrase as it will be typed: what ends a line in a file ends the entry on a keyboard.
fn typed(passphrase: &Secret) -> Secret {
    let bytes = passphrase.expose();
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    Secret::new(bytes.get(..end).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECOVERY: &str = "bedplate/recovery";

    fn items_of(recovery: &Recovery) -> Vec<String> {
        let secrets = ["bedplate/restic".to_owned()];
        let wanted = Wanted {
            sticks: &[],
            keyfile: "bedplate/keyfile",
            recovery,
            secrets: &secrets,
            typed: &[],
            existing: false,
        };
        items(&wanted, &Typed::default()).unwrap().iter().map(|item| item.path.to_owned()).collect()
    }

    #[test]
    fn t23_the_keyfile_is_written_last_and_what_is_there_is_kept() {
        let paths = items_of(&Recovery::Stick(RECOVERY.into()));
        assert_eq!(paths, ["bedplate/restic", RECOVERY, "bedplate/keyfile"]);
        let stick = tempfile::tempdir().unwrap();
        let secrets: Vec<_> =
            paths.iter().map(|path| (path.clone(), keystick::keyfile().unwrap())).collect();
        keystick::write(stick.path(), RECOVERY, b"mine").unwrap();
        fs::write(stick.path().join("bedplate/keyfile"), "").unwrap();
        assert!(complete(stick.path(), &secrets).unwrap());
        assert!(!complete(stick.path(), &secrets).unwrap());
        let kept = keystick::read(stick.path(), RECOVERY, SECRET_LIMIT).unwrap();
        assert_eq!(kept.expose(), b"mine");
        let key = keystick::read(stick.path(), "bedplate/keyfile", SECRET_LIMIT).unwrap();
        assert_eq!(key, secrets[2].1, "an empty file is made anew");
    }

    fn wanted(recovery: &Recovery, existing: bool) -> Wanted<'_> {
        Wanted { sticks: &[], keyfile: "key", recovery, secrets: &[], typed: &[], existing }
    }

    #[test]
    fn t22_a_pool_that_is_kept_gets_no_new_key() {
        let recovery = Recovery::Stick(RECOVERY.into());
        let wanted = wanted(&recovery, true);
        for item in items(&wanted, &Typed::default()).unwrap() {
            let error = agree(&[], &item).unwrap_err();
            assert!(error.to_string().contains("no key stick that is plugged in has"), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_typed_is_never_made_up() {
        let recovery = Recovery::Stick(RECOVERY.into());
        let paths = ["bedplate/s3".to_owned()];
        let wanted = Wanted { typed: &paths, ..wanted(&recovery, false) };
        let nobody = Typed::default();
        let error = agree(&[], &items(&wanted, &nobody).unwrap()[0]).unwrap_err();
        assert!(error.to_string().contains("has `bedplate/s3`"), "{error}");
        let secret = Secret::new(b"id:secret".to_vec());
        let secrets = [(paths[0].clone(), secret.clone())].into();
        let typed = Typed { secrets, ..Typed::default() };
        let (agreed, _) = agree(&[], &items(&wanted, &typed).unwrap()[0]).unwrap();
        assert_eq!(agreed, secret);
    }

    #[test]
    fn t15_a_path_that_leaves_the_stick_is_refused() {
        let recovery = Recovery::Stick("../../etc/shadow".into());
        let wanted = wanted(&recovery, false);
        assert!(items(&wanted, &Typed::default()).is_err());
    }

    #[test]
    fn t22_the_room_for_seven_header_backups_is_known_beforehand() {
        assert!(room(7) >= OTHER_ROOM + 7 * bedplate_luks::HEADER_BYTES);
        let error = too_small("1A2B-3C4D", 3 << 20, room(7));
        assert!(error.to_string().contains("1A2B-3C4D has room for 3 MiB"), "{error}");
    }

    #[test]
    fn a_passphrase_written_by_an_editor_can_be_typed() {
        let of = |text: &str| typed(&Secret::new(text.into())).expose().to_vec();
        assert_eq!(of("cbde fghi\r\n"), b"cbde fghi");
        assert_eq!(of("cbde fghi"), b"cbde fghi");
    }

    #[test]
    fn t22_a_keyfile_that_was_cut_short_is_no_key() {
        let recovery = Recovery::Stick(RECOVERY.into());
        let wanted = wanted(&recovery, false);
        let secret = |bytes: usize| Secret::new(vec![7; bytes]);
        let of = |bytes| vec![(RECOVERY.to_owned(), secret(9)), ("key".to_owned(), secret(bytes))];
        assert!(keys(&of(64), &wanted, None).is_ok());
        assert!(keys(&of(31), &wanted, None).is_err());
    }

    #[test]
    fn t22_a_passphrase_that_was_asked_for_is_on_no_stick() {
        let wanted = wanted(&Recovery::Prompt, false);
        let paths: Vec<_> = items(&wanted, &Typed::default())
            .unwrap()
            .iter()
            .map(|item| item.path.to_owned())
            .collect();
        assert_eq!(paths, ["key"]);
        let on_stick = vec![("key".to_owned(), Secret::new(vec![7; 64]))];
        let asked = Secret::new(b"correct horse battery".to_vec());
        assert_eq!(keys(&on_stick, &wanted, Some(&asked)).unwrap().passphrase, asked);
        assert!(keys(&on_stick, &wanted, None).is_err());
    }
}
