//! What hosts ask of the seeder: requests are served, or turned down. And chunks whose bytes are gone, or there again.

use std::time::Duration;

use super::{Seeder, SeederTimer};
use crate::event::{Action, DisconnectReason};
use crate::units::{ChunkIndex, HostId, Time};
use crate::upload_queue::{Cancelled, Enqueued, Served};
use crate::wire::{Message, RejectReason};

impl Seeder {
    pub(super) fn handle_request(&mut self, now: Time, host: HostId, chunk: u32, held: u32) {
        let Some(index) = self.chunk(chunk) else {
            self.disconnect(now, host, DisconnectReason::ProtocolViolation);
            return;
        };
        if let Some(at) = self.injection.offered_at(host, index) {
            let answer = now.since(at);
            self.answer = if self.answer.is_zero() {
                answer
            } else {
                self.answer.min(answer)
            };
        }
        let is_offered = self.injection.is_offered(host, index);
        if is_offered {
            self.others_lack(now, host, index);
        }
        self.injection.asked_by(host);
        let reason = if self.injection.is_withdrawn(index) {
            self.injection.show_offers(host);
            RejectReason::NotHeld
        } else if !is_offered && self.is_spent(now, host) && !self.is_starving(now, host) {
            RejectReason::Spent
        } else if !is_offered && self.is_crowded_for(host) && !self.is_starving(now, host) {
            RejectReason::QueueFull
        } else {
            match self.uploads.push(now, host, index, held) {
                Enqueued::Waiting | Enqueued::Duplicate => {
                    self.pump_uploads(now);
                    return;
                }
                Enqueued::InPlaceOf(other, displaced) => {
                    let (chunk, reason) = (displaced.get(), RejectReason::QueueFull);
                    self.send(other, Message::Reject { chunk, reason });
                    self.pump_uploads(now);
                    return;
                }
                Enqueued::Full => RejectReason::QueueFull,
            }
        };
        self.send(host, Message::Reject { chunk, reason });
    }

    pub(super) fn handle_cancel(&mut self, now: Time, host: HostId, chunk: u32) {
        if let Some(chunk) = self.chunk(chunk)
            && self.uploads.cancel(host, chunk) == Cancelled::Active
        {
            self.actions.push_back(Action::StopServing { to: host, chunk });
        }
        self.settle_offer(now, host, chunk);
    }

    pub(super) fn handle_served(&mut self, now: Time, to: HostId, chunk: ChunkIndex) {
        self.uploads.progress(now, to);
        // Of a chunk that was lost nothing, or not all, has gone out.
        if let Some(Served { taken, beside }) = self.uploads.finish(now, to, chunk)
            && !self.injection.is_withdrawn(chunk)
        {
            self.sent += 1;
            self.stats.chunks_served += 1;
            self.copies.note(to, chunk);
            let bytes = self.build.as_ref().map_or(0, |build| build.length(chunk).into());
            let at_a_time = u32::try_from(beside + 1).unwrap_or(u32::MAX);
            let is_slow = taken > self.uploads.at_full_rate(bytes) * at_a_time * SLOW_TIMES;
            self.sent_to_slow += u64::from(is_slow && self.sent > self.budget);
            // Whose own link is slow asks everybody, and takes the longer from each: it has to say again that nobody serves it.
            if !is_slow {
                self.still_starving(now, to);
            }
            self.uploads.learn(now, taken, bytes);
        }
        self.settle_offer(now, to, chunk.get());
        self.pump_uploads(now);
        self.invite_while_idle(now);
    }

    pub(super) fn pump_uploads(&mut self, now: Time) {
        while let Some((to, chunk, waited)) = self.uploads.start_next(now) {
            if self.is_repetition(now, to, chunk) {
                self.uploads.finish(now, to, chunk);
                let (chunk, reason) = (chunk.get(), RejectReason::SentElsewhere);
                self.send(to, Message::Reject { chunk, reason });
                continue;
            }
            self.sent_at[chunk.as_usize()] = Some(now);
            let serving = Message::Serving {
                chunk: chunk.get(),
                waited,
            };
            self.actions.push_back(Action::Send(to, serving));
            self.actions.push_back(Action::ServeChunk { to, chunk });
        }
        // Who is late matters here also where nobody waits: what it is being sent is offered to others.
        let next = [self.uploads.next_late(now), self.uploads.next_look(now)];
        if let Some(at) = next.into_iter().flatten().min() {
            self.timers.set_at_latest(SeederTimer::UploadStuck, at);
        }
        self.offer_slow(now);
    }

    pub(super) fn drop_stuck_receivers(&mut self, now: Time) {
        for host in self.uploads.stuck(now) {
            self.uploads.park(now, host);
            self.disconnect(now, host, DisconnectReason::NotReading);
        }
        self.pump_uploads(now);
    }

    /// Whether somebody else was sent `chunk` a moment ago and can pass it on. After the first pass all clients lack the same
    /// few chunks, those whose first receivers keep them, and ask for them at once: without this each would be sent to
    /// every client before the next.
    fn is_repetition(&self, now: Time, to: HostId, chunk: ChunkIndex) -> bool {
        let offered = self.injection.is_offered(to, chunk);
        let repeat_after = (self.uploads.serving_time() * REPEAT_AFTER_TIMES).min(REPEAT_AFTER_MAX);
        let recently = |at: Time| now.since(at) < repeat_after;
        !offered && self.sent_at[chunk.as_usize()].is_some_and(recently)
    }

    /// Whether it has sent its share, as far as `host` goes. Flat out it would else send as much as everybody whom it is faster than. Beyond
    /// that it sends to hosts that would be done if all were as fast as it is, unless they are far slower.
    pub(super) fn is_spent(&self, now: Time, host: HostId) -> bool {
        let Some(build) = &self.build else {
            return false;
        };
        let sent = self.sent + self.uploads.len() as u64;
        if sent < self.budget {
            return false;
        }
        let here_since = self.connected.get(&host).copied().unwrap_or(now);
        let step = self.uploads.at_full_rate(build.chunk_size().into()) + self.answer;
        let members = u32::try_from(self.tracker.len()).unwrap_or(u32::MAX);
        let times = DONE_AFTER_TIMES.max(members / MEMBERS_A_TIME);
        let done_after = self.uploads.at_full_rate(build.size().get()) * times + step * DONE_AFTER_STEPS;
        let is_late = now.since(here_since.max(self.seeding_since)) > done_after;
        !is_late || self.sent_to_slow >= u64::from(build.chunk_count()) / SLOW_PART
    }

    /// Whether as many other hosts wait here as can be served before an answer is here. What `host` would wait for longer comes sooner from
    /// somebody else.
    fn is_crowded_for(&self, host: HostId) -> bool {
        self.uploads.others_waiting(host) >= self.at_once()
    }

    /// The bytes of `chunk` are not there any more: nobody is to count on them.
    pub(super) fn handle_lost(&mut self, now: Time, chunk: ChunkIndex) {
        if self.build.is_none() {
            return;
        }
        let was_first_pass = self.injection.is_first_pass();
        let Some(offered_to) = self.injection.withdraw(chunk) else {
            return;
        };
        let (mut told, receivers) = self.uploads.remove_chunk(chunk);
        for to in receivers {
            self.actions.push_back(Action::StopServing { to, chunk });
            told.push(to);
        }
        told.extend(offered_to);
        told.sort_unstable();
        told.dedup();
        for host in told {
            // It takes this seeder for one that has not all, until it is told again.
            self.injection.show_offers(host);
            let chunk = chunk.get();
            self.send(host, Message::Lost { chunk });
        }
        if was_first_pass {
            self.offers_changed(now);
        }
    }

    /// The bytes of `chunk` are there again. They are offered as those of a chunk that never went out: hosts may have been told
    /// that it is not to be had here.
    pub(super) fn handle_found(&mut self, now: Time, chunk: ChunkIndex) {
        if self.injection.put_back(chunk) {
            self.pump_offers(now);
        }
    }
}

/// A host should be done after so many times of what the build takes at the full rate of this uplink …
const DONE_AFTER_TIMES: u32 = 3;
/// … or once for so many members, where those are more: what this uplink adds to theirs is little then …
const MEMBERS_A_TIME: u32 = 16;
/// … and so many chunks with a round trip each, which is much where there are few.
const DONE_AFTER_STEPS: u32 = 64;
/// Who takes so many times as long for a chunk as its share of this uplink would is slow.
const SLOW_TIMES: u32 = 4;
/// They are sent one in so many parts of a build beyond the share.
const SLOW_PART: u64 = 2;
/// A chunk is not sent again before so many times what it takes have passed, so that who has it can pass it on …
const REPEAT_AFTER_TIMES: u32 = 16;
/// … but after this.
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(1);
