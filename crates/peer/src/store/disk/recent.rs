//! The chunks that came last, in memory: neighbours want the newest most, and to read and hash what was verified a moment ago costs as
//! much as to receive it.
//!
//! Invariant: not more than [`BYTES_MAX`], the oldest go first.

use std::collections::VecDeque;

use bytes::Bytes;
use swarm::ChunkIndex;

#[derive(Debug, Default)]
pub(super) struct Recent {
    chunks: VecDeque<(ChunkIndex, Bytes)>,
    bytes: usize,
}

impl Recent {
    /// These are the bytes of a chunk, verified.
    pub(super) fn push(&mut self, chunk: ChunkIndex, bytes: Bytes) {
        self.remove(chunk);
        self.bytes += bytes.len();
        self.chunks.push_back((chunk, bytes));
        while self.bytes > BYTES_MAX
            && let Some((_, oldest)) = self.chunks.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn get(&self, chunk: ChunkIndex) -> Option<Bytes> {
        let found = self.chunks.iter().rev().find(|(there, _)| *there == chunk);
        found.map(|(_, bytes)| bytes.clone())
    }

    /// A chunk is not what it was where it is kept.
    pub(super) fn remove(&mut self, chunk: ChunkIndex) {
        let Some(at) = self.chunks.iter().position(|(there, _)| *there == chunk) else {
            return;
        };
        if let Some((_, bytes)) = self.chunks.remove(at) {
            self.bytes -= bytes.len();
        }
    }
}

/// Sixteen chunks of 256 KiB: more is memory that an agent takes from what it runs beside, less is read and hashed again.
const BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use swarm::Manifest;

    #[test]
    fn the_newest_stay_within_the_limit_and_a_chunk_is_there_once() {
        let size = BYTES_MAX / 4;
        let manifest = Manifest::of("b", &[0; 10 * 1024], 1024).unwrap();
        let chunk = |index| manifest.chunk(index).unwrap();
        let mut recent = Recent::default();
        for index in [0, 1, 1, 2, 3, 4, 5] {
            recent.push(chunk(index), vec![u8::try_from(index).unwrap(); size].into());
        }
        assert_eq!(recent.bytes, BYTES_MAX);
        let there: Vec<u32> = (0..10).filter(|index| recent.get(chunk(*index)).is_some()).collect();
        assert_eq!(there, [2, 3, 4, 5]);
        recent.remove(chunk(3));
        assert_eq!((recent.bytes, recent.get(chunk(3))), (BYTES_MAX - size, None));
        // One that is larger than all of it is not kept, and nothing else is then.
        recent.push(chunk(9), vec![0; BYTES_MAX + 1].into());
        assert_eq!((recent.bytes, recent.chunks.len()), (0, 0));
    }
}
