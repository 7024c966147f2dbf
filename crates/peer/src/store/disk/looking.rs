//! Looking for chunks in other files, and after a loss at those that are held. A step at a time, with no lock held over it that a
//! chunk which comes or goes would wait for.

use std::sync::atomic::Ordering;
use std::time::Instant;

use swarm::ChunkIndex;

use super::super::StoreError;
use super::reuse::{Match, Search, copy};
use super::{DiskStore, Stands};

/// What is yet to be looked at.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// Files that may have chunks.
    pub(super) search: Option<Search>,
    /// After a loss: the chunks from here on may be wrong too.
    pub(super) check_from: Option<u32>,
}

impl DiskStore {
    /// Copies a chunk from where it was found, unless it has come meanwhile. Whether it was not held before.
    fn reuse(&self, chunk: ChunkIndex, found: &Match<'_>) -> Result<bool, StoreError> {
        let _writing = self.writing.lock();
        if self.held.lock().contains(chunk) || !matches!(self.backing.read().stands, Stands::Part { .. }) {
            return Ok(false);
        }
        let (file, _) = self.file();
        let length = u64::from(self.manifest.length(chunk));
        // The file it was found in may change while it is copied, so it is the copy that is verified.
        let copied = copy(found.file, found.offset, &file, self.manifest.offset(chunk), length);
        if copied && self.right(&file, chunk).is_ok() {
            self.held.lock().insert(chunk);
        } else {
            self.write(chunk, found.bytes)?;
        }
        self.reused.fetch_add(length, Ordering::Relaxed);
        Ok(true)
    }

    /// Looks for chunks in other files until then; the chunks found, and whether there is more to look at.
    pub(super) fn search_until(&self, until: Instant) -> (Vec<ChunkIndex>, bool) {
        let mut found = Vec::new();
        let Some(mut search) = self.looking.lock().search.take() else {
            return (found, false);
        };
        let mut failure = None;
        let mut more = true;
        while more && failure.is_none() && Instant::now() < until {
            more = !self.held.lock().is_full();
            more &= search.step(|place| {
                for chunk in &place.chunks {
                    match self.reuse(*chunk, &place) {
                        Ok(true) => found.push(*chunk),
                        Ok(false) => {}
                        Err(error) => failure = Some(error),
                    }
                }
            });
        }
        if let Some(error) = failure {
            // The transfer meets the same and ends the host for it, if it is not over by then.
            tracing::warn!(%error, "chunks that are on this disk are fetched all the same");
            more = false;
        }
        if more {
            self.looking.lock().search = Some(search);
        }
        (found, more)
    }

    /// After a loss: looks at the other chunks until then.
    pub(super) fn check_until(&self, until: Instant) -> (Vec<(ChunkIndex, StoreError)>, bool) {
        let mut lost = Vec::new();
        let Some(mut next) = self.looking.lock().check_from else {
            return (lost, false);
        };
        while let Some(chunk) = self.manifest.chunk(next)
            && Instant::now() < until
        {
            next += 1;
            if let Err(error @ StoreError::Lost { .. }) = self.read_right(chunk) {
                lost.push((chunk, error));
            }
        }
        let more = next < self.manifest.chunk_count();
        self.looking.lock().check_from = more.then_some(next);
        (lost, more)
    }
}
