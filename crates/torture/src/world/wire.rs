//! The network: who has a connection with whom, and when what was sent arrives.
//!
//! A member sends a piece of a chunk at a time over its uplink, to each receiver in turn that takes it; a piece passes the
//! receiver's downlink while it is being sent. Messages are short and wait for neither, but never pass what was sent before
//! them over the same connection. Where nothing passes, or nobody reads, as much as buffers take is held and the rest waits
//! at the sender.

use rand::RngExt;
use swarm::{Bytes, ChunkIndex, Event, HostId};

use super::conns::{Conn, ConnId, Item, Piece, Serving, Side};
use super::{Index, What, World};
use crate::day::{MILLISECOND, Nanos, SECOND};

/// What becomes of what is sent from one member to another now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// It arrives.
    Open,
    /// It waits until something passes again.
    Held,
    /// There is no connection between them, and none can be made.
    Refused,
}

impl World<'_> {
    pub(super) fn end_with(&self, member: Index, other: Index) -> Option<(ConnId, Side)> {
        self.members[member].ends.get(&other).copied()
    }

    /// `tried` times before nobody answered.
    pub(super) fn dial(&mut self, from: Index, to: Index, tried: usize) {
        if self.members[from].core.is_none() || self.end_with(from, to).is_some() {
            return;
        }
        let latency = self.day.network.latency;
        let (there, back) = (self.path(from, to), self.path(to, from));
        if there == Path::Refused || back == Path::Refused {
            self.queue.push(self.now + 2 * latency, What::DialFailed { from, to });
        } else if self.members[to].dark || there == Path::Held || back == Path::Held {
            let again = DIALS_AGAIN_AFTER.get(tried);
            let what = match again {
                Some(_) => What::DialAgain { from, to, tried },
                None => What::DialFailed { from, to },
            };
            self.queue.push(self.now + again.unwrap_or(&DIAL_PATIENCE), what);
        } else {
            self.queue.push(self.now + latency, What::Dialled { from, to });
        }
    }

    pub(super) fn dialled(&mut self, from: Index, to: Index) {
        if self.members[from].core.is_none() {
            return;
        }
        let latency = self.day.network.latency;
        if self.members[to].core.is_none() {
            self.queue.push(self.now + latency, What::DialFailed { from, to });
            return;
        }
        if self.members[to].paused {
            self.queue.push(self.now + 10 * MILLISECOND, What::Dialled { from, to });
            return;
        }
        if let Some((conn, side)) = self.end_with(to, from) {
            let is_young = self.now - self.conns[conn].since < SURELY_MADE;
            if self.day.network.refuses_second || is_young {
                // It finds out soon that nobody is at the other end of the first, where that is so.
                if !self.conns[conn].up[1 - side] {
                    self.queue.push(self.now + FINDS_OUT_AFTER, What::Lost(conn, side));
                }
                self.queue.push(self.now + latency, What::DialFailed { from, to });
                return;
            }
            self.lost(conn, side);
        }
        let latency = self.chance.random_range(latency / 2..=latency * 2);
        let conn = self.conns.len();
        let mut made = Conn::new([from, to], self.now, latency);
        made.up[1] = true;
        made.ways[1].arrives = self.now + latency;
        self.conns.push(made);
        self.members[to].ends.insert(from, (conn, 1));
        self.queue.push(self.now + latency, What::Established(conn));
        let other = self.members[from].id;
        self.tell(to, Event::Connected(other));
    }

    pub(super) fn dial_failed(&mut self, from: Index, to: Index) {
        if self.end_with(from, to).is_none() {
            let other = self.members[to].id;
            self.tell_soon(from, Event::Disconnected(other));
        }
    }

    /// Tells a member that may stand still.
    fn tell_soon(&mut self, member: Index, event: Event) {
        if self.members[member].paused {
            self.members[member].feedback.push_back(event);
        } else {
            self.tell(member, event);
        }
    }

    pub(super) fn established(&mut self, conn: ConnId) {
        let [from, to] = self.conns[conn].members;
        if !self.conns[conn].up[1] {
            self.dial_failed(from, to);
            return;
        }
        if self.members[from].paused {
            self.queue.push(self.now + 10 * MILLISECOND, What::Established(conn));
            return;
        }
        // Two that dial each other at once refuse what the other made.
        let is_gone = self.members[from].core.is_none();
        if is_gone || self.end_with(from, to).is_some() {
            self.queue
                .push(self.now + self.conns[conn].latency, What::Lost(conn, 1));
            return;
        }
        self.conns[conn].up[0] = true;
        self.members[from].ends.insert(to, (conn, 0));
        let other = self.members[to].id;
        self.tell(from, Event::Connected(other));
    }

    /// An end is there no more.
    pub(super) fn close_end(&mut self, conn: ConnId, side: Side) {
        let closed = &mut self.conns[conn];
        closed.up[side] = false;
        closed.ways[side].servings.clear();
        closed.ways[1 - side].receiving.clear();
        let [here, there] = [closed.members[side], closed.members[1 - side]];
        if self.members[here].ends.get(&there) == Some(&(conn, side)) {
            self.members[here].ends.remove(&there);
        }
        self.members[here]
            .uplink
            .sending
            .retain(|sending| *sending != (conn, side));
    }

    /// An end learns that its connection is gone.
    pub(super) fn lost(&mut self, conn: ConnId, side: Side) {
        if !self.conns[conn].up[side] {
            return;
        }
        let [here, there] = [self.conns[conn].members[side], self.conns[conn].members[1 - side]];
        self.close_end(conn, side);
        let other = self.members[there].id;
        self.tell_soon(here, Event::Disconnected(other));
    }

    /// Puts something into a connection.
    pub(super) fn transmit(&mut self, conn: ConnId, side: Side, item: Item) {
        let [from, to] = [self.conns[conn].members[side], self.conns[conn].members[1 - side]];
        let at = self.now + self.conns[conn].latency;
        self.put(conn, side, (from, to), at, item);
    }

    fn put(&mut self, conn: ConnId, side: Side, (from, to): (Index, Index), at: Nanos, item: Item) {
        let held = self.path(from, to) == Path::Held;
        let way = &mut self.conns[conn].ways[side];
        if held || !way.held.items.is_empty() {
            way.held.push(item);
            return;
        }
        way.arrives = way.arrives.max(at);
        let at = way.arrives;
        self.queue.push(at, What::Arrives(conn, 1 - side, Box::new(item)));
    }

    /// A member reads again: first what has come meanwhile.
    pub(super) fn reads_again(&mut self, member: Index) {
        let ends: Vec<_> = self.members[member].ends.values().copied().collect();
        for (conn, side) in ends {
            let unread = std::mem::take(&mut self.conns[conn].ways[1 - side].unread);
            for item in unread.items {
                self.queue.push(self.now, What::Arrives(conn, side, Box::new(item)));
            }
        }
        for other in 0..self.members.len() {
            self.pump(other);
        }
    }

    /// Something passes again: what was held arrives.
    pub(super) fn release_held(&mut self) {
        for conn in 0..self.conns.len() {
            for side in [0, 1] {
                let [from, to] = [self.conns[conn].members[side], self.conns[conn].members[1 - side]];
                if self.conns[conn].ways[side].held.items.is_empty() || self.path(from, to) == Path::Held {
                    continue;
                }
                let at = self.now + self.conns[conn].latency;
                let held = std::mem::take(&mut self.conns[conn].ways[side].held);
                for item in held.items {
                    self.put(conn, side, (from, to), at, item);
                }
            }
        }
        for member in 0..self.members.len() {
            self.pump(member);
        }
    }

    pub(super) fn arrives(&mut self, conn: ConnId, side: Side, item: Item) {
        let [here, there] = [self.conns[conn].members[side], self.conns[conn].members[1 - side]];
        if !self.conns[conn].up[side] {
            self.nobody_reads(conn, side, &item);
            return;
        }
        if self.members[here].paused {
            self.conns[conn].ways[1 - side].unread.push(item);
            return;
        }
        let from = self.members[there].id;
        match item {
            Item::Message(message) => {
                self.referee.heard(self.now, &mut self.members[here], from, &message);
                if !self.answers_otherwise(here, from, &message) {
                    self.tell(here, Event::Message(from, message));
                }
            }
            Item::Piece(piece) => self.piece_arrives(conn, side, here, from, piece),
            Item::Abort(chunk) => {
                if self.members[here].peer().is_some_and(|peer| peer.expects(from, chunk)) {
                    self.tell(here, Event::ChunkAborted { from, chunk });
                }
            }
            Item::Fin => self.lost(conn, side),
        }
    }

    /// What was sent to an end that is closed comes back, or nothing does.
    fn nobody_reads(&mut self, conn: ConnId, side: Side, item: &Item) {
        let here = self.conns[conn].members[side];
        if matches!(item, Item::Fin) || !self.conns[conn].up[1 - side] {
            return;
        }
        let way = &mut self.conns[conn].ways[1 - side];
        if !self.members[here].dark {
            self.queue
                .push(self.now + self.conns[conn].latency, What::Lost(conn, 1 - side));
        } else if !std::mem::replace(&mut way.gives_up, true) {
            self.queue.push(self.now + GIVES_UP_AFTER, What::Lost(conn, 1 - side));
        }
    }

    fn piece_arrives(&mut self, conn: ConnId, side: Side, here: Index, from: HostId, piece: Piece) {
        let Piece {
            chunk,
            offset,
            length,
            corrupt,
        } = piece;
        let receiving = &mut self.conns[conn].ways[1 - side].receiving;
        let known = receiving.iter().position(|(of, _)| *of == chunk);
        if !self.members[here].peer().is_some_and(|peer| peer.expects(from, chunk)) {
            if let Some(known) = known {
                receiving.swap_remove(known);
            }
            self.referee.wasted(u64::from(length));
            self.tell(here, Event::ChunkProgress { from, chunk });
            return;
        }
        let received = known.map_or(0, |known| receiving[known].1);
        if offset == 0 {
            if let Some(known) = known {
                receiving.swap_remove(known);
            }
        } else if offset != received {
            // A part of it was thrown away.
            return;
        }
        receiving.retain(|(of, _)| *of != chunk);
        receiving.push((chunk, offset + length));
        self.tell(here, Event::ChunkProgress { from, chunk });
        if offset + length < self.manifest.length(chunk) {
            return;
        }
        let receiving = &mut self.conns[conn].ways[1 - side].receiving;
        receiving.retain(|(of, _)| *of != chunk);
        // Telling of the progress may have ended it.
        if !self.members[here].peer().is_some_and(|peer| peer.expects(from, chunk)) {
            self.referee.wasted(u64::from(length));
            return;
        }
        if corrupt {
            self.tell(here, Event::ChunkCorrupt { from, chunk });
        } else {
            self.stored(here, chunk);
            self.tell(here, Event::ChunkStored { from, chunk });
        }
    }

    pub(super) fn serve(&mut self, from: Index, to: HostId, chunk: ChunkIndex) {
        let end = self.place(to).and_then(|to| self.end_with(from, to));
        let Some((conn, side)) = end else {
            return;
        };
        self.tickets += 1;
        self.conns[conn].ways[side].servings.push_back(Serving {
            chunk,
            length: self.manifest.length(chunk),
            sent: 0,
            ticket: self.tickets,
        });
        let sending = &mut self.members[from].uplink.sending;
        if !sending.contains(&(conn, side)) {
            sending.push((conn, side));
        }
        self.pump(from);
    }

    pub(super) fn stop_serving(&mut self, from: Index, to: HostId, chunk: ChunkIndex) {
        let end = self.place(to).and_then(|to| self.end_with(from, to));
        let Some((conn, side)) = end else {
            return;
        };
        let servings = &mut self.conns[conn].ways[side].servings;
        let begun = servings.iter().any(|s| s.chunk == chunk && s.sent > 0);
        servings.retain(|serving| serving.chunk != chunk);
        if begun {
            self.transmit(conn, side, Item::Abort(chunk));
        }
    }

    /// A chunk that was to be sent cannot be read.
    pub(super) fn gives_up(&mut self, from: Index, to: HostId, chunk: ChunkIndex) {
        let end = self.place(to).and_then(|to| self.end_with(from, to));
        if let Some((conn, side)) = end {
            self.transmit(conn, side, Item::Abort(chunk));
            self.tell_soon(from, Event::ChunkServed { to, chunk });
        }
    }

    /// Sends the next piece, if the uplink is free and somebody takes it.
    pub(super) fn pump(&mut self, from: Index) {
        let member = &self.members[from];
        if member.uplink.busy || member.paused || member.core.is_none() {
            return;
        }
        let count = member.uplink.sending.len();
        let mut look_again: Option<Nanos> = None;
        for turn in 0..count {
            let place = (self.members[from].uplink.next + turn) % count;
            let (conn, side) = self.members[from].uplink.sending[place];
            match self.takes_at(from, conn, side) {
                Some(at) if at <= self.now => {
                    self.members[from].uplink.next = place + 1;
                    self.send_piece(from, conn, side);
                    return;
                }
                Some(at) => look_again = Some(look_again.map_or(at, |other| other.min(at))),
                None => {}
            }
        }
        let waits = &mut self.members[from].uplink.waits_until;
        if let Some(at) = look_again
            && waits.is_none_or(|waits| at < waits)
        {
            *waits = Some(at);
            self.queue.push(at, What::Pump(from));
        }
    }

    /// From when on the other side of a connection takes another piece; `None` while it does not.
    fn takes_at(&self, from: Index, conn: ConnId, side: Side) -> Option<Nanos> {
        let to = self.conns[conn].members[1 - side];
        let way = &self.conns[conn].ways[side];
        if way.servings.is_empty() {
            return None;
        }
        if self.path(from, to) == Path::Held || self.members[to].paused {
            return (way.held.bytes + way.unread.bytes < BUFFER).then_some(self.now);
        }
        // What is on its way is not in the receiver's way yet.
        let ahead = self.conns[conn].latency + MILLISECOND.max(self.piece_time(from, to));
        Some(self.members[to].downlink_free.saturating_sub(ahead))
    }

    fn piece_size(&self, from: Index, to: Index) -> u32 {
        let slower = self.members[from].link.up.min(self.members[to].link.down);
        let bytes = slower.bytes_per_second() / PIECES_A_SECOND;
        u32::try_from(bytes).unwrap_or(PIECE_MAX).clamp(PIECE_MIN, PIECE_MAX)
    }

    fn piece_time(&self, from: Index, to: Index) -> Nanos {
        let bytes = Bytes::new(self.piece_size(from, to).into());
        nanos(self.members[to].link.down.transfer_time(bytes))
    }

    fn send_piece(&mut self, from: Index, conn: ConnId, side: Side) {
        let to = self.conns[conn].members[1 - side];
        let size = self.piece_size(from, to);
        let corrupt = self.members[from].role == crate::day::Role::Corrupt;
        let servings = &mut self.conns[conn].ways[side].servings;
        if self.day.network.interleaved {
            servings.rotate_left(1);
        }
        let Some(serving) = servings.front_mut() else {
            return;
        };
        let size = size.min(serving.length - serving.sent);
        let piece = Piece {
            chunk: serving.chunk,
            offset: serving.sent,
            length: size,
            corrupt,
        };
        serving.sent += size;
        let (ticket, last) = (serving.ticket, serving.sent == serving.length);
        let bytes = Bytes::new(size.into());
        let sent_at = self.now + nanos(self.members[from].link.up.transfer_time(bytes));
        let latency = self.conns[conn].latency;
        let down = nanos(self.members[to].link.down.transfer_time(bytes));
        let free = &mut self.members[to].downlink_free;
        *free = (*free).max(self.now + latency) + down;
        let at = (*free).max(sent_at + latency);
        self.members[from].uplink.busy = true;
        let life = self.members[from].life;
        self.queue.push(
            sent_at,
            What::PieceLeft {
                from,
                life,
                conn,
                side,
                ticket,
                last,
            },
        );
        self.referee.sent(&mut self.members[from], u64::from(size));
        self.put(conn, side, (from, to), at, Item::Piece(piece));
    }

    pub(super) fn piece_left(&mut self, from: Index, conn: ConnId, side: Side, ticket: u64, last: bool) {
        self.members[from].uplink.busy = false;
        let servings = &mut self.conns[conn].ways[side].servings;
        let place = servings.iter().position(|serving| serving.ticket == ticket);
        if last && let Some(served) = place.and_then(|place| servings.remove(place)) {
            if servings.is_empty() {
                self.members[from].uplink.sending.retain(|s| *s != (conn, side));
            }
            let to = self.members[self.conns[conn].members[1 - side]].id;
            let chunk = served.chunk;
            self.tell_soon(from, Event::ChunkServed { to, chunk });
        } else if let Some(place) = place {
            let to = self.members[self.conns[conn].members[1 - side]].id;
            let chunk = self.conns[conn].ways[side].servings[place].chunk;
            self.tell_soon(from, Event::ServingProgress { to, chunk });
        }
        self.pump(from);
    }
}

pub(super) fn nanos(duration: std::time::Duration) -> Nanos {
    u64::try_from(duration.as_nanos())
        .unwrap_or(u64::MAX / 4)
        .min(u64::MAX / 4)
}

/// A connection that is younger is not taken for dead because its other end connects anew.
const SURELY_MADE: Nanos = 5 * SECOND;
/// A dial that nobody answers is repeated after these times, as TCP does …
const DIALS_AGAIN_AFTER: [Nanos; 3] = [SECOND, 2 * SECOND, 4 * SECOND];
/// … and has failed after this.
const DIAL_PATIENCE: Nanos = 3 * SECOND;
/// Who refuses a connection because it still has one finds out after this that nobody is at its other end.
const FINDS_OUT_AFTER: Nanos = SECOND / 2;
/// Who sends to a machine that has gone without a word finds out after this.
const GIVES_UP_AFTER: Nanos = 30 * SECOND;
/// Payload bytes that are taken on the way to somebody who does not read, or where nothing passes.
const BUFFER: u64 = 256 << 10;
/// A piece takes about so much of a second, so that somebody slow is seen to move …
const PIECES_A_SECOND: u64 = 8;
/// … but has at least so many bytes …
const PIECE_MIN: u32 = 64;
/// … and at most as many as the live driver puts behind a header.
const PIECE_MAX: u32 = 64 << 10;
