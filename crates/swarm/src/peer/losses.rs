//! Chunks that are held no more, that were found without a neighbour, and neighbours that cannot send what they have.
//!
//! Invariant: nobody is told of a chunk that is not held, and a neighbour that was told of one learns that it is gone.

use super::{Build, Peer};
use crate::event::Action;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::Message;

impl Peer {
    /// The bytes of `chunk` are gone: it is asked for again, and nobody is to ask it of this host.
    pub(super) fn handle_chunk_lost(&mut self, now: Time, chunk: ChunkIndex) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        if !download.ledger.lost(chunk) {
            return;
        }
        let place = download.acquired.iter().position(|acquired| *acquired == chunk);
        if let Some(place) = place {
            download.acquired.remove(place);
            for neighbour in self.neighbours.iter_mut() {
                neighbour.acquired_told -= usize::from(neighbour.acquired_told > place);
            }
        }
        download.latest = download.acquired.last().copied();
        self.imports.lost(chunk);
        // What is on its way is given up as well: who is told that it is not here throws it away, and asks again when it is.
        let (_, receivers) = self.uploads.remove_chunk(chunk);
        for to in receivers {
            self.actions.push_back(Action::StopServing { to, chunk });
        }
        // All that may count on it: those that were told, and those that asked.
        let hosts: Vec<HostId> = self.members().map(|n| n.host).collect();
        for host in hosts {
            let chunk = chunk.get();
            self.send(host, Message::Lost { chunk });
        }
        self.pump_uploads(now);
        self.refill = true;
    }

    /// `chunk` is held without anybody having sent it.
    pub(super) fn handle_chunk_found(&mut self, now: Time, chunk: ChunkIndex) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        let stored = download.ledger.found(chunk);
        if !stored.is_new {
            return;
        }
        download.acquire(chunk);
        let complete = download.ledger.is_complete();
        self.cancel_at(stored.losers, chunk);
        self.schedule_flush(now);
        if complete {
            self.completed(now);
        }
        self.refill = true;
    }

    /// `from` will not send `chunk` after all. Once it may be by chance; who does it again before it has delivered anything does
    /// not have the chunk, or else both would ask and give up as fast as messages pass.
    pub(super) fn request_failed(&mut self, from: HostId, chunk: ChunkIndex) {
        let Build::Fetching(download) = &mut self.build else {
            return;
        };
        if download.ledger.is_asked(from, chunk)
            && self.neighbours.aborted(from) >= ABORTS_MAX
            && let Some(neighbour) = self.neighbours.get_mut(from)
            && neighbour.has.remove(chunk)
        {
            download.ledger.holder_lost(chunk);
        }
        download.ledger.give_up(from, chunk);
        self.refill = true;
    }
}

/// From so many chunks on that a neighbour gave up and none that it delivered, it does not have what it gives up.
const ABORTS_MAX: u32 = 2;
