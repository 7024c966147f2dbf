//! The seeder of one region: a node that tracks the swarm from the start, and seeds when a build has come.

use std::sync::Arc;

use cloud::Buckets;
use peer::{
    ChunkPool, Clock, Endpoint, EndpointConfig, Limits, Multiaddr, Node, NodeConfig, NodeError, NodeReport, Observer,
    Role, Shaping, StoreOpener,
};
use swarm::{SeederConfig, SeederStats, SwarmId};

use crate::build_feed::{BuildFeed, BuildNotice, Delivery};
use crate::s3_pull::{PullError, PullOptions, Pulled, pull};

/// What a seeder needs besides its endpoint, to which every host of the region keeps a connection.
pub struct SeederOptions {
    /// Which swarm it seeds to.
    pub swarm: SwarmId,
    /// Its part of the protocol.
    pub core: SeederConfig,
    /// Its links.
    pub shaping: Shaping,
    /// Its limits.
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

impl SeederOptions {
    fn split(self) -> (NodeConfig, PullOptions) {
        let config = NodeConfig {
            swarm: self.swarm,
            shaping: self.shaping,
            limits: self.limits,
            // What it seeds comes with the build.
            store: StoreOpener::in_memory(ChunkPool::default()),
            role: Role::Seeder(self.core),
            seed: self.seed,
            clock: self.clock,
            observer: Arc::new(Silent),
        };
        (config, self.pull)
    }
}

impl RegionalSeeder {
    /// Starts it with an endpoint of its own: hosts can join when this returns.
    pub async fn start(endpoint: EndpointConfig, options: SeederOptions) -> Result<Self, NodeError> {
        let (config, pull) = options.split();
        let node = Node::start(endpoint, config).await?;
        Ok(Self { node, pull })
    }

    /// Starts it at an endpoint that it shares with other swarms: hosts can join when this returns.
    pub fn join(endpoint: &Endpoint, options: SeederOptions) -> Self {
        let (config, pull) = options.split();
        let node = endpoint.join(config);
        Self { node, pull }
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
        let Pulled {
            manifest,
            store,
            signature,
            ..
        } = pulled;
        if let Some(signature) = signature {
            self.node.sign(signature);
        }
        tracing::info!(build = manifest.build_id(), root = %manifest.root(), chunks = manifest.chunk_count(), "seeding");
        self.node.seed(manifest, store);
    }

    /// Somebody vouches anew for what it seeds: hosts that come, or come again, hear of that.
    pub fn sign(&self, signature: String) {
        self.node.sign(signature);
    }

    /// Where hosts dial it.
    pub fn address(&self) -> Multiaddr {
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

    /// How many of them lack chunks.
    pub fn incomplete_count(&self) -> usize {
        self.node.incomplete_count()
    }
}
