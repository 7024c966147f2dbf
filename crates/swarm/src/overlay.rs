//! Who is to be connected to whom. Invariant: links are symmetric, nobody is linked to itself, and after every
//! [`Overlay::link_joiners`] the graph of those who have ever asked for links is connected.
//!
//! Each joiner is given links to members drawn uniformly, of a few drawn the one with the fewest links (the power of
//! several choices: Mitzenmacher, IEEE TPDS 2001), which keeps degrees close together without the long chains that
//! "always the least loaded" would build from newcomers. Hosts that arrive together are candidates for each other,
//! so a fleet that starts at once becomes a near-regular random graph.
//!
//! Hosts whose zones are known get most of their links within them. One in six crosses, so that a zone which is not served
//! as planned has where to turn.

use indexmap::{IndexMap, IndexSet};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::units::{HostId, ZoneId};

/// The planned links of a swarm.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    links: IndexMap<HostId, Vec<HostId>>,
    zones: IndexMap<ZoneId, IndexSet<HostId>>,
    zone_of: IndexMap<HostId, ZoneId>,
    /// Whom hosts do not talk to, each as it said itself. Such a pair is not linked again, and no link is counted for it.
    barred: IndexMap<HostId, Vec<HostId>>,
}

/// Where a link may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Anywhere,
    Within(ZoneId),
    Beyond(ZoneId),
}

impl Overlay {
    /// Adds a host without links; nothing happens where it is there.
    pub fn add(&mut self, host: HostId) {
        self.links.entry(host).or_default();
    }

    /// Says where a host is that has been added.
    pub fn set_zone(&mut self, host: HostId, zone: ZoneId) {
        if self.zone_of.get(&host) == Some(&zone) {
            return;
        }
        self.leave_zone(host);
        self.zone_of.insert(host, zone);
        self.zones.entry(zone).or_default().insert(host);
    }

    fn leave_zone(&mut self, host: HostId) {
        if let Some(zone) = self.zone_of.swap_remove(&host)
            && let Some(members) = self.zones.get_mut(&zone)
        {
            members.swap_remove(&host);
            if members.is_empty() {
                self.zones.shift_remove(&zone);
            }
        }
    }

    /// Removes a host and its links.
    pub fn remove(&mut self, host: HostId) {
        self.leave_zone(host);
        self.barred.swap_remove(&host);
        for other in self.links.swap_remove(&host).unwrap_or_default() {
            if let Some(theirs) = self.links.get_mut(&other) {
                theirs.retain(|h| *h != host);
            }
        }
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are no hosts.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The hosts that `host` is linked to.
    pub fn links(&self, host: HostId) -> &[HostId] {
        self.links.get(&host).map_or(&[], Vec::as_slice)
    }

    /// Gives each joiner up to `wanted` new links, to hosts below `degree_max` where there are such, and then as many
    /// more as it takes to connect the graph. The result: for each joiner in its order, whom it is to dial.
    pub fn link_joiners(
        &mut self,
        joiners: &[(HostId, u16)],
        degree_max: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<Vec<HostId>> {
        for (host, _) in joiners {
            self.add(*host);
        }
        let mut order: Vec<usize> = (0..joiners.len()).collect();
        order.shuffle(rng);
        let mut dials = vec![Vec::new(); joiners.len()];
        // One link each, round by round: else the first to draw see everybody without links and choose among equals.
        let rounds = joiners.iter().map(|(_, wanted)| *wanted).max().unwrap_or(0);
        for round in 0..rounds {
            for &index in &order {
                let (host, wanted) = joiners[index];
                if round < wanted
                    && let Some(other) = self.draw_for_round(host, round, degree_max, rng)
                {
                    self.link(host, other);
                    dials[index].push(other);
                }
            }
        }
        self.connect(joiners, &mut dials, rng);
        dials
    }

    /// The sets of hosts that are connected with each other.
    pub fn components(&self) -> Vec<Vec<HostId>> {
        let mut parent: Vec<usize> = (0..self.links.len()).collect();
        for (index, theirs) in self.links.values().enumerate() {
            for other in theirs {
                if let Some(other) = self.links.get_index_of(other) {
                    let (a, b) = (root(&mut parent, index), root(&mut parent, other));
                    parent[a.max(b)] = a.min(b);
                }
            }
        }
        let mut components: IndexMap<usize, Vec<HostId>> = IndexMap::new();
        for (index, host) in self.links.keys().enumerate() {
            components.entry(root(&mut parent, index)).or_default().push(*host);
        }
        components.into_values().collect()
    }

    /// Says that there is a link between two hosts that have been added; nothing happens where it is known, or is none.
    pub fn note_link(&mut self, a: HostId, b: HostId) {
        if a != b && self.links.contains_key(&a) && self.links.contains_key(&b) && !self.links(a).contains(&b) {
            self.link(a, b);
        }
    }

    /// Forgets the link between two hosts: the pair may be linked again.
    pub fn unlink(&mut self, a: HostId, b: HostId) {
        for (host, other) in [(a, b), (b, a)] {
            if let Some(theirs) = self.links.get_mut(&host) {
                theirs.retain(|linked| *linked != other);
            }
        }
    }

    /// Says whom a host does not talk to, from now on only these. What links there are to them are forgotten.
    pub fn set_barred(&mut self, host: HostId, barred: Vec<HostId>) {
        barred.iter().for_each(|other| self.unlink(host, *other));
        if barred.is_empty() {
            self.barred.swap_remove(&host);
        } else {
            self.barred.insert(host, barred);
        }
    }

    /// Whether at least `count` hosts do not talk to this one.
    pub fn is_barred_by(&self, host: HostId, count: usize) -> bool {
        let by = self.barred.values().filter(|theirs| theirs.contains(&host));
        by.take(count).count() == count
    }

    fn is_barred(&self, a: HostId, b: HostId) -> bool {
        let bars = |host, other| self.barred.get(&host).is_some_and(|theirs| theirs.contains(&other));
        !self.barred.is_empty() && (bars(a, b) || bars(b, a))
    }

    fn link(&mut self, a: HostId, b: HostId) {
        self.links.entry(a).or_default().push(b);
        self.links.entry(b).or_default().push(a);
    }

    /// Links `host` to hosts of each zone that is not its own until it has `count` of each, or of as many zones as it has room
    /// for; the result is whom it is to dial.
    pub fn link_to_other_zones(&mut self, host: HostId, count: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<HostId> {
        let Some(own) = self.zone_of.get(&host).copied() else {
            return Vec::new();
        };
        let others: Vec<ZoneId> = self.zones.keys().copied().filter(|zone| *zone != own).collect();
        let mut dials = Vec::new();
        for zone in others {
            let there = |other: &&HostId| self.zone_of.get(*other) == Some(&zone);
            let linked = self.links(host).iter().filter(there).count();
            for _ in linked..count {
                if let Some(other) = self.draw(host, usize::MAX, Reach::Within(zone), rng) {
                    self.link(host, other);
                    dials.push(other);
                }
            }
        }
        dials
    }

    fn draw_for_round(
        &self,
        host: HostId,
        round: u16,
        degree_max: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Option<HostId> {
        let reach = match self.zone_of.get(&host) {
            Some(_) if self.zones.len() < 2 => Reach::Anywhere,
            Some(zone) if round % CROSSING_EVERY == CROSSING_EVERY - 1 => Reach::Beyond(*zone),
            Some(zone) => Reach::Within(*zone),
            None => Reach::Anywhere,
        };
        let drawn = self.draw(host, degree_max, reach, rng);
        if reach == Reach::Anywhere {
            return drawn;
        }
        drawn.or_else(|| self.draw(host, degree_max, Reach::Anywhere, rng))
    }

    fn may_link(&self, host: HostId, other: HostId, degree_max: usize) -> bool {
        other != host
            && !self.links(host).contains(&other)
            && self.links(other).len() < degree_max
            && !self.is_barred(host, other)
    }

    /// The least linked of a few hosts drawn by chance.
    fn draw(&self, host: HostId, degree_max: usize, reach: Reach, rng: &mut Xoshiro256PlusPlus) -> Option<HostId> {
        let members = match reach {
            Reach::Within(zone) => Some(self.zones.get(&zone)?),
            Reach::Anywhere | Reach::Beyond(_) => None,
        };
        let at = |index: usize| match members {
            Some(members) => *members.get_index(index).expect("drawn below the length"),
            None => *self.links.get_index(index).expect("drawn below the length").0,
        };
        let count = members.map_or(self.links.len(), IndexSet::len);
        let is_beyond = |other: HostId| match reach {
            Reach::Beyond(zone) => self.zone_of.get(&other) != Some(&zone),
            Reach::Anywhere | Reach::Within(_) => true,
        };
        let mut best = None;
        let mut found = 0;
        for _ in 0..DRAWS_MAX {
            let other = at(rng.random_range(0..count));
            if self.may_link(host, other, degree_max) && is_beyond(other) {
                let degree = self.links(other).len();
                if best.is_none_or(|(least, _)| degree < least) {
                    best = Some((degree, other));
                }
                found += 1;
                if found == CHOICES {
                    break;
                }
            }
        }
        // Chance finds nobody in a small or crowded swarm: look at everybody, from a random place on.
        let start = rng.random_range(0..count);
        best.map(|(_, other)| other).or_else(|| {
            let mut everybody = (0..count).map(|i| at((start + i) % count));
            everybody.find(|other| self.may_link(host, *other, degree_max) && is_beyond(*other))
        })
    }

    fn connect(&mut self, joiners: &[(HostId, u16)], dials: &mut [Vec<HostId>], rng: &mut Xoshiro256PlusPlus) {
        if joiners.is_empty() {
            return;
        }
        // A host that has no links here and asks for none was given some by another tracker, which is gone: without any it would ask.
        let is_known = |c: &Vec<HostId>| c.len() > 1 || joiners.iter().any(|(host, _)| c.contains(host));
        let mut components = self.components();
        components.retain(is_known);
        components.sort_by_key(|component| std::cmp::Reverse(component.len()));
        let holds_joiner = |c: &Vec<HostId>| joiners.iter().any(|(host, _)| c.contains(host));
        if components.len() < 2 {
            return;
        }
        // Only joiners can be told to dial. All components that have one are linked to the largest of these; the others
        // are dialled from it.
        let hub = components
            .iter()
            .position(holds_joiner)
            .map_or_else(Vec::new, |at| components.swap_remove(at));
        for component in &components {
            let own = joiners.iter().position(|(host, _)| component.contains(host));
            let (from, to) = match own {
                Some(own) => (own, &hub),
                None => {
                    let in_hub = joiners.iter().position(|(host, _)| hub.contains(host));
                    (in_hub.expect("the hub has a joiner"), component)
                }
            };
            let (host, start) = (joiners[from].0, rng.random_range(0..to.len()));
            let mut targets = (0..to.len()).map(|i| to[(start + i) % to.len()]);
            if let Some(target) = targets.find(|target| !self.is_barred(host, *target)) {
                self.link(host, target);
                dials[from].push(target);
            }
        }
    }
}

fn root(parent: &mut [usize], mut index: usize) -> usize {
    while parent[index] != index {
        parent[index] = parent[parent[index]];
        index = parent[index];
    }
    index
}

/// Candidates among which the least linked is taken. Two already do most of it.
const CHOICES: usize = 4;
/// One in so many links leads to another zone.
const CROSSING_EVERY: u16 = 6;
/// Draws before everybody is looked at.
const DRAWS_MAX: usize = 24;

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    fn hosts(range: std::ops::Range<u64>, wanted: u16) -> Vec<(HostId, u16)> {
        range.map(|n| (HostId::new(n), wanted)).collect()
    }

    fn degrees(overlay: &Overlay) -> Vec<usize> {
        overlay.links.values().map(Vec::len).collect()
    }

    #[test]
    fn a_fleet_that_starts_at_once_becomes_near_regular_and_connected() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut overlay = Overlay::default();
        overlay.link_joiners(&hosts(0..2000, 6), 18, &mut rng);
        let degrees = degrees(&overlay);
        assert_eq!(overlay.components().len(), 1);
        assert_eq!(degrees.iter().sum::<usize>(), 2000 * 12);
        assert!(*degrees.iter().min().unwrap() >= 9, "{:?}", degrees.iter().min());
        assert!(*degrees.iter().max().unwrap() <= 15, "{:?}", degrees.iter().max());
    }

    #[test]
    fn two_hosts_are_linked_and_one_alone_is_not() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut overlay = Overlay::default();
        assert_eq!(overlay.link_joiners(&hosts(0..1, 6), 18, &mut rng), [vec![]]);
        assert_eq!(
            overlay.link_joiners(&hosts(1..2, 6), 18, &mut rng),
            [vec![HostId::new(0)]]
        );
    }

    #[test]
    fn hosts_whose_links_another_tracker_made_are_left_in_peace() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut overlay = Overlay::default();
        (0..100).for_each(|n| overlay.add(HostId::new(n)));
        let dials = overlay.link_joiners(&hosts(100..103, 4), 18, &mut rng);
        assert!(dials.iter().all(|dials| dials.len() <= 5), "{dials:?}");
        let linked = overlay.components().into_iter().filter(|c| c.len() > 1);
        assert_eq!(linked.count(), 1, "the joiners are connected");
    }

    proptest! {
        #[test]
        fn however_hosts_come_and_go_the_graph_is_symmetric_bounded_and_connected_after_a_join(
            seed in any::<u64>(),
            steps in prop::collection::vec((any::<bool>(), 1u64..40), 1..20),
        ) {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut overlay = Overlay::default();
            let mut next = 0;
            for (join, count) in steps {
                if join {
                    overlay.link_joiners(&hosts(next..next + count, 4), 12, &mut rng);
                    next += count;
                } else {
                    for _ in 0..count.min(overlay.len() as u64 / 3) {
                        let leaver = *overlay.links.get_index(rng.random_range(0..overlay.len())).unwrap().0;
                        overlay.remove(leaver);
                    }
                    // Those who lost links ask again, as peers do.
                    let poor: Vec<_> = overlay.links.iter().filter(|(_, l)| l.len() < 4).map(|(h, _)| (*h, 4)).collect();
                    overlay.link_joiners(&poor, 12, &mut rng);
                }
                for (host, theirs) in &overlay.links {
                    prop_assert!(theirs.iter().all(|other| other != host && overlay.links(*other).contains(host)));
                    let mut distinct = theirs.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    prop_assert_eq!(distinct.len(), theirs.len());
                    // A link that connects components may go one beyond the limit for each of them.
                    prop_assert!(theirs.len() <= 12 + 16);
                }
                if join {
                    prop_assert_eq!(overlay.components().len(), 1);
                }
            }
        }
    }
}
