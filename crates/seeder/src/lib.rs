//! The regional seeder: learns of a build, pulls it from the regional bucket, seeds it and tracks the swarm.

mod build_feed;
#[cfg(feature = "queue")]
mod queue_feed;
mod s3_pull;
mod seed;

pub use build_feed::{BuildFeed, BuildNotice, ChannelFeed, Delivery};
#[cfg(feature = "queue")]
pub use queue_feed::QueueFeed;
pub use s3_pull::{PullError, PullOptions, Pulled, Spool, pull};
pub use seed::{RegionalSeeder, SeedError, SeederOptions};
