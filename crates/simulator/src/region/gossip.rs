//! What hosts have published of what they hold, as far as their neighbours can know.
//!
//! In virtual time the HAVE messages would be sixteen events for each transfer, so hosts look here. What a seeder offers is said
//! by message all the same, because it is said to one host.

use swarm::{Bitfield, ChunkIndex, Holdings, HostId};

use crate::member::MemberId;
use crate::prefetch::prefetch;

/// What is published, by member; nothing of the seeders that come after the hosts.
#[derive(Debug)]
pub(super) struct Gossip {
    fields: Vec<Bitfield>,
    busy: Vec<bool>,
}

impl Gossip {
    pub(super) fn new(hosts: usize, chunks: u32) -> Self {
        Self {
            fields: (0..=hosts).map(|_| Bitfield::new(chunks)).collect(),
            busy: vec![false; hosts + 1],
        }
    }

    /// `host` has acquired `count` chunks, the last of which is `latest`, and requests wait there or not. `acquired` gives them
    /// all in their order, and is asked only where more than one is news. Tells whether any is.
    pub(super) fn publish<'a>(
        &mut self,
        host: MemberId,
        (count, latest, busy): (u32, Option<ChunkIndex>, bool),
        acquired: impl FnOnce() -> Option<&'a [ChunkIndex]>,
    ) -> bool {
        self.busy[host.index()] = busy;
        let field = &mut self.fields[host.index()];
        let known = field.count();
        if known >= count {
            return false;
        }
        // Most often it is one chunk, and the peer, which nothing has looked at for a while, can be left where it is.
        if let (Some(latest), true) = (latest, known + 1 == count) {
            field.insert(latest);
            return true;
        }
        let Some(acquired) = acquired() else {
            return false;
        };
        for chunk in &acquired[known as usize..count as usize] {
            field.insert(*chunk);
        }
        true
    }

    /// Has what `host` has published fetched into the processor's cache.
    #[inline]
    pub(super) fn fetch_of(&self, host: MemberId) {
        self.fields.get(host.index()).inspect(|field| prefetch(*field));
    }
}

impl Holdings for Gossip {
    #[inline]
    fn fetch(&self, host: HostId) {
        self.fetch_of(MemberId::of(host));
    }

    #[inline]
    fn held_by(&self, host: HostId) -> Option<&Bitfield> {
        // The seeder shows each client something else, and says so by message.
        if host == MemberId::FIRST_SEEDER.host() {
            return None;
        }
        self.fields.get(place(host))
    }

    #[inline]
    fn is_busy(&self, host: HostId) -> Option<bool> {
        self.busy.get(place(host)).copied()
    }
}

/// The place of a host in tables of members. It is looked up for every neighbour that is thought of: one that is no member is beyond
/// every table.
#[inline]
fn place(host: HostId) -> usize {
    usize::try_from(host.get()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(index: u32) -> ChunkIndex {
        let set = Bitfield::from_words(&[1 << index], 10).unwrap();
        set.iter().next().unwrap()
    }

    #[test]
    fn what_is_published_grows_by_what_was_acquired_up_to_then() {
        let mut gossip = Gossip::new(2, 10);
        let host = MemberId::new(2);
        let published = |gossip: &Gossip| gossip.held_by(host.host()).unwrap().clone();
        let acquired = [7, 3, 5, 1].map(chunk);
        let never = || panic!("one chunk needs no look at the peer");
        assert!(gossip.publish(host, (1, Some(acquired[0]), true), never));
        assert_eq!(
            (published(&gossip).count(), gossip.is_busy(host.host())),
            (1, Some(true))
        );
        assert!(gossip.publish(host, (3, Some(acquired[2]), false), || Some(&acquired)));
        assert!(published(&gossip).contains(chunk(3)) && !published(&gossip).contains(chunk(1)));
        // What was overtaken is no news, but for how busy the host is.
        assert!(!gossip.publish(host, (2, Some(acquired[1]), true), || Some(&acquired)));
        assert_eq!(
            (published(&gossip).count(), gossip.is_busy(host.host())),
            (3, Some(true))
        );
        // Who has gone has nothing more to say.
        assert!(!gossip.publish(host, (9, Some(acquired[3]), true), || None));
    }

    #[test]
    fn seeders_are_not_looked_up() {
        let gossip = Gossip::new(1, 10);
        let host = MemberId::new(1).host();
        assert!(gossip.held_by(host).is_some());
        let seeders = [MemberId::FIRST_SEEDER, MemberId::new(2)];
        assert!(seeders.iter().all(|seeder| gossip.held_by(seeder.host()).is_none()));
    }
}
