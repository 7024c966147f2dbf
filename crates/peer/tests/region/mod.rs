//! A region for the `peer` binary: seeders and a directory in this process, DynamoDB too, and hosts as processes of their own.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, in a module of each"
)]
#![allow(dead_code, reason = "each test file uses the part it needs")]

#[path = "../limit/mod.rs"]
pub mod limit;

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::{Cloud, DeploymentLog, EmbeddedCloud, Faults};
use limit::{Limit, last_words};
use parking_lot::Mutex;
use peer::{
    ChunkPool, ChunkStore, Clock, DirectoryServer, EndpointConfig, Limits, Members, MemoryStore, Multiaddr, Node,
    NodeConfig, NodeIdentity, Observer, Role, SeededBuild, Shaping, StoreOpener, TransportKind,
};
use rustix::process::{Pid, Signal};
use swarm::{ByteRate, Manifest, Part, SeederConfig, SwarmId};
use tempfile::TempDir;

struct Deaf;

impl Observer for Deaf {}

/// A seeder of a build.
pub struct Seeder {
    pub node: Node,
    pub key: String,
    pub version: String,
    pub size: u64,
}

/// How a seeder is.
#[derive(Default)]
pub struct Seeding {
    pub transport: Option<TransportKind>,
    /// Where it listens; on loopback where absent.
    pub listen: Option<Multiaddr>,
    pub part: Option<Part>,
    pub uplink: Option<ByteRate>,
    pub identity: Option<NodeIdentity>,
    /// That of key and version where absent, as a directory's builds have it.
    pub swarm: Option<SwarmId>,
    /// Who vouches for its build.
    pub signature: Option<String>,
    /// Who is let in; everybody where absent.
    pub members: Option<Arc<Members>>,
}

impl Seeder {
    pub async fn start(key: &str, version: &str, build: &[u8]) -> Self {
        Self::with(key, version, build, Seeding::default()).await
    }

    /// One of a swarm that is alone at its address, as `seeder --key` is.
    pub async fn only(key: &str, build: &[u8], bytes_per_second: u64) -> Self {
        let seeding = Seeding {
            uplink: ByteRate::from_bytes_per_second(bytes_per_second),
            swarm: Some(SwarmId::ONLY),
            ..Seeding::default()
        };
        Self::with(key, "only", build, seeding).await
    }

    /// One whose uplink is so many bytes a second.
    pub async fn slow(key: &str, version: &str, build: &[u8], bytes_per_second: u64) -> Self {
        let seeding = Seeding {
            uplink: ByteRate::from_bytes_per_second(bytes_per_second),
            ..Seeding::default()
        };
        Self::with(key, version, build, seeding).await
    }

    pub async fn with(key: &str, version: &str, build: &[u8], seeding: Seeding) -> Self {
        let identity = seeding.identity.unwrap_or_else(NodeIdentity::random);
        let host = identity.host();
        let transport = seeding.transport.unwrap_or(TransportKind::Tcp);
        let mut endpoint = EndpointConfig::on_loopback(identity, transport);
        endpoint.members = seeding.members;
        endpoint.listen = seeding.listen.map_or(endpoint.listen, |at| vec![at]);
        let node = Node::start(
            endpoint,
            NodeConfig {
                swarm: seeding.swarm.unwrap_or_else(|| SwarmId::of_build(key, version)),
                shaping: Shaping {
                    uplink: seeding.uplink,
                    ..Shaping::default()
                },
                limits: Limits::default(),
                store: StoreOpener::in_memory(ChunkPool::default()),
                role: Role::Seeder(SeederConfig {
                    part: seeding.part.unwrap_or(Part::WHOLE),
                    ..SeederConfig::new(host)
                }),
                seed: 1,
                clock: Clock::start(),
                observer: Arc::new(Deaf),
            },
        )
        .await
        .unwrap();
        let manifest = Arc::new(Manifest::of(key, build, CHUNK as u32).unwrap());
        let store = MemoryStore::new(ChunkPool::default(), Arc::clone(&manifest));
        for (chunk, bytes) in manifest.chunks().zip(build.chunks(CHUNK)) {
            store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        }
        if let Some(signature) = seeding.signature {
            node.sign(signature);
        }
        node.seed(manifest, Arc::new(store));
        Self {
            node,
            key: key.to_owned(),
            version: version.to_owned(),
            size: build.len() as u64,
        }
    }

    pub fn listed(&self) -> SeededBuild {
        SeededBuild {
            key: self.key.clone(),
            version: self.version.clone(),
            seeders: vec![self.node.address()],
            size: self.size,
        }
    }
}

/// A directory, a DynamoDB, and room for hosts.
pub struct Region {
    pub home: TempDir,
    pub directory: DirectoryServer,
    pub cloud: EmbeddedCloud,
    pub faults: Faults,
    _limit: Limit,
}

impl Region {
    pub async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let cloud = EmbeddedCloud::start_with_faults(&home.path().join("cloud"), &faults)
            .await
            .unwrap();
        Cloud::connect(cloud.config()).await.bootstrap(&[]).await.unwrap();
        Self {
            directory: directory(&NodeIdentity::random(), "/ip4/127.0.0.1/tcp/0").await,
            home,
            cloud,
            faults,
            _limit: Limit::start(None),
        }
    }

    pub fn publish(&self, seeders: &[&Seeder]) {
        self.directory
            .publish(seeders.iter().map(|seeder| seeder.listed()).collect());
    }

    /// The directory's address.
    pub fn address(&self) -> Multiaddr {
        self.directory.endpoint().addresses().remove(0)
    }

    pub fn builds(&self) -> PathBuf {
        self.home.path().join("builds")
    }

    pub fn file(&self, key: &str) -> PathBuf {
        self.builds().join(key)
    }

    pub fn dynamodb(&self) -> String {
        self.cloud.config().dynamodb_endpoint.clone().unwrap()
    }

    /// A host of the directory that writes rows.
    pub fn host(&self, more: &[&str]) -> Host {
        self.host_logging_to(&self.dynamodb(), more)
    }

    pub fn host_logging_to(&self, endpoint: &str, more: &[&str]) -> Host {
        Host::run(Command::new(binary()).args(self.arguments(endpoint, more)))
    }

    /// A host that writes rows, started by a program that is given it as its last arguments.
    pub fn traced_host(&self, tracer: &[String], more: &[&str]) -> Host {
        let mut command = Command::new(&tracer[0]);
        command.args(&tracer[1..]).arg(binary());
        Host::run(command.args(self.arguments(&self.dynamodb(), more)))
    }

    fn arguments(&self, endpoint: &str, more: &[&str]) -> Vec<String> {
        let (directory, builds) = (self.address().to_string(), self.builds());
        let mut arguments = vec!["--directory", &directory, "--folder", builds.to_str().unwrap()];
        arguments.extend(["--log", "--endpoint-url", endpoint, "--region", "region-a"]);
        arguments.extend(more);
        arguments.into_iter().map(str::to_owned).collect()
    }

    pub async fn rows(&self, key: &str) -> Vec<DeploymentLog> {
        let logs = Cloud::connect(self.cloud.config()).await.deployment_logs();
        logs.rows(key).await.unwrap()
    }

    /// The one row of a build, as soon as it is there.
    pub async fn row(&self, key: &str) -> DeploymentLog {
        let begun = Instant::now();
        loop {
            let mut rows = self.rows(key).await;
            if let Some(row) = rows.pop() {
                assert_eq!(rows, [], "one host has one row");
                return row;
            }
            assert!(begun.elapsed() < PATIENCE, "no row of {key}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub async fn directory(identity: &NodeIdentity, listen: &str) -> DirectoryServer {
    let config = EndpointConfig::at(identity.clone(), TransportKind::Tcp, listen.parse().unwrap());
    let begun = Instant::now();
    loop {
        match DirectoryServer::start(config.clone()).await {
            Ok(directory) => return directory,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A `peer` process. Dropping it kills it.
pub struct Host {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Host {
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(Command::new(binary()).args(arguments))
    }

    /// The same with these variables in its environment.
    pub fn in_environment(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::run(Command::new(binary()).args(arguments).envs(variables.iter().copied()))
    }

    /// Of this command.
    pub fn run(command: &mut Command) -> Self {
        let mut child = command
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, lines_reader) = collected(child.stdout.take().unwrap());
        let (said, said_reader) = collected(child.stderr.take().unwrap());
        Self {
            child,
            lines,
            said,
            readers: vec![lines_reader, said_reader],
        }
    }

    /// A host of one build.
    pub fn single(seeders: &[&Seeder], out: &Path, more: &[&str]) -> Self {
        let addresses: Vec<String> = seeders.iter().map(|seeder| seeder.node.address().to_string()).collect();
        let mut arguments = vec!["--out", out.to_str().unwrap()];
        for address in &addresses {
            arguments.extend(["--seeder", address]);
        }
        arguments.extend(more);
        Self::start(&arguments)
    }

    /// The same by a shell that allows it so many open files.
    pub fn limited(files: u32, seeders: &[&Seeder], out: &Path, more: &[String]) -> Self {
        let mut command = Command::new("sh");
        let limit = format!("ulimit -n {files} && exec \"$@\"");
        command.args(["-c", &limit, "sh"]).arg(binary()).arg("--out").arg(out);
        for seeder in seeders {
            command.args(["--seeder", &seeder.node.address().to_string()]);
        }
        Self::run(command.args(more))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().clone()
    }

    /// The keys of the lines that it has printed so far.
    pub fn keys(&self) -> Vec<String> {
        let lines = self.lines.lock();
        lines
            .iter()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().join("\n")
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id() as i32).unwrap();
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Whether it has said what is to be done when this signal comes.
    pub fn catches(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
    }

    /// Waits until it is so, which a test's patience is enough for.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "not so: {what}\n{:?}\n{}",
                self.lines(),
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it has printed lines of all these keys.
    pub async fn prints(&self, keys: &[&str]) {
        let printed = |host: &Self| keys.iter().all(|key| host.keys().iter().any(|printed| printed == key));
        self.until(&format!("{keys:?} printed"), printed).await;
    }

    /// Its exit code, and how long until it ended; all that it said and printed is there then.
    pub async fn ends(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
                return (status.code(), begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "does not end\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it as planned: it must end well, and soon.
    pub async fn stops(&mut self) {
        self.signal(Signal::TERM);
        let (code, after) = self.ends().await;
        assert_eq!(code, Some(0), "{}", self.said());
        assert!(after < Duration::from_secs(2), "{after:?}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!(
                "a host printed {:?} and said last\n{}",
                self.lines(),
                last_words(&self.said())
            );
        }
    }
}

/// The agent of this build, or of the one in the folder that `FLEETCAST_AGENTS` names.
pub fn binary() -> PathBuf {
    let folder = std::env::var_os("FLEETCAST_AGENTS").map(PathBuf::from);
    folder.map_or_else(|| env!("CARGO_BIN_EXE_peer").into(), |folder| folder.join("peer"))
}

fn collected(stream: impl Read + Send + 'static) -> (Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&lines);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            seen.lock().push(line);
        }
    });
    (lines, reader)
}

/// Bytes of a chunk.
pub const CHUNK: usize = 64 << 10;
/// What takes longer than this on a busy machine does not happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are others for each seed.
pub fn data(seed: u64, length: usize) -> Vec<u8> {
    let words = (seed << 32..).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).take(length).collect()
}
