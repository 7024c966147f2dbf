//! A seeder that is killed and started again while hosts fetch what it has: it lists all of it again at once, and no host fetches a
//! byte twice that it had verified.
//!
//! Ten builds of 1 GiB stand in the spool as sparse files, each chunk of which begins with a stamp of its own. The hosts of the first
//! test are of this process and keep no bytes, only which chunks have come: so a machine needs no room for ten gibibytes a host, and
//! all swarms are in mid-transfer at the kill. Those of the second are the shipped binary, and their rows say what they fetched.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "days/region.rs"]
mod region;
mod rig;
#[path = "../../lambdas/tests/rig/mod.rs"]
mod stack;

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud::{DeploymentStatus, ObjectInfo};
use parking_lot::Mutex;
use peer::{
    Addresses, ChunkPool, ChunkStore, Clock, Directory, Endpoint, EndpointConfig, Limits, Node, NodeConfig,
    NodeIdentity, Observer, Role, SeededBuild, Shaping, StoreError, StoreOpener, TransportKind, host_of,
};
use region::{BUCKET, Region, Services, until};
use rig::limit::within;
use seeder::{BuildName, BuildNotice, ListedBuild, SpoolFolder, SpoolLimits};
use swarm::{Bitfield, Bytes as ByteCount, ChunkIndex, Contact, Hash, Manifest, PeerConfig};

const BUILDS: u64 = 10;
const CHUNK: u32 = 1 << 20;
/// So soon after its start a seeder lists what it listed before.
const LISTED_WITHIN: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(120);
const MORE: [&str; 2] = ["--builds-max", "16"];

/// A chunk of a build: a stamp, then zeros.
fn chunk(build: u64, index: u32) -> Vec<u8> {
    let mut bytes = vec![0; CHUNK as usize];
    bytes[..16].copy_from_slice(&stamp(build, index));
    bytes
}

fn stamp(build: u64, index: u32) -> [u8; 16] {
    (u128::from(build + 1) << 64 | u128::from(index)).to_le_bytes()
}

/// Builds of so many chunks in a spool, as a seeder has them that has pulled them and lists them. None of them is in a bucket.
fn fill_spool(spool: &Path, chunks: u32) {
    std::fs::create_dir_all(spool).unwrap();
    let mut listed = Vec::new();
    for build in 0..BUILDS {
        let object = ObjectInfo {
            bucket: BUCKET.to_owned(),
            key: format!("build-{build}.zip"),
            size: u64::from(chunks) * u64::from(CHUNK),
            etag: format!("etag-{build}"),
        };
        let name = BuildName::of(&object);
        let text = serde_json::to_value(&name).unwrap();
        let path = |ending| spool.join(format!("{}.{ending}", text.as_str().unwrap()));
        let file = File::create(path("data")).unwrap();
        file.set_len(object.size).unwrap();
        for index in 0..chunks {
            let at = u64::from(index) * u64::from(CHUNK);
            file.write_all_at(&stamp(build, index), at).unwrap();
        }
        let hashes: Vec<Hash> = (0..chunks).map(|index| Hash::of(&chunk(build, index))).collect();
        let manifest = Manifest::new(&object.key, ByteCount::new(object.size), CHUNK, hashes).unwrap();
        let seen = file.metadata().unwrap();
        let record = serde_json::json!({
            "format": 2, "bucket": object.bucket, "key": object.key, "etag": object.etag, "size": object.size,
            "chunk_size": CHUNK, "root": manifest.root().to_string(), "pulled_at": 1,
            "hashes": manifest.hashes().iter().map(Hash::to_string).collect::<Vec<_>>(),
            "file": {
                "length": seen.len(), "inode": seen.ino(),
                "modified_s": seen.mtime(), "modified_ns": seen.mtime_nsec(),
            },
        });
        std::fs::write(path("json"), serde_json::to_vec(&record).unwrap()).unwrap();
        listed.push(ListedBuild {
            name,
            notice: BuildNotice {
                bucket: object.bucket,
                key: object.key,
            },
            hosts: 0,
        });
    }
    let folder = SpoolFolder::open(spool, SpoolLimits::default()).unwrap();
    folder.keep_list(&listed, 0).unwrap();
}

/// What a directory lists to somebody who asks for the first time.
async fn listed(directory: &str) -> Vec<SeededBuild> {
    let address = directory.parse().unwrap();
    let mut directory = Directory::follow(Addresses::of([&address]).unwrap()).unwrap();
    within(LONG, "the directory says what it lists", directory.changed())
        .await
        .unwrap()
}

/// Knows which chunks have come, and makes their bytes anew when somebody wants them.
struct Remembers {
    build: u64,
    held: Mutex<Bitfield>,
    /// Chunks that came when they were here.
    twice: AtomicU32,
}

impl ChunkStore for Remembers {
    fn held(&self) -> Bitfield {
        self.held.lock().clone()
    }

    fn read(&self, index: ChunkIndex) -> Result<Bytes, StoreError> {
        Ok(chunk(self.build, index.get()).into())
    }

    fn keep(&self, chunk: ChunkIndex, _bytes: Bytes) -> Result<(), StoreError> {
        let is_new = self.held.lock().insert(chunk);
        self.twice.fetch_add(u32::from(!is_new), Ordering::Relaxed);
        Ok(())
    }

    fn finish(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_blocking(&self) -> bool {
        false
    }
}

struct Silent;

impl Observer for Silent {}

/// A host's part in the swarm of one build.
struct Fetching {
    store: Arc<Remembers>,
    node: Node,
}

impl Fetching {
    fn start(endpoint: &Endpoint, build: u64, listed: &SeededBuild, chunks: u32) -> Self {
        let store = Arc::new(Remembers {
            build,
            held: Mutex::new(Bitfield::new(chunks)),
            twice: AtomicU32::new(0),
        });
        let host = host_of(endpoint.peer_id());
        let seeder = Addresses::of(&listed.seeders).unwrap();
        let contact = Contact {
            host: host_of(seeder.peer()),
            address: seeder.encode(),
        };
        let of_node = Arc::clone(&store);
        let node = endpoint.join(NodeConfig {
            swarm: listed.swarm(),
            shaping: Shaping::default(),
            limits: Limits::default(),
            store: StoreOpener::in_memory(ChunkPool::default()).decorated(move |_| Arc::<Remembers>::clone(&of_node)),
            role: Role::Host(Box::new(move |host, own| PeerConfig::new(host, own, contact))),
            seed: host.get(),
            clock: Clock::start(),
            observer: Arc::new(Silent),
        });
        Self { store, node }
    }

    fn held(&self) -> u32 {
        self.store.held.lock().count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_builds_of_a_gibibyte_are_listed_again_at_once_and_hosts_in_mid_transfer_fetch_nothing_twice() {
    const CHUNKS: u32 = 1024;
    const HOSTS: usize = 2;
    let services = Services::start().await;
    let region = Region::start(&services, "gibibytes").await;
    fill_spool(&region.spool(), CHUNKS);
    let mut seeder = region.seeder(&MORE).await;
    let directory = region.directory();
    let builds = listed(&directory).await;
    assert_eq!(builds.len() as u64, BUILDS);
    let mut endpoints = Vec::new();
    let mut fetching = Vec::new();
    for _ in 0..HOSTS {
        let config = EndpointConfig::on_loopback(NodeIdentity::random(), TransportKind::Tcp);
        let endpoint = Endpoint::start(config).await.unwrap();
        for listed in &builds {
            let build = (0..BUILDS)
                .find(|build| listed.key == format!("build-{build}.zip"))
                .unwrap();
            fetching.push(Fetching::start(&endpoint, build, listed, CHUNKS));
        }
        endpoints.push(endpoint);
    }
    until("all transfers are under way", || {
        fetching.iter().all(|one| one.held() >= 8)
    })
    .await;
    let under_way = fetching.iter().all(|one| one.held() < CHUNKS / 2);
    assert!(under_way, "so fast that some are nearly over");
    seeder.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let at_start: Vec<u32> = fetching.iter().map(Fetching::held).collect();

    let started = Instant::now();
    let mut seeder = region.seeder(&MORE).await;
    let again = listed(&directory).await;
    let took = started.elapsed();
    println!("listed again after {took:?}; chunks held by then {at_start:?}");
    assert_eq!(again, builds);
    assert!(took < LISTED_WITHIN, "{took:?}");
    until("all transfers go on", || {
        let mut both = fetching.iter().zip(&at_start);
        both.all(|(one, before)| one.held() >= before + 16)
    })
    .await;
    for one in &fetching {
        let report = one.node.report();
        let held = u64::from(one.held()) * u64::from(CHUNK);
        let fetched = report.traffic.from_seeder + report.traffic.from_peers;
        assert_eq!(one.store.twice.load(Ordering::Relaxed), 0, "{report:?}");
        // One may have come between the two.
        assert!(
            fetched <= held + 4 * u64::from(CHUNK),
            "{fetched} bytes for {held}: {report:?}"
        );
        assert!(report.banned.is_empty(), "{report:?}");
    }
    drop(fetching);
    seeder.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_hosts_whose_seeder_was_killed_in_mid_transfer_say_that_each_byte_came_once() {
    const HOSTS: usize = 2;
    // For a run by hand: the hosts' disks need twenty times as much.
    let chunks = std::env::var("FLEETCAST_BUILD_MIB").map_or(32, |mib| mib.parse().unwrap());
    let services = Services::start().await;
    let region = Region::start(&services, "mid-transfer").await;
    fill_spool(&region.spool(), chunks);
    let mut seeder = region.seeder(&MORE).await;
    let mut hosts = [0, 1].map(|host| region.host(host, &["--keep", "100"]));
    until("a host has the first build", || {
        hosts.iter().any(|host| !host.lines().is_empty())
    })
    .await;
    seeder.kill();
    let had = hosts.iter().map(|host| host.lines().len()).sum::<usize>();
    assert!(had < HOSTS * BUILDS as usize, "all is over already");
    tokio::time::sleep(Duration::from_secs(1)).await;

    let started = Instant::now();
    let mut seeder = region.seeder(&MORE).await;
    let listed = listed(&region.directory()).await;
    let took = started.elapsed();
    assert_eq!(listed.len() as u64, BUILDS);
    assert!(took < LISTED_WITHIN, "{took:?}");
    println!(
        "{had} of {} builds were there at the kill; listed again after {took:?}",
        HOSTS * BUILDS as usize
    );
    for host in &hosts {
        until("the host has all", || host.lines().len() as u64 == BUILDS).await;
    }
    let began = Instant::now();
    for build in 0..BUILDS {
        let rows = loop {
            let rows = region.rows(&format!("build-{build}.zip")).await;
            if rows.len() == HOSTS {
                break rows;
            }
            assert!(began.elapsed() < LONG, "{rows:?} of build {build}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        for row in rows {
            assert_eq!(row.status, DeploymentStatus::Succeeded, "{row:?}");
            // Less, and it had forgotten what it had; more, and it came again.
            let fetched = row.bytes_from_seeder + row.bytes_from_peers;
            assert_eq!(fetched, u64::from(chunks) * u64::from(CHUNK), "{row:?}");
        }
    }
    for agent in hosts.iter_mut().chain([&mut seeder]) {
        agent.stops().await;
    }
}
