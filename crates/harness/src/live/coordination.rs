//! What it costs that hosts are spread over workers: the CPU time of what is said to workers and by them, in this process. Reading, writing, sealing
//! and putting together count; hosts and seeders do not.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

static NANOS: AtomicU64 = AtomicU64::new(0);

/// The same work, whose CPU time counts as coordination. Not one within another: the inner one would count twice.
pub(super) async fn counted<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| {
        let began = of_this_thread();
        let polled = work.as_mut().poll(cx);
        NANOS.fetch_add(of_this_thread().saturating_sub(began), Ordering::Relaxed);
        polled
    })
    .await
}

/// What it has cost in this process so far.
pub(super) fn cpu_seconds() -> f64 {
    NANOS.load(Ordering::Relaxed) as f64 / 1e9
}

fn of_this_thread() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_costs_nothing_and_what_is_computed_costs_its_time() {
        let before = cpu_seconds();
        let sum = counted(async {
            tokio::task::yield_now().await;
            (0..3_000_000_u64).fold(0, |sum, next| std::hint::black_box(sum ^ next))
        });
        std::hint::black_box(sum.await);
        let computed = cpu_seconds() - before;
        assert!(computed > 0.0, "{computed}");
        assert!(computed <= crate::machine::cpu_seconds(), "{computed}");
    }
}
