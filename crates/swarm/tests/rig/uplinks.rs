//! Chunks on their way: piece by piece over their sender's uplink and their receiver's downlink.

use swarm::{Bytes, ChunkIndex, Event, HostId};

use super::{Fault, Input, Mesh, pair};

/// Chunks a member is sending, piece by piece in turn.
#[derive(Default)]
pub(super) struct Uplink {
    pub(super) serving: Vec<(HostId, ChunkIndex, u32)>,
    next: usize,
    busy: bool,
}

/// Of a chunk.
pub(super) const PIECES: u32 = 4;

impl Mesh {
    pub(super) fn pump_uplink(&mut self, host: HostId) {
        let piece = Bytes::new(u64::from(self.manifest.chunk_size() / PIECES));
        let uplink = self.uplinks.entry(host).or_default();
        if uplink.busy || uplink.serving.is_empty() {
            return;
        }
        // Pass over receivers whose downlink is behind, as flow control would, while others can take something.
        let horizon = self.now + self.shape.downlink.transfer_time(piece);
        let count = uplink.serving.len();
        let ready = (0..count).map(|i| (uplink.next + i) % count).find(|&i| {
            let free = self
                .downlink_free
                .get(&uplink.serving[i].0)
                .copied()
                .unwrap_or_default();
            free <= horizon
        });
        let Some(index) = ready else {
            uplink.busy = true;
            let wait = self.shape.downlink.transfer_time(piece) / 2;
            self.push(wait, host, Input::PieceSent);
            return;
        };
        uplink.busy = true;
        let (to, chunk, left) = uplink.serving[index];
        let sent = self.shape.uplink.transfer_time(piece);
        uplink.next = index + 1;
        if left == 1 {
            uplink.serving.remove(index);
        } else {
            uplink.serving[index].2 -= 1;
        }
        *self.sent.entry(host).or_default() += piece.get();
        let at_receiver = self.now + sent + self.shape.latency;
        // Cut through: the downlink takes the piece while it is being sent, if it is free.
        let free = self.downlink_free.entry(to).or_default();
        let begins = (*free).max(self.now + self.shape.latency);
        let arrived = (begins + self.shape.downlink.transfer_time(piece)).max(at_receiver);
        *free = begins + self.shape.downlink.transfer_time(piece);
        let last = left == 1;
        self.push_at(
            arrived,
            to,
            Input::PieceArrived {
                from: host,
                chunk,
                last,
            },
        );
        let event = if last {
            Event::ChunkServed { to, chunk }
        } else {
            Event::ServingProgress { to, chunk }
        };
        self.push(sent, host, Input::Event(event));
        self.push(sent, host, Input::PieceSent);
    }

    pub(super) fn piece_sent(&mut self, host: HostId) {
        self.uplinks.entry(host).or_default().busy = false;
        self.pump_uplink(host);
    }

    pub(super) fn piece_arrived(&mut self, host: HostId, from: HostId, chunk: ChunkIndex, last: bool) {
        if !self.connections.contains(&pair(host, from)) {
            return;
        }
        let expected = self.peers.get(&host).is_some_and(|p| p.expects(from, chunk));
        if !expected {
            self.wasted += u64::from(self.manifest.chunk_size() / PIECES);
            if last {
                self.broken.remove(&(from, host, chunk));
            } else {
                self.broken.insert((from, host, chunk));
            }
            self.tell(host, Event::ChunkProgress { from, chunk });
            return;
        }
        if last && self.broken.remove(&(from, host, chunk)) {
            self.wasted += u64::from(self.manifest.chunk_size() / PIECES);
            return;
        }
        if !last {
            self.tell(host, Event::ChunkProgress { from, chunk });
        } else if self.faults.get(&from) == Some(&Fault::Corrupt) {
            self.tell(host, Event::ChunkCorrupt { from, chunk });
        } else {
            self.gone.remove(&(host, chunk));
            self.tell(host, Event::ChunkStored { from, chunk });
        }
    }
}
