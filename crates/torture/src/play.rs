//! Plays one day, and survives it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::day::{Day, Nanos};
use crate::trace::Trace;
use crate::verdict::{Invariant, Violation};
use crate::world::World;

/// How a day went.
#[derive(Clone, Debug)]
pub struct Played {
    /// What was broken first of what is promised, if anything.
    pub broken: Option<Violation>,
    /// Of the host that took most of what it was allowed: what share of it, 1 at the last moment.
    pub lateness: f64,
    /// How long that host took, in nanoseconds from when it could count on its time.
    pub took: Nanos,
    /// Things that happened.
    pub events: u64,
    /// When everybody was done, in nanoseconds of the day.
    pub ended_at: Nanos,
}

/// Plays a day to its end, or until something is broken.
pub fn play<'a>(day: &'a Day, trace: Trace<'a>) -> Played {
    catch_messages();
    let mut world = World::new(day, trace);
    MESSAGE.set(Some(String::new()));
    let outcome = catch_unwind(AssertUnwindSafe(|| world.play()));
    let message = MESSAGE.take().unwrap_or_default();
    match outcome {
        Ok(outcome) => Played {
            broken: world.referee.verdict().cloned(),
            lateness: world.referee.latest.0,
            took: world.referee.latest.1,
            events: outcome.events,
            ended_at: outcome.ended_at,
        },
        Err(_panic) => Played {
            broken: Some(Violation {
                invariant: Invariant::Panic,
                host: None,
                at: world.now,
                what: message,
            }),
            lateness: 0.0,
            took: 0,
            events: 0,
            ended_at: world.now,
        },
    }
}

thread_local! {
    /// Of a panic, while this thread plays a day.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps what a panic says on a thread that plays a day, in place of printing it: it is told with the day.
fn catch_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_ours = MESSAGE.with_borrow_mut(|message| {
                if let Some(message) = message {
                    *message = info.to_string().replace('\n', " ");
                }
                message.is_some()
            });
            if !is_ours {
                others(info);
            }
        }));
    });
}
