//! The embedded S3 with a front of its own on the wire: it counts the GETs, slows them down, and goes away when it is told to.
//! And the `seeder` binary, started before it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a rig of tests")]

#[path = "../../../peer/tests/limit/mod.rs"]
pub mod limit;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::{Buckets, Cloud, CloudConfig, EmbeddedCloud, Faults, regional_bucket};
use limit::Limit;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub const REGION: &str = "region-a";

/// An S3 with one region's bucket, and its front.
pub struct S3 {
    /// Dropped first: while the logs are there.
    _limit: Limit,
    pub folder: tempfile::TempDir,
    pub faults: Faults,
    /// Past the front: what a test does here is not counted.
    pub direct: Buckets,
    pub front: Front,
    config: CloudConfig,
    _embedded: EmbeddedCloud,
}

impl S3 {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let embedded = EmbeddedCloud::start_with_faults(&folder.path().join("cloud"), &faults)
            .await
            .unwrap();
        let cloud = Cloud::connect(embedded.config()).await;
        cloud
            .bootstrap(&[REGION.to_owned(), "region-b".to_owned()])
            .await
            .unwrap();
        let mut config = embedded.config().clone();
        let behind = config.s3_endpoint.take().unwrap();
        let front = Front::start(behind.trim_start_matches("http://").to_owned()).await;
        config.s3_endpoint = Some(front.endpoint.clone());
        Self {
            _limit: Limit::start(Some(folder.path())),
            folder,
            faults,
            direct: cloud.buckets(),
            front,
            config,
            _embedded: embedded,
        }
    }

    /// The buckets by way of the front.
    pub async fn buckets(&self) -> Buckets {
        Cloud::connect(&self.config).await.buckets()
    }

    pub async fn put(&self, key: &str, data: &[u8]) {
        let bytes = Bytes::copy_from_slice(data);
        self.direct.put_bytes(&bucket(), key, bytes).await.unwrap();
    }

    /// With a signature, over what is there.
    pub async fn put_signed(&self, key: &str, data: &[u8], signature: &str) {
        let bytes = Bytes::copy_from_slice(data);
        let buckets = self.direct.signed(signature.to_owned());
        buckets.put_bytes(&bucket(), key, bytes).await.unwrap();
    }

    pub fn spool(&self) -> PathBuf {
        self.folder.path().join("spool")
    }

    /// The binary for one build, with what it says kept in files.
    pub fn seeder(&self, key: &str, more: &[&str]) -> Seeder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
        command.args(["--bucket", &bucket(), "--key", key]);
        self.run(command.args(more))
    }

    /// The binary for one build, at an address of this machine.
    pub fn seeder_at(&self, listen: &str, key: &str) -> Seeder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seeder"));
        command.args(["--bucket", &bucket(), "--key", key]);
        Seeder::start_at(
            &mut command,
            listen,
            &self.front.endpoint,
            &self.spool(),
            self.folder.path(),
        )
    }

    fn run(&self, command: &mut Command) -> Seeder {
        Seeder::start(command, &self.front.endpoint, &self.spool(), self.folder.path())
    }
}

pub fn bucket() -> String {
    regional_bucket(REGION)
}

/// Bytes that are different everywhere and the same each time.
pub fn data(length: usize, seed: u64) -> Vec<u8> {
    (seed..)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(length)
        .collect()
}

/// A running `seeder`.
pub struct Seeder {
    pub process: Child,
    stderr: PathBuf,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Seeder {
    /// Of this command, at any port of loopback.
    pub fn start(command: &mut Command, endpoint: &str, spool: &Path, logs: &Path) -> Self {
        Self::start_at(command, "/ip4/127.0.0.1/tcp/0", endpoint, spool, logs)
    }

    pub fn start_at(command: &mut Command, listen: &str, endpoint: &str, spool: &Path, logs: &Path) -> Self {
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let stderr = logs.join(format!("seeder-{number}.log"));
        let mut process = command
            .args(["--listen", listen, "--endpoint-url", endpoint, "--folder"])
            .arg(spool)
            .env("AWS_ACCESS_KEY_ID", "fleetcast")
            .env("AWS_SECRET_ACCESS_KEY", "embedded")
            .env("AWS_REGION", "us-east-1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let (told, lines) = std::sync::mpsc::sync_channel(10_000);
        let stdout = process.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, stderr, lines }
    }

    /// What it says on stdout next, within a time.
    pub fn line(&self, within: Duration) -> Option<String> {
        self.lines.recv_timeout(within).ok()
    }

    pub fn log(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(&self.stderr)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit code, if it ends within a time.
    pub fn exit(&mut self, within: Duration) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < within {
            if let Some(status) = self.process.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// As a machine that loses its power does it to a process.
    pub fn kill(self) {
        self.killed();
    }

    /// The same; what it has printed that nobody has read.
    pub fn killed(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // They end with it: the other end of its output is gone.
        self.lines.iter().collect()
    }
}

impl Drop for Seeder {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What stands between a client and S3.
#[derive(Clone)]
pub struct Front {
    pub endpoint: String,
    state: Arc<State>,
}

struct State {
    /// Ranges that were asked for, by path.
    gets: parking_lot_free::Lock<BTreeMap<String, Vec<String>>>,
    away: AtomicBool,
    /// Bytes a second of each connection, 0 for no limit.
    rate: AtomicU64,
    went_away: watch::Sender<u64>,
}

/// A lock whose poison is a failed test already.
mod parking_lot_free {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    #[derive(Default)]
    pub struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

impl Front {
    /// A front of what listens at `behind`, an address with a port.
    pub async fn start(behind: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (went_away, _) = watch::channel(0);
        let state = Arc::new(State {
            gets: parking_lot_free::Lock::default(),
            away: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            went_away,
        });
        let front = Self {
            endpoint,
            state: Arc::clone(&state),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !state.away.load(Ordering::Relaxed) {
                    tokio::spawn(Arc::clone(&state).pass(client, behind.clone()));
                }
            }
        });
        front
    }

    /// Connections end and new ones are closed at once, until it is back.
    pub fn go_away(&self, away: bool) {
        self.state.away.store(away, Ordering::Relaxed);
        self.state.went_away.send_modify(|count| *count += u64::from(away));
    }

    /// Bytes a second of each connection from now on, 0 for no limit.
    pub fn limit(&self, rate: u64) {
        self.state.rate.store(rate, Ordering::Relaxed);
    }

    /// GETs of a key so far.
    pub fn gets(&self, key: &str) -> usize {
        self.ranges(key).len()
    }

    /// The ranges of a key that were asked for so far.
    pub fn ranges(&self, key: &str) -> Vec<String> {
        let gets = self.state.gets.lock();
        let of_key = gets.iter().filter(|(path, _)| path.ends_with(&format!("/{key}")));
        of_key.flat_map(|(_, ranges)| ranges.clone()).collect()
    }

    /// All GETs so far.
    pub fn gets_of_all(&self) -> usize {
        self.state.gets.lock().values().map(Vec::len).sum()
    }
}

impl State {
    async fn pass(self: Arc<Self>, client: TcpStream, behind: String) {
        let mut went_away = self.went_away.subscribe();
        let Ok(server) = TcpStream::connect(behind).await else {
            return;
        };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let state = Arc::clone(&self);
        let up = async move {
            let (mut head, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
            while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                head.extend_from_slice(&buffer[..length]);
                // Bodies that come this way are short, and are taken for the beginning of the next head.
                while let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    let request: Vec<u8> = head.drain(..end + 4).collect();
                    state.count(&String::from_utf8_lossy(&request));
                }
                if to_server.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        };
        let down = async move {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
                let rate = self.rate.load(Ordering::Relaxed);
                if rate > 0 {
                    tokio::time::sleep(Duration::from_secs_f64(length as f64 / rate as f64)).await;
                }
                if to_client.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = up => {}
            () = down => {}
            _ = went_away.changed() => {}
        }
    }

    fn count(&self, request: &str) {
        // The body of what somebody else of the process has sent may come before it.
        let Some(rest) = request.find("GET /").map(|at| &request[at + "GET ".len()..]) else {
            return;
        };
        let path = rest.split([' ', '?']).next().unwrap_or_default().to_owned();
        let range = request.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("range").then(|| value.trim().to_owned())
        });
        self.gets
            .lock()
            .entry(path)
            .or_default()
            .push(range.unwrap_or_default());
    }
}
