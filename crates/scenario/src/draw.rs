//! Who is drawn for what, from the seed.
//!
//! Invariant: a draw depends on its key and on the hosts that are left for it, and on nothing else. So a draw that is added
//! moves only hosts that both want, and a region that grows by one host changes one host of a draw at most.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use swarm::Hash;

/// What a draw is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of what `subject` describes, in a region by its index.
    pub(crate) fn new(seed: u64, region: usize, subject: &str) -> Self {
        let hash = Hash::of(format!("{subject} of region {region} by seed {seed}").as_bytes());
        let first = hash.as_bytes().first_chunk().copied();
        Self(u64::from_le_bytes(first.unwrap_or_default()))
    }

    /// A generator for one host, by its index.
    pub(crate) fn generator(self, host: u32) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.0 ^ u64::from(host))
    }

    /// The key of a host's own draws, by its index.
    pub(crate) fn of(self, host: u32) -> Self {
        Self(self.generator(host).next_u64())
    }

    /// Draws `count` of `hosts`, or all where these are fewer: those of the least ranks. In the order of their indices.
    pub(crate) fn draw(self, hosts: impl Iterator<Item = u32>, count: usize) -> Vec<u32> {
        let mut ranked: Vec<(u64, u32)> = hosts.map(|host| (self.generator(host).next_u64(), host)).collect();
        if count < ranked.len() {
            ranked.select_nth_unstable(count);
            ranked.truncate(count);
        }
        let mut drawn: Vec<u32> = ranked.into_iter().map(|(_, host)| host).collect();
        drawn.sort_unstable();
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_of_all_hosts_alike_and_hardly_moves_when_the_region_grows() {
        let mut times = [0_u32; 50];
        for seed in 0..2000 {
            let drawn = Key::new(seed, 0, "x").draw(0..50, 5);
            assert_eq!(drawn.len(), 5);
            drawn.iter().for_each(|host| times[*host as usize] += 1);
            let grown = Key::new(seed, 0, "x").draw(0..51, 5);
            assert!(drawn.iter().filter(|host| !grown.contains(host)).count() <= 1);
        }
        // 200 each, give or take five standard deviations.
        assert!(times.iter().all(|times| (133..267).contains(times)), "{times:?}");
        assert_eq!(Key::new(1, 0, "x").draw(0..3, 5), [0, 1, 2]);
        assert_ne!(Key::new(1, 0, "x").draw(0..50, 5), Key::new(1, 1, "x").draw(0..50, 5));
    }
}
