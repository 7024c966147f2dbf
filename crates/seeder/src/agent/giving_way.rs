//! When a build that is seeded gives way to one that waits. Decides by counts and time alone; asks and ends nobody.
//!
//! Invariant: a build whose hosts may still lack chunks is not given up in silence: either all that could be expected have it,
//! or the verdict says that they do not.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a build is seeded whatever waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At least this long, and as long after a host has come or has all: hosts hear of a build within that.
    pub least: Duration,
    /// While every host that came has it, but fewer came than other builds have: this long after the last one.
    pub fewer: Duration,
    /// While a host lacks chunks, or none has come for any build: this long after anything was sent to one or one has all.
    pub stuck: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            least: Duration::from_secs(5),
            fewer: Duration::from_secs(60),
            stuck: Duration::from_secs(3600),
        }
    }
}

/// What a swarm looks like now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Hosts that are there.
    pub(super) members: usize,
    /// Hosts of them that lack chunks.
    pub(super) incomplete: usize,
    /// Hosts that have said that they have it, whether they are there or not.
    pub(super) completed: u64,
    /// Chunks sent.
    pub(super) served: u64,
}

impl Counts {
    /// Hosts that are there and have it.
    fn complete(&self) -> u64 {
        (self.members - self.incomplete) as u64
    }
}

/// What becomes of a build while another one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is seeded on.
    Stays,
    /// Its hosts have it.
    GivesWay,
    /// It has been waited for in vain.
    GivenUp {
        /// Hosts that have it.
        have: u64,
        /// Hosts that other builds reached.
        of: u64,
        /// Hosts that are there and lack chunks.
        lack: usize,
    },
}

/// One build's swarm, watched.
#[derive(Debug)]
pub(super) struct Watch {
    /// When something of it was sent last, or a host had all of it, or more hosts were there than ever before. One that comes and
    /// goes, as one does whose disk takes nothing, changes nothing.
    moved_at: Instant,
    seen: Counts,
    /// The most hosts that were there at a time.
    members: usize,
    /// The most hosts that were there with all of it at a time: one that comes again and again is counted once.
    most: u64,
}

impl Watch {
    /// A watch over a build that so many hosts have already.
    pub(super) fn new(now: Instant, hosts: u64) -> Self {
        Self {
            moved_at: now,
            seen: Counts::default(),
            members: 0,
            most: hosts,
        }
    }

    /// Looks at what the swarm is now.
    pub(super) fn look(&mut self, now: Instant, counts: Counts) {
        let before = std::mem::replace(&mut self.seen, counts);
        if counts.served != before.served || counts.completed != before.completed || counts.members > self.members {
            self.moved_at = now;
        }
        self.members = self.members.max(counts.members);
        // Of hosts that came and went in between nobody knows how many there were.
        let some = counts.completed.min(1);
        self.most = self.most.max(counts.complete()).max(some);
    }

    /// How many hosts have it at least.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// How many hosts have it at most.
    pub(super) fn have(&self) -> u64 {
        self.most.max(self.seen.completed)
    }

    /// When it moved last.
    pub(super) fn moved_at(&self) -> Instant {
        self.moved_at
    }

    /// What becomes of it in a region of these hosts.
    pub(super) fn verdict(&self, now: Instant, hosts: Hosts, patience: &Patience) -> Verdict {
        let quiet = now.saturating_duration_since(self.moved_at);
        let fleet = hosts.expected;
        let (have, lack) = (self.have(), self.seen.incomplete);
        if quiet < patience.least {
            return Verdict::Stays;
        }
        if lack == 0 && have >= fleet && have > 0 {
            return Verdict::GivesWay;
        }
        // Where no host has come for any build, giving way to another one helps nobody for now.
        let enough = if lack == 0 && fleet > 0 {
            patience.fewer
        } else {
            patience.stuck
        };
        // A host that is there and has not come is busy with other builds, as long as anything moves.
        let is_awaited = lack == 0 && have < hosts.there;
        let all_quiet = now.saturating_duration_since(hosts.moved_at.max(self.moved_at));
        let is_over = |quiet: Duration, enough: Duration| quiet >= enough.max(patience.least);
        if !is_over(if is_awaited { all_quiet } else { quiet }, enough) && !is_over(quiet, patience.stuck) {
            return Verdict::Stays;
        }
        Verdict::GivenUp { have, of: fleet, lack }
    }
}

/// The hosts of a region, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosts {
    /// So many are expected to have a build in the end: also some that are away for a moment.
    pub(super) expected: u64,
    /// So many follow the directory now.
    pub(super) there: u64,
    /// When a build of any of them moved last.
    pub(super) moved_at: Instant,
}

/// How many hosts a region has, by what its last builds have reached and by who follows the directory.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    reached: VecDeque<u64>,
    /// The most that followed lately, and when they were last so many.
    followed: Option<(u64, Instant)>,
}

impl Fleet {
    /// So many hosts follow the directory, or did when this was written down. Who goes is expected back for a while.
    pub(super) fn follow(&mut self, now: Instant, hosts: u64, patience: &Patience) {
        let is_news = |(most, at): (u64, Instant)| hosts >= most || now.saturating_duration_since(at) > patience.fewer;
        if self.followed.is_none_or(is_news) {
            self.followed = Some((hosts, now));
        }
    }

    /// A build that is not seeded any more was on so many hosts.
    pub(super) fn reached(&mut self, hosts: u64) {
        if self.reached.len() == BUILDS_REMEMBERED {
            self.reached.pop_front();
        }
        self.reached.push_back(hosts);
    }

    /// The most that one of the last builds has reached, those that are `seeded` now included, or that followed lately.
    pub(super) fn size(&self, seeded: impl Iterator<Item = u64>) -> u64 {
        let followed = self.followed.map(|(hosts, _)| hosts);
        let known = self.reached.iter().copied().chain(seeded).chain(followed);
        known.max().unwrap_or_default()
    }
}

/// After so many builds a host that is gone for good is not expected any more.
const BUILDS_REMEMBERED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        least: Duration::from_secs(5),
        fewer: Duration::from_secs(60),
        stuck: Duration::from_secs(600),
    };

    fn watched(counts: Counts, seconds: u64, fleet: u64) -> Verdict {
        let start = Instant::now();
        let mut watch = Watch::new(start, 0);
        watch.look(start, counts);
        watch.verdict(start + Duration::from_secs(seconds), hosts(fleet, 0, start), &PATIENCE)
    }

    fn hosts(expected: u64, there: u64, moved_at: Instant) -> Hosts {
        Hosts {
            expected,
            there,
            moved_at,
        }
    }

    fn counts(members: usize, incomplete: usize, completed: u64) -> Counts {
        Counts {
            members,
            incomplete,
            completed,
            served: 0,
        }
    }

    #[test]
    fn it_gives_way_when_all_hosts_have_it_and_not_before_they_could_hear_of_it() {
        assert_eq!(watched(counts(3, 0, 3), 1, 3), Verdict::Stays);
        assert_eq!(watched(counts(3, 0, 3), 6, 3), Verdict::GivesWay);
        // Also when they have gone with it.
        assert_eq!(watched(counts(0, 0, 3), 6, 3), Verdict::GivesWay);
    }

    #[test]
    fn it_stays_while_a_host_lacks_chunks_or_has_not_come_and_is_not_given_up_in_silence() {
        assert_eq!(watched(counts(3, 1, 2), 300, 3), Verdict::Stays);
        let stuck = Verdict::GivenUp {
            have: 2,
            of: 3,
            lack: 1,
        };
        assert_eq!(watched(counts(3, 1, 2), 600, 3), stuck);
        assert_eq!(watched(counts(2, 0, 2), 30, 3), Verdict::Stays);
        let fewer = Verdict::GivenUp {
            have: 2,
            of: 3,
            lack: 0,
        };
        assert_eq!(watched(counts(2, 0, 2), 60, 3), fewer);
        assert_eq!(watched(counts(0, 0, 0), 300, 0), Verdict::Stays, "nobody is there");
    }

    #[test]
    fn what_is_sent_and_who_comes_begins_the_wait_anew() {
        let start = Instant::now();
        let mut watch = Watch::new(start, 0);
        for second in 0..700 {
            let now = start + Duration::from_secs(second);
            let served = second / 10;
            watch.look(
                now,
                Counts {
                    served,
                    ..counts(3, 1, 2)
                },
            );
            assert_eq!(watch.verdict(now, hosts(3, 0, start), &PATIENCE), Verdict::Stays);
        }
    }

    #[test]
    fn a_host_that_comes_and_goes_and_takes_nothing_does_not_begin_the_wait_anew() {
        let start = Instant::now();
        let mut watch = Watch::new(start, 0);
        watch.look(start, counts(3, 1, 2));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            let there = if second % 2 == 0 {
                counts(2, 0, 2)
            } else {
                counts(3, 1, 2)
            };
            watch.look(now, there);
            assert_eq!(watch.verdict(now, hosts(3, 3, start), &PATIENCE), Verdict::Stays);
        }
        let now = start + Duration::from_secs(60);
        watch.look(now, counts(2, 0, 2));
        let given_up = Verdict::GivenUp {
            have: 2,
            of: 3,
            lack: 0,
        };
        assert_eq!(watch.verdict(now, hosts(3, 3, start), &PATIENCE), given_up);
    }

    #[test]
    fn a_host_that_is_there_and_busy_with_other_builds_is_waited_for() {
        let start = Instant::now();
        let mut watch = Watch::new(start, 0);
        watch.look(start, counts(2, 0, 2));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.verdict(at(500), hosts(3, 3, at(450)), &PATIENCE), Verdict::Stays);
        let given_up = Verdict::GivenUp {
            have: 2,
            of: 3,
            lack: 0,
        };
        assert_eq!(watch.verdict(at(500), hosts(3, 3, at(440)), &PATIENCE), given_up);
        assert_eq!(
            watch.verdict(at(500), hosts(3, 2, at(499)), &PATIENCE),
            given_up,
            "it is not there"
        );
        assert_eq!(
            watch.verdict(at(600), hosts(3, 3, at(599)), &PATIENCE),
            given_up,
            "at last"
        );
    }

    #[test]
    fn a_host_that_went_is_expected_back_for_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut fleet = Fleet::default();
        fleet.follow(start, 10, &PATIENCE);
        for second in 1..=60 {
            fleet.follow(at(second), 9, &PATIENCE);
            assert_eq!(fleet.size(std::iter::empty()), 10);
        }
        fleet.follow(at(61), 9, &PATIENCE);
        assert_eq!(fleet.size(std::iter::empty()), 9);
    }

    #[test]
    fn a_fleet_that_has_become_smaller_is_known_as_such_after_some_builds() {
        let mut fleet = Fleet::default();
        fleet.reached(10);
        assert_eq!(fleet.size([5].into_iter()), 10);
        (0..BUILDS_REMEMBERED).for_each(|_| fleet.reached(5));
        assert_eq!(fleet.size([4].into_iter()), 5);
    }
}
