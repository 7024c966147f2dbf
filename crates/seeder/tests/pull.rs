//! Pulling a build over the wire: the manifest is that of the object, in memory and on disk; trouble is survived or named.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "../../peer/tests/limit/mod.rs"]
mod limit;

use std::time::Duration;

use bytes::Bytes;
use cloud::{Buckets, Cloud, CloudError, EmbeddedCloud, Faults, regional_bucket};
use limit::{Limit, within};
use peer::ChunkPool;
use seeder::{BuildNotice, GetTurns, PullError, PullOptions, Pulled, Spool, SpoolFolder, SpoolLimits, pull};
use swarm::Manifest;

struct Test {
    folder: tempfile::TempDir,
    faults: Faults,
    buckets: Buckets,
    _embedded: EmbeddedCloud,
    _limit: Limit,
}

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(60);
const KEY: &str = "dir/build-1.zip";

impl Test {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let embedded = EmbeddedCloud::start_with_faults(&folder.path().join("cloud"), &faults)
            .await
            .unwrap();
        let cloud = Cloud::connect(embedded.config()).await;
        cloud.bootstrap(&["region-a".to_owned()]).await.unwrap();
        Self {
            folder,
            faults,
            buckets: cloud.buckets(),
            _embedded: embedded,
            _limit: Limit::start(None),
        }
    }

    async fn put(&self, data: &[u8]) {
        let bucket = regional_bucket("region-a");
        let put = self.buckets.put_bytes(&bucket, KEY, Bytes::copy_from_slice(data));
        within(LONG, "the object is in the bucket", put).await.unwrap();
    }

    async fn pull(&self, spool: Spool, chunk_size: Option<u32>) -> Result<Pulled, PullError> {
        let notice = BuildNotice {
            bucket: regional_bucket("region-a"),
            key: KEY.to_owned(),
        };
        let options = PullOptions {
            chunk_size,
            turns: GetTurns::new(4),
            spool,
            trust: None,
        };
        within(LONG, "the pull has ended", pull(&self.buckets, &notice, &options)).await
    }

    fn folder(&self, name: &str) -> Spool {
        let folder = SpoolFolder::open(&self.folder.path().join(name), SpoolLimits::default());
        Spool::Folder(folder.unwrap())
    }

    fn memory() -> Spool {
        Spool::Memory(ChunkPool::default())
    }
}

fn data(length: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .take(length)
        .collect()
}

fn content(pulled: &Pulled) -> Vec<u8> {
    pulled
        .manifest
        .chunks()
        .flat_map(|chunk| pulled.store.read(chunk).unwrap().to_vec())
        .collect()
}

#[tokio::test]
async fn a_pulled_build_is_the_object_in_memory_and_on_disk() {
    let test = Test::start().await;
    let build = data(20_000_003);
    test.put(&build).await;
    for chunk_size in [64 << 10, 3 << 20] {
        let expected = Manifest::of(KEY, &build, chunk_size).unwrap();
        for spool in [Test::memory(), test.folder("spool")] {
            let pulled = test.pull(spool, Some(chunk_size)).await.unwrap();
            assert_eq!(pulled.manifest.root(), expected.root());
            assert!(content(&pulled) == build);
        }
    }
}

#[tokio::test]
async fn a_pull_that_cannot_succeed_leaves_nothing_in_the_spool() {
    let test = Test::start().await;
    test.put(&data(40 << 20)).await;
    test.faults.overwrite_after_gets(KEY, 2, Bytes::from(vec![7; 40 << 20]));
    let error = test.pull(test.folder("spool"), None).await.err().unwrap();
    assert!(
        matches!(error, PullError::Cloud(CloudError::ObjectChanged { .. })),
        "{error:?}"
    );
    let left = std::fs::read_dir(test.folder.path().join("spool")).unwrap();
    let left: Vec<_> = left.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[tokio::test]
async fn a_get_that_fails_twice_does_not_fail_the_pull() {
    let test = Test::start().await;
    let build = data(1_000_000);
    test.put(&build).await;
    test.faults.fail_gets(KEY, 2);
    let pulled = test.pull(Test::memory(), None).await.unwrap();
    assert!(content(&pulled) == build);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_named_with_its_bucket() {
    let test = Test::start().await;
    let error = test.pull(Test::memory(), None).await.err().unwrap();
    let PullError::Cloud(error @ CloudError::ObjectMissing { .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        error.to_string(),
        "object dir/build-1.zip is not in bucket region-a-builds"
    );
}

#[tokio::test]
async fn an_object_that_changes_in_the_middle_of_a_pull_is_noticed() {
    let test = Test::start().await;
    test.put(&data(40 << 20)).await;
    test.faults.overwrite_after_gets(KEY, 2, Bytes::from(vec![7; 40 << 20]));
    let error = test.pull(Test::memory(), None).await.err().unwrap();
    assert!(
        matches!(error, PullError::Cloud(CloudError::ObjectChanged { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_empty_object_and_a_chunk_size_that_cannot_be_are_refused() {
    let test = Test::start().await;
    test.put(&[]).await;
    assert!(matches!(
        test.pull(Test::memory(), None).await,
        Err(PullError::Manifest(_))
    ));
    test.put(&data(100)).await;
    assert!(matches!(
        test.pull(Test::memory(), Some(1)).await,
        Err(PullError::Manifest(_))
    ));
}
