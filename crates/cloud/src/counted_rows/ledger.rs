//! What one writer has counted, and what of it is published. Sends nothing.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::tally::{Counted, Mark, Of, Published, Tally};
use crate::deployment_log::Item;
use crate::names::fnv1a;

/// A writer's own tallies.
#[derive(Debug)]
pub(super) struct Ledger {
    writer: String,
    tallies_made: u64,
    last_mark: u64,
    tallies: BTreeMap<Of, Own>,
    /// Rows that may be in the table or not, by build and host: whose tally, and the mark that it would have.
    uncertain: BTreeMap<(String, String), Vec<(Of, u64)>>,
}

#[derive(Debug)]
struct Own {
    /// What its item is told from those of others by.
    id: String,
    tally: Tally,
    uncertain: u64,
    /// Its item says that it is not settled, so rows may be put.
    is_open: bool,
    in_flight: u32,
    /// It is not as its item has it.
    has_changed: bool,
    /// A row began since it was looked at last.
    is_busy: bool,
    /// The mark of its last row.
    used: u64,
}

impl Ledger {
    pub(super) fn new(now: SystemTime) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Two writers that start in one nanosecond on two machines differ by what they are and where.
        let who = format!("{}{}{since:?}", std::process::id(), &raw const now as usize);
        Self {
            writer: format!("{:x}-{:08x}", since.as_nanos(), fnv1a(&who)),
            tallies_made: 0,
            last_mark: 0,
            tallies: BTreeMap::new(),
            uncertain: BTreeMap::new(),
        }
    }

    fn own(&mut self, of: &Of) -> &mut Own {
        let Self {
            writer, tallies_made, ..
        } = self;
        self.tallies.entry(of.clone()).or_insert_with(|| {
            *tallies_made += 1;
            Own {
                id: format!("{writer}.{tallies_made}"),
                tally: Tally::default(),
                uncertain: 0,
                is_open: false,
                in_flight: 0,
                has_changed: false,
                is_busy: false,
                used: 0,
            }
        })
    }

    fn begin(&mut self, of: &Of) -> Mark {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = u64::try_from(now.unwrap_or(Duration::ZERO).as_micros()).unwrap_or(u64::MAX);
        self.last_mark = now.max(self.last_mark + 1);
        let mark = Mark {
            by: self.writer.clone(),
            at: self.last_mark,
        };
        let own = self.own(of);
        own.in_flight += 1;
        own.is_busy = true;
        own.used = mark.at;
        mark
    }

    /// The mark of a row that may be put now; `None` where its tally has to be opened first.
    pub(super) fn begin_if_open(&mut self, of: &Of) -> Option<Mark> {
        let is_open = self.tallies.get(of).is_some_and(|own| own.is_open);
        is_open.then(|| self.begin(of))
    }

    /// What is to be published before a row of this tally is put.
    pub(super) fn opening(&mut self, of: &Of) -> (String, Published) {
        let own = self.own(of);
        own.has_changed = false;
        (own.id.clone(), own.published(of, false))
    }

    /// That is published.
    pub(super) fn open(&mut self, of: &Of) -> Mark {
        self.own(of).is_open = true;
        self.begin(of)
    }

    /// A row is not on its way any more.
    pub(super) fn end(&mut self, of: &Of) {
        let own = self.own(of);
        own.in_flight = own.in_flight.saturating_sub(1);
    }

    /// The row is in the table, in the place of another one where there was one.
    pub(super) fn written(&mut self, (host, row): (&str, &Counted), replaced: Option<&Item>) {
        let replaced = replaced.map(Counted::item);
        let was_uncertain = self.resolve(host, row, replaced.as_ref());
        self.add(row, 1);
        // One that was uncertain was never added.
        if let Some(Some(replaced)) = replaced
            && !was_uncertain
        {
            self.add(&replaced, -1);
        }
    }

    /// The table has kept the row that was there. It is counted, unless it is one that was uncertain.
    pub(super) fn kept(&mut self, (host, row): (&str, &Counted), kept: Option<&Item>) {
        let kept = kept.map(Counted::item);
        if self.resolve(host, row, kept.as_ref())
            && let Some(Some(kept)) = kept
        {
            self.add(&kept, 1);
        }
    }

    /// Nobody knows whether the row is in the table.
    pub(super) fn uncertain(&mut self, (host, row): (&str, &Counted)) {
        let own = self.own(&row.of);
        own.uncertain += 1;
        own.has_changed = true;
        if self.uncertain.len() < UNCERTAIN_MAX {
            let key = (row.of.build_id.clone(), host.to_owned());
            self.uncertain
                .entry(key)
                .or_default()
                .push((row.of.clone(), row.mark.at));
        }
    }

    /// What was uncertain of a host is known by what was there; whether that is a row which was uncertain.
    fn resolve(&mut self, host: &str, row: &Counted, there: Option<&Option<Counted>>) -> bool {
        let key = (row.of.build_id.clone(), host.to_owned());
        let Some(open) = self.uncertain.remove(&key) else {
            return false;
        };
        let mark = there.and_then(Option::as_ref).map(|there| &there.mark);
        let is_mine = mark.is_some_and(|mark| mark.by == self.writer && open.iter().any(|(_, at)| *at == mark.at));
        // Had one of them landed, it would be there instead of nothing, and of one that is older.
        let none_landed = mark.is_none_or(|mark| open.iter().all(|(_, at)| mark.at < *at));
        if is_mine || none_landed {
            for (of, _) in open {
                let own = self.own(&of);
                own.uncertain = own.uncertain.saturating_sub(1);
                own.has_changed = true;
            }
        }
        is_mine
    }

    fn add(&mut self, row: &Counted, times: i64) {
        let own = self.own(&row.of);
        own.tally.add(row, times);
        own.has_changed = true;
    }

    /// What is to be published now, with the id of each item. Nothing is settled while anything has changed: what a row has taken away from
    /// another tally is published while its own is still open.
    pub(super) fn due(&mut self) -> Vec<(String, Published)> {
        let has_changed = self.tallies.values().any(|own| own.has_changed);
        let mut due = Vec::new();
        for (of, own) in &mut self.tallies {
            let settles = !has_changed && own.is_open && own.in_flight == 0 && !own.is_busy;
            own.is_busy = false;
            if settles {
                own.is_open = false;
            }
            if settles || own.has_changed {
                own.has_changed = false;
                due.push((own.id.clone(), own.published(of, !own.is_open)));
            }
        }
        due
    }

    /// What was to be published is not, as far as is known.
    pub(super) fn not_published(&mut self, of: &Of) {
        self.own(of).has_changed = true;
    }

    /// Forgets the tallies that were used last the longest ago, where there are too many. Their items stay and go on counting.
    pub(super) fn forget_settled(&mut self) {
        let settled = |own: &Own| !own.is_open && !own.has_changed && own.in_flight == 0 && own.uncertain == 0;
        let over = self.tallies.len().saturating_sub(TALLIES_MAX);
        let mut used: Vec<u64> = self
            .tallies
            .values()
            .filter(|own| settled(own))
            .map(|own| own.used)
            .collect();
        used.sort_unstable();
        if let Some(last) = over
            .checked_sub(1)
            .and_then(|last| used.get(last).or_else(|| used.last()))
        {
            self.tallies.retain(|_, own| !settled(own) || own.used > *last);
        }
    }
}

impl Own {
    fn published(&self, of: &Of, is_settled: bool) -> Published {
        Published {
            of: of.clone(),
            tally: self.tally.clone(),
            is_settled,
            uncertain: self.uncertain,
        }
    }
}

/// Tallies that a writer keeps in memory, of some hundred bytes each.
const TALLIES_MAX: usize = 1000;
/// Hosts whose rows are uncertain at most; of more only the number is known.
const UNCERTAIN_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(build: usize) -> Of {
        Of {
            build_id: format!("b{build}"),
            version: "v".to_owned(),
            region: "r".to_owned(),
        }
    }

    #[test]
    fn tallies_that_nobody_uses_are_forgotten_and_open_ones_are_not() {
        let mut ledger = Ledger::new(SystemTime::now());
        for build in 0..TALLIES_MAX + 10 {
            ledger.opening(&of(build));
            ledger.open(&of(build));
            if build > 0 {
                ledger.end(&of(build));
            }
        }
        // The first has a row on its way, and was used the longest ago.
        assert_eq!(ledger.due().len(), 0, "all were busy");
        assert_eq!(ledger.due().len(), TALLIES_MAX + 9);
        ledger.forget_settled();
        assert_eq!(ledger.tallies.len(), TALLIES_MAX);
        assert!(ledger.tallies.contains_key(&of(0)) && !ledger.tallies.contains_key(&of(1)));
    }

    #[test]
    fn two_writers_are_never_one() {
        let now = SystemTime::now();
        let (a, b) = (Ledger::new(now), Ledger::new(now + Duration::from_nanos(1)));
        assert_ne!(a.writer, b.writer);
    }
}
