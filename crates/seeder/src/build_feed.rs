//! How a seeder learns of builds: a feed of notices. One in this process now; a queue speaks the same trait.

use std::future::Future;

use tokio::sync::mpsc;

/// A build is complete in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildNotice {
    /// The bucket.
    pub bucket: String,
    /// The build's key.
    pub key: String,
}

/// Where notices come from. Seeing one twice must be harmless to whoever takes them.
pub trait BuildFeed: Send {
    /// The next notice; `None` when there will be no more. Cancel-safe: a notice is not lost by dropping the future.
    fn next(&mut self) -> impl Future<Output = Option<BuildNotice>> + Send;
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
    async fn next(&mut self) -> Option<BuildNotice> {
        self.0.recv().await
    }
}

/// Notices that wait at most; whoever brings more waits.
const NOTICES_WAITING_MAX: usize = 16;
