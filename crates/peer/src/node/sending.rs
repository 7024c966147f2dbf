//! What a connection's task writes: it asks for the next thing, and says when a part of a chunk has left.

use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use libp2p::swarm::ConnectionId;
use swarm::wire::DataHeader;
use swarm::{Bytes as ByteCount, ChunkIndex, Event, HostId, PROGRESS_INTERVAL, Time};

use super::carrier::Outlet;
use super::shared::{Shared, State};
use crate::store::{ChunkStore, StoreError};

/// What a connection is to write next.
pub(super) enum Outgoing {
    /// Control frames.
    Control(Bytes),
    /// A part of a chunk, to be written when its time has come.
    Segment(Segment),
    /// A chunk that is to be read from a store that waits for a disk, without the lock.
    Read(Arc<dyn ChunkStore>, ChunkIndex),
    /// Nothing; the outlet is parked, and the task will be woken.
    Nothing,
    /// The connection is none of ours any more.
    Closed,
}

pub(super) struct Segment {
    pub(super) header: DataHeader,
    pub(super) payload: Bytes,
    pub(super) chunk: ChunkIndex,
    pub(super) ticket: u64,
    pub(super) departs: Time,
    pub(super) last: bool,
}

/// What becomes of a segment that waits for its time.
pub(super) enum Departure {
    /// It is to be written now.
    Now,
    /// It is not wanted any more.
    Cancelled,
    /// It has to wait. Control frames to be written meanwhile; the outlet is parked where there are none.
    Later(Option<Bytes>),
    /// The connection is none of ours any more.
    Closed,
}

/// What becomes of the last segment of a chunk when it is written.
pub(super) enum Passage {
    /// Most of the chunk is at the other side.
    Through,
    /// Much is on its way. Control frames to be written meanwhile; the outlet is parked where there are none.
    Later(Option<Bytes>),
    /// The connection is none of ours any more.
    Closed,
}

impl Segment {
    /// How many bytes may be on their way when the chunk that it is the last of counts as served: then the next one is there in time.
    fn on_its_way_max(&self) -> u32 {
        let chunk = self.header.offset + self.header.length;
        (chunk / ON_ITS_WAY_PART).max(ON_ITS_WAY_LEAST)
    }
}

impl Shared {
    /// The next thing for the connection with `to` to write, for which it gets its outlet back; where there is nothing the
    /// outlet is parked.
    pub(super) fn next_outgoing(
        self: &Arc<Self>,
        to: HostId,
        connection: ConnectionId,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Outgoing {
        let mut state = self.state.lock();
        if outlet.is_none() && !state.attention.contains(&to) {
            return Outgoing::Nothing;
        }
        loop {
            match self.try_next_outgoing(&mut state, to, connection, outlet, cx) {
                Ok(outgoing) => return outgoing,
                Err((chunk, error)) => self.serving_failed(&mut state, to, chunk, &error),
            }
        }
    }

    /// [`Shared::next_outgoing`], or a chunk that cannot be read.
    fn try_next_outgoing(
        &self,
        state: &mut State,
        to: HostId,
        connection: ConnectionId,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Result<Outgoing, (ChunkIndex, StoreError)> {
        state.attention.retain(|host| *host != to);
        let Some(link) = state.links.get_mut(&to).filter(|link| link.connection == connection) else {
            return Ok(Outgoing::Closed);
        };
        if let Some(control) = link.take_outbox(outlet) {
            return Ok(Outgoing::Control(control));
        }
        let Some((serving, store)) = link.serving.front_mut().zip(state.store.as_ref()) else {
            link.park(outlet, cx);
            if link.is_stuck() {
                state.attention.push(to);
            }
            return Ok(Outgoing::Nothing);
        };
        let chunk = serving.chunk;
        let bytes = match &serving.bytes {
            Some(bytes) => bytes.clone(),
            None if let Some(bytes) = store.at_hand(chunk) => bytes,
            None if store.is_blocking() => {
                // The task comes back for what it has read, so the outlet is its own until then.
                let store = Arc::clone(store);
                link.take_outlet(outlet);
                return Ok(Outgoing::Read(store, chunk));
            }
            None => store.read(chunk).map_err(|error| (chunk, error))?,
        };
        let length = u32::try_from(bytes.len()).expect("a chunk's length is a u32");
        let size = self.limits.segment.min(length - serving.sent);
        let payload = bytes.slice(serving.sent as usize..(serving.sent + size) as usize);
        let header = DataHeader {
            chunk: serving.chunk.get(),
            offset: serving.sent,
            length: size,
        };
        serving.bytes = Some(bytes);
        serving.sent += size;
        let (now, bytes) = (self.clock.now(), ByteCount::new(size.into()));
        let uplink = state.uplink.as_mut().map_or(now, |uplink| uplink.reserve(now, bytes));
        let downlink = link.downlink.as_ref();
        let departs = downlink.map_or(uplink, |downlink| uplink.max(downlink.lock().reserve(now, bytes)));
        let departs = departs.max(self.downlinks.pass(self.host, to, now, bytes));
        let shared = state.shared_up.as_ref();
        let departs = shared.map_or(departs, |shared| departs.max(now + shared.wait_for(bytes)));
        Ok(Outgoing::Segment(Segment {
            header,
            payload,
            chunk: serving.chunk,
            ticket: serving.ticket,
            departs,
            last: header.offset + size == length,
        }))
    }

    /// What becomes of the segment of `ticket`, whose time has come where it is `due`. It gets the outlet where there is
    /// something to write.
    pub(super) fn depart(
        &self,
        to: HostId,
        connection: ConnectionId,
        ticket: u64,
        due: bool,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Departure {
        let mut state = self.state.lock();
        let Some(link) = state.links.get_mut(&to).filter(|link| link.connection == connection) else {
            return Departure::Closed;
        };
        if due {
            link.take_outlet(outlet);
            return if link.is_serving(ticket) {
                Departure::Now
            } else {
                Departure::Cancelled
            };
        }
        let control = link.take_outbox(outlet);
        if control.is_none() {
            link.park(outlet, cx);
        }
        Departure::Later(control)
    }

    /// What becomes of the last segment of a chunk, which is written. It gets the outlet where there is something to write, or the chunk is
    /// through.
    pub(super) fn pass(
        &self,
        to: HostId,
        connection: ConnectionId,
        segment: &Segment,
        outlet: &mut Option<Outlet>,
        cx: &mut Context<'_>,
    ) -> Passage {
        let mut state = self.state.lock();
        let Some(link) = state.links.get_mut(&to).filter(|link| link.connection == connection) else {
            return Passage::Closed;
        };
        let control = link.take_outbox(outlet);
        if control.is_some() {
            return Passage::Later(control);
        }
        link.park(outlet, cx);
        if link.is_through(segment.on_its_way_max(), cx) {
            link.take_outlet(outlet);
            return Passage::Through;
        }
        Passage::Later(None)
    }

    /// The task has read a chunk from a store that waits for a disk.
    pub(super) fn provide(self: &Arc<Self>, to: HostId, chunk: ChunkIndex, read: Result<Bytes, StoreError>) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let Some(link) = state.links.get_mut(&to) else {
            return;
        };
        let Some(index) = link.serving.iter().position(|serving| serving.chunk == chunk) else {
            return;
        };
        match read {
            Ok(bytes) => link.serving[index].bytes = Some(bytes),
            Err(error) => self.serving_failed(state, to, chunk, &error),
        }
    }

    /// A segment has been written as a whole, and is through where it is the last of its chunk.
    pub(super) fn segment_written(self: &Arc<Self>, to: HostId, segment: &Segment) {
        let mut state = self.state.lock();
        state.traffic.sent += u64::from(segment.header.length);
        if !segment.last {
            self.tell_of_serving(&mut state, to, segment);
            return;
        }
        if let Some(link) = state.links.get_mut(&to)
            && link.is_serving(segment.ticket)
        {
            link.serving.pop_front();
            let chunk = segment.chunk;
            self.tell_awake(&mut state, to, Event::ChunkServed { to, chunk });
        }
    }

    /// The core hears now and then that bytes of a chunk go out.
    fn tell_of_serving(self: &Arc<Self>, state: &mut State, to: HostId, segment: &Segment) {
        let now = self.clock.now();
        let link = state.links.get_mut(&to).filter(|link| link.is_serving(segment.ticket));
        let Some(serving) = link.and_then(|link| link.serving.front_mut()) else {
            return;
        };
        let told_at = *serving.told_at.get_or_insert(now);
        if now.since(told_at) >= PROGRESS_INTERVAL {
            serving.told_at = Some(now);
            let chunk = segment.chunk;
            self.tell_awake(state, to, Event::ServingProgress { to, chunk });
        }
    }
}

/// Of a chunk one in so many bytes may be on its way when it counts as served …
const ON_ITS_WAY_PART: u32 = 4;
/// … or so many.
const ON_ITS_WAY_LEAST: u32 = 16 << 10;
