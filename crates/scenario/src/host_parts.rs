//! What a host is made of, as far as it keeps it from what its links would let through.
//!
//! A forecast knows links only, so what a part lets through is made a limit of the links, once, when the fleet is planned:
//! all that asks for a host's links then goes by the same ones. A live run has the machine's own parts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use swarm::Bytes;

use crate::{Links, Network, Scenario};

/// Limits of a host beside its links; none where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostParts {
    /// What its disk writes at most, bytes a second.
    pub disk: Option<u64>,
    /// Its cores.
    pub cores: Option<u32>,
    /// CPU time that it takes it to send a GB, or to receive one; `CPU_PER_GB` where absent.
    pub cpu_per_gb: Option<Duration>,
}

/// What keeps a host from using its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeldBy {
    Disk,
    Cpu,
}

impl HostParts {
    /// What links of these rates let through to and from such a host. It writes chunks as they come, and a build that is
    /// larger than its memory cannot wait there.
    pub(crate) fn limit(&self, links: Links) -> Links {
        let Links { uplink, downlink } = links;
        let disk = self.disk.unwrap_or(u64::MAX);
        let links = Links {
            uplink,
            downlink: downlink.min(disk),
        };
        // Half for each direction, or what the other cannot use.
        self.cpu().map_or(links, |cpu| {
            let half = cpu / 2;
            Links {
                uplink: links.uplink.min(half.max(cpu.saturating_sub(links.downlink))).max(1),
                downlink: links.downlink.min(half.max(cpu.saturating_sub(links.uplink))).max(1),
            }
        })
    }

    /// What its processor sends and receives together at most, bytes a second.
    fn cpu(&self) -> Option<u64> {
        let per_gb = self.cpu_per_gb.unwrap_or(CPU_PER_GB);
        self.cores
            .map(|cores| (f64::from(cores) * 1e9 / per_gb.as_secs_f64()) as u64)
    }

    /// What holds hosts with these links back, and from what to what, both directions together for a processor.
    fn held_by(&self, links: Links) -> Option<(HeldBy, u64, u64)> {
        let downlink = self.disk.map_or(links.downlink, |disk| links.downlink.min(disk));
        let both = links.uplink.saturating_add(downlink);
        match self.cpu() {
            Some(cpu) if cpu < both => Some((HeldBy::Cpu, cpu, both)),
            _ if downlink < links.downlink => Some((HeldBy::Disk, downlink, links.downlink)),
            _ => None,
        }
    }

    /// What a class says, and what it leaves to `others`.
    fn or(self, others: Self) -> Self {
        Self {
            disk: self.disk.or(others.disk),
            cores: self.cores.or(others.cores),
            cpu_per_gb: self.cpu_per_gb.or(others.cpu_per_gb),
        }
    }
}

impl Network {
    /// What a host of a class is made of; one that is like most where there is no class.
    pub(crate) fn parts(&self, class: Option<u16>) -> HostParts {
        let class = class.and_then(|class| self.classes.get(usize::from(class)));
        class.map_or(self.host_parts, |class| class.parts.or(self.host_parts))
    }
}

impl Scenario {
    /// Which hosts their parts keep from using their links, a sentence for most of them and for each class.
    pub fn held_back(&self) -> Vec<String> {
        let network = &self.network;
        let most = network
            .host
            .map(|links| ("hosts".to_owned(), network.host_parts, links));
        let classes = network.classes.iter().map(|class| {
            let parts = class.parts.or(network.host_parts);
            (format!("hosts of class {}", class.name), parts, class.links)
        });
        let tell = |(hosts, parts, links): (String, HostParts, Links)| {
            let (by, rate, of) = parts.held_by(links)?;
            let by = match by {
                HeldBy::Disk => "disks",
                HeldBy::Cpu => "processors",
            };
            let (rate, of) = (Bytes::new(rate), Bytes::new(of));
            Some(format!("{hosts} are held by their {by} ({rate}/s of {of}/s)"))
        };
        most.into_iter().chain(classes).filter_map(tell).collect()
    }
}

/// TCP with TLS costs 2.7 to 4.6 ns of CPU a byte at both ends together, disk included (8 and 50 processes, `benches/peers/peers.py`), as
/// was measured on the machine that this is developed on (two cores): so each end takes up to some 2 s for a GB.
pub(crate) const CPU_PER_GB: Duration = Duration::from_secs(2);
