//! Members that were sent chunks and do not pass them on. Invariant: nobody is silent on the word of one member, or for longer than
//! [`SILENT_FOR`], and no more than one in [`SILENT_PART`] members are at a time.
//!
//! A first copy at a host that serves nobody is as good as none, and the seeder cannot see that. Hosts that wait for such a chunk say
//! so. Then the silent member is sent no first copies for a while, and what only it got goes out again.
//!
//! The word of two is often wrong: who was sent something that many want looks silent to the last of them. So it is tried: what they wait for is
//! offered to another client, as soon as it should have been passed on. Who has it by then had it of the accused, which is cleared; who asks
//! for it says that it was not passed on. Where messages take long all seem silent to each other in the beginning. Were they believed, one
//! would be left, and all others would wait for what it alone was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Seeder, SeederTimer};
use crate::units::{ChunkIndex, HostId, Time};

/// Who is said not to serve.
#[derive(Debug, Default)]
pub(super) struct Silence {
    accused: BTreeMap<HostId, Accused>,
}

#[derive(Debug, Default)]
struct Accused {
    by: SmallVec<[(HostId, Time); 2]>,
    silent_until: Time,
    /// What it is tried by, and since when; or from when on, where the chunk is yet to be offered.
    trial: Option<(ChunkIndex, Time)>,
    is_offered: bool,
}

impl Silence {
    /// `by` says that `host`, one of so many members, does not serve. Whether that is to be looked into.
    fn accuse(&mut self, now: Time, by: HostId, host: HostId, members: usize) -> bool {
        let silent = self.accused.values().filter(|other| now < other.silent_until).count();
        let accused = self.accused.entry(host).or_default();
        accused
            .by
            .retain(|(other, at)| *other != by && now.since(*at) < HEARD_FOR);
        accused.by.push((by, now));
        let is_tried = accused.trial.is_some_and(|(_, since)| now < since + TRIAL_MAX);
        if accused.by.len() < ACCUSERS || is_tried || silent >= (members / SILENT_PART).max(1) {
            return false;
        }
        accused.by.clear();
        true
    }

    /// What is said of `host` is shown by whether another client, who is offered `chunk` from `at` on, has it.
    fn try_by(&mut self, at: Time, host: HostId, chunk: ChunkIndex) {
        let accused = self.accused.entry(host).or_default();
        (accused.trial, accused.is_offered) = (Some((chunk, at)), false);
    }

    /// The next trial that is to begin, and when.
    fn next_trial(&self) -> Option<(Time, HostId, ChunkIndex)> {
        let yet_to_begin = self.accused.iter().filter(|(_, accused)| !accused.is_offered);
        let trials = yet_to_begin.filter_map(|(host, accused)| accused.trial.map(|(chunk, at)| (at, *host, chunk)));
        trials.min()
    }

    fn trial_begins(&mut self, host: HostId) {
        self.accused.entry(host).or_default().is_offered = true;
    }

    /// Whom it tells something of whether `by` has `chunk`. That trial ends.
    fn end_trial(&mut self, by: HostId, chunk: ChunkIndex) -> Option<HostId> {
        let is_by = |(host, accused): &(&HostId, &Accused)| {
            **host != by && accused.is_offered && accused.trial.is_some_and(|(of, _)| of == chunk)
        };
        let host = *self.accused.iter().find(is_by)?.0;
        self.accused.entry(host).or_default().trial = None;
        Some(host)
    }

    /// `host` is to be sent no first copies for a while.
    fn condemn(&mut self, now: Time, host: HostId) {
        self.accused.entry(host).or_default().silent_until = now + SILENT_FOR;
    }

    /// Whether `host` is to be sent no first copies.
    pub(super) fn is_silent(&self, now: Time, host: HostId) -> bool {
        self.accused
            .get(&host)
            .is_some_and(|accused| now < accused.silent_until)
    }

    /// `host` has gone.
    pub(super) fn forget(&mut self, host: HostId) {
        self.accused.remove(&host);
    }
}

impl Seeder {
    /// `by` waits for `chunk`, which only `host` has as far as it knows, or had wrong bytes of it.
    pub(super) fn hear_not_serving(&mut self, now: Time, by: HostId, host: HostId, chunk: u32) {
        let makes_sense = by != host && self.tracker.contains(by) && self.copies.has_some(host);
        if !makes_sense {
            self.stats.messages_ignored += 1;
            return;
        }
        if self.silence.is_silent(now, host) || !self.silence.accuse(now, by, host, self.tracker.len()) {
            return;
        }
        // What somebody else was sent too says nothing.
        let sent_at = |chunk: &ChunkIndex| self.sent_at[chunk.as_usize()].unwrap_or(Time::ZERO);
        let named = self.chunk(chunk).filter(|chunk| self.copies.is_only_at(host, *chunk));
        match named.or_else(|| self.copies.only_at(host).min_by_key(|chunk| (sent_at(chunk), *chunk))) {
            Some(chunk) => {
                let passed_on_after = self.uploads.serving_time() * PASSED_ON_AFTER_TIMES;
                let at = sent_at(&chunk) + passed_on_after;
                self.silence.try_by(at.max(now), host, chunk);
                self.begin_trials(now);
            }
            None => self.condemn(now, host),
        }
    }

    /// Offers other clients what those got longest ago enough who are said to be silent.
    pub(super) fn begin_trials(&mut self, now: Time) {
        while let Some((at, host, chunk)) = self.silence.next_trial() {
            if at > now {
                self.timers.set_at_latest(SeederTimer::BeginTrials, at);
                return;
            }
            self.silence.trial_begins(host);
            match self.injection.offer_elsewhere(now, host, chunk) {
                Some(to) => self.send_offer(now, to, chunk),
                // It goes out again already.
                None if !self.injection.is_out(chunk) => {}
                None => self.condemn(now, host),
            }
        }
    }

    /// `by` has `chunk` from somebody, and was not sent it by this seeder: whoever was is not silent.
    pub(super) fn others_have(&mut self, by: HostId, chunk: ChunkIndex) {
        self.silence.end_trial(by, chunk);
    }

    /// `by` asks for `chunk`, which it was offered: whoever got it before has not passed it on.
    pub(super) fn others_lack(&mut self, now: Time, by: HostId, chunk: ChunkIndex) {
        if let Some(host) = self.silence.end_trial(by, chunk) {
            self.condemn(now, host);
        }
    }

    fn condemn(&mut self, now: Time, host: HostId) {
        self.silence.condemn(now, host);
        self.stats.members_silent += 1;
        self.copies.discard(host);
        self.drop_client(now, host);
        self.inject_lost(now);
    }
}

/// Members that must say the same.
const ACCUSERS: usize = 2;
/// Within this time.
const HEARD_FOR: Duration = Duration::from_secs(10);
/// Of so many members one is silent at most, and one of fewer.
const SILENT_PART: usize = 4;
/// What was sent so many usual servings ago should have been passed on.
const PASSED_ON_AFTER_TIMES: u32 = 16;
/// A trial that shows nothing ends after this: the offer was lost.
const TRIAL_MAX: Duration = Duration::from_secs(4);
/// Who is silent is sent first copies again after this.
const SILENT_FOR: Duration = Duration::from_secs(30);

#[cfg(test)]
mod rules;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_members_within_a_while_make_one_silent_and_that_passes() {
        let mut silence = Silence::default();
        let [a, b, host] = [1, 2, 3].map(HostId::new);
        let at = |seconds: u64| Time::from_nanos(seconds * 1_000_000_000);
        assert!(
            !silence.accuse(at(0), a, host, 9) && !silence.accuse(at(1), a, host, 9),
            "one and the same"
        );
        assert!(!silence.accuse(at(11), b, host, 9), "the first is forgotten");
        assert!(silence.accuse(at(12), a, host, 9));
        silence.condemn(at(12), host);
        assert!(silence.is_silent(at(41), host) && !silence.is_silent(at(42), host));
        assert!(!silence.accuse(at(43), a, host, 9), "it takes two again");
        silence.forget(host);
        assert!(!silence.is_silent(at(13), host));
    }

    #[test]
    fn no_more_than_a_quarter_are_silent_at_a_time_however_many_say_so() {
        for (members, expected) in [(2, 1), (7, 1), (10, 2), (100, 25)] {
            let mut silence = Silence::default();
            let mut accuse = |host: u64| {
                let by = [HostId::new(1000), HostId::new(1001)];
                let accused = by.map(|by| silence.accuse(Time::ZERO, by, HostId::new(host), members));
                let is_silent = accused.contains(&true);
                if is_silent {
                    silence.condemn(Time::ZERO, HostId::new(host));
                }
                is_silent
            };
            assert_eq!(
                (0..members as u64).filter(|host| accuse(*host)).count(),
                expected,
                "{members}"
            );
        }
    }
}
