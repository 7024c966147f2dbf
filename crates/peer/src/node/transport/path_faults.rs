//! Paths between the hosts of a run that break, or let nothing pass for a time: around the muxer of any transport.
//!
//! For runs only: who has these gives them to its endpoints, and says what becomes of what one peer sends to another. Invariant: what
//! is held is read as soon as it may pass, in its order and as a whole; a connection that was ended fails at once at the end whose
//! process ended it. What is held is held where it would be read, so that a sender goes on until the buffers between are full, as with a
//! cable that is pulled.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, StreamMuxerExt, SubstreamBox};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::pipe::remember;

/// What becomes of what one peer sends to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathState {
    /// It arrives.
    #[default]
    Open,
    /// It waits.
    Held,
    /// There is no connection, and none can be made.
    Refused,
}

/// Says what becomes of what the first sends to the second.
type Rule = dyn Fn(PeerId, PeerId) -> PathState + Send + Sync;

/// The paths of all peers of a process, by its clones.
#[derive(Clone)]
pub struct PathFaults(Arc<Paths>);

struct Paths {
    crossings: Mutex<Vec<Weak<Crossing>>>,
    /// Under the lock of `crossings` when it changes, so that no connection misses it.
    rule: watch::Sender<Arc<Rule>>,
    patience: Duration,
}

/// One end of a connection in this process.
struct Crossing {
    local: PeerId,
    remote: PeerId,
    is_held: AtomicBool,
    is_ended: AtomicBool,
    wakers: Mutex<Wakers>,
}

#[derive(Default)]
struct Wakers {
    connection: Option<Waker>,
    /// Of streams whose bytes are held. Nearly every connection has one.
    readers: Vec<Waker>,
}

impl Default for PathFaults {
    /// On which everything arrives.
    fn default() -> Self {
        Self::with_patience(DIAL_PATIENCE)
    }
}

impl fmt::Debug for PathFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathFaults").finish_non_exhaustive()
    }
}

impl PathFaults {
    /// A dial that nobody answers has failed after this.
    fn with_patience(patience: Duration) -> Self {
        let rule: Arc<Rule> = Arc::new(|_, _| PathState::Open);
        Self(Arc::new(Paths {
            crossings: Mutex::default(),
            rule: watch::Sender::new(rule),
            patience,
        }))
    }

    /// From now on `rule` says what becomes of what the first peer sends to the second. Connections that it refuses one way or the
    /// other end.
    pub fn change(&self, rule: impl Fn(PeerId, PeerId) -> PathState + Send + Sync + 'static) {
        let rule: Arc<Rule> = Arc::new(rule);
        let crossings = self.0.crossings.lock();
        self.0.rule.send_replace(Arc::clone(&rule));
        for crossing in crossings.iter().filter_map(Weak::upgrade) {
            crossing.follow(&*rule);
        }
    }

    /// The ends of connections that are in this process: who, and with whom.
    pub fn connections(&self) -> Vec<(PeerId, PeerId)> {
        let crossings = self.0.crossings.lock();
        let there = crossings.iter().filter_map(Weak::upgrade);
        let there = there.filter(|crossing| !crossing.is_ended.load(Ordering::Relaxed));
        there.map(|crossing| (crossing.local, crossing.remote)).collect()
    }

    /// Ends connections, each given as one of [`PathFaults::connections`].
    pub fn end(&self, connections: &[(PeerId, PeerId)]) {
        for crossing in self.0.crossings.lock().iter().filter_map(Weak::upgrade) {
            if connections.contains(&(crossing.local, crossing.remote)) {
                crossing.end();
            }
        }
    }

    /// The connection between these two, as soon as it can be made.
    ///
    /// # Errors
    /// Where it is refused, or nothing passes for as long as a dial is waited for.
    pub(super) async fn pass(self, local: PeerId, remote: PeerId, muxer: StreamMuxerBox) -> io::Result<Crossed> {
        let mut changes = self.0.rule.subscribe();
        let is_answered = |rule: &Arc<Rule>| rule(local, remote).max(rule(remote, local)) != PathState::Held;
        let answered = tokio::time::timeout(self.0.patience, changes.wait_for(is_answered)).await;
        answered
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(io::Error::other)?;
        let crossing = Arc::new(Crossing {
            local,
            remote,
            is_held: AtomicBool::new(false),
            is_ended: AtomicBool::new(false),
            wakers: Mutex::default(),
        });
        let mut crossings = self.0.crossings.lock();
        if crossings.len() == crossings.capacity() {
            crossings.retain(|crossing| crossing.strong_count() > 0);
        }
        crossings.push(Arc::downgrade(&crossing));
        let rule = Arc::clone(&self.0.rule.borrow());
        drop(crossings);
        crossing.follow(&*rule);
        if crossing.is_ended.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Crossed { inner: muxer, crossing })
    }
}

impl Crossing {
    fn follow(&self, rule: &Rule) {
        let (into, out) = (rule(self.remote, self.local), rule(self.local, self.remote));
        if into.max(out) == PathState::Refused {
            self.end();
            return;
        }
        self.is_held.store(into == PathState::Held, Ordering::SeqCst);
        if into == PathState::Open {
            let readers = std::mem::take(&mut self.wakers.lock().readers);
            readers.into_iter().for_each(Waker::wake);
        }
    }

    fn end(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        let Wakers { connection, readers } = std::mem::take(&mut *self.wakers.lock());
        readers.into_iter().chain(connection).for_each(Waker::wake);
    }

    /// Ready where something may be read.
    fn poll_readable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.is_held.load(Ordering::SeqCst) {
            let mut wakers = self.wakers.lock();
            if !wakers.readers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.readers.push(cx.waker().clone());
            }
            drop(wakers);
            // It may have been let go before the waker was there.
            if self.is_held.load(Ordering::SeqCst) && !self.is_ended.load(Ordering::SeqCst) {
                return Poll::Pending;
            }
        }
        Poll::Ready(self.check())
    }

    fn check(&self) -> io::Result<()> {
        if self.is_ended.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

/// A connection whose path may break.
pub(super) struct Crossed {
    inner: StreamMuxerBox,
    crossing: Arc<Crossing>,
}

impl StreamMuxer for Crossed {
    type Substream = CrossedStream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<CrossedStream>> {
        self.crossing.check()?;
        let stream = ready!(self.inner.poll_inbound_unpin(cx))?;
        Poll::Ready(Ok(self.around(stream)))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<CrossedStream>> {
        self.crossing.check()?;
        let stream = ready!(self.inner.poll_outbound_unpin(cx))?;
        Poll::Ready(Ok(self.around(stream)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close_unpin(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        remember(&mut self.crossing.wakers.lock().connection, cx);
        self.crossing.check()?;
        self.inner.poll_unpin(cx)
    }
}

impl Crossed {
    fn around(&self, inner: SubstreamBox) -> CrossedStream {
        CrossedStream {
            inner,
            crossing: Arc::clone(&self.crossing),
        }
    }
}

/// A stream of a [`Crossed`] connection.
pub(super) struct CrossedStream {
    inner: SubstreamBox,
    crossing: Arc<Crossing>,
}

impl AsyncRead for CrossedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.crossing.poll_readable(cx))?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for CrossedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.crossing.check()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// A dial that nobody answers has failed after this, as in a forecast.
const DIAL_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt, AsyncWriteExt};

    use super::super::muxer::InProcessMuxer;
    use super::*;

    /// The two ends of a connection, and a stream of it.
    async fn connected(paths: &PathFaults) -> ([PeerId; 2], [Crossed; 2], [CrossedStream; 2]) {
        let (near, far) = InProcessMuxer::pair(None);
        let [a, b] = [PeerId::random(), PeerId::random()];
        let pass = |local, remote, muxer| paths.clone().pass(local, remote, StreamMuxerBox::new(muxer));
        let mut near = pass(a, b, near).await.unwrap();
        let mut far = pass(b, a, far).await.unwrap();
        let dialled = std::future::poll_fn(|cx| near.poll_outbound_unpin(cx)).await.unwrap();
        let accepted = std::future::poll_fn(|cx| far.poll_inbound_unpin(cx)).await.unwrap();
        ([a, b], [near, far], [dialled, accepted])
    }

    #[tokio::test]
    async fn what_is_held_arrives_when_it_may_pass_and_the_other_way_is_as_before() {
        let paths = PathFaults::default();
        let ([a, b], _ends, [mut near, mut far]) = connected(&paths).await;
        paths.change(move |from, to| {
            if (from, to) == (a, b) {
                PathState::Held
            } else {
                PathState::Open
            }
        });
        near.write_all(b"there").await.unwrap();
        far.write_all(b"back").await.unwrap();
        let mut read = [0; 5];
        near.read_exact(&mut read[..4]).await.unwrap();
        assert_eq!(&read[..4], b"back");
        let reading = tokio::spawn(async move {
            far.read_exact(&mut read).await.unwrap();
            read
        });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(!reading.is_finished(), "it is held");
        paths.change(|_, _| PathState::Open);
        assert_eq!(&reading.await.unwrap(), b"there");
    }

    #[tokio::test]
    async fn a_connection_that_is_refused_or_ended_fails_at_both_ends_and_another_is_not_made() {
        for ends in [false, true] {
            let paths = PathFaults::default();
            let ([a, b], [mut near, mut far], [mut dialled, _accepted]) = connected(&paths).await;
            assert_eq!(paths.connections(), [(a, b), (b, a)]);
            if ends {
                paths.end(&[(a, b), (b, a)]);
            } else {
                paths.change(|_, _| PathState::Refused);
            }
            for end in [&mut near, &mut far] {
                assert!(std::future::poll_fn(|cx| end.poll_unpin(cx)).await.is_err());
            }
            assert!(dialled.write_all(b"lost").await.is_err());
            assert!(paths.connections().is_empty());
            let (muxer, _far) = InProcessMuxer::pair(None);
            let anew = paths.clone().pass(a, b, StreamMuxerBox::new(muxer)).await;
            assert_eq!(anew.is_ok(), ends);
        }
    }

    #[tokio::test]
    async fn a_dial_waits_for_the_path_and_not_for_ever() {
        let paths = PathFaults::with_patience(Duration::from_millis(1));
        let [a, b] = [PeerId::random(), PeerId::random()];
        paths.change(|_, _| PathState::Held);
        let (muxer, _far) = InProcessMuxer::pair(None);
        let error = paths.clone().pass(a, b, StreamMuxerBox::new(muxer)).await.err();
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
        let (muxer, _far) = InProcessMuxer::pair(None);
        let paths = PathFaults::default();
        paths.change(|_, _| PathState::Held);
        let dial = tokio::spawn(paths.clone().pass(a, b, StreamMuxerBox::new(muxer)));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert!(!dial.is_finished(), "it waits");
        paths.change(|_, _| PathState::Open);
        assert!(dial.await.unwrap().is_ok());
    }
}
