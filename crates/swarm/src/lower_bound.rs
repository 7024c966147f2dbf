//! What no schedule can beat, to hold a makespan against.
//!
//! Chunked bound: a chunk cannot be forwarded before it is whole, so the seeder begins to inject its last chunk no
//! earlier than after M - 1 others, and the number of its holders at most doubles per chunk time: for equal links
//! (M + floor(log2 N)) chunk times. J. Mundinger, R. Weber, G. Weiss: *Optimal scheduling of peer-to-peer file
//! dissemination*, Journal of Scheduling 11 (2008). Fluid bound: R. Kumar, K. W. Ross: *Peer-assisted file distribution:
//! the minimum distribution time*, HOTWEB 2006.

use std::time::Duration;

use crate::units::{ByteRate, Bytes};

/// What the bound of one swarm depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmShape {
    /// Size of the build.
    pub build: Bytes,
    /// Length of a chunk.
    pub chunk: Bytes,
    /// Hosts that want it; the seeder is not among them.
    pub hosts: u32,
    /// What one host sends at most.
    pub host_uplink: ByteRate,
    /// What one host receives at most.
    pub host_downlink: ByteRate,
    /// What the seeder sends at most.
    pub seeder_uplink: ByteRate,
    /// One-way delay of the path to a host, added once.
    pub latency: Duration,
}

/// The earliest time at which the last host can have the build, from the moment the seeder can begin to send.
pub fn makespan(swarm: &SwarmShape) -> Duration {
    if swarm.hosts == 0 || swarm.build.get() == 0 {
        return Duration::ZERO;
    }
    fluid(swarm).max(chunked(swarm)) + swarm.latency
}

/// [`makespan`] where every host has links of its own: Kumar and Ross's fluid bound, max(F/u_s, F/min d, N·F/(u_s + sum of u)),
/// or what it takes the seeder to inject all chunks, the last of which then still has to double until all have it, each
/// time at no more than the fastest uplink's or downlink's pace.
pub fn makespan_of_mixed_links(
    build: Bytes,
    chunk: Bytes,
    seeder_uplink: ByteRate,
    uplinks: &[ByteRate],
    downlinks: &[ByteRate],
    latency: Duration,
) -> Duration {
    let (Some(fastest), Some(slowest)) = (uplinks.iter().max(), downlinks.iter().min()) else {
        return Duration::ZERO;
    };
    if build.get() == 0 {
        return Duration::ZERO;
    }
    let hosts = u32::try_from(uplinks.len()).unwrap_or(u32::MAX);
    let capacity: u128 = uplinks.iter().map(|rate| u128::from(rate.bytes_per_second())).sum();
    let nanos = u128::from(hosts) * u128::from(build.get()) * 1_000_000_000
        / (capacity + u128::from(seeder_uplink.bytes_per_second()));
    let volume = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    let ramp = chunked(&SwarmShape {
        build,
        chunk,
        hosts,
        host_uplink: *fastest,
        host_downlink: *slowest,
        seeder_uplink,
        latency,
    });
    let ends = seeder_uplink.transfer_time(build).max(slowest.transfer_time(build));
    ends.max(volume).max(ramp) + latency
}

/// max(F/u_s, F/d, N·F/(u_s + N·u)).
fn fluid(swarm: &SwarmShape) -> Duration {
    let seeder = swarm.seeder_uplink.transfer_time(swarm.build);
    let downlink = swarm.host_downlink.transfer_time(swarm.build);
    let hosts = u128::from(swarm.hosts);
    let capacity =
        u128::from(swarm.seeder_uplink.bytes_per_second()) + hosts * u128::from(swarm.host_uplink.bytes_per_second());
    let nanos = hosts * u128::from(swarm.build.get()) * 1_000_000_000 / capacity;
    let volume = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    seeder.max(downlink).max(volume)
}

/// The last chunk starts after all others are out, (M - 1) chunk times of the seeder, and then its holders, of which
/// the seeder counts as s = u_s/u, at most double per chunk time of a host: ceil(log2(1 + N/s)).
fn chunked(swarm: &SwarmShape) -> Duration {
    let chunk = swarm.chunk.min(swarm.build);
    let chunks = swarm.build.get().div_ceil(chunk.get());
    let others = Bytes::new((chunks - 1) * chunk.get());
    let injected = swarm.seeder_uplink.transfer_time(others);
    let parallel = swarm
        .seeder_uplink
        .bytes_per_second()
        .div_ceil(swarm.host_uplink.bytes_per_second());
    // ceil(log2(1 + N/s)): how often s·(2^t - 1) has to double to reach N.
    let hosts = u64::from(swarm.hosts);
    let mut doublings = 0_u32;
    while parallel.saturating_mul((1_u64 << doublings) - 1) < hosts {
        doublings += 1;
    }
    // The last chunk may be shorter than the others, and which one goes last is the scheduler's choice.
    let last = Bytes::new(swarm.build.get() - others.get());
    injected + swarm.host_uplink.transfer_time(last) * doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swarm(hosts: u32, chunks: u64, seeder: u64) -> SwarmShape {
        SwarmShape {
            build: Bytes::new(chunks * 1000),
            chunk: Bytes::new(1000),
            hosts,
            host_uplink: ByteRate::from_bytes_per_second(1000).unwrap(),
            host_downlink: ByteRate::from_bytes_per_second(1000).unwrap(),
            seeder_uplink: ByteRate::from_bytes_per_second(1000 * seeder).unwrap(),
            latency: Duration::ZERO,
        }
    }

    #[test]
    fn equal_links_give_the_published_bound() {
        for (hosts, log2) in [(1, 0), (2, 1), (3, 1), (4, 2), (5000, 12), (8191, 12), (8192, 13)] {
            let expected = Duration::from_secs(64 + log2);
            assert_eq!(makespan(&swarm(hosts, 64, 1)), expected, "{hosts} hosts");
        }
    }

    #[test]
    fn a_faster_seeder_never_raises_it_and_the_downlink_still_binds() {
        let mut last = Duration::MAX;
        for seeder in [1, 2, 4, 16, 1000] {
            let bound = makespan(&swarm(5000, 64, seeder));
            assert!(bound <= last && bound >= Duration::from_secs(64));
            last = bound;
        }
    }

    #[test]
    fn mixed_links_are_bounded_by_the_slowest_downlink_and_by_the_sum_of_uplinks() {
        let rate = |bytes| ByteRate::from_bytes_per_second(bytes).unwrap();
        let bound = |uplinks: &[ByteRate], downlinks: &[ByteRate]| {
            let (build, chunk) = (Bytes::new(64_000), Bytes::new(1000));
            makespan_of_mixed_links(build, chunk, rate(1000), uplinks, downlinks, Duration::ZERO)
        };
        let equal = vec![rate(1000); 5000];
        assert_eq!(bound(&equal, &equal), makespan(&swarm(5000, 64, 1)));
        let mut slow = equal.clone();
        slow[7] = rate(100);
        assert_eq!(bound(&equal, &slow), Duration::from_secs(640));
        let half = vec![rate(500); 5000];
        let volume = bound(&half, &equal);
        assert!(
            volume > Duration::from_secs(127) && volume < Duration::from_secs(128),
            "{volume:?}"
        );
    }

    #[test]
    fn latency_is_added_once_and_nobody_waits_for_nothing() {
        let mut shape = swarm(100, 8, 1);
        let without = makespan(&shape);
        shape.latency = Duration::from_millis(7);
        assert_eq!(makespan(&shape), without + Duration::from_millis(7));
        assert_eq!(makespan(&swarm(0, 8, 1)), Duration::ZERO);
    }
}
