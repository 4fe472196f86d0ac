//! Each kind of difference between what is planned and what is built is found: one side is broken,
//! and exactly that is named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bedplate_document as document;
use bedplate_formats::boot::BOOT_FILE;
use bedplate_host_service::etc;
use bedplate_image_builder::identity::with_own_id;
use bedplate_model::facts::{Facts, Signature, TokenFacts};
use bedplate_model::identity::{Purpose, derive};
use bedplate_planner as planner;
use bedplate_platform::toplevel::{self, Entry};
use bedplate_tools::cpio::Archive;
use serde_json::Value;
use tempfile::TempDir;

use super::built::built;
use super::machine::differences;
use super::planned::planned;
use crate::example;

const FULL: &str = include_str!("full.toml");

/// The plan of a document as it is printed.
fn plan(document: &str) -> String {
    plan_on(document, &example::facts().unwrap())
}

fn plan_on(document: &str, facts: &Facts) -> String {
    let host = document::parse(document, "host.toml").unwrap_or_else(|all| panic!("{all}"));
    let plan = planner::plan(&host, facts).unwrap_or_else(|all| panic!("{all:?}"));
    serde_json::to_string(&plan).unwrap()
}

/// A toplevel as its builder writes it, with nothing in its initrd but what stage 1 is told.
fn toplevel(document: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let host = document::parse(document, "host.toml").unwrap();
    for (name, entry) in etc::toplevel(&host, document, &super::parts()).unwrap() {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match entry {
            Entry::File(content) | Entry::Program(content) => fs::write(path, content).unwrap(),
            Entry::Link(target) => symlink(target, path).unwrap(),
        }
    }
    stage1(place.path(), &serde_json::to_value(toplevel::stage1(&host)).unwrap());
    place
}

fn stage1(toplevel: &Path, told: &Value) {
    let mut archive = Archive::new(Vec::new());
    let name = BOOT_FILE.trim_start_matches('/');
    archive.file(name, 0o400, told.to_string().as_bytes()).unwrap();
    fs::write(toplevel.join("initrd"), archive.finish().unwrap()).unwrap();
}

/// Changes what stage 1 is told.
fn tell(toplevel: &Path, key: &str, value: Value) {
    let host = fs::read_to_string(toplevel.join("host.toml")).unwrap();
    let host = document::parse(&host, "host.toml").unwrap();
    let mut told = serde_json::to_value(toplevel::stage1(&host)).unwrap();
    assert_ne!(told[key], value, "{key}");
    told[key] = value;
    stage1(toplevel, &told);
}

fn replace(toplevel: &Path, name: &str, from: &str, to: &str) {
    let path = toplevel.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name}: {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

/// Both documents of a toplevel.
fn rewrite(toplevel: &Path, from: &str, to: &str) {
    for name in ["host.toml", "etc/bedplate/host.toml"] {
        replace(toplevel, name, from, to);
    }
}

fn remove(toplevel: &Path, name: &str) {
    fs::remove_file(toplevel.join(name)).unwrap();
}

/// What is said of the toplevel of a document after `damage`.
fn found(damage: impl FnOnce(&Path)) -> Vec<String> {
    let toplevel = toplevel(FULL);
    damage(toplevel.path());
    let planned = planned(&plan(FULL), FULL).unwrap();
    let built = built(toplevel.path()).unwrap();
    differences(&planned, &built).unwrap().iter().map(ToString::to_string).collect()
}

/// Where the differences are.
fn places(damage: impl FnOnce(&Path)) -> Vec<String> {
    let place = |line: String| line.split(": ").next().unwrap_or_default().to_owned();
    found(damage).into_iter().map(place).collect()
}

#[test]
fn a_toplevel_brings_up_what_is_planned() {
    let own = with_own_id(include_str!("../../../profiles/hypervisor/host.toml")).unwrap();
    let profile = own.unwrap().0;
    for document in [FULL, &profile] {
        let planned = planned(&plan(document), document).unwrap();
        let built = built(toplevel(document).path()).unwrap();
        assert_eq!(differences(&planned, &built).unwrap(), []);
    }
    let planned = planned(&plan(FULL), FULL).unwrap();
    assert_eq!(
        planned.mounts.keys().collect::<Vec<_>>(),
        ["/", "/boot", "/boot-mirror", "/data", "/mnt/bulk", "/mnt/vmstore", "/nix"]
    );
    assert_eq!(planned.volumes.len(), 7);
    assert_eq!(planned.keys.len(), 3);
    assert_eq!(planned.exports["/mnt/bulk/media"].clients.len(), 2);
    assert_eq!((planned.bridges.len(), planned.vms.len()), (3, 1));
}

#[test]
fn a_pool_that_is_kept_is_brought_up_as_the_one_it_was() {
    let mut document = FULL.to_owned();
    let mut facts = example::facts().unwrap();
    let id = document::parse(FULL, "host.toml").unwrap().host.id;
    for role in ["vm1", "vm2", "vm3"] {
        let header = format!("[disks.{role}]\n");
        assert!(document.contains(&header));
        document = document.replace(&header, &format!("{header}wipe = \"never\"\n"));
        let disk = document::parse(FULL, "host.toml").unwrap().disks[role].id.clone();
        let disk = facts.disks.iter_mut().find(|facts| facts.has_id(&disk)).unwrap();
        let luks_uuid = derive(id, Purpose::Luks, role, 0).to_string();
        disk.signatures = vec![Signature {
            partition: Some(1),
            kind: "crypto_LUKS".into(),
            label: None,
            uuid: Some(luks_uuid.clone()),
            size: disk.size,
        }];
        disk.bedplate = Some(TokenFacts {
            plan: "of another installation".into(),
            luks_uuid,
            sealed: true,
            sealed_at: None,
            sections: Default::default(),
            boots: None,
        });
    }
    let plan = plan_on(&document, &facts);
    assert!(plan.contains("\"step\":\"keep_pool\",\"name\":\"vmstore\""), "{plan}");
    let planned = planned(&plan, &document).unwrap();
    let built = built(toplevel(&document).path()).unwrap();
    assert_eq!(differences(&planned, &built).unwrap(), []);
    assert_eq!(planned.volumes.len(), 7);
}

#[test]
fn t21_what_stage_1_is_told_is_compared() {
    let other = "00000000-0000-4000-8000-000000000000";
    assert_eq!(places(|at| tell(at, "luks_uuid", other.into())), ["volumes.os.uuid"]);
    assert_eq!(places(|at| tell(at, "discard", true.into())), ["volumes.os.discard"]);
    assert_eq!(places(|at| tell(at, "keyfile", "other".into())), ["keys.stage 1.keyfile"]);
    assert_eq!(
        places(|at| tell(at, "timeout_seconds", 9.into())),
        ["keys.stage 1.timeout_seconds"]
    );
    let one = serde_json::json!(["1A2B-3C4D"]);
    assert_eq!(places(|at| tell(at, "sticks", one)), ["keys.stage 1.sticks"]);
    let fewer = serde_json::json!({ "root": "/", "store": "/nix" });
    let lines = found(|at| tell(at, "subvolumes", fewer));
    assert_eq!(
        lines,
        [
            "mounts./data.subvolume.mapper: planned \"bedplate-os\", built nothing",
            "mounts./data.subvolume.name: planned \"data\", built nothing",
            "mounts./nix.subvolume.name: planned \"nix\", built \"store\"",
        ]
    );
}

#[test]
fn a_mount_that_lacks_or_is_another_one_is_named() {
    let wants = "etc/systemd/system/local-fs.target.wants";
    let gone = places(|at| remove(at, &format!("{wants}/boot.mount")));
    assert_eq!(gone, ["mounts./boot.esp.partition"]);
    let unit = "etc/systemd/system/boot\\x2dmirror.mount";
    let moved = places(|at| replace(at, unit, "Where=/boot-mirror", "Where=/elsewhere"));
    assert_eq!(moved, ["mounts./boot-mirror.esp.partition", "mounts./elsewhere.esp.partition"]);
    let kind = places(|at| replace(at, unit, "Type=vfat", "Type=ext4"));
    assert_eq!(kind, ["mounts./boot-mirror.esp.partition", "mounts./boot-mirror.other.line"]);
    let table = "/dev/sda1 /mnt/more ext4 defaults 0 0\n";
    let lines = found(|at| fs::write(at.join("etc/fstab"), table).unwrap());
    assert!(lines[0].starts_with("mounts./mnt/more.other.line: planned nothing"), "{lines:?}");
}

#[test]
fn t39_a_pool_that_nothing_starts_is_named_with_all_that_depends_on_it() {
    let wants = "etc/systemd/system/multi-user.target.wants";
    let gone = places(|at| remove(at, &format!("{wants}/bedplate-pool@bulk.service")));
    for place in [
        "exports./mnt/bulk/media.only_with",
        "keys.bulk.keyfile",
        "mounts./mnt/bulk.pool.members",
        "volumes.bulk1.uuid",
    ] {
        assert!(gone.iter().any(|line| line == place), "{place} in {gone:?}");
    }
    assert!(!gone.iter().any(|line| line.contains("vm1") || line.contains("vmstore")), "{gone:?}");
}

#[test]
fn the_document_of_the_toplevel_is_compared() {
    let media = places(|at| rewrite(at, "[disks.vm1]\n", "[disks.vm1]\nmedia = \"hdd\"\n"));
    assert_eq!(media, ["volumes.vm1.discard"]);
    let mount = places(|at| rewrite(at, "mount = \"/mnt/vmstore\"", "mount = \"/mnt/vms\""));
    assert!(mount.contains(&"mounts./mnt/vms.pool.members".to_owned()), "{mount:?}");
    let id = places(|at| rewrite(at, "6b1f0c9a7d21", "6b1f0c9a7d22"));
    assert!(id.contains(&"id".to_owned()) && id.contains(&"volumes.vm3.uuid".to_owned()));
    assert!(!id.contains(&"volumes.os.uuid".to_owned()), "{id:?}");
    let keys = places(|at| rewrite(at, "timeout_seconds = 45", "timeout_seconds = 44"));
    assert_eq!(keys, ["keys.bulk.timeout_seconds", "keys.vmstore.timeout_seconds"]);
    let vm = places(|at| rewrite(at, "vcpu = 4", "vcpu = 3"));
    assert_eq!(vm, ["vms.haos.vcpu"]);
    let name = places(|at| replace(at, "etc/hostname", "attic", "cellar"));
    assert_eq!(name, ["name"]);
}

#[test]
fn t37_who_is_served_and_how_is_compared() {
    let client = found(|at| rewrite(at, "\"100.64.0.0/10\"", "\"100.64.0.0/11\""));
    assert_eq!(
        client,
        [
            "exports./mnt/bulk/media.clients.100.64.0.0/10: planned [\"no_subtree_check\",\"ro\"], built nothing",
            "exports./mnt/bulk/media.clients.100.64.0.0/11: planned nothing, built [\"no_subtree_check\",\"ro\"]",
        ]
    );
    let options = places(|at| rewrite(at, "\"ro\", ", "\"rw\", "));
    assert_eq!(options.len(), 2, "{options:?}");
    let gone = places(|at| rewrite(at, "\"/mnt/bulk/apps\"", "\"/mnt/bulk/apps2\""));
    assert!(gone.contains(&"exports./mnt/bulk/apps.only_with".to_owned()), "{gone:?}");
    let rules = "etc/bedplate/firewall.nft";
    let wide = found(|at| replace(at, rules, "ip saddr 100.64.0.0/10", "ip saddr 100.0.0.0/8"));
    assert_eq!(wide.len(), 1, "{wide:?}");
    assert!(wide[0].starts_with("nfs.reached_by: "), "{wide:?}");
    let settings = "etc/nfs.conf.d/bedplate.conf";
    assert_eq!(places(|at| replace(at, settings, "vers3=y", "vers3=n")), ["nfs.v3"]);
}

#[test]
fn bridges_are_compared() {
    let file = |name: &str| format!("etc/systemd/network/10-bedplate-{name}");
    let changed = |name: &str, from, to| places(|at| replace(at, &file(name), from, to));
    assert_eq!(changed("br0-port.network", "enp5s0", "enp6s0"), ["bridges.br0.nics"]);
    assert_eq!(changed("br0.network", "DHCP=yes", "DHCP=no"), ["bridges.br0.dhcp"]);
    assert_eq!(changed("br0.netdev", "VLANFiltering=yes", ""), ["bridges.br0.vlan_aware"]);
    assert_eq!(changed("lan1.network", "Address=10.0.0.5/24", ""), ["bridges.lan1.addresses"]);
    assert_eq!(changed("lan1.network", "Gateway=10.0.0.1", ""), ["bridges.lan1.gateways"]);
    assert_eq!(changed("lan1.network", "DNS=10.0.0.2", "DNS=10.0.0.3"), ["bridges.lan1.dns"]);
    assert_eq!(changed("lab0.network", "IPMasquerade=ipv4", ""), ["bridges.lab0.nat"]);
    let gone = places(|at| remove(at, &file("lab0.netdev")));
    assert!(gone.contains(&"bridges.lab0.addresses".to_owned()), "{gone:?}");
}

#[test]
fn a_plan_of_something_else_is_found() {
    let toplevel = toplevel(FULL);
    let built = built(toplevel.path()).unwrap();
    let text = plan(FULL);
    let places = |from: &str, to: &str| -> Vec<String> {
        assert!(text.contains(from), "{from}");
        let planned = planned(&text.replace(from, to), FULL).unwrap();
        differences(&planned, &built).unwrap().into_iter().map(|one| one.place).collect()
    };
    let target = places("\"target\":\"/data\"", "\"target\":\"/srv/data\"");
    assert!(target.contains(&"mounts./srv/data.subvolume.name".to_owned()), "{target:?}");
    let uuid = document::parse(FULL, "host.toml").unwrap().host.id;
    let uuid = derive(uuid, Purpose::Luks, "vm2", 0);
    let other = "00000000-0000-4000-8000-000000000000";
    assert_eq!(places(&uuid.to_string(), other), ["volumes.vm2.uuid"]);
    assert_eq!(places("bedplate/keyfile", "bedplate/other").len(), 3);
}

#[test]
fn what_a_toplevel_cannot_mean_is_an_error() {
    let failure = |damage: &dyn Fn(&Path)| {
        let toplevel = toplevel(FULL);
        damage(toplevel.path());
        built(toplevel.path()).unwrap_err().to_string()
    };
    let unit = "etc/systemd/system/bedplate-pool@.service";
    let early = failure(&|at| replace(at, unit, "TimeoutStartSec=1545", "TimeoutStartSec=45"));
    assert!(early.contains("gives up before its stick may come"), "{early}");
    let other = failure(&|at| replace(at, unit, "pool open %i", "pool status"));
    assert!(
        other.contains("runs `/nix/store/x-programs/bin/bedplate-host pool status`"),
        "{other}"
    );
    let two = failure(&|at| replace(at, "host.toml", "vcpu = 4", "vcpu = 3"));
    assert!(two.contains("not the same"), "{two}");
    let none = failure(&|at| fs::write(at.join("initrd"), "zstd?").unwrap());
    assert!(none.contains("no archive"), "{none}");
    let rules = "etc/systemd/system/bedplate-firewall.service";
    let open = failure(&|at| replace(at, rules, "firewall.nft", "other.nft"));
    assert!(open.contains("bedplate-firewall.service runs"), "{open}");
}
