//! Units below `/etc/systemd/system`.

use bedplate_spec::host::HostFile;

use super::render::{Entries, Entry};

const DIRECTORY: &str = "systemd/system";
const SHIPPED: &str = "/usr/lib/systemd/system";

/// Where every unit finds the program: that of the system that is current.
const PROGRAM: &str = "/run/current-system/programs/bin/bedplate-host";

/// Shipped by Debian, without use here: /usr is read-only, GRUB does not boot this system.
const MASKED: &[&str] = &[
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "grub-common.service",
    "e2scrub_reap.service", "systemd-networkd-wait-online.service",
];

/// Shipped by Debian, enabled here: what wants it, and the unit.
const ENABLED: &[(&str, &str)] = &[
    ("multi-user.target", "systemd-networkd.service"),
    ("sockets.target", "systemd-networkd.socket"),
    ("multi-user.target", "ssh.service"),
    ("multi-user.target", "libvirtd.service"),
    ("multi-user.target", "nfs-server.service"),
];

/// Adds all units.
pub fn add(host: &HostFile, entries: &mut Entries) {
    let pools = pool_units(host);
    for name in MASKED {
        link(entries, name, "/dev/null");
    }
    for (target, name) in ENABLED {
        link(entries, &format!("{target}.wants/{name}"), &format!("{SHIPPED}/{name}"));
    }
    link(entries, "default.target", &format!("{SHIPPED}/multi-user.target"));
    let getty = format!("{SHIPPED}/serial-getty@.service");
    link(entries, "getty.target.wants/serial-getty@ttyS0.service", &getty);
    text(entries, "bedplate-pool@.service", pool());
    for pool in host.pools.keys() {
        let wanted = format!("multi-user.target.wants/bedplate-pool@{pool}.service");
        link(entries, &wanted, "/etc/systemd/system/bedplate-pool@.service");
    }
    let order = format!("[Unit]\nWants={pools}\nAfter={pools}\n");
    for service in ["libvirtd.service", "nfs-server.service", "libvirt-guests.service"] {
        text(entries, &format!("{service}.d/10-bedplate-pools.conf"), order.clone());
    }
    text(entries, "bedplate-converge.service", converge(&pools));
    enable(entries, "multi-user.target", "bedplate-converge.service");
    for (name, backup) in &host.backups {
        text(entries, &format!("bedplate-backup-{name}.service"), backup_service(name, &pools));
        let timer = format!("bedplate-backup-{name}.timer");
        text(entries, &timer, backup_timer(name, &backup.schedule));
        enable(entries, "timers.target", &timer);
    }
}

fn pool_units(host: &HostFile) -> String {
    let names: Vec<_> = host.pools.keys().map(|name| format!("bedplate-pool@{name}.service")).collect();
    names.join(" ")
}

fn text(entries: &mut Entries, name: &str, content: String) {
    entries.insert(format!("{DIRECTORY}/{name}"), Entry::Text(content));
}

fn link(entries: &mut Entries, name: &str, target: &str) {
    entries.insert(format!("{DIRECTORY}/{name}"), Entry::Link(target.to_owned()));
}

fn enable(entries: &mut Entries, target: &str, name: &str) {
    link(entries, &format!("{target}.wants/{name}"), &format!("/etc/{DIRECTORY}/{name}"));
}

fn pool() -> String {
    format!(
        "[Unit]\n\
         Description=Pool %i: unlock and mount\n\
         Before=libvirtd.service nfs-server.service\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         TimeoutStartSec=infinity\n\
         ExecStart={PROGRAM} pool open %i\n\
         StandardOutput=journal+console\n\
         StandardError=journal+console\n"
    )
}

fn converge(pools: &str) -> String {
    format!(
        "[Unit]\n\
         Description=Bridges, VMs, exports and backups as host.toml has them\n\
         Wants=libvirtd.service nfs-server.service {pools}\n\
         After=network.target libvirtd.socket libvirtd.service nfs-server.service {pools}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         TimeoutStartSec=infinity\n\
         ExecStart={PROGRAM} converge\n\
         StandardOutput=journal+console\n\
         StandardError=journal+console\n"
    )
}

fn backup_service(name: &str, pools: &str) -> String {
    format!(
        "[Unit]\n\
         Description=Backup {name}\n\
         After=bedplate-converge.service {pools}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         Nice=10\n\
         IOSchedulingClass=idle\n\
         ExecStart={PROGRAM} backup run {name}\n"
    )
}

fn backup_timer(name: &str, schedule: &str) -> String {
    let schedule = schedule.replace('%', "%%");
    format!(
        "[Unit]\n\
         Description=Backup {name}\n\
         \n\
         [Timer]\n\
         OnCalendar={schedule}\n\
         Persistent=true\n"
    )
}
