use std::os::unix::ffi::OsStrExt as _;

use super::*;

#[test]
fn t41_the_password_is_in_no_argument_and_no_variable() {
    let password = Secret::new(b"canary".to_vec());
    let accesses = [
        Access::Open,
        Access::AddressFile("/run/a".into()),
        Access::CloudFile("/run/c".into()),
        Access::Ssh { identity: "/run/i".into(), known_hosts: "/run/k".into() },
    ];
    let mut lines = String::new();
    for access in &accesses {
        let program = Path::new("restic");
        let cache = "/c".into();
        let restic = Restic { program, repository: "/r", password: &password, access, cache };
        lines += &format!("{:?}\n", restic.command(&["init"]));
    }
    assert!(!lines.contains("canary"), "{lines}");
    for part in
        ["--repository-file\" \"/run/a", "AWS_SHARED_CREDENTIALS_FILE=\"/run/c", "-i /run/i"]
    {
        assert!(lines.contains(part), "{part}: {lines}");
    }
}

#[test]
fn t51_a_server_that_is_gone_is_not_waited_for() {
    let options = ssh_options(Path::new("/run/i"), Path::new("/run/k"));
    for wanted in ["ConnectTimeout=60", "ServerAliveInterval=60", "ServerAliveCountMax=10"] {
        assert!(options.contains(wanted), "{options}");
    }
    let ssh = Command::new("ssh").args(["-G", "nas"]).args(options.split_whitespace()).output();
    let ssh = ssh.expect("NOT TESTED: install openssh-client").stdout;
    let ssh = String::from_utf8_lossy(&ssh).into_owned();
    assert!(ssh.contains("\nserveraliveinterval 60\n"), "{ssh}");
}

/// A program that is called instead of restic.
fn stand_in(place: &Path, script: &str) -> PathBuf {
    let program = place.join("restic");
    std::fs::write(&program, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    program
}

fn of<'a>(program: &'a Path, password: &'a Secret) -> Restic<'a> {
    let (access, cache) = (&Access::Open, "/c".into());
    Restic { program, repository: "/r", password, access, cache }
}

/// A repository of text files: `backup` ends with `code`, and `tag` and `forget` change the list of
/// snapshots unless nothing can be removed.
fn repository(place: &Path, code: u8, is_append_only: bool) -> PathBuf {
    let marked =
        r#"{"id":"ab1","time":"2026-01-01T00:00:00Z","hostname":"hv","tags":["t","incomplete"]}"#;
    let anew = r#"{"id":"cd2","time":"2026-01-01T00:00:00Z","hostname":"hv","tags":["t"],"original":"ab1"}"#;
    let left = if is_append_only { format!("{marked},{anew}") } else { anew.to_owned() };
    let error = r#"{"message_type":"error","error":{"message":"no"},"item":"/mnt/a"}"#;
    let script = format!(
        "#!/bin/sh\ncd {0}\necho \"$*\" >>said\ncase \"$*\" in\n\
         *' backup '*) echo '[{marked}]' >list; echo '{{\"snapshot_id\":\"ab1\"}}'; \
         echo '{error}' >&2; exit {code};;\n\
         *' tag '*) echo '[{left}]' >list;;\n\
         *' forget '*) echo '[{{\"remove\":[{{\"id\":\"ab1\"}}]}}]';;\n\
         *' snapshots '*) cat list;;\nesac\n",
        place.display()
    );
    stand_in(place, &script)
}

#[test]
fn t48_a_snapshot_is_marked_until_everything_was_read_and_stays_so_when_not() {
    let password = Secret::new(b"x".to_vec());
    let back_up = |code, is_append_only| {
        let place = tempfile::tempdir().unwrap();
        let program = repository(place.path(), code, is_append_only);
        let restic = of(&program, &password);
        let stored = restic.backup("hv", "t", place.path(), &["mnt/a".into()]);
        let found = restic.snapshots("hv", "t").unwrap();
        let said = std::fs::read_to_string(place.path().join("said")).unwrap();
        (stored, found, said)
    };
    // A cut between the two leaves it as it was stored: marked.
    for is_append_only in [false, true] {
        let (stored, found, said) = back_up(0, is_append_only);
        assert!(said.contains("--tag t --tag incomplete "), "{said}");
        assert!(said.contains(" --remove incomplete ab1\n"), "{said}");
        let Ok(Stored::Complete(summary)) = stored else { panic!("{stored:?}") };
        assert_eq!(summary.snapshot_id, "cd2", "the id it has now");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].is_complete());
    }
    let (stored, found, said) = back_up(3, false);
    let Ok(Stored::Incomplete(summary, unread)) = stored else { panic!("{stored:?}") };
    assert_eq!((summary.snapshot_id.as_str(), unread.count), ("ab1", 1));
    assert_eq!(unread.to_string(), "/mnt/a (no)");
    assert!(!found[0].is_complete() && !said.contains("--remove"), "{found:?} {said}");
    let (stored, ..) = back_up(1, false);
    assert_eq!(stored.unwrap_err().exit_code(), Some(1));
}

#[test]
fn what_cannot_be_forgotten_is_counted_although_restic_calls_it_done() {
    let password = Secret::new(b"x".to_vec());
    let keep = Keep { daily: 1, weekly: 0, monthly: 0 };
    for (is_append_only, left) in [(false, 0), (true, 1)] {
        let place = tempfile::tempdir().unwrap();
        let program = repository(place.path(), 0, is_append_only);
        let restic = of(&program, &password);
        restic.backup("hv", "t", place.path(), &[]).unwrap();
        assert_eq!(restic.forget("hv", "t", keep).unwrap(), left);
    }
}

#[test]
fn a_path_is_a_name_and_no_pattern() {
    let text = |path: &str| literal(Path::new(path)).into_string().unwrap();
    assert_eq!(text("/mnt/a[1]*?\\b c"), "/mnt/a\\[1\\]\\*\\?\\\\b c");
    assert_eq!(text("/mnt/bulk/apps-vm"), "/mnt/bulk/apps-vm");
    let bytes = std::ffi::OsStr::from_bytes(b"/mnt/\xff*");
    assert_eq!(literal(Path::new(bytes)).as_bytes(), b"/mnt/\xff\\*");
}

#[test]
fn a_lock_that_cannot_be_read_is_somebodys_for_as_long_as_it_is_there() {
    let place = tempfile::tempdir().unwrap();
    let list = place.path().join("list");
    // `gone` goes when it is read, `torn` is no JSON, and `shut` cannot be read.
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*'list locks'*) cat {0};;\n\
         *'lock own'*) echo '{{\"time\": \"t\", \"hostname\": \"hv\", \"pid\": 7}}';;\n\
         *'lock gone'*) grep -v gone {0} >{0}.new; mv {0}.new {0}; exit 1;;\n\
         *'lock torn'*) echo '{{';;\n*) exit 1;;\nesac\n",
        list.display()
    );
    let program = stand_in(place.path(), &script);
    let password = Secret::new(b"x".to_vec());
    let restic = of(&program, &password);
    let own = Lock { time: "t".into(), hostname: "hv".into(), pid: 7, exclusive: false };
    std::fs::write(&list, "own\ngone\n").unwrap();
    assert_eq!(restic.locks().unwrap(), std::slice::from_ref(&own));
    std::fs::write(&list, "own\ngone\ntorn\nshut\n").unwrap();
    assert_eq!(restic.locks().unwrap(), [own, Lock::default(), Lock::default()]);
}

#[test]
fn a_period_of_zero_is_left_out() {
    let keep = Keep { daily: 7, weekly: 0, monthly: 6 };
    assert_eq!(keep_arguments(keep), ["--keep-daily", "7", "--keep-monthly", "6"]);
    assert!(keep_arguments(Keep { daily: 0, weekly: 0, monthly: 0 }).is_empty());
}
