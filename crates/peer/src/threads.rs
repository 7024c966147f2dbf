//! How many threads move bytes.

use std::num::NonZero;

/// Worker threads for the runtime of an agent: half as many as this machine has cores for it, and one at least.
///
/// One sends, receives, hashes and encrypts half a gigabyte a second each way, and sleeps where there is nothing to do. With more of them
/// than there is work for, each wakes the next to look for some. What waits for a disk has threads of its own.
pub fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores / 2).max(1)
}
