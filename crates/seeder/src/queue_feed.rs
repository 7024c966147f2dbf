//! A region's queue in SQS as a feed of builds.

use std::time::Duration;

use async_trait::async_trait;
use cloud::{Backoff, CloudError, objects_created};
use pipeline::{Queue, QueueMessage};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::build_feed::{BuildFeed, BuildNotice, Delivery, Held};

/// Notices through a region's queue in SQS. It never ends: while the queue cannot be reached it tries again.
#[derive(Debug)]
pub struct QueueFeed {
    queue: Queue,
    visible_after: Duration,
}

impl QueueFeed {
    /// A feed from `queue`. A message is nobody else's for `visible_after` (at least 2 s), and for as long again each time
    /// half of that has passed, until it is done or dropped: so soon somebody else takes up the build of a seeder that died.
    pub fn new(queue: Queue, visible_after: Duration) -> Self {
        Self {
            queue,
            visible_after: visible_after.max(Duration::from_secs(2)),
        }
    }

    /// A message that tells of a build is held; any other is seen to here.
    async fn read(&self, message: QueueMessage) -> Option<Delivery> {
        let notice = match notice(&message.body) {
            Ok(Some(notice)) => notice,
            Ok(None) => {
                self.tell(self.queue.delete(&message).await);
                return None;
            }
            Err(problem) => {
                let queue = self.queue.name();
                tracing::error!(
                    queue,
                    taken_up = message.taken_up,
                    "a message is no notice of a build: {problem}"
                );
                self.tell(self.queue.extend(&message, Duration::ZERO).await);
                return None;
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
        let hold = Hold {
            queue: self.queue.clone(),
            message,
            keeping,
            visible_after: self.visible_after,
        };
        Some(Delivery::held(notice, Box::new(hold)))
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
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

#[async_trait]
impl Held for Hold {
    async fn done(&self) -> Result<(), CloudError> {
        self.queue.delete(&self.message).await
    }

    async fn give_back(&self, wait: Duration) -> Result<(), CloudError> {
        self.queue.extend(&self.message, wait).await
    }

    async fn let_go(&self) -> Result<(), CloudError> {
        // A request that is under way when its process ends may still take a message, which nobody would see then.
        let wait = (LONG_POLL + Duration::from_secs(1)).min(self.visible_after);
        self.queue.extend(&self.message, wait).await
    }
}

impl BuildFeed for QueueFeed {
    async fn next(&mut self) -> Option<Delivery> {
        let mut failures = 0;
        loop {
            match self.queue.take(LONG_POLL, self.visible_after).await {
                Ok(message) => {
                    if failures > 0 {
                        tracing::info!(queue = self.queue.name(), "the queue answers again");
                    }
                    failures = 0;
                    if let Some(message) = message
                        && let Some(delivery) = self.read(message).await
                    {
                        return Some(delivery);
                    }
                }
                Err(error) => {
                    failures += 1;
                    let wait = UNREACHABLE.delay(failures).unwrap_or(UNREACHABLE.max);
                    tracing::warn!(queue = self.queue.name(), %error, ?wait, "the queue does not answer; trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }
}

/// The build that a message tells of: `{"bucket": …, "key": …}` as `regional-sync` says it, or an event of S3 that a bucket
/// sends by itself. None where it is S3's test of a new notification.
fn notice(body: &str) -> Result<Option<BuildNotice>, String> {
    let value: Value = serde_json::from_str(body).map_err(|error| format!("not JSON: {error}"))?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(bucket), Some(key)) = (text("bucket"), text("key")) {
        return Ok(Some(BuildNotice {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }));
    }
    let mut objects = objects_created(&value).map_err(|error| error.to_string())?;
    match objects.len() {
        0 => Ok(None),
        1 => Ok(objects.pop().map(|object| BuildNotice {
            bucket: object.bucket,
            key: object.key,
        })),
        count => Err(format!("{count} builds in one message; expected one")),
    }
}

/// Waiting for a message; the most that SQS allows.
const LONG_POLL: Duration = Duration::from_secs(20);
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
        let build = Ok(Some(BuildNotice {
            bucket: "region-a-builds".to_owned(),
            key: "a b.zip".to_owned(),
        }));
        assert_eq!(
            notice(r#"{"bucket": "region-a-builds", "key": "a b.zip", "size": 3}"#),
            build
        );
        let event = r#"{"Records": [{"eventName": "ObjectCreated:Copy", "s3": {"bucket": {"name": "region-a-builds"}, "object": {"key": "a+b.zip"}}}]}"#;
        assert_eq!(notice(event), build);
        assert_eq!(notice(r#"{"Event": "s3:TestEvent"}"#), Ok(None));
        for (nonsense, message) in [("{", "not JSON"), ("{}", "Records"), (r#"{"bucket": "b"}"#, "Records")] {
            assert!(notice(nonsense).unwrap_err().contains(message), "{nonsense}");
        }
    }
}
