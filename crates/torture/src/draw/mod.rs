//! Draws a day from a class and a seed.

mod faults;

use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::{ByteRate, ChunkPolicy, HostId};

use crate::class::Class;
use crate::day::{Build, Day, HostPlan, Joins, Leaves, Link, MILLISECOND, Nanos, Network, Role, SECOND, Settings};
use crate::world::mixed;

/// The day of `class` and `seed`, with so many hosts where that is said.
pub fn day(class: Class, seed: u64, hosts: Option<u32>) -> Day {
    let mut draw = Draw {
        chance: Xoshiro256PlusPlus::seed_from_u64(mixed(seed) ^ mixed(class as u64)),
        class,
    };
    let mut day = draw.fleet(seed, hosts);
    draw.trouble(&mut day);
    day
}

/// Draws one thing after another, so that an order of drawing is part of what a seed means.
pub(crate) struct Draw {
    chance: Xoshiro256PlusPlus,
    class: Class,
}

impl Draw {
    /// From `from` to `to`, both possible.
    fn number(&mut self, from: u64, to: u64) -> u64 {
        self.chance.random_range(from..=to.max(from))
    }

    fn number32(&mut self, from: u32, to: u32) -> u32 {
        self.chance.random_range(from..=to.max(from))
    }

    /// One in so many times.
    fn one_in(&mut self, times: u64) -> bool {
        self.number(1, times) == 1
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.chance.random_range(0..of.len())]
    }

    /// From `from` to `to`, as often below as above their geometric mean.
    fn spread(&mut self, from: u64, to: u64) -> u64 {
        let (from, to) = (from.max(1) as f64, to.max(1) as f64);
        let share = self.chance.random_range(0..=1_000_000_u32);
        (from * (to / from).powf(f64::from(share) / 1e6)).round() as u64
    }

    fn fleet(&mut self, seed: u64, hosts: Option<u32>) -> Day {
        let count = hosts.unwrap_or_else(|| self.host_count());
        let chunks = self.chunk_count(count);
        let chunk_size = self.chunk_size(chunks);
        let last_chunk = if self.one_in(4) {
            1
        } else {
            self.number32(1, chunk_size)
        };
        let build = Build {
            chunks,
            chunk_size,
            last_chunk: if chunks > 1 && self.one_in(2) {
                chunk_size
            } else {
                last_chunk
            },
        };
        let link = self.link(chunk_size);
        let mixed_links = self.one_in(3);
        let zones = if self.one_in(3) { self.number32(1, 4) } else { 0 };
        let seeders = self.one_of(&[1, 1, 1, 2, 3]);
        let hosts = (0..count.max(1)).map(|index| HostPlan {
            id: HostId::new(u64::from(index) + FIRST_HOST),
            link: if mixed_links { self.near(link) } else { link },
            zone: (zones > 0).then(|| self.number32(1, zones)),
            joins: Joins::At(if self.one_in(2) { 0 } else { self.number(0, SECOND / 2) }),
            leaves: Leaves::Never,
            role: Role::Honest,
        });
        let hosts = hosts.collect();
        Day {
            class: self.class,
            seed,
            build,
            network: Network {
                latency: self.spread(100_000, 20 * MILLISECOND),
                interleaved: self.one_in(10),
                refuses_second: self.one_in(4),
            },
            settings: self.settings(),
            seeded_at: if self.one_in(2) { 0 } else { self.number(0, 3 * SECOND) },
            seeders: vec![link; seeders],
            hosts,
            faults: Vec::new(),
        }
    }

    /// Mostly few, since what goes wrong with many goes wrong with few, and that is sooner seen.
    fn host_count(&mut self) -> u32 {
        let (from, to) = match (self.class, self.number(0, 99)) {
            (Class::Alone, _) => (1, 1),
            (Class::Degenerate, 0..70) => (1, 3),
            (Class::Canary, _) => (2, 12),
            (Class::Rolling, _) => (6, 60),
            (_, 0..55) => (2, 12),
            (_, 55..90) => (13, 60),
            _ => (61, 300),
        };
        u32::try_from(self.spread(from, to)).unwrap_or(2)
    }

    /// So that hosts times chunks stay within what a day may cost.
    fn chunk_count(&mut self, hosts: u32) -> u32 {
        let most = (TRANSFERS_MAX / hosts.max(1)).max(2);
        let (from, to) = match (self.class, self.number(0, 99)) {
            (Class::Degenerate, _) => (1, 2),
            (_, 0..15) => (1, 3),
            (_, 15..85) => (4, 160),
            _ => (160, 4000),
        };
        u32::try_from(self.spread(from, to)).unwrap_or(1).min(most)
    }

    fn chunk_size(&mut self, chunks: u32) -> u32 {
        if self.class == Class::Degenerate {
            return self.one_of(&[16, 17, 1 << 10, 64 << 10]);
        }
        if chunks <= 24 && self.one_in(8) {
            return self.one_of(&[4 << 20, 16 << 20]);
        }
        self.one_of(&[4 << 10, 64 << 10, 64 << 10, 256 << 10, 1 << 20])
    }

    /// A chunk takes from 2 ms to a second on the way up.
    fn link(&mut self, chunk_size: u32) -> Link {
        let takes = self.spread(2 * MILLISECOND, SECOND);
        let up = rate(u128::from(chunk_size) * u128::from(SECOND) / u128::from(takes));
        let down = self.one_of(&[1, 2, 2, 4]);
        Link {
            up,
            down: up.times(down),
        }
    }

    /// A third to three times of it.
    fn near(&mut self, link: Link) -> Link {
        let percent = u128::from(self.spread(33, 300));
        let times = |of: ByteRate| rate(u128::from(of.bytes_per_second()) * percent / 100);
        Link {
            up: times(link.up),
            down: times(link.down),
        }
    }

    fn settings(&mut self) -> Settings {
        let mut settings = Settings::default();
        if self.one_in(4) {
            settings.degree = u16::try_from(self.number(4, 20)).unwrap_or(12);
            // And not of `ChunkPolicy::ALL`: with each policy that is added every seed would draw another day, and days are known by their seeds.
            settings.policy = self.one_of(&[
                ChunkPolicy::LatestUseful,
                ChunkPolicy::RarestFirst,
                ChunkPolicy::Random,
                ChunkPolicy::Sequential,
            ]);
        }
        if self.one_in(4) {
            settings.chunks_in_flight_max = Some(self.one_of(&[1, 2, 4, 8]));
            settings.requests_per_neighbour_max = Some(self.one_of(&[1, 2, 4]));
            settings.upload_slots = Some(self.one_of(&[1, 2, 4, 8]));
        }
        if self.one_in(4) {
            settings.clients = self.one_of(&[1, 2, 4, 8, 64]);
            settings.seeder_slots = Some(self.one_of(&[1, 2, 4, 8]));
            settings.copies_max = self.one_of(&[1, 2]);
        }
        if self.one_in(6) {
            settings.patience_min = self.spread(SECOND / 4, 5 * SECOND);
        }
        settings
    }
}

fn rate(bytes_per_second: u128) -> ByteRate {
    let least = u64::try_from(bytes_per_second).unwrap_or(u64::MAX).max(16);
    ByteRate::from_bytes_per_second(least).expect("at least 16")
}

/// Numbers below this are those of seeders.
const FIRST_HOST: u64 = 10;
/// Chunks times hosts of a day at most.
const TRANSFERS_MAX: u32 = 40_000;

/// How long the whole fleet takes where nothing goes wrong, roughly: when things are to go wrong.
fn usual(day: &Day) -> Nanos {
    let up = day.seeders[0].up;
    let one = up.transfer_time(swarm::Bytes::new(day.build.size()));
    let chunk = up.transfer_time(swarm::Bytes::new(day.build.chunk_size.into()));
    let depth = day.hosts.len().ilog2() + 1;
    let both = one + chunk * depth;
    u64::try_from(both.as_nanos()).unwrap_or(SECOND) + SECOND / 2
}
