//! Backups with a real restic, on real file systems: what comes back is what was read.
//!
//! They want root, btrfs and loop devices, and a restic of at least 0.18: `cargo xtask test` runs them after
//! the story `backups`, with the restic of the platform's tree. By hand it is
//! `cargo test -p bedplate-host-service --lib backup::tests -- --ignored` with its directory in PATH.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bedplate_tools::btrfs;
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::secret::Secret;

use super::access::Opener;
use super::choice::NoChoice;
use super::leftover::Leftovers;
use super::retrieve::{Retrieval, Retrieved, retrieve_by};
use super::room::Room;
use super::run::{self, Run};
use super::session::Session;
use super::source::DIRECTORY;
use super::{BackupError, drill};
use crate::restore;
use bedplate_engine::{Reporter, StepReporter};
use bedplate_resources::context::Context;
use bedplate_resources::kind::Kind as _;
use bedplate_sample as sample;
use bedplate_tools::mounts::Mounts;

const MB: u64 = 1 << 20;
/// What is torn on the disk.
const MARK: &[u8] = b"what nobody will be able to read ";

/// Two pools, each on a file, and a backup with a path on each.
struct House {
    place: tempfile::TempDir,
    context: Context,
}

impl House {
    fn new(repository: Option<String>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let mut mounts = String::new();
        for name in ["bulk", "vmstore"] {
            let image = at(&format!("{name}.img"));
            File::create(&image).unwrap().set_len(600 * MB).unwrap();
            Command::new("mkfs.btrfs").args(["-q", "-d", "single"]).arg(&image).run().unwrap();
            fs::create_dir(at(name)).unwrap();
            mount(&image, &at(name));
            let mount = at(name).display().to_string();
            mounts += &format!("1 1 0:1 / {mount} rw - btrfs a rw\n");
        }
        let text = |path: PathBuf| path.display().to_string();
        let mut intent = sample::intent();
        // None is asked of libvirt.
        intent.vms.clear();
        for name in ["bulk", "vmstore"] {
            intent.pools.get_mut(name).unwrap().mount = text(at(name));
        }
        let apps = intent.backups.get_mut("apps").unwrap();
        apps.paths = vec![text(at("bulk/apps")), text(at("vmstore/haos"))];
        let own = text(at("bulk/repository"));
        apps.repository_pool = repository.is_none().then(|| "bulk".parse().unwrap());
        apps.repository = repository.unwrap_or(own);
        apps.keep.daily = 1;
        (apps.keep.weekly, apps.keep.monthly) = (0, 0);
        let context = Context {
            intent,
            mounts: Mounts::parse(&mounts),
            configuration: at("etc"),
            runtime: at("run"),
            state: at("state"),
        };
        let house = Self { place, context };
        fs::create_dir_all(house.at("bulk/apps/a[1]*")).unwrap();
        fs::create_dir_all(house.at("bulk/apps/a1")).unwrap();
        fs::write(house.at("bulk/apps/a[1]*/three"), "3\n\n").unwrap();
        fs::write(house.at("bulk/apps/a1/other"), "other").unwrap();
        fs::create_dir(house.at("vmstore/haos")).unwrap();
        // More than the pool has, and nothing in it.
        let disk = File::create(house.at("vmstore/haos/disk.raw")).unwrap();
        disk.set_len(2000 * MB).unwrap();
        house.session().restic().init().unwrap();
        house
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn session(&self) -> Session<'_> {
        self.open(&self.context)
    }

    fn open<'a>(&self, context: &'a Context) -> Session<'a> {
        let cache = self.at("cache");
        let password = Secret::new(b"a password for tests".to_vec());
        let opener = |context: &Context, backup: &_| {
            let opener = Opener::new("restic".into(), backup, password, None, &context.runtime)?;
            Ok(opener.with_cache(cache))
        };
        Session::opened_by(context, "apps", opener).unwrap()
    }

    fn run(&self) -> Result<Run, BackupError> {
        let result = run::perform(&self.session());
        run::record_of(&self.context, "apps", result)
    }

    fn back(
        &self,
        to: &str,
        snapshot: Option<&str>,
        paths: &[PathBuf],
        room: Room,
    ) -> Result<Retrieved, BackupError> {
        let to = self.at(to);
        let request = Retrieval { name: "apps", snapshot, paths, to: &to, room };
        retrieve_by(&self.context, &request, |context, _| Ok(self.open(context)))
    }

    /// As an installation leaves it: empty pools, and `[restore]`.
    fn fetch(&self, room: Room) -> Result<Vec<String>, restore::RestoreError> {
        let mut told = Vec::new();
        let mut sink = |event: &bedplate_events::Event| told.push(format!("{:?}", event.kind));
        let paths: Vec<_> =
            self.context.intent.backups["apps"].paths.iter().map(PathBuf::from).collect();
        restore::fetch(
            &self.session(),
            &paths,
            room,
            &StepReporter::new(&Reporter::to(&mut sink), "restore"),
        )?;
        Ok(told)
    }

    /// Writes over a file's only copy on the disk, beneath the file system, until it cannot be read.
    ///
    /// The pool stays mounted. Another process may hold a copy of its mount (a sandbox of Nix, beside
    /// these tests), and then `umount` ends before anything has been written to the disk.
    fn tear(&self, path: &str) {
        let pool = path.split('/').next().unwrap();
        let kept = File::open(self.at(path)).unwrap();
        rustix::fs::syncfs(&kept).unwrap();
        let mut image =
            File::options().read(true).write(true).open(self.at(&format!("{pool}.img"))).unwrap();
        let mut bytes = Vec::new();
        image.read_to_end(&mut bytes).unwrap();
        let places = bytes.windows(MARK.len()).enumerate().filter(|(_, one)| *one == MARK);
        let places: Vec<_> = places.map(|(at, _)| at as u64).collect();
        assert!(!places.is_empty(), "it is not on the disk");
        for place in places {
            image.seek(SeekFrom::Start(place)).unwrap();
            image.write_all(b"torn").unwrap();
        }
        image.sync_all().unwrap();
        // All that the kernel remembers: a snapshot holds the file, too, and has pages of its own.
        fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
        let read = fs::read(self.at(path));
        assert!(read.is_err(), "{path} can still be read");
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for name in ["bulk", "vmstore"] {
            let _ = Command::new("umount").arg("-l").arg(self.at(name)).status();
        }
    }
}

fn mount(image: &Path, at: &Path) {
    Command::new("mount").args(["-o", "loop"]).arg(image).arg(at).run().unwrap();
}

fn torn() -> Vec<u8> {
    MARK.repeat(20_000)
}

#[test]
#[ignore = "wants root, btrfs and restic"]
fn t48_what_a_run_could_not_read_is_told_and_the_run_before_is_what_comes_back() {
    let house = House::new(None);
    let bad = house.at("bulk/apps/bad");
    fs::write(&bad, torn()).unwrap();
    let whole = house.run().unwrap().summary.snapshot_id;
    house.tear("bulk/apps/bad");
    // A file whose time says that it has not changed is not read again.
    File::options()
        .write(true)
        .open(&bad)
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    fs::write(house.at("bulk/apps/a1/newer"), "newer").unwrap();
    let failed = house.run().unwrap_err();
    let BackupError::Incomplete { snapshot, unread } = &failed else { panic!("{failed:?}") };
    assert!(unread.to_string().contains("bulk/apps/bad"), "{unread}");
    let found = house.session().restic().snapshots("hypervisor", "bedplate-apps").unwrap();
    let marks: Vec<_> = found.iter().map(|one| (one.id.clone(), one.is_complete())).collect();
    assert_eq!(marks, [(whole.clone(), true), (snapshot.clone(), false)]);

    // The one before is what comes back, and what a drill compares with.
    let session = house.session();
    let error = drill::drill(&session, &session.restic(), Room::Given);
    // It compares with what is on the disk, which cannot be read.
    assert!(matches!(error, Err(BackupError::Compare(_))), "{error:?}");
    drop(session);
    let retrieved = house.back("bulk/back", None, std::slice::from_ref(&bad), Room::Asked).unwrap();
    assert_eq!(retrieved.snapshot, whole);
    assert!(retrieved.note.unwrap().contains("newest complete one"));
    let back = house.at("bulk/back").join(bad.strip_prefix("/").unwrap());
    assert_eq!(fs::read(back).unwrap(), torn());
    // Whoever names the other one gets it, and is told.
    let named = house.back("bulk/named", Some(&snapshot[..8]), &[], Room::Given).unwrap();
    assert!(named.note.unwrap().contains("lacks something"));

    let told = house.fetch(Room::Given).unwrap();
    assert!(told.iter().any(|one| one.contains("newest complete one")), "{told:?}");
    let record = fs::read_to_string(house.at("bulk/.bedplate-restore/apps.json")).unwrap();
    assert!(record.contains(&whole) && record.contains("moving"), "{record}");

    fs::remove_file(&bad).unwrap();
    let repaired = house.run().unwrap();
    assert_eq!(house.back("bulk/last", None, &[], Room::Given).unwrap().note, None);
    let session = house.session();
    let drilled = drill::drill(&session, &session.restic(), Room::Given).unwrap();
    assert_eq!(drilled.snapshot, repaired.summary.snapshot_id);
}

#[test]
#[ignore = "wants root, btrfs and restic"]
fn t48_a_first_run_that_could_not_read_everything_brings_nothing_back_by_itself() {
    let house = House::new(None);
    fs::write(house.at("bulk/apps/bad"), torn()).unwrap();
    house.tear("bulk/apps/bad");
    assert!(matches!(house.run(), Err(BackupError::Incomplete { .. })));
    let refused = house.fetch(Room::Given).unwrap_err();
    let is_refused = matches!(
        &refused,
        restore::RestoreError::Backup(BackupError::Choice(NoChoice::Incomplete { .. }))
    );
    assert!(is_refused, "{refused:?}");
    assert!(!house.at("bulk/.bedplate-restore").exists(), "nothing is in the way of the next");
}

#[test]
#[ignore = "wants root, btrfs and restic"]
fn t40_room_is_asked_for_what_comes_and_a_path_is_a_name() {
    let house = House::new(None);
    house.run().unwrap();
    let three = house.at("bulk/apps/a[1]*/three");
    house.back("bulk/small", None, std::slice::from_ref(&three), Room::Asked).unwrap();
    let back = |to: &str, path: &str| house.at(to).join(house.at(path).strip_prefix("/").unwrap());
    assert_eq!(fs::read(back("bulk/small", "bulk/apps/a[1]*/three")).unwrap(), b"3\n\n");
    assert!(!back("bulk/small", "bulk/apps/a1").exists(), "what the pattern would fit");

    // A disk of 2 GB, most of it holes, on a pool of 600 MB.
    let refused = house.back("vmstore/back", None, &[house.at("vmstore/haos")], Room::Asked);
    assert!(matches!(refused, Err(BackupError::Full { .. })), "{refused:?}");
    house.back("vmstore/back", None, &[house.at("vmstore/haos")], Room::Given).unwrap();
    let disk = fs::metadata(back("vmstore/back", "vmstore/haos/disk.raw")).unwrap();
    assert_eq!(disk.len(), 2000 * MB);
    assert!(disk.blocks() * 512 < 10 * MB, "{}", disk.blocks());

    let none = house.back("bulk/none", None, &[house.at("bulk/apps/a*")], Room::Asked);
    assert!(matches!(none, Err(BackupError::NotInSnapshot { .. })), "{none:?}");
    assert!(!house.at("bulk/none").exists());
    // Each pool is asked for its own part: bulk has room, vmstore has not.
    let refused = house.fetch(Room::Asked).unwrap_err();
    let vmstore = house.at("vmstore");
    let is_full = matches!(
        &refused,
        restore::RestoreError::Backup(BackupError::Full { place, .. }) if *place == vmstore
    );
    assert!(is_full, "{refused:?}");
    house.fetch(Room::Given).unwrap();
}

#[test]
#[ignore = "wants root, btrfs and restic"]
fn what_is_left_of_a_backup_that_was_renamed_goes() {
    let mut house = House::new(None);
    house.run().unwrap();
    let old = house.at("bulk").join(DIRECTORY).join("apps");
    assert!(old.exists());
    btrfs::create_subvolume(&house.at("bulk/.bedplate-drill-apps")).unwrap();
    let apps = house.context.intent.backups.remove("apps").unwrap();
    house.context.intent.backups.insert("programs".into(), apps);
    let observed = Leftovers.observe(&house.context).unwrap();
    let found = Leftovers::diff(&house.context.intent, &observed);
    assert_eq!(found.len(), 1);
    let sink = |_: &bedplate_events::Event| {};
    Leftovers
        .perform(
            &house.context,
            &found[0].actions[0],
            &StepReporter::new(&Reporter::to(sink), "leftover"),
        )
        .unwrap();
    assert!(!old.exists() && !house.at("bulk/.bedplate-drill-apps").exists());
    assert!(!house.at("vmstore").join(DIRECTORY).join("apps").exists());
    assert!(Leftovers.observe(&house.context).unwrap().is_empty());
}

/// A server that lets nothing be removed.
struct Vault(Child);

impl Vault {
    fn start(data: &Path, port: u16) -> Self {
        let mut command = Command::new("restic-rest-server");
        command.args(["--no-auth", "--append-only", "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--path").arg(data).stdout(Stdio::null()).stderr(Stdio::null());
        let vault = Self(command.spawn().unwrap());
        let connect = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        for _ in 0..100 {
            if connect() {
                return vault;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("it does not listen");
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "wants root, btrfs, restic and its rest-server"]
fn t48_an_append_only_repository_keeps_its_marks_apart_and_tells_what_it_keeps() {
    let data = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _vault = Vault::start(data.path(), free);
    let house = House::new(Some(format!("rest:http://127.0.0.1:{free}/hv/")));
    assert_eq!(house.run().unwrap().kept, None);
    let second = house.run().unwrap();
    let kept = second.kept.unwrap();
    assert!(kept.contains("append-only"), "{kept}");
    // It was made all the same, and is the newest.
    let found = house.session().restic().snapshots("hypervisor", "bedplate-apps").unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|one| one.is_complete()));
    assert_eq!(found[1].id, second.summary.snapshot_id);
    assert_eq!(house.back("bulk/back", None, &[], Room::Given).unwrap().note, None);
}
