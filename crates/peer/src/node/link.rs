//! A connection as the rest of its node sees it: what is to be sent on it and, while the connection's task has nothing to
//! write, the writing half of the stream itself. Whoever has a message writes it then and there: to wake a task for the few
//! bytes of a message costs more than all that is done with the message.
//!
//! Invariant: one writes at a time, whoever holds the outlet. Messages keep their order: none passes one that waits in the
//! outbox, and none comes between the parts of something that the task writes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::AsyncWrite;
use libp2p::PeerId;
use libp2p::swarm::ConnectionId;
use swarm::wire::{self, DataHeader, Frame};
use swarm::{ChunkIndex, HostId, Time, ZoneId};

use super::downlinks::Downlink;
use super::transport::poll_through;

/// One connection. `W` is the writing half of its stream.
pub(super) struct Link<W> {
    pub(super) connection: ConnectionId,
    /// Chunks to be sent, the first of which is being sent.
    pub(super) serving: VecDeque<Serving>,
    /// Of the host at the other end, where that is known: each of both waits for the other's then.
    pub(super) downlink: Option<Downlink>,
    /// Control frames that the stream did not take at once.
    outbox: BytesMut,
    parked: Option<Parked<W>>,
    /// Who has proven to be at the other end, and since when.
    peer: PeerMark,
    since: Time,
    /// The address that is its own.
    pub(super) claimed: Option<(IpAddr, u16)>,
    /// Its zone, where that is known.
    pub(super) zone: Option<ZoneId>,
    /// It is no member any more, or this process is none: what is under way is finished, and nothing begun.
    pub(super) ends: bool,
    /// A chunk of it is being received.
    pub(super) receives: bool,
    /// Bytes of chunks that it was asked for and has not sent: it sends no others.
    asked: u64,
    /// Manifests that it may send: one for each time it was asked, and a seeder one with its build.
    pub(super) manifests_owed: u8,
}

/// Who is at the other end, in as few bytes as tell: there are very many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerMark {
    number: HostId,
    /// What else its key hashes to: who has found another key with a seeder's number is not that seeder.
    more: u64,
}

impl PeerMark {
    pub(super) fn of(peer: PeerId) -> Self {
        let [number, more] = super::numbers_of(peer);
        Self {
            number: HostId::new(number),
            more,
        }
    }

    /// All that is known of it here.
    pub(super) const fn words(self) -> [u64; 2] {
        [self.number.get(), self.more]
    }

    /// Its number in a swarm, which goes with its key: nobody has another's.
    pub(super) const fn number(self) -> HostId {
        self.number
    }
}

/// A chunk that is being sent.
pub(super) struct Serving {
    pub(super) chunk: ChunkIndex,
    /// Tells this serving from an earlier one of the same chunk that was cancelled, of which a segment may still be waiting
    /// for its time.
    pub(super) ticket: u64,
    pub(super) bytes: Option<Bytes>,
    pub(super) sent: u32,
    /// When the core was last told that bytes go out, or when they began to.
    pub(super) told_at: Option<Time>,
}

/// The outlet of a task that has nothing to write.
struct Parked<W> {
    outlet: W,
    /// Of the task.
    task: Waker,
    unflushed: bool,
}

impl<W: AsyncWrite + Unpin> Link<W> {
    /// A link whose task holds the outlet.
    pub(super) fn new(connection: ConnectionId, peer: PeerMark, since: Time, downlink: Option<Downlink>) -> Self {
        Self {
            connection,
            serving: VecDeque::new(),
            downlink,
            outbox: BytesMut::new(),
            parked: None,
            peer,
            since,
            claimed: None,
            zone: None,
            ends: false,
            receives: false,
            asked: 0,
            manifests_owed: 0,
        }
    }

    /// It is asked for a chunk of so many bytes.
    pub(super) const fn ask(&mut self, length: u32) {
        self.asked = self.asked.saturating_add(length as u64);
    }

    /// It sends so many bytes of a chunk. `false` where more than it was ever asked for comes.
    pub(super) const fn sends(&mut self, length: u32) -> bool {
        let left = self.asked.checked_sub(length as u64);
        if let Some(left) = left {
            self.asked = left;
        }
        left.is_some()
    }

    /// Who has proven to be at the other end.
    pub(super) const fn peer(&self) -> PeerMark {
        self.peer
    }

    /// Whether another connection of `peer` takes this one's place: who connects again has lost the first, though that may not
    /// show here. Two that dial each other at once keep the first.
    pub(super) fn gives_way_to(&self, peer: PeerMark, now: Time) -> bool {
        self.peer == peer && now.since(self.since) >= SURELY_MADE
    }

    /// Sends a control frame: at once where the outlet is here, else as soon as the task is through with what it writes. How
    /// many bytes it has.
    pub(super) fn post(&mut self, frame: &Frame) -> usize {
        match &mut self.parked {
            Some(parked) if self.outbox.is_empty() => ENCODED.with_borrow_mut(|encoded| {
                encoded.clear();
                wire::encode(frame, encoded);
                let length = encoded.len();
                let written = parked.write(encoded);
                if written < length {
                    self.outbox.extend_from_slice(&encoded[written..]);
                    parked.task.wake_by_ref();
                }
                if encoded.capacity() > ENCODED_CAPACITY_KEPT {
                    *encoded = BytesMut::new();
                }
                length
            }),
            // The task was woken when the outbox began to fill, or looks into it before it parks the outlet.
            _ => {
                let before = self.outbox.len();
                wire::encode(frame, &mut self.outbox);
                self.outbox.len() - before
            }
        }
    }

    /// Whether the stream did not take at once what was written: the task sees to it.
    pub(super) fn is_stuck(&self) -> bool {
        !self.outbox.is_empty() || self.parked.as_ref().is_some_and(|parked| parked.unflushed)
    }

    /// Bytes that wait because the stream does not take them.
    pub(super) fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Adds a chunk to be sent. Whether the task has to come for it: it is woken unless it is `awake`. One that is writing asks
    /// for more anyway.
    pub(super) fn serve(&mut self, chunk: ChunkIndex, ticket: u64, awake: bool) -> bool {
        self.serving.push_back(Serving {
            chunk,
            ticket,
            bytes: None,
            sent: 0,
            told_at: None,
        });
        let parked = self.parked.as_ref().filter(|_| self.serving.len() == 1);
        if let Some(parked) = parked.filter(|_| !awake) {
            parked.task.wake_by_ref();
        }
        parked.is_some()
    }

    /// Gives up on a chunk. Whether the other side has seen a part of it.
    pub(super) fn stop_serving(&mut self, chunk: ChunkIndex) -> bool {
        let begun = self.serving.iter().any(|s| s.chunk == chunk && s.sent > 0);
        self.serving.retain(|serving| serving.chunk != chunk);
        begun
    }

    /// Whether this serving is the one that is being sent.
    pub(super) fn is_serving(&self, ticket: u64) -> bool {
        self.serving.front().is_some_and(|serving| serving.ticket == ticket)
    }

    /// What waits in the outbox; the outlet is the task's then.
    pub(super) fn take_outbox(&mut self, outlet: &mut Option<W>) -> Option<Bytes> {
        if self.outbox.is_empty() {
            return None;
        }
        self.take_outlet(outlet);
        Some(self.outbox.split().freeze())
    }

    /// The task needs the outlet: it is going to write more than a message.
    pub(super) fn take_outlet(&mut self, outlet: &mut Option<W>) {
        if let Some(parked) = self.parked.take() {
            *outlet = Some(parked.outlet);
        }
    }

    /// The task has nothing to write for now: others may. What was written is flushed, here or when the task is woken for it.
    pub(super) fn park(&mut self, outlet: &mut Option<W>, cx: &mut Context<'_>) {
        if let Some(outlet) = outlet.take() {
            self.parked = Some(Parked {
                outlet,
                task: cx.waker().clone(),
                unflushed: true,
            });
        }
        if let Some(parked) = self.parked.as_mut().filter(|parked| parked.unflushed) {
            parked.flush(cx);
        }
    }
}

/// What the parked outlet knows.
impl<W: AsyncWrite + Unpin> Link<W> {
    /// Whether no more than so many bytes of what was written are on their way. Where there are more the task is woken for another look. Of a
    /// connection that is broken there are none: who reads sees why.
    pub(super) fn is_through(&mut self, on_its_way_max: u32, cx: &mut Context<'_>) -> bool {
        let outlet = self.parked.as_mut().map(|parked| Pin::new(&mut parked.outlet));
        outlet.is_none_or(|outlet| poll_through(outlet, cx, on_its_way_max).is_ready())
    }
}

impl<W: AsyncWrite + Unpin> Parked<W> {
    /// How much the stream took. Where that is not all, the task finds out why.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let Self {
            outlet,
            task,
            unflushed,
        } = self;
        let cx = &mut Context::from_waker(task);
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut *outlet).poll_write(cx, &bytes[written..]) {
                Poll::Ready(Ok(count)) if count > 0 => written += count,
                _ => break,
            }
        }
        *unflushed = Pin::new(outlet).poll_flush(cx).is_pending();
        written
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        // An error will be seen by who reads.
        self.unflushed = Pin::new(&mut self.outlet).poll_flush(cx).is_pending();
    }
}

/// What tells the other side that no more of a chunk will come.
pub(super) fn abort(chunk: ChunkIndex) -> Frame {
    Frame::Data(DataHeader {
        chunk: chunk.get(),
        offset: 0,
        length: 0,
    })
}

thread_local! {
    /// Where a message is encoded on its way into a stream.
    static ENCODED: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Two hosts that dial each other at once do so within this.
const SURELY_MADE: Duration = Duration::from_secs(5);
/// A manifest may need more; what did is not kept for the thread's life.
const ENCODED_CAPACITY_KEPT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use swarm::{Manifest, Message};

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A stream that takes so many bytes and is flushed so many times.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
        flushes: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let taken = buf.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.taken.extend_from_slice(&buf[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.flushes == 0 {
                return Poll::Pending;
            }
            self.flushes -= 1;
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A chunk of a build of eight.
    fn chunk_of(index: u32) -> ChunkIndex {
        Manifest::of("build", &[0; 8 * 1024], 1024)
            .unwrap()
            .chunk(index)
            .unwrap()
    }

    fn parked(room: usize, flushes: usize) -> (Link<Narrow>, Arc<Wakes>) {
        let wakes = Arc::<Wakes>::default();
        let mut link = Link::new(
            ConnectionId::new_unchecked(1),
            PeerMark::of(PeerId::random()),
            Time::ZERO,
            None,
        );
        let taken = Vec::new();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut outlet = Some(Narrow { taken, room, flushes });
        link.park(&mut outlet, &mut Context::from_waker(&waker));
        assert!(outlet.is_none());
        (link, wakes)
    }

    fn frames() -> [Frame; 3] {
        [1, 2, 3].map(|chunk| Frame::Message(Message::Cancel { chunk }))
    }

    fn encoded(frames: &[Frame]) -> BytesMut {
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| wire::encode(frame, &mut bytes));
        bytes
    }

    #[test]
    fn a_message_for_an_idle_connection_is_written_without_waking_its_task() {
        let (mut link, wakes) = parked(usize::MAX, usize::MAX);
        let lengths: Vec<usize> = frames().iter().map(|frame| link.post(frame)).collect();
        let expected = encoded(&frames());
        assert_eq!(lengths.iter().sum::<usize>(), expected.len());
        let parked = link.parked.as_ref().unwrap();
        assert_eq!(parked.outlet.taken, expected);
        assert!(!parked.unflushed);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_the_stream_does_not_take_keeps_its_order_and_wakes_the_task_once() {
        let expected = encoded(&frames());
        for room in 0..expected.len() {
            let (mut link, wakes) = parked(room, usize::MAX);
            frames().iter().for_each(|frame| _ = link.post(frame));
            // More room now would let the last frame pass the others.
            assert_eq!(link.waiting(), expected.len() - room);
            assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
            let mut outlet = None;
            let rest = link.take_outbox(&mut outlet).unwrap();
            let mut all = outlet.unwrap().taken;
            all.extend_from_slice(&rest);
            assert_eq!(all, expected);
        }
    }

    #[test]
    fn nothing_comes_between_the_parts_of_what_the_task_writes() {
        let (mut link, _wakes) = parked(usize::MAX, usize::MAX);
        let mut outlet = None;
        link.take_outlet(&mut outlet);
        link.post(&frames()[0]);
        assert!(outlet.as_ref().unwrap().taken.is_empty());
        assert_eq!(link.take_outbox(&mut outlet).unwrap(), encoded(&frames()[..1]));
        assert!(outlet.is_some());
    }

    #[test]
    fn messages_do_not_wait_for_a_flush_and_the_task_does_it_when_it_is_woken() {
        let (mut link, wakes) = parked(usize::MAX, 0);
        frames().iter().for_each(|frame| _ = link.post(frame));
        let parked = link.parked.as_mut().unwrap();
        assert_eq!(parked.outlet.taken, encoded(&frames()));
        parked.outlet.flushes = 1;
        assert!(link.is_stuck());
        let waker = Waker::from(wakes);
        link.park(&mut None, &mut Context::from_waker(&waker));
        assert!(!link.is_stuck());
    }

    #[test]
    fn a_chunk_is_through_when_the_stream_says_so_and_messages_pass_it_meanwhile() {
        let (mut link, wakes) = parked(usize::MAX, 0);
        let waker = Waker::from(wakes);
        let cx = &mut Context::from_waker(&waker);
        link.serve(chunk_of(1), 1, true);
        assert!(!link.is_through(1, cx));
        link.post(&frames()[0]);
        let parked = link.parked.as_mut().unwrap();
        assert_eq!(parked.outlet.taken, encoded(&frames()[..1]));
        parked.outlet.flushes = 1;
        assert!(link.is_through(1, cx));
    }

    #[test]
    fn a_task_is_woken_for_the_first_of_its_chunks_unless_it_is_awake() {
        let woken = |awake: bool, chunks: u32| {
            let (mut link, wakes) = parked(usize::MAX, usize::MAX);
            let comes = (0..chunks).filter(|chunk| link.serve(chunk_of(*chunk), u64::from(*chunk), awake));
            (comes.count(), wakes.0.load(Ordering::Relaxed))
        };
        assert_eq!(
            [woken(false, 1), woken(false, 3), woken(true, 1)],
            [(1, 1), (1, 1), (1, 0)]
        );
    }

    #[test]
    fn a_task_that_writes_need_not_come_for_a_chunk() {
        let (mut link, wakes) = parked(usize::MAX, usize::MAX);
        assert!(!link.is_stuck());
        link.take_outlet(&mut None);
        assert!(!link.serve(chunk_of(1), 1, false));
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    }
}
