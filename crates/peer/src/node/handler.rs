//! One connection: a single long-lived stream both ways, frames and payload on it, chunks hashed as they come.
//!
//! Payload is read into a buffer of the thread and from there into the hasher, so a connection that waits owns no
//! buffer; it is written from the store's own bytes. Control frames go before payload that still waits for its time.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionId, Stream, StreamProtocol, SubstreamProtocol};
use swarm::wire::{self, DataHeader, Frame};
use swarm::{HostId, Message};
use tokio::time::Sleep;

use super::shared::{Incoming, Outgoing, Segment, Shared};
use super::transport::write_shared;
use crate::store::ChunkSink;

/// What a handler tells its behaviour: this connection is of no more use.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) reason: &'static str,
}

pub(super) struct Handler {
    shared: Arc<Shared>,
    connection: ConnectionId,
    /// Whom we dialled, where we did.
    expected: Option<HostId>,
    open_stream: bool,
    stream: Option<Stream>,
    /// Who is at the other end, once it has said so.
    remote: Option<HostId>,
    closing: Option<&'static str>,
    closed: bool,
    writer: Writer,
    reader: Reader,
}

#[derive(Default)]
struct Writer {
    /// Bytes to write now, before the payload.
    control: Bytes,
    payload: Bytes,
    /// The segment that is being written or waits for its time.
    segment: Option<Segment>,
    departing: bool,
    timer: Option<Pin<Box<Sleep>>>,
    unflushed: bool,
}

#[derive(Default)]
struct Reader {
    frame: BytesMut,
    payload: Option<Payload>,
    sink: Option<ChunkSink>,
    /// The segment just read has not passed the downlink yet.
    gate: Option<Pin<Box<Sleep>>>,
}

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

impl Handler {
    pub(super) fn new(shared: Arc<Shared>, connection: ConnectionId, expected: Option<HostId>, dialler: bool) -> Self {
        let mut hello = BytesMut::new();
        let message = Message::Hello { host: shared.host };
        wire::encode(&Frame::Message(message), &mut hello);
        Self {
            shared,
            connection,
            expected,
            open_stream: dialler,
            stream: None,
            remote: None,
            closing: None,
            closed: false,
            writer: Writer {
                control: hello.freeze(),
                ..Writer::default()
            },
            reader: Reader::default(),
        }
    }

    /// Moves bytes until neither side can go on.
    fn pump(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..ROUNDS_PER_POLL {
            let written = self.pump_writer(cx)?;
            let read = self.pump_reader(cx)?;
            if !written && !read {
                return Ok(());
            }
        }
        // Others want the thread too.
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn pump_writer(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        loop {
            match self.write_once(cx) {
                Poll::Ready(Ok(true)) => progress = true,
                Poll::Ready(Ok(false)) | Poll::Pending => return Ok(progress),
                Poll::Ready(Err(end)) => return Err(end),
            }
        }
    }

    /// `Ready(true)` where it may go on, `Ready(false)` where there is nothing to write.
    fn write_once(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(false));
        };
        let mut stream = Pin::new(stream);
        let writer = &mut self.writer;
        if !writer.control.is_empty() {
            let written = ready!(write_shared(stream, cx, &writer.control))?;
            writer.control.advance(written);
            writer.unflushed = true;
            return Poll::Ready(Ok(true));
        }
        if writer.departing && !writer.payload.is_empty() {
            let written = ready!(write_shared(stream, cx, &writer.payload))?;
            writer.payload.advance(written);
            writer.unflushed = true;
            return Poll::Ready(Ok(true));
        }
        let Some(remote) = self.remote else {
            return flush(stream, writer, cx);
        };
        if writer.departing {
            writer.departing = false;
            if let Some(segment) = writer.segment.take() {
                self.shared.segment_written(remote, &segment);
            }
            return Poll::Ready(Ok(true));
        }
        if let Some(segment) = &writer.segment {
            let timer_is_due = match &mut writer.timer {
                Some(timer) => timer.as_mut().poll(cx).is_ready(),
                None => true,
            };
            if timer_is_due {
                writer.timer = None;
                if self.shared.is_serving(remote, segment.ticket) {
                    let mut header = BytesMut::new();
                    wire::encode(&Frame::Data(segment.header), &mut header);
                    writer.control = header.freeze();
                    writer.payload = segment.payload.clone();
                    writer.departing = true;
                } else {
                    writer.segment = None;
                }
                return Poll::Ready(Ok(true));
            }
            // Messages do not wait for the payload's time.
            return match self.shared.next_control(remote, self.connection, cx) {
                Some(control) => {
                    writer.control = control;
                    Poll::Ready(Ok(true))
                }
                None => flush(stream, writer, cx),
            };
        }
        match self.shared.next_outgoing(remote, self.connection, cx) {
            Outgoing::Control(control) => writer.control = control,
            Outgoing::Segment(segment) => {
                if segment.departs > self.shared.clock.now() {
                    let at = self.shared.clock.instant(segment.departs);
                    writer.timer = Some(Box::pin(tokio::time::sleep_until(at.into())));
                }
                writer.segment = Some(segment);
            }
            Outgoing::Read(store, chunk) => {
                let read = without_blocking(|| store.read(chunk));
                self.shared.provide(remote, chunk, read);
            }
            Outgoing::Nothing => {
                stream = Pin::new(self.stream.as_mut().expect("it was there above"));
                return flush(stream, &mut self.writer, cx);
            }
            Outgoing::Closed => return Poll::Ready(Err(End::Violation("not a neighbour any more"))),
        }
        Poll::Ready(Ok(true))
    }

    fn pump_reader(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut progress = false;
        SCRATCH.with_borrow_mut(|scratch| {
            for _ in 0..READS_PER_ROUND {
                match self.read_once(cx, scratch) {
                    Poll::Ready(Ok(())) => progress = true,
                    Poll::Ready(Err(end)) => return Err(end),
                    Poll::Pending => break,
                }
            }
            Ok(())
        })?;
        Ok(progress)
    }

    fn read_once(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Result<(), End>> {
        if let Some(gate) = &mut self.reader.gate {
            ready!(gate.as_mut().poll(cx));
            self.reader.gate = None;
            self.segment_received();
            return Poll::Ready(Ok(()));
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Pending;
        };
        let reader = &mut self.reader;
        let wanted = match &reader.payload {
            Some(payload) => (payload.left as usize).min(scratch.len()),
            None => frame_bytes_missing(&reader.frame)?.min(scratch.len()),
        };
        let count = ready!(Pin::new(stream).poll_read(cx, &mut scratch[..wanted]))?;
        if count == 0 {
            return Poll::Ready(Err(End::Closed));
        }
        let bytes = &scratch[..count];
        if let Some(payload) = &mut reader.payload {
            if payload.keep {
                payload.keep = reader.sink.as_mut().is_some_and(|sink| sink.write(bytes));
            }
            payload.left -= u32::try_from(count).expect("at most the scratch buffer's length");
            if payload.left == 0 {
                match self.shared.pass_downlink(payload.header.length) {
                    Some(at) => {
                        let at = self.shared.clock.instant(at);
                        reader.gate = Some(Box::pin(tokio::time::sleep_until(at.into())));
                    }
                    None => self.segment_received(),
                }
            }
            return Poll::Ready(Ok(()));
        }
        reader.frame.extend_from_slice(bytes);
        match wire::decode(&mut reader.frame) {
            Ok(None) => Poll::Ready(Ok(())),
            Ok(Some(frame)) => {
                // A buffer that once held a manifest is not kept for the connection's life.
                if reader.frame.is_empty() && reader.frame.capacity() > FRAME_CAPACITY_KEPT {
                    reader.frame = BytesMut::new();
                }
                Poll::Ready(self.handle_frame(frame))
            }
            Err(error) => {
                tracing::warn!(host = %self.shared.host, remote = ?self.remote, %error, "malformed frame");
                Poll::Ready(Err(End::Violation("malformed frame")))
            }
        }
    }

    fn handle_frame(&mut self, frame: Frame) -> Result<(), End> {
        match (frame, self.remote) {
            (Frame::Message(Message::Hello { host }), None) => {
                if self.expected.is_some_and(|expected| expected != host) {
                    return Err(End::Violation("not the host that was dialled"));
                }
                if !self.shared.link_up(host, self.connection) {
                    return Err(End::Violation("connected already"));
                }
                self.remote = Some(host);
                Ok(())
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
                        self.reader.sink = Some(sink);
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
                self.reader.payload = (left > 0).then_some(Payload { header, left, keep });
                Ok(())
            }
        }
    }

    /// A segment is here as a whole and has passed the downlink.
    fn segment_received(&mut self) {
        let (Some(payload), Some(remote)) = (self.reader.payload.take(), self.remote) else {
            return;
        };
        if !payload.keep {
            self.shared.discarded(payload.header.length);
            return;
        }
        if let Some(sink) = self.reader.sink.take_if(|sink| sink.is_whole()) {
            let (chunk, length) = (sink.chunk(), sink.received());
            let received = if sink.is_blocking() {
                without_blocking(|| sink.finish())
            } else {
                sink.finish()
            };
            self.shared.chunk_received(remote, chunk, length, received);
        }
    }

    fn abandon_sink(&mut self) {
        if let Some(sink) = self.reader.sink.take() {
            self.shared.discarded(sink.received());
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Closing;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()).with_timeout(NEGOTIATION_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        !self.closed
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if std::mem::take(&mut self.open_stream) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: self.listen_protocol(),
            });
        }
        if !self.closed && self.closing.is_none() {
            match self.pump(cx) {
                Ok(()) => {}
                Err(End::Closed) => self.closing = Some("closed by the other side"),
                Err(End::Violation(reason)) => self.closing = Some(reason),
            }
        }
        if let Some(reason) = self.closing.take() {
            self.closed = true;
            self.stream = None;
            self.abandon_sink();
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Closing { reason }));
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
            | ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. })
                if self.stream.is_none() =>
            {
                self.stream = Some(protocol);
            }
            ConnectionEvent::DialUpgradeError(_) => self.closing = Some("the other side does not speak the protocol"),
            _ => {}
        }
    }
}

/// `Ready(false)` when everything is flushed: there is nothing more to do.
fn flush(stream: Pin<&mut Stream>, writer: &mut Writer, cx: &mut Context<'_>) -> Poll<Result<bool, End>> {
    if writer.unflushed {
        ready!(stream.poll_flush(cx))?;
        writer.unflushed = false;
    }
    Poll::Ready(Ok(false))
}

/// How many more bytes the frame in `buffer` needs, or its length prefix.
fn frame_bytes_missing(buffer: &[u8]) -> Result<usize, End> {
    let Some(prefix) = buffer.first_chunk::<4>() else {
        return Ok(4 - buffer.len());
    };
    let length = u32::from_le_bytes(*prefix) as usize;
    if length > wire::FRAME_LENGTH_MAX {
        return Err(End::Violation("frame beyond the limit"));
    }
    // Never zero: a frame of no bytes is decoded, and refused, as soon as its prefix is here.
    Ok((4 + length - buffer.len()).max(1))
}

/// Runs what may wait for a disk without holding up other tasks of this thread.
fn without_blocking<T>(run: impl FnOnce() -> T) -> T {
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

/// Bytes read at a time: large enough to be cheap, small enough to stay in the cache until it is hashed.
const SCRATCH_LENGTH: usize = 64 << 10;
/// Times that a connection reads and writes before others get the thread.
const ROUNDS_PER_POLL: usize = 16;
/// Reads before it is looked whether there is something to write.
const READS_PER_ROUND: usize = 16;
/// Capacity that a connection's frame buffer may keep.
const FRAME_CAPACITY_KEPT: usize = 512;
/// A stream may be negotiated this late on a busy machine.
const NEGOTIATION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

const PROTOCOL: StreamProtocol = StreamProtocol::new(wire::PROTOCOL_NAME);
