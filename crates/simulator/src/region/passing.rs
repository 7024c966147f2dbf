//! Chunks that have left their sender and pass a link that many share.
//!
//! They pass it one after another, and it has no room for more than what is on its way: as TCP would, the sender keeps the upload slot
//! until its chunk has passed, and both ends see that it goes on, since flows share such a link and each moves all the time.

use swarm::{ChunkIndex, Event};

use super::Region;
use super::agenda::Input;
use crate::member::MemberId;
use crate::transfers::SLOW_AFTER;

/// A chunk that passes.
#[derive(Clone, Copy, Debug)]
struct Passing {
    from: MemberId,
    to: MemberId,
    chunk: u32,
    until: u64,
    /// The sender was told to stop, or has gone: what has left goes on, and nobody is told.
    given_up: bool,
}

/// All that pass.
#[derive(Debug, Default)]
pub(super) struct Passings {
    list: Vec<Option<Passing>>,
    free: Vec<u32>,
}

impl Passings {
    fn add(&mut self, passing: Passing) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.list[slot as usize] = Some(passing);
            return slot;
        }
        self.list.push(Some(passing));
        u32::try_from(self.list.len() - 1).expect("fewer chunks pass than fit into memory")
    }

    /// Those that `is` are told of no more.
    fn give_up(&mut self, is: impl Fn(&Passing) -> bool) {
        for passing in self.list.iter_mut().flatten() {
            passing.given_up |= is(passing);
        }
    }
}

impl Region {
    /// A chunk has left `from`, and passes what is shared until then.
    pub(super) fn pass(&mut self, from: MemberId, to: MemberId, chunk: u32, until: u64) {
        if until <= self.now {
            let (to, chunk) = (to.host(), self.chunk(chunk));
            self.tell(from, Event::ChunkServed { to, chunk });
            return;
        }
        let slot = self.passings.add(Passing {
            from,
            to,
            chunk,
            until,
            given_up: false,
        });
        self.look_again(slot, from, until);
    }

    fn look_again(&mut self, slot: u32, from: MemberId, until: u64) {
        let at = until.min(self.now + SLOW_AFTER);
        self.agenda.push(at, from, Input::Passing { slot });
    }

    /// Time to look at a chunk that passes.
    pub(super) fn passes(&mut self, slot: u32) {
        let Some(passing) = self.passings.list[slot as usize] else {
            return;
        };
        let Passing {
            from, to, chunk, until, ..
        } = passing;
        let is_through = until <= self.now;
        if is_through {
            self.passings.list[slot as usize] = None;
            self.passings.free.push(slot);
        } else {
            self.look_again(slot, from, until);
        }
        if passing.given_up {
            return;
        }
        let (sender, receiver, chunk) = (from.host(), to.host(), self.chunk(chunk));
        if is_through {
            self.tell(from, Event::ChunkServed { to: receiver, chunk });
            return;
        }
        self.tell(from, Event::ServingProgress { to: receiver, chunk });
        if self.expects(to, from, chunk) {
            self.tell(to, Event::ChunkProgress { from: sender, chunk });
        }
    }

    /// Nobody is told any more of a chunk that passes.
    pub(super) fn stop_passing(&mut self, from: MemberId, to: MemberId, chunk: ChunkIndex) {
        let chunk = chunk.get();
        self.passings
            .give_up(|passing| passing.from == from && passing.to == to && passing.chunk == chunk);
    }

    /// Likewise of all that a member has sent.
    pub(super) fn stop_passing_all_of(&mut self, member: MemberId) {
        self.passings.give_up(|passing| passing.from == member);
    }
}
