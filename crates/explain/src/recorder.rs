//! What is kept of a host while it runs: a few words for each chunk that is recorded, and nothing else that grows.

use swarm::{Action, ChunkIndex, Event, HostId, Message, Time};

use crate::records::{Asked, ChunkRecord, HostRecord};
use crate::{Sample, ticks};

/// What passes at the border of one host's core, as far as it is kept.
///
/// A driver shows it each event that it tells the host's core ([`HostRecorder::event`]) and each action that it takes from it
/// ([`HostRecorder::action`]). Of all chunks that are recorded together it takes 28 bytes each.
#[derive(Clone, Debug, Default)]
pub struct HostRecorder {
    sample: Sample,
    learned: u32,
    opened: u32,
    complete: u32,
    /// Whom it had to do with; chunks name them by their place here.
    members: Vec<HostId>,
    /// By place in the sample; none before the first is asked for.
    chunks: Vec<Kept>,
}

/// What is kept of a chunk. Two requests are: the first, and the last but for that.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    at: [u32; 2],
    began: [u32; 2],
    stored: u32,
    of: [u16; 2],
    /// Which of the two has sent it, where it is stored; more than 1 where neither has.
    from: u8,
    asks: u8,
    refused: u8,
    failed: u8,
}

const _: () = assert!(size_of::<Kept>() == 28);

impl HostRecorder {
    /// Of a host of which nothing has happened yet.
    pub fn new(sample: Sample) -> Self {
        Self {
            sample,
            ..Self::default()
        }
    }

    /// Whether an event is of any use here: what is not need not be shown.
    #[inline]
    pub const fn wants_event(event: &Event) -> bool {
        matches!(
            event,
            Event::Message(_, Message::Serving { .. } | Message::Reject { .. } | Message::Build(_))
                | Event::StoreOpened { .. }
                | Event::ChunkProgress { .. }
                | Event::ChunkStored { .. }
                | Event::ChunkFound { .. }
                | Event::ChunkCorrupt { .. }
                | Event::ChunkAborted { .. }
                | Event::ChunkLost { .. }
        )
    }

    /// Likewise of an action.
    #[inline]
    pub const fn wants_action(action: &Action) -> bool {
        matches!(
            action,
            Action::Send(_, Message::Request { .. }) | Action::OpenStore(_) | Action::Complete
        )
    }

    /// The host's core is told of this.
    #[inline]
    pub fn event(&mut self, now: Time, event: &Event) {
        match event {
            Event::Message(from, Message::Serving { chunk, .. }) => self.began(now, *from, *chunk),
            Event::ChunkProgress { from, chunk } => self.began(now, *from, chunk.get()),
            Event::ChunkStored { from, chunk } => self.stored(now, *from, chunk.get()),
            Event::Message(_, Message::Reject { chunk, .. }) => {
                self.note(*chunk, |kept| kept.refused = kept.refused.saturating_add(1));
            }
            Event::ChunkCorrupt { chunk, .. } | Event::ChunkAborted { chunk, .. } => {
                self.note(chunk.get(), |kept| kept.failed = kept.failed.saturating_add(1));
            }
            // It is fetched anew, and that is what counts then.
            Event::ChunkLost { chunk } => self.note(chunk.get(), |kept| *kept = Kept::default()),
            Event::ChunkFound { chunk } => self.found(now, *chunk),
            Event::Message(_, Message::Build(_)) if self.learned == 0 => self.learned = ticks(now),
            Event::StoreOpened { held } => {
                self.reserve();
                for chunk in held.iter() {
                    self.found(now, chunk);
                }
            }
            _ => {}
        }
    }

    /// The host's core wants this done.
    #[inline]
    pub fn action(&mut self, now: Time, action: &Action) {
        match action {
            Action::Send(to, Message::Request { chunk, .. }) => self.asked(now, *to, *chunk),
            Action::OpenStore(_) if self.opened == 0 => self.opened = ticks(now),
            Action::Complete => self.complete = ticks(now),
            _ => {}
        }
    }

    /// Whom its chunks name, by place: see [`HostRecorder::record`].
    pub fn members(&self) -> &[HostId] {
        &self.members
    }

    /// What was recorded. It names members by their place in [`HostRecorder::members`]: [`HostRecord::renumber`] gives them their numbers.
    pub fn record(&self) -> HostRecord {
        let chunks = self.chunks.iter().map(|kept| ChunkRecord {
            asked: [0, 1].map(|place| Asked {
                at: kept.at[place],
                of: kept.of[place].into(),
                began: kept.began[place],
            }),
            stored: kept.stored,
            from: kept.from,
            asks: kept.asks,
            refused: kept.refused,
            failed: kept.failed,
        });
        HostRecord {
            learned: self.learned,
            opened: self.opened,
            complete: self.complete,
            chunks: chunks.collect(),
            ..HostRecord::default()
        }
    }

    fn asked(&mut self, now: Time, of: HostId, chunk: u32) {
        let Some(place) = self.sample.place(chunk) else {
            return;
        };
        self.reserve();
        let member = self.member(of);
        let kept = &mut self.chunks[place];
        if kept.stored != 0 {
            return;
        }
        let slot = usize::from(kept.asks > 0);
        kept.at[slot] = ticks(now);
        kept.of[slot] = member;
        kept.began[slot] = 0;
        kept.asks = kept.asks.saturating_add(1);
    }

    fn began(&mut self, now: Time, from: HostId, chunk: u32) {
        let Some(place) = self.sample.place(chunk) else {
            return;
        };
        let Some(from) = self.known(from) else {
            return;
        };
        if let Some(kept) = self.chunks.get_mut(place)
            && kept.stored == 0
            && let Some(slot) = kept.slot_of(from)
            && kept.began[slot] == 0
        {
            kept.began[slot] = ticks(now);
        }
    }

    fn stored(&mut self, now: Time, from: HostId, chunk: u32) {
        let Some(place) = self.sample.place(chunk) else {
            return;
        };
        self.reserve();
        let from = self.member(from);
        let kept = &mut self.chunks[place];
        if kept.stored != 0 {
            return;
        }
        kept.stored = ticks(now);
        let slot = kept.slot_of(from).unwrap_or_else(|| {
            // It was asked between the two that are kept.
            kept.of[1] = from;
            kept.began[1] = 0;
            1
        });
        kept.from = u8::try_from(slot).unwrap_or(NOBODY);
    }

    fn found(&mut self, now: Time, chunk: ChunkIndex) {
        self.reserve();
        self.note(chunk.get(), |kept| {
            if kept.stored == 0 {
                kept.stored = ticks(now);
                kept.from = NOBODY;
            }
        });
    }

    fn note(&mut self, chunk: u32, change: impl FnOnce(&mut Kept)) {
        if let Some(place) = self.sample.place(chunk)
            && let Some(kept) = self.chunks.get_mut(place)
        {
            change(kept);
        }
    }

    fn reserve(&mut self) {
        if self.chunks.is_empty() {
            self.chunks = vec![Kept::default(); self.sample.len()];
        }
    }

    fn known(&self, member: HostId) -> Option<u16> {
        let place = self.members.iter().position(|known| *known == member)?;
        u16::try_from(place).ok()
    }

    /// A host has a few dozen neighbours in its life; should it have more, those after count as one.
    fn member(&mut self, member: HostId) -> u16 {
        if let Some(known) = self.known(member) {
            return known;
        }
        if self.members.len() < MEMBERS_MAX {
            self.members.push(member);
        }
        u16::try_from(self.members.len() - 1).unwrap_or(u16::MAX)
    }
}

impl Kept {
    /// Which of the two requests was to this member, the later first.
    fn slot_of(&self, member: u16) -> Option<usize> {
        [1, 0]
            .into_iter()
            .find(|slot| self.at[*slot] != 0 && self.of[*slot] == member)
    }
}

/// In place of a request: nobody has sent it, it was there.
pub(crate) const NOBODY: u8 = 2;
/// Members that a host's chunks can name.
const MEMBERS_MAX: usize = 1 << 12;
