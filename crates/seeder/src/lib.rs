//! The regional seeder: learns of a build, pulls it from the regional bucket, seeds it and tracks the swarm.

mod agent;
mod build_feed;
mod get_turns;
mod host_rows;
#[cfg(feature = "queue")]
mod queue_feed;
mod s3_pull;
mod seed;
mod signatures;
mod spool;
mod unheard;

pub use agent::{
    Agent, AgentHost, AgentOptions, Patience, QueueStatus, SeededStatus, SeederStatus, SeedingState, Wish,
};
pub use build_feed::{BuildFeed, BuildNotice, ChannelFeed, Delivery};
pub use get_turns::{GetTurns, PullTurns, Turn};
pub use host_rows::HostRows;
#[cfg(feature = "queue")]
pub use queue_feed::QueueFeed;
pub use s3_pull::{PullError, PullOptions, Pulled, Spool, adopt, pull, pull_object};
pub use seed::{RegionalSeeder, SeedError, SeederOptions};
pub use spool::{
    BuildName, ListedBuild, Origin, PullingBuild, SeedingList, SpoolError, SpoolFolder, SpoolLimits, SpoolStore,
    WholeBuild,
};
pub use unheard::{Hearing, Looks};
