//! Bytes that change on the disks of hosts and seeders while they are served, and chunks that are found where nobody sent them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod rig;

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use peer::{
    ChunkPool, ChunkStore, CorruptStore, DiskStore, Looked, MemoryStore, Shaping, StoreError, StoreOpener,
    TransportKind,
};
use rig::limit::until;
use rig::{Fleet, data, in_process, member, seeder};
use swarm::{Bitfield, ByteRate, ChunkIndex, Manifest};

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);
const CHUNK: u32 = 16 << 10;

/// Lines of the log of all tests here.
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LINES.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() {
    static START: Once = Once::new();
    START.call_once(|| {
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Lines);
        log.with_max_level(tracing::Level::INFO).init();
    });
}

/// How many lines tell of losses at `path`.
fn lines_about(path: &Path) -> usize {
    let path = path.display().to_string();
    let lines = LINES.lock();
    String::from_utf8_lossy(&lines)
        .lines()
        .filter(|line| line.contains(&path))
        .count()
}

fn spoil(path: &Path, build: &[u8], cut: bool) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    if cut {
        file.set_len(build.len() as u64 / 2).unwrap();
    } else {
        file.write_all_at(&vec![0; build.len()], 0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_installed_file_changes_serves_none_of_it_and_mends_it_without_saying_so_again() {
    log();
    for cut in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("app.zip");
        let build = data(1 << 20);
        let mut fleet = Fleet::start(in_process()).await;
        let manifest = fleet.seed(&build, CHUNK);
        fleet.add(1, StoreOpener::on_disk(target.clone())).await;
        // Others have it too: a seeder that has sent its share is slow to send it again.
        fleet.add_many(2..=3).await;
        fleet.wait_complete(3).await;
        spoil(&target, &build, cut);
        let mut hosts = 3;
        let began = Instant::now();
        while fleet.seen.lost.lock().is_empty() {
            assert!(began.elapsed() < LONG, "{hosts} hosts asked, and no loss was noticed");
            // It shows when somebody asks just this one.
            fleet.add_many(hosts + 1..=hosts + 3).await;
            hosts += 3;
            fleet.wait_complete(hosts as usize).await;
        }
        until(LONG, "the file is mended", || std::fs::read(&target).unwrap() == build).await;
        assert!(fleet.seen.banned.lock().is_empty());
        assert!(fleet.seen.failed.lock().is_empty());
        assert_eq!(*fleet.seen.completions.lock(), hosts as usize);
        let lost = fleet.seen.lost.lock().clone();
        let once: BTreeSet<_> = lost.iter().copied().collect();
        assert_eq!(once.len(), lost.len(), "told twice: {lost:?}");
        assert!(!lost.is_empty() && lost.iter().all(|(host, _)| *host == member(1)));
        assert_eq!(
            lines_about(folder.path()),
            lost.len(),
            "of {} chunks",
            manifest.chunk_count()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_whose_file_changes_says_so_once_a_chunk_and_goes_on_when_its_owner_has_put_them_back() {
    log();
    for cut in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("app.zip");
        let build = data(1 << 20);
        std::fs::write(&spool, &build).unwrap();
        let manifest = Arc::new(Manifest::of("app.zip", &build, CHUNK).unwrap());
        let store = Arc::new(DiskStore::open(&spool, Arc::clone(&manifest)).unwrap());
        let mut fleet = Fleet::start(in_process()).await;
        fleet.add_many(1..=5).await;
        fleet.wait_joined(5).await;
        spoil(&spool, &build, cut);
        fleet.seed_from(&manifest, Arc::<DiskStore>::clone(&store));
        let wrong = manifest.chunk_count() as usize / if cut { 2 } else { 1 };
        fleet
            .wait("all losses are known", |seen| seen.lost.lock().len() == wrong)
            .await;
        // As long as nobody puts them back hosts ask now and then, and nobody says anything.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(fleet.seen.lost.lock().len(), wrong);
        assert_eq!(lines_about(folder.path()), wrong);
        assert!(fleet.seen.complete.lock().is_empty());
        let (_, seeder) = &fleet.seeders[0];
        for chunk in manifest.chunks().filter(|chunk| !store.held().contains(*chunk)) {
            let start = manifest.offset(chunk) as usize;
            let bytes = Bytes::copy_from_slice(&build[start..start + manifest.length(chunk) as usize]);
            tokio::task::block_in_place(|| store.keep(chunk, bytes)).unwrap();
            seeder.chunk_found(chunk);
        }
        fleet.wait_complete(5).await;
        assert_eq!(fleet.pool.len(), manifest.chunk_count() as usize);
        assert_eq!(std::fs::read(&spool).unwrap(), build);
        assert_eq!(*fleet.seen.suspected.lock(), 0, "nothing wrong went out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_that_sends_corrupt_chunks_is_told_once() {
    log();
    let mut fleet = Fleet::start(in_process()).await;
    fleet.add_many(1..=5).await;
    fleet.wait_joined(5).await;
    let build = data(1 << 20);
    let manifest = Arc::new(Manifest::of("app.zip", &build, CHUNK).unwrap());
    let right: Arc<dyn ChunkStore> = Arc::new(full(&build, &manifest));
    fleet.seed_from(&manifest, Arc::new(CorruptStore::new(right)));
    let complaints = || fleet.seeders[0].1.seeder_stats().unwrap().complaints_of_self;
    fleet
        .wait("the seeder is suspected", |seen| *seen.suspected.lock() > 0)
        .await;
    until(LONG, "three hosts have complained", || complaints() >= 3).await;
    assert_eq!(*fleet.seen.suspected.lock(), 1);
    assert!(fleet.seen.banned.lock().iter().all(|host| *host == seeder()));
}

fn full(build: &[u8], manifest: &Arc<Manifest>) -> MemoryStore {
    let store = MemoryStore::new(ChunkPool::default(), Arc::clone(manifest));
    for (chunk, bytes) in manifest.chunks().zip(build.chunks(CHUNK as usize)) {
        store.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
    }
    store
}

/// A store in memory that cannot read every fourth chunk until it is well again.
struct Failing {
    inner: MemoryStore,
    is_ill: AtomicBool,
    failures: AtomicU32,
}

impl ChunkStore for Failing {
    fn held(&self) -> Bitfield {
        self.inner.held()
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        if chunk.get().is_multiple_of(4) && self.is_ill.load(Ordering::Relaxed) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::NotHeld { chunk });
        }
        self.inner.read(chunk)
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.keep(chunk, bytes)
    }

    fn finish(&self) -> Result<(), StoreError> {
        self.inner.finish()
    }

    fn is_blocking(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_cannot_be_read_frees_its_slot_for_the_others() {
    let mut fleet = Fleet::start(in_process()).await;
    fleet.add_many(1..=3).await;
    fleet.wait_joined(3).await;
    let build = data(64 * CHUNK as usize);
    let manifest = Arc::new(Manifest::of("app.zip", &build, CHUNK).unwrap());
    let store = Arc::new(Failing {
        inner: full(&build, &manifest),
        is_ill: AtomicBool::new(true),
        failures: AtomicU32::new(0),
    });
    fleet.seed_from(&manifest, Arc::<Failing>::clone(&store));
    let held = |fleet: &Fleet| fleet.hosts.values().map(|node| node.report().chunks_held).min();
    let others = async {
        while held(&fleet) != Some(48) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), others).await.is_err() {
        panic!("{:?} of the 48 chunks that can be had", held(&fleet));
    }
    assert!(store.failures.load(Ordering::Relaxed) <= 64, "16 chunks");
    store.is_ill.store(false, Ordering::Relaxed);
    for chunk in manifest.chunks().filter(|chunk| chunk.get().is_multiple_of(4)) {
        fleet.seeders[0].1.chunk_found(chunk);
    }
    fleet.wait_complete(3).await;
}

/// A store that finds one chunk each time it looks.
struct Finding {
    inner: Arc<dyn ChunkStore>,
    manifest: Arc<Manifest>,
    build: Vec<u8>,
    next: AtomicU32,
}

impl ChunkStore for Finding {
    fn held(&self) -> Bitfield {
        self.inner.held()
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        self.inner.read(chunk)
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.keep(chunk, bytes)
    }

    fn finish(&self) -> Result<(), StoreError> {
        self.inner.finish()
    }

    fn look(&self) -> Looked {
        let Some(chunk) = self.manifest.chunk(self.next.fetch_add(1, Ordering::Relaxed)) else {
            return Looked::default();
        };
        let start = self.manifest.offset(chunk) as usize;
        let bytes = &self.build[start..start + self.manifest.length(chunk) as usize];
        let is_new = !self.held().contains(chunk);
        self.keep(chunk, Bytes::copy_from_slice(bytes)).unwrap();
        Looked {
            found: is_new.then_some(chunk).into_iter().collect(),
            more: true,
            ..Looked::default()
        }
    }

    fn reused(&self) -> u64 {
        4711
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_finds_is_not_fetched_and_is_told_of() {
    // A chunk takes four seconds from the seeder.
    let slow = Shaping {
        uplink: ByteRate::from_bytes_per_second(4 << 10),
        ..Shaping::default()
    };
    let mut fleet = Fleet::shaped(TransportKind::Tcp, slow).await;
    let build = data(64 * CHUNK as usize);
    let manifest = fleet.seed(&build, CHUNK);
    let (of_store, bytes) = (Arc::clone(&manifest), build.clone());
    let opener = StoreOpener::in_memory(ChunkPool::default()).decorated(move |inner| {
        Arc::new(Finding {
            inner,
            manifest: Arc::clone(&of_store),
            build: bytes.clone(),
            next: AtomicU32::new(0),
        })
    });
    fleet.add(1, opener).await;
    fleet.wait_complete(1).await;
    let traffic = fleet.seen.complete.lock()[&member(1)];
    assert!(traffic.from_seeder < build.len() as u64 / 4, "{traffic:?}");
    assert_eq!(traffic.reused, 4711);
    assert_eq!(fleet.hosts[&member(1)].report().traffic.reused, 4711);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_and_hosts_on_disk_serve_what_they_have() {
    for transport in [in_process(), TransportKind::Tcp] {
        let folder = tempfile::tempdir().unwrap();
        let build = data(1 << 20);
        let spool = folder.path().join("spool.zip");
        std::fs::write(&spool, &build).unwrap();
        let manifest = Arc::new(Manifest::of("app.zip", &build, CHUNK).unwrap());
        let store = DiskStore::open(&spool, Arc::clone(&manifest)).unwrap();
        let mut fleet = Fleet::start(transport).await;
        for number in 1..=6 {
            let target = folder.path().join(format!("{number}.zip"));
            fleet.add(number, StoreOpener::on_disk(target)).await;
        }
        fleet.wait_joined(6).await;
        fleet.seed_from(&manifest, Arc::new(store));
        fleet.wait_complete(6).await;
        for number in 1..=6 {
            let target = folder.path().join(format!("{number}.zip"));
            assert!(std::fs::read(target).unwrap() == build, "host {number}");
        }
        let from_peers: u64 = fleet
            .seen
            .complete
            .lock()
            .values()
            .map(|traffic| traffic.from_peers)
            .sum();
        assert!(from_peers >= 2 * build.len() as u64, "{from_peers}");
    }
}
