//! What is asked of the running machine: programs that are not ours.

use bedplate_model::host::HostFile;

use crate::answers::GUEST;
use crate::evidence::Evidence;
use crate::seed::{HOST, INSTALLED, POOLS, STICK};

/// Where the key stick is mounted while questions are asked.
const STICK_MOUNT: &str = "/run/story-stick";

/// Whether the server of NFS goes on while its firewall, lost by somebody, is loaded again as the message says; and what
/// becomes of the one without the other.
const FIREWALL: &str = "of() { systemctl show --value -p InvocationID nfs-server; }; before=$(of); \
     nft delete table inet bedplate && systemctl reload-or-restart bedplate-firewall && \
     nft list table inet bedplate > /dev/null && [ \"$before\" = \"$(of)\" ] && echo reloaded; \
     systemctl stop bedplate-firewall; systemctl is-active nfs-server; \
     systemctl start nfs-server && systemctl is-active bedplate-firewall nfs-server";

/// A question: its name in the evidence, and the argv that asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Name of the answer in the evidence, such as `bridge.address`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
}

fn probe(name: impl Into<String>, argv: &[&str]) -> Probe {
    Probe { name: name.into(), argv: argv.iter().map(|word| (*word).to_owned()).collect() }
}

/// Asked once, when the machine has converged.
pub fn state(host: &HostFile) -> Vec<Probe> {
    let mut probes = vec![
        probe("stick.directory", &["mkdir", "-p", STICK_MOUNT]),
        probe(
            "stick.mount",
            &["mount", "-o", "ro", &format!("/dev/disk/by-uuid/{STICK}"), STICK_MOUNT],
        ),
        probe("volumes", &["lsblk", "--json", "--output", "NAME,TYPE,MOUNTPOINTS"]),
        probe("subvolumes", &["btrfs", "subvolume", "list", "/"]),
        probe("mounts", &["findmnt", "--json", "--list", "--types", "btrfs"]),
        probe("bridge.address", &["ip", "-json", "address", "show", "dev", "br0"]),
        probe("bridge.members", &["ip", "-json", "link", "show", "master", "br0"]),
        probe("exports", &["exportfs", "-v"]),
        probe("nfs.file", &["cat", "/mnt/bulk/apps-vm/from-the-guest"]),
        probe("domain.running", &["virsh", "--quiet", "list", "--name", "--state-running"]),
        probe("domain.autostart", &["virsh", "--quiet", "list", "--name", "--all", "--autostart"]),
        probe("domain.xml", &["virsh", "dumpxml", GUEST]),
        probe("flake.log", &["git", "-C", "/etc/nixos", "log", "--format=%an <%ae> %s"]),
        probe("flake.status", &["git", "-C", "/etc/nixos", "status", "--porcelain"]),
        probe("system.current", &["readlink", "-f", "/run/current-system"]),
        probe("system.profile", &["readlink", "-f", "/nix/var/nix/profiles/system"]),
        toplevel(),
        probe("store.paths", &["nix-store", "--query", "--requisites", "/run/current-system"]),
        probe("store.verified", &["nix-store", "--verify", "--check-contents"]),
        probe("failed-units", &["systemctl", "--failed", "--no-legend", "--plain"]),
    ];
    for (pool, mount) in POOLS {
        probes.push(probe(format!("btrfs.df.{pool}"), &["btrfs", "filesystem", "df", mount]));
        probes.push(probe(format!("btrfs.show.{pool}"), &["btrfs", "filesystem", "show", mount]));
    }
    probes.extend(luks(host));
    probes.extend(backups(host));
    probes.push(probe("firewall", &["sh", "-c", FIREWALL]));
    probes.push(probe("stick.unmount", &["umount", STICK_MOUNT]));
    probes
}

fn toplevel() -> Probe {
    let attribute =
        format!("/etc/nixos#nixosConfigurations.\"{HOST}\".config.system.build.toplevel.outPath");
    let words = ["nix", "--extra-experimental-features", "nix-command flakes", "eval", "--raw"];
    let more = ["--offline", "--no-update-lock-file", &attribute];
    probe("system.flake", &[words.as_slice(), &more].concat())
}

/// The installed disks with the partition of each that its volume stands on.
pub fn volumes(host: &HostFile) -> Vec<(&'static str, String)> {
    let device = |(role, pool): (&'static str, Option<&str>)| {
        let part = if pool.is_none() { 2 } else { 1 };
        Some((role, format!("/dev/disk/by-id/{}-part{part}", host.disks.get(role)?.id)))
    };
    INSTALLED.into_iter().filter_map(device).collect()
}

fn luks(host: &HostFile) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (role, device) in volumes(host) {
        probes.push(probe(
            format!("luks.dump.{role}"),
            &["cryptsetup", "luksDump", "--dump-json-metadata", &device],
        ));
        let keyfile = format!("{STICK_MOUNT}/{}", host.unlock.keyfile);
        let test = ["cryptsetup", "open", "--test-passphrase"];
        let with_keyfile = ["--key-slot", "0", "--key-file", &keyfile, &device];
        probes.push(probe(
            format!("luks.keyfile.{role}"),
            &[test.as_slice(), &with_keyfile].concat(),
        ));
        let bedplate_model::host::Recovery::Stick(recovery) = &host.unlock.recovery else {
            continue;
        };
        let recovery = format!("{STICK_MOUNT}/{recovery}");
        // From standard input, as typed: without the end of the line.
        let line = "exec cryptsetup open --test-passphrase --key-slot 1 \"$1\" <\"$2\"";
        let argv = ["sh", "-c", line, "sh", &device, &recovery];
        probes.push(probe(format!("luks.recovery.{role}"), &argv));
    }
    probes
}

fn backups(host: &HostFile) -> Vec<Probe> {
    let mut probes = Vec::new();
    for (name, backup) in &host.backups {
        // Another password is opened on the machine alone; no probe could give it to restic.
        let bedplate_model::host::SecretReference::Stick(password) = &backup.password else {
            continue;
        };
        let password = format!("{STICK_MOUNT}/{password}");
        let with =
            ["restic", "--no-cache", "--repo", &backup.repository, "--password-file", &password];
        probes.push(probe(
            format!("restic.snapshots.{name}"),
            &[with.as_slice(), &["snapshots", "--json"]].concat(),
        ));
        probes.push(probe(format!("restic.check.{name}"), &[with.as_slice(), &["check"]].concat()));
    }
    probes
}

/// Asked before and after a second converge: all of it must be the same.
pub fn unchanging() -> Vec<Probe> {
    let units = ["nfs-server.service", "libvirtd.service", "systemd-networkd.service"];
    let pools = POOLS.map(|(pool, _)| format!("bedplate-pool@{pool}.service"));
    let properties =
        "--property=Id,ActiveState,SubState,InvocationID,ActiveEnterTimestampMonotonic";
    let mut show = vec!["systemctl", "show", properties];
    show.extend(units);
    show.extend(pools.iter().map(String::as_str));
    let directory = format!("/mnt/vmstore/{GUEST}");
    let format = "%p %m %T@ %C@\\n";
    vec![
        probe("domain", &["virsh", "dumpxml", GUEST]),
        probe("inactive-domain", &["virsh", "dumpxml", "--inactive", GUEST]),
        probe("domain-id", &["virsh", "domid", GUEST]),
        probe("exports", &["exportfs", "-v"]),
        probe("units", &show),
        probe("files", &["find", "/etc", &directory, "-xdev", "-type", "f", "-printf", format]),
    ]
}

/// Runs converge again.
pub const CONVERGE: [&str; 3] = ["systemctl", "restart", "bedplate-converge.service"];

/// Names under which [`unchanging`] stands in the evidence.
pub fn moment(moment: &str, name: &str) -> String {
    format!("{moment}.{name}")
}

/// What differs between the evidence before and after.
pub fn differences(evidence: &Evidence) -> Result<Vec<String>, String> {
    let mut different = Vec::new();
    for Probe { name, .. } in unchanging() {
        let before = evidence.some_text(&moment("before", &name))?;
        let after = evidence.some_text(&moment("after", &name))?;
        if before != after {
            let line = after.lines().find(|line| !before.lines().any(|old| old == *line));
            different.push(format!("{name}: {}", line.unwrap_or("a line went away")));
        }
    }
    Ok(different)
}
