//! Members that were sent chunks and do not pass them on. Invariant: nobody is silent on the word of one member, or for longer than
//! [`SILENT_FOR`], and no more than one in [`SILENT_PART`] members are at a time.
//!
//! A first copy at a host that serves nobody is as good as none, and the seeder cannot see that. Hosts that wait for such a chunk say
//! so. Then the silent member is sent no first copies for a while, and what only it got goes out again. The word of two can be wrong:
//! it costs the accused nothing but that, and the swarm a few chunks that are sent once more. Where messages take long all seem silent
//! to each other in the beginning. Were they believed, one would be left, and all others would wait for what it alone was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use smallvec::SmallVec;

use super::Seeder;
use crate::units::{HostId, Time};

/// Who is said not to serve.
#[derive(Debug, Default)]
pub(super) struct Silence {
    accused: BTreeMap<HostId, Accused>,
}

#[derive(Debug, Default)]
struct Accused {
    by: SmallVec<[(HostId, Time); 2]>,
    silent_until: Time,
}

impl Silence {
    /// `by` says that `host`, one of so many members, does not serve. Whether that makes it silent.
    fn accuse(&mut self, now: Time, by: HostId, host: HostId, members: usize) -> bool {
        let silent = self.accused.values().filter(|other| now < other.silent_until).count();
        let accused = self.accused.entry(host).or_default();
        accused
            .by
            .retain(|(other, at)| *other != by && now.since(*at) < HEARD_FOR);
        accused.by.push((by, now));
        if accused.by.len() < ACCUSERS || silent >= (members / SILENT_PART).max(1) {
            return false;
        }
        accused.by.clear();
        accused.silent_until = now + SILENT_FOR;
        true
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
    /// `by` waits for a chunk that only `host` has, as far as it knows.
    pub(super) fn hear_not_serving(&mut self, now: Time, by: HostId, host: HostId) {
        let makes_sense = by != host && self.tracker.contains(by) && self.copies.has_some(host);
        if !makes_sense {
            self.stats.messages_ignored += 1;
            return;
        }
        if !self.silence.is_silent(now, host) && self.silence.accuse(now, by, host, self.tracker.len()) {
            self.stats.members_silent += 1;
            self.copies.discard(host);
            self.drop_client(now, host);
            self.inject_lost(now);
        }
    }
}

/// Members that must say the same.
const ACCUSERS: usize = 2;
/// Within this time.
const HEARD_FOR: Duration = Duration::from_secs(10);
/// Of so many members one is silent at most, and one of fewer.
const SILENT_PART: usize = 4;
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
                accused.contains(&true)
            };
            assert_eq!(
                (0..members as u64).filter(|host| accuse(*host)).count(),
                expected,
                "{members}"
            );
        }
    }
}
