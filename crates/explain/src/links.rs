//! A region as its paths see it: who sent what when, and how full links were meanwhile.

use scenario::{Links, RegionPlan, Scenario, Trouble};

use crate::TICK_NANOS;
use crate::records::{ChunkRecord, Member, Records, RegionRecords, Source};

/// A chunk that came to a host from a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    pub(crate) began: u32,
    pub(crate) stored: u32,
    bytes: u32,
    /// Whether it passed a link between zones or racks.
    crosses: bool,
}

/// A region.
pub(crate) struct View<'a> {
    pub(crate) records: &'a Records,
    pub(crate) region: usize,
    pub(crate) plan: RegionPlan,
    /// By member's number: what it has sent, in the order in which it was stored.
    sent: Vec<Vec<Passed>>,
    /// By host: what it has received, and where that is among what is recorded, in the order in which it was stored.
    got: Vec<Vec<(Passed, usize)>>,
    /// By place in the sample: when a host first held it.
    first: Vec<u32>,
}

impl<'a> View<'a> {
    /// Of a region by its index in the scenario.
    pub(crate) fn new(records: &'a Records, region: usize) -> Self {
        let plan = records.scenario.plan(region);
        let members = plan.hosts.len() + plan.seeders.len();
        let mut view = Self {
            records,
            region,
            sent: vec![Vec::new(); members],
            got: vec![Vec::new(); plan.hosts.len()],
            first: vec![u32::MAX; records.sample.len()],
            plan,
        };
        view.fill();
        view
    }

    fn fill(&mut self) {
        let hosts = &self.records.regions[self.region].hosts;
        for (host, record) in (0_u32..).zip(hosts).take(self.got.len()) {
            for (place, chunk) in record.chunks.iter().enumerate().take(self.first.len()) {
                let Some(source) = chunk.source() else {
                    continue;
                };
                self.first[place] = self.first[place].min(chunk.stored);
                let bytes = self.bytes(place);
                let (began, crosses) = match source {
                    Source::Found => (chunk.stored, false),
                    Source::Sent(asked) => {
                        let crosses = self.crosses(Member(asked.of), Member::host(host));
                        (began(asked.began, asked.at, chunk.stored), crosses)
                    }
                };
                let passed = Passed {
                    began,
                    stored: chunk.stored,
                    bytes,
                    crosses,
                };
                self.got[host as usize].push((passed, place));
                let Source::Sent(asked) = source else {
                    continue;
                };
                let from = Member(asked.of);
                if let Some(sent) = self.sent.get_mut(from.0 as usize) {
                    sent.push(passed);
                }
            }
        }
        self.sent
            .iter_mut()
            .for_each(|sent| sent.sort_unstable_by_key(|p| p.stored));
        self.got
            .iter_mut()
            .for_each(|got| got.sort_unstable_by_key(|(passed, place)| (passed.stored, *place)));
    }

    pub(crate) fn scenario(&self) -> &'a Scenario {
        &self.records.scenario
    }

    pub(crate) fn of_region(&self) -> &'a RegionRecords {
        &self.records.regions[self.region]
    }

    /// Hosts of the region.
    pub(crate) fn hosts(&self) -> u32 {
        u32::try_from(self.plan.hosts.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_seeder(&self, member: Member) -> bool {
        member.seeder_index(self.hosts()).is_some()
    }

    /// What became of a chunk at a host; nothing where it is none.
    pub(crate) fn chunk(&self, host: u32, place: usize) -> ChunkRecord {
        let record = self.of_region().hosts.get(host as usize);
        record
            .and_then(|record| record.chunks.get(place))
            .copied()
            .unwrap_or_default()
    }

    /// The last that a host has received by `at`, but for a chunk.
    pub(crate) fn last_before(&self, host: u32, at: i64, but: Option<usize>) -> Option<(u32, usize)> {
        let got = self.got.get(host as usize)?;
        let end = got.partition_point(|(passed, _)| i64::from(passed.stored) <= at);
        let last = got[..end].iter().rev().find(|(_, place)| Some(*place) != but);
        last.map(|(passed, place)| (passed.stored, *place))
    }

    /// When somebody first had the chunk.
    pub(crate) fn first_copy(&self, place: usize) -> Option<u32> {
        self.first.get(place).copied().filter(|at| *at != u32::MAX)
    }

    /// How many chunks a host had asked for and not got at `at`, those that are not recorded too.
    pub(crate) fn in_flight(&self, host: u32, at: i64) -> f64 {
        let record = self.of_region().hosts.get(host as usize);
        let chunks = record.map_or(&[][..], |record| &record.chunks);
        let is_out = |chunk: &&ChunkRecord| {
            let first = i64::from(chunk.asked[0].at);
            first != 0 && first <= at && (chunk.stored == 0 || i64::from(chunk.stored) > at)
        };
        chunks.iter().filter(is_out).count() as f64 * self.records.sample.stride()
    }

    fn bytes(&self, place: usize) -> u32 {
        let (size, chunk) = (
            self.scenario().build_size().get(),
            u64::from(self.scenario().chunk_size()),
        );
        let number = self.records.sample.chunks().get(place).copied().unwrap_or_default();
        u32::try_from(size.saturating_sub(u64::from(number) * chunk).min(chunk)).unwrap_or(u32::MAX)
    }
}

/// Links, and how full they were.
impl View<'_> {
    /// Links of a member in the middle of a time; none where they are not limited.
    pub(crate) fn links(&self, member: Member, (from, to): (i64, i64)) -> Option<Links> {
        if let Some(seeder) = member.seeder_index(self.hosts()) {
            return self.plan.seeders.get(seeder as usize)?.links;
        }
        let host = member.host_index(self.hosts())?;
        let begun = self.of_region().complete_at.unwrap_or_default();
        let middle = from + (to - from) / 2;
        let slow = self
            .plan
            .disturbances
            .iter()
            .find_map(|disturbance| match disturbance.what {
                Trouble::Slow(links) if disturbance.host == host => {
                    let at = begun + as_ticks(disturbance.at);
                    let ends = disturbance
                        .lasts
                        .map_or(i64::MAX, |lasts| at.saturating_add(as_ticks(lasts)));
                    (at <= middle && middle < ends).then_some(links)
                }
                _ => None,
            });
        slow.or(self.plan.hosts[host as usize].links)
    }

    /// Part of a member's uplink that was used; none where it is not limited.
    pub(crate) fn uplink_use(&self, member: Member, time: (i64, i64)) -> Option<f64> {
        let rate = self.links(member, time)?.uplink;
        let sent = self.sent.get(member.0 as usize)?;
        Some(self.part(sent.iter(), time, rate))
    }

    /// Part of a host's downlink that was used; none where it is not limited.
    pub(crate) fn downlink_use(&self, host: u32, time: (i64, i64)) -> Option<f64> {
        let rate = self.links(Member::host(host), time)?.downlink;
        let got = self.got.get(host as usize)?;
        Some(self.part(got.iter().map(|(passed, _)| passed), time, rate))
    }

    /// Whether most of what a member sent in a time passed a link between zones or racks, by how long it took.
    pub(crate) fn sends_across(&self, member: Member, (from, to): (i64, i64)) -> bool {
        let (mut across, mut all) = (0, 0);
        for passed in self.sent.get(member.0 as usize).into_iter().flatten() {
            let within = (i64::from(passed.stored).min(to) - i64::from(passed.began).max(from)).max(0);
            all += within;
            across += if passed.crosses { within } else { 0 };
        }
        across * 2 > all
    }

    fn part<'p>(&self, passed: impl Iterator<Item = &'p Passed>, time: (i64, i64), rate: u64) -> f64 {
        let (from, to) = self.wide(time, rate);
        let bytes = passed.map(|passed| {
            let (began, stored) = (i64::from(passed.began), i64::from(passed.stored));
            let within = (stored.min(to) - began.max(from)).max(0);
            f64::from(passed.bytes) * within as f64 / (stored - began).max(1) as f64
        });
        let could = rate as f64 * (to - from).max(1) as f64 * TICK_NANOS as f64 / 1e9;
        (bytes.sum::<f64>() * self.records.sample.stride() / could).clamp(0.0, 1.0)
    }

    /// Where not all chunks are recorded, a time in which some of those passed that are.
    fn wide(&self, (from, to): (i64, i64), rate: u64) -> (i64, i64) {
        let stride = self.records.sample.stride();
        if stride <= 1.0 {
            return (from, to);
        }
        let chunk = f64::from(self.scenario().chunk_size()) / rate.max(1) as f64 * 1e9 / TICK_NANOS as f64;
        let lacking = (chunk * stride * CHUNKS_SEEN) as i64 - (to - from);
        let beside = lacking.max(0) / 2;
        (from - beside, to + beside)
    }

    /// Whether a member sent something at some time within this one, as far as that is recorded.
    pub(crate) fn was_sending(&self, member: Member, (from, to): (i64, i64)) -> bool {
        let chunk = f64::from(self.scenario().chunk_size());
        // Between two chunks that are recorded it sends some that are not.
        let between = self.links(member, (from, to)).map_or(0.0, |links| {
            chunk / links.uplink.max(1) as f64 * 4.0 * (self.records.sample.stride() - 1.0)
        });
        let beside = (between * 1e9 / TICK_NANOS as f64) as i64;
        let (from, to) = (from - beside, to + beside);
        let sent = self.sent.get(member.0 as usize);
        sent.is_some_and(|sent| {
            sent.iter()
                .any(|p| i64::from(p.began) < to && i64::from(p.stored) > from)
        })
    }

    /// The time of one message between members of the region, in ticks.
    pub(crate) fn latency(&self) -> i64 {
        let network = &self.scenario().network;
        let zones = self.scenario().regions[self.region].zones > 1;
        let latency = if zones {
            network.latency.max(network.zones.latency)
        } else {
            network.latency
        };
        as_ticks(latency)
    }

    pub(crate) fn zone(&self, member: Member) -> u32 {
        let hosts = self.hosts();
        let of_host = member
            .host_index(hosts)
            .and_then(|host| self.plan.hosts.get(host as usize))
            .map(|host| host.zone);
        let of_seeder = || {
            member
                .seeder_index(hosts)
                .and_then(|seeder| self.plan.seeders.get(seeder as usize))
        };
        of_host
            .or_else(|| of_seeder().map(|seeder| seeder.zone))
            .unwrap_or_default()
    }

    fn rack(&self, member: Member) -> Option<u32> {
        let host = member.host_index(self.hosts())?;
        self.plan.hosts.get(host as usize)?.rack
    }

    /// Whether what goes between two members passes a link between zones or racks that is limited, or far.
    pub(crate) fn crosses(&self, a: Member, b: Member) -> bool {
        let network = &self.scenario().network;
        let is_far = network.zones.uplink.is_some() || network.zones.latency > network.latency * 2;
        let between_zones = is_far && self.zone(a) != self.zone(b);
        between_zones || self.rack(a).zip(self.rack(b)).is_some_and(|(a, b)| a != b)
    }
}

/// Recorded chunks that a full link lets through in the time for which its use is looked at, where not all are recorded.
const CHUNKS_SEEN: f64 = 6.0;

/// When it began, as far as that is known.
pub(crate) fn began(began: u32, asked: u32, stored: u32) -> u32 {
    let known = if began == 0 { asked } else { began };
    known.min(stored)
}

pub(crate) fn as_ticks(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos() / u128::from(TICK_NANOS)).unwrap_or(i64::MAX / 4)
}
