//! What a node does when its store has lost a chunk, or has found one that nobody sent.
//!
//! Invariant: for each serving that fails the other side hears that it is over, the core that its slot is free and, before that, what
//! is lost. A loss is logged once, however many ask for the chunk.

use std::sync::{Arc, Weak};

use swarm::{ChunkIndex, Event, HostId};

use super::link::abort;
use super::shared::{Shared, State};
use crate::store::{ChunkStore, Looked, StoreError};

/// Whether a thread looks through the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Looking {
    #[default]
    No,
    Yes,
    /// And there is a reason to look again that it may have missed.
    Again,
}

impl Shared {
    /// A chunk that was to be sent to `to` cannot be read.
    pub(super) fn serving_failed(
        self: &Arc<Self>,
        state: &mut State,
        to: HostId,
        chunk: ChunkIndex,
        error: &StoreError,
    ) {
        if let Some(link) = state.links.get_mut(&to) {
            link.stop_serving(chunk);
        }
        // Told first that it is not to be had here, the other side does not ask for it again when it is given up.
        self.chunk_lost(state, chunk, error);
        state.post(to, &abort(chunk));
        self.tell(state, Event::ChunkServed { to, chunk });
    }

    /// The bytes of a chunk are not there.
    fn chunk_lost(self: &Arc<Self>, state: &mut State, chunk: ChunkIndex, error: &StoreError) {
        match error {
            StoreError::Lost { source, .. } => {
                tracing::warn!(host = %self.host, %chunk, %error, ?source, "a chunk is lost; it is not served until it is here again");
                state.observer.chunk_lost(self.host, chunk, error);
                self.look_through_store(state);
            }
            // It was asked for by several at once, and another one was told.
            StoreError::NotHeld { .. } => tracing::debug!(host = %self.host, %chunk, "not held any more"),
            _ => tracing::error!(host = %self.host, %chunk, %error, "chunk not readable"),
        }
        self.tell(state, Event::ChunkLost { chunk });
    }

    /// The store has a chunk that nobody sent.
    pub(super) fn chunk_found(self: &Arc<Self>, chunk: ChunkIndex) {
        self.tell(&mut self.state.lock(), Event::ChunkFound { chunk });
    }

    /// Looks through the store, on a thread that may wait, until there is nothing more to look at.
    pub(super) fn look_through_store(self: &Arc<Self>, state: &mut State) {
        let Some(store) = state.store.clone().filter(|store| store.is_blocking()) else {
            return;
        };
        if state.looking != Looking::No {
            state.looking = Looking::Again;
            return;
        }
        state.looking = Looking::Yes;
        // It ends with the node, after a step at most.
        let node = Arc::downgrade(self);
        tokio::task::spawn_blocking(move || while look_once(&node, &*store) {});
    }
}

/// One step of looking. Whether there is another.
fn look_once(node: &Weak<Shared>, store: &dyn ChunkStore) -> bool {
    if node.strong_count() == 0 {
        return false;
    }
    let Looked { found, lost, more } = store.look();
    let Some(shared) = node.upgrade() else {
        return false;
    };
    for chunk in found {
        shared.chunk_found(chunk);
    }
    let mut state = shared.state.lock();
    for (chunk, error) in lost {
        shared.chunk_lost(&mut state, chunk, &error);
    }
    let again = more || state.looking == Looking::Again;
    state.looking = if again { Looking::Yes } else { Looking::No };
    again
}
