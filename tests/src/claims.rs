//! What is claimed of the machine, and how each claim is judged. Pure: evidence in, verdict out.
//!
//! Whatever was not seen does not hold.

use serde_json::Value;

use crate::answers::GUEST;
use crate::evidence::{Evidence, LATE};
use crate::probes;
use crate::seed::{INSTALLED, MAC, POOLS};

/// A claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// The installation ended with a power-off.
    PoweredOff,
    /// Seven volumes were opened with no keyboard.
    Volumes,
    /// The OS file system has its subvolumes.
    Subvolumes,
    /// The pool for VMs is RAID1 over three devices.
    VmPool,
    /// The pool for bulk data is RAID1 over three devices.
    BulkPool,
    /// Every header has two keyslots and the seal.
    Headers,
    /// Both keyslots of every header open it.
    Keys,
    /// The disk that nobody named has the same bytes.
    CanaryBytes,
    /// QEMU counted no write to it.
    CanaryWrites,
    /// The bridge has the lease of the NIC.
    Bridge,
    /// The exports are served.
    Exports,
    /// The LAN can mount and write an export.
    NfsWritten,
    /// The firewall of NFS can be loaded again beside it.
    Firewall,
    /// The VM runs from its disk and starts with the host.
    Domain,
    /// The VM got its own lease through the bridge.
    GuestLease,
    /// A backup was taken.
    Backup,
    /// The repository is sound.
    BackupSound,
    /// A second converge changes nothing.
    Unchanged,
    /// The flake has the enrolment commit.
    Enrolled,
    /// The flake's work tree is clean.
    Clean,
    /// The running system is the toplevel of the flake.
    CurrentSystem,
    /// Every path in the store is what Nix recorded of it.
    Store,
    /// No unit failed.
    Units,
}

/// Tree, modules, runtime, programs, stage 1 and the system made of them.
const CLOSURE_PATHS: usize = 6;

/// Every claim, in the order of the table.
pub const ALL: [Claim; 23] = [
    Claim::PoweredOff,
    Claim::Volumes,
    Claim::Subvolumes,
    Claim::VmPool,
    Claim::BulkPool,
    Claim::Headers,
    Claim::Keys,
    Claim::CanaryBytes,
    Claim::CanaryWrites,
    Claim::Bridge,
    Claim::Exports,
    Claim::NfsWritten,
    Claim::Firewall,
    Claim::Domain,
    Claim::GuestLease,
    Claim::Backup,
    Claim::BackupSound,
    Claim::Unchanged,
    Claim::Enrolled,
    Claim::Clean,
    Claim::CurrentSystem,
    Claim::Store,
    Claim::Units,
];

/// What can be claimed.
pub trait Statement: Copy {
    /// The claim as a sentence.
    fn sentence(self) -> &'static str;
}

/// What was seen of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict<C = Claim> {
    /// The claim that is judged.
    pub claim: C,
    /// What was seen.
    pub seen: String,
    /// What that makes of it.
    pub judgement: Judgement,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// What would show it did not come in time: nothing is known.
    NotInTime,
}

impl Judgement {
    /// Of what a judge found.
    pub fn of<T, E>(found: &Result<T, E>) -> Self {
        if found.is_ok() { Self::Holds } else { Self::Fails }
    }
}

impl Statement for Claim {
    fn sentence(self) -> &'static str {
        match self {
            Self::PoweredOff => "the installation ended with a power-off",
            Self::Volumes => "all seven volumes are unlocked with no keyboard",
            Self::Subvolumes => "the OS disk carries root, home and nix",
            Self::VmPool => "pool vmstore: data and metadata RAID1 over exactly three devices",
            Self::BulkPool => "pool bulk: data and metadata RAID1 over exactly three devices",
            Self::Headers => "every LUKS header has two keyslots and the seal",
            Self::Keys => "keyfile and recovery passphrase open every header",
            Self::CanaryBytes => "the disk nobody named is unchanged, byte by byte",
            Self::CanaryWrites => "QEMU counted no write to it, install and boot",
            Self::Bridge => "br0 holds the NIC and its lease",
            Self::Exports => "the exports are served, to their clients only",
            Self::NfsWritten => "an export was mounted and written from the LAN",
            Self::Firewall => {
                "T37: NFS goes on while its firewall is loaded again, and stops without it"
            }
            Self::Domain => "the VM runs from its own disk and boot loader, autostarted",
            Self::GuestLease => "the VM got its own lease through br0 and said so over HTTP",
            Self::Backup => "restic has a snapshot of the pool directory",
            Self::BackupSound => "restic check passes",
            Self::Unchanged => "a second converge changes nothing",
            Self::Enrolled => "the flake's log shows the enrolment",
            Self::Clean => "the flake's work tree is clean",
            Self::CurrentSystem => "the running system is the flake's toplevel",
            Self::Store => "every path of the system has the content that Nix recorded",
            Self::Units => "no unit failed",
        }
    }
}

/// Judges one claim.
pub fn judge(claim: Claim, evidence: &Evidence) -> Verdict {
    let judged = match claim {
        Claim::PoweredOff => powered_off(evidence),
        Claim::Volumes => volumes(evidence),
        Claim::Subvolumes => subvolumes(evidence),
        Claim::VmPool => pool(evidence, "vmstore"),
        Claim::BulkPool => pool(evidence, "bulk"),
        Claim::Headers => headers(evidence),
        Claim::Keys => keys(evidence),
        Claim::CanaryBytes => canary_bytes(evidence),
        Claim::CanaryWrites => canary_writes(evidence),
        Claim::Bridge => bridge(evidence),
        Claim::Exports => exports(evidence),
        Claim::NfsWritten => nfs_written(evidence),
        Claim::Firewall => firewall(evidence),
        Claim::Domain => domain(evidence),
        Claim::GuestLease => guest_lease(evidence),
        Claim::Backup => backup(evidence),
        Claim::BackupSound => backup_sound(evidence),
        Claim::Unchanged => unchanged(evidence),
        Claim::Enrolled => enrolled(evidence),
        Claim::Clean => empty(evidence, "flake.status", "nothing to commit"),
        Claim::CurrentSystem => current_system(evidence),
        Claim::Store => store(evidence),
        Claim::Units => empty(evidence, "failed-units", "none"),
    };
    let judgement = Judgement::of(&judged);
    let late = evidence.text(LATE).ok();
    match (claim, late) {
        (Claim::GuestLease | Claim::NfsWritten, Some(late)) if judged.is_err() => {
            Verdict { claim, seen: late.to_owned(), judgement: Judgement::NotInTime }
        }
        _ => {
            let (Ok(seen) | Err(seen)) = judged;
            Verdict { claim, seen, judgement }
        }
    }
}

/// Judges every claim.
pub fn judge_all(evidence: &Evidence) -> Vec<Verdict> {
    ALL.into_iter().map(|claim| judge(claim, evidence)).collect()
}

/// What was seen; `Err` when the claim does not hold.
type Seen = Result<String, String>;

fn verdict(holds: bool, seen: String) -> Seen {
    if holds { Ok(seen) } else { Err(seen) }
}

fn powered_off(evidence: &Evidence) -> Seen {
    let end = evidence.some_text("install.end")?;
    verdict(end == "guest-shutdown", end.to_owned())
}

fn firewall(evidence: &Evidence) -> Seen {
    let words: Vec<_> = evidence.text("firewall")?.split_whitespace().collect();
    verdict(words == ["reloaded", "inactive", "active", "active"], words.join(", "))
}

fn volumes(evidence: &Evidence) -> Seen {
    let tree = evidence.json("volumes")?;
    let mut found = Vec::new();
    collect_crypt(&tree["blockdevices"], &mut found);
    found.sort();
    found.dedup();
    let wanted = |role: &str| found.contains(&format!("bedplate-{role}"));
    let all = INSTALLED.iter().all(|(role, _)| wanted(role));
    verdict(all && found.len() == INSTALLED.len(), format!("{}: {}", found.len(), found.join(" ")))
}

fn collect_crypt(devices: &Value, found: &mut Vec<String>) {
    for device in devices.as_array().into_iter().flatten() {
        if device["type"] == "crypt" {
            found.push(device["name"].as_str().unwrap_or_default().to_owned());
        }
        collect_crypt(&device["children"], found);
    }
}

fn subvolumes(evidence: &Evidence) -> Seen {
    let list = evidence.some_text("subvolumes")?;
    let paths: Vec<&str> = list.lines().filter_map(|line| line.split(" path ").nth(1)).collect();
    let all = ["root", "home", "nix"].iter().all(|name| paths.contains(name));
    verdict(all, paths.join(" "))
}

fn pool(evidence: &Evidence, name: &str) -> Seen {
    let df = evidence.some_text(&format!("btrfs.df.{name}"))?;
    let show = evidence.some_text(&format!("btrfs.show.{name}"))?;
    let mounts = evidence.json("mounts")?;
    let profile = |kind: &str| -> Vec<&str> {
        let lines = df.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(", "));
        lines.filter_map(|rest| rest.split(':').next()).collect()
    };
    let (data, metadata) = (profile("Data"), profile("Metadata"));
    let devices = show.lines().filter(|line| line.trim_start().starts_with("devid")).count();
    let missing = show.contains("missing") || show.contains("MISSING");
    let mount = POOLS.iter().find(|(pool, _)| *pool == name).map(|(_, mount)| *mount);
    let all = mounts["filesystems"].as_array();
    let mounted = all.into_iter().flatten().any(|one| one["target"].as_str() == mount);
    let holds = data == ["RAID1"]
        && metadata == ["RAID1"]
        && devices == 3
        && show.contains("Total devices 3")
        && !missing
        && mounted;
    let place = if mounted { "mounted" } else { "not mounted" };
    verdict(
        holds,
        format!(
            "data {}, metadata {}, {devices} devices{}, {place}",
            data.join("+"),
            metadata.join("+"),
            if missing { " (some missing)" } else { "" }
        ),
    )
}

fn headers(evidence: &Evidence) -> Seen {
    for (role, _) in INSTALLED {
        let header = evidence.json(&format!("luks.dump.{role}"))?;
        let keyslots = header["keyslots"].as_object().map_or(0, serde_json::Map::len);
        let sealed = header["tokens"].as_object().is_some_and(|tokens| {
            tokens.values().any(|token| token["type"] == "bedplate" && token["sealed"] == true)
        });
        if keyslots != 2 || !sealed {
            return Err(format!("{role}: {keyslots} keyslots, sealed: {sealed}"));
        }
    }
    Ok(format!("{} headers, 2 keyslots each, sealed", INSTALLED.len()))
}

fn keys(evidence: &Evidence) -> Seen {
    for (role, _) in INSTALLED {
        evidence.text(&format!("luks.keyfile.{role}"))?;
        evidence.text(&format!("luks.recovery.{role}"))?;
    }
    Ok(format!("{} headers, both slots", INSTALLED.len()))
}

fn canary_bytes(evidence: &Evidence) -> Seen {
    let before = evidence.some_text("canary.sha256.before")?;
    let after = evidence.some_text("canary.sha256.after")?;
    let short = |text: &str| text.chars().take(16).collect::<String>();
    verdict(before == after, format!("{} then {}", short(before), short(after)))
}

fn canary_writes(evidence: &Evidence) -> Seen {
    let mut seen = Vec::new();
    let mut holds = true;
    for run in ["install", "run"] {
        let counters = evidence.json(&format!("canary.counters.{run}"))?;
        let count = |name: &str| {
            counters[name].as_u64().ok_or_else(|| format!("{run}: `{name}` was not counted"))
        };
        let (writes, bytes, discards) =
            (count("writes")?, count("written_bytes")?, count("discards")?);
        holds &= writes == 0 && bytes == 0 && discards == 0;
        seen.push(format!("{run}: {writes} writes, {discards} discards"));
    }
    verdict(holds, seen.join("; "))
}

fn bridge_address(evidence: &Evidence) -> Result<String, String> {
    let links = evidence.json("bridge.address")?;
    let addresses = links[0]["addr_info"].as_array().cloned().unwrap_or_default();
    let lease = addresses.iter().find(|one| one["family"] == "inet" && one["dynamic"] == true);
    let lease = lease.and_then(|one| one["local"].as_str());
    lease.map(str::to_owned).ok_or_else(|| "br0 has no lease".to_owned())
}

fn bridge(evidence: &Evidence) -> Seen {
    let address = bridge_address(evidence)?;
    let members = evidence.json("bridge.members")?;
    let nic = members.as_array().into_iter().flatten().find(|link| link["address"] == MAC);
    let nic = nic.and_then(|link| link["ifname"].as_str()).ok_or("the NIC is not in br0")?;
    verdict(address.starts_with("192.168.1."), format!("{address}, {nic} in br0"))
}

fn exports(evidence: &Evidence) -> Seen {
    // A long path stands on a line of its own, its clients on the next.
    let words: Vec<&str> = evidence.some_text("exports")?.split_whitespace().collect();
    let wanted = [
        ("/mnt/bulk/apps-vm", vec!["192.168.1.0/24"]),
        ("/mnt/bulk/homeassistant-vm", vec!["192.168.1.0/24", "100.64.0.0/10"]),
        ("/mnt/bulk/scrypted", vec!["192.168.1.0/24"]),
    ];
    let mut found: Vec<(String, String)> = Vec::new();
    let mut path = "";
    for word in words {
        match word.split_once('(') {
            None => path = word,
            Some((client, _)) => found.push((path.to_owned(), client.to_owned())),
        }
    }
    let pairs = wanted.iter().flat_map(|(path, clients)| {
        clients.iter().map(|client| ((*path).to_owned(), (*client).to_owned()))
    });
    let pairs: Vec<_> = pairs.collect();
    let all = pairs.iter().all(|pair| found.contains(pair));
    let more: Vec<String> = found
        .iter()
        .filter(|pair| !pairs.contains(pair))
        .map(|(path, client)| format!("{path} to {client}"))
        .collect();
    let seen = format!("{} of {} exports", found.len() - more.len(), pairs.len());
    let seen = if more.is_empty() { seen } else { format!("{seen}, and {}", more.join(", ")) };
    verdict(all && more.is_empty(), seen)
}

/// What the guest reported: its address and its MAC.
fn report(evidence: &Evidence) -> Result<(String, String), String> {
    let requests = evidence.some_text("http.requests")?;
    let up = requests.lines().find_map(|line| line.strip_prefix("/guest/up?"));
    let up = up.ok_or("the VM did not report")?;
    let field = |name: &str| {
        let fields = up.split('&').filter_map(|field| field.split_once('='));
        fields.into_iter().find(|(key, _)| *key == name).map(|(_, text)| text.to_owned())
    };
    match (field("ip"), field("mac")) {
        (Some(ip), Some(mac)) => Ok((ip, mac)),
        _ => Err(format!("the VM reported `{up}`")),
    }
}

fn nfs_written(evidence: &Evidence) -> Seen {
    let (_, mac) = report(evidence)?;
    let requests = evidence.some_text("http.requests")?;
    let written = evidence.some_text("nfs.file")?;
    let said = requests.lines().any(|line| line == format!("/guest/nfs-ok?mac={mac}"));
    let last = requests.lines().rfind(|line| line.starts_with("/guest/nfs"));
    let seen = format!("{}; the file says `{written}`", last.unwrap_or("no report"));
    verdict(said && written == format!("written by {mac}"), seen)
}

fn domain(evidence: &Evidence) -> Seen {
    let xml = evidence.some_text("domain.xml")?;
    let lists = |name: &str| -> Result<bool, String> {
        Ok(evidence.text(name)?.lines().any(|line| line.trim() == GUEST))
    };
    let (running, autostart) = (lists("domain.running")?, lists("domain.autostart")?);
    let disk = format!("/mnt/vmstore/{GUEST}/{GUEST}.qcow2");
    let own_loader = !xml.contains("<kernel>") && xml.contains(&disk);
    let seen =
        format!("running: {running}, autostart: {autostart}, boots from its disk: {own_loader}");
    verdict(running && autostart && own_loader, seen)
}

fn guest_lease(evidence: &Evidence) -> Seen {
    let (ip, mac) = report(evidence)?;
    let host = bridge_address(evidence)?;
    let known = evidence.some_text("domain.xml")?.contains(&mac);
    let own = ip.starts_with("192.168.1.") && ip != host && mac != MAC;
    verdict(own && known, format!("{ip} for {mac}; the host has {host}"))
}

fn backup(evidence: &Evidence) -> Seen {
    let snapshots = evidence.json("restic.snapshots.apps")?;
    let all = snapshots.as_array().cloned().unwrap_or_default();
    let paths = |snapshot: &Value| snapshot["paths"].as_array().cloned().unwrap_or_default();
    // Each snapshot of btrfs is shown to restic at the same place.
    let of_pool = |path: &&Value| *path == "/run/bedplate/backup/apps/mnt/bulk/apps-vm";
    let found = all.iter().flat_map(paths).filter(|path| of_pool(&path)).count();
    verdict(found == 1, format!("{} snapshot(s), {found} of /mnt/bulk/apps-vm", all.len()))
}

fn backup_sound(evidence: &Evidence) -> Seen {
    let check = evidence.some_text("restic.check.apps")?;
    verdict(check.contains("no errors were found"), check.lines().last().unwrap_or("").to_owned())
}

fn unchanged(evidence: &Evidence) -> Seen {
    evidence.text("converge.again")?;
    let different = probes::differences(evidence)?;
    if different.is_empty() {
        return Ok("domain, exports, units and file times are the same".to_owned());
    }
    Err(different.join("; "))
}

fn enrolled(evidence: &Evidence) -> Seen {
    let log = evidence.some_text("flake.log")?;
    let commit = log.lines().find(|line| line.contains("bedplate@"));
    commit.map(str::to_owned).ok_or_else(|| format!("no commit by bedplate@: {log}"))
}

fn empty(evidence: &Evidence, name: &str, nothing: &str) -> Seen {
    let text = evidence.text(name)?;
    verdict(text.is_empty(), if text.is_empty() { nothing.to_owned() } else { one_line(text) })
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

/// The whole closure, and whatever else is in the store.
fn store(evidence: &Evidence) -> Seen {
    evidence.text("store.verified")?;
    let paths = evidence.some_text("store.paths")?.lines();
    let (ours, others): (Vec<_>, Vec<_>) =
        paths.partition(|path| path.starts_with("/nix/store/") && path.contains("-bedplate-"));
    let seen = format!("{} paths, contents hashed", ours.len());
    verdict(others.is_empty() && ours.len() == CLOSURE_PATHS, seen)
}

fn current_system(evidence: &Evidence) -> Seen {
    let current = evidence.some_text("system.current")?;
    let profile = evidence.some_text("system.profile")?;
    let flake = evidence.some_text("system.flake")?;
    let same = current == flake && current == profile && current.starts_with("/nix/store/");
    let seen = if same {
        current.to_owned()
    } else {
        format!("running {current}, profile {profile}, flake {flake}")
    };
    verdict(same, seen)
}
