//! What the queue is told of messages, on tasks of its own: a queue that does not answer must not hold up the loop, by which the watchdog
//! sees that the seeder is well. What it was not told comes again, which is harmless.

use std::future::Future;
use std::time::Duration;

use cloud::CloudError;
use tokio::task::JoinSet;

/// Calls to the queue that are under way.
#[derive(Default)]
pub(super) struct Telling(JoinSet<()>);

impl Telling {
    /// Tells the queue, for no longer than a moment. To be called within a runtime.
    pub(super) fn begin(&mut self, telling: impl Future<Output = Result<(), CloudError>> + Send + 'static) {
        self.0.spawn(async move {
            match tokio::time::timeout(PATIENCE, telling).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the queue tells of it again"),
                Err(_) => tracing::warn!(
                    "the queue tells of it again: it has not answered within {} s",
                    PATIENCE.as_secs()
                ),
            }
        });
    }

    /// One of them has ended; `None` where none is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<()> {
        let ended = self.0.join_next().await?;
        ended.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        Some(())
    }

    /// Waits until all have ended.
    pub(super) async fn end(&mut self) {
        while self.next().await.is_some() {}
    }
}

/// A call that has not been answered by then counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_queue_that_does_not_answer_holds_up_nobody_and_no_other_call() {
        let mut telling = Telling::default();
        telling.begin(std::future::pending());
        let (told, was_told) = tokio::sync::oneshot::channel();
        telling.begin(async move {
            told.send(()).expect("somebody waits for it");
            Ok(())
        });
        was_told.await.expect("the other call is made meanwhile");
        assert_eq!(telling.next().await, Some(()), "that one ends");
        telling.end().await;
        assert_eq!(telling.next().await, None, "the other one is given up");
    }
}
