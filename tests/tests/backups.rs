//! Repositories of backups with the restic of the platform's tree: no machine is wanted. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bedplate_document as document;
use bedplate_host_service::backup::access::Opener;
use bedplate_host_service::backup::compare::{Compared, compare};
use bedplate_host_service::backup::decision::{Decision, Known, decide};
use bedplate_host_service::backup::lock;
use bedplate_model::host::Backup;
use bedplate_qemu_harness::pace;
use bedplate_tests::medium::Workspace;
use bedplate_tests::vault::Vault;
use bedplate_tools::command::CommandError;
use bedplate_tools::restic::{Keep, Restic, Stored};
use bedplate_tools::secret::Secret;
use bedplate_tools::ssh_keygen;
use tempfile::TempDir;

const HOST: &str = "hypervisor";
const TAG: &str = "bedplate-apps";
const PASSWORD: &str = "a password for tests";
const LIMIT: Duration = Duration::from_secs(30);
/// Names another directory with the programs than that of the tree in the cache.
const PROGRAMS: &str = "BEDPLATE_PROGRAMS";

fn program(name: &str) -> PathBuf {
    let of_tree = || {
        let cache = std::env::var_os(bedplate_tests::evaluation::CACHE);
        let cache = cache.map_or_else(|| Workspace::own().cache(), PathBuf::from);
        Workspace::tree_in(&cache).unwrap().join("usr/bin")
    };
    let directory = std::env::var_os(PROGRAMS).map_or_else(of_tree, PathBuf::from);
    let program = directory.join(name);
    assert!(program.is_file(), "{} is not there: make a medium first", program.display());
    program
}

/// Data at a place, and a repository that is not there yet.
struct Case {
    directory: TempDir,
    backup: Backup,
    credentials: Option<Secret>,
}

impl Case {
    fn local() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let apps = directory.path().join("place/mnt/bulk/apps");
        fs::create_dir_all(apps.join("inner")).unwrap();
        fs::write(apps.join("one"), "one").unwrap();
        fs::write(apps.join("inner/two"), vec![2; 300_000]).unwrap();
        std::os::unix::fs::symlink("inner/two", apps.join("link")).unwrap();
        let profile = include_str!("../../profiles/hypervisor/host.toml");
        let mut host = document::parse(profile, "host.toml").unwrap();
        let mut backup = host.backups.pop_first().unwrap().1;
        backup.repository = directory.path().join("repository").display().to_string();
        Self { directory, backup, credentials: None }
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("place")
    }

    fn opener(&self, password: &str) -> Opener {
        let runtime = self.directory.path().join("run");
        let password = Secret::new(password.as_bytes().to_vec());
        let credentials = self.credentials.as_ref();
        let opener =
            Opener::new(program("restic"), &self.backup, password, credentials, &runtime).unwrap();
        opener.with_cache(self.directory.path().join("cache"))
    }

    fn back_up(&self, restic: &Restic<'_>) -> bedplate_tools::restic::Summary {
        let paths = ["mnt/bulk/apps".into()];
        match restic.backup(HOST, TAG, &self.place(), &paths).unwrap() {
            Stored::Complete(summary) => summary,
            other => panic!("{other:?}"),
        }
    }
}

fn code(result: Result<(), CommandError>) -> Option<Option<i32>> {
    result.err().map(|error| error.exit_code())
}

#[test]
fn t41_a_repository_is_made_on_proven_absence_and_never_for_a_wrong_password() {
    let case = Case::local();
    let (opener, other) = (case.opener(PASSWORD), case.opener("another"));
    let restic = opener.restic();
    let never = Known { here: false, on_stick: Some(false) };
    let absent = code(restic.probe());
    assert_eq!(decide(absent, never), Decision::Make, "{absent:?}");
    assert!(matches!(decide(absent, Known { here: true, ..never }), Decision::Refuse(_)));
    restic.init().unwrap();
    assert_eq!(decide(code(restic.probe()), never), Decision::Use);
    let wrong = code(other.restic().probe());
    assert!(matches!(decide(wrong, never), Decision::Refuse(why) if why.contains("password")));
    // Half a repository is no absence.
    fs::remove_dir_all(Path::new(&case.backup.repository).join("keys")).unwrap();
    assert!(matches!(decide(code(restic.probe()), never), Decision::Refuse(_)));
}

#[test]
fn what_has_not_changed_is_not_read_again_and_all_of_it_comes_back_at_its_own_path() {
    let case = Case::local();
    let opener = case.opener(PASSWORD);
    let restic = opener.restic();
    restic.init().unwrap();
    assert_eq!(case.back_up(&restic).files_unmodified, 0);
    fs::write(case.place().join("mnt/bulk/apps/three"), "3").unwrap();
    let second = case.back_up(&restic);
    // A link is no file.
    assert_eq!((second.files_unmodified, second.total_files_processed), (2, 3), "{second:?}");

    let found = restic.snapshots(HOST, TAG).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[1].id, second.snapshot_id, "the newest is last");
    assert!(found.iter().all(|one| one.is_complete()), "t48: {found:?}");
    assert!(restic.snapshots("nas", TAG).unwrap().is_empty(), "another host's are not ours");
    let target = case.directory.path().join("back");
    restic.restore(&second.snapshot_id, &target, &["/mnt/bulk/apps".into()]).unwrap();
    // One that was cut off goes on over what is there.
    fs::write(target.join("mnt/bulk/apps/one"), "on").unwrap();
    restic.restore(&second.snapshot_id, &target, &[]).unwrap();
    let mut compared = Compared::default();
    compare(&case.place().join("mnt"), &target.join("mnt"), &mut compared).unwrap();
    assert_eq!((compared.files, compared.differences), (3, 0), "{compared:?}");

    restic.forget(HOST, TAG, Keep { daily: 1, weekly: 0, monthly: 0 }).unwrap();
    assert_eq!(restic.snapshots(HOST, TAG).unwrap().len(), 1);
    restic.prune().unwrap();
    restic.check().unwrap();
}

#[test]
fn a_byte_that_rots_in_the_repository_is_found_by_the_check_of_all_data() {
    let case = Case::local();
    let opener = case.opener(PASSWORD);
    let restic = opener.restic();
    restic.init().unwrap();
    case.back_up(&restic);
    restic.check_data().unwrap();
    let packs = walk(&Path::new(&case.backup.repository).join("data"));
    let pack = packs.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    bytes[100] ^= 1;
    let mut permissions = pack.metadata().unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false, reason = "in a directory of the test's own")]
    permissions.set_readonly(false);
    fs::set_permissions(pack, permissions).unwrap();
    fs::write(pack, bytes).unwrap();
    assert!(restic.check_data().is_err());
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A backup that holds its lock until it is killed, on this host or as on another.
fn at_work(case: &Case, on: Option<&str>) -> Child {
    let password = case.directory.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let restic = program("restic");
    let cache = case.directory.path().join("cache");
    let mut command = match on {
        None => Command::new(&restic),
        Some(name) => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--uts", "sh", "-c"]);
            command.args([&format!("hostname {name} && exec \"$@\""), "sh"]).arg(&restic);
            command
        }
    };
    command.args(["--repo", &case.backup.repository, "--password-file"]).arg(&password);
    command.arg("--cache-dir").arg(&cache).args(["backup", "--stdin", "--quiet"]);
    command.stdin(Stdio::piped()).spawn().unwrap()
}

fn wait_for_locks(restic: &Restic<'_>, count: usize) -> Vec<bedplate_tools::restic::Lock> {
    let there = || Some(restic.locks().unwrap()).filter(|locks| locks.len() == count);
    let found = pace::ask(LIMIT, Duration::from_millis(200), there);
    found.unwrap_or_else(|spent| panic!("{spent}, the locks are {:?}", restic.locks().unwrap()))
}

#[test]
fn a_lock_that_was_left_behind_goes_and_that_of_another_host_stays() {
    let case = Case::local();
    let opener = case.opener(PASSWORD);
    let restic = opener.restic();
    restic.init().unwrap();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();

    let mut own = at_work(&case, None);
    let locks = wait_for_locks(&restic, 1);
    assert!(matches!(lock::decide(&locks, &name, &lock::lives), lock::Decision::Wait(_)));
    own.kill().unwrap();
    own.wait().unwrap();
    let locks = wait_for_locks(&restic, 1);
    assert_eq!(lock::decide(&locks, &name, &lock::lives), lock::Decision::Unlock);
    restic.unlock_stale().unwrap();
    assert!(restic.locks().unwrap().is_empty());

    let mut other = at_work(&case, Some("nas"));
    let locks = wait_for_locks(&restic, 1);
    other.kill().unwrap();
    other.wait().unwrap();
    let decided = lock::decide(&locks, &name, &lock::lives);
    assert!(matches!(&decided, lock::Decision::Wait(why) if why.contains("nas")), "{decided:?}");
}

/// T19: the id of S3 credentials arrives, out of a file.
#[test]
fn credentials_of_s3_reach_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut case = Case::local();
    case.backup.repository = format!("s3:http://{}/bucket", listener.local_addr().unwrap());
    case.credentials = Some(Secret::new(b"AKIATESTS:not-to-be-seen".to_vec()));
    let (heard, told) = std::sync::mpsc::channel();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut head).unwrap() > 2 {}
            let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
            let _ = heard.send(head);
        }
    });
    let error = case.opener(PASSWORD).restic().probe().unwrap_err();
    let head: String = told.try_iter().collect();
    assert!(head.contains("Credential=AKIATESTS/"), "{head}");
    assert!(!format!("{head}{error}{error:?}").contains("not-to-be-seen"), "{error}");
    // What a server refuses is no proof that there is no repository.
    assert_ne!(error.exit_code(), Some(10));
}

/// The name and password of a rest-server reach it, and stand in no argument.
#[test]
fn credentials_of_a_rest_server_open_its_repository() {
    let mut case = Case::local();
    let users = case.directory.path().join("htpasswd");
    // SHA-1 of `p@ss:w/rd`, as the server takes it.
    fs::write(&users, "hv:{SHA}uapAsobrY/8kaQR+2ssHLsRJ1Ps=\n").unwrap();
    let vault = Vault::start(&case.directory.path().join("data"), Some(&users)).unwrap();
    case.backup.repository = format!("rest:http://127.0.0.1:{}/hv/", vault.port);
    case.credentials = Some(Secret::new(b"hv:p@ss:w/rd".to_vec()));
    let opener = case.opener(PASSWORD);
    let restic = opener.restic();
    assert_eq!(code(restic.probe()), Some(Some(10)));
    restic.init().unwrap();
    case.back_up(&restic);
    assert_eq!(restic.snapshots(HOST, TAG).unwrap().len(), 1);
    case.credentials = Some(Secret::new(b"hv:wrong".to_vec()));
    let refused = case.opener(PASSWORD).restic().probe().unwrap_err();
    assert_ne!(refused.exit_code(), Some(10), "who is not let in knows nothing");
    assert!(!refused.to_string().contains("hv:wrong"), "{refused}");
}

/// An ssh server of this test, which knows one key.
struct Server {
    sshd: Child,
    keys: TempDir,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let keys = tempfile::tempdir().unwrap();
        let at = |name: &str| keys.path().join(name);
        for key in ["server", "backups", "stranger"] {
            ssh_keygen::make(&at(key), key).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPidFile none\n\
             PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
            at("server").display(),
            at("backups.pub").display()
        );
        fs::write(at("sshd.conf"), configuration).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(at("sshd.conf")).stderr(Stdio::null());
        let sshd = command.spawn().expect("NOT TESTED: install openssh-server");
        let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
        let listens = pace::ask(LIMIT, Duration::from_millis(50), connect);
        listens.unwrap_or_else(|spent| panic!("{spent}, sshd does not listen"));
        Self { sshd, keys, port }
    }

    fn key(&self, name: &str) -> String {
        fs::read_to_string(self.keys.path().join(name)).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with the test, however that ends.
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

#[test]
#[ignore = "wants root and a real sshd"]
fn a_repository_over_sftp_is_opened_by_its_own_key_on_the_pinned_host_alone() {
    let server = Server::start();
    let mut case = Case::local();
    let place = case.directory.path().join("over ssh");
    case.backup.repository = format!("sftp://root@127.0.0.1:{}/{}", server.port, place.display());
    let with = |case: &mut Case, key: &str, host: &str| {
        case.credentials = Some(Secret::new(server.key(key).into_bytes()));
        case.backup.host_key = Some(server.key(host).trim().to_owned());
        case.opener(PASSWORD)
    };
    let opener = with(&mut case, "backups", "server.pub");
    let restic = opener.restic();
    assert_eq!(code(restic.probe()), Some(Some(10)));
    restic.init().unwrap();
    case.back_up(&restic);
    assert_eq!(restic.snapshots(HOST, TAG).unwrap().len(), 1);
    restic.check().unwrap();
    for (key, host) in [("backups", "stranger.pub"), ("stranger", "server.pub")] {
        let refused = with(&mut case, key, host).restic().probe().unwrap_err();
        // Who is not let in, or speaks to somebody else, knows nothing of a repository.
        assert_ne!(refused.exit_code(), Some(10), "{key} {host}: {refused}");
        assert!(!format!("{refused}{refused:?}").contains("BEGIN"), "t19: {refused}");
    }
}

#[test]
fn a_child_is_told_nothing_by_arguments_or_environment() {
    let case = Case::local();
    let opener = case.opener(PASSWORD);
    opener.restic().init().unwrap();
    let mut seen = String::new();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| case.back_up(&opener.restic()));
        while !work.is_finished() {
            for process in fs::read_dir("/proc").unwrap().flatten() {
                for file in ["cmdline", "environ"] {
                    let path = process.path().join(file);
                    let Ok(mut file) = fs::File::open(&path) else { continue };
                    let mut bytes = Vec::new();
                    if file.read_to_end(&mut bytes).is_ok() {
                        seen += &String::from_utf8_lossy(&bytes);
                    }
                }
            }
        }
    });
    assert!(seen.contains("--password-file"), "no restic was seen at work");
    assert!(!seen.contains(PASSWORD), "t19: the password was seen");
}
