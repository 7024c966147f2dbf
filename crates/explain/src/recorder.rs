//! What is kept of hosts while they run: a few words for each chunk that is recorded, and nothing else that grows.

use swarm::{Action, ChunkIndex, Event, HostId, Message, Time};

use crate::records::{Asked, ChunkRecord, HostRecord};
use crate::{Sample, ticks};

/// What passes at the border of the cores of some hosts, as far as it is kept.
///
/// A driver shows it each event that it tells a host's core ([`Recorder::event`]) and each action that it takes from it
/// ([`Recorder::action`]). Each chunk that is recorded takes 32 bytes for each host, and a host 12: nothing grows.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    sample: Sample,
    /// By host.
    hosts: Vec<Marks>,
    /// By host and place in the sample, in one piece: each event looks at one line of the cache.
    chunks: Vec<Kept>,
}

/// What is kept of a host.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    learned: u32,
    opened: u32,
    complete: u32,
}

/// What is kept of a chunk. Two requests are: the first, and the last but for that.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    at: [u32; 2],
    of: [u32; 2],
    began: [u32; 2],
    stored: u32,
    /// Which of the two has sent it, where it is stored; more than 1 where neither has.
    from: u8,
    asks: u8,
    refused: u8,
    failed: u8,
}

const _: () = assert!(size_of::<Kept>() == 32);

impl Recorder {
    /// Of so many hosts of which nothing has happened yet.
    pub fn new(sample: Sample, hosts: usize) -> Self {
        Self {
            hosts: vec![Marks::default(); hosts],
            chunks: vec![Kept::default(); hosts * sample.len()],
            sample,
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

    /// The core of the host at this place is told of this.
    #[inline]
    pub fn event(&mut self, host: usize, now: Time, event: &Event) {
        match event {
            Event::Message(from, Message::Serving { chunk, .. }) => self.began(host, now, *from, *chunk),
            Event::ChunkProgress { from, chunk } => self.began(host, now, *from, chunk.get()),
            Event::ChunkStored { from, chunk } => self.stored(host, now, *from, chunk.get()),
            Event::Message(_, Message::Reject { chunk, .. }) => {
                self.note(host, *chunk, |kept| kept.refused = kept.refused.saturating_add(1));
            }
            Event::ChunkCorrupt { chunk, .. } | Event::ChunkAborted { chunk, .. } => {
                self.note(host, chunk.get(), |kept| kept.failed = kept.failed.saturating_add(1));
            }
            // It is fetched anew, and that is what counts then.
            Event::ChunkLost { chunk } => self.note(host, chunk.get(), |kept| *kept = Kept::default()),
            Event::ChunkFound { chunk } => self.found(host, now, *chunk),
            Event::Message(_, Message::Build(_)) => self.mark(host, now, |marks| &mut marks.learned),
            Event::StoreOpened { held } => {
                for chunk in held.iter() {
                    self.found(host, now, chunk);
                }
            }
            _ => {}
        }
    }

    /// The core of the host at this place wants this done.
    #[inline]
    pub fn action(&mut self, host: usize, now: Time, action: &Action) {
        match action {
            Action::Send(to, Message::Request { chunk, .. }) => self.asked(host, now, *to, *chunk),
            Action::OpenStore(_) => self.mark(host, now, |marks| &mut marks.opened),
            Action::Complete => self.mark(host, now, |marks| &mut marks.complete),
            _ => {}
        }
    }

    /// What was recorded of the host at this place. It names members by [`Recorder::named`]: [`HostRecord::renumber`] gives them their
    /// numbers.
    pub fn record(&self, host: usize) -> HostRecord {
        let Marks {
            learned,
            opened,
            complete,
        } = self.hosts.get(host).copied().unwrap_or_default();
        let own = host * self.sample.len()..(host + 1) * self.sample.len();
        let chunks = self.chunks.get(own).unwrap_or_default().iter().map(|kept| ChunkRecord {
            asked: [0, 1].map(|slot| Asked {
                at: kept.at[slot],
                of: kept.of[slot],
                began: kept.began[slot],
            }),
            stored: kept.stored,
            from: kept.from,
            asks: kept.asks,
            refused: kept.refused,
            failed: kept.failed,
        });
        HostRecord {
            learned,
            opened,
            complete,
            chunks: chunks.collect(),
            ..HostRecord::default()
        }
    }

    /// By what it names a member: the lower half of its number in the swarm. Where numbers are drawn two of ten thousand members have the
    /// same in one run of a hundred; whoever gives them their numbers takes such members for nobody.
    #[inline]
    pub const fn named(member: HostId) -> u32 {
        member.get() as u32
    }

    /// The first time that something happens counts.
    fn mark(&mut self, host: usize, now: Time, of: impl FnOnce(&mut Marks) -> &mut u32) {
        if let Some(at) = self.hosts.get_mut(host).map(of)
            && *at == 0
        {
            *at = ticks(now);
        }
    }

    #[inline]
    fn kept(&mut self, host: usize, chunk: u32) -> Option<&mut Kept> {
        let place = self.sample.place(chunk)?;
        self.chunks.get_mut(host * self.sample.len() + place)
    }

    fn asked(&mut self, host: usize, now: Time, of: HostId, chunk: u32) {
        if let Some(kept) = self.kept(host, chunk)
            && kept.stored == 0
        {
            let slot = usize::from(kept.asks > 0);
            kept.at[slot] = ticks(now);
            kept.of[slot] = Self::named(of);
            kept.began[slot] = 0;
            kept.asks = kept.asks.saturating_add(1);
        }
    }

    fn began(&mut self, host: usize, now: Time, from: HostId, chunk: u32) {
        if let Some(kept) = self.kept(host, chunk)
            && kept.stored == 0
            && let Some(slot) = kept.slot_of(Self::named(from))
            && kept.began[slot] == 0
        {
            kept.began[slot] = ticks(now);
        }
    }

    fn stored(&mut self, host: usize, now: Time, from: HostId, chunk: u32) {
        let from = Self::named(from);
        if let Some(kept) = self.kept(host, chunk)
            && kept.stored == 0
        {
            kept.stored = ticks(now);
            let slot = kept.slot_of(from).unwrap_or_else(|| {
                // It was asked between the two that are kept.
                kept.of[1] = from;
                kept.began[1] = 0;
                1
            });
            kept.from = u8::try_from(slot).unwrap_or(NOBODY);
        }
    }

    fn found(&mut self, host: usize, now: Time, chunk: ChunkIndex) {
        self.note(host, chunk.get(), |kept| {
            if kept.stored == 0 {
                kept.stored = ticks(now);
                kept.from = NOBODY;
            }
        });
    }

    fn note(&mut self, host: usize, chunk: u32, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.kept(host, chunk) {
            change(kept);
        }
    }
}

impl Kept {
    /// Which of the two requests was to this member, the later first.
    #[inline]
    fn slot_of(&self, member: u32) -> Option<usize> {
        [1, 0]
            .into_iter()
            .find(|slot| self.at[*slot] != 0 && self.of[*slot] == member)
    }
}

/// In place of a request: nobody has sent it, it was there.
pub(crate) const NOBODY: u8 = 2;
