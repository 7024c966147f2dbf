//! Which build is begun next. Invariant: a small build never waits behind large ones, and a large one not for ever behind small
//! ones. Begins nothing itself.
//!
//! So many are fetched at a time; of those that wait the one that lacks least comes first, and in every fourth turn the one
//! that has waited longest. One that lacks at most an eighth of what each of those under way lacks begins beside them at once:
//! as each must be so much smaller than the last, there are never many of these. One that does not move, because its
//! seeder is away for example, holds up nobody: it does not count. What stands at its place already is only checked, and
//! checks neither wait for fetches nor hold them up.

/// A build that waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Bytes that it lacks, where that is known.
    pub(crate) lacks: Option<u64>,
    /// It seems to be in place, and is only to be read.
    pub(crate) is_check: bool,
    /// Since when it waits, by number: the least has waited longest.
    pub(crate) number: u64,
}

/// A build that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnderWay {
    /// Bytes that it lacks, where that is known.
    pub(crate) lacks: Option<u64>,
    /// It is being read only.
    pub(crate) is_check: bool,
    /// Nothing of it has come for a while.
    pub(crate) is_stalled: bool,
}

/// Gives the turns.
#[derive(Debug)]
pub(crate) struct Turns {
    at_a_time: usize,
    given: u64,
}

impl Turns {
    /// With so many fetches at a time, at least one.
    pub(crate) fn new(at_a_time: usize) -> Self {
        Self {
            at_a_time: at_a_time.max(1),
            given: 0,
        }
    }

    /// So many at a time from now on, at least one.
    pub(crate) fn set_at_a_time(&mut self, at_a_time: usize) {
        self.at_a_time = at_a_time.max(1);
    }

    /// The index of the one of `waiting` that is to be begun now, if one is.
    pub(crate) fn next(&mut self, waiting: &[Waiting], under_way: &[UnderWay]) -> Option<usize> {
        let checks = under_way
            .iter()
            .filter(|build| build.is_check && !build.is_stalled)
            .count();
        if checks < CHECKS_AT_A_TIME
            && let Some(index) = longest(waiting, |build| build.is_check)
        {
            return Some(index);
        }
        let moving = under_way.iter().filter(|build| !build.is_check && !build.is_stalled);
        let smallest = (0..waiting.len())
            .filter(|&index| !waiting[index].is_check)
            .min_by_key(|&index| (waiting[index].lacks.unwrap_or(u64::MAX), waiting[index].number))?;
        if moving.clone().count() < self.at_a_time {
            self.given += 1;
            return if self.given.is_multiple_of(TURN_OF_THE_LONGEST) {
                longest(waiting, |build| !build.is_check)
            } else {
                Some(smallest)
            };
        }
        let lacks = waiting[smallest].lacks?;
        let is_far_smaller = |build: &UnderWay| build.lacks.is_none_or(|larger| lacks.max(1) <= larger / FAR_SMALLER);
        moving.clone().all(is_far_smaller).then_some(smallest)
    }
}

fn longest(waiting: &[Waiting], counts: impl Fn(&Waiting) -> bool) -> Option<usize> {
    (0..waiting.len())
        .filter(|&index| counts(&waiting[index]))
        .min_by_key(|&index| waiting[index].number)
}

/// Files that are only read at a time: one keeps a disk busy, the second its processor.
const CHECKS_AT_A_TIME: usize = 2;
/// In every turn of this number the one that has waited longest comes first.
const TURN_OF_THE_LONGEST: u64 = 4;
/// A build that is so many times smaller does not wait. Sizes from 1 byte to 10 TB make 15 such steps.
const FAR_SMALLER: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn waiting(lacks: impl IntoIterator<Item = u64>) -> Vec<Waiting> {
        let waits = |(number, lacks): (usize, u64)| Waiting {
            lacks: Some(lacks),
            is_check: false,
            number: number as u64,
        };
        lacks.into_iter().enumerate().map(waits).collect()
    }

    fn under_way(lacks: u64) -> UnderWay {
        UnderWay {
            lacks: Some(lacks),
            is_check: false,
            is_stalled: false,
        }
    }

    #[test]
    fn the_smallest_comes_first_and_in_every_fourth_turn_the_one_that_has_waited_longest() {
        let mut turns = Turns::new(2);
        let mut large_first = waiting([160 * MIB, 3, 2, 1, 5, 6]);
        let mut order = Vec::new();
        while let Some(index) = turns.next(&large_first, &[]) {
            order.push(large_first.remove(index).lacks.unwrap());
        }
        assert_eq!(order, [1, 2, 3, 160 * MIB, 5, 6]);
    }

    #[test]
    fn a_hotfix_does_not_wait_behind_large_builds_but_an_equal_one_does() {
        let mut turns = Turns::new(2);
        let busy = [under_way(160 * MIB), under_way(8 * 1024)];
        assert_eq!(turns.next(&waiting([160 * MIB, 1024]), &busy), Some(1));
        assert_eq!(turns.next(&waiting([160 * MIB, 1025]), &busy), None);
        let unknown = Waiting {
            lacks: None,
            ..waiting([1])[0]
        };
        assert_eq!(turns.next(&[unknown], &busy), None);
    }

    #[test]
    fn never_many_are_under_way_whatever_comes() {
        let mut turns = Turns::new(1);
        let mut under = Vec::new();
        // The worst order: each just small enough to pass the one before.
        for step in 0..64 {
            for lacks in (0..64).map(|shift| u64::MAX >> shift).chain([0, 0, 0]) {
                let candidates = waiting([lacks]);
                if turns.next(&candidates, &under).is_some() {
                    under.push(under_way(lacks));
                }
            }
            assert!(under.len() <= 24, "step {step}: {}", under.len());
        }
    }

    #[test]
    fn one_that_does_not_move_holds_up_nobody_and_checks_go_beside() {
        let mut turns = Turns::new(1);
        let stalled = UnderWay {
            is_stalled: true,
            ..under_way(1)
        };
        assert_eq!(turns.next(&waiting([MIB]), &[stalled]), Some(0));
        let check = UnderWay {
            is_check: true,
            ..under_way(0)
        };
        assert_eq!(turns.next(&waiting([MIB]), &[check, check]), Some(0));
        let waits = [Waiting {
            is_check: true,
            ..waiting([0])[0]
        }];
        assert_eq!(turns.next(&waits, &[under_way(MIB), check]), Some(0));
        assert_eq!(turns.next(&waits, &[check, check]), None);
    }
}
