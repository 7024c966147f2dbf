//! What neighbours ask of this host: requests are taken in, served, turned down, or given up.

use super::{Peer, Timer};
use crate::event::{Action, DisconnectReason};
use crate::units::{HostId, Time};
use crate::upload_queue::{Cancelled, Enqueued};
use crate::wire::{Message, RejectReason};

impl Peer {
    pub(super) fn handle_request(&mut self, now: Time, host: HostId, chunk: u32, held: u32) {
        let Some(download) = self.download() else {
            self.reject(host, chunk, RejectReason::NotHeld);
            return;
        };
        let Some(index) = download.manifest.chunk(chunk) else {
            self.ban(now, host, DisconnectReason::ProtocolViolation);
            return;
        };
        if !download.ledger.held().contains(index) {
            self.reject(host, chunk, RejectReason::NotHeld);
            return;
        }
        self.invitation_taken_up(host);
        match self.uploads.push(now, host, index, held) {
            Enqueued::Waiting | Enqueued::Duplicate => self.pump_uploads(now),
            Enqueued::InPlaceOf(other, displaced) => {
                self.reject(other, displaced.get(), RejectReason::QueueFull);
                self.pump_uploads(now);
            }
            Enqueued::Full => self.reject(host, chunk, RejectReason::QueueFull),
        }
    }

    pub(super) fn handle_cancel(&mut self, host: HostId, chunk: u32) {
        let Some(chunk) = self.download().and_then(|d| d.manifest.chunk(chunk)) else {
            return;
        };
        if self.uploads.cancel(host, chunk) == Cancelled::Active {
            self.actions.push_back(Action::StopServing { to: host, chunk });
        }
    }

    pub(super) fn reject(&mut self, host: HostId, chunk: u32, reason: RejectReason) {
        self.stats.requests_rejected += 1;
        self.send(host, Message::Reject { chunk, reason });
    }

    pub(super) fn pump_uploads(&mut self, now: Time) {
        while let Some((to, chunk, waited)) = self.uploads.start_next(now) {
            let serving = Message::Serving {
                chunk: chunk.get(),
                waited,
            };
            self.actions.push_back(Action::Send(to, serving));
            self.actions.push_back(Action::ServeChunk { to, chunk });
        }
        if let Some(at) = self.uploads.next_look(now) {
            self.timers.set_at_latest(Timer::UploadStuck, at);
        }
    }

    pub(super) fn drop_stuck_receivers(&mut self, now: Time) {
        for host in self.uploads.stuck(now) {
            self.uploads.park(now, host);
            self.disconnect(now, host, DisconnectReason::NotReading);
        }
        self.pump_uploads(now);
    }

    /// Whether requests wait here, as far as that is worth telling. It is where a chunk is much more work than the messages of
    /// it; at 64 KiB they took half as much processor time again as all the rest.
    #[inline]
    pub(super) fn is_busy(&self) -> bool {
        self.uploads.has_waiting() && self.manifest().is_some_and(|m| m.chunk_size() >= BUSY_TOLD_FROM_CHUNK)
    }
}

/// Hosts with chunks of at least this many bytes tell each other whether requests wait.
pub(super) const BUSY_TOLD_FROM_CHUNK: u32 = 256 << 10;
