//! Which host has which links, drawn from the seed.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{HostShare, Links, Network, Region};

/// The links of a region's hosts by index: first the classes take their share, then everybody's are spread.
pub(crate) fn of_hosts(network: &Network, base: Links, seed: u64, region: usize, shape: &Region) -> Vec<Links> {
    let mut links = vec![base; shape.hosts as usize];
    // Not the generator of the roles: a fault more must not change the links.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ (region as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95));
    let mut left: Vec<usize> = (0..links.len()).collect();
    left.shuffle(&mut rng);
    for class in &network.classes {
        let count = class.hosts.of(shape.hosts);
        let rest = left.len().saturating_sub(count);
        for host in left.drain(rest..) {
            links[host] = class.links;
        }
    }
    if network.spread_percent > 0.0 {
        let spread = network.spread_percent / 100.0;
        for link in &mut links {
            let factor = rng.random_range(1.0 - spread..=1.0 + spread);
            let scale = |rate: u64| ((rate as f64 * factor) as u64).max(1);
            *link = Links {
                uplink: scale(link.uplink),
                downlink: scale(link.downlink),
            };
        }
    }
    links
}

impl HostShare {
    /// How many of `hosts` it is.
    pub(crate) fn of(self, hosts: u32) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (f64::from(hosts) * percent / 100.0).round() as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostClass, LogNetwork, Transport, ZoneNetwork};
    use std::time::Duration;

    fn network(spread_percent: f64, classes: Vec<HostClass>) -> Network {
        Network {
            transport: Transport::InProcess,
            latency: Duration::from_millis(1),
            host: None,
            seeder: None,
            spread_percent,
            classes,
            zones: ZoneNetwork {
                latency: Duration::from_millis(1),
                uplink: None,
                usd_per_gib: None,
            },
            racks: None,
            bucket_rate: None,
            logs: LogNetwork {
                latency: Duration::ZERO,
                rows_per_second: 1,
            },
        }
    }

    fn region() -> Region {
        Region {
            name: "a".to_owned(),
            hosts: 1000,
            zones: 1,
            seeders: 1,
        }
    }

    const BASE: Links = Links {
        uplink: 1_000_000,
        downlink: 2_000_000,
    };

    #[test]
    fn a_class_has_its_share_and_its_links() {
        let slow = Links {
            uplink: 100,
            downlink: 200,
        };
        let class = HostClass {
            name: "slow".to_owned(),
            hosts: HostShare::Percent(1.0),
            links: slow,
        };
        let links = of_hosts(&network(0.0, vec![class]), BASE, 1, 0, &region());
        assert_eq!(links.iter().filter(|l| **l == slow).count(), 10);
        assert_eq!(links.iter().filter(|l| **l == BASE).count(), 990);
    }

    #[test]
    fn spread_links_stay_within_bounds_keep_their_mean_and_follow_the_seed() {
        let of = |seed| of_hosts(&network(50.0, Vec::new()), BASE, seed, 0, &region());
        let links = of(1);
        assert!(links.iter().all(|l| (500_000..=1_500_000).contains(&l.uplink)));
        assert!(
            links.iter().all(|l| l.downlink.abs_diff(2 * l.uplink) <= 2),
            "one factor for both"
        );
        let mean = links.iter().map(|l| l.uplink).sum::<u64>() / 1000;
        assert!((950_000..1_050_000).contains(&mean), "{mean}");
        assert_eq!(links, of(1));
        assert_ne!(links, of(2));
    }
}
