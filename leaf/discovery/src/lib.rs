//! Booted media say on the local network that they are there, and are found: DNS service
//! discovery (RFC 6763) over multicast DNS (RFC 6762), service `_bedplate._tcp`.
//!
//! Anybody on the network can read what is announced, and announce what he likes. So an
//! announcement holds no serial number, name or key, and what is read of one is bounded text that
//! proves nothing: it says whom to ask, and the inventory that is planned with comes over ssh.

mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use serde::Serialize;

pub use summary::{Activity, Disk, Summary};

/// The service, as DNS names it.
pub const SERVICE: &str = "_bedplate._tcp.local.";

/// More machines than these are not listed: somebody floods the network.
const MOST_MACHINES: usize = 256;

/// More addresses than these of one machine are not listed.
const MOST_ADDRESSES: usize = 8;

/// Announcing or looking failed.
#[derive(Debug, thiserror::Error)]
#[error("could not {what} by multicast DNS")]
pub struct DiscoveryError {
    what: &'static str,
    #[source]
    source: mdns_sd::Error,
}

fn failed(what: &'static str) -> impl FnOnce(mdns_sd::Error) -> DiscoveryError {
    move |source| DiscoveryError { what, source }
}

/// A machine that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discovered {
    /// Its name on the local network, for example `bedplate-3c4d5e.local`.
    pub name: String,
    /// Its addresses as ssh takes them, those of IPv4 first; a link-local one with the interface here
    /// that leads to it, as in `fe80::1%eth0`.
    pub addresses: Vec<String>,
    /// Port of its ssh server.
    pub port: u16,
    /// What it says of itself.
    #[serde(flatten)]
    pub summary: Summary,
}

/// An announcement; it is taken back when the value goes.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
    port: u16,
}

impl Announcement {
    /// Begins to announce the machine as `name` (one label of DNS) on every interface, now and
    /// as addresses come and go.
    pub fn begin(name: &str, port: u16, summary: &Summary) -> Result<Self, DiscoveryError> {
        let daemon = ServiceDaemon::new().map_err(failed("announce this machine"))?;
        let announcement = Self { daemon, name: name.to_owned(), port };
        announcement.update(summary)?;
        Ok(announcement)
    }

    /// Announces what has changed.
    pub fn update(&self, summary: &Summary) -> Result<(), DiscoveryError> {
        let host = format!("{}.local.", self.name);
        let properties: Vec<(String, String)> = summary.properties();
        let properties: Vec<(&str, &str)> =
            properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let info = ServiceInfo::new(SERVICE, &self.name, &host, "", self.port, &properties[..])
            .map_err(failed("describe this machine"))?;
        self.daemon.register(info.enable_addr_auto()).map_err(failed("announce this machine"))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Who cannot be told finds out when the announcement expires.
        if let Ok(done) = self.daemon.unregister(&format!("{}.{SERVICE}", self.name)) {
            let _ = done.recv_timeout(Duration::from_secs(1));
        }
        let _ = self.daemon.shutdown();
    }
}

/// The machines that answer within `time`, by name.
pub fn look(time: Duration) -> Result<Vec<Discovered>, DiscoveryError> {
    let daemon = ServiceDaemon::new().map_err(failed("look for machines"))?;
    let events = daemon.browse(SERVICE).map_err(failed("look for machines"))?;
    let deadline = Instant::now() + time;
    let mut found = BTreeMap::new();
    while let Ok(event) = events.recv_deadline(deadline) {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let known = found.contains_key(&service.fullname);
                if let Some(machine) = machine(&service)
                    && (known || found.len() < MOST_MACHINES)
                {
                    found.insert(service.fullname.clone(), machine);
                }
            }
            ServiceEvent::ServiceRemoved(_, name) => drop(found.remove(&name)),
            _ => {}
        }
    }
    // It goes with this process anyway.
    let _ = daemon.shutdown();
    Ok(found.into_values().collect())
}

/// Nobody is reached at his own loopback address, and one machine may be heard on two interfaces.
fn addresses<'a>(all: impl Iterator<Item = &'a ScopedIp>) -> Vec<String> {
    let reached = all.filter(|address| !address.is_loopback());
    let sorted: BTreeSet<(IpAddr, String)> =
        reached.map(|address| (address.to_ip_addr(), address.to_string())).collect();
    sorted.into_iter().map(|(_, shown)| shown).take(MOST_ADDRESSES).collect()
}

/// None for what calls itself by no name that could be one of ours.
fn machine(service: &ResolvedService) -> Option<Discovered> {
    let name = summary::host_name(&service.host)?;
    let summary = Summary::read(|key| service.txt_properties.get(key).and_then(|one| one.val()));
    let addresses = addresses(service.addresses.iter());
    Some(Discovered { name, addresses, port: service.port, summary })
}
