//! A region's queue in SQS as a feed of builds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cloud::{Backoff, CloudError, ObjectCreated, builds_told};
use peer::Reach;
use pipeline::{Queue, QueueMessage};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::build_feed::{BuildFeed, BuildNotice, Delivery, Held};

/// Notices through a region's queue in SQS. It never ends: while the queue cannot be reached it tries again.
#[derive(Debug)]
pub struct QueueFeed {
    queue: Queue,
    visible_after: Duration,
    /// Is told whether the queue answers.
    reach: watch::Sender<Reach>,
    /// Builds of a message that tells of several, and of which the first is delivered.
    ready: VecDeque<Delivery>,
}

impl QueueFeed {
    /// A feed from `queue`. A message is nobody else's for `visible_after` (at least 2 s), and for as long again each time
    /// half of that has passed, until it is done or dropped: so soon somebody else takes up the build of a seeder that died.
    pub fn new(queue: Queue, visible_after: Duration) -> Self {
        Self {
            queue,
            visible_after: visible_after.max(Duration::from_secs(2)),
            reach: watch::Sender::new(Reach::Unknown),
            ready: VecDeque::new(),
        }
    }

    /// The same, which tells `reach` whether the queue answers.
    #[must_use]
    pub fn telling(self, reach: watch::Sender<Reach>) -> Self {
        Self { reach, ..self }
    }

    /// A message that tells of builds is held until all of them are seen to; any other is seen to here.
    async fn read(&self, message: QueueMessage) -> VecDeque<Delivery> {
        let notices = match notices(&message.body) {
            Ok(notices) if notices.is_empty() => {
                self.tell(self.queue.delete(&message).await);
                return VecDeque::new();
            }
            Ok(notices) => notices,
            Err(problem) => {
                // Said once: it comes as often as it takes to end in the dead-letter queue.
                if message.taken_up <= 1 {
                    let queue = self.queue.name();
                    tracing::error!(queue, "a message is no notice of a build: {problem}");
                }
                self.tell(self.queue.extend(&message, Duration::ZERO).await);
                return VecDeque::new();
            }
        };
        let (queue, kept, visible_after) = (self.queue.clone(), message.clone(), self.visible_after);
        let keeping = tokio::spawn(async move {
            loop {
                tokio::time::sleep(visible_after / 2).await;
                if let Err(error) = queue.extend(&kept, visible_after).await {
                    tracing::warn!(%error, "a message may come back while its build is being seen to");
                }
            }
        });
        let hold = Arc::new(Hold {
            queue: self.queue.clone(),
            message,
            keeping,
            visible_after: self.visible_after,
            left: AtomicUsize::new(notices.len()),
        });
        let held = |notice| Delivery::held(notice, Box::new(SharedHold(Arc::clone(&hold))));
        notices.into_iter().map(held).collect()
    }

    fn tell(&self, told: Result<(), CloudError>) {
        if let Err(error) = told {
            tracing::warn!(queue = self.queue.name(), %error, "a message will come back");
        }
    }
}

/// A message of a queue that is kept from others while its build is being seen to.
#[derive(Debug)]
struct Hold {
    queue: Queue,
    message: QueueMessage,
    keeping: JoinHandle<()>,
    visible_after: Duration,
    /// Builds that it tells of and that are not done.
    left: AtomicUsize,
}

/// The part that one build has in it.
#[derive(Debug)]
struct SharedHold(Arc<Hold>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

#[async_trait]
impl Held for SharedHold {
    async fn done(&self) -> Result<(), CloudError> {
        // The last one deletes it. If another build of it was given back it has never come to that, and all are told of again.
        if self.0.left.fetch_sub(1, Ordering::Relaxed) > 1 {
            return Ok(());
        }
        self.0.queue.delete(&self.0.message).await
    }

    async fn give_back(&self, wait: Duration) -> Result<(), CloudError> {
        self.0.queue.extend(&self.0.message, wait).await
    }

    async fn let_go(&self) -> Result<(), CloudError> {
        // A request that is under way when its process ends may still take a message, which nobody would see then.
        let wait = (LONG_POLL + Duration::from_secs(1)).min(self.0.visible_after);
        self.0.queue.extend(&self.0.message, wait).await
    }
}

impl BuildFeed for QueueFeed {
    async fn next(&mut self) -> Option<Delivery> {
        let mut failures = 0;
        let mut since = Instant::now();
        let mut is_told = false;
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Some(delivery);
            }
            match self.queue.take(LONG_POLL, self.visible_after).await {
                Ok(message) => {
                    if failures > 0 {
                        tracing::info!(queue = self.queue.name(), "the queue answers again");
                    }
                    failures = 0;
                    self.reach.send_replace(Reach::Answers);
                    if let Some(message) = message {
                        self.ready = self.read(message).await;
                    }
                }
                Err(error) => {
                    if failures == 0 {
                        since = Instant::now();
                    }
                    failures += 1;
                    self.reach.send_replace(Reach::Silent(error.to_string()));
                    if !is_told && since.elapsed() > SILENT_MAX {
                        is_told = true;
                        let (queue, seconds) = (self.queue.name(), since.elapsed().as_secs());
                        tracing::error!(queue, %error, "nothing is heard of new builds: the queue has not answered for {seconds} s");
                    }
                    let wait = UNREACHABLE.delay(failures).unwrap_or(UNREACHABLE.max);
                    tracing::warn!(queue = self.queue.name(), %error, ?wait, "the queue does not answer; trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// The builds that a message tells of; none where it is S3's test of a new notification.
fn notices(body: &str) -> Result<Vec<BuildNotice>, String> {
    let objects = builds_told(body).map_err(|error| error.to_string())?;
    let notice = |object: ObjectCreated| BuildNotice {
        bucket: object.bucket,
        key: object.key,
    };
    Ok(objects.into_iter().map(notice).collect())
}

/// Waiting for a message; the most that SQS allows.
const LONG_POLL: Duration = Duration::from_secs(20);
/// A queue that has not answered for longer is an error: until then it may be a short disturbance.
const SILENT_MAX: Duration = Duration::from_secs(60);
/// Between attempts to reach a queue.
const UNREACHABLE: Backoff = Backoff {
    first: Duration::from_millis(500),
    factor: 2,
    max: Duration::from_secs(10),
    attempts: u32::MAX,
    seed: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_notices_events_tests_or_nonsense() {
        let of_key = |key: &str| BuildNotice {
            bucket: "region-a-builds".to_owned(),
            key: key.to_owned(),
        };
        let build = Ok(vec![of_key("a b.zip")]);
        assert_eq!(
            notices(r#"{"bucket": "region-a-builds", "key": "a b.zip", "size": 3}"#),
            build
        );
        let event = r#"{"Records": [{"eventName": "ObjectCreated:Copy", "s3": {"bucket": {"name": "region-a-builds"}, "object": {"key": "a+b.zip"}}}]}"#;
        assert_eq!(notices(event), build);
        assert_eq!(notices(r#"{"Event": "s3:TestEvent"}"#), Ok(Vec::new()));
        let record =
            |key: &str| serde_json::json!({"s3": {"bucket": {"name": "region-a-builds"}, "object": {"key": key}}});
        let two = serde_json::json!({"Records": [record("a.zip"), record("b.zip")]});
        let by_sns = serde_json::json!({"Type": "Notification", "Message": two.to_string()});
        for event in [two, by_sns] {
            assert_eq!(notices(&event.to_string()), Ok(vec![of_key("a.zip"), of_key("b.zip")]));
        }
        for (nonsense, message) in [("{", "not JSON"), ("{}", "Records"), (r#"{"bucket": "b"}"#, "Records")] {
            assert!(notices(nonsense).unwrap_err().contains(message), "{nonsense}");
        }
    }
}
