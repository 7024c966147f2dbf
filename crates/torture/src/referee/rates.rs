//! How much members say, ask and wake up, within a second of virtual time.

use std::collections::BTreeMap;

use swarm::wire::RejectReason;
use swarm::{HostId, Message};

use super::Referee;
use crate::day::{Day, Nanos, SECOND};
use crate::verdict::Invariant;
use crate::world::Member;

/// What the referee notes of one member.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Whether it has the build, in its present life.
    pub(crate) done: bool,
    /// Whether it has said so: once in a life, also where a chunk is lost and comes back.
    pub(crate) said_complete: bool,
    /// Messages and wakeups while all was quiet.
    quiet: (u32, u32),
    /// When it is late.
    pub(crate) deadline: Option<Nanos>,
    /// Since when it is held to that.
    pub(crate) held_since: Nanos,
    /// Payload bytes sent.
    pub(crate) sent: u64,
    /// Times that it was told something.
    pub(crate) events: u64,
    /// Wakeups since it was last told anything else, and since when.
    pub(crate) wakeups_in_a_row: u32,
    row_since: Nanos,
    /// Wakeups of them at the same nanosecond.
    at_once: (Nanos, u32),
    rates: Rates,
}

/// What it did in the present second.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    second: u64,
    /// Chunks that it got, and that it began to serve.
    pub(crate) chunks: u32,
    chunks_before: u32,
    with: BTreeMap<HostId, Talk>,
}

#[derive(Debug, Default)]
struct Talk {
    said: u32,
    asked: u32,
    heard: u32,
    dialled: u32,
    turned_down: u32,
}

impl Watched {
    /// Of the second in which `now` is.
    pub(crate) fn rates(&mut self, now: Nanos) -> &mut Rates {
        let second = now / SECOND;
        let rates = &mut self.rates;
        if rates.second != second {
            rates.chunks_before = if rates.second + 1 == second { rates.chunks } else { 0 };
            rates.second = second;
            rates.chunks = 0;
            rates.with.clear();
        }
        rates
    }
}

impl Referee {
    pub(crate) fn heard(&mut self, now: Nanos, member: &mut Member, from: HostId, message: &Message) {
        let talk = member.watched.rates(now).with.entry(from).or_default();
        talk.heard += 1;
        let not_held = RejectReason::NotHeld;
        let lacks = match message {
            Message::Lost { .. } => true,
            Message::Reject { reason, .. } => *reason == not_held,
            _ => false,
        };
        // It asks for something else then; who means harm may say so without end.
        talk.turned_down += u32::from(lacks && self.honest.get(&from) != Some(&false));
    }

    pub(super) fn count(&mut self, now: Nanos, member: &mut Member, to: HostId, message: &Message) {
        // Who means harm may say what it likes, and asks on what it is told.
        if !member.is_honest() {
            return;
        }
        member.watched.quiet.0 += u32::from(self.is_quiet);
        let rates = member.watched.rates(now);
        let chunks = rates.chunks + rates.chunks_before;
        let talk = rates.with.entry(to).or_default();
        talk.said += 1;
        talk.asked += u32::from(matches!(message, Message::Request { .. }));
        let (said, asked, heard) = (talk.said, talk.asked.saturating_sub(talk.turned_down), talk.heard);
        if said > SAID_MAX + SAID_FOR_CHUNK * chunks + SAID_FOR_HEARD * heard {
            let what = format!("said {said} things to {to} in a second, heard {heard} and moved {chunks} chunks");
            self.broken(Invariant::Messages, now, Some(member.id), what);
        }
        if asked > ASKED_MAX + ASKED_FOR_FLIGHT * self.in_flight + ASKED_FOR_CHUNK * chunks {
            let what = format!("asked {to} for {asked} chunks in a second and moved {chunks}");
            self.broken(Invariant::Requests, now, Some(member.id), what);
        }
    }

    pub(super) fn dials(&mut self, now: Nanos, member: &mut Member, to: HostId) {
        let talk = member.watched.rates(now).with.entry(to).or_default();
        talk.dialled += 1;
        if talk.dialled > DIALLED_MAX {
            let what = format!("dialled {to} {} times in a second", talk.dialled);
            self.broken(Invariant::Dials, now, Some(member.id), what);
        }
    }

    /// When everybody is done members have little to say, where nobody means harm and asks on.
    pub(super) fn judge_quiet(&mut self, now: Nanos, day: &Day, members: &[Member]) {
        for member in members.iter().filter(|_| !day.has_liars()) {
            let (said, woken) = member.watched.quiet;
            let heard = u32::try_from(members.len()).unwrap_or(u32::MAX);
            // A seeder answers the signs of life of all.
            let allowed = QUIET_MAX + if member.is_seeder() { 4 * heard } else { 0 };
            if said > allowed || woken > allowed {
                let what = format!("said {said} things and woke up {woken} times in 30 s when all was done");
                self.broken(Invariant::Quiet, now, Some(member.id), what);
            }
        }
    }

    pub(crate) fn woken(&mut self, now: Nanos, member: &mut Member) {
        let watched = &mut member.watched;
        watched.quiet.1 += u32::from(self.is_quiet);
        watched.at_once = if watched.at_once.0 == now {
            (now, watched.at_once.1 + 1)
        } else {
            (now, 1)
        };
        let at_once = watched.at_once.1;
        if watched.wakeups_in_a_row == 0 || now - watched.row_since >= SECOND {
            watched.row_since = now;
            watched.wakeups_in_a_row = 0;
        }
        watched.wakeups_in_a_row += 1;
        let in_a_row = watched.wakeups_in_a_row;
        if in_a_row > WAKEUPS_MAX || at_once > WAKEUPS_AT_ONCE_MAX {
            let reason = member.peer().and_then(swarm::Peer::wakeup_reason);
            let what = format!("woke up {in_a_row} times in a second without input, next for {reason:?}");
            self.broken(Invariant::Wakeups, now, Some(member.id), what);
        }
    }
}

/// Messages from a member to another in a second …
const SAID_MAX: u32 = 250;
/// … and for each chunk that the member got or served in this second and the one before, of which it tells all neighbours …
const SAID_FOR_CHUNK: u32 = 6;
/// … and for each that it heard from the other.
const SAID_FOR_HEARD: u32 = 3;
/// Requests from a member to another in a second …
const ASKED_MAX: u32 = 20;
/// … and for each chunk that it may have on its way …
const ASKED_FOR_FLIGHT: u32 = 8;
/// … and for each chunk that it got or served in this second and the one before.
const ASKED_FOR_CHUNK: u32 = 4;
/// Dials of a member to another in a second.
const DIALLED_MAX: u32 = 8;
/// Messages, and wakeups, of a host in 30 s in which everybody is done.
const QUIET_MAX: u32 = 60;
/// Wakeups of a member in a second in which nothing else happens to it.
const WAKEUPS_MAX: u32 = 150;
/// Wakeups of a member at the same nanosecond.
const WAKEUPS_AT_ONCE_MAX: u32 = 4;
