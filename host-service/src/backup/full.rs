//! Pools without room, and what earlier restores left on them: the room that it takes is asked for by none.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use bedplate_tools::secret::Secret;

use super::access::Opener;
use super::record::{self, Record};
use super::retrieve::{Retrieval, retrieve_by};
use super::room::Room;
use super::session::Session;
use super::{BackupError, drill};
use crate::restore;
use bedplate_engine::{Reporter, StepReporter};
use bedplate_resources::context::Context;
use bedplate_sample as sample;
use bedplate_tools::mounts::Mounts;

/// A pool with a backup of `apps`, whose only snapshot holds more than any disk.
struct House {
    pool: tempfile::TempDir,
    context: Context,
}

impl House {
    fn new() -> Self {
        let pool = tempfile::tempdir().unwrap();
        let mount = pool.path().display().to_string();
        let mut intent = sample::intent();
        intent.pools.get_mut("bulk").unwrap().mount = mount.clone();
        let apps = intent.backups.get_mut("apps").unwrap();
        (apps.paths, apps.repository) = (vec![format!("{mount}/apps")], "rest:http://nas/".into());
        apps.repository_pool = None;
        let place = pool.path().join(".bedplate-tests");
        let context = Context {
            intent,
            mounts: Mounts::parse(&format!("1 1 0:1 / {mount} rw - btrfs a rw\n")),
            configuration: place.join("etc"),
            runtime: place.join("run"),
            state: place.join("state"),
        };
        let snapshot = r#"[{"id":"4bba301e","time":"2026-01-01T00:00:00Z","hostname":"hypervisor","tags":["bedplate-apps"]}]"#;
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*' snapshots '*) echo '{snapshot}';;\n\
             *' ls '*) echo '{{\"path\":\"{mount}/apps\",\"size\":1000000000000000000}}';;\nesac\n"
        );
        fs::create_dir(&place).unwrap();
        fs::write(place.join("restic"), script).unwrap();
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(place.join("restic"), mode).unwrap();
        Self { pool, context }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.pool.path().join(path)
    }

    fn session<'a>(&self, context: &'a Context) -> Session<'a> {
        let program = self.at(".bedplate-tests/restic");
        let opener = |context: &Context, backup: &_| {
            Opener::new(program, backup, Secret::new(b"x".to_vec()), None, &context.runtime)
        };
        Session::opened_by(context, "apps", opener).unwrap()
    }

    fn leave(&self, path: &str) -> PathBuf {
        let left = self.at(path);
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("half"), "half").unwrap();
        left
    }
}

#[test]
fn t40_what_a_restore_left_takes_no_room_from_the_next() {
    let house = House::new();
    let (to, left) = (house.at("back"), house.leave(".bedplate-partial-apps-back"));
    let request =
        Retrieval { name: "apps", snapshot: None, paths: &[], to: &to, room: Room::Asked };
    let back = retrieve_by(&house.context, &request, |context, _| Ok(house.session(context)));
    assert!(matches!(back, Err(BackupError::Full { .. })), "{back:?}");
    assert!(!left.exists(), "it was in the way of the room that is asked for");

    // Of a snapshot that is gone from the repository.
    let left = house.leave(".bedplate-restore/apps");
    let nobody = Reporter::new(Vec::new());
    let of_step = StepReporter::new(&nobody, "restore");
    let session = house.session(&house.context);
    let back = restore::fetch(&session, &[house.at("apps")], Room::Asked, &of_step);
    let is_full = matches!(&back, Err(restore::RestoreError::Backup(BackupError::Full { .. })));
    assert!(is_full && !left.exists(), "{back:?}");
}

#[test]
fn t40_what_a_drill_left_goes_before_room_is_asked_for() {
    let house = House::new();
    let repository = house.context.intent.backups["apps"].repository.clone();
    let record = Record { repository, local: Some("4bba301e".into()), ..Record::default() };
    record::write(&house.context.state, "apps", &record).unwrap();
    house.leave(&format!("{}apps", drill::SCRATCH));
    let session = house.session(&house.context);
    let drilled = drill::drill(&session, &session.restic(), Room::Asked);
    // Here it is no subvolume, and cannot be deleted: that is what fails first.
    assert!(matches!(drilled, Err(BackupError::Command(_))), "{drilled:?}");
}
