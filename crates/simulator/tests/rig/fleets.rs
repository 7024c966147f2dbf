//! Fleets of all kinds, drawn by number: what the defaults are held against.

use std::fmt::Write as _;

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// A fleet, a build and the links that it passes, with no `[swarm]` section.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fleet {
    pub(crate) number: u64,
    pub(crate) hosts: u32,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes; the default for the build where absent.
    pub(crate) chunk: Option<u64>,
    /// Bits a second.
    pub(crate) uplink: u64,
    /// Of a host, over its uplink.
    pub(crate) downlink: f64,
    /// Of the seeder, over a host's.
    pub(crate) seeder: f64,
    pub(crate) latency_us: u64,
    /// How far links differ, in percent.
    pub(crate) spread: u32,
    /// Whether one host of twenty has a tenth of the links.
    pub(crate) has_slow: bool,
}

impl Fleet {
    /// The fleet of this number. The first forty of a hundred are three hundred equal hosts with a seeder like them; the others differ
    /// in all that a fleet may.
    pub(crate) fn draw(number: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let is_plain = number % 100 < 40;
        let uplink = between(&mut rng, 100e6, 40e9);
        let downlink = pick(&mut rng, &[1.0, 1.0, 1.5, 2.0, 3.0, 4.0]);
        let latency = between(&mut rng, 200.0, if is_plain { 30_000.0 } else { 50_000.0 });
        // A build takes two seconds to a minute over one link, and so long that more than the first messages counts.
        let seconds = between(&mut rng, 2.0, 60.0).max(latency * 1e-6 * LATENCIES_LEAST);
        let size = (uplink / 8.0 * seconds).clamp(1e6, SIZE_MAX);
        let mut fleet = Self {
            number,
            hosts: 300,
            size: (size / 1e3) as u64 * 1000,
            chunk: None,
            uplink: (uplink / 1e6) as u64 * 1_000_000,
            downlink,
            seeder: 1.0,
            latency_us: latency as u64,
            spread: 0,
            has_slow: false,
        };
        if !is_plain {
            fleet.vary(&mut rng);
        }
        fleet
    }

    fn vary(&mut self, rng: &mut impl Rng) {
        self.hosts = pick(rng, &[2, 10, 100, 100, 300, 300, 1000, 10_000]);
        let few = if self.hosts > 1000 { 256 } else { 2048 };
        self.chunk = pick(
            rng,
            &[None, Some(64 << 10), Some(1 << 20), Some(8 << 20), Some(64 << 20)],
        );
        if let Some(chunk) = self.chunk {
            // Not so few that the last bytes are all of it, and not so many that it takes an hour here.
            self.size = self.size.clamp(chunk * 64, chunk * few);
        } else if self.hosts > 1000 {
            self.chunk = Some((self.size / 256).next_power_of_two().clamp(64 << 10, 64 << 20));
        }
        self.seeder = pick(rng, &[0.2, 0.5, 1.0, 1.0, 2.0, 5.0, 20.0, 100.0]);
        self.spread = pick(rng, &[0, 0, 0, 50, 80]);
        self.has_slow = self.spread == 0 && pick(rng, &[false, false, false, true]);
    }

    /// A scenario of it.
    pub(crate) fn scenario(&self) -> String {
        let Self {
            hosts, size, uplink, ..
        } = *self;
        let chunk = self
            .chunk
            .map_or(String::new(), |chunk| format!("chunk_size = \"{chunk} B\"\n"));
        let down = (uplink as f64 * self.downlink) as u64;
        let seeder = |of: u64| (of as f64 * self.seeder) as u64;
        let spread = self.spread;
        let mut text = format!(
            "[regions.region-a]\nhosts = {hosts}\n[build]\nsize = \"{size} B\"\n{chunk}[network]\nlatency = \"{}us\"\n\
             [network.host]\nuplink = \"{uplink} bit/s\"\ndownlink = \"{down} bit/s\"\nspread = \"{spread}%\"\n\
             [network.seeder]\nuplink = \"{} bit/s\"\ndownlink = \"{} bit/s\"\n",
            self.latency_us,
            seeder(uplink),
            seeder(down),
        );
        if self.has_slow {
            _ = write!(
                text,
                "[network.classes.slow]\nhosts = \"5%\"\nuplink = \"{} bit/s\"\ndownlink = \"{} bit/s\"\n",
                uplink / 10,
                down / 10
            );
        }
        text
    }
}

impl std::fmt::Display for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chunk = self
            .chunk
            .map_or_else(|| "default".to_owned(), |chunk| format!("{} KiB", chunk >> 10));
        let mixed = match (self.spread, self.has_slow) {
            (0, false) => String::new(),
            (0, true) => "slow 5%".to_owned(),
            (spread, _) => format!("spread {spread}%"),
        };
        write!(
            f,
            "{:>4} {:>6} hosts {:>6} Mbit/s x{:<3} seeder x{:<4} {:>6.1} ms {:>7} MB {:>9} {:<11}",
            self.number,
            self.hosts,
            self.uplink / 1_000_000,
            self.downlink,
            self.seeder,
            self.latency_us as f64 / 1000.0,
            self.size / 1_000_000,
            chunk,
            mixed
        )
    }
}

/// Evenly by the logarithm.
fn between(rng: &mut impl Rng, least: f64, most: f64) -> f64 {
    (least.ln() + rng.random_range(0.0..1.0) * (most / least).ln()).exp()
}

fn pick<T: Copy>(rng: &mut impl Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

/// A build takes so many latencies at least over one link.
const LATENCIES_LEAST: f64 = 100.0;
/// Bytes of a build at most.
const SIZE_MAX: f64 = 20e9;
