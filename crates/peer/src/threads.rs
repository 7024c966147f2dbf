//! The runtime of an agent: how many threads move bytes, and where all of them have their memory from.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};

/// The runtime of an agent, before whose start there are no other threads.
///
/// # Errors
/// Where the system gives no threads, or no way to wait for sockets.
pub fn agent_runtime() -> io::Result<Runtime> {
    keep_to_one_arena();
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(worker_threads()).enable_all().build()
}

/// Half as many as this machine has cores for it, and one at least.
///
/// One sends, receives, hashes and encrypts half a gigabyte a second each way, and sleeps where there is nothing to do. With more of them
/// than there is work for, each wakes the next to look for some. What waits for a disk has threads of its own.
fn worker_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores / 2).max(1)
}

/// Has all threads share one heap. The C library gives each thread that allocates a heap of its own, and keeps what is freed for whoever
/// had it. A chunk is received by one thread and let go by the one that has written it, and threads that wait for disks come and go: a
/// host then had twice the memory, and spent more time on it (`benches/peers/peers.py`, with and without `MALLOC_ARENA_MAX=1`).
fn keep_to_one_arena() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "a setting of the allocator, which only C knows")]
        // SAFETY: it takes two numbers, and there is no other thread yet that allocates.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
