//! The systemd units of a host on the embedded platform; `nix/nixos/units.nix` says the same for
//! NixOS.

use std::collections::BTreeMap;

use bedplate_model::host::{Backup, HostFile};
use bedplate_model::identity::{Purpose, derive};
use bedplate_model::plan::{BOOT, BOOT_MIRROR};
use bedplate_tools::vfat;

use bedplate_platform::toplevel::{Entry, Parts};

/// Where Debian's units stand.
const DEBIAN: &str = "/usr/lib/systemd/system";

/// A unit that is a link to it is masked.
const NOWHERE: &str = "/dev/null";

/// Debian's units that the tree leaves to be enabled, and what wants them.
const ENABLED: [(&str, &str); 3] = [
    ("systemd-networkd.service", "multi-user.target"),
    ("systemd-resolved.service", "sysinit.target"),
    ("systemd-networkd-wait-online.service", "network-online.target"),
];

/// Debian makes host keys at what systemd calls a first boot, and an empty machine-id is none.
/// The empty assignment clears every condition of the unit.
const HOST_KEYS: &str =
    "[Unit]\nConditionFirstBoot=\nConditionPathExists=!/etc/ssh/ssh_host_ed25519_key\n";

/// Disks die while the machine runs, too; and what could not be told is told later.
const NOTIFY_TIMER: &str = "[Unit]\nDescription=Bedplate: look at everything\n\n\
     [Timer]\nOnBootSec=10min\nOnUnitInactiveSec=10min\n";

/// Disks come back while the machine runs, too; what could not be done is tried again.
const TEND_TIMER: &str = "[Unit]\nDescription=Bedplate: look after the disks of pools\n\n\
     [Timer]\nOnBootSec=1min\nOnUnitInactiveSec=10min\n";

/// Where udev's rules of ours stand, below `/etc`.
const TEND_RULES: &str = "udev/rules.d/70-bedplate-pools.rules";

/// At once when a disk that may be a member comes or goes.
const DISKS_COME_AND_GO: &str = "ACTION==\"add|remove\", SUBSYSTEM==\"block\", ENV{ID_FS_TYPE}==\"crypto_LUKS\", \
     RUN+=\"/usr/bin/systemctl --no-block start bedplate-pool-tend.service\"\n";

/// By itself it looks for the booted entry on `/boot` alone, and one of the mirror would run out of
/// its tries. The mirror may be mounted after the boot is complete: it is looked for again.
const BLESS_BOTH: &str = "[Unit]\nStartLimitIntervalSec=10min\nStartLimitBurst=20\n\n\
     [Service]\nRestart=on-failure\nRestartSec=10\nExecStart=\n\
     ExecStart=/usr/lib/systemd/systemd-bless-boot --path=/boot --path=/boot-mirror good\n";

/// Before there is a network, and before anything is served. Nothing is exported without it.
const FIREWALL: &str = "[Unit]\nDescription=Bedplate: who reaches the ports of NFS\n\
     DefaultDependencies=no\nWants=network-pre.target\nConflicts=shutdown.target\n\
     Before=network-pre.target nfs-server.service shutdown.target\n\
     \n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
     ExecStart=/usr/sbin/nft -f /etc/bedplate/firewall.nft\n\
     ExecReload=/usr/sbin/nft -f /etc/bedplate/firewall.nft\n";

/// Before networkd: what a new system brings is tried by converge, which takes back what leads nowhere.
fn network(parts: &Parts) -> String {
    format!(
        "[Unit]\nDescription=Bedplate: settings of the network that were proven\n\
         DefaultDependencies=no\nWants=network-pre.target\nConflicts=shutdown.target\n\
         Before=network-pre.target shutdown.target\nRequiresMountsFor=/etc /var/lib/bedplate\n\
         \n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart={}/bin/bedplate-host network begin\n",
        parts.programs
    )
}

/// T37: what is not guarded is not served.
const BEHIND_FIREWALL: &str =
    "[Unit]\nRequires=bedplate-firewall.service\nAfter=bedplate-firewall.service\n";

/// The unit that mounts the copy of the ESP.
pub(crate) const MIRROR_UNIT: &str = "boot\\x2dmirror.mount";
/// Puts a prepared ssh key in place.
const HOST_KEY_UNIT: &str = "bedplate-host-key.service";

/// What a generation on trial that does not reach multi-user.target ends in.
const TRIAL_FAILED: &str = "bedplate-trial-failed.service";

/// How long a boot on trial may take from systemd's start, beside what somebody takes for typing a
/// passphrase: more than any unit of ours but converge, which is not waited for.
const TRIAL_SECONDS: u64 = 30 * 60;

/// How an EFI system partition is mounted. `systemd-bless-boot` renames entries there, too: by itself a
/// rename takes the old name away before the new one says where the file lies.
const ESP_OPTIONS: &str = "umask=0077,nodev,nosuid,noexec";
/// How long a pool may take beside what somebody takes for typing a passphrase: a large btrfs on hard
/// disks takes ten minutes and more to be mounted, and a mount that is killed is no mount.
const MOUNT_SECONDS: u64 = 25 * 60;

/// How long boot waits for a disk with an EFI system partition.
const ESP_SECONDS: u32 = 15;

/// The unit of the partition with this GUID.
pub(crate) fn partition_unit(guid: &str) -> String {
    format!("dev-disk-by\\x2dpartuuid-{}.device", guid.replace('-', "\\x2d"))
}

/// How long a boot waits for a partition: half a minute and more is what systemd waits for any
/// other device.
pub(crate) fn patience() -> String {
    format!("[Unit]\nJobRunningTimeoutSec={ESP_SECONDS}\n")
}

pub(super) fn entries(host: &HostFile, parts: &Parts) -> BTreeMap<String, Entry> {
    let mut units = Units { entries: BTreeMap::new() };
    for (unit, target) in ENABLED {
        units.link(unit, target, &format!("{DEBIAN}/{unit}"));
    }
    let target = format!("{DEBIAN}/multi-user.target");
    units.entries.insert("systemd/system/default.target".into(), Entry::Link(target));
    units.add("sshd-keygen.service.d/10-bedplate.conf", HOST_KEYS.to_owned(), None);
    units.add("emergency.service.d/10-bedplate.conf", emergency(parts), None);
    units.add("boot-complete.target.d/10-bedplate.conf", boot_complete(host), None);
    units.add(TRIAL_FAILED, trial_failed(parts), None);
    units.add_esp("boot.mount", host, &host.os.disk, BOOT);
    if let Some(mirror) = &host.os.esp_mirror {
        units.add_esp(MIRROR_UNIT, host, mirror, BOOT_MIRROR);
        units.add("systemd-bless-boot.service.d/10-bedplate.conf", BLESS_BOTH.to_owned(), None);
    }
    // Whether disks are well is told by bedplate-host.
    units
        .entries
        .insert("systemd/system/smartmontools.service".into(), Entry::Link(NOWHERE.into()));
    units.add("bedplate-pool@.service", pool(host, parts), None);
    for name in host.pools.keys() {
        let instance = format!("bedplate-pool@{name}.service");
        units.link(&instance, "multi-user.target", "/etc/systemd/system/bedplate-pool@.service");
    }
    if !host.pools.is_empty() {
        units.add("bedplate-pool-tend.service", tend(host, parts), None);
        units.add("bedplate-pool-tend.timer", TEND_TIMER.to_owned(), Some("timers.target"));
        units.entries.insert(TEND_RULES.into(), Entry::File(DISKS_COME_AND_GO.to_owned()));
    }
    for driver in bedplate_guests::drivers() {
        for (path, content) in driver.files(host, &parts.programs, &pool_units(host)) {
            units.entries.insert(path.to_string_lossy().into_owned(), Entry::File(content));
        }
    }
    units.add("bedplate-firewall.service", FIREWALL.to_owned(), Some("multi-user.target"));
    units.add("bedplate-network.service", network(parts), Some("multi-user.target"));
    units.add("nfs-server.service.d/10-bedplate.conf", BEHIND_FIREWALL.to_owned(), None);
    units.add("bedplate-converge.service", converge(host, parts), Some("multi-user.target"));
    if host.notify.is_some() {
        units.add("bedplate-notify.service", notify(host, parts), Some("multi-user.target"));
        units.add("bedplate-notify.timer", NOTIFY_TIMER.to_owned(), Some("timers.target"));
    }
    if has_secrets(host) {
        units.add(HOST_KEY_UNIT, host_key(parts), Some("multi-user.target"));
    }
    for (name, pool) in &host.pools {
        let Some(schedule) = &pool.scrub else { continue };
        let unit = format!("bedplate-scrub-{name}");
        units.add(&format!("{unit}.service"), scrub_service(host, name, parts), None);
        let timer = scrub_timer(name, schedule);
        units.add(&format!("{unit}.timer"), timer, Some("timers.target"));
    }
    for (name, backup) in &host.backups {
        for (task, schedule) in tasks(backup) {
            let unit = format!("bedplate-{}-{name}", task.unit);
            units.add(&format!("{unit}.service"), backup_service(host, name, &task, parts), None);
            units.add(
                &format!("{unit}.timer"),
                backup_timer(name, &task, schedule),
                Some("timers.target"),
            );
        }
    }
    units.entries
}

/// Something that is done with a backup by schedule.
struct BackupTask {
    /// In the names of its units, before the backup's.
    unit: &'static str,
    /// For people, before the backup's name.
    title: &'static str,
    /// What bedplate-host is told, `NAME` being the backup's.
    command: &'static str,
}

const RUN: BackupTask = BackupTask { unit: "backup", title: "backup", command: "backup run NAME" };
const PRUNE: BackupTask =
    BackupTask { unit: "prune", title: "prune of the backup", command: "backup prune NAME" };
const CHECK: BackupTask =
    BackupTask { unit: "check", title: "check of the backup", command: "backup check NAME" };
const VERIFY: BackupTask = BackupTask {
    unit: "verify",
    title: "check of all data of the backup",
    command: "backup check --read-data NAME",
};
const DRILL: BackupTask =
    BackupTask { unit: "drill", title: "drill of the backup", command: "backup drill NAME" };

/// What is done with a backup, and when.
fn tasks(backup: &Backup) -> Vec<(BackupTask, &str)> {
    let upkeep = &backup.upkeep;
    let others = [
        (PRUNE, &upkeep.prune),
        (CHECK, &upkeep.check),
        (VERIFY, &upkeep.check_data),
        (DRILL, &upkeep.drill),
    ];
    let others = others.into_iter().filter_map(|(task, when)| Some((task, when.as_deref()?)));
    std::iter::once((RUN, backup.schedule.as_str())).chain(others).collect()
}

/// Whoever is to be told is told at once when a unit of ours fails.
fn on_failure(host: &HostFile) -> &'static str {
    if host.notify.is_some() { "OnFailure=bedplate-notify.service\n" } else { "" }
}

/// A new generation that ends in an emergency has failed its trial.
fn emergency(parts: &Parts) -> String {
    format!("[Service]\nExecStartPre=-{}/bin/bedplate-host generation failed\n", parts.programs)
}

/// What a boot on trial has to reach before it is blessed, or else gives way to the generation before:
/// what systemd asks for by itself is there before the network and any login are.
fn boot_complete(host: &HostFile) -> String {
    let timeout = u64::from(host.unlock.timeout_seconds) + TRIAL_SECONDS;
    format!(
        "[Unit]\nRequires=multi-user.target\nAfter=multi-user.target\n\
         OnFailure={TRIAL_FAILED}\nJobTimeoutSec={timeout}\n"
    )
}

/// Whether anything follows is decided there: a generation that came up before stays as it is.
fn trial_failed(parts: &Parts) -> String {
    format!(
        "[Unit]\nDescription=Bedplate: this generation did not come up\nDefaultDependencies=no\n\n\
         [Service]\nType=oneshot\nExecStart={}/bin/bedplate-host generation failed\n\
         StandardOutput=journal+console\nStandardError=journal+console\n",
        parts.programs
    )
}

struct Units {
    entries: BTreeMap<String, Entry>,
}

impl Units {
    fn add(&mut self, name: &str, content: String, wanted_by: Option<&str>) {
        self.entries.insert(format!("systemd/system/{name}"), Entry::File(content));
        if let Some(target) = wanted_by {
            self.link(name, target, &format!("/etc/systemd/system/{name}"));
        }
    }

    /// Wanted and never required: the machine runs without an EFI system partition.
    fn add_esp(&mut self, name: &str, host: &HostFile, role: &str, place: &str) {
        let guid = derive(host.host.id, Purpose::GptEsp, role, 0).to_string();
        let mount = format!(
            "[Unit]\nDescription=EFI system partition on {role}\nBefore=local-fs.target\n\n\
             [Mount]\nWhat=/dev/disk/by-partuuid/{guid}\nWhere={place}\nType=vfat\nOptions={ESP_OPTIONS},{}\n",
            vfat::DURABLE
        );
        self.add(name, mount, Some("local-fs.target"));
        let device = partition_unit(&guid);
        self.add(&format!("{device}.d/10-bedplate.conf"), patience(), None);
        // One that comes later, or is put back, is mounted when it comes.
        self.link(name, &device, &format!("/etc/systemd/system/{name}"));
    }

    fn link(&mut self, name: &str, target: &str, unit: &str) {
        let path = format!("systemd/system/{target}.wants/{name}");
        self.entries.insert(path, Entry::Link(unit.to_owned()));
    }
}

/// What uses a pool must come after it, so that nothing is ever served from an empty mount point.
/// Device nodes of the volumes are made without udev, which at boot answers each of them only
/// after everything else it has found: seconds for each.
///
/// What stage 1 was told is removed when no pool needs it any more, and one that is killed needs it no more.
fn pool(host: &HostFile, parts: &Parts) -> String {
    let timeout = u64::from(host.unlock.timeout_seconds) + MOUNT_SECONDS;
    let programs = &parts.programs;
    format!(
        "[Unit]\nDescription=Bedplate pool %i\nAfter=systemd-udevd.service local-fs.target\n\
         Before={}nfs-server.service bedplate-converge.service\n{}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironment=DM_DISABLE_UDEV=1\n\
         ExecStart={programs}/bin/bedplate-host pool open %i\n\
         ExecStopPost=-{programs}/bin/bedplate-host pool settled %i\n\
         TimeoutStartSec={timeout}\nLimitCORE=0\n\
         StandardOutput=journal+console\nStandardError=journal+console\n",
        guest_services(|all| all),
        on_failure(host),
    )
}

/// It brings disks up to date that were away, for hours. A stop does not wait for that: it goes on at
/// the next start.
fn tend(host: &HostFile, parts: &Parts) -> String {
    format!(
        "[Unit]\nDescription=Bedplate: look after the disks of pools\nAfter={}\n{}\n\
         [Service]\nType=oneshot\nExecStart={}/bin/bedplate-host pool tend\n\
         TimeoutStartSec=infinity\nTimeoutStopSec=15\nLimitCORE=0\n",
        pool_units(host),
        on_failure(host),
        parts.programs
    )
}

/// Services that run guests, each with a space behind it: all of them, or those that the drivers ask.
fn guest_services(of: impl Fn(&'static [&'static str]) -> &'static [&'static str]) -> String {
    let drivers = bedplate_guests::drivers();
    let services = drivers.iter().flat_map(|driver| of(driver.services()));
    services.map(|service| format!("{service} ")).collect()
}

fn pool_units(host: &HostFile) -> String {
    let units = host.pools.keys().map(|name| format!("bedplate-pool@{name}.service"));
    units.collect::<Vec<_>>().join(" ")
}

/// Whether the repository holds secrets, which the host's key opens.
fn has_secrets(host: &HostFile) -> bool {
    !host.repository_secrets().is_empty()
}

/// A key that was made in advance comes before one is made here. Should nobody type its passphrase,
/// one is made all the same: the machine must be reachable.
/// It asks for a passphrase. Logins wait for it: they would take the consoles, and from then on
/// systemd's agent at the consoles is replaced by the one that only tells who has logged in.
fn host_key(parts: &Parts) -> String {
    format!(
        "[Unit]\nDescription=Bedplate: the host's ssh key from the key stick\n\
         ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key\nAfter=systemd-udevd.service local-fs.target\n\
         Before=sshd-keygen.service ssh.service systemd-user-sessions.service bedplate-converge.service\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={}/bin/bedplate-host host-key take\n\
         TimeoutStartSec=20min\nLimitCORE=0\nStandardOutput=journal+console\nStandardError=journal+console\n",
        parts.programs
    )
}

/// After multi-user.target, which would wait for it otherwise: it may restore, or back up for the
/// first time, for hours.
fn converge(host: &HostFile, parts: &Parts) -> String {
    let key = if has_secrets(host) { " sshd-keygen.service" } else { "" };
    let asked = guest_services(|all| all.get(..1).unwrap_or_default());
    format!(
        "[Unit]\nDescription=Bedplate: make the machine agree with host.toml\n\
         Wants=network-online.target {asked}nfs-server.service\n\
         After=multi-user.target network-online.target {asked}nfs-server.service {}{key}\n{}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={}/bin/bedplate-host converge\n\
         TimeoutStartSec=infinity\nLimitCORE=0\n",
        pool_units(host),
        on_failure(host),
        parts.programs
    )
}

/// At boot, and then by its timer. It fails when nobody can be told.
fn notify(host: &HostFile, parts: &Parts) -> String {
    format!(
        "[Unit]\nDescription=Bedplate: tell whom host.toml names\n\
         Wants=network-online.target\nAfter=network-online.target {}\n\n\
         [Service]\nType=oneshot\nExecStart={}/bin/bedplate-host notify\n\
         TimeoutStartSec=900\nLimitCORE=0\n",
        pool_units(host),
        parts.programs
    )
}

/// Everything is read, and repaired where one copy is wrong.
fn scrub_service(host: &HostFile, name: &str, parts: &Parts) -> String {
    format!(
        "[Unit]\nDescription=Bedplate scrub of the pool {name}\nAfter=bedplate-pool@{name}.service\n{}\n\
         [Service]\nType=oneshot\nExecStart={}/bin/bedplate-host pool scrub {name}\n\
         Nice=10\nIOSchedulingClass=idle\nTimeoutStartSec=infinity\nLimitCORE=0\n",
        on_failure(host),
        parts.programs
    )
}

fn scrub_timer(name: &str, schedule: &str) -> String {
    format!(
        "[Unit]\nDescription=Bedplate scrub of the pool {name}, by schedule\n\n\
         [Timer]\nOnCalendar={schedule}\nPersistent=yes\nRandomizedDelaySec=1h\n"
    )
}

fn backup_service(host: &HostFile, name: &str, task: &BackupTask, parts: &Parts) -> String {
    let program = format!("{}/bin/bedplate-host", parts.programs);
    // Killed while guests are held, it cannot let them go itself.
    let after = match task.unit == RUN.unit {
        true => format!("ExecStopPost=-{program} backup let-go\n"),
        false => String::new(),
    };
    format!(
        "[Unit]\nDescription=Bedplate {} {name}\nAfter=bedplate-converge.service\n{}\n\
         [Service]\nType=oneshot\nExecStart={program} {}\n{after}\
         Nice=10\nIOSchedulingClass=idle\nTimeoutStartSec=infinity\nLimitCORE=0\n",
        task.title,
        on_failure(host),
        task.command.replace("NAME", name)
    )
}

fn backup_timer(name: &str, task: &BackupTask, schedule: &str) -> String {
    format!(
        "[Unit]\nDescription=Bedplate {} {name}, by schedule\n\n\
         [Timer]\nOnCalendar={schedule}\nPersistent=yes\nRandomizedDelaySec=10min\n",
        task.title
    )
}
