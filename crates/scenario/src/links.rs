//! Which host has which links, drawn from the seed.

use rand::RngExt;

use crate::draw::Key;
use crate::{HostClass, HostPlan, Links, Network};

/// Gives the hosts of a region their links: first the classes take their share, then everybody's are spread.
pub(crate) fn give(network: &Network, seed: u64, region: usize, hosts: &mut [HostPlan]) {
    give_classes(&network.classes, seed, region, hosts);
    if network.spread_percent <= 0.0 {
        return;
    }
    let spread = network.spread_percent / 100.0;
    let key = Key::new(seed, region, "spread of links");
    for host in hosts {
        let factor = key.generator(host.index).random_range(1.0 - spread..=1.0 + spread);
        let scale = |rate: u64| ((rate as f64 * factor) as u64).max(1);
        host.links = host.links.map(|links| Links {
            uplink: scale(links.uplink),
            downlink: scale(links.downlink),
        });
    }
}

/// Holds the links of hosts to what their parts let through.
pub(crate) fn limit(network: &Network, hosts: &mut [HostPlan]) {
    for host in hosts {
        let parts = network.parts(host.class);
        host.links = host.links.map(|links| parts.limit(links));
    }
}

/// A host is of one class at most. Classes draw one after another from the slowest on, whatever they are called.
fn give_classes(classes: &[HostClass], seed: u64, region: usize, hosts: &mut [HostPlan]) {
    let mut order: Vec<(u16, &HostClass)> = (0..).zip(classes).collect();
    order.sort_by_key(|(_, class)| (class.links.uplink, class.links.downlink));
    let total = u32::try_from(hosts.len()).expect("a region's hosts are a u32");
    for (
        place,
        (
            class,
            HostClass {
                hosts: share, links, ..
            },
        ),
    ) in order.into_iter().enumerate()
    {
        let others = hosts.iter().filter(|host| host.class.is_none()).map(|host| host.index);
        let key = Key::new(seed, region, &format!("class {place} from the slowest"));
        for host in key.draw(others, share.of(total)) {
            let host = &mut hosts[host as usize];
            host.class = Some(class);
            host.links = Some(*links);
        }
    }
}
