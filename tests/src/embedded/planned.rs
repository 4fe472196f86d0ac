//! What `bedplate plan --json` says of a machine, and for what a plan does not name (how long a stick
//! is waited for, version 3 of NFS, bridges, virtual machines) the document it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bedplate_document as document;
use bedplate_model::host::HostFile;
use bedplate_model::plan::{MountSource, Plan, Step};
use uuid::Uuid;

use super::machine::{self, Bridge, Export, Keys, Machine, STAGE_1, Server, Source, Volume};
use crate::failure::Failure;

fn unfit(why: impl Into<String>) -> Failure {
    Failure::Unfit(why.into())
}

/// The machine of a plan as it is printed, and of the text of the document.
pub fn planned(plan: &str, document: &str) -> Result<Machine, Failure> {
    let plan: Plan = serde_json::from_str(plan).map_err(|error| unfit(error.to_string()))?;
    let host = document::parse(document, "host.toml").map_err(|all| unfit(all.to_string()))?;
    let laid_out = LaidOut::of(&plan);
    let mounts = laid_out.mounts(&plan)?;
    let os = mounts.values().find_map(|source| match source {
        Source::Subvolume { mapper, .. } => Some(mapper.clone()),
        _ => None,
    });
    let os = os.ok_or_else(|| unfit("the plan mounts no subvolume"))?;
    let volumes = laid_out.volumes(&plan, &os)?;
    let opened_by: BTreeSet<&String> = volumes.values().map(|volume| &volume.opened_by).collect();
    let keys = laid_out.keys(&host)?;
    let keys = opened_by.into_iter().map(|opener| (opener.clone(), keys.clone())).collect();
    let exports = exports(&plan, &mounts)?;
    Ok(Machine {
        id: plan.host_id,
        name: plan.host_name.clone(),
        mounts,
        volumes,
        keys,
        exports,
        nfs: server(&plan, host.nfs.v3),
        bridges: host.network.bridges.iter().map(|(n, one)| (n.clone(), Bridge::of(one))).collect(),
        vms: machine::vms(&host)?,
    })
}

/// What the steps of a plan leave behind on the disks.
#[derive(Default)]
struct LaidOut<'p> {
    /// GUIDs of partitions, by role and number.
    partitions: BTreeMap<(&'p str, u32), Uuid>,
    /// UUID of the header and name under `/dev/mapper`, by role.
    headers: BTreeMap<&'p str, (Uuid, &'p str)>,
    /// Name and file system id of a pool, by the names of its members.
    pools: BTreeMap<BTreeSet<String>, (&'p str, Uuid)>,
    /// Volume ids of the sticks, and the path of the keyfile.
    sticks: Option<(BTreeSet<String>, &'p str)>,
}

impl<'p> LaidOut<'p> {
    fn of(plan: &'p Plan) -> Self {
        let mut all = Self::default();
        for step in &plan.steps {
            all.add(step);
        }
        all
    }

    fn add(&mut self, step: &'p Step) {
        match step {
            Step::PrepareStick { sticks, keyfile, .. } => {
                let ids = sticks.iter().map(|stick| stick.volume_id.clone()).collect();
                self.sticks = Some((ids, keyfile));
            }
            Step::Partition { role, partitions, .. } => {
                let guids = partitions.iter().map(|one| ((role.as_str(), one.number), one.guid));
                self.partitions.extend(guids);
            }
            Step::FormatLuks { role, uuid, mapper, .. } => {
                self.headers.insert(role, (*uuid, mapper));
            }
            Step::MakeFileSystem { name, fsid, members, raid1: true, .. } => {
                self.pools.insert(members.iter().map(ToString::to_string).collect(), (name, *fsid));
            }
            Step::KeepPool { name, fsid, members, .. } => {
                let mappers = members.iter().map(|member| member.mapper.to_string()).collect();
                self.pools.insert(mappers, (name, *fsid));
                let headers =
                    members.iter().map(|one| (one.role.as_str(), (one.uuid, one.mapper.as_str())));
                self.headers.extend(headers);
            }
            // A disk that is kept is not partitioned; its ESP's GUID stands here.
            Step::WriteBootEntry { esp, mirror } => {
                for esp in std::iter::once(esp).chain(mirror) {
                    self.partitions.entry((&esp.role, esp.partition)).or_insert(esp.guid);
                }
            }
            _ => {}
        }
    }

    fn mounts(&self, plan: &Plan) -> Result<BTreeMap<String, Source>, Failure> {
        let all = plan.steps.iter().filter_map(|step| match step {
            Step::Mount { mounts } => Some(mounts),
            _ => None,
        });
        let one = |mount: &bedplate_model::plan::Mount| {
            Ok((mount.target.clone(), self.source(&mount.source)?))
        };
        all.flatten().map(one).collect()
    }

    fn source(&self, source: &MountSource) -> Result<Source, Failure> {
        match source {
            MountSource::OsSubvolume { mapper, name } => {
                Ok(Source::Subvolume { mapper: mapper.to_string(), name: name.clone() })
            }
            MountSource::Esp { role, partition } => {
                let guid = self.partitions.get(&(role.as_str(), *partition));
                let guid = guid.ok_or_else(|| unfit(format!("no step makes an ESP on {role}")))?;
                Ok(Source::Esp { partition: *guid })
            }
            MountSource::Pool { members, .. } => {
                let members: BTreeSet<String> = members.iter().map(ToString::to_string).collect();
                let pool = self.pools.get(&members);
                let (_, file_system) =
                    pool.ok_or_else(|| unfit(format!("no step makes the pool over {members:?}")))?;
                Ok(Source::Pool { file_system: *file_system, members })
            }
        }
    }

    fn volumes(&self, plan: &Plan, os: &str) -> Result<BTreeMap<String, Volume>, Failure> {
        let one = |(role, (uuid, mapper)): (&&str, &(Uuid, &str))| {
            let disk = plan.disks.iter().find(|disk| disk.role == **role);
            let disk = disk.ok_or_else(|| unfit(format!("the plan has no disk {role}")))?;
            let pool = self.pools.iter().find(|(members, _)| members.contains(*mapper));
            let opened_by = match pool {
                Some((_, (name, _))) => (*name).to_owned(),
                None if *mapper == os => STAGE_1.to_owned(),
                None => return Err(unfit(format!("nothing uses the volume {mapper}"))),
            };
            let (uuid, mapper) = (*uuid, (*mapper).to_owned());
            Ok(((*role).to_owned(), Volume { uuid, mapper, discard: disk.discard, opened_by }))
        };
        self.headers.iter().map(one).collect()
    }

    /// The plan names the sticks and what stands on them; how long they are waited for is no part of
    /// an installation.
    fn keys(&self, host: &HostFile) -> Result<Keys, Failure> {
        let (sticks, keyfile) =
            self.sticks.clone().ok_or_else(|| unfit("the plan prepares no key stick"))?;
        let timeout_seconds = host.unlock.timeout_seconds;
        Ok(Keys { sticks, keyfile: keyfile.to_owned(), timeout_seconds })
    }
}

/// Each export is served while the pool is mounted that its directory is in.
fn exports(
    plan: &Plan,
    mounts: &BTreeMap<String, Source>,
) -> Result<BTreeMap<String, Export>, Failure> {
    let one = |export: &bedplate_model::host::Export| {
        let holds = |(mount, source): &(&String, &Source)| {
            matches!(source, Source::Pool { .. }) && Path::new(&export.path).starts_with(mount)
        };
        let pool = mounts.iter().find(holds);
        let (only_with, _) = pool.ok_or_else(|| unfit(format!("{} is in no pool", export.path)))?;
        let options: BTreeSet<String> = export.options.iter().cloned().collect();
        let clients = export.clients.iter().map(|client| (client.to_string(), options.clone()));
        let (only_with, clients) = (only_with.clone(), clients.collect());
        Ok((export.path.clone(), Export { only_with, clients }))
    };
    plan.exports.iter().map(one).collect()
}

fn server(plan: &Plan, v3: bool) -> Server {
    let clients = plan.exports.iter().flat_map(|export| &export.clients);
    Server { v3, reached_by: clients.map(ToString::to_string).collect() }
}
