//! What is taken from the feed: no more at a time than can be held, so that the rest stays in the queue for others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::build_feed::{BuildFeed, BuildNotice, Delivery};

/// A notice that was taken, with its place among those that are held.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) delivery: Delivery,
    /// Of a feed, and not of what was seeded before. Free again when this is dropped.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

impl Taken {
    /// Of a build that was seeded before, of which no queue tells any more.
    pub(super) fn again(notice: BuildNotice) -> Self {
        Self {
            delivery: Delivery::once(notice),
            _place: None,
        }
    }
}

/// A feed that is listened to on a task of its own: a request to a queue that were cut off could take a message with it.
pub(super) struct Intake {
    taken: mpsc::Receiver<Taken>,
    task: JoinHandle<()>,
    ended: bool,
}

impl Intake {
    pub(super) fn start(mut feed: impl BuildFeed + 'static) -> Self {
        let (give, taken) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(HELD_MAX));
        let task = tokio::spawn(async move {
            while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                let Some(delivery) = feed.next().await else {
                    return;
                };
                let taken = Taken {
                    delivery,
                    _place: Some(place),
                };
                if give.send(taken).await.is_err() {
                    return;
                }
            }
        });
        Self {
            taken,
            task,
            ended: false,
        }
    }

    /// The next one; `None` when there are no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Taken> {
        let taken = self.taken.recv().await;
        self.ended |= taken.is_none();
        taken
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Messages held at a time. Each is a request to the queue every few seconds; the rest waits there.
const HELD_MAX: usize = 128;
