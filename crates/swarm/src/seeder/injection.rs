//! The first pass: which chunks have yet to go out, and to whom they are offered.
//!
//! Invariant, told by [`Injection::check`]: every chunk of the build is in exactly one of four states. It *waits* to be offered, it is
//! *offered* to clients that are there, it is *out*, or it is *withdrawn* since its bytes are gone. It is offered to one client, and to
//! another only where that one is slow and nothing else is left to offer. A client that is dismissed, for whatever reason, leaves no
//! offer behind: what was offered to it alone waits again. The methods of [`Injection`] are the only ways to change any of that. It
//! sends nothing and knows no member that is not a client.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use indexmap::IndexMap;

use crate::bitfield::Bitfield;
use crate::units::{ChunkIndex, HostId, Time};
use crate::upload_queue::UPLOAD_QUEUE_PER_HOST_MAX;
use crate::wire::ChunkList;

/// Chunks on their way out, and the clients that they are offered to.
#[derive(Debug)]
pub(super) struct Injection {
    /// In the order in which they are offered.
    waiting: VecDeque<ChunkIndex>,
    offers: Vec<Offer>,
    out: Bitfield,
    withdrawn: BTreeSet<ChunkIndex>,
    /// Chunks that some client says it has. They are offered last, and count as out only when that is declined.
    claimed: Bitfield,
    clients: IndexMap<HostId, Client>,
    offers_made: u64,
}

/// A host that the seeder offers chunks to.
#[derive(Debug, Default)]
struct Client {
    /// Offers lost since it last asked for a chunk.
    strikes: u32,
    /// When it was last offered something, to take turns.
    offered_last: u64,
    /// It was sent HAVE_ALL, and neither an offer nor word of a lost chunk since: it asks for whatever it lacks.
    is_shown_all: bool,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    chunk: ChunkIndex,
    to: HostId,
    at: Time,
    /// Of what is out, to see whether somebody passes it on.
    is_trial: bool,
}

impl Offer {
    fn is(&self, to: HostId, chunk: ChunkIndex) -> bool {
        self.to == to && self.chunk == chunk
    }
}

/// What is known of the injection.
impl Injection {
    /// Of no build yet: there is nothing to offer, and nobody to offer it to.
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            offers: Vec::new(),
            out: Bitfield::new(0),
            withdrawn: BTreeSet::new(),
            claimed: Bitfield::new(0),
            clients: IndexMap::new(),
            offers_made: 0,
        }
    }

    /// Whether some chunk has yet to go out. One that is offered in a trial has been.
    pub(super) fn is_first_pass(&self) -> bool {
        !self.waiting.is_empty() || self.offers.iter().any(|offer| !offer.is_trial)
    }

    pub(super) fn is_offered(&self, to: HostId, chunk: ChunkIndex) -> bool {
        self.offers.iter().any(|offer| offer.is(to, chunk))
    }

    pub(super) fn offered_at(&self, to: HostId, chunk: ChunkIndex) -> Option<Time> {
        self.offers
            .iter()
            .find(|offer| offer.is(to, chunk))
            .map(|offer| offer.at)
    }

    pub(super) fn is_out(&self, chunk: ChunkIndex) -> bool {
        self.out.contains(chunk)
    }

    pub(super) fn is_withdrawn(&self, chunk: ChunkIndex) -> bool {
        self.withdrawn.contains(&chunk)
    }

    pub(super) fn is_client(&self, host: HostId) -> bool {
        self.clients.contains_key(&host)
    }

    pub(super) fn client_count(&self) -> usize {
        self.clients.len()
    }

    pub(super) fn clients(&self) -> Vec<HostId> {
        self.clients.keys().copied().collect()
    }

    /// What is offered to `host` at the moment.
    pub(super) fn offers_to(&self, host: HostId) -> ChunkList {
        let theirs = self.offers.iter().filter(|offer| offer.to == host);
        theirs.map(|offer| offer.chunk.get()).collect()
    }

    /// The client whose turn it is, and how many chunks it is offered.
    fn next_client(&self) -> Option<(HostId, usize)> {
        let offered = |host: HostId| self.offers.iter().filter(|offer| offer.to == host).count();
        let clients = self
            .clients
            .iter()
            .map(|(host, client)| (*host, offered(*host), client));
        let next = clients.min_by_key(|(_, offered, client)| (*offered, client.strikes, client.offered_last));
        next.map(|(host, offered, _)| (host, offered))
    }

    /// Which chunk has been on its way for longest, and since when, where nothing waits. `since` tells when the sending of a chunk to a
    /// host began: of several that it is sent to the last counts, and one that somebody has yet to take up does not, nor one that is
    /// offered `copies_max` times.
    fn slowest(
        &self,
        since: impl Fn(HostId, ChunkIndex) -> Option<Time>,
        copies_max: usize,
    ) -> Option<(Time, ChunkIndex)> {
        if !self.waiting.is_empty() {
            return None;
        }
        let slowest = |offer: &Offer| {
            let mut of_chunk = self.offers.iter().filter(|other| other.chunk == offer.chunk);
            let begun: Option<Vec<Time>> = of_chunk.try_fold(Vec::new(), |mut begun, other| {
                begun.push(since(other.to, other.chunk)?);
                Some(begun)
            });
            let begun = begun.filter(|begun| begun.len() < copies_max)?;
            Some((begun.into_iter().max()?, offer.chunk))
        };
        self.offers.iter().filter_map(slowest).min()
    }

    /// When [`Injection::offer_slow`] is to be looked at, where somebody is there to whom it could offer something.
    pub(super) fn next_slow(
        &self,
        since: impl Fn(HostId, ChunkIndex) -> Option<Time>,
        slow_after: Duration,
        copies_max: usize,
    ) -> Option<Time> {
        let (since, _) = self.slowest(since, copies_max)?;
        let has_idle = self.next_client().is_some_and(|(_, offered)| offered == 0);
        has_idle.then_some(since + slow_after)
    }

    /// When the next offer is lost, where `lost_at` tells it of one that was made at a time, to a host, of a chunk.
    pub(super) fn next_expiry(&self, lost_at: impl Fn(Time, HostId, ChunkIndex) -> Time) -> Option<Time> {
        let lost_at = |offer: &Offer| lost_at(offer.at, offer.to, offer.chunk);
        self.offers.iter().map(lost_at).min()
    }

    /// What of the invariant is broken.
    ///
    /// # Errors
    /// The first chunk, or offer, that is not as it must be.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut states = vec![0_u32; self.out.len() as usize];
        let mut offers: Vec<(ChunkIndex, HostId)> = self.offers.iter().map(|offer| (offer.chunk, offer.to)).collect();
        offers.sort_unstable();
        if let Some(twice) = offers.windows(2).find(|pair| pair[0] == pair[1]) {
            let (chunk, to) = twice[0];
            return Err(format!("{chunk} is offered to {to} twice"));
        }
        offers.dedup_by_key(|(chunk, _)| *chunk);
        let offered = offers.into_iter().map(|(chunk, _)| chunk);
        let withdrawn = self.withdrawn.iter().copied();
        for chunk in self
            .waiting
            .iter()
            .copied()
            .chain(offered)
            .chain(withdrawn)
            .chain(self.out.iter())
        {
            match states.get_mut(chunk.as_usize()) {
                Some(times) => *times += 1,
                None => return Err(format!("{chunk} is not of this build")),
            }
        }
        if let Some(chunk) = states.iter().position(|times| *times != 1) {
            let times = states[chunk];
            return Err(format!(
                "chunk {chunk} waits, is offered, out or withdrawn {times} times; expected once"
            ));
        }
        match self.offers.iter().find(|offer| !self.clients.contains_key(&offer.to)) {
            Some(Offer { chunk, to, .. }) => Err(format!("{chunk} is offered to {to}, which is no client")),
            None => Ok(()),
        }
    }
}

/// What changes it.
impl Injection {
    /// The chunks of a build, none of which has gone out, are to be offered in this order.
    pub(super) fn begin(&mut self, chunks: VecDeque<ChunkIndex>) {
        let count = u32::try_from(chunks.len()).expect("a build's chunks are a u32");
        self.out = Bitfield::new(count);
        self.claimed = Bitfield::new(count);
        self.waiting = chunks;
    }

    /// `host` is a client from now on, and has a clean slate. Whether it is told that all is to be had here.
    pub(super) fn admit(&mut self, host: HostId, is_shown_all: bool) {
        self.clients.entry(host).or_default().is_shown_all = is_shown_all;
    }

    /// `host` is told that not all is to be had here for it.
    pub(super) fn show_offers(&mut self, host: HostId) {
        if let Some(client) = self.clients.get_mut(&host) {
            client.is_shown_all = false;
        }
    }

    /// From now on the clients are shown all that is here, or none of them is. Those to whom that is new.
    pub(super) fn show_all(&mut self, is_shown_all: bool) -> Vec<HostId> {
        let clients = self.clients.iter_mut();
        let changed = clients.filter(|(_, client)| client.is_shown_all != is_shown_all);
        let changed = changed.map(|(host, client)| {
            client.is_shown_all = is_shown_all;
            *host
        });
        changed.collect()
    }

    /// `host` is a client no more; tells whether it was one. What was offered to it alone waits again, and goes first.
    pub(super) fn dismiss(&mut self, host: HostId) -> bool {
        let was_client = self.clients.swap_remove(&host).is_some();
        if was_client {
            let theirs: Vec<Offer> = self.offers.extract_if(.., |offer| offer.to == host).collect();
            theirs.iter().for_each(|offer| self.wait_again(offer.chunk));
        }
        was_client
    }

    /// An offer of `chunk` is lost. Where it was the only one the chunk waits, and goes first.
    fn wait_again(&mut self, chunk: ChunkIndex) {
        let waits = self.waiting.contains(&chunk);
        if !waits && self.offers.iter().all(|offer| offer.chunk != chunk) {
            self.waiting.push_front(chunk);
        }
    }

    /// `host` has asked for a chunk: it takes up what it is offered.
    pub(super) fn asked_by(&mut self, host: HostId) {
        if let Some(client) = self.clients.get_mut(&host) {
            client.strikes = 0;
        }
    }

    /// `host` says that it has these chunks: those that it lacks are offered first. A seeder that was started anew knows nothing of what went
    /// out before, and would else be told of one chunk after another that it is not needed.
    pub(super) fn claim(&mut self, host: HostId, theirs: &Bitfield) {
        if theirs.len() != self.claimed.len() || !self.is_client(host) {
            return;
        }
        let (has, lacks): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(|chunk| theirs.contains(*chunk));
        has.iter().for_each(|chunk| {
            self.claimed.insert(*chunk);
        });
        self.waiting = lacks.into_iter().chain(has).collect();
    }

    /// Offers the next chunk that waits to the client whose turn it is, where fewer than `at_once` are offered, or some more of one that
    /// somebody claims to have, which hardly anybody will ask for; tells which to whom.
    pub(super) fn offer_next(&mut self, now: Time, at_once: usize) -> Option<(HostId, ChunkIndex)> {
        let next = *self.waiting.front()?;
        let more = if self.claimed.contains(next) {
            CLAIMED_AT_ONCE
        } else {
            0
        };
        if self.offers.len() >= at_once + more {
            return None;
        }
        // More than that it could not ask for.
        let (to, _) = self
            .next_client()
            .filter(|(_, offered)| *offered < UPLOAD_QUEUE_PER_HOST_MAX)?;
        let chunk = self.waiting.pop_front()?;
        self.offer(now, to, chunk, false);
        Some((to, chunk))
    }

    /// Where nothing waits, offers the chunk that has been on its way for longest, and for `slow_after` at least, to a client that is
    /// offered nothing: whoever was offered it first is slow, and nobody else gets anything. Of no chunk there are more than `copies_max`
    /// offers.
    pub(super) fn offer_slow(
        &mut self,
        now: Time,
        since: impl Fn(HostId, ChunkIndex) -> Option<Time>,
        slow_after: Duration,
        copies_max: usize,
    ) -> Option<(HostId, ChunkIndex)> {
        let (since, chunk) = self.slowest(since, copies_max)?;
        let (to, _) = self.next_client().filter(|(_, offered)| *offered == 0)?;
        if now < since + slow_after {
            return None;
        }
        let is_trial = self.offers.iter().any(|offer| offer.chunk == chunk && offer.is_trial);
        self.offer(now, to, chunk, is_trial);
        Some((to, chunk))
    }

    /// Offers `chunk`, which is out, to a client that is not `host`; tells which. It is not out meanwhile.
    pub(super) fn offer_elsewhere(&mut self, now: Time, host: HostId, chunk: ChunkIndex) -> Option<HostId> {
        let others = self.clients.iter().filter(|(client, _)| **client != host);
        let to = others
            .min_by_key(|(_, client)| (client.strikes, client.offered_last))
            .map(|(to, _)| *to)?;
        if !self.out.remove(chunk) {
            return None;
        }
        self.offer(now, to, chunk, true);
        Some(to)
    }

    fn offer(&mut self, at: Time, to: HostId, chunk: ChunkIndex, is_trial: bool) {
        self.offers_made += 1;
        if let Some(client) = self.clients.get_mut(&to) {
            client.offered_last = self.offers_made;
            client.is_shown_all = false;
        }
        self.offers.push(Offer {
            chunk,
            to,
            at,
            is_trial,
        });
    }

    /// `chunk` was sent to `host`, or is there already, or comes to it from somebody else. Whether it was offered to it: then it is out,
    /// and nobody else is counted on.
    pub(super) fn settle(&mut self, host: HostId, chunk: ChunkIndex) -> bool {
        let was_offered = self.is_offered(host, chunk);
        if was_offered {
            self.offers.retain(|offer| offer.chunk != chunk);
            self.out.insert(chunk);
        }
        was_offered
    }

    /// Offers that are lost by now, as `lost_at` tells, end, and their chunks wait again. A client that loses too many in a row is dismissed where the
    /// swarm has more than the clients, of `members` in all. Tells how many were lost.
    pub(super) fn expire(
        &mut self,
        now: Time,
        lost_at: impl Fn(Time, HostId, ChunkIndex) -> Time,
        members: usize,
    ) -> u64 {
        let is_lost = |offer: &mut Offer| now >= lost_at(offer.at, offer.to, offer.chunk);
        let lost: Vec<Offer> = self.offers.extract_if(.., is_lost).collect();
        for offer in &lost {
            self.wait_again(offer.chunk);
            let Some(client) = self.clients.get_mut(&offer.to) else {
                continue;
            };
            client.strikes += 1;
            if client.strikes >= STRIKES_MAX && members > self.clients.len() {
                self.dismiss(offer.to);
            }
        }
        lost.len() as u64
    }

    /// Chunks that were out are not any more, and wait in this order after those that wait already.
    pub(super) fn begin_again(&mut self, chunks: impl IntoIterator<Item = ChunkIndex>) {
        for chunk in chunks {
            if self.out.remove(chunk) {
                self.waiting.push_back(chunk);
            }
        }
    }

    /// The bytes of `chunk` are gone: it is offered to nobody. Whom it was offered to; `None` where it was withdrawn before.
    pub(super) fn withdraw(&mut self, chunk: ChunkIndex) -> Option<Vec<HostId>> {
        if !self.withdrawn.insert(chunk) {
            return None;
        }
        self.waiting.retain(|waiting| *waiting != chunk);
        self.out.remove(chunk);
        let offers = self.offers.extract_if(.., |offer| offer.chunk == chunk);
        Some(offers.map(|offer| offer.to).collect())
    }

    /// The bytes of a chunk that was withdrawn are there again: it waits, and goes first. Whether it was withdrawn.
    pub(super) fn put_back(&mut self, chunk: ChunkIndex) -> bool {
        let was_withdrawn = self.withdrawn.remove(&chunk);
        if was_withdrawn {
            self.waiting.push_front(chunk);
        }
        was_withdrawn
    }
}

/// So many more chunks are offered at a time of those that a client claims to have.
const CLAIMED_AT_ONCE: usize = 64;
/// A client that lets so many offers in a row pass is replaced.
const STRIKES_MAX: u32 = 3;

#[cfg(test)]
mod tests;
