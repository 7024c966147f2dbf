//! Makes a day that breaks a promise smaller: fewer hosts, faults and chunks that break the same promise.

use crate::day::{Day, Only};
use crate::play::play;
use crate::trace::Trace;
use crate::verdict::{Invariant, Violation};

/// The smallest part of `day` that was found to break `invariant` in `tries` tries, and what was seen then.
pub fn shrink(day: &Day, broken: &Violation, tries: u32) -> (Only, Violation) {
    let mut search = Search {
        day,
        invariant: broken.invariant,
        tries,
        best: Only::default(),
        seen: broken.clone(),
    };
    for _ in 0..2 {
        let before = search.best.clone();
        search.fewer_hosts();
        search.fewer_faults();
        search.fewer_chunks();
        if search.best == before || search.tries == 0 {
            break;
        }
    }
    (search.best, search.seen)
}

struct Search<'a> {
    day: &'a Day,
    invariant: Invariant,
    tries: u32,
    best: Only,
    seen: Violation,
}

impl Search<'_> {
    /// Whether a part breaks the same promise; it is the best then.
    fn breaks(&mut self, only: Only) -> bool {
        if self.tries == 0 {
            return false;
        }
        self.tries -= 1;
        let played = play(&self.day.clone().restricted(&only), Trace::off());
        let Some(seen) = played.broken.filter(|broken| broken.invariant == self.invariant) else {
            return false;
        };
        self.best = only;
        self.seen = seen;
        true
    }

    fn fewer_hosts(&mut self) {
        let all = self.day.hosts.iter().map(|host| host.id.get()).collect();
        let hosts = self.best.hosts.clone().unwrap_or(all);
        let with = |best: &Only, hosts: &[u64]| Only {
            hosts: Some(hosts.to_vec()),
            ..best.clone()
        };
        self.fewer(hosts, 1, &with);
    }

    fn fewer_faults(&mut self) {
        let all = (0..self.day.faults.len()).collect();
        let faults = self.best.faults.clone().unwrap_or(all);
        let with = |best: &Only, faults: &[usize]| Only {
            faults: Some(faults.to_vec()),
            ..best.clone()
        };
        self.fewer(faults, 0, &with);
    }

    /// Takes parts out, large ones first, as long as what is left breaks the promise.
    fn fewer<T: Clone>(&mut self, mut left: Vec<T>, least: usize, with: &dyn Fn(&Only, &[T]) -> Only) {
        let mut part = left.len().div_ceil(2);
        while part > 0 && left.len() > least && self.tries > 0 {
            let mut from = 0;
            while from < left.len() && left.len() > least && self.tries > 0 {
                let mut fewer = left.clone();
                fewer.drain(from..(from + part).min(left.len()));
                if fewer.len() >= least && self.breaks(with(&self.best, &fewer)) {
                    left = fewer;
                } else {
                    from += part;
                }
            }
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
    }

    fn fewer_chunks(&mut self) {
        let mut chunks = self.best.chunks.unwrap_or(self.day.build.chunks);
        let mut less = chunks / 2;
        while less > 0 && chunks > 1 && self.tries > 0 {
            let fewer = chunks.saturating_sub(less).max(1);
            let only = Only {
                chunks: Some(fewer),
                ..self.best.clone()
            };
            if self.breaks(only) {
                chunks = fewer;
                less = less.min(chunks / 2);
            } else {
                less /= 2;
            }
        }
    }
}
