//! Whose GET is next: pulls run side by side, and all together have so many GETs on their way.
//!
//! Invariant: a turn that is free goes to the pull that has least to go, so a hotfix does not wait for a large build; every
//! fourth goes to the pull that has waited longest since its last one, so the large one gets on as well. One turn is left for
//! what fits into a single GET.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The turns of a process. Cheap to clone; clones are of the same turns.
#[derive(Clone, Debug)]
pub struct GetTurns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    turns: usize,
    free: usize,
    given: u64,
    /// Bytes that have come to all.
    came: u64,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    pull: Arc<Progress>,
    told: oneshot::Sender<Turn>,
}

#[derive(Debug)]
struct Progress {
    remaining: AtomicU64,
    /// How many turns had been given to all when this pull had its last one, or began.
    last: AtomicU64,
}

/// One pull's place among the others.
#[derive(Debug)]
pub struct PullTurns {
    turns: GetTurns,
    pull: Arc<Progress>,
}

/// Leave for one GET. It goes on to the next when it is dropped.
#[derive(Debug)]
pub struct Turn(Option<GetTurns>);

impl GetTurns {
    /// So many GETs at a time; at least one.
    pub fn new(turns: usize) -> Self {
        let turns = turns.max(1);
        Self(Arc::new(Mutex::new(State {
            turns,
            free: turns,
            given: 0,
            came: 0,
            waiting: Vec::new(),
        })))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.lock().turns
    }

    /// Bytes that have come by all pulls.
    pub fn came(&self) -> u64 {
        self.0.lock().came
    }

    /// A pull that has this many bytes to go.
    pub fn pull(&self, bytes: u64) -> PullTurns {
        let given = self.0.lock().given;
        PullTurns {
            turns: self.clone(),
            pull: Arc::new(Progress {
                remaining: AtomicU64::new(bytes),
                last: AtomicU64::new(given),
            }),
        }
    }

    fn give(&self) {
        let mut state = self.0.lock();
        while let Some(next) = state.next() {
            let waiting = state.waiting.swap_remove(next);
            state.given += 1;
            waiting.pull.last.store(state.given, Ordering::Relaxed);
            state.free -= 1;
            if let Err(mut turn) = waiting.told.send(Turn(Some(self.clone()))) {
                // Who waited is gone. The turn must not give itself back while the lock is held.
                turn.0 = None;
                state.free += 1;
            }
        }
    }
}

impl State {
    /// Whose turn it is, if there is one.
    fn next(&self) -> Option<usize> {
        let remaining = |waiting: &Waiting| waiting.pull.remaining.load(Ordering::Relaxed);
        let last = |waiting: &Waiting| waiting.pull.last.load(Ordering::Relaxed);
        let kept = usize::from(self.turns > 1);
        let all = || self.waiting.iter().enumerate();
        let next = match self.free {
            0 => None,
            free if free <= kept => all()
                .filter(|(_, waiting)| remaining(waiting) <= SMALL)
                .min_by_key(|(_, waiting)| remaining(waiting)),
            _ if self.given % EVERY == EVERY - 1 => all().min_by_key(|(_, waiting)| last(waiting)),
            _ => all().min_by_key(|(_, waiting)| remaining(waiting)),
        };
        next.map(|(index, _)| index)
    }
}

impl PullTurns {
    /// Waits for this pull's turn. Cancel-safe: a turn that nobody takes goes on to the next.
    pub async fn wait(&self) -> Turn {
        let (told, turn) = oneshot::channel();
        let pull = Arc::clone(&self.pull);
        self.turns.0.lock().waiting.push(Waiting { pull, told });
        self.turns.give();
        turn.await.unwrap_or(Turn(None))
    }

    /// So many bytes less to go.
    pub fn came(&self, bytes: u64) {
        self.turns.0.lock().came += bytes;
        let less = |remaining: u64| Some(remaining.saturating_sub(bytes));
        let remaining = &self.pull.remaining;
        let _ = remaining.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.0.lock().free += 1;
            turns.give();
        }
    }
}

/// Of so many turns one goes to who has waited longest.
const EVERY: u64 = 4;
/// Bytes that come with one GET: who has no more to go does not wait for those that have.
const SMALL: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    type Wait<'a> = std::pin::Pin<Box<dyn Future<Output = Turn> + 'a>>;

    /// The order in which pulls with so many bytes to go have the one turn that there is.
    fn order(waiting: &[u64]) -> Vec<u64> {
        let turns = GetTurns::new(1);
        let first = turns.pull(u64::MAX);
        let mut held = first.wait().now_or_never();
        let pulls: Vec<(u64, PullTurns)> = waiting.iter().map(|bytes| (*bytes, turns.pull(*bytes))).collect();
        let mut waits: Vec<(u64, Wait<'_>)> = Vec::new();
        for (bytes, pull) in &pulls {
            let mut wait: Wait<'_> = Box::pin(pull.wait());
            assert!(wait.as_mut().now_or_never().is_none());
            waits.push((*bytes, wait));
        }
        let mut order = Vec::new();
        while !waits.is_empty() {
            drop(held.take());
            waits.retain_mut(|(bytes, wait)| {
                let turn = wait.as_mut().now_or_never();
                let is_waiting = turn.is_none();
                if !is_waiting {
                    order.push(*bytes);
                    held = turn;
                }
                is_waiting
            });
        }
        order
    }

    #[test]
    fn who_has_least_to_go_is_next_and_the_large_one_is_not_forgotten() {
        let order = order(&[900, 10, 20, 30, 40, 50, 60]);
        assert_eq!(order[0], 10);
        let large = order.iter().position(|bytes| *bytes == 900).unwrap();
        assert!(large < 4, "{order:?}");
    }

    #[test]
    fn what_fits_into_one_get_has_a_turn_while_large_ones_have_all_others() {
        let turns = GetTurns::new(4);
        let large = turns.pull(1 << 30);
        let held: Vec<Turn> = std::iter::from_fn(|| large.wait().now_or_never()).collect();
        assert_eq!(held.len(), 3);
        let small = turns.pull(1024);
        assert!(small.wait().now_or_never().is_some());
        drop(held);
        assert!(large.wait().now_or_never().is_some());
    }

    #[test]
    fn a_turn_that_nobody_waits_for_any_more_goes_to_the_next() {
        let turns = GetTurns::new(1);
        let pull = turns.pull(1024);
        let held = pull.wait().now_or_never().unwrap();
        let mut gone = Box::pin(pull.wait());
        assert!(gone.as_mut().now_or_never().is_none());
        let mut next = Box::pin(pull.wait());
        assert!(next.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        assert!(next.as_mut().now_or_never().is_some());
        assert!(pull.wait().now_or_never().is_some());
    }
}
