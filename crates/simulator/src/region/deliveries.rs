//! Chunks that leave, travel and arrive, and whose bytes they were.

use scenario::Serves;
use swarm::wire::RejectReason;
use swarm::{ChunkIndex, Event, Message};

use super::Region;
use super::agenda::Input;
use crate::member::MemberId;
use crate::transfers::{Alarm, SLOW_AFTER, TransferId};

impl Region {
    /// Begins to send a chunk, unless the fault of `from` is that it does not.
    pub(super) fn serve(&mut self, from: MemberId, to: MemberId, chunk: ChunkIndex) {
        match self.members.serves(from) {
            Serves::Honest | Serves::Corrupt => {
                let bytes = u64::from(self.setup.manifest.length(chunk));
                if !self.is_kept_from_sending(from, to, chunk.get(), bytes) {
                    self.transfers.begin(self.now, from, to, chunk.get(), bytes);
                }
            }
            Serves::Nothing | Serves::Claims => {}
            Serves::Busy => {
                let (number, reason) = (chunk.get(), RejectReason::QueueFull);
                self.post(from, to, Message::Reject { chunk: number, reason });
                self.tell_at_once(from, Event::ChunkServed { to: to.host(), chunk });
            }
        }
    }

    /// `from` is to send a chunk no further, and is told where it stands, as by the live driver, and not from the agenda.
    pub(super) fn stop_serving(&mut self, from: MemberId, to: MemberId, chunk: ChunkIndex) {
        let begun = match self.transfers.find(from, to, chunk.get()) {
            Some(found) => {
                self.cut_short(found);
                true
            }
            None => self.stop_held(from, to, chunk),
        };
        if begun {
            let chunk = chunk.get();
            self.let_see(from, to, Input::Aborted { from, chunk });
        }
        self.stop_passing(from, to, chunk);
        let served = Event::ChunkServed { to: to.host(), chunk };
        self.tell_at_once(from, served);
    }

    /// Has the chunks on their way share the links anew, after some have begun or ended.
    pub(super) fn share_links(&mut self) {
        self.transfers.share_out(self.now);
        while let Some(alarm) = self.transfers.poll_alarm() {
            match alarm {
                Alarm::Sent { member, at } => self.agenda.push(at, member, Input::Sent),
                Alarm::Slow { transfer, generation } => self.show_progress_later(transfer, generation),
            }
        }
    }

    fn show_progress_later(&mut self, transfer: TransferId, generation: u32) {
        if let Some(moving) = self.transfers.get(transfer, generation) {
            let at = self.now + SLOW_AFTER;
            self.agenda
                .push(at, moving.from, Input::Progress { transfer, generation });
        }
    }

    /// Both ends of a chunk that takes long see that it goes on.
    pub(super) fn transfer_goes_on(&mut self, transfer: TransferId, generation: u32) {
        let Some(moving) = self.transfers.get(transfer, generation) else {
            return;
        };
        let chunk = self.chunk(moving.chunk);
        let (from, to) = (moving.from.host(), moving.to.host());
        self.tell(moving.from, Event::ServingProgress { to, chunk });
        if self.expects(moving.to, moving.from, chunk) {
            self.tell(moving.to, Event::ChunkProgress { from, chunk });
        }
        self.show_progress_later(transfer, generation);
    }

    /// Takes what has left `from` by now on its way.
    pub(super) fn sent(&mut self, from: MemberId) {
        if !self.transfers.rings(self.now, from) {
            return;
        }
        while let Some(ended) = self.transfers.take_sent(self.now, from) {
            let (to, chunk) = (ended.to, self.chunk(ended.chunk));
            let bytes = u64::from(self.setup.manifest.length(chunk));
            if !self.members.is_host(from) {
                self.result.seeder_bytes += bytes;
            }
            let topology = &mut self.setup.topology;
            let passed = topology.pass(from, to, self.now, bytes);
            if topology.zone(from) != topology.zone(to) {
                *self.result.cross_zone_bytes.get_or_insert(0) += bytes;
            }
            let at = passed.saturating_add(topology.delay(from, to));
            let arrived = Input::Arrived {
                from,
                chunk: ended.chunk,
            };
            self.agenda.push(at, to, arrived);
            self.pass(from, to, ended.chunk, passed);
        }
    }

    /// Ends a transfer whose bytes so far are of no use.
    pub(super) fn cut_short(&mut self, transfer: TransferId) {
        let ended = self.transfers.cut_short(self.now, transfer);
        self.count_cut_short(ended.from, ended.to, ended.chunk, ended.left);
    }

    /// So much of a chunk has not left, and the rest is of no use.
    pub(super) fn count_cut_short(&mut self, from: MemberId, to: MemberId, chunk: u32, left: u64) {
        let sent = u64::from(self.setup.manifest.length(self.chunk(chunk))).saturating_sub(left);
        if let Some(peer) = self.members.peer_mut(to) {
            peer.count_discarded(sent);
        }
        if !self.members.is_host(from) {
            self.result.seeder_bytes += sent;
        }
    }

    pub(super) fn cut_short_all_of(&mut self, member: MemberId) {
        self.stop_passing_all_of(member);
        for transfer in self.transfers.of(member) {
            self.cut_short(transfer);
        }
        self.drop_held_chunks(|from, to| from == member || to == member);
    }

    /// The last byte of a chunk is at `to`, which finds out what it is worth.
    pub(super) fn arrived(&mut self, to: MemberId, from: MemberId, chunk: u32) {
        let chunk = self.chunk(chunk);
        let bytes = u64::from(self.setup.manifest.length(chunk));
        let is_expected = self.expects(to, from, chunk);
        self.result.transfers += 1;
        let sender = from.host();
        let event = if !is_expected {
            if let Some(peer) = self.members.peer_mut(to) {
                peer.count_discarded(bytes);
            }
            Event::ChunkProgress { from: sender, chunk }
        } else if self.members.serves(from) == Serves::Corrupt {
            Event::ChunkCorrupt { from: sender, chunk }
        } else {
            self.progress_at = self.now;
            Event::ChunkStored { from: sender, chunk }
        };
        self.tell(to, event);
    }

    /// `from` has given up on a chunk that it was sending.
    pub(super) fn aborted(&mut self, to: MemberId, from: MemberId, chunk: u32) {
        let chunk = self.chunk(chunk);
        if self.expects(to, from, chunk) {
            let from = from.host();
            self.tell(to, Event::ChunkAborted { from, chunk });
        }
    }

    /// Whether `to` still waits for a chunk from `from`.
    #[inline]
    pub(super) fn expects(&self, to: MemberId, from: MemberId, chunk: ChunkIndex) -> bool {
        let peer = self.members.peer(to);
        peer.is_some_and(|peer| peer.expects(from.host(), chunk))
    }

    pub(super) fn chunk(&self, chunk: u32) -> ChunkIndex {
        self.setup.manifest.chunk(chunk).expect("it was one when it was queued")
    }
}
