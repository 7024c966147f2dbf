//! What members want done, and what becomes of it where they have a fault.

use std::time::Duration;

use rand::RngExt;
use swarm::{Action, Bitfield, ChunkIndex, Event, HostId, Message};

use super::uplinks::PIECES;
use super::{Fault, Input, Mesh, is_seeder, pair};

impl Mesh {
    pub(super) fn carry_out(&mut self, host: HostId, action: Action) {
        let latency = self.shape.latency;
        match action {
            Action::Connect(contact) => {
                let reaches = !self.apart.contains(&host) && !self.apart.contains(&contact.host);
                if self.is_there(contact.host) && (reaches || is_seeder(contact.host)) {
                    self.push(latency, contact.host, Input::Dial(host));
                } else {
                    self.push(latency, host, Input::Event(Event::Disconnected(contact.host)));
                }
            }
            Action::Disconnect { host: other, .. } => {
                if self.connections.remove(&pair(host, other)) {
                    self.push(latency, other, Input::Event(Event::Disconnected(host)));
                }
            }
            Action::Send(to, message) => {
                self.messages += 1;
                self.refused += u64::from(is_seeder(host) && matches!(message, Message::Reject { .. }));
                if self.unaware.remove(&(host, to)) {
                    self.push(latency, host, Input::Event(Event::Disconnected(to)));
                }
                if self.rng.random_range(0..100) >= self.shape.loss_percent {
                    self.push(latency, to, Input::Event(Event::Message(host, message)));
                }
            }
            Action::OpenStore(manifest) => {
                let kept = self.stores.get(&host).cloned();
                let held = kept.unwrap_or_else(|| Bitfield::new(manifest.chunk_count()));
                self.push(
                    Duration::ZERO,
                    host,
                    Input::Event(Event::StoreOpened { held: held.into() }),
                );
            }
            Action::ServeChunk { to, chunk } => self.serve(host, to, chunk),
            Action::StopServing { to, chunk } => {
                self.broken.remove(&(host, to, chunk));
                let uplink = self.uplinks.entry(host).or_default();
                uplink.serving.retain(|(t, c, _)| !(*t == to && *c == chunk));
                self.push(Duration::ZERO, host, Input::Event(Event::ChunkServed { to, chunk }));
            }
            Action::Gossip(_) => {}
            Action::Suspect { .. } => self.suspected += 1,
            Action::Refuse { .. } => panic!("nobody verifies here"),
            Action::Complete => {
                let first = self.completed_at.insert(host, self.now);
                assert_eq!(first, None, "{host} was complete twice");
            }
        }
    }

    fn serve(&mut self, host: HostId, to: HostId, chunk: ChunkIndex) {
        let latency = self.shape.latency;
        if self.faults.get(&host) == Some(&Fault::Stall) {
            return;
        }
        if self.faults.get(&host) == Some(&Fault::GiveUp) {
            let from = host;
            self.push(latency, to, Input::Event(Event::ChunkAborted { from, chunk }));
            self.push(Duration::ZERO, host, Input::Event(Event::ChunkServed { to, chunk }));
            return;
        }
        if self.gone.contains(&(host, chunk)) {
            let from = host;
            self.losses += 1;
            self.push(latency, to, Input::Event(Event::ChunkAborted { from, chunk }));
            self.push(Duration::ZERO, host, Input::Event(Event::ChunkLost { chunk }));
            self.push(Duration::ZERO, host, Input::Event(Event::ChunkServed { to, chunk }));
            return;
        }
        // From its beginning: a piece of an earlier serving that was still under way and thrown away is not missed.
        self.broken.remove(&(host, to, chunk));
        self.uplinks.entry(host).or_default().serving.push((to, chunk, PIECES));
        self.pump_uplink(host);
    }
}
