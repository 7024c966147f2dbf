//! One request: how far it has come, and from when on it is late, trickles or is overdue.

use std::time::Duration;

use super::pace::Limits;
use crate::units::{ChunkIndex, HostId, Time};
use crate::wire::Waited;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) chunk: ChunkIndex,
    pub(super) from: HostId,
    pub(super) asked_at: Time,
    pub(super) progress_at: Time,
    pub(super) state: State,
    /// No byte has come for longer than usual: another neighbour is asked as well where there is one.
    pub(super) late: bool,
    /// Seeders were told that it is late and that nobody else has its chunk.
    pub(super) reported: bool,
    /// Bytes come, but so slowly that another neighbour may be asked as well.
    pub(super) trickles: bool,
    /// Its neighbour was asked for the same before, and may answer that: what it shows of the time that messages take is not known.
    pub(super) again: bool,
    /// Its neighbour was overdue before and has delivered nothing since: it is given twice the time, and nobody waits for it.
    pub(super) struck: bool,
    /// How many others were late with its chunk when it was asked for; those that have never delivered count as one.
    pub(super) after: u8,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its neighbour has not begun.
    Asked,
    /// Its neighbour says that it has begun, and payload has come where it is `paid`.
    Sending { since: Time, paid: bool },
    /// Its neighbour has not begun for too long.
    Overdue,
    /// Its neighbour has begun, and nothing has come for too long.
    Stopped { since: Time },
}

/// What a neighbour shows of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// It says that it begins, and how long the request has waited there.
    Begins(Waited),
    /// Bytes have come.
    Payload,
}

impl Sign {
    /// How long the request has waited, where that is known.
    pub(super) fn waited(self) -> Option<Duration> {
        match self {
            Self::Begins(waited) => waited.known(),
            Self::Payload => None,
        }
    }
}

impl Request {
    #[inline]
    pub(super) const fn is_overdue(&self) -> bool {
        matches!(self.state, State::Overdue | State::Stopped { .. })
    }

    /// Whether it is late, or bytes only trickle.
    #[inline]
    pub(super) const fn is_slow(&self) -> bool {
        self.late || self.trickles
    }

    #[inline]
    pub(super) const fn has_begun(&self) -> bool {
        self.started_at().is_some()
    }

    /// Since when its bytes come, where it is known to be this request that they answer.
    #[inline]
    pub(super) const fn answered_at(&self) -> Option<Time> {
        if self.again { None } else { self.started_at() }
    }

    #[inline]
    pub(super) const fn started_at(&self) -> Option<Time> {
        match self.state {
            State::Asked | State::Overdue => None,
            State::Sending { since, .. } | State::Stopped { since } => Some(since),
        }
    }

    /// From when on no byte has come for longer than usual.
    #[inline]
    pub(super) fn late_at(&self, limits: &Limits) -> Time {
        // Where one after another is late with a chunk it may be that all have much to send, and to be asked for more makes that worse.
        let doubled = |nanos: u64| nanos.saturating_mul(1 << self.after.min(AFTER_MAX));
        match self.state {
            State::Asked => self.asked_at.plus_nanos(doubled(limits.wait_max)),
            State::Sending { since, paid: false } => since.plus_nanos(doubled(limits.begin_max)),
            State::Sending { paid: true, .. } => self.progress_at.plus_nanos(limits.silence_max),
            State::Overdue | State::Stopped { .. } => Time::MAX,
        }
    }

    /// From when on its bytes come far slower than usual.
    #[inline]
    pub(super) fn trickles_at(&self, limits: &Limits) -> Time {
        match self.state {
            State::Sending { since, paid: true } => since.plus_nanos(limits.transfer_max),
            _ => Time::MAX,
        }
    }

    /// From when on it is without progress for longer than the patience.
    #[inline]
    fn silent_at(&self, limits: &Limits) -> Time {
        let patience = limits.patience.saturating_mul(1 + u64::from(self.struck));
        self.progress_at.plus_nanos(patience)
    }

    /// Whether it is without progress for too long.
    pub(super) fn is_silent(&self, now: Time, limits: &Limits) -> bool {
        now >= self.silent_at(limits)
    }

    #[inline]
    pub(super) fn overdue_at(&self, limits: &Limits) -> Time {
        let silent_at = self.silent_at(limits);
        match self.state {
            State::Sending { since, paid: true } => silent_at.min(since.plus_nanos(limits.given_up)),
            _ => silent_at,
        }
    }
}

/// Each neighbour that was late with a chunk doubles the time that the next is given for it, so often at most.
const AFTER_MAX: u8 = 4;
