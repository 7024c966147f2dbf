//! The seeder of one region: a node that tracks the swarm from the start, and seeds when a build has come.

use std::sync::Arc;

use cloud::Buckets;
use peer::{
    ChunkPool, Clock, Limits, Multiaddr, Node, NodeConfig, NodeError, NodeIdentity, NodeReport, Observer, PathDelay,
    Role, Shaping, StoreOpener, TransportKind,
};
use swarm::{SeederConfig, SeederStats};

use crate::build_feed::{BuildFeed, BuildNotice, Delivery};
use crate::s3_pull::{PullError, PullOptions, Pulled, pull};

/// What a seeder needs to start.
pub struct SeederOptions {
    /// Its key.
    pub identity: NodeIdentity,
    /// Its part of the protocol.
    pub core: SeederConfig,
    /// How it connects.
    pub transport: TransportKind,
    /// Where it listens.
    pub listen: Multiaddr,
    /// Where hosts reach it, if not where it listens.
    pub advertise: Option<Multiaddr>,
    /// Its links.
    pub shaping: Shaping,
    /// What is between it and its hosts besides the network that is there, in a run on one machine.
    pub path: Option<PathDelay>,
    /// Its limits. Every host of the region keeps a connection to it.
    pub limits: Limits,
    /// Seed of its random choices.
    pub seed: u64,
    /// The run's clock.
    pub clock: Clock,
    /// How to pull.
    pub pull: PullOptions,
}

/// Why a seeder does not seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The build could not be pulled.
    #[error("build {key} from bucket {bucket} is not seeded")]
    Pull {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Why.
        source: PullError,
    },
    /// The feed ended without a build.
    #[error("no build has come before the feed ended")]
    NoBuild,
}

/// A running seeder.
pub struct RegionalSeeder {
    node: Node,
    pull: PullOptions,
}

struct Silent;

impl Observer for Silent {}

impl RegionalSeeder {
    /// Starts it: hosts can join when this returns.
    pub async fn start(options: SeederOptions) -> Result<Self, NodeError> {
        let host = options.core.host;
        let node = Node::start(NodeConfig {
            identity: options.identity,
            host,
            transport: options.transport,
            listen: options.listen,
            advertise: options.advertise,
            shaping: options.shaping,
            path: options.path,
            limits: options.limits,
            // What it seeds comes with the build.
            store: StoreOpener::in_memory(ChunkPool::default()),
            role: Role::Seeder(options.core),
            seed: options.seed,
            clock: options.clock,
            observer: Arc::new(Silent),
        })
        .await?;
        Ok(Self {
            node,
            pull: options.pull,
        })
    }

    /// Waits for a build and pulls it. The delivery is to be told when it is seeded.
    pub async fn pull_from(
        &self,
        buckets: &Buckets,
        feed: &mut impl BuildFeed,
    ) -> Result<(Pulled, Delivery), SeedError> {
        let delivery = feed.next().await.ok_or(SeedError::NoBuild)?;
        Ok((self.pull(buckets, &delivery.notice).await?, delivery))
    }

    /// Pulls the build of a notice.
    pub async fn pull(&self, buckets: &Buckets, notice: &BuildNotice) -> Result<Pulled, SeedError> {
        pull(buckets, notice, &self.pull)
            .await
            .map_err(|source| SeedError::Pull {
                bucket: notice.bucket.clone(),
                key: notice.key.clone(),
                source,
            })
    }

    /// Seeds a build that was pulled. A swarm has one build: a second one is our bug.
    pub fn seed(&self, pulled: Pulled) {
        let Pulled { manifest, store, .. } = pulled;
        tracing::info!(build = manifest.build_id(), root = %manifest.root(), chunks = manifest.chunk_count(), "seeding");
        self.node.seed(manifest, store);
    }

    /// Where hosts dial it.
    pub fn address(&self) -> &Multiaddr {
        self.node.address()
    }

    /// Bytes it has sent and received.
    pub fn report(&self) -> NodeReport {
        self.node.report()
    }

    /// What it has seen and done.
    pub fn stats(&self) -> SeederStats {
        self.node.seeder_stats().unwrap_or_default()
    }

    /// Hosts that have joined.
    pub fn member_count(&self) -> usize {
        self.node.member_count()
    }
}
