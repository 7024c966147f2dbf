//! A region of processes: an S3 and a queue, a DynamoDB, a seeder and hosts, each of which can be killed and started again.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a rig of tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use cloud::{Buckets, Cloud, CloudConfig, Credentials, DeploymentLog, EmbeddedCloud};
use pipeline::{PipelineClients as _, Queue};
use rustix::process::{Pid, Signal, kill_process};

use super::rig::Front;
use super::rig::limit::{Limit, within};
use super::stack;

pub const BUCKET: &str = "region-a-builds";
/// What takes longer than this on a busy machine does not happen.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The local stack, which serves S3 and queues to all days of a test.
pub struct Services {
    pub buckets: Buckets,
    pub front: Front,
    cloud: Cloud,
    endpoint: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Services {
    pub async fn start() -> Self {
        let (endpoint, process, folder) = stack::start_bare().await;
        let config = CloudConfig {
            credentials: Some(Credentials {
                access_key_id: "fleetcast".to_owned(),
                secret_access_key: "embedded".to_owned(),
                session_token: None,
            }),
            ..CloudConfig::at(&endpoint)
        };
        let cloud = Cloud::connect(&config).await;
        cloud.buckets().create_if_missing(BUCKET).await.unwrap();
        Self {
            buckets: cloud.buckets(),
            front: Front::start(endpoint.trim_start_matches("http://").to_owned()).await,
            cloud,
            endpoint,
            process,
            _folder: folder,
        }
    }

    /// A new queue of this name.
    async fn queue(&self, name: &str) -> Queue {
        let shared = self.cloud.shared().clone().into_builder();
        let shared = shared.endpoint_url(&self.endpoint).build();
        let made = aws_sdk_sqs::Client::new(&shared).create_queue().queue_name(name).send();
        made.await.unwrap();
        self.cloud.queues().named(name).await.unwrap()
    }
}

/// One region, with its directory's port, and the folders and logs of its agents.
pub struct Region<'a> {
    /// Dropped first: while the logs are there.
    _limit: Limit,
    pub services: &'a Services,
    pub folder: tempfile::TempDir,
    queue: Queue,
    rows: Cloud,
    dynamodb: EmbeddedCloud,
    port: u16,
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        // Whoever looks for a seed that fails wants to see why.
        if std::thread::panicking() && std::env::var_os(SEEDS).is_some() {
            self.folder.disable_cleanup(true);
            eprintln!("its files and what its agents said: {}", self.folder.path().display());
        }
    }
}

impl<'a> Region<'a> {
    pub async fn start(services: &'a Services, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dynamodb = EmbeddedCloud::start(&folder.path().join("cloud")).await.unwrap();
        let rows = Cloud::connect(dynamodb.config()).await;
        rows.bootstrap(&[]).await.unwrap();
        Self {
            queue: services.queue(name).await,
            services,
            _limit: Limit::start(Some(folder.path())),
            folder,
            rows,
            dynamodb,
            port: port_that_stays(),
        }
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        let put = self.services.buckets.put_bytes(BUCKET, key, bytes.into());
        within(PATIENCE, "the object is in the bucket", put).await.unwrap();
    }

    pub async fn tell(&self, key: &str) {
        let message = format!(r#"{{"bucket": "{BUCKET}", "key": "{key}"}}"#);
        let sent = within(PATIENCE, "the queue takes a message", self.queue.send(&message)).await;
        sent.unwrap();
    }

    /// Messages in the queue, taken ones included.
    pub async fn messages(&self) -> u64 {
        let depth = within(PATIENCE, "the queue says how long it is", self.queue.depth()).await;
        let (waiting, taken) = depth.unwrap();
        waiting + taken
    }

    pub async fn rows(&self, key: &str) -> Vec<DeploymentLog> {
        let logs = self.rows.deployment_logs();
        within(PATIENCE, "the rows of a build", logs.rows(key)).await.unwrap()
    }

    /// Connections that hosts have with the seeder now.
    pub fn connections(&self) -> usize {
        let port = format!(":{:04X}", self.port);
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let is_ours = |line: &&str| {
            // "N: LOCAL REMOTE STATE …", where an established one has the state 01.
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("01")
        };
        table.lines().filter(is_ours).count()
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    pub fn builds(&self, host: usize) -> PathBuf {
        self.folder.path().join(format!("host-{host}"))
    }

    /// A seeder at the region's port, when it has said where its directory is.
    pub async fn seeder(&self, more: &[&str]) -> Agent {
        let mut command = Command::new(binary("seeder"));
        let listen = format!("/ip4/127.0.0.1/tcp/{}", self.port);
        command.args(["--queue", self.queue.name(), "--listen", &listen, "--endpoint-url"]);
        command
            .arg(&self.services.front.endpoint)
            .arg("--folder")
            .arg(self.spool());
        command.args(more);
        let mut seeder = Agent::start(&mut command, self.folder.path(), "seeder");
        until("the directory", || {
            assert!(!seeder.has_ended(), "it has ended\n{}", seeder.said());
            seeder.lines().iter().any(|line| line.contains("/p2p/"))
        })
        .await;
        seeder
    }

    /// Where the directory is, once a seeder has run.
    pub fn directory(&self) -> String {
        let lines = std::fs::read_to_string(self.folder.path().join("seeder.out")).unwrap();
        let line = lines.lines().next().unwrap();
        line.to_owned()
    }

    /// A host that writes rows.
    pub fn host(&self, host: usize, more: &[&str]) -> Agent {
        let name = format!("host-{host}");
        let mut command = Command::new(binary("peer"));
        command
            .args(["--directory", &self.directory(), "--folder"])
            .arg(self.builds(host));
        command.args(["--log", "--region", "region-a", "--host-id", &name, "--endpoint-url"]);
        command.arg(self.dynamodb.config().dynamodb_endpoint.clone().unwrap());
        command.args(more);
        Agent::start(&mut command, self.folder.path(), &name)
    }
}

/// What a process has of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub descriptors: usize,
    pub threads: u64,
    pub resident_kib: u64,
    pub anonymous_kib: u64,
}

/// The TCP sockets of this machine by inode, as `PORT -> PORT STATE`.
fn sockets() -> BTreeMap<String, String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
        let (local, remote) = (port(fields.get(1)?)?, port(fields.get(2)?)?);
        // Those that are given to who dials are all alike.
        let shown = |port| {
            if port >= 32_768 {
                "dialled".to_owned()
            } else {
                format!("{port}")
            }
        };
        let state = fields.get(3)?;
        Some((
            (*fields.get(9)?).to_owned(),
            format!("{} -> {} {state}", shown(local), shown(remote)),
        ))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// A process whose output is kept in files that its successors go on with. Dropping it kills it.
pub struct Agent {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Agent {
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Self {
        let (out, log) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let append = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        let child = command
            .env("AWS_ACCESS_KEY_ID", "fleetcast")
            .env("AWS_SECRET_ACCESS_KEY", "embedded")
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(append(&out))
            .stderr(append(&log))
            .spawn()
            .unwrap();
        Self { child, out, log }
    }

    /// All lines that it and its predecessors have printed.
    pub fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.out).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// All that it and its predecessors have said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its exit code, as soon as it ends.
    pub async fn ends(&mut self, within: Duration) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < within, "it does not end\n{}", self.said());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it as planned: it must end well. How soon is a matter of tests that have the machine for themselves.
    pub async fn stops(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ends(PATIENCE).await, Some(0), "{}", self.said());
    }

    /// What its descriptors are, counted: files by name, connections by their ports and state.
    pub fn open(&self) -> BTreeMap<String, usize> {
        let sockets = sockets();
        let mut open = BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .flatten()
        {
            // It may be closed by now.
            let Ok(leads_to) = std::fs::read_link(entry.path()) else {
                continue;
            };
            let leads_to = leads_to.display().to_string();
            let inode = leads_to.strip_prefix("socket:[").map(|rest| rest.trim_end_matches(']'));
            let what = match inode {
                Some(inode) => sockets
                    .get(inode)
                    .cloned()
                    .unwrap_or_else(|| "another socket".to_owned()),
                None => leads_to,
            };
            *open.entry(what).or_default() += 1;
        }
        open
    }

    pub fn usage(&self) -> Usage {
        let folder = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
        let number = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Usage {
            descriptors: std::fs::read_dir(format!("{folder}/fd")).unwrap().count(),
            threads: number("Threads:"),
            resident_kib: number("VmRSS:"),
            anonymous_kib: number("RssAnon:"),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Names the seeds that are tried, where not those of CI.
const SEEDS: &str = "FLEETCAST_SEEDS";

/// Random numbers of a seed.
pub struct Draw(u64);

impl Draw {
    pub const fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// From 0 to less than `below`.
    pub const fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    pub const fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }
}

/// The seeds of `FLEETCAST_SEEDS`, such as `0..200`; of CI where it is not set.
pub fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(SEEDS) else {
        return 0..1;
    };
    let range = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("FLEETCAST_SEEDS={text}: expected a range such as 0..200"))
}

/// Says how a seed that fails is replayed.
pub struct Replay {
    pub test: &'static str,
    pub seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = *self;
            let next = seed + 1;
            eprintln!(
                "replay: FLEETCAST_SEEDS={seed}..{next} cargo test -p seeder --all-features --test days {test} -- --nocapture"
            );
        }
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that no outgoing connection is given while its listener is away.
fn port_that_stays() -> u16 {
    // Regions of one process that run side by side have different ones.
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let given = GIVEN.fetch_add(1, Ordering::Relaxed);
    let first = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap() * 2 + 20 * given;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..32_000).find(is_free).unwrap()
}

/// A binary, which is built into the folder of this test's, or in the folder that `FLEETCAST_AGENTS` names: agents of a release
/// build take a fifth of the processor's time.
fn binary(name: &str) -> PathBuf {
    let built = || Path::new(env!("CARGO_BIN_EXE_seeder")).with_file_name(name);
    let binary = std::env::var_os("FLEETCAST_AGENTS").map_or_else(built, |folder| Path::new(&folder).join(name));
    let shown = binary.display();
    assert!(binary.exists(), "{shown} is not built; run `cargo build -p {name}`");
    binary
}
