//! The way between the hosts of a run: what is sent arrives a fixed delay later, in the order in which it was sent.
//!
//! For runs only, in which all hosts are on one machine; real hosts have a network that delays by itself. Invariant: whatever is
//! on the way to a pipe lands there once, not before its time, and all that is on one path lands in the order in which it left.
//! One timer serves all pipes, since a fleet has tens of thousands of them; what goes over sockets passes a pipe first, see
//! [`Delayed`](super::delayed::Delayed).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::pipe::{Piece, Pipe};

/// A one-way delay between hosts, up to a millisecond longer than asked for: timers are no finer. The nodes of a process share
/// one, by its clones.
#[derive(Clone, Debug)]
pub struct PathDelay(Arc<Path>);

#[derive(Debug)]
struct Path {
    delay: Duration,
    way: Mutex<Way>,
}

#[derive(Debug, Default)]
struct Way {
    /// In the order of their times, since the delay is one for all.
    parcels: VecDeque<Parcel>,
    has_carrier: bool,
}

#[derive(Debug)]
struct Parcel {
    due: Instant,
    to: Arc<Pipe>,
    piece: Piece,
}

impl PathDelay {
    /// A path of this one-way delay; `None` for no delay, where nothing has to be held.
    pub fn new(delay: Duration) -> Option<Self> {
        (!delay.is_zero()).then(|| {
            let way = Mutex::default();
            Self(Arc::new(Path { delay, way }))
        })
    }

    /// The one-way delay.
    pub fn delay(&self) -> Duration {
        self.0.delay
    }

    /// Lets `piece` land in `to` after the delay. Within a runtime.
    pub(super) fn send(&self, to: Arc<Pipe>, piece: Piece) {
        let mut way = self.0.way.lock();
        // Under the lock, or parcels would not be in the order of their times.
        let due = Instant::now() + self.0.delay;
        way.parcels.push_back(Parcel { due, to, piece });
        if !std::mem::replace(&mut way.has_carrier, true) {
            drop(way);
            let path = Arc::clone(&self.0);
            tokio::spawn(Delivery { path, is_done: false }.carry());
        }
    }
}

/// Lands what is due for as long as something is on the way.
struct Delivery {
    path: Arc<Path>,
    is_done: bool,
}

impl Delivery {
    async fn carry(mut self) {
        let mut due = Vec::new();
        while let Some(next) = self.take_due(&mut due) {
            if due.is_empty() {
                sleep_until(next).await;
            }
            for parcel in due.drain(..) {
                parcel.to.land(parcel.piece);
            }
        }
    }

    /// Moves what is due to `due`; when to look again. `None` where nothing is left to carry, after which this one is done: not
    /// while it holds something itself, or the next carrier might be faster.
    fn take_due(&mut self, due: &mut Vec<Parcel>) -> Option<Instant> {
        let mut way = self.path.way.lock();
        let now = Instant::now();
        let count = way.parcels.partition_point(|parcel| parcel.due <= now);
        due.extend(way.parcels.drain(..count));
        if due.is_empty() && way.parcels.is_empty() {
            way.has_carrier = false;
            self.is_done = true;
            return None;
        }
        Some(way.parcels.front().map_or(now, |parcel| parcel.due))
    }
}

impl Drop for Delivery {
    /// Its runtime has ended before it was done: what is on the way holds pipes, and they hold the path.
    fn drop(&mut self) {
        if !self.is_done {
            let lost = std::mem::take(&mut *self.path.way.lock());
            drop(lost);
        }
    }
}

/// Bytes on the way in one direction of a stream at most: 10 Gbit/s over 13 ms, and what a TCP window can be at most on hosts that
/// are set up for that. They are references where the writer has a shared buffer.
pub(super) const ON_THE_WAY_MAX: usize = 16 << 20;
