//! A member of the swarm while a day is played.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use swarm::{Action, Bitfield, ChunkIndex, Event, HostId, Manifest, Peer, Seeder, Time};

use super::Index;
use super::conns::{ConnId, Side};
use crate::day::{Link, Nanos, Role};
use crate::referee::Watched;

/// A state machine of the core, where the member is there.
pub(crate) enum Core {
    /// It is not there.
    None,
    /// A host.
    Peer(Box<Peer>),
    /// A seeder.
    Seeder(Box<Seeder>),
}

impl Core {
    pub(crate) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// A member of the swarm.
pub(crate) struct Member {
    pub(crate) id: HostId,
    /// Which of the day's hosts it is; none for a seeder.
    pub(crate) host: Option<usize>,
    pub(crate) role: Role,
    pub(crate) core: Core,
    /// Times that it was started.
    pub(crate) life: u32,
    /// When it wants to be woken, as far as the queue knows.
    pub(super) armed: Nanos,
    /// What it is told after what it is doing.
    pub(super) feedback: VecDeque<Event>,
    /// Its ends of connections, by who is at the other end.
    pub(super) ends: BTreeMap<Index, (ConnId, Side)>,
    manifest: Arc<Manifest>,
    /// Chunks that are there and verified, whatever the core says.
    pub(crate) store: Bitfield,
    /// Chunks of them whose bytes are gone, which it does not know.
    pub(super) rotten: BTreeSet<ChunkIndex>,
    /// How long opening the store takes.
    pub(super) opens_in: Nanos,
    pub(super) link: Link,
    pub(super) uplink: Uplink,
    /// When its downlink has taken in what is on its way.
    pub(super) downlink_free: Nanos,
    /// Its process stands still.
    pub(super) paused: bool,
    /// It was to be woken while it stood still.
    pub(super) overslept: bool,
    /// Its machine has gone without a word: nothing comes back from there.
    pub(super) dark: bool,
    /// Whom it trickles to, for who does.
    pub(super) trickles: Vec<(HostId, u32, u32)>,
    pub(crate) watched: Watched,
}

/// What a member's uplink is doing.
#[derive(Default)]
pub(super) struct Uplink {
    /// Connections over which chunks are to be sent.
    pub(super) sending: Vec<(ConnId, Side)>,
    /// Whose turn it is.
    pub(super) next: usize,
    /// Whether a piece is leaving.
    pub(super) busy: bool,
    /// When it looks again whether somebody takes what it has.
    pub(super) waits_until: Option<Nanos>,
}

impl Member {
    pub(super) fn new(id: HostId, host: Option<usize>, role: Role, link: Link, manifest: &Arc<Manifest>) -> Self {
        Self {
            id,
            host,
            role,
            core: Core::None,
            life: 0,
            armed: Nanos::MAX,
            feedback: VecDeque::new(),
            ends: BTreeMap::new(),
            manifest: Arc::clone(manifest),
            store: Bitfield::new(manifest.chunk_count()),
            rotten: BTreeSet::new(),
            opens_in: 0,
            link,
            uplink: Uplink::default(),
            downlink_free: 0,
            paused: false,
            overslept: false,
            dark: false,
            trickles: Vec::new(),
            watched: Watched::default(),
        }
    }

    pub(crate) const fn is_seeder(&self) -> bool {
        self.host.is_none()
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.role.is_honest()
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    /// Whether it has a chunk of this number.
    pub(crate) fn holds(&self, chunk: u32) -> bool {
        self.manifest
            .chunk(chunk)
            .is_some_and(|chunk| self.store.contains(chunk))
    }

    pub(crate) fn peer(&self) -> Option<&Peer> {
        match &self.core {
            Core::Peer(peer) => Some(peer),
            Core::None | Core::Seeder(_) => None,
        }
    }

    pub(super) fn handle(&mut self, now: Time, event: Event) {
        match &mut self.core {
            Core::Peer(peer) => peer.handle_event(now, event),
            Core::Seeder(seeder) => seeder.handle_event(now, event),
            Core::None => {}
        }
    }

    pub(super) fn take_actions(&mut self, actions: &mut VecDeque<Action>) {
        match &mut self.core {
            Core::Peer(peer) => actions.extend(std::iter::from_fn(|| peer.poll_action())),
            Core::Seeder(seeder) => actions.extend(std::iter::from_fn(|| seeder.poll_action())),
            Core::None => {}
        }
    }

    pub(super) fn next_wakeup(&self) -> Option<Time> {
        match &self.core {
            Core::Peer(peer) => peer.next_wakeup(),
            Core::Seeder(seeder) => seeder.next_wakeup(),
            Core::None => None,
        }
    }
}
