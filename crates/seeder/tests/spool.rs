//! A build in the spool over the wire: what is there is not read again, what has changed there is, and hosts get right bytes.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod rig;

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud::Buckets;
use peer::StoreError;
use rig::limit::{until, within};
use rig::{S3, bucket, data};
use seeder::{
    BuildNotice, GetTurns, PullError, PullOptions, Pulled, Spool, SpoolError, SpoolFolder, SpoolLimits, pull,
};

/// What takes longer than this on a busy machine does not happen.
const LONG: Duration = Duration::from_secs(120);
const KEY: &str = "dir/build-1.zip";
const CHUNK: u32 = 1 << 20;

fn options(folder: &Arc<SpoolFolder>, turns: &GetTurns) -> PullOptions {
    PullOptions {
        chunk_size: Some(CHUNK),
        turns: turns.clone(),
        spool: Spool::Folder(Arc::clone(folder)),
        trust: None,
    }
}

fn open(s3: &S3) -> Arc<SpoolFolder> {
    SpoolFolder::open(&s3.spool(), SpoolLimits::default()).unwrap()
}

async fn pull_key(buckets: &Buckets, key: &str, options: &PullOptions) -> Pulled {
    let notice = BuildNotice {
        bucket: bucket(),
        key: key.to_owned(),
    };
    let pulling = async {
        loop {
            match pull(buckets, &notice, options).await {
                // A writer of a pull that was cut off is still at it.
                Err(PullError::Spool(SpoolError::BeingPulled { .. })) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                pulled => return pulled.unwrap(),
            }
        }
    };
    within(LONG, key, pulling).await
}

/// The one build's file.
fn file(s3: &S3) -> PathBuf {
    let files = std::fs::read_dir(s3.spool()).unwrap().map(|file| file.unwrap().path());
    files
        .into_iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "data"))
        .unwrap()
}

fn overwrite(path: &PathBuf, at: u64, length: usize) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; length], at).unwrap();
}

async fn content(pulled: &Pulled) -> Vec<Result<Vec<u8>, StoreError>> {
    let (store, manifest) = (Arc::clone(&pulled.store), Arc::clone(&pulled.manifest));
    let read = move || {
        manifest
            .chunks()
            .map(|chunk| store.read(chunk).map(|bytes| bytes.to_vec()))
            .collect()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

async fn is(pulled: &Pulled, build: &[u8]) -> bool {
    let content: Vec<u8> = content(pulled).await.into_iter().flat_map(Result::unwrap).collect();
    content == build
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_want_the_same_build_cost_one_pull_and_one_after_them_none() {
    let s3 = S3::start().await;
    let build = data(20_000_003, 1);
    s3.put(KEY, &build).await;
    let (folder, buckets) = (open(&s3), s3.buckets().await);
    let options = options(&folder, &GetTurns::new(8));
    drop(pull_key(&buckets, KEY, &options).await);
    let gets = s3.front.gets(KEY);
    assert_eq!(gets, 3, "20 MB in requests of 8 MiB");
    let again = pull_key(&buckets, KEY, &options).await;
    assert_eq!(s3.front.gets(KEY), gets);
    assert!(is(&again, &build).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_changed_on_disk_is_read_again_from_s3_once_and_written() {
    let s3 = S3::start().await;
    let build = data(20_000_003, 1);
    s3.put(KEY, &build).await;
    let (folder, buckets) = (open(&s3), s3.buckets().await);
    let options = options(&folder, &GetTurns::new(8));
    let pulled = pull_key(&buckets, KEY, &options).await;
    let gets = s3.front.gets(KEY);
    overwrite(&file(&s3), 5 << 20, 100);
    std::fs::File::options()
        .write(true)
        .open(file(&s3))
        .unwrap()
        .set_len(18 << 20)
        .unwrap();
    for _ in 0..3 {
        assert!(is(&pulled, &build).await);
    }
    // One that was written over, and two that were cut off: the 19th and what is left of the 20th.
    let ranges = s3.front.ranges(KEY).split_off(gets);
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(ranges.contains(&"bytes=5242880-6291455".to_owned()), "{ranges:?}");
    assert!(std::fs::read(file(&s3)).unwrap() == build);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_changed_and_that_s3_has_no_more_is_not_served_and_not_asked_for_without_end() {
    let s3 = S3::start().await;
    let build = data(4 << 20, 1);
    s3.put(KEY, &build).await;
    let (folder, buckets) = (open(&s3), s3.buckets().await);
    let options = options(&folder, &GetTurns::new(8));
    let pulled = pull_key(&buckets, KEY, &options).await;
    overwrite(&file(&s3), 0, 1);
    // Another version: its bytes are not those of this build.
    s3.put(KEY, &data(4 << 20, 2)).await;
    let gets = s3.front.gets(KEY);
    for n in 0..100 {
        let content = content(&pulled).await;
        match &content[0] {
            Err(StoreError::Lost { .. }) => assert_eq!(n, 0, "told once"),
            Err(StoreError::NotHeld { .. }) => assert!(n > 0),
            other => panic!("{other:?}"),
        }
        assert!(content[1..].iter().all(Result::is_ok));
    }
    assert_eq!(s3.front.gets(KEY) - gets, 1);
    // Somebody else's bytes put it right.
    let chunk = pulled.manifest.chunk(0).unwrap();
    pulled.store.keep(chunk, build[..1 << 20].to_vec().into()).unwrap();
    assert!(is(&pulled, &build).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotfix_does_not_wait_behind_a_large_build() {
    let s3 = S3::start().await;
    s3.put("large.zip", &data(96 << 20, 1)).await;
    s3.put("hotfix.zip", &data(1024, 2)).await;
    s3.front.limit(4 << 20);
    let (folder, buckets) = (open(&s3), s3.buckets().await);
    let options = options(&folder, &GetTurns::new(8));
    let large = tokio::spawn({
        let (buckets, options) = (buckets.clone(), options.clone());
        async move { pull_key(&buckets, "large.zip", &options).await }
    });
    until(LONG, "the large one is being pulled", || {
        s3.front.gets("large.zip") >= 7
    })
    .await;
    let began = Instant::now();
    let hotfix = pull_key(&buckets, "hotfix.zip", &options).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!large.is_finished());
    assert!(is(&hotfix, &data(1024, 2)).await);
    s3.front.limit(0);
    let large = within(LONG, "the large one is here", large).await.unwrap();
    assert!(is(&large, &data(96 << 20, 1)).await);
}

/// A pull is cut off again and again, and S3 goes away in between: no byte that was written is asked for twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_cut_off_again_and_again_gets_there() {
    let s3 = S3::start().await;
    let build = data(64 << 20, 1);
    s3.put(KEY, &build).await;
    let (folder, buckets) = (open(&s3), s3.buckets().await);
    let mut options = options(&folder, &GetTurns::new(4));
    // A GET a chunk.
    options.chunk_size = Some(8 << 20);
    s3.front.limit(16 << 20);
    let mut pulled = None;
    for round in 0..40 {
        // Longer each time: a machine may be so busy that no GET is through in the time that one takes.
        let cut = Duration::from_millis(600 + 37 * (round % 7) + 50 * round);
        if let Ok(done) = tokio::time::timeout(cut, pull_key(&buckets, KEY, &options)).await {
            pulled = Some(done);
            break;
        }
    }
    let pulled = pulled.expect("it does not get there");
    s3.front.limit(0);
    assert!(is(&pulled, &build).await);
    let mut ranges = s3.front.ranges(KEY);
    ranges.sort();
    ranges.dedup();
    assert_eq!(ranges.len(), 8, "each range is a chunk");
}
