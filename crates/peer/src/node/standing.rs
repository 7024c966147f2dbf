//! Who is a member, and for how long; and what is told of members: what their certificates say and their sockets show, not what they claim.
//!
//! Invariant: an announce reaches the core with addresses and zone that may be told to others. A link to who is no member any more is served
//! nothing new from a [`SWEEP`] after that was known, and ends when what is under way is through, or after [`FINISH`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use signing::Certificate;
use swarm::wire::{self, ADDRESS_LENGTH_MAX, Frame};
use swarm::{HostId, Message, ZoneId};

use super::addresses::{self, Addresses};
use super::endpoint::{Command, Hub};
use super::link::PeerMark;
use super::shared::{Core, Shared, State};
use crate::members::{Members, Refusal};

/// Reads again who is a member, has the connections end of those who are none any more, and shows a new certificate to all.
pub(super) async fn keep_the_door(hub: Arc<Hub>, members: Arc<Members>) -> Infallible {
    let mut ending: HashMap<PeerId, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(SWEEP).await;
        let reader = Arc::clone(&members);
        let is_new = members.has_files()
            && tokio::task::spawn_blocking(move || reader.reread())
                .await
                .unwrap_or(false);
        let parts = hub.parts();
        if is_new {
            let shown = Message::Proof(bytes::Bytes::copy_from_slice(members.shown().as_bytes()));
            parts.iter().for_each(|part| part.show(&shown));
        }
        sweep(&hub, &members, &parts, &mut ending);
    }
}

/// Looks at all members once.
fn sweep(hub: &Hub, members: &Members, parts: &[Arc<Shared>], ending: &mut HashMap<PeerId, Instant>) {
    let gone: HashMap<[u64; 2], (PeerId, Refusal)> = members.gone();
    let own_is_gone = members.own_standing().is_err();
    let had = !ending.is_empty();
    ending.retain(|peer, _| gone.values().any(|(other, _)| other == peer));
    if gone.is_empty() && !had && !own_is_gone {
        return;
    }
    let mut busy: Vec<[u64; 2]> = Vec::new();
    for part in parts {
        part.note_endings(&gone, own_is_gone, &mut busy);
    }
    for (mark, (peer, why)) in gone {
        match ending.get(&peer) {
            None => {
                tracing::info!(%peer, %why, "no member any more");
                ending.insert(peer, Instant::now());
            }
            Some(since) if !busy.contains(&mark) || since.elapsed() >= FINISH => {
                hub.command(Command::ClosePeer(peer));
                members.forget(peer);
                ending.remove(&peer);
            }
            Some(_) => {}
        }
    }
}

impl Shared {
    /// Says something to all that it is linked with.
    fn show(self: &Arc<Self>, shown: &Message) {
        let mut state = self.state.lock();
        let hosts: Vec<HostId> = state.links.keys().copied().collect();
        for host in hosts {
            state.post(host, &Frame::Message(shown.clone()));
        }
    }

    /// Links to those who are gone end; with whom something is still under way is added to `busy`.
    fn note_endings(&self, gone: &HashMap<[u64; 2], (PeerId, Refusal)>, own_is_gone: bool, busy: &mut Vec<[u64; 2]>) {
        for link in self.state.lock().links.values_mut() {
            let mark = link.peer().words();
            let is_gone = gone.contains_key(&mark);
            link.ends = is_gone || own_is_gone;
            if is_gone && (link.receives || !link.serving.is_empty()) {
                busy.push(mark);
            }
        }
    }

    /// What is certified of who is at the other end of a link; `None` where the swarm is open.
    fn certified(&self, peer: PeerMark) -> Option<Option<Arc<Certificate>>> {
        let members = self.hub.members.as_ref()?;
        Some(members.standing(peer.words()))
    }

    /// Has a message say what may be told to others of `from`. Whether there is anything left of it.
    pub(super) fn is_as_shown(&self, state: &mut State, from: HostId, message: &mut Message) -> bool {
        match message {
            Message::Announce { address, zone, .. } => {
                *zone = self.zone_of(state, from, *zone);
                if let Some(told) = self.told(state, from, address) {
                    *address = told;
                }
                true
            }
            Message::Zone(zone) => match self.zone_of(state, from, Some(*zone)) {
                Some(certified) => {
                    *zone = certified;
                    true
                }
                None => false,
            },
            Message::Manifest(_) => {
                if let Some(link) = state.links.get_mut(&from) {
                    link.manifests_owed = link.manifests_owed.saturating_sub(1);
                }
                true
            }
            Message::Proof(shown) => {
                let link = state.links.get(&from);
                if let (Some(members), Some(link)) = (&self.hub.members, link) {
                    members.admit_again(link.peer().words(), shown);
                }
                false
            }
            _ => true,
        }
    }

    /// The zone that a member is in: by its certificate, or by its word in an open swarm. There are not more than so many.
    fn zone_of(&self, state: &mut State, from: HostId, said: Option<ZoneId>) -> Option<ZoneId> {
        let peer = state.links.get(&from)?.peer();
        let zone = match self.certified(peer) {
            Some(certificate) => {
                let certificate = certificate?;
                certificate.member().zone().map(ZoneId::named)
            }
            None => said,
        };
        if state.links.get(&from)?.zone != zone {
            let zone = zone.filter(|zone| has_room_for(state, from, *zone));
            state.links.get_mut(&from)?.zone = zone;
            return zone;
        }
        zone
    }

    /// The addresses of a member that others may be told; `None` where those that it says are.
    fn told(&self, state: &mut State, from: HostId, said: &[u8]) -> Option<bytes::Bytes> {
        let link = state.links.get(&from)?;
        let (peer, connection) = (link.peer(), link.connection);
        let certificate = self.certified(peer);
        let Ok(said) = Addresses::decode(said) else {
            return Some(bytes::Bytes::new());
        };
        if PeerMark::of(said.peer()) != peer {
            return Some(bytes::Bytes::new());
        }
        // None within a process.
        let seen = self.hub.seen_at(connection)?;
        let certified = certificate.map(|one| one.map(|one| one.member().addresses().to_vec()).unwrap_or_default());
        let is_anothers = |ip: IpAddr, port| state.claimed.get(&(ip, port)).is_some_and(|owner| *owner != from);
        let told = said.told(seen, certified.as_deref(), is_anothers);
        if matches!(state.core, Some(Core::Seeder(_))) {
            claim(state, from, seen, &told);
        }
        Some(told.encode_within(ADDRESS_LENGTH_MAX))
    }
}

impl State {
    /// What a member is asked for is what it may send.
    pub(super) fn note_asked(&mut self, to: HostId, message: &Message) {
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        match message {
            Message::Request { chunk, .. } => {
                let manifest = self.manifest.as_ref();
                let length = manifest.and_then(|manifest| Some(manifest.length(manifest.chunk(*chunk)?)));
                link.ask(length.unwrap_or_default());
            }
            Message::ManifestRequest => link.manifests_owed = link.manifests_owed.saturating_add(1),
            _ => {}
        }
    }
}

impl Shared {
    /// Whether a frame of which there are so many bytes, and so many wanted, is read on: as long as a manifest is one of who was asked for
    /// that and has not sent it.
    pub(super) fn takes(&self, from: Option<HostId>, there: usize, wanted: usize) -> bool {
        // Nearly all are short, or were let in when they began.
        if wanted <= FRAME_OF_ANYBODY_MAX || there > FRAME_BEGINS {
            return true;
        }
        let state = self.state.lock();
        let link = from.and_then(|from| state.links.get(&from));
        link.is_some_and(|link| link.manifests_owed > 0)
    }
}

/// Where a member was seen and listens is its own.
fn claim(state: &mut State, from: HostId, seen: IpAddr, told: &Addresses) {
    let own = told.at().iter().find(|address| addresses::ip_of(address) == Some(seen));
    let Some(port) = own.and_then(addresses::port_of) else {
        return;
    };
    let Some(link) = state.links.get_mut(&from) else {
        return;
    };
    if link.claimed == Some((seen, port)) {
        return;
    }
    if let Some(before) = link.claimed.take() {
        state.claimed.remove(&before);
    }
    // Of two at one address it is the first one's.
    if let Entry::Vacant(place) = state.claimed.entry((seen, port)) {
        place.insert(from);
        link.claimed = Some((seen, port));
    }
}

/// Whether hosts are in so few zones that another one may be told of.
fn has_room_for(state: &State, from: HostId, zone: ZoneId) -> bool {
    let others = state.links.iter().filter(|(host, _)| **host != from);
    is_one_of_few(others.filter_map(|(_, link)| link.zone), zone)
}

/// Whether a zone is among those that there are, or one of few with them.
fn is_one_of_few(there: impl Iterator<Item = ZoneId>, zone: ZoneId) -> bool {
    let mut zones: Vec<ZoneId> = Vec::with_capacity(ZONES_MAX);
    for other in there {
        if other == zone {
            return true;
        }
        if !zones.contains(&other) {
            zones.push(other);
        }
    }
    zones.len() < ZONES_MAX
}

/// With so few bytes a frame has just begun.
const FRAME_BEGINS: usize = 32;
/// A longer frame is a manifest: contacts are the longest besides.
const FRAME_OF_ANYBODY_MAX: usize = wire::CONTACTS_MAX * (ADDRESS_LENGTH_MAX + 16);
/// Zones of a swarm at most: a region of AWS has six or fewer. A member that says it is in another one is in none.
const ZONES_MAX: usize = 16;
/// How often it is looked who is a member: with what is under way after that, who is put on a deny list is gone within a minute.
const SWEEP: Duration = Duration::from_secs(5);
/// How long what is under way with who is no member any more may take.
const FINISH: Duration = Duration::from_secs(30);
const _: () = assert!(2 * SWEEP.as_secs() + FINISH.as_secs() < 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_sixteen_zones_and_no_more() {
        let zone = |number: u32| ZoneId::named(&format!("zone-{number}"));
        let many = || (0..1000).map(|host| zone(host % 16));
        assert!(is_one_of_few((0..15).map(zone), zone(99)));
        assert!(!is_one_of_few(many(), zone(99)));
        assert!(is_one_of_few(many(), zone(3)));
        assert!(is_one_of_few(std::iter::empty(), zone(3)));
    }
}
