//! Bytes over time, and times in nanoseconds that are rounded down.

use std::time::Duration;

/// Bytes that were sent, as a function of time: it grows at a rate that changes at certain times.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    pieces: Vec<Piece>,
}

/// From a time on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    at: u64,
    /// Sent by then, in bytes per second times nanoseconds.
    sent: u128,
    /// Bytes a second from then on.
    rate: u128,
}

/// Somebody begins or ends to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    at: u64,
    begins: u128,
    ends: u128,
    at_once: u128,
}

impl Change {
    pub(super) fn start(at: u64, rate: u128, lead: u64) -> Self {
        let at_once = rate.saturating_mul(lead.into());
        Self {
            at,
            begins: rate,
            ends: 0,
            at_once,
        }
    }

    pub(super) const fn end(at: u64, rate: u128) -> Self {
        Self {
            at,
            begins: 0,
            ends: rate,
            at_once: 0,
        }
    }
}

impl Volume {
    pub(super) fn new(mut changes: Vec<Change>) -> Self {
        changes.sort_unstable_by_key(|change| change.at);
        let mut pieces: Vec<Piece> = Vec::with_capacity(changes.len());
        for change in changes {
            let last = pieces.last().copied().unwrap_or(Piece {
                at: change.at,
                sent: 0,
                rate: 0,
            });
            let since = last.rate.saturating_mul(u128::from(change.at - last.at));
            let piece = Piece {
                at: change.at,
                sent: last.sent.saturating_add(since).saturating_add(change.at_once),
                rate: last.rate.saturating_add(change.begins).saturating_sub(change.ends),
            };
            match pieces.last_mut() {
                Some(last) if last.at == change.at => *last = piece,
                _ => pieces.push(piece),
            }
        }
        Self { pieces }
    }

    /// When so many bytes have been sent.
    pub(super) fn reach(&self, bytes: u128) -> u64 {
        let wanted = bytes.saturating_mul(NANOS_PER_SECOND);
        let next = self.pieces.partition_point(|piece| piece.sent < wanted);
        let Some(piece) = next.checked_sub(1).map(|index| self.pieces[index]) else {
            return self.pieces.first().map_or(0, |piece| piece.at);
        };
        let end = self.pieces.get(next).map_or(u64::MAX, |piece| piece.at);
        match (wanted - piece.sent).checked_div(piece.rate) {
            Some(after) => piece.at.saturating_add(clamp(after)).min(end),
            None => end,
        }
    }

    /// The rate in the end.
    pub(super) fn final_rate(&self) -> u128 {
        self.pieces.last().map_or(0, |piece| piece.rate)
    }
}

/// Rounded down.
pub(super) fn transfer_nanos(bytes: u128, rate: u128) -> u64 {
    bytes
        .saturating_mul(NANOS_PER_SECOND)
        .checked_div(rate)
        .map_or(u64::MAX, clamp)
}

pub(super) fn nanos(duration: Duration) -> u64 {
    clamp(duration.as_nanos())
}

pub(super) fn clamp(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

pub(super) const NANOS_PER_SECOND: u128 = 1_000_000_000;
