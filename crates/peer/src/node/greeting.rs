//! What somebody who has made a connection says first: which swarm it is for.

use std::sync::Arc;

use bytes::BytesMut;
use futures::AsyncReadExt;
use libp2p::swarm::{ConnectionId, Stream};
use swarm::Message;
use swarm::wire::{self, Frame};

use super::endpoint::Hub;
use super::shared::Shared;

/// What somebody who made a connection has said first.
pub(super) struct Greeted {
    pub(super) member: Arc<Shared>,
    pub(super) stream: Stream,
    pub(super) hello: Frame,
}

/// Finds out which swarm a connection is for that somebody made. A task of its own: what it needs is not kept for the connection's
/// life.
///
/// # Errors
/// Why the connection is of no use.
pub(super) async fn greet(
    hub: Arc<Hub>,
    connection: ConnectionId,
    mut stream: Stream,
) -> Result<Greeted, &'static str> {
    let hello = match tokio::time::timeout(hub.first_message, first_frame(&mut stream)).await {
        Ok(frame) => frame?,
        Err(_late) => return Err("no hello for long"),
    };
    let Frame::Message(Message::Hello { swarm }) = hello else {
        return Err("no hello");
    };
    let Some(member) = hub.accept(swarm, connection) else {
        return Err("for a swarm that this process is not in");
    };
    Ok(Greeted { member, stream, hello })
}

/// Reads one frame and nothing beyond it.
async fn first_frame(stream: &mut Stream) -> Result<Frame, &'static str> {
    let mut frame = BytesMut::new();
    loop {
        let wanted = wire::bytes_wanted(&frame).map_err(|_too_long| "frame beyond the limit")?;
        if frame.len() + wanted > HELLO_MAX {
            return Err("no hello");
        }
        // As long as a hello, and part of the task's memory.
        let mut buffer = [0; 32];
        let wanted = wanted.min(buffer.len());
        let count = stream.read(&mut buffer[..wanted]).await;
        match count.map_err(|_gone| "closed by the other side")? {
            0 => return Err("closed by the other side"),
            count => frame.extend_from_slice(&buffer[..count]),
        }
        if let Some(whole) = wire::decode(&mut frame).map_err(|_malformed| "malformed frame")? {
            return Ok(whole);
        }
    }
}

/// Bytes of a hello at most. Nobody has a longer frame kept for them before they have said what for.
const HELLO_MAX: usize = 64;
