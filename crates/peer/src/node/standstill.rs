//! A host that stands still for a time, as one whose machine is suspended: none of its tasks runs, while the network and the
//! clock go on.
//!
//! For runs only. Invariant: while it stands still nothing of what was put around a task is polled, and afterwards every task that
//! was woken meanwhile is.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Makes the tasks of one host stand still, by its clones.
#[derive(Clone, Debug, Default)]
pub struct Standstill(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    is_still: bool,
    woken: Vec<Waker>,
}

impl Standstill {
    /// From now on nothing moves.
    pub fn begin(&self) {
        self.0.lock().is_still = true;
    }

    /// Everything goes on.
    pub fn end(&self) {
        let mut state = self.0.lock();
        state.is_still = false;
        let woken = std::mem::take(&mut state.woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// `task`, as long as it does not stand still.
    pub(super) async fn around<F: Future>(self, task: F) -> F::Output {
        let mut task = pin!(task);
        std::future::poll_fn(|cx| {
            if self.is_still(cx) {
                return Poll::Pending;
            }
            task.as_mut().poll(cx)
        })
        .await
    }

    fn is_still(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        if state.is_still && !state.woken.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.woken.push(cx.waker().clone());
        }
        state.is_still
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_does_nothing_while_it_stands_still_and_all_of_it_afterwards() {
        let (still, steps) = (Standstill::default(), Arc::<AtomicUsize>::default());
        let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
        let counted = Arc::clone(&steps);
        let task = tokio::spawn(still.clone().around(async move {
            while receiver.recv().await.is_some() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }));
        let settle = || async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        };
        sender.try_send(()).unwrap();
        settle().await;
        assert_eq!(steps.load(Ordering::SeqCst), 1);
        still.begin();
        sender.try_send(()).unwrap();
        sender.try_send(()).unwrap();
        settle().await;
        assert_eq!(steps.load(Ordering::SeqCst), 1, "it stands still");
        still.end();
        drop(sender);
        task.await.unwrap();
        assert_eq!(steps.load(Ordering::SeqCst), 3);
    }
}
