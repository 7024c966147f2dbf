//! A driver of one core that keeps its side of the contract (`swarm::Peer`), while members say whatever the bytes have them say. It holds
//! no bytes: of chunks only whether they are here.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes as ByteBuffer, BytesMut};
use swarm::wire::{Frame, decode, encode};
use swarm::{Action, Bitfield, ChunkIndex, Contact, Event, HostId, Manifest, Message, SwarmId, Time};

use crate::input::Input;

/// What peers and seeders have in common.
pub(super) trait Core {
    fn handle_event(&mut self, now: Time, event: Event);
    fn poll_action(&mut self) -> Option<Action>;
    fn next_wakeup(&self) -> Option<Time>;
    fn check(&self) -> Result<(), String>;
    /// Whether payload of a chunk from a member is of use; never to a seeder.
    fn expects(&self, from: HostId, chunk: ChunkIndex) -> bool;
}

/// A core by its own calls of these names; `expects` is what is its own.
macro_rules! core {
    ($core:ty, $expects:expr) => {
        impl $crate::targets::driven::Core for $core {
            fn handle_event(&mut self, now: swarm::Time, event: swarm::Event) {
                Self::handle_event(self, now, event);
            }

            fn poll_action(&mut self) -> Option<swarm::Action> {
                Self::poll_action(self)
            }

            fn next_wakeup(&self) -> Option<swarm::Time> {
                Self::next_wakeup(self)
            }

            fn check(&self) -> Result<(), String> {
                Self::check(self)
            }

            fn expects(&self, from: swarm::HostId, chunk: swarm::ChunkIndex) -> bool {
                let expects: fn(&Self, swarm::HostId, swarm::ChunkIndex) -> bool = $expects;
                expects(self, from, chunk)
            }
        }
    };
}

pub(super) use core;

/// A core, and the world as its driver knows it.
pub(super) struct Driven<C> {
    pub(super) core: C,
    now: Time,
    connected: BTreeSet<HostId>,
    dialled: VecDeque<HostId>,
    serving: Vec<(HostId, ChunkIndex)>,
    /// What is to be told once the actions are carried out.
    answers: VecDeque<Event>,
    /// What is here of the build, once there is a store.
    store: Option<Bitfield>,
    was_complete: bool,
}

impl<C: Core> Driven<C> {
    pub(super) fn new(core: C, store: Option<Bitfield>) -> Self {
        let mut driven = Self {
            core,
            now: Time::ZERO,
            connected: BTreeSet::new(),
            dialled: VecDeque::new(),
            serving: Vec::new(),
            answers: VecDeque::new(),
            store,
            was_complete: false,
        };
        driven.carry_out(&mut Input::new(&[]));
        driven
    }

    /// All that the bytes say, and then nothing that must hold is broken.
    pub(super) fn play(&mut self, input: &mut Input<'_>) {
        while !input.is_empty() {
            self.step(input);
        }
        assert_eq!(self.core.check(), Ok(()));
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 | 1 => self.connect(input),
            2 => self.disconnect(input),
            3..=5 => self.hear_bytes(input),
            6..=8 => self.hear_message(input),
            9 | 10 => self.payload(input),
            11 => self.answer_dial(input),
            12 => self.pass(Duration::from_millis(input.short().into()), input),
            13 => self.wake(input),
            14 => self.serve(input),
            _ => self.lose_or_find(input),
        }
    }

    fn member(input: &mut Input<'_>) -> HostId {
        HostId::new(input.below(MEMBERS) as u64)
    }

    fn connect(&mut self, input: &mut Input<'_>) {
        let host = Self::member(input);
        // A driver tells of a connection once: it is there, or it is not.
        if host != OWN && self.connected.insert(host) {
            self.tell(Event::Connected(host), input);
        }
    }

    fn disconnect(&mut self, input: &mut Input<'_>) {
        let host = Self::member(input);
        if self.connected.remove(&host) {
            self.serving.retain(|(to, _)| *to != host);
            self.tell(Event::Disconnected(host), input);
        }
    }

    /// A frame as it comes over a connection, if these bytes are one.
    fn hear_bytes(&mut self, input: &mut Input<'_>) {
        let host = Self::member(input);
        let length = usize::from(input.byte());
        let body = input.bytes(length);
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&u32::try_from(body.len()).expect("a byte's worth").to_le_bytes());
        frame.extend_from_slice(body);
        if let Ok(Some(Frame::Message(message))) = decode(&mut frame) {
            self.hear(host, message, input);
        }
    }

    /// A message that is one, so that a fuzzer need not find each.
    fn hear_message(&mut self, input: &mut Input<'_>) {
        let host = Self::member(input);
        let message = message(input);
        self.hear(host, message, input);
    }

    fn hear(&mut self, host: HostId, message: Message, input: &mut Input<'_>) {
        // A driver has no messages but from connections.
        if self.connected.contains(&host) {
            self.tell(Event::Message(host, message), input);
        }
    }

    /// Payload of a chunk, and perhaps the last of it.
    fn payload(&mut self, input: &mut Input<'_>) {
        let from = Self::member(input);
        let (Some(chunk), how) = (self.chunk(input), input.byte() % 4) else {
            return;
        };
        if !self.connected.contains(&from) {
            return;
        }
        self.tell(Event::ChunkProgress { from, chunk }, input);
        if !self.connected.contains(&from) {
            return;
        }
        match how {
            0 | 1 if self.core.expects(from, chunk) => {
                if let Some(store) = &mut self.store {
                    store.insert(chunk);
                }
                self.tell(Event::ChunkStored { from, chunk }, input);
            }
            2 if self.core.expects(from, chunk) => self.tell(Event::ChunkCorrupt { from, chunk }, input),
            3 => self.tell(Event::ChunkAborted { from, chunk }, input),
            _ => {}
        }
    }

    fn answer_dial(&mut self, input: &mut Input<'_>) {
        let (Some(host), went_well) = (self.dialled.pop_front(), !input.byte().is_multiple_of(4)) else {
            return;
        };
        if !went_well {
            if !self.connected.contains(&host) {
                self.tell(Event::Disconnected(host), input);
            }
        } else if self.connected.insert(host) {
            self.tell(Event::Connected(host), input);
        }
    }

    fn pass(&mut self, time: Duration, input: &mut Input<'_>) {
        self.now = self.now + time;
        if self.core.next_wakeup().is_some_and(|at| at <= self.now) {
            self.tell(Event::Wakeup, input);
        }
    }

    /// Until it wants to be woken, and then until it has been: a core that wants to be woken again and again at one time would keep a
    /// machine busy for ever.
    fn wake(&mut self, input: &mut Input<'_>) {
        let Some(at) = self.core.next_wakeup() else {
            return;
        };
        self.now = self.now.max(at);
        for _ in 0..WAKEUPS_MAX {
            self.tell(Event::Wakeup, input);
            if self.core.next_wakeup().is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("it is woken at {:?} without end", self.now);
    }

    /// A serving moves, or ends.
    fn serve(&mut self, input: &mut Input<'_>) {
        let (index, moves) = (input.below(self.serving.len()), input.byte().is_multiple_of(2));
        let Some((to, chunk)) = self.serving.get(index).copied() else {
            return;
        };
        if moves {
            self.tell(Event::ServingProgress { to, chunk }, input);
        } else {
            self.serving.remove(index);
            self.tell(Event::ChunkServed { to, chunk }, input);
        }
    }

    fn lose_or_find(&mut self, input: &mut Input<'_>) {
        let Some(chunk) = self.chunk(input) else {
            return;
        };
        let Some(store) = &mut self.store else {
            return;
        };
        if store.remove(chunk) {
            self.tell(Event::ChunkLost { chunk }, input);
        } else {
            store.insert(chunk);
            self.tell(Event::ChunkFound { chunk }, input);
        }
    }

    /// A chunk of the build, where there is a store for it.
    fn chunk(&self, input: &mut Input<'_>) -> Option<ChunkIndex> {
        let (store, manifest) = (self.store.as_ref()?, build(0));
        if store.len() != manifest.chunk_count() {
            return None;
        }
        manifest.chunk(u32::from(input.byte()) % manifest.chunk_count())
    }

    fn tell(&mut self, event: Event, input: &mut Input<'_>) {
        self.core.handle_event(self.now, event);
        self.carry_out(input);
    }

    fn carry_out(&mut self, input: &mut Input<'_>) {
        let mut left = ACTIONS_MAX;
        loop {
            while let Some(action) = self.core.poll_action() {
                left -= 1;
                assert!(
                    left > 0,
                    "one event has actions without end, the last of them {action:?}"
                );
                self.act(action, input);
            }
            match self.answers.pop_front() {
                Some(answer) => self.core.handle_event(self.now, answer),
                None => return,
            }
        }
    }

    fn act(&mut self, action: Action, input: &mut Input<'_>) {
        match action {
            Action::Connect(Contact { host, .. }) => self.dialled.push_back(host),
            Action::Disconnect { host, .. } => {
                self.connected.remove(&host);
                self.serving.retain(|(to, _)| *to != host);
            }
            Action::Send(host, message) => {
                assert!(
                    self.connected.contains(&host),
                    "{host} is not connected, and is sent {message:?}"
                );
                let (frame, mut out) = (Frame::Message(message), BytesMut::new());
                encode(&frame, &mut out);
                assert_eq!(decode(&mut out), Ok(Some(frame)), "what it says is no frame");
            }
            Action::OpenStore(manifest) => {
                assert!(self.store.is_none(), "there is a store already");
                let mut held = Bitfield::new(manifest.chunk_count());
                let there = input.byte();
                let known = manifest.chunks().filter(|chunk| there >> (chunk.get() % 8) & 1 == 1);
                // An update brings some of them along, and none most of the time.
                known.filter(|_| there & 0xc0 == 0xc0).for_each(|chunk| {
                    held.insert(chunk);
                });
                self.store = Some(held.clone());
                self.answers.push_back(Event::StoreOpened { held: Box::new(held) });
            }
            Action::ServeChunk { to, chunk } => {
                assert!(self.connected.contains(&to), "{to} is not connected, and is served");
                let store = self.store.as_ref().expect("who serves has a store");
                assert!(store.contains(chunk), "{chunk} is served and is not held");
                assert!(
                    !self.serving.contains(&(to, chunk)),
                    "{chunk} is being served to {to} already"
                );
                self.serving.push((to, chunk));
            }
            Action::StopServing { to, chunk } => {
                self.serving.retain(|serving| *serving != (to, chunk));
                self.answers.push_back(Event::ChunkServed { to, chunk });
            }
            Action::Complete => {
                assert!(!self.was_complete, "it is complete twice");
                assert!(
                    self.store.as_ref().is_some_and(Bitfield::is_full),
                    "it is complete and lacks chunks"
                );
                self.was_complete = true;
            }
            Action::Gossip(_) => panic!("there is no table to gossip to"),
            Action::Suspect { .. } | Action::Refuse { .. } => {}
        }
    }
}

/// The builds that there are: the first is the one that the seeder has.
pub(super) fn build(which: usize) -> Manifest {
    let size = [CHUNK * 11 + 5, CHUNK, CHUNK * 3][which % 3];
    let data = vec![u8::try_from(which % 3).expect("three"); size];
    Manifest::of(format!("build-{}.zip", which % 3), &data, 16 << 10).expect("a build")
}

fn message(input: &mut Input<'_>) -> Message {
    let chunk = u32::from(input.byte() % 14);
    let host = HostId::new(input.below(MEMBERS + 2) as u64);
    let address = || ByteBuffer::from_static(b"somewhere");
    match input.byte() % 22 {
        0 => Message::Hello {
            swarm: SwarmId::of_build("build-0.zip", "v"),
        },
        1 => Message::Announce {
            address: address(),
            wanted: chunk.try_into().unwrap_or_default(),
            complete: input.byte().is_multiple_of(2),
            zone: None,
            links: Box::default(),
        },
        2 => Message::Neighbours(vec![Contact {
            host,
            address: address(),
        }]),
        3 | 4 => Message::Build(Box::new(build(usize::from(input.byte().is_multiple_of(8))).info())),
        5 => Message::ManifestRequest,
        6 | 7 => Message::Manifest(std::sync::Arc::new(build(usize::from(input.byte().is_multiple_of(8))))),
        8 => Message::Have((chunk..chunk + u32::from(input.byte() % 4)).collect()),
        9 => Message::HaveAll,
        10 => Message::HaveRequest,
        11 | 12 => Message::Request {
            chunk,
            held: input.byte().into(),
        },
        13 => Message::Serving {
            chunk,
            waited: swarm::wire::Waited::of(Duration::from_millis(input.byte().into())),
        },
        14 => Message::Busy {
            waiting: chunk.is_multiple_of(2),
        },
        15 => Message::Invite { chunk },
        16 => Message::Offer((chunk..chunk + u32::from(input.byte() % 4)).collect()),
        17 => Message::Decline((chunk..chunk + u32::from(input.byte() % 4)).collect()),
        18 => Message::Cancel { chunk },
        19 => Message::Lost { chunk },
        20 => Message::NotServing { host, chunk },
        _ => Message::Complaint { host, chunk },
    }
}

/// Who is driven.
pub(super) const OWN: HostId = HostId::new(1);
/// The seeder of a peer, or a member of a seeder.
pub(super) const FIRST: HostId = HostId::new(0);
/// Members that there are, the own one among them.
const MEMBERS: usize = 9;
const CHUNK: usize = 16 << 10;
const ACTIONS_MAX: usize = 10_000;
const WAKEUPS_MAX: usize = 64;
