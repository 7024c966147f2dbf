//! A region in one process: an agent before the embedded S3, and hosts that fetch whatever is listed and stay.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a rig of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peer::{
    Addresses, ChunkPool, Clock, Endpoint, EndpointConfig, Limits, Multiaddr, Node, NodeConfig, NodeIdentity, Observer,
    Role, SeededBuild, Shaping, StoreOpener, Traffic, TransportKind, Trust, host_of,
};
use seeder::{
    Agent, AgentHost, AgentOptions, BuildNotice, ChannelFeed, GetTurns, Patience, PullOptions, RegionalSeeder,
    SeederOptions, Spool, SpoolFolder, SpoolLimits,
};
use signing::TrustedKeys;
use swarm::{Contact, HostId, PeerConfig, SeederConfig, SwarmId, Time};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::rig::limit::within;
use super::rig::{S3, bucket};

/// Soon enough for a test, and long for a loopback.
pub const PATIENCE: Patience = Patience {
    least: Duration::from_millis(300),
    fewer: Duration::from_secs(20),
    stuck: Duration::from_secs(60),
};

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);

/// What is listed, shared by agents that follow each other.
pub type Listed = watch::Sender<Vec<SeededBuild>>;

/// A running agent.
pub struct Running {
    notices: mpsc::Sender<BuildNotice>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// How an agent is started.
#[derive(Clone)]
pub struct Start {
    pub builds_max: usize,
    pub patience: Patience,
    pub limits: SpoolLimits,
    pub listed: Listed,
    /// Hosts that hear of what is listed; 0 where that is not known.
    pub followers: Arc<AtomicUsize>,
    /// Whose builds the agent seeds, and its hosts fetch.
    pub trust: Option<TrustedKeys>,
}

impl Start {
    pub fn new(builds_max: usize) -> Self {
        Self {
            builds_max,
            patience: PATIENCE,
            limits: SpoolLimits::default(),
            listed: watch::channel(Vec::new()).0,
            followers: Arc::default(),
            trust: None,
        }
    }

    pub async fn agent(&self, s3: &S3) -> Running {
        let folder = self.folder(s3).await;
        let pull = PullOptions {
            chunk_size: None,
            turns: GetTurns::new(8),
            spool: Spool::Folder(Arc::clone(&folder)),
            trust: self.trust.clone().map(Arc::new),
        };
        let config = EndpointConfig::on_loopback(NodeIdentity::random(), TransportKind::Tcp);
        let host = TestHost {
            endpoint: Endpoint::start(config).await.unwrap(),
            pull: pull.clone(),
            listed: self.listed.clone(),
            followers: Arc::clone(&self.followers),
        };
        let options = AgentOptions {
            builds_max: self.builds_max,
            patience: self.patience,
            pull,
            folder,
        };
        let agent = Agent::new(host, s3.buckets().await, options);
        let (notices, feed) = ChannelFeed::new();
        let (stop, stopped) = oneshot::channel();
        let stopped = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(async move { Box::pin(agent.run(feed, stopped)).await });
        Running {
            notices,
            stop: Some(stop),
            task,
        }
    }

    /// The folder, as soon as the agent before has let go of it.
    async fn folder(&self, s3: &S3) -> Arc<SpoolFolder> {
        let began = Instant::now();
        loop {
            match SpoolFolder::open(&s3.spool(), self.limits) {
                Ok(folder) => return folder,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Running {
    /// Tells of a build; waits while the agent takes no more.
    pub async fn tell(&self, key: &str) {
        let notice = BuildNotice {
            bucket: bucket(),
            key: key.to_owned(),
        };
        let sent = within(LONG, "the agent takes a notice", self.notices.send(notice)).await;
        sent.unwrap();
    }

    /// A way to tell of builds from elsewhere.
    pub fn notices(&self) -> mpsc::Sender<BuildNotice> {
        self.notices.clone()
    }

    /// As a process that dies.
    pub async fn kill(self) {
        self.task.abort();
        let _ = within(LONG, "the agent is gone", self.task).await;
    }

    /// As it is told to.
    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        within(LONG, "the agent has stopped", self.task).await.unwrap();
    }
}

struct TestHost {
    endpoint: Endpoint,
    pull: PullOptions,
    listed: Listed,
    followers: Arc<AtomicUsize>,
}

impl AgentHost for TestHost {
    fn start_swarm(&mut self, swarm: SwarmId) -> RegionalSeeder {
        let options = SeederOptions {
            swarm,
            core: SeederConfig::new(host_of(self.endpoint.peer_id())),
            shaping: Shaping::default(),
            limits: Limits::default(),
            seed: 1,
            clock: Clock::start(),
            pull: self.pull.clone(),
        };
        RegionalSeeder::join(&self.endpoint, options)
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        self.endpoint.addresses()
    }

    fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    fn seeding(&mut self, _key: &str) {}

    fn publish(&mut self, builds: Vec<SeededBuild>) {
        self.listed.send_replace(builds);
    }
}

/// A host that fetches what is listed. A build that is not listed any more it has, or lacks for good.
pub struct Host {
    has: Arc<Mutex<BTreeSet<(String, String)>>>,
    task: JoinHandle<()>,
}

struct Told {
    build: (String, String),
    has: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl Observer for Told {
    fn complete(&self, _host: HostId, _at: Time, _traffic: Traffic) {
        self.has.lock().unwrap().insert(self.build.clone());
    }
}

impl Host {
    pub fn start(listed: &Listed) -> Self {
        Self::trusting(listed, None)
    }

    /// One that believes what these keys have signed.
    pub fn trusting(listed: &Listed, trust: Option<TrustedKeys>) -> Self {
        let trust = trust.map(|keys| Arc::new(Trust::of(keys)));
        let has: Arc<Mutex<BTreeSet<_>>> = Arc::default();
        let (known, mut listed) = (Arc::clone(&has), listed.subscribe());
        let task = tokio::spawn(async move {
            let mut nodes: BTreeMap<(String, String, Vec<Multiaddr>), Node> = BTreeMap::new();
            loop {
                let builds = listed.borrow_and_update().clone();
                let id = |build: &SeededBuild| (build.key.clone(), build.version.clone(), build.seeders.clone());
                let ids: BTreeSet<_> = builds.iter().map(id).collect();
                nodes.retain(|id, _| ids.contains(id));
                for build in builds {
                    if let std::collections::btree_map::Entry::Vacant(place) = nodes.entry(id(&build)) {
                        place.insert(fetch(&build, &known, trust.as_ref()).await);
                    }
                }
                if listed.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { has, task }
    }

    /// Keys and versions that it has.
    pub fn has(&self) -> BTreeSet<(String, String)> {
        self.has.lock().unwrap().clone()
    }

    pub fn has_key(&self, key: &str) -> bool {
        self.has().iter().any(|(has, _)| has == key)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn fetch(build: &SeededBuild, has: &Arc<Mutex<BTreeSet<(String, String)>>>, trust: Option<&Arc<Trust>>) -> Node {
    let verifier = trust.map(|trust| trust.verifier(Path::new("build"), Some(build.key.clone())));
    let identity = NodeIdentity::random();
    let host = identity.host();
    let addresses = Addresses::of(&build.seeders).unwrap();
    let contact = Contact {
        host: host_of(addresses.peer()),
        address: addresses.encode(),
    };
    let config = NodeConfig {
        swarm: build.swarm(),
        shaping: Shaping::default(),
        limits: Limits::default(),
        store: StoreOpener::in_memory(ChunkPool::default()),
        role: Role::Host(Box::new(move |host, own| PeerConfig {
            verifier,
            ..PeerConfig::new(host, own, contact)
        })),
        seed: host.get(),
        clock: Clock::start(),
        observer: Arc::new(Told {
            build: (build.key.clone(), build.version.clone()),
            has: Arc::clone(has),
        }),
    };
    let endpoint = EndpointConfig::on_loopback(identity, TransportKind::Tcp);
    Node::start(endpoint, config).await.unwrap()
}

/// Waits until something is so.
pub async fn until(what: &str, within: Duration, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
