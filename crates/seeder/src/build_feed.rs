//! How a seeder learns of builds: a feed of deliveries, from a channel of this process or from the region's queue
//! (`queue_feed`).

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use cloud::CloudError;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// A build is complete in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildNotice {
    /// The bucket.
    pub bucket: String,
    /// The build's key.
    pub key: String,
}

/// A notice that somebody has to see to. One that is dropped before it is done comes back, to this seeder or another one.
#[derive(Debug)]
pub struct Delivery {
    /// What it says.
    pub notice: BuildNotice,
    held: Option<Box<dyn Held>>,
}

/// What a feed keeps from others while a build is being seen to. It lets go when it is dropped.
#[async_trait]
pub(crate) trait Held: std::fmt::Debug + Send + Sync {
    /// It is not told of again.
    async fn done(&self) -> Result<(), CloudError>;

    /// Others are told of it after `wait`.
    async fn give_back(&self, wait: Duration) -> Result<(), CloudError>;

    /// Others are told of it as soon as no request of ours can take it any more.
    async fn let_go(&self) -> Result<(), CloudError>;
}

impl Delivery {
    /// Of a feed that repeats nothing.
    pub const fn once(notice: BuildNotice) -> Self {
        Self { notice, held: None }
    }

    /// Of a feed that tells of it again unless it is done.
    #[cfg(feature = "queue")]
    pub(crate) fn held(notice: BuildNotice, held: Box<dyn Held>) -> Self {
        let held = Some(held);
        Self { notice, held }
    }

    /// Whether the feed tells of it again if nobody sees to it.
    pub(crate) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The build is seeded: it is not delivered again.
    ///
    /// # Errors
    /// Where the queue cannot be told; it is delivered again then, which is harmless.
    pub async fn done(self) -> Result<(), CloudError> {
        match &self.held {
            Some(held) => held.done().await,
            None => Ok(()),
        }
    }

    /// Nobody here sees to it any more: others are told of it soon.
    ///
    /// # Errors
    /// Where the queue cannot be told; it comes back by itself then.
    pub(crate) async fn let_go(self) -> Result<(), CloudError> {
        match &self.held {
            Some(held) => held.let_go().await,
            None => Ok(()),
        }
    }

    /// It could not be seen to: somebody may try again after `wait`. What fails each time ends in the dead-letter queue.
    ///
    /// # Errors
    /// Where the queue cannot be told; it comes back by itself then.
    pub async fn give_back(self, wait: Duration) -> Result<(), CloudError> {
        match &self.held {
            Some(held) => held.give_back(wait).await,
            None => Ok(()),
        }
    }
}

/// Where notices come from. Seeing one twice must be harmless to whoever takes them.
pub trait BuildFeed: Send {
    /// The next notice; `None` when there will be no more. Cancel-safe: a notice is not lost by dropping the future.
    fn next(&mut self) -> impl Future<Output = Option<Delivery>> + Send;
}

/// Notices through a channel of this process.
#[derive(Debug)]
pub struct ChannelFeed(mpsc::Receiver<BuildNotice>);

impl ChannelFeed {
    /// A feed and where to put notices.
    pub fn new() -> (mpsc::Sender<BuildNotice>, Self) {
        let (sender, receiver) = mpsc::channel(NOTICES_WAITING_MAX);
        (sender, Self(receiver))
    }
}

impl BuildFeed for ChannelFeed {
    async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await.map(Delivery::once)
    }
}

/// Notices that wait at most; whoever brings more waits.
const NOTICES_WAITING_MAX: usize = 16;
