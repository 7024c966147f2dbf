//! How long hosts may take.
//!
//! A host is held to a time from each moment on at which nothing is wrong any more that comes right by itself: the build
//! is seeded, the last fault that passes has ended, or it comes later than that itself. What does not pass, such as slow links and
//! members that mean harm, is how things are, and counts from its beginning.
//!
//! From then on it has **3 × B + 5 s**. B is [`swarm::lower_bound`] of a swarm that has to do what is left:
//!
//! - the build is as large as what the host lacks that lacks most, since who lacks least is served last;
//! - seeders are the seeders that are there, and all honest hosts that have the whole build. Where no seeder is there and
//!   nobody has the build, one with the slowest uplink of a host stands for what hosts hold together;
//! - hosts are the honest ones that lack something, with the links that they have then. Nobody counts on others;
//! - latency is twice the network's, the most that a connection has;
//! - beside the bound, for which every chunk is asked for beforehand, there are the round trips of as many chunks as are lacking, so many at
//!   a time as a host may have on their way: over a long path they take longer than the chunks.
//!
//! A host's B is that of as many hosts as have no slower links than its own: whoever has a link of a thousandth may take its
//! time, and others need not wait for it.
//!
//! With settings other than those shipped, which may be poor ones, B counts six times.
//!
//! When a host comes or goes later on, the others have 3 × B more from then on, if that is later than what they have, for what
//! is left then; but no 5 s more.

use std::time::Duration;

use swarm::lower_bound::{BoundedHost, BoundedSeeder, BoundedSwarm};
use swarm::{ByteRate, Bytes};

use crate::day::{Day, Link, Nanos, SECOND, Settings};

/// Times the bound.
const TIMES: u64 = 3;
/// The same with settings of one's own.
const TIMES_OF_OWN: u64 = 6;
/// Chunks that a host asks for at a time at least, where that is measured.
const IN_FLIGHT_LEAST: usize = 2;
/// There and back, over the longest connection that there is.
const ROUND_TRIP_LATENCIES: u64 = 4;
/// What is allowed beside it.
pub(crate) const SLACK: Nanos = 5 * SECOND;

/// What is left to do.
pub(crate) struct Left {
    /// Uplinks of seeders and of hosts that have the build.
    pub(crate) seeders: Vec<ByteRate>,
    /// Links of hosts that lack something, and how many bytes they lack.
    pub(crate) hosts: Vec<(Link, u64)>,
}

impl Left {
    /// Three times the bound of each host, or six, in the order of [`Left::hosts`].
    pub(crate) fn allowed(&self, day: &Day) -> Vec<Nanos> {
        let lacking = self.hosts.iter().map(|(_, lacks)| *lacks).max().unwrap_or(0).max(1);
        let seeder = |uplink: ByteRate| BoundedSeeder {
            uplink,
            sends_after: Duration::ZERO,
        };
        let host = |link: Link| BoundedHost {
            uplink: link.up,
            downlink: link.down,
            joins_after: Duration::ZERO,
            serves_until: Duration::MAX,
            expected: true,
        };
        let mut seeders: Vec<BoundedSeeder> = self.seeders.iter().copied().map(seeder).collect();
        if seeders.is_empty() {
            seeders.extend(self.hosts.iter().map(|(link, _)| link.up).min().map(seeder));
        }
        let swarm = BoundedSwarm {
            build: Bytes::new(lacking),
            chunk: Bytes::new(u64::from(day.build.chunk_size).min(lacking)),
            latency: Duration::from_nanos(day.network.latency * 2),
            lead: Duration::ZERO,
            burst: Bytes::new(0),
            seeders,
            hosts: self.hosts.iter().map(|(link, _)| host(*link)).collect(),
            partitions: Vec::new(),
        };
        let bounds = swarm.bounds();
        let own: Vec<Duration> = (0..self.hosts.len()).map(|index| bounds.of_host(index)).collect();
        let mut sorted = own.clone();
        sorted.sort_unstable();
        let is_shipped = day.settings == Settings::default() && !day.network.interleaved;
        let times = if is_shipped { TIMES } else { TIMES_OF_OWN };
        let in_flight = u64::try_from(day.settings.chunks_in_flight_max.unwrap_or(IN_FLIGHT_LEAST))
            .unwrap_or(1)
            .max(1);
        let chunks = lacking.div_ceil(day.build.chunk_size.into());
        let trips = chunks.div_ceil(in_flight) * ROUND_TRIP_LATENCIES * day.network.latency;
        let allowed = |own: &Duration| {
            let no_slower = sorted.partition_point(|other| other <= own);
            let bound = u64::try_from(bounds.of_rank(no_slower).as_nanos()).unwrap_or(u64::MAX / 8);
            (bound + trips).saturating_mul(times)
        };
        own.iter().map(allowed).collect()
    }
}
