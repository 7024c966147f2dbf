//! A planned fleet as the core's lower bound sees it, and how long a run of it may take.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm::lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm, Bounds, Partition};
use swarm::{ByteRate, Bytes};

use crate::{HostPlan, KeptStore, RegionPlan, Scenario, Serves, Trouble};

/// How far links may be ahead of their rates. Virtual ones are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slack {
    /// For how long an uplink sends at once what it would send in that time.
    pub lead: Duration,
    /// What a downlink receives at once.
    pub burst: Bytes,
}

impl Scenario {
    /// What no schedule can beat in a region, counted from when the build is complete in its bucket; `None` where links
    /// are not limited.
    pub fn bounds(&self, plan: &RegionPlan, slack: Slack) -> Option<Bounds> {
        let seeders: Vec<BoundedSeeder> = plan
            .seeders
            .iter()
            .map(|seeder| {
                // A seeder that is away meanwhile, or is lost, counts as if it were not.
                Some(BoundedSeeder {
                    uplink: seeder.links?.uplink(),
                    sends_after: self.pull_time(),
                })
            })
            .collect::<Option<_>>()?;
        let hosts: Vec<BoundedHost> = plan.hosts.iter().map(bounded_host).collect::<Option<_>>()?;
        let network = &self.network;
        let zones = self.regions[plan.region].zones > 1;
        let latency = if zones {
            network.latency.min(network.zones.latency)
        } else {
            network.latency
        };
        let between_zones = zones && (network.zones.uplink.is_some() || network.zones.latency > latency);
        let zones = between_zones.then(|| Partition {
            out: network.zones.uplink.and_then(ByteRate::from_bytes_per_second),
            into: network.zones.uplink.and_then(ByteRate::from_bytes_per_second),
            latency: network.zones.latency,
            seeder_groups: plan.seeders.iter().map(|seeder| Some(seeder.zone)).collect(),
            host_groups: plan.hosts.iter().map(|host| host.zone).collect(),
        });
        let racks = network.racks.as_ref().map(|racks| Partition {
            out: ByteRate::from_bytes_per_second(racks.uplink),
            into: ByteRate::from_bytes_per_second(racks.uplink),
            latency,
            seeder_groups: vec![None; plan.seeders.len()],
            host_groups: plan.hosts.iter().filter_map(|host| host.rack).collect(),
        });
        let swarm = BoundedSwarm {
            build: self.build_size(),
            chunk: Bytes::new(self.chunk_size().into()),
            latency,
            lead: slack.lead,
            burst: slack.burst,
            seeders,
            hosts,
            partitions: zones.into_iter().chain(racks).collect(),
        };
        Some(swarm.bounds())
    }

    /// How long a seeder pulls: it seeds when it has the whole build, since the root hash needs all of it.
    pub fn pull_time(&self) -> Duration {
        let rate = self.network.bucket_rate.and_then(ByteRate::from_bytes_per_second);
        rate.map_or(Duration::ZERO, |rate| rate.transfer_time(self.build_size()))
    }

    /// When to give up, counted from when the build is complete in the regional buckets: what the scenario says, or what a
    /// healthy run of it does not reach.
    pub fn time_limit(&self) -> Duration {
        self.deadline.unwrap_or_else(|| {
            let regions = 0..self.regions.len();
            let each = regions.map(|region| self.deadline_of(&self.plan(region)));
            each.max().unwrap_or_default()
        })
    }

    /// Shaped, a healthy run ends near its lower bound; flat out it depends on the machine, of which we expect at least
    /// [`FLAT_OUT`] of delivered payload. Then those who are away have to come back.
    fn deadline_of(&self, plan: &RegionPlan) -> Duration {
        let healthy = match self.bounds(plan, Slack::default()) {
            Some(bounds) => bounds.makespan().max(self.careless_time(plan)) * 3 + Duration::from_secs(30),
            None => {
                let bytes = u64::from(self.host_count()) * self.build_size().get();
                Duration::from_secs(60 + bytes / FLAT_OUT)
            }
        };
        let joins = plan
            .hosts
            .iter()
            .filter(|host| host.is_required())
            .filter_map(|host| host.join_at);
        healthy
            .saturating_add(delayed_by(plan, healthy))
            .saturating_add(joins.max().unwrap_or_default())
            .saturating_add(self.time_of_requests())
    }

    /// What links between groups take if their hosts fetch everything from other groups, as in a swarm that does not mind them.
    fn careless_time(&self, plan: &RegionPlan) -> Duration {
        let region = &self.regions[plan.region];
        let per_zone = region.hosts.div_ceil(region.zones);
        let zones = self
            .network
            .zones
            .uplink
            .filter(|_| region.zones > 1)
            .map(|rate| (per_zone, rate));
        let racks = self
            .network
            .racks
            .as_ref()
            .map(|racks| (racks.hosts.min(per_zone), racks.uplink));
        let time = |(hosts, rate): (u32, u64)| {
            let bytes = u64::from(hosts).saturating_mul(self.build_size().get());
            ByteRate::from_bytes_per_second(rate).map_or(Duration::ZERO, |rate| rate.transfer_time(Bytes::new(bytes)))
        };
        zones.into_iter().chain(racks).map(time).max().unwrap_or_default()
    }

    /// Requests go to and fro before chunks come, some at a time; and the first have to find each other.
    fn time_of_requests(&self) -> Duration {
        let chunks = self.build_size().get().div_ceil(self.chunk_size().max(1).into());
        let at_a_time =
            u64::try_from(self.swarm.chunks_in_flight.unwrap_or(AT_A_TIME_LEAST).max(1)).unwrap_or(u64::MAX);
        let rounds = u32::try_from(chunks.div_ceil(at_a_time))
            .unwrap_or(u32::MAX)
            .saturating_add(ROUNDS_OF_FINDING);
        let latency = self.network.latency.max(self.network.zones.latency);
        latency.saturating_mul(rounds.saturating_mul(PATHS_PER_ROUND))
    }
}

/// By how long faults put off the end of a run that takes so long without: as if nothing moved while one of them lasts. One that
/// begins after the end does nobody harm.
fn delayed_by(plan: &RegionPlan, healthy: Duration) -> Duration {
    // What begins at one time lasts at one time, too, and differs by host only in how long.
    let mut costs: BTreeMap<Duration, Duration> = BTreeMap::new();
    let mut note = |at: Duration, cost: Duration| {
        let known = costs.entry(at).or_default();
        *known = cost.max(*known);
    };
    for disturbance in &plan.disturbances {
        let lasts = disturbance.lasts;
        let cost = match disturbance.what {
            Trouble::Slow(slowed) => {
                let host = plan.hosts.get(disturbance.host as usize);
                let own = host.and_then(|host| host.links).unwrap_or(slowed);
                // At worst nothing came meanwhile, or all of it as slowly.
                let times = (own.uplink / slowed.uplink.max(1)).max(own.downlink / slowed.downlink.max(1));
                let times = u32::try_from(times.saturating_add(1)).unwrap_or(u32::MAX);
                let longest = healthy.saturating_mul(times);
                lasts.map_or(longest, |lasts| lasts.min(longest))
            }
            Trouble::Pause | Trouble::Down(KeptStore::All) => lasts.unwrap_or_default().saturating_add(RECOVERY),
            // What it had it has to get again.
            Trouble::Down(KeptStore::Half | KeptStore::Nothing) => lasts
                .unwrap_or_default()
                .saturating_add(RECOVERY)
                .saturating_add(healthy),
        };
        note(disturbance.at, cost);
    }
    for interruption in &plan.interruptions {
        note(interruption.at, interruption.lasts.saturating_add(RECOVERY));
    }
    for absence in plan.seeders.iter().flat_map(|seeder| &seeder.absences) {
        note(absence.at, absence.down.unwrap_or_default());
    }
    let mut end = healthy;
    for (at, cost) in costs {
        if at < end {
            end = end.saturating_add(cost);
        }
    }
    end.saturating_sub(healthy)
}

fn bounded_host(host: &HostPlan) -> Option<BoundedHost> {
    let links = host.links?;
    Some(BoundedHost {
        uplink: links.uplink(),
        downlink: links.downlink(),
        joins_after: host.join_at.unwrap_or_default(),
        // One that leaves counts as if it stayed: when it goes depends on when seeding began.
        serves_until: match host.serves {
            Serves::Honest => Duration::MAX,
            Serves::Corrupt | Serves::Nothing | Serves::Claims | Serves::Busy => Duration::ZERO,
        },
        expected: host.is_required(),
    })
}

/// Bytes a second that a machine delivers at least where links are not limited.
const FLAT_OUT: u64 = 100_000_000;
/// Until hosts have found each other again and ask for what they lack.
const RECOVERY: Duration = Duration::from_secs(20);
/// Paths that a chunk's news, its request and itself take, and one to spare.
const PATHS_PER_ROUND: u32 = 4;
/// Rounds before the first and after the last chunk: the manifest, the overlay, and the spread of the last chunk.
/// Chunks that are asked for at a time where that is measured, as long as nothing is known.
const AT_A_TIME_LEAST: usize = 2;
const ROUNDS_OF_FINDING: u32 = 50;
