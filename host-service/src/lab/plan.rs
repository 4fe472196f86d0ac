//! What it takes to make copies, or to be rid of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use bedplate_guests::copies::{Known, PlanCopy, Wanted};
use bedplate_model::host::{Bridge, Guest, HostFile, State};
use serde::Serialize;

use super::{name, place};
use bedplate_resources::context::pool_mount;
use bedplate_tools::mounts::Mounts;

/// What was found on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabFacts {
    /// What is mounted: machines and their copies are on pools.
    pub mounts: Mounts,
    /// For each machine, its disk in the newest snapshot that holds it.
    pub sources: BTreeMap<String, Source>,
    /// All guests that the machine knows, whether or not they are ours.
    pub known: BTreeMap<String, KnownGuest>,
    /// Pools that have a lab, by their mounts.
    pub labs: BTreeSet<PathBuf>,
}

/// A guest that the machine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownGuest {
    /// The kind of its driver.
    pub kind: &'static str,
    /// Whether it is ours, and whether it runs.
    pub known: Known,
}

/// Plans copies of one kind of guest.
pub struct Planner {
    /// The kind of its driver.
    pub kind: &'static str,
    /// The section of `host.toml` that declares such guests.
    pub section: &'static str,
    /// Says how one is copied.
    pub plan: PlanCopy,
}

/// A disk in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub disk: PathBuf,
    /// When the snapshot was taken, seconds since 1970.
    pub at: u64,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not in host.toml.
    #[error("host.toml declares no machine `{0}`")]
    NoMachine(String),
    /// Not a bridge for copies.
    #[error("{0}")]
    Bridge(String),
    /// A pool is not mounted.
    #[error("{0}")]
    Pool(String),
    /// Nothing to copy.
    #[error(
        "no snapshot of a backup that stored everything holds the disk of `{0}`: name its directory in a \
         backup, and see that a run of it ends well (`bedplate-host status` says how the newest did)"
    )]
    NoSnapshot(String),
    /// The name is taken.
    #[error(
        "there is a domain `{0}` already; `bedplate-host lab destroy` removes copies, and never what is not ours"
    )]
    Taken(String),
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Make the subvolume of the lab, where there is none.
    MakeLab {
        /// Path that the subvolume gets, on a pool whose machines are copied.
        place: PathBuf,
    },
    /// Copy a disk without copying its data; what was there is replaced.
    CopyDisk {
        /// In a snapshot.
        from: PathBuf,
        /// In the lab.
        to: PathBuf,
    },
    /// Define a copy.
    Define {
        /// The kind of its driver.
        kind: &'static str,
        /// Name of the copy.
        name: String,
        /// Its definition.
        definition: String,
    },
    /// Turn a copy off.
    Stop {
        /// The kind of its driver.
        kind: &'static str,
        /// Name of the copy.
        name: String,
    },
    /// Remove the definition of a copy.
    Undefine {
        /// The kind of its driver.
        kind: &'static str,
        /// Name of the copy.
        name: String,
    },
    /// Delete the subvolume of the lab with all disks in it.
    DeleteLab {
        /// Path of the subvolume, on the pool where it was found.
        place: PathBuf,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeLab { place } => write!(formatter, "make {}", place.display()),
            Self::CopyDisk { from, to } => {
                write!(formatter, "copy {} to {}", from.display(), to.display())
            }
            Self::Define { name, .. } => write!(formatter, "define {name}"),
            Self::Stop { name, .. } => write!(formatter, "turn {name} off"),
            Self::Undefine { name, .. } => write!(formatter, "undefine {name}"),
            Self::DeleteLab { place } => write!(formatter, "delete {}", place.display()),
        }
    }
}

/// The steps that make copies of `machines` on `bridge`.
pub fn clones(
    intent: &HostFile,
    facts: &LabFacts,
    machines: &[String],
    bridge: &str,
    planners: &[Planner],
) -> Result<Vec<Step>, Refusal> {
    expect_isolated(intent, bridge)?;
    let mut steps = Vec::new();
    let mut made = BTreeSet::new();
    for machine in machines {
        let no_machine = || Refusal::NoMachine(machine.clone());
        let (guest, planner) = copied(intent, machine, planners).ok_or_else(no_machine)?;
        let mount = pool_mount(intent, &facts.mounts, guest.pool).map_err(Refusal::Pool)?;
        let source = facts.sources.get(machine);
        let source = source.ok_or_else(|| Refusal::NoSnapshot(machine.clone()))?;
        let name = name(machine);
        if facts.known.contains_key(&name) || intent.guests().any(|other| *other.name == name) {
            return Err(Refusal::Taken(name));
        }
        let place = place(Path::new(mount));
        if !facts.labs.contains(Path::new(mount)) && made.insert(mount) {
            steps.push(Step::MakeLab { place: place.clone() });
        }
        let directory = place.join(machine);
        let wanted = Wanted { guest: machine, copy: &name, bridge, directory: &directory };
        let copy = (planner.plan)(intent, &wanted).ok_or_else(no_machine)?;
        steps.push(Step::CopyDisk { from: source.disk.clone(), to: copy.disk });
        steps.push(Step::Define { kind: planner.kind, name, definition: copy.definition });
    }
    Ok(steps)
}

/// The guest called `name`, and who plans copies of its kind; none where it cannot be copied.
fn copied<'a>(
    intent: &'a HostFile,
    name: &str,
    planners: &'a [Planner],
) -> Option<(Guest<'a>, &'a Planner)> {
    let mut present =
        intent.guests().filter(|guest| guest.name == name && guest.state == State::Present);
    present.find_map(|guest| {
        let planner = planners.iter().find(|planner| planner.section == guest.section)?;
        Some((guest, planner))
    })
}

fn expect_isolated(intent: &HostFile, bridge: &str) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::Bridge(why));
    match intent.network.bridges.get(bridge) {
        None => refuse(format!(
            "host.toml declares no bridge `{bridge}`; write `[network.bridges.{bridge}]` without `nic`"
        )),
        Some(found) => match leads_somewhere(found) {
            Some(why) => refuse(format!("the bridge `{bridge}` {why}")),
            None => Ok(()),
        },
    }
}

/// A bridge with a NIC leads to the LAN; one with addresses leads to this machine, which may forward.
pub fn leads_somewhere(bridge: &Bridge) -> Option<&'static str> {
    match (&bridge.nic, bridge.addresses.is_empty()) {
        (Some(_), _) => Some("has a NIC: copies must not reach the LAN"),
        (None, false) => Some("has addresses: copies must not reach this machine"),
        (None, true) => None,
    }
}

/// The steps that remove the copies of `machines`, and the labs. Guests that are not ours stay.
pub fn removals(facts: &LabFacts, machines: &[String]) -> Vec<Step> {
    let mut steps = Vec::new();
    for copy in machines.iter().map(|machine| name(machine)) {
        let Some(KnownGuest { kind, known }) =
            facts.known.get(&copy).filter(|found| found.known.ours)
        else {
            continue;
        };
        if known.running {
            steps.push(Step::Stop { kind, name: copy.clone() });
        }
        steps.push(Step::Undefine { kind, name: copy });
    }
    let labs = facts.labs.iter().map(|mount| Step::DeleteLab { place: place(mount) });
    steps.into_iter().chain(labs).collect()
}

#[cfg(test)]
mod tests {
    use bedplate_model::host::{Nic, VmNic};
    use bedplate_model::identity;

    use super::*;
    use bedplate_guests::vm::accelerator::Accelerator;
    use bedplate_guests::vm::domain;
    use bedplate_guests::vm::driver::plan_copy;
    use bedplate_sample as sample;

    fn intent() -> HostFile {
        let mut intent = sample::intent();
        let isolated = Bridge {
            nic: None,
            dhcp: false,
            addresses: Vec::new(),
            gateway: None,
            dns: Vec::new(),
            vlan_aware: false,
            nat: false,
        };
        intent.network.bridges.insert("br-test".into(), isolated);
        intent
    }

    fn facts() -> LabFacts {
        let disk = "/mnt/vmstore/.bedplate-snapshots/vms/1/haos/haos.qcow2".into();
        LabFacts {
            mounts: sample::mounts(),
            sources: [("haos".to_owned(), Source { disk, at: 7 })].into(),
            ..LabFacts::default()
        }
    }

    fn planned(intent: &HostFile, facts: &LabFacts, bridge: &str) -> Result<Vec<Step>, Refusal> {
        let plan: PlanCopy = Box::new(|host, wanted| plan_copy(host, wanted, Accelerator::Kvm));
        let planner = Planner { kind: "vm", section: "vms", plan };
        clones(intent, facts, &["haos".into()], bridge, &[planner])
    }

    #[test]
    fn a_copy_is_planned() {
        insta::assert_json_snapshot!(planned(&intent(), &facts(), "br-test").unwrap());
    }

    #[test]
    fn t42_a_copy_shares_neither_mac_nor_uuid_nor_usb_nor_disk_and_does_not_start_by_itself() {
        let mut intent = intent();
        intent.vms.get_mut("haos").unwrap().vlan = Some(20);
        let steps = planned(&intent, &facts(), "br-test").unwrap();
        let Some(Step::Define { definition: xml, .. }) = steps.last() else { panic!("{steps:?}") };
        let vm = &intent.vms["haos"];
        let own =
            domain::define(&intent, "haos", vm, Path::new("/mnt/vmstore/haos"), Accelerator::Kvm);
        let own = own.unwrap().xml;
        let uuid = |xml: &str| xml.split("<uuid>").nth(1).unwrap()[..36].to_owned();
        assert_ne!(uuid(xml), uuid(&own));
        assert!(own.contains("52:54:00:12:34:56") && !xml.contains("52:54:00:12:34:56"));
        assert!(xml.contains(identity::mac_address(intent.host.id, "lab-haos").as_str()));
        assert!(own.contains("hostdev") && !xml.contains("hostdev"));
        assert!(own.contains("<vlan>") && !xml.contains("<vlan>"));
        assert!(!xml.contains("/mnt/vmstore/haos") && xml.contains("bridge=\"br-test\""), "{xml}");
    }

    #[test]
    fn t42_no_nic_of_a_copy_is_on_a_network_of_the_original_and_its_disk_is_another() {
        let mut intent = intent();
        let vm = intent.vms.get_mut("haos").unwrap();
        vm.disk_image = None;
        vm.existing_disk = Some("old.qcow2".into());
        let mac = Some("52:54:00:12:34:57".parse().unwrap());
        vm.nics = vec![VmNic { bridge: "br0".into(), mac_address: mac, vlan: Some(30) }];
        let steps = planned(&intent, &facts(), "br-test").unwrap();
        let Some(Step::Define { definition: xml, .. }) = steps.last() else { panic!("{steps:?}") };
        assert_eq!(xml.matches("bridge=\"br-test\"").count(), 2, "{xml}");
        for original in ["br0", "52:54:00:12:34:57", "<vlan>", "old.qcow2"] {
            assert!(!xml.contains(original), "{original}: {xml}");
        }
    }

    #[test]
    fn a_copy_of_a_cloud_image_names_no_file_that_no_step_makes() {
        let mut intent = intent();
        intent.vms.get_mut("haos").unwrap().cloud_init = Some(bedplate_sample::cloud_init());
        let steps = planned(&intent, &facts(), "br-test").unwrap();
        let Some(Step::Define { definition: xml, .. }) = steps.last() else { panic!("{steps:?}") };
        let files: Vec<_> =
            xml.split("file=\"").skip(1).filter_map(|it| it.split('"').next()).collect();
        assert_eq!(files, ["/mnt/vmstore/.bedplate-lab/haos/disk.qcow2"], "{xml}");
    }

    #[test]
    fn t42_a_bridge_that_leads_somewhere_is_refused() {
        let mut intent = intent();
        let refused = |intent: &HostFile, bridge: &str| {
            planned(intent, &facts(), bridge).unwrap_err().to_string()
        };
        assert!(refused(&intent, "br0").contains("has a NIC"));
        assert!(refused(&intent, "br9").contains("declares no bridge"));
        let bridge = intent.network.bridges.get_mut("br-test").unwrap();
        bridge.addresses.push("10.9.0.1/24".into());
        assert!(refused(&intent, "br-test").contains("has addresses"));
        intent.network.bridges.get_mut("br-test").unwrap().nic = Some(Nic::Name("eth1".into()));
        assert!(refused(&intent, "br-test").contains("has a NIC"));
    }

    #[test]
    fn what_is_not_ours_is_neither_replaced_nor_removed() {
        let mut facts = facts();
        let found = |ours| KnownGuest { kind: "vm", known: Known { ours, running: true } };
        facts.known = [("lab-haos".to_owned(), found(false))].into();
        facts.labs = ["/mnt/vmstore".into()].into();
        assert_eq!(planned(&intent(), &facts, "br-test"), Err(Refusal::Taken("lab-haos".into())));
        let place = "/mnt/vmstore/.bedplate-lab".into();
        assert_eq!(removals(&facts, &["haos".into()]), [Step::DeleteLab { place }]);
        facts.known.insert("lab-haos".into(), found(true));
        let steps = removals(&facts, &["haos".into()]);
        let names: Vec<_> = steps.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["turn lab-haos off", "undefine lab-haos", "delete /mnt/vmstore/.bedplate-lab"]
        );
        facts.sources.clear();
        facts.known.clear();
        let refused = planned(&intent(), &facts, "br-test");
        assert_eq!(refused, Err(Refusal::NoSnapshot("haos".into())));
    }
}
