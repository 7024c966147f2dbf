//! A host that has all chunks and is still putting the build in place: until that is done it is not done.

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use peer::{Answer, ChunkStore, StoreError, StoreOpener, TransportKind};
use rig::limit::until;
use rig::{Fleet, data, member};
use swarm::{Bitfield, ChunkIndex};

const LONG: Duration = Duration::from_secs(60);

/// A store that takes its time to put the build in place.
struct Slow {
    inner: Arc<dyn ChunkStore>,
    may_finish: Arc<AtomicBool>,
    finishing: Arc<AtomicU32>,
}

impl ChunkStore for Slow {
    fn held(&self) -> Bitfield {
        self.inner.held()
    }

    fn read(&self, chunk: ChunkIndex) -> Result<Bytes, StoreError> {
        self.inner.read(chunk)
    }

    fn answer(&self, chunk: ChunkIndex) -> Answer {
        self.inner.answer(chunk)
    }

    fn shared(&self, chunk: ChunkIndex) -> Option<Bytes> {
        self.inner.shared(chunk)
    }

    fn keep(&self, chunk: ChunkIndex, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.keep(chunk, bytes)
    }

    fn finish(&self) -> Result<(), StoreError> {
        self.finishing.fetch_add(1, Ordering::Relaxed);
        // A runtime that ends waits for its threads: also for this one, of a test that has failed.
        let began = Instant::now();
        while !self.may_finish.load(Ordering::Relaxed) && began.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.inner.finish()
    }

    fn is_blocking(&self) -> bool {
        true
    }
}

/// A seeder lets a build go that all its hosts have. One that was killed while it put it in place would lack it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seeder_hears_that_a_host_has_a_build_when_it_is_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::start(TransportKind::Tcp).await;
    let (may_finish, finishing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (may, began) = (Arc::clone(&may_finish), Arc::clone(&finishing));
    let opener = StoreOpener::on_disk(folder.path().join("app.zip")).decorated(move |inner| {
        Arc::new(Slow {
            inner,
            may_finish: Arc::clone(&may),
            finishing: Arc::clone(&began),
        })
    });
    fleet.add(1, opener).await;
    fleet.wait_joined(1).await;
    fleet.seed(&data(300_000), 64 << 10);
    until(LONG, "the host has begun to put it in place", || {
        finishing.load(Ordering::Relaxed) > 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let seeder = &fleet.seeders[0].1;
    let told = || {
        (
            seeder.incomplete_count(),
            seeder.seeder_stats().unwrap().members_complete,
        )
    };
    assert_eq!(told(), (1, 0));
    may_finish.store(true, Ordering::Relaxed);
    fleet.wait_complete(1).await;
    until(LONG, "the seeder has heard that the host has it", || told() == (0, 1)).await;
    assert_eq!(fleet.hosts[&member(1)].report().chunks_held, 5);
}
