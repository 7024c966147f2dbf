//! The regional seeder: learns of a build, pulls it from the regional bucket, seeds it and tracks the swarm.

mod build_feed;
mod s3_pull;
mod seed;

pub use build_feed::{BuildFeed, BuildNotice, ChannelFeed, Delivery, QueueFeed};
pub use s3_pull::{PullError, PullOptions, Pulled, Spool, pull};
pub use seed::{RegionalSeeder, SeedError, SeederOptions};
