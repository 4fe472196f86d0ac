//! What a built toplevel of the embedded platform will do: stage 1 by the document in its initrd, the
//! system by its units, and `bedplate-host`, which the units start, by the `host.toml` that stands in
//! the toplevel's `etc`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bedplate_formats::boot::{BOOT_FILE, Boot, Unlock};
use bedplate_host_service::firewall;
use bedplate_host_service::nfs::{self, Exports};
use bedplate_model::host::{HostFile, Media};
use bedplate_model::identity::{Purpose, derive, member_mapper};
use bedplate_model::name::Role;
use bedplate_platform::intent;
use bedplate_resources::kind::Kind as _;
use bedplate_tools::mounts::Mounts;
use uuid::Uuid;

use super::archive;
use super::ini::Ini;
use super::machine::{self, Bridge, Export, Keys, Machine, STAGE_1, Server, Source, Volume};
use crate::failure::{Failure, file};

const UNITS: &str = "etc/systemd/system";
const NETWORK: &str = "etc/systemd/network";
const BY_GUID: &str = "/dev/disk/by-partuuid/";

fn unfit(why: impl Into<String>) -> Failure {
    Failure::Unfit(why.into())
}

/// The machine that boots this toplevel.
pub fn built(toplevel: &Path) -> Result<Machine, Failure> {
    Toplevel { root: toplevel.to_owned() }.machine()
}

struct Toplevel {
    root: PathBuf,
}

impl Toplevel {
    fn machine(&self) -> Result<Machine, Failure> {
        let stage1 = self.stage1()?;
        let document = self.text("host.toml")?;
        if self.text("etc/bedplate/host.toml")? != document {
            return Err(unfit("the two documents of the toplevel are not the same"));
        }
        let path = self.root.join("etc/bedplate/host.toml");
        let host = intent::read(&path).map_err(|error| unfit(error.to_string()))?;
        let mut mounts = subvolumes(&stage1);
        mounts.extend(self.mount_units()?);
        mounts.extend(self.table()?);
        let (role, volume) = first_volume(&stage1)?;
        let mut volumes = BTreeMap::from([(role, volume)]);
        let mut keys = BTreeMap::from([(STAGE_1.to_owned(), keys(&stage1))]);
        for pool in self.pools(&host)? {
            mounts.insert(pool.mount, pool.source);
            volumes.extend(pool.volumes);
            keys.insert(pool.name, Keys::of(&host));
        }
        Ok(Machine {
            id: host.host.id,
            name: self.text("etc/hostname")?.trim().to_owned(),
            exports: exports(&host, &mounts)?,
            nfs: self.server()?,
            bridges: self.bridges()?,
            vms: machine::vms(&host)?,
            mounts,
            volumes,
            keys,
        })
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        let path = self.root.join(name);
        fs::read_to_string(&path).map_err(file("read", &path))
    }

    /// Names in a directory, sorted; none where there is none.
    fn names(&self, directory: &str) -> Vec<String> {
        names_in(&self.root.join(directory))
    }

    /// A unit of the toplevel.
    fn unit(&self, name: &str) -> Result<Ini, Failure> {
        Ok(Ini::parse(&self.text(&format!("{UNITS}/{name}"))?))
    }

    /// The units that a target wants, each with the file that it is.
    fn wanted_by(&self, target: &str) -> Result<Vec<(String, String)>, Failure> {
        let directory = format!("{UNITS}/{target}.wants");
        let mut wanted = Vec::new();
        for name in self.names(&directory) {
            let link = self.root.join(&directory).join(&name);
            let to = fs::read_link(&link).map_err(file("read the link", &link))?;
            if let Ok(own) = to.strip_prefix("/etc/systemd/system") {
                wanted.push((name, own.display().to_string()));
            }
        }
        Ok(wanted)
    }

    fn stage1(&self) -> Result<Unlock, Failure> {
        let path = self.root.join("initrd");
        let bytes = fs::read(&path).map_err(file("read", &path))?;
        let files = archive::files(&bytes).ok_or_else(|| unfit("the initrd is no archive"))?;
        let document = files.get(BOOT_FILE.trim_start_matches('/'));
        let document = document.ok_or_else(|| unfit(format!("no {BOOT_FILE} in the initrd")))?;
        match serde_json::from_slice(document) {
            Ok(Boot::Unlock(unlock)) => Ok(unlock),
            Ok(Boot::Live(_)) => Err(unfit("stage 1 brings up a medium")),
            Err(error) => Err(unfit(error.to_string())),
        }
    }

    fn mount_units(&self) -> Result<BTreeMap<String, Source>, Failure> {
        let mut mounts = BTreeMap::new();
        let wanted = self.wanted_by("local-fs.target")?;
        for (name, own) in wanted.into_iter().filter(|(name, _)| name.ends_with(".mount")) {
            let unit = self.unit(&own)?;
            let told = |key| unit.last("Mount", key).unwrap_or_default().to_owned();
            let (what, kind) = (told("What"), told("Type"));
            let guid = what.strip_prefix(BY_GUID).and_then(|guid| Uuid::try_parse(guid).ok());
            let source = match guid.filter(|_| kind == "vfat") {
                Some(partition) => Source::Esp { partition },
                None => Source::Other { line: format!("{name}: {what} ({kind})") },
            };
            mounts.insert(told("Where"), source);
        }
        Ok(mounts)
    }

    /// What `fstab` mounts: nothing, or a boot would wait for it.
    fn table(&self) -> Result<BTreeMap<String, Source>, Failure> {
        let text = self.text("etc/fstab")?;
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mount = |line: &str| {
            let target = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            (target, Source::Other { line: format!("fstab: {line}") })
        };
        Ok(lines.map(mount).collect())
    }

    /// The pools whose units start at boot.
    fn pools(&self, host: &HostFile) -> Result<Vec<Pool>, Failure> {
        let mut pools = Vec::new();
        for (name, own) in self.wanted_by("multi-user.target")? {
            let instance = name.strip_prefix("bedplate-pool@");
            let Some(pool) = instance.and_then(|rest| rest.strip_suffix(".service")) else {
                continue;
            };
            let unit = self.unit(&own)?;
            let command = unit.last("Service", "ExecStart").unwrap_or_default();
            let (_, task) = command.split_once(' ').unwrap_or_default();
            if task != "pool open %i" {
                return Err(unfit(format!("{name} runs `{command}`")));
            }
            let limit = unit.last("Service", "TimeoutStartSec").and_then(|text| text.parse().ok());
            if limit.is_none_or(|limit: u32| limit <= host.unlock.timeout_seconds) {
                return Err(unfit(format!("{name} gives up before its stick may come: {limit:?}")));
            }
            pools.push(pool_of(host, pool)?);
        }
        Ok(pools)
    }

    fn server(&self) -> Result<Server, Failure> {
        let settings = Ini::parse(&self.text(&format!("etc/{}", firewall::NFS_FILE))?);
        let loads = self.unit("bedplate-firewall.service")?;
        let loads = loads.last("Service", "ExecStart").unwrap_or_default().to_owned();
        if !loads.ends_with(&format!(" -f /etc/{}", firewall::FILE)) {
            return Err(unfit(format!("bedplate-firewall.service runs `{loads}`")));
        }
        let rules = self.text(&format!("etc/{}", firewall::FILE))?;
        let accepted = rules.lines().filter_map(|line| {
            let (client, ports) = line.trim().split_once(" tcp dport ")?;
            let client = client.split_once(" saddr ")?.1;
            (ports.contains("2049") && ports.ends_with(" accept")).then(|| client.to_owned())
        });
        Ok(Server { v3: settings.is_on("nfsd", "vers3"), reached_by: accepted.collect() })
    }

    fn bridges(&self) -> Result<BTreeMap<String, Bridge>, Failure> {
        let files: Vec<(String, Ini)> = self
            .names(NETWORK)
            .into_iter()
            .map(|name| Ok((name.clone(), Ini::parse(&self.text(&format!("{NETWORK}/{name}"))?))))
            .collect::<Result<_, Failure>>()?;
        let of =
            |end| files.iter().filter(move |(name, _)| name.ends_with(end)).map(|(_, ini)| ini);
        let devices = of(".netdev").filter(|ini| ini.last("NetDev", "Kind") == Some("bridge"));
        let bridge = |device: &Ini| {
            let name = device.last("NetDev", "Name")?;
            let own = of(".network").find(|ini| ini.last("Match", "Name") == Some(name));
            let ports = of(".network").filter(|ini| ini.last("Network", "Bridge") == Some(name));
            let nics = ports.filter_map(|port| {
                port.last("Match", "Name").or_else(|| port.last("Match", "MACAddress"))
            });
            let nics = nics.map(str::to_owned).collect();
            Some((name.to_owned(), bridge_of(device, own, nics)))
        };
        Ok(devices.filter_map(bridge).collect())
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn bridge_of(device: &Ini, own: Option<&Ini>, nics: BTreeSet<String>) -> Bridge {
    let all_in = |section: &str, key: &str| -> BTreeSet<String> {
        own.into_iter().flat_map(|ini| ini.all(section, key)).map(str::to_owned).collect()
    };
    let all = |key: &str| all_in("Network", key);
    Bridge {
        nics,
        dhcp: own.is_some_and(|ini| ini.is_on("Network", "DHCP")),
        addresses: all("Address"),
        // One outside the network stands in a section of its own.
        gateways: ["Network", "Route"].into_iter().flat_map(|it| all_in(it, "Gateway")).collect(),
        dns: all("DNS"),
        vlan_aware: device.is_on("Bridge", "VLANFiltering"),
        nat: all("IPMasquerade").contains("ipv4"),
    }
}

fn keys(stage1: &Unlock) -> Keys {
    Keys {
        sticks: stage1.sticks.iter().cloned().collect(),
        keyfile: stage1.keyfile.clone(),
        timeout_seconds: stage1.timeout_seconds,
    }
}

fn subvolumes(stage1: &Unlock) -> BTreeMap<String, Source> {
    let of = |(name, target): (&String, &String)| {
        (
            target.clone(),
            Source::Subvolume { mapper: stage1.mapper.to_string(), name: name.clone() },
        )
    };
    stage1.subvolumes.iter().map(of).collect()
}

fn first_volume(stage1: &Unlock) -> Result<(String, Volume), Failure> {
    let Unlock { luks_uuid, mapper, discard, .. } = stage1;
    let role = mapper.strip_prefix("bedplate-");
    let role = role.ok_or_else(|| unfit(format!("{mapper} is the volume of no role")))?;
    let (uuid, discard) = (*luks_uuid, *discard);
    let opened_by = STAGE_1.to_owned();
    Ok((role.to_owned(), Volume { uuid, mapper: mapper.to_string(), discard, opened_by }))
}

struct Pool {
    name: String,
    mount: String,
    source: Source,
    volumes: BTreeMap<String, Volume>,
}

/// What `bedplate-host pool open` makes of a new machine, where no disk was replaced: members are
/// headers with the UUIDs of their roles, and must carry the pool's file system.
fn pool_of(host: &HostFile, name: &str) -> Result<Pool, Failure> {
    let pool = host.pools.get(name);
    let pool = pool.ok_or_else(|| unfit(format!("the document has no pool {name}")))?;
    let volume = |role: &Role| Volume {
        uuid: derive(host.host.id, Purpose::Luks, role, 0),
        mapper: member_mapper(role, 0).into(),
        discard: host.disks.get(role).is_some_and(|disk| disk.media == Media::Ssd),
        opened_by: name.to_owned(),
    };
    let volumes: BTreeMap<_, _> =
        pool.disks.iter().map(|role| (role.to_string(), volume(role))).collect();
    let source = Source::Pool {
        file_system: derive(host.host.id, Purpose::FileSystem, name, 0),
        members: volumes.values().map(|volume| volume.mapper.clone()).collect(),
    };
    Ok(Pool { name: name.to_owned(), mount: pool.mount.clone(), source, volumes })
}

/// What `bedplate-host converge` gives the server when those pools are mounted and nothing else is.
fn exports(
    host: &HostFile,
    mounts: &BTreeMap<String, Source>,
) -> Result<BTreeMap<String, Export>, Failure> {
    let pools = mounts.iter().filter(|(_, source)| matches!(source, Source::Pool { .. }));
    let lines =
        pools.map(|(target, _)| format!("1 1 0:1 / {target} rw - btrfs /dev/mapper/x rw\n"));
    let mounts = Mounts::parse(&lines.collect::<String>());
    let resources = Exports::diff(host, &nfs::Observed { mounts, ..Default::default() });
    let actions = resources.into_iter().flat_map(|resource| resource.actions);
    let text = actions.into_iter().find_map(|action| match action {
        nfs::Action::Write { text } => Some(text),
        _ => None,
    });
    text.unwrap_or_default().lines().filter(|line| !line.starts_with('#')).map(export).collect()
}

/// A line of exports(5): a path, then clients with their options.
fn export(line: &str) -> Result<(String, Export), Failure> {
    let malformed = || unfit(format!("no export: {line}"));
    let mut words = line.split_whitespace();
    let path = unescaped(words.next().ok_or_else(malformed)?);
    let (mut clients, mut only_with) = (BTreeMap::new(), BTreeSet::new());
    for word in words {
        let (client, options) = word.split_once('(').ok_or_else(malformed)?;
        let options = options.strip_suffix(')').ok_or_else(malformed)?;
        let (guards, options): (Vec<&str>, Vec<&str>) =
            options.split(',').partition(|option| option.starts_with("mountpoint="));
        only_with.extend(guards.iter().map(|guard| unescaped(&guard["mountpoint=".len()..])));
        clients.insert(client.to_owned(), options.into_iter().map(str::to_owned).collect());
    }
    let only_with = only_with.into_iter().collect::<Vec<_>>().join(" and ");
    Ok((path, Export { only_with, clients }))
}

/// Undoes the octal escapes of exports(5).
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(|_| *first == b'\\') {
            Some(code) => {
                bytes.push(code);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
