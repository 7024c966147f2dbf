//! What is still to happen in a region, and to whom.
//!
//! Invariant: [`Agenda::is_moving`] tells whether anything is queued, up to the deadline, that may set things in motion again
//! where nothing moves: timers and messages do not count, since members come back from these time and again.

use swarm::wire::Waited;
use swarm::{HostId, Message};

use crate::event_queue::EventQueue;
use crate::member::MemberId;
use crate::transfers::TransferId;

/// What happens to a member. Common events are small, so that the queue stays in the cache; other messages are kept apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input {
    Wakeup,
    Request {
        from: MemberId,
        chunk: u16,
        held: u16,
    },
    Serving {
        from: MemberId,
        chunk: u16,
        waited: Waited,
    },
    Cancel {
        from: MemberId,
        chunk: u32,
    },
    /// The last byte has arrived.
    Arrived {
        from: MemberId,
        chunk: u32,
    },
    /// The last byte of a chunk has left, if the alarm still stands.
    Sent,
    /// A long transfer is still going on.
    Progress {
        transfer: TransferId,
        generation: u32,
    },
    /// What it has sent is passing a link that many share, or has passed it.
    Passing {
        slot: u32,
    },
    Aborted {
        from: MemberId,
        chunk: u32,
    },
    /// What it has acquired reaches its neighbours.
    Publish {
        count: u32,
        /// The last of them, where there is one.
        chunk: u16,
        busy: bool,
    },
    Dial {
        from: MemberId,
    },
    Connected {
        from: MemberId,
    },
    Disconnected {
        from: MemberId,
    },
    /// A message of another kind.
    Message {
        slot: u32,
    },
    Join,
    Leave,
    SeederDown,
    SeederUp,
    /// What goes wrong with it, by its place in the plan, begins or is over.
    Disturbed {
        place: u32,
        is: bool,
    },
    /// Likewise between members.
    Interrupted {
        place: u32,
        is: bool,
    },
}

impl Input {
    /// Whether it may set in motion a region in which nothing moves.
    pub(super) const fn moves_on(self) -> bool {
        match self {
            Self::Arrived { .. }
            | Self::Join
            | Self::Leave
            | Self::SeederDown
            | Self::SeederUp
            | Self::Disturbed { .. }
            | Self::Interrupted { .. } => true,
            Self::Wakeup
            | Self::Request { .. }
            | Self::Serving { .. }
            | Self::Cancel { .. }
            | Self::Sent
            | Self::Progress { .. }
            | Self::Passing { .. }
            | Self::Aborted { .. }
            | Self::Publish { .. }
            | Self::Dial { .. }
            | Self::Connected { .. }
            | Self::Disconnected { .. }
            | Self::Message { .. } => false,
        }
    }
}

/// An entry of the agenda.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) member: MemberId,
    pub(super) input: Input,
}

/// All that is still to happen.
#[derive(Debug)]
pub(super) struct Agenda {
    queue: EventQueue<Entry>,
    /// Messages on their way that are too large for the queue, and the places that are free.
    messages: Vec<Option<(HostId, Message)>>,
    free: Vec<u32>,
    deadline: u64,
    moving: u32,
}

impl Agenda {
    /// Of a region in which most delays are shorter than `horizon` nanoseconds.
    pub(super) fn new(horizon: u64, deadline: u64) -> Self {
        Self {
            queue: EventQueue::new(horizon),
            messages: Vec::new(),
            free: Vec::new(),
            deadline,
            moving: 0,
        }
    }

    pub(super) const fn deadline(&self) -> u64 {
        self.deadline
    }

    #[inline]
    pub(super) fn push(&mut self, at: u64, member: MemberId, input: Input) {
        if input.moves_on() && at <= self.deadline {
            self.moving += 1;
        }
        self.queue.push(at, Entry { member, input });
    }

    /// Has `message` reach `to` at this time.
    #[inline]
    pub(super) fn post(&mut self, at: u64, from: MemberId, to: MemberId, message: Message) {
        let input = match message {
            // Who asks lacks a chunk, so it holds fewer than the most that a build has.
            Message::Request { chunk, held } => Input::Request {
                from,
                chunk: short(chunk),
                held: short(held),
            },
            Message::Serving { chunk, waited } => Input::Serving {
                from,
                chunk: short(chunk),
                waited,
            },
            Message::Cancel { chunk } => Input::Cancel { from, chunk },
            message => {
                let slot = self.keep(from.host(), message);
                Input::Message { slot }
            }
        };
        self.push(at, to, input);
    }

    fn keep(&mut self, from: HostId, message: Message) -> u32 {
        let entry = Some((from, message));
        match self.free.pop() {
            Some(slot) => {
                self.messages[slot as usize] = entry;
                slot
            }
            None => {
                self.messages.push(entry);
                u32::try_from(self.messages.len() - 1).expect("fewer messages than a u32 counts")
            }
        }
    }

    /// The message that [`Input::Message`] speaks of, which is there once.
    pub(super) fn take_message(&mut self, slot: u32) -> Option<(HostId, Message)> {
        self.free.push(slot);
        self.messages[slot as usize].take()
    }

    /// What happens next; nothing after the deadline is of interest any more.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(u64, Entry)> {
        let (at, entry) = self.queue.pop()?;
        if entry.input.moves_on() && at <= self.deadline {
            self.moving -= 1;
        }
        Some((at, entry))
    }

    /// What comes after `skip` others, where that is known without work.
    #[inline]
    pub(super) fn peek_ahead(&self, skip: usize) -> Option<&Entry> {
        self.queue.peek_ahead(skip)
    }

    /// Whether anything is to come that may set things in motion.
    pub(super) const fn is_moving(&self) -> bool {
        self.moving > 0
    }
}

/// A build has at most 2^16 chunks.
pub(super) fn short(chunk: u32) -> u16 {
    u16::try_from(chunk).expect("a build has at most 2^16 chunks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_the_deadline_and_is_no_timer_or_message_moves_a_region() {
        let (deadline, member) = (1_000, MemberId::new(3));
        let mut agenda = Agenda::new(1 << 20, deadline);
        agenda.push(10, member, Input::Wakeup);
        agenda.push(20, member, Input::Dial { from: member });
        agenda.push(deadline + 1, member, Input::Join);
        assert!(!agenda.is_moving());
        agenda.push(deadline, member, Input::Leave);
        assert!(agenda.is_moving());
        (0..2).for_each(|_| assert!(agenda.pop().is_some() && agenda.is_moving()));
        assert!(agenda.pop().is_some() && !agenda.is_moving(), "it has left");
        assert!(agenda.pop().is_some() && !agenda.is_moving());
    }

    #[test]
    fn a_message_is_there_once_and_leaves_its_place_to_another() {
        let [from, to] = [1, 2].map(MemberId::new);
        let mut agenda = Agenda::new(1 << 20, u64::MAX);
        for message in [Message::Complete, Message::HaveAll] {
            agenda.post(5, from, to, message.clone());
            let Some((5, Entry { member, input })) = agenda.pop() else {
                panic!("nothing at 5");
            };
            assert_eq!(member, to);
            let Input::Message { slot } = input else {
                panic!("{input:?}");
            };
            assert_eq!(slot, 0);
            assert_eq!(agenda.take_message(slot), Some((from.host(), message)));
            assert!(agenda.messages[0].is_none());
        }
    }
}
