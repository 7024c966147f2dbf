//! The task of one connection: a single long-lived stream both ways, frames and payload on it, chunks hashed as they come.
//!
//! Payload is read into a buffer of the thread and from there into the hasher, so a connection that waits owns no
//! buffer; it is written from the store's own bytes, and where those come by reference they are hashed where they are. Control frames go before payload that still waits for its time.
//! It is a task of its own because libp2p's task of the connection asks after streams, commands and protocols whenever it is
//! woken, which costs more than a message does.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite as _};
use libp2p::swarm::{ConnectionId, Stream};
use swarm::wire::{self, DataHeader, Frame};
use swarm::{HostId, Message};

use super::link::PeerMark;
use super::receiving::{Incoming, read_much};
use super::sending::{Departure, Outgoing, Passage, Segment};
use super::shared::Shared;
use super::timer::Timer;
use super::transport::{Arrived, write_shared};
use crate::store::ChunkSink;

/// The half of a connection's stream that is written to.
pub(super) type Outlet = WriteHalf<Stream>;

/// Moves the bytes of one connection. There are very many, and nearly all that wake are woken for one message: what is
/// looked at then comes first, and what belongs to a chunk is apart.
#[repr(C)]
pub(super) struct Carrier {
    shared: Arc<Shared>,
    reader: Reader,
    /// Who is at the other end, once it has said so.
    remote: Option<HostId>,
    writer: Writer,
    connection: ConnectionId,
    /// Who has proven to be at the other end.
    peer: PeerMark,
}

#[repr(C)]
struct Reader {
    stream: ReadHalf<Stream>,
    frame: BytesMut,
    reads: Reads,
    /// When what has been read has passed the downlink.
    gate: Timer,
    /// The chunk that is being received.
    sink: Option<Box<ChunkSink>>,
}

/// What a connection's task reads.
enum Reads {
    Frames,
    /// The payload behind a header.
    Payload(Payload),
    /// Nothing: the payload that it has read passes the downlink.
    Gate(Payload),
}

#[repr(C)]
struct Writer {
    /// `None` while it is parked in the link.
    outlet: Option<Outlet>,
    /// Bytes to write now, before the payload.
    control: Bytes,
    sends: Sends,
    /// When the segment that waits is due.
    timer: Timer,
}

/// What a connection's task sends besides messages.
#[derive(Default)]
enum Sends {
    #[default]
    Nothing,
    /// A part of a chunk whose time has not come.
    Waits(Box<Segment>),
    /// One whose header is written or about to be, with what is left of its payload.
    Leaves(Box<Segment>),
    /// The last one of a chunk, which is written and may be on its way.
    Passes(Box<Segment>),
}

#[derive(Clone, Copy)]
struct Payload {
    header: DataHeader,
    left: u32,
    keep: bool,
}

/// Why a connection ends from within.
enum End {
    Closed,
    Violation(&'static str),
}

impl From<io::Error> for End {
    fn from(_error: io::Error) -> Self {
        Self::Closed
    }
}

impl Carrier {
    pub(super) fn new(shared: Arc<Shared>, (connection, peer): (ConnectionId, PeerMark), stream: Stream) -> Self {
        let mut hello = BytesMut::new();
        let message = Message::Hello { swarm: shared.swarm };
        wire::encode(&Frame::Message(message), &mut hello);
        let (inlet, outlet) = stream.split();
        Self {
            shared,
            connection,
            peer,
            remote: None,
            writer: Writer {
                outlet: Some(outlet),
                control: hello.freeze(),
                sends: Sends::Nothing,
                timer: Timer::default(),
            },
            reader: Reader {
                stream: inlet,
                frame: BytesMut::new(),
                reads: Reads::Frames,
                gate: Timer::default(),
                sink: None,
            },
        }
    }

    /// Moves bytes until the connection is of no more use; why it is not.
    pub(super) async fn carry(mut self) -> &'static str {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.abandon_sink();
        match end {
            End::Closed => "closed by the other side",
            End::Violation(reason) => reason,
        }
    }

    /// The other side has said who it is before there was this.
    ///
    /// # Errors
    /// Why the connection is not wanted.
    pub(super) fn greeted(mut self, hello: Frame) -> Result<Self, &'static str> {
        match self.handle_frame(hello) {
            Ok(()) => Ok(self),
            Err(End::Closed) => Err("closed by the other side"),
            Err(End::Violation(reason)) => Err(reason),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // What is read gives rise to what is written, and not the other way round.
        let read = self.pump_reader(cx);
        let went = read.and_then(|read| Ok(self.pump_writer(cx)? || read));
        match went {
            Ok(true) => {
                // Others want the thread too.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(false) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Writes until there is nothing to write or the stream takes no more. `true` where it could go on.
    fn pump_writer(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        for _ in 0..WRITES_PER_POLL {
            match self.write_once(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) | Poll::Pending => return Ok(false),
                Poll::Ready(Err(end)) => return Err(end),
            }
        }
        Ok(true)
    }

    /// `Ready(true)` where it may go on, `Ready(false)` where there is nothing to write.
    fn write_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let writer = &mut self.writer;
        if let Some(outlet) = &mut writer.outlet {
            if let Sends::Leaves(segment) = &mut writer.sends
                && !writer.control.is_empty()
            {
                // The header and its payload in one piece, where the stream can have that.
                let both = [IoSlice::new(&writer.control), IoSlice::new(&segment.payload)];
                let written = ready!(Pin::new(outlet).poll_write_vectored(cx, &both))?;
                let of_control = written.min(writer.control.len());
                writer.control.advance(of_control);
                segment.payload.advance(written - of_control);
                return Poll::Ready(Ok(true));
            }
            if !writer.control.is_empty() {
                let written = ready!(write_shared(Pin::new(outlet), cx, &writer.control))?;
                writer.control.advance(written);
                return Poll::Ready(Ok(true));
            }
            if let Sends::Leaves(segment) = &mut writer.sends
                && !segment.payload.is_empty()
            {
                let written = ready!(write_shared(Pin::new(outlet), cx, &segment.payload))?;
                segment.payload.advance(written);
                return Poll::Ready(Ok(true));
            }
        }
        let Some(remote) = self.remote else {
            return flush(writer, cx);
        };
        match std::mem::take(&mut writer.sends) {
            Sends::Leaves(segment) if segment.last => self.wait_for_passage(remote, segment, cx),
            Sends::Passes(segment) => self.wait_for_passage(remote, segment, cx),
            Sends::Leaves(segment) => {
                self.shared.segment_written(remote, &segment);
                Poll::Ready(Ok(true))
            }
            Sends::Waits(segment) => self.wait_for_departure(remote, segment, cx),
            Sends::Nothing => self.find_outgoing(remote, cx),
        }
    }

    /// A segment waits for its time; messages do not wait for it.
    fn wait_for_departure(
        &mut self,
        remote: HostId,
        segment: Box<Segment>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, End>> {
        let writer = &mut self.writer;
        let due = writer.timer.poll(cx).is_ready();
        let departure = self
            .shared
            .depart(remote, self.connection, segment.ticket, due, &mut writer.outlet, cx);
        let goes_on = match departure {
            Departure::Now => {
                let mut header = BytesMut::new();
                wire::encode(&Frame::Data(segment.header), &mut header);
                writer.control = header.freeze();
                writer.sends = Sends::Leaves(segment);
                true
            }
            Departure::Cancelled => true,
            Departure::Later(control) => {
                let goes_on = control.is_some();
                writer.control = control.unwrap_or_default();
                writer.sends = Sends::Waits(segment);
                goes_on
            }
            Departure::Closed => return Poll::Ready(Err(GONE)),
        };
        Poll::Ready(Ok(goes_on))
    }

    /// A chunk is served when most of it is through; messages do not wait for it.
    fn wait_for_passage(
        &mut self,
        remote: HostId,
        segment: Box<Segment>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, End>> {
        let writer = &mut self.writer;
        let goes_on = match self
            .shared
            .pass(remote, self.connection, &segment, &mut writer.outlet, cx)
        {
            Passage::Through => {
                self.shared.segment_written(remote, &segment);
                return Poll::Ready(Ok(true));
            }
            Passage::Later(control) => {
                let goes_on = control.is_some();
                writer.control = control.unwrap_or_default();
                goes_on
            }
            Passage::Closed => return Poll::Ready(Err(GONE)),
        };
        writer.sends = Sends::Passes(segment);
        Poll::Ready(Ok(goes_on))
    }

    fn find_outgoing(&mut self, remote: HostId, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let writer = &mut self.writer;
        match self
            .shared
            .next_outgoing(remote, self.connection, &mut writer.outlet, cx)
        {
            Outgoing::Control(control) => writer.control = control,
            Outgoing::Segment(segment) => {
                writer.timer.set(&self.shared, segment.departs);
                writer.sends = Sends::Waits(Box::new(segment));
            }
            Outgoing::Read(store, chunk) => {
                let read = without_blocking(|| store.read(chunk));
                self.shared.provide(remote, chunk, read);
            }
            Outgoing::Nothing => return Poll::Ready(Ok(false)),
            Outgoing::Closed => return Poll::Ready(Err(GONE)),
        }
        Poll::Ready(Ok(true))
    }

    /// Reads until nothing has come yet. `true` where there may be more.
    fn pump_reader(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        for _ in 0..READS_PER_POLL {
            match self.read_once(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(end)) => return Err(end),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        match self.reader.reads {
            Reads::Frames => self.read_frames(cx),
            Reads::Payload(payload) => SCRATCH.with_borrow_mut(|scratch| self.read_payload(payload, cx, scratch)),
            Reads::Gate(payload) => {
                ready!(self.reader.gate.poll(cx));
                self.segment_received(payload);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn read_frames(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let mut buffer = [0; FRAME_READ_MAX];
        let Ok(wanted) = wire::bytes_wanted(&self.reader.frame) else {
            return Poll::Ready(Err(End::Violation("frame beyond the limit")));
        };
        if !self.shared.takes(self.remote, self.reader.frame.len(), wanted) {
            return Poll::Ready(Err(End::Violation("a long frame that nobody asked for")));
        }
        let reader = &mut self.reader;
        let wanted = wanted.min(buffer.len());
        let count = ready!(Pin::new(&mut reader.stream).poll_read(cx, &mut buffer[..wanted]))?;
        if count == 0 {
            return Poll::Ready(Err(End::Closed));
        }
        reader.frame.extend_from_slice(&buffer[..count]);
        loop {
            match wire::decode(&mut self.reader.frame) {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(Some(frame)) => {
                    let frames = &mut self.reader.frame;
                    // A buffer that once held a manifest is not kept for the connection's life.
                    if frames.is_empty() && frames.capacity() > FRAME_CAPACITY_KEPT {
                        *frames = BytesMut::new();
                    }
                    self.handle_frame(frame)?;
                }
                Err(error) => {
                    tracing::warn!(host = %self.shared.host, remote = ?self.remote, %error, "malformed frame");
                    return Poll::Ready(Err(End::Violation("malformed frame")));
                }
            }
        }
    }

    fn read_payload(
        &mut self,
        mut payload: Payload,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
    ) -> Poll<Result<(), End>> {
        let reader = &mut self.reader;
        let wanted = (payload.left as usize).min(scratch.len());
        let arrived = ready!(read_much(&mut reader.stream, cx, &mut scratch[..wanted]))?;
        let bytes = match &arrived {
            Arrived::Copied(count) => &scratch[..*count],
            Arrived::Shared(bytes) => bytes,
        };
        if bytes.is_empty() {
            return Poll::Ready(Err(End::Closed));
        }
        if payload.keep {
            payload.keep = reader.sink.as_mut().is_some_and(|sink| sink.write(bytes));
        }
        payload.left -= u32::try_from(bytes.len()).expect("at most the scratch buffer's length");
        reader.reads = Reads::Payload(payload);
        if payload.left == 0 {
            match self.shared.pass_downlink(self.remote, payload.header.length) {
                Some(at) => {
                    reader.gate.set(&self.shared, at);
                    reader.reads = Reads::Gate(payload);
                }
                None => self.segment_received(payload),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), End> {
        match (frame, self.remote) {
            (Frame::Message(Message::Hello { swarm }), None) => {
                if swarm != self.shared.swarm {
                    return Err(End::Violation("of another swarm"));
                }
                self.remote = self.shared.link_up(self.connection, self.peer);
                self.remote
                    .map(|_| ())
                    .ok_or(End::Violation("connected already, or not who it seems"))
            }
            (Frame::Message(_) | Frame::Data(_), None) => Err(End::Violation("no hello")),
            (Frame::Message(message), Some(remote)) => {
                self.shared.handle_message(remote, message);
                Ok(())
            }
            (Frame::Data(header), Some(remote)) => {
                let receiving = self.reader.sink.as_ref().map(|sink| (sink.chunk(), sink.received()));
                let keep = match self.shared.begin_payload(remote, header, receiving) {
                    Incoming::Begin(sink) => {
                        self.abandon_sink();
                        self.reader.sink = Some(Box::new(sink));
                        true
                    }
                    Incoming::Continue => true,
                    Incoming::Discard => {
                        if receiving.is_some_and(|(chunk, _)| chunk.get() == header.chunk) {
                            self.abandon_sink();
                        }
                        false
                    }
                    Incoming::Violation => return Err(End::Violation("data that cannot be")),
                };
                let left = header.length;
                if left > 0 {
                    self.reader.reads = Reads::Payload(Payload { header, left, keep });
                }
                Ok(())
            }
        }
    }

    /// A segment is here as a whole and has passed the downlink.
    fn segment_received(&mut self, payload: Payload) {
        self.reader.reads = Reads::Frames;
        let Some(remote) = self.remote else {
            return;
        };
        if !payload.keep {
            self.shared.discarded(payload.header.length);
            return;
        }
        if let Some(sink) = self.reader.sink.take_if(|sink| sink.is_whole()) {
            self.shared.take_chunk(remote, sink);
        }
    }

    fn abandon_sink(&mut self) {
        if let Some(sink) = self.reader.sink.take() {
            self.shared.discarded(sink.received());
        }
    }
}

/// `Ready(false)` when everything is flushed: there is nothing more to do.
fn flush(writer: &mut Writer, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
    if let Some(outlet) = &mut writer.outlet {
        ready!(futures::AsyncWrite::poll_flush(Pin::new(outlet), cx))?;
    }
    Poll::Ready(Ok(false))
}

/// Runs what may wait for a disk without holding up other tasks of this thread.
pub(super) fn without_blocking<T>(run: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    }
}

thread_local! {
    /// Where payload is read to on its way to the hasher.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_LENGTH].into());
}

const GONE: End = End::Violation("not a neighbour any more");
/// Bytes read at a time: large enough to be cheap, small enough to stay in the cache until it is hashed.
const SCRATCH_LENGTH: usize = 64 << 10;
/// Bytes of a frame read at a time.
const FRAME_READ_MAX: usize = 512;
/// Reads before others get the thread.
const READS_PER_POLL: usize = 256;
/// Writes before others get the thread.
const WRITES_PER_POLL: usize = 64;
/// Capacity that a connection's frame buffer may keep.
const FRAME_CAPACITY_KEPT: usize = 512;
