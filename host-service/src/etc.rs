//! What lies in `/etc` of a host on the embedded platform, and what the NixOS module leaves to this program.

mod units;

pub(crate) use units::{MIRROR_UNIT, partition_unit, patience};

use std::collections::BTreeMap;
use std::path::Path;

use bedplate_model::host::HostFile;
use bedplate_platform::intent;
use bedplate_platform::toplevel::{self, Entry, Parts, SystemError};

use crate::bridge;
use crate::firewall;

/// Timers of a Debian that is managed by apt; this one is not.
const MASKED: [&str; 4] =
    ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "grub-common.service"];

/// The server offers keys only, and reads those of `host.toml` beside those of the account.
const SSHD: &str = "\
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u
";

/// Nix builds in a sandbox as root, and fetches nothing by itself.
const NIX: &str = "\
experimental-features = nix-command flakes
build-users-group =
sandbox = true
sandbox-fallback = false
substituters =
";

/// NICs that no bridge has taken. The machine waits for one of them where it has no bridge to wait for.
fn other_nics(host: &HostFile) -> String {
    let awaited = if waits_for_a_bridge(host) { "no" } else { "yes" };
    format!(
        "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n\n[DHCPv4]\nClientIdentifier=mac\n\n\
         [Link]\nRequiredForOnline={awaited}\n"
    )
}

fn waits_for_a_bridge(host: &HostFile) -> bool {
    host.network.bridges.values().any(bridge::is_awaited)
}

/// Where no bridge has to have an address, any NIC that gets one is enough, and a machine whose cable is out
/// is not kept waiting. Without it systemd waits two minutes for links that are not required, and fails.
const WAIT_FOR_ANY: (&str, &str) = (
    "systemd/system/systemd-networkd-wait-online.service.d/10-bedplate.conf",
    "[Service]\nExecStart=\nExecStart=/usr/lib/systemd/systemd-networkd-wait-online --any --timeout=30\n\
     SuccessExitStatus=1\n",
);

/// What systemd-networkd is told, by path under `/etc`, on either platform.
fn network(host: &HostFile) -> Vec<(String, String)> {
    let other = ("systemd/network/80-bedplate-other.network".to_owned(), other_nics(host));
    std::iter::once(other).chain(bridge::files(host)).collect()
}

/// What a toplevel lays over the tree's `/etc`, by path below it.
pub fn entries(host: &HostFile, document: &str, parts: &Parts) -> BTreeMap<String, Entry> {
    let mut all = BTreeMap::new();
    let mut file = |path: &str, content: String| all.insert(path.to_owned(), Entry::File(content));
    let name = &host.host.name;
    file("bedplate/host.toml", document.to_owned());
    file("hostname", format!("{name}\n"));
    file("hosts", format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {name}\n"));
    file("locale.conf", format!("LANG={}\n", host.host.locale));
    file("default/locale", format!("LANG={}\n", host.host.locale));
    file("nix/nix.conf", NIX.to_owned());
    file("ssh/sshd_config.d/10-bedplate.conf", SSHD.to_owned());
    file("environment", environment());
    file(
        "fstab",
        "# Pools and system volumes are mounted by units; see systemctl list-units 'bedplate-*'.\n"
            .to_owned(),
    );
    for (path, content) in network(host) {
        file(&path, content);
    }
    if !waits_for_a_bridge(host) {
        file(WAIT_FOR_ANY.0, WAIT_FOR_ANY.1.to_owned());
    }
    file(firewall::FILE, firewall::rules(host));
    file(firewall::NFS_FILE, firewall::nfs_conf(host));
    for (user, account) in &host.host.users {
        let keys = account.ssh_keys.iter().map(|key| format!("{key}\n")).collect();
        file(&format!("ssh/authorized_keys.d/{user}"), keys);
    }
    let zone = format!("/usr/share/zoneinfo/{}", host.host.timezone);
    all.insert("localtime".into(), Entry::Link(zone));
    for unit in MASKED {
        all.insert(format!("systemd/system/{unit}"), Entry::Link("/dev/null".into()));
    }
    all.extend(units::entries(host, parts));
    all
}

/// Everything in a toplevel but the initrd, by path.
pub fn toplevel(
    host: &HostFile,
    document: &str,
    parts: &Parts,
) -> Result<BTreeMap<String, Entry>, SystemError> {
    toplevel::entries(host, document, parts, entries(host, document, parts))
}

fn environment() -> String {
    let directories = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
        "/run/current-system/programs/bin",
    ];
    format!("PATH=\"{}\"\n", directories.join(":"))
}

/// What the NixOS module leaves to this program, by path under `/etc`. A document with mistakes
/// stops the build of the system here.
pub fn render(document: &Path, out: &Path) -> Result<(), SystemError> {
    let host = intent::read(document)?;
    for (path, content) in network(&host) {
        toplevel::write(&out.join(path), &Entry::File(content))?;
    }
    toplevel::write(&out.join(firewall::FILE), &Entry::File(firewall::rules(&host)))
}

#[cfg(test)]
mod tests;
