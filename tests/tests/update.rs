//! The platform of a newer medium becomes a generation of an installed machine: another tree, whose
//! packages were given other ids. Run by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bedplate_qemu_harness::machine::Disk;
use bedplate_tests::installed::Installation;
use bedplate_tests::medium::Workspace;
use bedplate_tests::running_host::Host;
use bedplate_tests::seed;
use bedplate_tests::story::Tell;
use bedplate_tools::command::CommandExt as _;

/// A file that only the newer tree has.
const MARK: &str = "usr/share/bedplate-newer";
/// Who owns files under /var, and gets another id in the newer tree.
const ACCOUNT: &str = "statd";
const OTHER_ID: &str = "4242";

/// The tree with another id for an account, another /etc/issue and a mark. What is not changed is
/// the cache's own file.
fn newer_tree(workspace: &Workspace, place: &Path) -> PathBuf {
    let to = place.join("newer");
    std::process::Command::new("cp")
        .arg("-al")
        .arg(workspace.tree().unwrap())
        .arg(&to)
        .run()
        .unwrap();
    for directory in ["", "etc", "usr/share"] {
        std::process::Command::new("chmod").arg("u+w").arg(to.join(directory)).run().unwrap();
    }
    let put = |name: &str, text: &str| {
        let path = to.join(name);
        // A new file: the old one is the cache's.
        fs::remove_file(&path).ok();
        fs::write(path, text).unwrap();
    };
    let passwd = fs::read_to_string(to.join("etc/passwd")).unwrap();
    let renumbered: Vec<String> = passwd.lines().map(renumber).collect();
    assert_ne!(renumbered.join("\n") + "\n", passwd, "there is no {ACCOUNT}");
    put("etc/passwd", &(renumbered.join("\n") + "\n"));
    put("etc/issue", "The newer tree\n");
    put(MARK, "newer\n");
    to
}

fn renumber(line: &str) -> String {
    let mut fields: Vec<&str> = line.split(':').collect();
    if fields[0] == ACCOUNT {
        fields[2] = OTHER_ID;
    }
    fields.join(":")
}

/// Who owns what under /var and /etc, by number.
fn owners(host: &Host) -> String {
    let argv = [
        "find",
        "/var/lib/nfs",
        "/var/lib/libvirt",
        "/etc/polkit-1",
        "-maxdepth",
        "1",
        // statd takes it over at its second start, whatever the tree.
        "-not",
        "-path",
        "/var/lib/nfs/state",
        "-printf",
        "%U:%G %p\\n",
    ];
    let mut lines: Vec<String> = host.read(&argv).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_newer_tree_boots_with_the_same_ids_and_the_owners_files() {
    let tell: Tell = Arc::new(|line: &str| println!("{line}"));
    let installation = Installation::obtain(&tell).unwrap();
    let directory = tempfile::Builder::new().prefix("bedplate-update-").tempdir_in("/var/tmp");
    let directory = directory.unwrap();
    let story = installation.lend(directory.path(), tell).unwrap();
    let workspace = Workspace::own();
    // Beside the tree, so that its files can be linked.
    let beside = tempfile::Builder::new().prefix("newer-").tempdir_in(workspace.cache()).unwrap();
    let medium = directory.path().join("newer.iso");
    workspace.build_medium_with(&medium, &newer_tree(&workspace, beside.path())).unwrap();
    let stick = seed::medium(&medium, medium.metadata().unwrap().len());
    let with_medium: Vec<Disk> =
        story.disks().into_iter().chain([Disk { boot_index: None, ..stick }]).collect();

    let host = story.boot(with_medium).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    let before = owners(&host);
    let id = host.read(&["id", "-u", ACCOUNT]).unwrap();
    host.read(&["sh", "-c", "echo the owner\\'s > /etc/motd"]).unwrap();
    println!("{}", host.read(&["bedplate-host", "update", "--dry-run"]).unwrap());
    println!("{}", host.read(&["bedplate-host", "update"]).unwrap());
    let log = host.read(&["git", "-C", "/etc/nixos", "log", "-2", "--format=%ae %s"]).unwrap();
    let newest = log.lines().next().unwrap();
    assert_eq!(newest, "bedplate@hypervisor Update the platform of hypervisor from a medium");
    assert_eq!(host.read(&["git", "-C", "/etc/nixos", "status", "--porcelain"]).unwrap(), "");
    let mounts = host.read(&["cat", "/proc/mounts"]).unwrap();
    assert!(!mounts.contains("/run/bedplate/update"), "the medium stays mounted:\n{mounts}");
    host.read(&["bedplate-host", "update"]).unwrap();
    assert_eq!(
        host.read(&["git", "-C", "/etc/nixos", "log", "-2", "--format=%ae %s"]).unwrap(),
        log
    );
    host.power_off().unwrap();

    let host = story.boot(story.disks()).unwrap();
    assert_eq!(host.settle().unwrap(), "running");
    assert_eq!(host.read(&["cat", &format!("/{MARK}")]).unwrap(), "newer\n");
    assert_eq!(host.read(&["cat", "/etc/issue"]).unwrap(), "The newer tree\n");
    assert_eq!(host.read(&["cat", "/etc/motd"]).unwrap(), "the owner's\n");
    assert_eq!(host.read(&["id", "-u", ACCOUNT]).unwrap(), id);
    assert_eq!(owners(&host), before);
    let verified = host.run(&["nix-store", "--verify", "--check-contents"]).unwrap();
    assert_eq!(verified.status, 0, "{}", verified.stderr);
    host.power_off().unwrap();
}
