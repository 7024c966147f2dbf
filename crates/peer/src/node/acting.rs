//! What the core wants done: dialling, closing, sending, opening and finishing the store.

use std::net::IpAddr;
use std::sync::Arc;

use swarm::wire::{Frame, RejectReason};
use swarm::{Action, ChunkIndex, Event, HostId, Manifest, Message};

use super::addresses::{Addresses, local_towards};
use super::endpoint::Command;
use super::host_of;
use super::link::{PeerMark, abort};
use super::shared::{Core, Shared, State};
use crate::store::{Answer, ChunkStore};

impl Shared {
    pub(super) fn carry_out_one(self: &Arc<Self>, state: &mut State, action: Action) {
        match action {
            Action::Connect(contact) => {
                let host = contact.host;
                match Addresses::decode(&contact.address) {
                    Ok(addresses) if addresses.has_name() => self.dial_by_name(host, addresses),
                    Ok(addresses) => self.dial(state, host, addresses),
                    Err(error) => {
                        tracing::warn!(%host, %error, "contact has no address that can be dialled");
                        state.feedback.push_back(Event::Disconnected(host));
                    }
                }
            }
            Action::Disconnect { host, reason } => {
                if let Some(link) = state.remove_link(host) {
                    self.hub.command(Command::Close(link.connection));
                }
                tracing::debug!(host = %self.host, other = %host, ?reason, "disconnected");
                if reason.is_for_wrong_bytes() {
                    state.observer.banned(self.host, host, reason);
                }
            }
            Action::Send(to, message) => {
                let Some(message) = state.as_far_as_in_place(to, message) else {
                    return;
                };
                if state.has_enough_of(to, &message) {
                    tracing::debug!(host = %self.host, other = %to, "asks for the manifest and does not take what waits for it");
                    return;
                }
                state.note_asked(to, &message);
                let waiting = state.post(to, &Frame::Message(message));
                if waiting > self.limits.outbox
                    && let Some(link) = state.links.get(&to)
                {
                    tracing::warn!(host = %self.host, other = %to, "does not take what is sent to it; closing");
                    self.hub.command(Command::Close(link.connection));
                }
            }
            Action::OpenStore(manifest) => self.open_store(state, manifest),
            Action::ServeChunk { to, chunk } => self.serve_chunk(state, to, chunk),
            Action::StopServing { to, chunk } => {
                if let Some(link) = state.links.get_mut(&to)
                    && link.stop_serving(chunk)
                {
                    state.post(to, &abort(chunk));
                }
                state.feedback.push_back(Event::ChunkServed { to, chunk });
            }
            // Here neighbours are told by HAVE messages.
            Action::Gossip(_) => {}
            Action::Suspect { by, chunk } => {
                tracing::warn!(host = %self.host, %by, chunk, "a host says that a chunk from here was corrupt; are disk and memory well?");
                state.observer.suspected(self.host, by, chunk);
            }
            Action::Refuse { by, build_id, why } => {
                tracing::debug!(host = %self.host, %by, build_id, why, "refused");
                state.observer.refused(self.host, by, &build_id, &why);
            }
            Action::Complete => self.complete(state),
        }
    }

    fn serve_chunk(&self, state: &mut State, to: HostId, chunk: ChunkIndex) {
        let answer = state.store.as_ref().map(|store| store.answer(chunk));
        let ends = state.links.get(&to).is_some_and(|link| link.ends);
        match answer
            .filter(|_| !ends)
            .unwrap_or(if ends { Answer::Busy } else { Answer::Chunk })
        {
            Answer::Chunk => {
                state.servings += 1;
                if let Some(link) = state.links.get_mut(&to)
                    && link.serve(chunk, state.servings, state.awake == Some(to))
                {
                    state.ask_attention(to);
                }
            }
            Answer::Busy => {
                let (number, reason) = (chunk.get(), RejectReason::QueueFull);
                state.post(to, &Frame::Message(Message::Reject { chunk: number, reason }));
                state.feedback.push_back(Event::ChunkServed { to, chunk });
            }
            Answer::Nothing => {}
        }
    }

    /// Dials a member at all of its addresses that may lead to it from here.
    fn dial(self: &Arc<Self>, state: &mut State, host: HostId, mut addresses: Addresses) {
        if host_of(addresses.peer()) != host {
            tracing::debug!(host = %self.host, other = %host, at = %addresses, "is said to be at another member's address");
            state.feedback.push_back(Event::Disconnected(host));
            return;
        }
        let is_seeder = matches!(&state.core, Some(Core::Peer(peer)) if peer.is_seeder(host));
        if is_seeder {
            let mark = PeerMark::of(addresses.peer());
            if !state.seeders.contains(&mark) {
                state.seeders.push(mark);
            }
            self.find_way_to(state, &addresses);
        } else {
            addresses = addresses.leading_elsewhere();
            if !state.towards_seeders.iter().all(IpAddr::is_loopback) {
                addresses = addresses.without_loopback();
            }
        }
        if addresses.at().is_empty() {
            tracing::debug!(host = %self.host, other = %host, "has no address that leads to it from here");
            state.feedback.push_back(Event::Disconnected(host));
            return;
        }
        self.hub.command(Command::Dial {
            member: Arc::clone(self),
            host,
            addresses,
        });
    }

    /// The same where a name has to be looked up first, each time: what it means may have changed.
    fn dial_by_name(self: &Arc<Self>, host: HostId, addresses: Addresses) {
        let member = Arc::clone(self);
        tokio::spawn(async move {
            let names = addresses.to_string();
            let resolved = addresses.resolved().await;
            let mut state = member.state.lock();
            match resolved {
                Ok(addresses) => member.dial(&mut state, host, addresses),
                Err(error) => {
                    state.observer.unresolved(member.host, host, &names, &error);
                    state.feedback.push_back(Event::Disconnected(host));
                }
            }
            member.carry_out(&mut state);
        });
    }

    /// Which addresses of this machine lead to a seeder may have changed since it was last dialled.
    fn find_way_to(&self, state: &mut State, seeder: &Addresses) {
        for ip in seeder.at().iter().filter_map(local_towards) {
            state.towards_seeders.retain(|known| *known != ip);
            state.towards_seeders.insert(0, ip);
            state.towards_seeders.truncate(WAYS_MAX);
        }
        self.set_address(state);
    }

    /// Where others dial this host, as far as it knows.
    pub(super) fn set_address(&self, state: &mut State) {
        let now = self.clock.now();
        if let Some(Core::Peer(peer)) = &mut state.core {
            peer.set_address(now, self.hub.contact(&state.towards_seeders));
        }
    }

    fn open_store(self: &Arc<Self>, state: &mut State, manifest: Arc<Manifest>) {
        state.manifest = Some(Arc::clone(&manifest));
        let opener = state.store_opener.clone();
        if opener.is_blocking() {
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let opened = opener.open(manifest);
                let mut state = shared.state.lock();
                match opened {
                    Ok(store) => shared.store_opened(&mut state, store),
                    Err(error) => state.observer.failed(shared.host, &error),
                }
            });
            return;
        }
        match opener.open(manifest) {
            Ok(store) => {
                let held = store.held();
                state.store = Some(store);
                state.feedback.push_back(Event::StoreOpened { held: held.into() });
                self.look_through_store(state);
            }
            Err(error) => state.observer.failed(self.host, &error),
        }
    }

    fn store_opened(self: &Arc<Self>, state: &mut State, store: Arc<dyn ChunkStore>) {
        let held = store.held();
        state.store = Some(store);
        self.tell(state, Event::StoreOpened { held: held.into() });
        self.look_through_store(state);
    }

    fn complete(self: &Arc<Self>, state: &mut State) {
        let Some(store) = state.store.clone() else {
            return;
        };
        if !store.is_blocking() {
            state.observer.complete(self.host, self.clock.now(), state.traffic());
            return;
        }
        let shared = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let finished = store.finish();
            let mut state = shared.state.lock();
            match finished {
                Ok(()) => {
                    state.is_in_place = true;
                    for to in std::mem::take(&mut state.told_when_in_place) {
                        state.post(to, &Frame::Message(Message::Complete));
                    }
                    state
                        .observer
                        .complete(shared.host, shared.clock.now(), state.traffic());
                }
                Err(error) => state.observer.failed(shared.host, &error),
            }
        });
    }
}

/// Addresses of this machine towards its seeders that are remembered, the latest first.
const WAYS_MAX: usize = 4;
